"""The kernel of the stepwise search: one literal after the other into a set, or out of it again.

The state is a set of N literals and M, and for every c the examples on which at least c of them
hold. Errors alone are a poor guide, as most changes of a large set decide no example. The guide is
the logistic loss of the margin z + 1/2 with z = c - M, for an example with the unit on,

    f(z) = log(1 + exp(-(z + 1/2) / tau))        tau = sqrt(max(N, 4)) / 4

and f(-z - 1) for one with the unit off. It depends on z and N alone: a table of integers, F. With
one literal more to hold an example with the unit on loses g(z) = F(z) - F(z + 1), one with the unit
off gains g(-z - 2) = 2 H - g(z), so that taking in literal k changes the loss of all examples by

    2 H |off and k| - g(-M) |k| + sum over c >= 1 of (g(c - 1 - M) - g(c - M)) |k and at least c|

and taking it out by the negative of this, with M + 1 for M. All literals are scored at once by
population counts, of the few c around M where g still falls.

A TPU multiplies faster than it counts bits: there they are unpacked once, and products count.

Axis letters: N literals, M needed, K the largest N, L literals to choose from, R rows of literals
(L, or with either sign 2 L), B values of c, W words of 32 examples.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax import meshes
from mofn_jax.bits import count, counts, unpack
from mofn_jax.search.exact import NO_SET

MOST_LITERALS = 256
_STEPS_PER_LITERAL = 4
_LEAST_TO_DROP = 4  # literals; smaller sets are for other searches
_MOST_SCALE = 16  # H, enough
_NEAR = 2  # how far from the best M polishing looks


class Guide(NamedTuple):
    """The loss of the margin in fixed point: of every N a row, column z + offset for c - M = z."""

    losses: np.ndarray  # [K + 2, 2 offset] int32, F
    slopes: np.ndarray  # [K + 2, 2 offset] int32, g
    scale: int  # H
    reach: int  # g is 0 at this z and above for every N


@lru_cache(maxsize=8)
def guide(num_examples: int, largest: int) -> Guide:
    """The table for sets of up to K literals, of a scale by which E examples fit an int32."""
    scale = int(np.clip(2**30 // (num_examples * MOST_LITERALS), 1, _MOST_SCALE))
    offset = largest + 4
    half = np.arange(-1, offset)  # the other half is its mirror image
    slopes = np.empty((largest + 2, 2 * offset), np.int32)
    for size, row in enumerate(slopes):
        tau = np.sqrt(max(size, 4)) / 4
        losses = np.logaddexp(0, -(half[:, None] + [0.5, 1.5]) / tau)
        # Rounded twice: a logarithm's last digit must decide nothing.
        falls = np.rint(np.round(2 * scale * tau * (losses[:, 0] - losses[:, 1]), 6))
        falls[0] = scale
        row[offset - 1 :] = falls
        row[: offset - 1] = 2 * scale - falls[-2:0:-1]
    losses = np.cumsum(slopes[:, ::-1], axis=1, dtype=np.int32)[:, ::-1]
    reach = int(np.flatnonzero(slopes.any(0))[-1]) - offset + 1
    for table in (losses, slopes):
        table.flags.writeable = False
    return Guide(losses, slopes, scale, reach)


class Unit(NamedTuple):
    """What the search of one unit reads."""

    literals: jax.Array  # [W, L] uint32, word by word, the examples on which each literal holds
    num_literals: jax.Array  # int32, how many of them are literals; the last ones may be none
    target: jax.Array  # [W] uint32, the examples on which the unit is on
    examples: jax.Array  # [W] uint32, all of them
    truth: jax.Array | None = None  # [L, 32, W] int8, the literals' bits; None where words count


class Found(NamedTuple):
    """Of every N = 0..K the set of fewest errors that was met, of equals the first."""

    errors: jax.Array  # [K + 1] int32; NO_SET for a size that was not met
    m: jax.Array  # [K + 1] int32
    taken: jax.Array  # [K + 1, R] bool


class _State(NamedTuple):
    hold: jax.Array  # [K + 2, W] uint32, the examples on which at least 0, 1, ... literals hold
    taken: jax.Array  # [R] bool
    size: jax.Array  # int32, N
    m: jax.Array  # int32
    last: jax.Array  # int32, the literal taken in last
    least: jax.Array  # [K + 2] int32, the least loss of a set of this size so far
    found: Found
    steps: jax.Array  # int32
    ended: jax.Array  # bool


def search_unit(unit: Unit, *, largest: int, polished: int, num_examples: int, free: bool) -> Found:
    """The best sets met for one unit; composes with jit and vmap.

    Args:
      unit: see `Unit`.
      largest: K.
      polished: the largest N whose set is polished.
      num_examples: E.
      free: whether literals may be negated: row L + k is the negation of literal k.
    """
    if counts_by_products():
        # Or the compiler would unpack them anew at every step.
        truth = jax.lax.optimization_barrier(unpack(unit.literals.T))
        unit = unit._replace(truth=truth)
    found = take_steps(unit, largest=largest, num_examples=num_examples, free=free)
    if polished < 1:
        return found
    better = polish_sizes(unit, Found(*(field[: polished + 1] for field in found)), free=free)
    return jax.tree.map(lambda field, some: field.at[: polished + 1].set(some), found, better)


def counts_by_products() -> bool:
    """Whether literals are unpacked, eight times as large."""
    return meshes.platform() == "tpu"


def take_steps(unit: Unit, *, largest: int, num_examples: int, free: bool) -> Found:
    """The sets met on the way from no literals to K, by the guide alone."""
    tables = guide(num_examples, largest)
    losses, slopes = jnp.asarray(tables.losses), jnp.asarray(tables.slopes)
    offset, window = losses.shape[1] // 2, min(2 * tables.reach + 5, largest + 1)
    most = jnp.minimum(largest, unit.num_literals)
    c = jnp.arange(largest + 2, dtype=jnp.int32)
    off_held, held = row_counts(
        unit, jnp.stack([unit.examples & ~unit.target, unit.examples]), free
    )

    def loss(on: jax.Array, off: jax.Array, size: jax.Array, m: jax.Array) -> jax.Array:
        """[.] at every m [.], from on how many examples, on and off [K + 2], c literals hold."""
        z = c[None] - m[:, None] + offset
        return losses[size][z] @ on + losses[size][2 * offset - 1 - z] @ off

    def changes(size: jax.Array, m: jax.Array, first: jax.Array, near: jax.Array) -> jax.Array:
        """What taking in each literal changes, [., R] at every m and size [.]."""
        z = first + jnp.arange(window, dtype=jnp.int32)[None] - m[:, None] + offset
        falls = slopes[size[:, None], z - 1] - slopes[size[:, None], z]
        at_none = slopes[size, offset - m][:, None]
        return 2 * tables.scale * off_held[None] - at_none * held[None] + falls @ near

    def step(state: _State) -> _State:
        size, smaller = state.size, jnp.maximum(state.size - 1, 0)
        m = jnp.clip(state.m + jnp.arange(-1, 2, dtype=jnp.int32), 1, size + 1)
        first = jnp.clip(state.m - 1 - tables.reach, 1, largest + 2 - window)
        near = row_counts(unit, jax.lax.dynamic_slice_in_dim(state.hold, first, window), free)
        sizes = jnp.repeat(jnp.stack([size + 1, smaller]), 3)
        change = changes(sizes, jnp.concatenate([m, m + 1]), first, near)
        on, off = exactly(state.hold & unit.target[None]), exactly(state.hold & ~unit.target[None])
        more = loss(on, off, size + 1, m)[:, None] + change[:3]
        less = loss(on, off, smaller, m)[:, None] - change[3:]
        add = first_least(jnp.where(can_take(unit, state.taken, free)[None], more, NO_SET))
        drop = first_least(jnp.where(state.taken[None], less, NO_SET))
        drops = (size >= _LEAST_TO_DROP) & (drop.value < state.least[smaller])
        drops &= drop.row != state.last
        # A search that drops too often would not get to K.
        drops &= state.steps + largest - size + 1 < _STEPS_PER_LITERAL * largest
        ended = ~drops & (size >= most)
        best = jax.tree.map(partial(jnp.where, drops), drop, add)
        hold = move(state.hold, row_bits(unit, best.row, free), drops)
        taken = state.taken.at[best.row].set(~drops)
        size = jnp.where(drops, size - 1, size + 1)
        return _State(
            hold,
            taken,
            size,
            m=m[best.column],
            last=jnp.where(drops, state.last, best.row),
            least=state.least.at[size].min(best.value),
            found=keep(state.found, hold, taken, size, ended),
            steps=state.steps + 1,
            ended=ended,
        )

    def keep(found: Found, hold: jax.Array, taken: jax.Array, size: jax.Array, ended: jax.Array):
        m, errors = best_m(rule_errors(unit, hold), size)
        better = ~ended & (errors < found.errors[size])
        best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old[size]), Found(errors, m, taken), found
        )
        return jax.tree.map(lambda field, one: field.at[size].set(one), found, best)

    def goes_on(state: _State) -> jax.Array:
        return ~state.ended & (state.steps < _STEPS_PER_LITERAL * largest)

    zero, no_set = jnp.int32(0), jnp.full(largest + 2, NO_SET, jnp.int32)
    none_taken = jnp.zeros((largest + 1, len(held)), bool)
    start = _State(
        hold=holds_of_none(unit, largest),
        taken=none_taken[0],
        size=zero,
        m=zero + 1,
        last=zero - 1,
        least=no_set,
        found=Found(no_set[:-1], jnp.zeros(largest + 1, jnp.int32), none_taken),
        steps=zero,
        ended=most < 1,
    )
    return jax.lax.while_loop(goes_on, step, start).found


class _Set(NamedTuple):
    rows: jax.Array  # [S] int32, N rows, then S - N times R for none
    m: jax.Array  # int32
    errors: jax.Array  # int32; NO_SET if there is none


def polish_sizes(unit: Unit, found: Found, *, free: bool) -> Found:
    """Better sets of N = 1..S, from those found of N = 0..S, by exchanging literals.

    Of every size the set found and that of one literal less with another one are polished; then,
    from S down, that of one literal more without one of them. Of equals the first is kept.
    """
    largest, num_rows = len(found.errors) - 1, found.taken.shape[1]
    zero = jnp.int32(0)

    def met(sets: _Set, size: jax.Array) -> tuple[_Set, jax.Array]:
        rows = jnp.nonzero(found.taken[size], size=largest, fill_value=num_rows)[0]
        return _Set(rows.astype(jnp.int32), found.m[size], found.errors[size]), zero

    def one_more(sets: _Set, size: jax.Array) -> tuple[_Set, jax.Array]:
        smaller = at(sets, size - 1)  # its last row is none, and has the first turn
        return smaller._replace(errors=jnp.int32(NO_SET)), size - 1

    def one_less(sets: _Set, size: jax.Array) -> tuple[_Set, jax.Array]:
        return without_one(unit, at(sets, size + 1), size, free), zero

    def visit(sets: _Set, size_and_start: tuple[jax.Array, jax.Array]) -> tuple[_Set, None]:
        size, which = size_and_start
        start, place = jax.lax.switch(which, [met, one_more, one_less], sets, size)
        new, old = polish(unit, start, size, place, free), at(sets, size)
        best = jax.tree.map(partial(jnp.where, new.errors < old.errors), new, old)
        return jax.tree.map(lambda field, one: field.at[size].set(one), sets, best), None

    def at(sets: _Set, size: jax.Array) -> _Set:
        return jax.tree.map(lambda field: field[size], sets)

    visits = [(size, start) for size in range(1, largest + 1) for start in (0, 1)]
    visits += [(size, 2) for size in range(largest - 1, 0, -1)]
    sets = _Set(
        jnp.full((largest + 1, largest), num_rows, jnp.int32),
        jnp.zeros(largest + 1, jnp.int32),
        jnp.full(largest + 1, NO_SET, jnp.int32),
    )
    sets, _ = jax.lax.scan(visit, sets, tuple(jnp.array(visits, jnp.int32).T))
    sizes = jnp.arange(largest + 1, dtype=jnp.int32)[:, None]
    taken = jnp.zeros_like(found.taken).at[sizes, sets.rows].set(True, mode="drop")
    return Found(sets.errors, sets.m, taken)


class _Polish(NamedTuple):
    best: _Set
    hold: jax.Array  # [S + 2, W] uint32
    place: jax.Array  # whose turn it is
    stayed: jax.Array  # how many in a row could not be exchanged for better


def polish(unit: Unit, start: _Set, size: jax.Array, place: jax.Array, free: bool) -> _Set:
    """A set of N literals, each exchanged in turn for the best one, until none makes fewer errors.

    Args:
      unit: see `Unit`.
      start: the set; the row at the first place may be none.
      size: N.
      place: whose turn is the first.
      free: as in `search_unit`.
    """
    num_rows = count_rows(unit, free)

    def exchange(state: _Polish) -> _Polish:
        best, place = state.best, state.place
        row = best.rows[place]
        others = move(state.hold, row_bits(unit, row, free), jnp.bool_(True))
        errors = rule_errors(unit, others)
        m, _ = best_m(errors, size)
        m = jnp.clip(m + jnp.arange(-_NEAR, _NEAR + 1, dtype=jnp.int32), 1, size)
        pivotal = others[m - 1] & ~others[m]
        errors_held = jnp.stack([pivotal & ~unit.target[None], pivotal & unit.target[None]])
        more, fewer = row_counts(unit, errors_held.reshape(-1, len(unit.target)), free).reshape(
            2, len(m), -1
        )
        kept = best.rows.at[place].set(num_rows)
        taken = jnp.zeros(num_rows, bool).at[kept].set(True, mode="drop")
        legal = can_take(unit, taken, free)[None]
        new = first_least(jnp.where(legal, errors[m][:, None] + more - fewer, NO_SET))
        better = new.value < best.errors
        row = jnp.where(better, new.row, row)
        return _Polish(
            _Set(
                best.rows.at[place].set(row),
                jnp.where(better, m[new.column], best.m),
                jnp.where(better, new.value, best.errors),
            ),
            move(others, row_bits(unit, row, free), jnp.bool_(False)),
            place=(place + 1) % size,
            stayed=jnp.where(better, 1, state.stayed + 1),
        )

    state = _Polish(start, holds_of(unit, start.rows, free), place, jnp.int32(0))
    best = jax.lax.while_loop(lambda state: state.stayed < size, exchange, state).best
    whole = (best.rows < num_rows).sum() == size
    return best._replace(errors=jnp.where(whole, best.errors, NO_SET))


def without_one(unit: Unit, larger: _Set, size: jax.Array, free: bool) -> _Set:
    """The set of N of the N + 1 literals that makes the fewest errors, of equals the first."""
    hold, places = holds_of(unit, larger.rows, free), jnp.arange(len(larger.rows))

    def without(place: jax.Array) -> tuple[jax.Array, jax.Array]:
        row = row_bits(unit, larger.rows[place], free)
        return best_m(rule_errors(unit, move(hold, row, jnp.bool_(True))), size)

    m, errors = jax.lax.map(without, places)
    place = jnp.argmin(jnp.where(places <= size, errors, NO_SET))
    none = count_rows(unit, free)
    rows = larger.rows.at[place].set(larger.rows[size]).at[size].set(none)
    return _Set(rows, m[place], errors[place])


class _Best(NamedTuple):
    row: jax.Array
    column: jax.Array
    value: jax.Array


def first_least(values: jax.Array) -> _Best:
    """The least of [., R], of equals the one of the first row, then column of the transpose."""
    by_row = values.T
    place = jnp.argmin(by_row).astype(jnp.int32)
    row, column = jnp.divmod(place, jnp.int32(by_row.shape[1]))
    return _Best(row, column, by_row[row, column])


def count_rows(unit: Unit, free: bool) -> int:
    """R: a row for each literal and, if they may be negated, one for each negation."""
    return unit.literals.shape[1] * (2 if free else 1)


def row_bits(unit: Unit, row: jax.Array, free: bool) -> jax.Array:
    """The examples on which a row's literal, or its negation, holds: [W] uint32; of R, none."""
    num_literals = unit.literals.shape[1]
    bits = unit.literals[:, row % num_literals]
    if free:
        bits = jnp.where(row < num_literals, bits, bits ^ unit.examples)
    return jnp.where(row < count_rows(unit, free), bits, 0)


def row_counts(unit: Unit, words: jax.Array, free: bool) -> jax.Array:
    """On how many of the examples of [B, W] the literal of each row holds: [B, R] int32."""
    if unit.truth is None:
        held = counts(words, unit.literals)
    else:
        held = jax.lax.dot_general(
            unpack(words),
            unit.truth,
            (((1, 2), (1, 2)), ((), ())),
            preferred_element_type=jnp.int32,
        )
    return jnp.concatenate([held, count(words)[:, None] - held], axis=1) if free else held


def can_take(unit: Unit, taken: jax.Array, free: bool) -> jax.Array:
    """Which rows are literals whose input is not in the set: [R] bool."""
    num_literals = unit.literals.shape[1]
    either = taken.reshape(-1, num_literals).any(0)
    can = ~either & (jnp.arange(num_literals) < unit.num_literals)
    return jnp.tile(can, count_rows(unit, free) // num_literals)


def holds_of_none(unit: Unit, largest: int) -> jax.Array:
    """The examples on which at least 0, 1, ... K + 1 of no literals hold: [K + 2, W] uint32."""
    return jnp.zeros((largest + 2, len(unit.examples)), jnp.uint32).at[0].set(unit.examples)


def holds_of(unit: Unit, rows: jax.Array, free: bool) -> jax.Array:
    """The examples on which at least 0, 1, ... S + 1 of a set hold, [S + 2, W] uint32."""

    def add(hold: jax.Array, row: jax.Array) -> tuple[jax.Array, None]:
        return move(hold, row_bits(unit, row, free), jnp.bool_(False)), None

    return jax.lax.scan(add, holds_of_none(unit, len(rows)), rows)[0]


def move(hold: jax.Array, literal: jax.Array, drops: jax.Array) -> jax.Array:
    """The examples on which at least 0, 1, ... hold of a set with a literal more, or less.

    Without it, at least c hold where c + 1 did, or where c did and it is not one of them.
    """
    below = jnp.concatenate([hold[:1], hold[:-1]])
    above = jnp.concatenate([hold[1:], jnp.zeros_like(hold[:1])])
    moved = jnp.where(drops, above | (hold & ~literal[None]), hold | (below & literal[None]))
    return moved.at[0].set(hold[0])


def exactly(hold: jax.Array) -> jax.Array:
    """The number of examples on which exactly 0, 1, ... hold, from those of at least as many."""
    at_least = count(hold)
    return at_least - jnp.append(at_least[1:], 0)


def rule_errors(unit: Unit, hold: jax.Array) -> jax.Array:
    """The errors of "at least M hold" for M = 0, 1, ...: [.] int32."""
    return count(hold ^ unit.target[None])


def best_m(errors: jax.Array, size: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of M = 1..N the first of fewest errors, and these; from those of M = 0, 1, ..."""
    m = jnp.arange(len(errors), dtype=jnp.int32)
    errors = jnp.where((m >= 1) & (m <= size), errors, NO_SET)
    best = jnp.argmin(errors).astype(jnp.int32)
    return best, errors[best]

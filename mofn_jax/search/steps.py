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

Axis letters: N literals, M needed, K the largest N, L literals to choose from, R rows of literals
(L, or with either sign 2 L), B values of c, W words of 32 examples.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax.bits import unpack
from mofn_jax.search.exact import NO_SET
from mofn_jax.search.polish import polish_sizes
from mofn_jax.search.sets import (
    Found,
    Unit,
    best_m,
    can_take,
    counts_by_products,
    exactly,
    first_least,
    holds_of_none,
    move,
    row_bits,
    row_counts,
    rule_errors,
)

MOST_LITERALS = 256
_STEPS_PER_LITERAL = 4
_LEAST_TO_DROP = 4  # literals; smaller sets are for other searches
_MOST_SCALE = 16  # H, enough


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

"""Where thresholds go: of rules, one literal at a time, each threshold to its best place.

A literal decides its rule on the pivotal examples, those on which M - 1 of the other literals hold.
The examples stand in places, by their values of the literal's input: the errors of every cut are a
sum over the pivotal examples in the places before it, so the best of all cuts is found exactly, the
first on a tie. Literals take turns until none can improve.

Axis letters: C columns, E places, one for each example and at least one more, K the largest N,
N literals, M needed, R rules.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mofn_jax.columns import less_than
from mofn_jax.score_kernels import LANES, sums_by

_NOT_A_CUT = jnp.iinfo(jnp.int32).max
_MOST_UNPACKED = 2**25  # ones and zeros that a product is made of

_Array = Any  # of JAX or NumPy


class Columns(NamedTuple):
    """Inputs that rules name."""

    keys: tuple[_Array, ...]  # each [C, E] uint32, see `mofn_jax.columns.sort_keys`
    order: _Array | None  # [C, E] int32, the example in each place; None if keys are not sorted


class Rules(NamedTuple):
    """Rules, padded with literals that are none and rules of no literals."""

    rows: _Array  # [R, K] int32, of each literal its input's column
    keys: tuple[_Array, ...]  # each [R, K] uint32, of the thresholds
    negated: _Array  # [R, K] bool
    sizes: _Array  # [R] int32, N
    m: _Array  # [R] int32


class Moved(NamedTuple):
    """What becomes of the rules."""

    moved: jax.Array  # [R, K] bool, which thresholds
    keys: tuple[jax.Array, ...]  # each [R, K] uint32, of those
    change: jax.Array  # [R] int32, by how much their errors change


class _Column(NamedTuple):
    """An input, the places numbered by `_numbered`."""

    keys: tuple[jax.Array, ...]  # each [E], ascending
    place: jax.Array  # [E] int32, of each example
    order: jax.Array  # [E / 128, 128] int32, the example in each place
    can_cut: jax.Array  # [E / 128, 128] bool, whether the value differs from the one before


@partial(jax.jit, static_argnames=("num_examples", "platform"))
def move_thresholds(
    columns: Columns, signs: jax.Array, rules: Rules, *, num_examples: int, platform: str
) -> Moved:
    """The thresholds of rules of one unit, moved until no move makes fewer errors.

    Args:
      columns: in whose places examples come first, those that are none last.
      signs: [E] int32, -1 for an example on which the unit is on, +1 for others, 0 for none.
      rules: over these columns.
      num_examples: how many there are.
      platform: for which this is compiled; a TPU multiplies faster than it looks up.
    """
    prepare = partial(_column, num_examples=num_examples, platform=platform)
    if platform == "cpu":
        known = lax.map(lambda column: prepare(*column), columns)
    else:
        known = jax.vmap(prepare)(*columns)
    places = _numbered(lax.iota(jnp.int32, len(signs)), platform)

    def of_rule(rule: Rules) -> Moved:
        def move(state: tuple[Any, ...]) -> tuple[Any, ...]:
            i, unmoved, hold, cuts, moved, change = state
            cut, held = cuts[i], _truth(known, rule, i, cuts[i])
            column = jax.tree.map(lambda array: array[rule.rows[i]], known)
            pivotal = jnp.where(hold - held == rule.m - 1, signs, 0)
            # How many more errors there are if the literal holds there in the places before each.
            errors = _sums_before(pivotal, column, platform)
            errors = jnp.where(rule.negated[i], errors, pivotal.sum() - errors)
            now = jnp.where(places == cut, errors, 0).sum()
            errors = jnp.where(column.can_cut, errors, _NOT_A_CUT)
            least = errors.min()
            moves = least < now
            best = jnp.where(errors == least, places, len(signs)).min()
            cut = jnp.where(moves, best, cut)
            return (
                jnp.where(i + 1 < rule.sizes, i + 1, 0),
                jnp.where(moves, 1, unmoved + 1),
                hold + _truth(known, rule, i, cut) - held,
                cuts.at[i].set(cut),
                moved.at[i].set(moved[i] | moves),
                change + jnp.where(moves, least - now, 0),
            )

        hold, cuts = _hold(known, rule)
        zero, none = jnp.int32(0), jnp.zeros_like(rule.negated)
        end = lax.while_loop(
            lambda state: state[1] < rule.sizes, move, (zero, zero, hold, cuts, none, zero)
        )
        *_, cuts, moved, change = end
        return Moved(moved, tuple(key[rule.rows, cuts] for key in known.keys), change)

    # Rules of a few literals and of many: a GPU that works on all of them waits for the longest.
    return jax.vmap(of_rule)(rules) if platform == "gpu" else lax.map(of_rule, rules)


def _truth(known: _Column, rule: Rules, i: jax.Array, cut: jax.Array) -> jax.Array:
    """On which examples [E] a rule's literal i holds with its threshold at a cut."""
    return (known.place[rule.rows[i]] >= cut) ^ rule.negated[i]


def _hold(known: _Column, rule: Rules) -> tuple[jax.Array, jax.Array]:
    """How many literals of a rule hold on each example [E], and the literals' cuts [K]."""

    def take(state: tuple[Any, ...]) -> tuple[Any, ...]:
        i, hold, cuts = state
        keys = [key[rule.rows[i]] for key in known.keys]
        cut = less_than(keys, [key[i] for key in rule.keys]).sum(dtype=jnp.int32)
        return i + 1, hold + _truth(known, rule, i, cut), cuts.at[i].set(cut)

    start = jnp.int32(0), jnp.zeros(known.place.shape[1], jnp.int32), jnp.zeros_like(rule.rows)
    return lax.while_loop(lambda state: state[0] < rule.sizes, take, start)[1:]


def _numbered(places: jax.Array, platform: str) -> jax.Array:
    """What is known of each place [E] as the kernel has it: [E / 128, 128].

    A CPU adds up by rows, each place to that in the row before.
    """
    return places.reshape(LANES, -1).T if platform == "cpu" else places.reshape(-1, LANES)


def _column(
    keys: tuple[jax.Array, ...], order: jax.Array | None, *, num_examples: int, platform: str
) -> _Column:
    """One column, sorted if that is left to do."""
    examples = lax.iota(jnp.int32, keys[0].shape[0])
    if order is None:
        *sorted_keys, order = lax.sort((*keys, examples), num_keys=len(keys), is_stable=False)
        keys = tuple(sorted_keys)
    if platform == "tpu":
        _, place = lax.sort((order, examples), num_keys=1, is_stable=False)
    else:
        place = jnp.zeros_like(order).at[order].set(examples, mode="promise_in_bounds")
    can_cut = jnp.pad(jnp.stack([key[1:] != key[:-1] for key in keys]).any(0), (1, 0))
    can_cut &= examples < num_examples
    return _Column(keys, place, _numbered(order, platform), _numbered(can_cut, platform))


def _sums_before(values: jax.Array, column: _Column, platform: str) -> jax.Array:
    """The sums of values -1, 0, 1 [E] of the examples in the places before each: as `_numbered`."""
    if platform == "tpu":
        parts = -(-len(values) * (len(values) // LANES + LANES) // _MOST_UNPACKED)
        size = -(-len(values) // parts)
        pairs = jnp.pad(
            jnp.stack([column.place, values]), ((0, 0), (0, parts * size - len(values)))
        )
        pairs = pairs.reshape(2, parts, size).swapaxes(0, 1)
        in_places = lax.map(lambda pair: sums_by(pair[0], pair[1], len(values)), pairs).sum(0)
    else:
        in_places = values.at[column.order].get(mode="promise_in_bounds")
    if platform != "cpu":
        in_places = in_places.reshape(-1)
        return (jnp.cumsum(in_places) - in_places).reshape(column.order.shape)

    def add(total: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array]:
        return total + row, total

    totals, sums = lax.scan(add, jnp.zeros(LANES, jnp.int32), in_places)
    return sums + (jnp.cumsum(totals) - totals)[None]

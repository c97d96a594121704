"""Sets of literals, by the examples on which at least 0, 1, ... of them hold.

What the kernels of the stepwise search have in common: how a literal more or less changes these
examples, how many errors "at least M hold" makes, and on how many examples each literal holds. A
TPU multiplies faster than it counts bits: there literals are unpacked once, and products count.

Axis letters: as in `mofn_jax.search.steps`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mofn_jax import meshes
from mofn_jax.bits import count, counts, unpack
from mofn_jax.search.exact import NO_SET


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


def counts_by_products() -> bool:
    """Whether literals are unpacked, eight times as large."""
    return meshes.platform() == "tpu"


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

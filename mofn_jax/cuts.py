"""The kernel under the thresholds: the best cut of each sorted column about each target.

A *cut* at place c of a column's examples in ascending order puts the first c of them below the
threshold. With g(m) = m log m, and p_k of the c examples below of class k, P_k in all,

    E * gain = sum_k [g(p_k) + g(P_k - p_k) - g(P_k)] - [g(c) + g(E - c) - g(E)]

Each bracket depends on one count alone: a table for each class and one for c, and no logarithm a
cut. The tables are in fixed point, so that every device, batch and vector width finds the same cut.
Gains that the rounding of the tables cannot tell apart count as equal: of exactly equal ones the
first cut is always found, and no gain is further from the best than 4 (k + 1) steps of the fixed
point, 5e-8 nats of two classes and 10,000 examples.

The counts come from bits: the labels of 32 targets make one word, so that one look-up sorts them
all; a transpose of 32 x 32 bits makes of them 32 sorted examples of one target, and population
counts do the rest. No step scatters or needs a float.

Axis letters: E examples, n columns, u targets, k classes, B blocks of 32 examples.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

WORD = 32  # examples, targets or classes to a packed word
NOT_A_CUT = np.int32(-(2**30))  # below every gain, and what is a little less does not overflow


def nats_per_step(num_examples: int) -> float:
    """One step of the fixed point, in nats of E * gain; its largest value still fits an int32."""
    return max(num_examples * np.log(num_examples), 1.0) / (2**31 - 2**8)


def tied_within(num_classes: int) -> int:
    """By how many steps the gains of two cuts may differ that are truly equal.

    Each is a sum of two rounded terms of each class and two of the place.
    """
    return 2 * num_classes + 2


@lru_cache(maxsize=8)
def x_log_x(num_examples: int) -> np.ndarray:
    """`x log x` in fixed point for x = 0..E: [E + 1] int32."""
    x = np.arange(num_examples + 1, dtype=np.float64)
    table = np.rint(x * np.log(np.maximum(x, 1)) / nats_per_step(num_examples)).astype(np.int32)
    table.flags.writeable = False  # it is kept for the next caller
    return table


@partial(jax.jit, static_argnames="at_once")
def best_cuts_of_targets(
    order: jax.Array, is_cut: jax.Array, targets: jax.Array, table: jax.Array, *, at_once: int
) -> tuple[jax.Array, jax.Array]:
    """The best cut of every column about every boolean target; the first one on a tie.

    Args:
      order: [n, E] int32, the examples in ascending order of the column.
      is_cut: [n, E] bool, whether the value at this place differs from the one before.
      targets: [E, u] bool.
      table: [E + 1] int32, as `x_log_x` gives it.
      at_once: columns worked on together; sets speed and memory, not the result.

    Returns:
      Two [n, u] int32: the cut, -1 for a constant column, and E times its gain in fixed point.
    """
    num_examples, num_targets = targets.shape
    places = _blocks(of_places(table), 0)

    def best_of_group(
        group: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:  # [size, E] -> two [n, size]
        on = group.sum(1, dtype=jnp.int32)
        off = num_examples - on
        words = jnp.pad(pack(group), (0, 1))  # the last one, for padding, is empty
        shared = words, _class_table(table, on), _class_table(table, off), places
        return map_columns(
            lambda order, is_cut: _best_cuts_of_column(order, is_cut, *shared),
            (order, is_cut),
            at_once,
        )

    cuts, gains = lax.map(best_of_group, in_groups(targets))
    return tuple(a.swapaxes(0, 1).reshape(len(order), -1)[:, :num_targets] for a in (cuts, gains))


@partial(jax.jit, static_argnames=("num_classes", "at_once"))
def best_cuts_of_classes(
    order: jax.Array,
    is_cut: jax.Array,
    labels: jax.Array,
    table: jax.Array,
    *,
    num_classes: int,
    at_once: int,
) -> tuple[jax.Array, jax.Array]:
    """The best cut of every column about labels of k classes; the first one on a tie.

    Args:
      order, is_cut, table, at_once: as `best_cuts_of_targets`.
      labels: [E] int32 in 0..k-1.
      num_classes: k.

    Returns:
      Two [n] int32: the cut, -1 for a constant column, and E times its gain in fixed point.
    """
    size, padded = group_sizes(num_classes)
    totals = jnp.zeros(padded, jnp.int32).at[labels].add(1).reshape(-1, size)
    valid = jax.vmap(lambda cuts: _blocks(cuts, False))(is_cut)

    def add_group(
        sums: jax.Array, group: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, None]:  # [n, 32, B], at place t of every block
        first, totals = group
        bit = labels - first
        word = jnp.where((bit >= 0) & (bit < size), jnp.uint32(1) << bit.astype(jnp.uint32), 0)
        word, class_table = jnp.pad(word, (0, 1)), _class_table(table, totals)

        def of_column(order: jax.Array) -> jax.Array:
            sorted_labels = _sort_labels(order, word)[:size]
            start = _count_before_blocks(sorted_labels)

            def inside(t: jax.Array) -> jax.Array:
                return _look_up(class_table, start + _count_first(sorted_labels, t)).sum(0)

            return lax.map(inside, jnp.arange(WORD))

        return sums + map_columns(of_column, (order,), at_once), None

    firsts = size * jnp.arange(len(totals), dtype=jnp.int32)
    sums, _ = lax.scan(add_group, jnp.zeros(valid.shape, jnp.int32), (firsts, totals))
    gains = jnp.where(valid, sums - _blocks(of_places(table), 0)[None], NOT_A_CUT)
    gains = gains.swapaxes(1, 2).reshape(len(order), -1)
    varies = valid.any((1, 2))
    cuts = first_best(gains, gains.max(1), num_classes)
    gains = jnp.take_along_axis(gains, cuts[:, None], axis=1)[:, 0]
    return jnp.where(varies, cuts, -1), jnp.where(varies, gains, 0)


def first_best(gains: jax.Array, largest: jax.Array, num_classes: int) -> jax.Array:
    """Of each row [., C] the first place of what counts as the largest gain: [.] int32."""
    return jnp.argmax(gains >= largest[:, None] - tied_within(num_classes), axis=1).astype(
        jnp.int32
    )


def map_columns(of_column: Callable, columns: tuple[jax.Array, ...], at_once: int) -> Any:
    """What a function makes of each column, in even batches of about so many.

    As `lax.map` does it, but that would compile the function again for what is left in the end.
    """
    count = len(columns[0])
    batches = -(-count // at_once)
    size = -(-count // batches)

    def in_batches(array: jax.Array) -> jax.Array:
        missing = batches * size - count
        padded = jnp.pad(array, ((0, missing), (0, 0)), mode="edge") if missing else array
        return padded.reshape(batches, size, -1)

    made = lax.map(lambda batch: jax.vmap(of_column)(*batch), tuple(map(in_batches, columns)))
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[:count], made)


def _best_cuts_of_column(order, is_cut, words, on_table, off_table, places):
    """The best cut of one column about each of at most 32 targets.

    Args:
      order: [E] int32.
      is_cut: [E] bool.
      words: [E + 1] uint32, bit j of words[e]: is target j on at example e.
      on_table, off_table: [u, .] int32, the brackets of the examples that are on and off.
      places: [32, B] int32, the bracket of the cut's place.

    Returns:
      Two [u] int32, the cut, -1 where there is none, and E times its gain.
    """
    num_targets = len(on_table)
    labels = _sort_labels(order, words)[:num_targets]
    start = _count_before_blocks(labels)
    block_start = WORD * jnp.arange(labels.shape[1], dtype=jnp.int32)[None]
    valid = _blocks(is_cut, False)

    def gains(t, labels, start, block_start, valid, place):  # at place t of these blocks
        on = start + _count_first(labels, t)
        off = block_start + t - on
        both = _look_up(on_table, on) + _look_up(off_table, off)
        return jnp.where(valid, both - place, NOT_A_CUT)

    def step(t, best):  # the gain alone: to carry its place along takes twice the time
        here = gains(t, labels, start, block_start, valid[t][None], places[t][None])
        return jnp.maximum(best, here)

    best = lax.fori_loop(0, WORD, step, jnp.full_like(start, NOT_A_CUT), unroll=4)
    largest = best.max(1)
    block = first_best(best, largest, 2)[:, None]
    labels, start = (jnp.take_along_axis(a, block, axis=1) for a in (labels, start))
    best_block_gains = gains(
        jnp.arange(WORD, dtype=jnp.int32)[None],
        labels,
        start,
        WORD * block,
        valid.T[block[:, 0]],
        places.T[block[:, 0]],
    )
    place = first_best(best_block_gains, largest, 2)
    gain = jnp.take_along_axis(best_block_gains, place[:, None], axis=1)[:, 0]
    cut = WORD * block[:, 0] + place
    return jnp.where(valid.any(), cut, -1), jnp.where(valid.any(), gain, 0)


def _class_table(table: jax.Array, totals: jax.Array) -> jax.Array:
    """g(p) + g(P - p) - g(P) for p = 0..E, a row for each of the totals P."""
    p, totals = jnp.arange(len(table))[None], totals[:, None]
    return table[None] + table[jnp.maximum(totals - p, 0)] - table[totals]


def of_places(table: jax.Array) -> jax.Array:
    """g(c) + g(E - c) - g(E) for c = 0..E-1."""
    return (table + table[::-1] - table[-1])[:-1]


def _look_up(tables: jax.Array, indices: jax.Array) -> jax.Array:
    """tables[j, indices[j, ...]]; flat, which XLA turns into plain loads."""
    rows = tables.shape[1] * jnp.arange(len(tables), dtype=jnp.int32)[:, None]
    return tables.reshape(-1).at[rows + indices].get(mode="promise_in_bounds")


def _blocks(row: jax.Array, fill) -> jax.Array:
    """Lays out [E] as [32, B], entry 32 b + t at [t, b]: the long axis is minor."""
    padding = -len(row) % WORD
    return jnp.pad(row, (0, padding), constant_values=fill).reshape(-1, WORD).T


def group_sizes(total: int) -> tuple[int, int]:
    """Of groups of equal size, as full as they get: how large, and how many are in all of them."""
    groups = -(-total // WORD)
    size = -(-total // groups)
    return size, groups * size


def in_groups(targets: jax.Array) -> jax.Array:
    """Targets [E, u] in groups, padded with those that are never on: [., size, E]."""
    num_examples, num_targets = targets.shape
    size, padded = group_sizes(num_targets)
    targets = jnp.pad(targets, ((0, 0), (0, padded - num_targets)))
    return targets.T.reshape(-1, size, num_examples)


def pack(targets: jax.Array) -> jax.Array:
    """Words [E] uint32 of at most 32 targets [u, E]."""
    bits = jnp.arange(len(targets), dtype=jnp.uint32)[:, None]
    return (targets.astype(jnp.uint32) << bits).sum(0, dtype=jnp.uint32)


def _sort_labels(order: jax.Array, words: jax.Array) -> jax.Array:
    """[32, B] uint32, bit t of [j, b]: is target j on at the example of place 32 b + t."""
    placed = words.at[_blocks(order, len(words) - 1)].get(mode="promise_in_bounds")
    for shift, mask in (
        (16, 0x0000FFFF),
        (8, 0x00FF00FF),
        (4, 0x0F0F0F0F),
        (2, 0x33333333),
        (1, 0x55555555),
    ):  # transposes 32 x 32 bits: swaps off-diagonal halves of ever smaller squares
        pairs = placed.reshape(WORD // (2 * shift), 2, shift, -1)
        low, high = pairs[:, 0], pairs[:, 1]
        swap = ((low >> shift) ^ high) & mask
        placed = jnp.stack([low ^ (swap << shift), high ^ swap], axis=1).reshape(placed.shape)
    return placed


def _count_before_blocks(labels: jax.Array) -> jax.Array:
    """How many examples before each block are on: [u, B] int32."""
    inside = lax.population_count(labels).astype(jnp.int32)
    return jnp.cumsum(inside, axis=1) - inside


def _count_first(labels: jax.Array, t: jax.Array) -> jax.Array:
    """How many of the first t examples of each block are on."""
    before = (jnp.uint32(1) << t.astype(jnp.uint32)) - 1
    return lax.population_count(labels & before).astype(jnp.int32)

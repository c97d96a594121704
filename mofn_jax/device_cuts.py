"""The best cuts of columns in any order, for accelerators: the same, to the last bit, as of `cuts`.

An accelerator sorts well and has numbers in abundance, but to look up elements of a table takes it
a thousand times longer. So the columns are sorted here, each with the labels' bits beside it, and
counts are cumulative sums. The table of `cuts`, g(x) = x log x in fixed point, is first computed
instead of looked up, within a few steps: by how many, at most, is measured here too, over all
counts that there can be, on the device itself. The cuts whose gain is so near to the largest that
these steps may have swapped them are decided by looking up: all those in four windows, each of
which begins at the first of them that is left. Where that is not enough, which is rare, the target
is marked as undecided: it is for `cuts`.

To compute x log x, let x = 2^e m with 1 <= m < 2, and r a number of 6 bits near 1 / m, by the first
bits of m. Then t = m r - 1 is exact and small, and

    log x = e log 2 + log(1 / r) + log(1 + t)

In steps of the fixed point the first two terms have a whole part, whose product with x is an exact
integer, and a fraction; x times the fraction and the last term are small enough for float32.

Axis letters: E examples, n columns, u targets, k classes, V places in the windows.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mofn_jax.cuts import (
    NOT_A_CUT,
    first_best,
    group_sizes,
    in_groups,
    map_columns,
    nats_per_step,
    of_places,
    pack,
    tied_within,
)

# Bytes of working memory for each column, example and target of a group worked on at once.
CELL_BYTES = 24
MOST_EXAMPLES = 2**18  # of more, t would not be exact
_WINDOWS, _LEAST_WIDTH, _MOST_WIDTH = 4, 4, 64
_SEGMENT_BITS = 4
# How often the compiler may round here and not there: a product and a sum may be one operation.
_ROUNDINGS = 2


class _Parts(NamedTuple):
    """Numbers that x log x is made of, in steps of the fixed point."""

    per_nat: np.float32
    whole_log_2: np.int32
    rest_log_2: np.float32
    inverse: np.ndarray  # [16] float32, r of each segment of m
    whole: np.ndarray  # [16] int32, of log(1 / r)
    rest: np.ndarray  # [16] float32


@lru_cache(maxsize=8)
def _parts(num_examples: int) -> _Parts:
    per_nat = 1 / nats_per_step(num_examples)
    middles = 1 + (np.arange(2**_SEGMENT_BITS) + 0.5) / 2**_SEGMENT_BITS
    inverse = np.rint(64 / middles) / 64
    logs = -np.log(inverse) * per_nat
    log_2 = np.log(2) * per_nat
    return _Parts(
        np.float32(per_nat),
        np.int32(log_2),
        np.float32(log_2 - np.int32(log_2)),
        inverse.astype(np.float32),
        np.floor(logs).astype(np.int32),
        (logs - np.floor(logs)).astype(np.float32),
    )


def x_log_x(x: jax.Array, num_examples: int) -> jax.Array:
    """About what the table of `cuts.x_log_x` has at counts x from 0 to E: int32 of any shape."""
    parts = _parts(num_examples)
    real = x.astype(jnp.float32)
    bits = lax.bitcast_convert_type(real, jnp.int32)
    exponent, fraction = (bits >> 23) - 127, bits & 0x7FFFFF
    segment = fraction >> (23 - _SEGMENT_BITS)

    def of_segment(values: np.ndarray) -> jax.Array:
        left = [jnp.full(segment.shape, value, values.dtype) for value in values]
        for bit in range(_SEGMENT_BITS):  # chosen by halves: a look-up would take far longer
            is_set = (segment >> bit) & 1 == 1
            left = [jnp.where(is_set, *pair) for pair in zip(left[1::2], left[::2], strict=True)]
        return left[0]

    one = np.float32(1)
    m = lax.bitcast_convert_type(fraction | one.view(np.int32), jnp.float32)
    t = m * of_segment(parts.inverse) - 1
    series = jnp.full_like(t, 1 / 7)
    for power in (6, 5, 4, 3, 2):
        series = series * t + np.float32((-1) ** (power + 1) / power)
    log_1_t = t + t * t * series
    rest = exponent.astype(jnp.float32) * parts.rest_log_2 + of_segment(parts.rest)
    small = real * rest + real * parts.per_nat * log_1_t
    whole = x * (exponent * parts.whole_log_2 + of_segment(parts.whole))
    return jnp.where(x > 0, whole + jnp.round(small).astype(jnp.int32), 0)


class Found(NamedTuple):
    """The best cut of every column about every target."""

    cuts: jax.Array  # [n, u] int32, -1 for a constant column
    gains: jax.Array  # [n, u] int32, E times its gain in fixed point
    keys: tuple[jax.Array, ...]  # [n, u] uint32, of the value at the cut
    decided: jax.Array  # [n, u] bool; where it is false, nothing else counts


@partial(jax.jit, static_argnames="at_once")
def best_cuts_of_targets(
    keys: tuple[jax.Array, ...],
    targets: jax.Array,
    table: jax.Array,
    *,
    at_once: int,
) -> Found:
    """The best cut of every column about every boolean target; the first one on a tie.

    Args:
      keys: each [n, E] uint32, as `sort_keys` gives them.
      targets: [E, u] bool.
      table: [E + 1] int32, as `cuts.x_log_x` gives it.
      at_once: columns worked on together; sets speed and memory, not the result.
    """
    num_examples, num_targets = targets.shape
    within = _near_within(table, 2)

    def of_group(group: jax.Array) -> Found:  # [size, E] -> [n, size]
        bits, word = jnp.arange(len(group), dtype=jnp.uint32)[:, None], pack(group)
        on = group.sum(1, dtype=jnp.int32)[:, None]

        def of_column(*keys: jax.Array) -> Found:
            *ascending, sorted_word = lax.sort((*keys, word), num_keys=len(keys), is_stable=False)
            below = _count_below((sorted_word[None] >> bits) & 1)
            places = jnp.arange(num_examples, dtype=jnp.int32)[None]
            gain = _computed(below, on, table) + _computed(places - below, num_examples - on, table)
            near = _near(gain, ascending, table, within)
            windows = _windows(near)
            c, p = windows.places, windows.of(below)
            exact = _bracket(table, p, on) + _bracket(table, c - p, num_examples - on)
            same = (on[:, 0] == 0) | (on[:, 0] == num_examples)
            return _decide(exact, windows, same, ascending, table, 2)

        return map_columns(of_column, keys, at_once)

    found = lax.map(of_group, in_groups(targets))
    return jax.tree.map(
        lambda a: a.swapaxes(0, 1).reshape(len(keys[0]), -1)[:, :num_targets], found
    )


@partial(jax.jit, static_argnames=("num_classes", "at_once"))
def best_cuts_of_classes(
    keys: tuple[jax.Array, ...],
    labels: jax.Array,
    table: jax.Array,
    *,
    num_classes: int,
    at_once: int,
) -> Found:
    """The best cut of every column about labels of k classes; the first one on a tie.

    Args:
      keys, table, at_once: as `best_cuts_of_targets`.
      labels: [E] int32 in 0..k-1.
      num_classes: k.

    Returns:
      As there, with u = 1.
    """
    num_examples = len(labels)
    size, padded = group_sizes(num_classes)
    classes = jnp.arange(padded, dtype=jnp.int32).reshape(-1, size, 1)
    totals = jnp.zeros(padded, jnp.int32).at[labels].add(1).reshape(classes.shape)
    within = _near_within(table, num_classes)

    def of_column(*keys: jax.Array) -> Found:
        *ascending, label = lax.sort((*keys, labels), num_keys=len(keys), is_stable=False)

        def below(group: jax.Array) -> jax.Array:
            return _count_below(label[None] == group)

        def add_gain(gain: jax.Array, group: tuple[jax.Array, jax.Array]):
            return gain + _computed(below(group[0]), group[1], table).sum(0), None

        gain, _ = lax.scan(add_gain, jnp.zeros(num_examples, jnp.int32), (classes, totals))
        windows = _windows(_near(gain[None], ascending, table, within))

        def add_exact(exact: jax.Array, group: tuple[jax.Array, jax.Array]):
            p = windows.of(below(group[0]))
            return exact + _bracket(table, p, group[1]).sum(0, keepdims=True), None

        exact, _ = lax.scan(add_exact, jnp.zeros_like(windows.places), (classes, totals))
        same = (totals == num_examples).any()
        return _decide(exact, windows, same, ascending, table, num_classes)

    return map_columns(of_column, keys, at_once)


def _count_below(bits: jax.Array) -> jax.Array:
    """How many of [., E] are set before each place: int32."""
    bits = bits.astype(jnp.int32)
    return jnp.cumsum(bits, axis=1) - bits


def _computed(count: jax.Array, total: jax.Array, table: jax.Array) -> jax.Array:
    """About g(p) + g(P - p) - g(P), of counts [., E] and totals [., 1]."""
    num_examples = len(table) - 1
    parts = x_log_x(count, num_examples) + x_log_x(total - count, num_examples)
    return parts - table[total]


def _near_within(table: jax.Array, num_classes: int) -> jax.Array:
    """How many steps below the largest computed gain that of the best cut may be."""
    num_examples = len(table) - 1
    counts = jnp.arange(num_examples + 1, dtype=jnp.int32)
    largest = num_examples * _parts(num_examples).per_nat / 16  # as |log(1 + t)| is less than 1/16
    margin = _ROUNDINGS * max(1, int(np.spacing(largest)))
    wrong = jnp.abs(x_log_x(counts, num_examples) - table).max() + margin
    return tied_within(num_classes) + 2 * (2 * num_classes) * wrong


def _near(gain: jax.Array, keys: list[jax.Array], table: jax.Array, within: jax.Array) -> jax.Array:
    """Which cuts of a sorted column may be the best: [., E] bool.

    Args:
      gain: [., E] int32, about the sum of the brackets of the classes.
      keys: each [E], the column's.
      table: [E + 1] int32.
      within: see `_near_within`.
    """
    gain = gain - of_places(table)[None]
    is_cut = jnp.pad(jnp.stack([key[1:] != key[:-1] for key in keys]).any(0), (1, 0))[None]
    largest = jnp.where(is_cut, gain, NOT_A_CUT).max(1, keepdims=True)
    return is_cut & (gain >= largest - within)


class _Windows(NamedTuple):
    """Where near cuts are, of each target: V places in all, or of classes of all of them."""

    places: jax.Array  # [., V] int32
    are_near: jax.Array  # [., V] bool
    are_all: jax.Array  # [.] bool, whether there are no others

    def of(self, rows: jax.Array) -> jax.Array:
        """What rows [., E] have at the places: [., V]."""
        # One by one: slices of a target each would be a loop, and take a TPU far longer.
        places = jnp.broadcast_to(self.places, (len(rows), self.places.shape[1]))
        return jnp.take_along_axis(rows, places, axis=1)


def _windows(near: jax.Array) -> _Windows:
    """The windows of near cuts [., E] bool."""
    num_examples = near.shape[1]
    # Four of them hold those near the end of a class of one example, up to some 60,000 examples.
    width = int(np.clip(4 * num_examples * nats_per_step(num_examples), _LEAST_WIDTH, _MOST_WIDTH))
    width = min(width, num_examples)
    places = jnp.arange(num_examples, dtype=jnp.int32)[None]

    def following(least: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        later = near & (places >= least[:, None])
        start = jnp.where(later, places, num_examples).min(1)
        return start + width, start

    nowhere = jnp.zeros(len(near), jnp.int32)
    _, starts = lax.scan(following, nowhere, None, length=_WINDOWS + 1)
    # One that would end late starts early: what it then holds besides is not near.
    kept = jnp.minimum(starts[:_WINDOWS].T, num_examples - width)
    offsets = jnp.arange(width, dtype=jnp.int32)
    inside = (kept[:, :, None] + offsets[None, None]).reshape(len(near), -1)
    return _Windows(
        inside,
        jnp.take_along_axis(near, inside, axis=1),
        starts[_WINDOWS] == num_examples,
    )


def _bracket(table: jax.Array, count: jax.Array, total: jax.Array) -> jax.Array:
    """g(p) + g(P - p) - g(P), of counts [., V] and totals [., 1]."""
    return table[count] + table[total - count] - table[total]


def _decide(
    exact: jax.Array,
    windows: _Windows,
    same: jax.Array,
    keys: list[jax.Array],
    table: jax.Array,
    num_classes: int,
) -> Found:
    """Which of the near cuts of a sorted column is the best.

    Args:
      exact: [., V] int32, the sum of the brackets of their classes.
      windows: where they are.
      same: [.] or a scalar, whether all examples are of one class: then no cut gains anything.
      keys: each [E], the column's.
      table: of the brackets.
      num_classes: k.
    """
    exact = exact - of_places(table)[windows.places]
    exact = jnp.where(windows.are_near, exact, NOT_A_CUT)
    first = first_best(exact, exact.max(1), num_classes)[:, None]
    cut = jnp.take_along_axis(windows.places, first, axis=1)[:, 0]
    varies = windows.are_near.any(1)
    return Found(
        jnp.where(varies, cut, -1),
        jnp.where(varies, jnp.take_along_axis(exact, first, axis=1)[:, 0], 0),
        tuple(key[cut] for key in keys),
        windows.are_all | same,
    )

"""Information gain, the best threshold of a value about a label, and binary targets.

A threshold `t` splits examples into `v >= t` and `v < t`. Its information gain about the labels is

    gain(t) = H(labels) - |v >= t| / E * H(labels | v >= t) - |v < t| / E * H(labels | v < t)

in nats, and its candidates are the distinct values of `v` except the smallest. Gains are summed in
fixed point from a table of `x log x`: integers, so that every device, batch and vector width picks
the same threshold, and one whose gain is within 1e-7 nats of the best.

Axis letters: E examples, n inputs, u units, k classes.
"""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax import checks
from mofn_jax.chunking import chunks

# A cut's share of working memory: order, value, and the counts of both classes above and below it.
_BYTES_PER_CUT = 48


class Thresholds(NamedTuple):
    """The best threshold of every input about every target."""

    values: np.ndarray  # [n, u], in the inputs' precision; NaN where the input is constant
    gains: np.ndarray  # [n, u] float64, nats; 0 where the input is constant


def information_gain(
    values: jax.Array, labels: jax.Array, threshold: jax.Array | float, num_classes: int
) -> jax.Array:
    """The information gain of one threshold, in float32; composes with jit and vmap.

    Args:
      values: [E] floats.
      labels: [E] integers in 0..k-1.
      threshold: a scalar.
      num_classes: k.

    Returns:
      A float32 scalar, in nats.

    Example:
      >>> values, labels = jnp.array([5., 1, 4, 2, 3, 0]), jnp.array([0, 0, 0, 1, 1, 1])
      >>> round(float(information_gain(values, labels, 4.0, num_classes=2)), 6)
      0.318257
    """
    above = values >= threshold
    one_hot = jax.nn.one_hot(labels, num_classes)

    def weighted_entropy(weights: jax.Array) -> jax.Array:
        counts = weights @ one_hot
        total = counts.sum()
        shares = counts / jnp.maximum(total, 1)
        return total / labels.shape[0] * jax.scipy.special.entr(shares).sum()

    return (
        weighted_entropy(jnp.ones_like(one_hot[:, 0]))
        - weighted_entropy(above.astype(one_hot.dtype))
        - weighted_entropy(1 - above.astype(one_hot.dtype))
    )


def best_thresholds(inputs, targets, *, memory_budget: int = 2**29) -> Thresholds:
    """The best threshold of every input about every boolean target.

    The candidate of largest information gain, the smallest one on a tie.

    Args:
      inputs: [E, n] real numbers, of any dtype; compared in their own precision.
      targets: [E, u] booleans.
      memory_budget: bytes of working memory; sets how many inputs and targets are worked on at once
        and never changes the result.

    Returns:
      Thresholds of values [n, u] and gains [n, u].

    Raises:
      ValueError: where shapes disagree, inputs are not finite or targets are not boolean.

    Example:
      >>> inputs = np.array([[.1, 5], [.4, 1], [.4, 4], [.7, 2], [.9, 3], [1, 0]])
      >>> targets = np.array([[False], [False], [False], [True], [True], [True]])
      >>> best_thresholds(inputs, targets).values.tolist()
      [[0.7], [4.0]]
    """
    inputs = checks.matrix("inputs", inputs, [None, None])
    targets = checks.booleans("targets", targets, [len(inputs), None])
    num_examples, num_inputs = inputs.shape
    num_units = targets.shape[1]
    at_once = max(1, memory_budget // (_BYTES_PER_CUT * num_examples))
    unit_chunk = min(num_units, at_once)
    input_chunk = min(num_inputs, max(1, at_once // unit_chunk))
    values = np.empty((num_inputs, num_units), _float_dtype(inputs))
    gains = np.empty((num_inputs, num_units), np.int32)
    for rows in chunks(num_inputs, input_chunk):
        columns = sort_columns(inputs[:, rows])
        for some in chunks(num_units, unit_chunk):
            cuts, gains[rows, some] = _best_cuts_of_targets(
                columns.order, columns.is_cut, targets.T[some], _x_log_x(num_examples)
            )
            values[rows, some] = columns.values_at(np.asarray(cuts))
    return Thresholds(values, gains / _fixed_point_scale(num_examples) / num_examples)


def unit_thresholds(
    activations, predictions, num_classes: int, *, memory_budget: int = 2**29
) -> tuple[np.ndarray, np.ndarray]:
    """Of each unit, the threshold of largest information gain about the predicted class.

    Args:
      activations: [E, u] real numbers, what leaves the units.
      predictions: [E] integers in 0..k-1, the class that the network itself predicts.
      num_classes: k.
      memory_budget: bytes of working memory; never changes the result.

    Returns:
      thresholds [u], NaN for a constant unit, and gains [u] float64 in nats, -1 for a constant
      unit (below every other).

    Raises:
      ValueError: where shapes disagree, activations are not finite or labels out of range.
    """
    activations = checks.matrix("activations", activations, [None, None])
    num_examples, num_units = activations.shape
    predictions = checks.class_labels("predictions", predictions, num_classes, num_examples)
    values = np.empty(num_units, _float_dtype(activations))
    gains = np.empty(num_units)
    chunk = max(1, memory_budget // (_BYTES_PER_CUT * num_examples * num_classes))
    for some in chunks(num_units, min(chunk, num_units)):
        columns = sort_columns(activations[:, some])
        cuts, fixed_gains = _best_cuts_of_columns(
            columns.order, columns.is_cut, predictions, _x_log_x(num_examples), num_classes
        )
        values[some] = columns.values_at(np.asarray(cuts)[:, None])[:, 0]
        gains[some] = np.where(
            np.asarray(cuts) < 0,
            -1.0,
            np.asarray(fixed_gains) / _fixed_point_scale(num_examples) / num_examples,
        )
    return values, gains


def binarize_targets(
    activations, predictions, num_classes: int, *, memory_budget: int = 2**29
) -> tuple[np.ndarray, np.ndarray]:
    """When is each hidden unit "on": its activation against its best threshold.

    Args:
      activations: [E, u] real numbers, what leaves the units.
      predictions: [E] integers in 0..k-1, the class that the network itself predicts.
      num_classes: k.
      memory_budget: bytes of working memory; never changes the result.

    Returns:
      targets [E, u] booleans, `activations >= thresholds`, and thresholds [u]: NaN for a constant
      unit, which is never on.

    Raises:
      ValueError: where shapes disagree, activations are not finite or labels out of range.

    Example:
      >>> targets, thresholds = binarize_targets(np.array([[.1], [.9], [.8]]), [0, 1, 1], 2)
      >>> targets[:, 0].tolist(), thresholds.tolist()
      ([False, True, True], [0.8])
    """
    thresholds, _ = unit_thresholds(
        activations, predictions, num_classes, memory_budget=memory_budget
    )
    return np.asarray(activations) >= thresholds, thresholds


def softmax_targets(predictions, num_classes: int) -> np.ndarray:
    """When is each softmax unit "on": when its class is the one predicted.

    Args:
      predictions: [E] integers in 0..k-1.
      num_classes: k.

    Returns:
      [E, k] booleans.

    Raises:
      ValueError: labels out of range.
    """
    predictions = checks.class_labels("predictions", predictions, num_classes)
    return predictions[:, None] == np.arange(num_classes)


class SortedColumns(NamedTuple):
    """Columns in ascending order, and where they can be cut."""

    values: np.ndarray  # [n, E], ascending
    order: np.ndarray  # [n, E] int32, the example at each place
    is_cut: np.ndarray  # [n, E] bool, the value differs from the one before it

    def values_at(self, cuts: np.ndarray) -> np.ndarray:
        """The value at each cut [n, u]; NaN where the cut is -1."""
        values = np.take_along_axis(self.values, np.maximum(cuts, 0), axis=1)
        return np.where(cuts < 0, np.nan, values)


def sort_columns(columns: np.ndarray) -> SortedColumns:
    """Sorts each column of [E, n] on the host, in its own precision.

    NumPy sorts several times faster than XLA on a CPU, and in any dtype; from here on the search
    for thresholds needs only integers.
    """
    rows = np.ascontiguousarray(columns.T, dtype=_float_dtype(columns))
    order = np.argsort(rows, axis=1)
    values = np.take_along_axis(rows, order, axis=1)
    is_cut = np.zeros(rows.shape, bool)
    is_cut[:, 1:] = values[:, 1:] != values[:, :-1]
    return SortedColumns(values, order.astype(np.int32), is_cut)


def best_cut(
    order: jax.Array, is_cut: jax.Array, labels: jax.Array, x_log_x: jax.Array, num_classes: int
) -> tuple[jax.Array, jax.Array]:
    """The cut of one sorted column of largest information gain; composes with jit and vmap.

    Args:
      order: [E] int32, the examples in ascending order of the column.
      is_cut: [E] bool, whether the column may be cut before this place.
      labels: [E] int32 in 0..k-1.
      x_log_x: [E + 1] int32, the table of `x log x` in fixed point.
      num_classes: k.

    Returns:
      The place of the cut (the examples from there on are above it), or -1 for a constant column,
      and E times the gain in fixed point, 0 for a constant column. Both int32 scalars.
    """
    one_hot = jax.nn.one_hot(labels[order], num_classes, dtype=jnp.int32)
    totals = one_hot.sum(0)
    below = jnp.cumsum(one_hot, axis=0) - one_hot
    above = totals[None] - below

    def size_times_entropy(counts: jax.Array) -> jax.Array:  # sum(c) log sum(c) - sum(c log c)
        return x_log_x[counts.sum(-1)] - x_log_x[counts].sum(-1)

    gains = size_times_entropy(totals) - size_times_entropy(below) - size_times_entropy(above)
    gains = jnp.where(is_cut, gains, jnp.iinfo(jnp.int32).min)
    cut = jnp.argmax(gains).astype(jnp.int32)
    return jnp.where(is_cut.any(), cut, -1), jnp.where(is_cut.any(), gains[cut], 0)


@partial(jax.jit, static_argnames="num_classes")
def _best_cuts_of_columns(order, is_cut, labels, x_log_x, num_classes):
    """Of every column (order, is_cut [u, E]) about the same labels [E]: two [u]."""
    one = partial(best_cut, labels=labels, x_log_x=x_log_x, num_classes=num_classes)
    return jax.vmap(one)(order, is_cut)


@jax.jit
def _best_cuts_of_targets(order, is_cut, targets, x_log_x):
    """Of every column (order, is_cut [n, E]) about every target [u, E]: two [n, u]."""

    def one(order, is_cut, target):
        return best_cut(order, is_cut, target.astype(jnp.int32), x_log_x, 2)

    return jax.vmap(jax.vmap(one, (None, None, 0)), (0, 0, None))(order, is_cut, targets)


def _float_dtype(array: np.ndarray) -> np.dtype:
    """The floating precision in which an array's thresholds are found: its own, if it has one."""
    return array.dtype if array.dtype.kind == "f" else np.dtype(np.float64)


def _fixed_point_scale(num_examples: int) -> float:
    """Steps to a nat: the largest gain, E log E, still fits an int32 after rounding."""
    return (2**31 - 2**8) / max(num_examples * np.log(num_examples), 1)


@lru_cache(maxsize=8)
def _x_log_x(num_examples: int) -> np.ndarray:
    """`x log x` in fixed point for x = 0..E: [E + 1] int32."""
    x = np.arange(num_examples + 1, dtype=np.float64)
    return np.round(x * np.log(np.maximum(x, 1)) * _fixed_point_scale(num_examples)).astype(
        np.int32
    )

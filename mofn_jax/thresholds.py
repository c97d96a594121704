"""Information gain, the best threshold of a value about a label, and binary targets.

A threshold `t` splits examples into `v >= t` and `v < t`. Its information gain about the labels is

    gain(t) = H(labels) - |v >= t| / E * H(labels | v >= t) - |v < t| / E * H(labels | v < t)

in nats, and its candidates are the distinct values of `v` except the smallest. Values are sorted on
the host, in their own precision; `mofn_jax.cuts` then evaluates every candidate in integers.

Axis letters: E examples, n inputs, u units, k classes; H', W' rows and columns of a convolution.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from mofn_jax import checks, meshes
from mofn_jax.chunking import chunks, read_columns
from mofn_jax.cuts import (
    WORD,
    best_cuts_of_classes,
    best_cuts_of_targets,
    nats_per_step,
    tied_within,
    x_log_x,
)

# Bytes of working memory an example takes, for each column sorted (its value, order, and whether it
# may be cut there, twice over while they are made), and for each column the kernel works on.
SORT_BYTES, _KERNEL_BYTES = 32, 32
# Inputs times targets times examples at a time: smaller pieces are as fast, and show progress.
_MOST_CELLS = 2**29
# What the kernel works on stays in a CPU's cache.
_CACHE_BYTES = 2**23


class Thresholds(NamedTuple):
    """The best threshold of every input about every target."""

    values: np.ndarray  # [n, u], in the inputs' precision; NaN where the input is constant
    gains: np.ndarray  # [n, u] float64, nats; 0 where the input is constant


def information_gain(
    values: jax.Array, labels: jax.Array, threshold: jax.Array | float, num_classes: int
) -> jax.Array:
    """The information gain of one threshold, in float32; composes with jit and vmap.

    Args:
      values: [E] real numbers.
      labels: [E] integers in 0..k-1.
      threshold: a scalar.
      num_classes: k.

    Returns:
      A float32 scalar, in nats.

    Raises:
      ValueError: shapes that disagree, labels that are not integers, num_classes below 1; where
        they are not traced also values or a threshold that are not finite, labels out of range.

    Examples:
      >>> values, labels = jnp.array([5., 1, 4, 2, 3, 0]), jnp.array([0, 0, 0, 1, 1, 1])
      >>> round(float(information_gain(values, labels, 4.0, num_classes=2)), 6)
      0.318257
    """
    num_classes = checks.at_least("num_classes", num_classes, 1, largest=2**31 - 1)
    if not isinstance(values, jax.core.Tracer):
        known = checks.matrix("values", values, [None])
        values = values if isinstance(values, jax.Array) else known
    if not isinstance(labels, jax.core.Tracer):
        labels = jnp.asarray(checks.class_labels("labels", labels, num_classes))
    if not isinstance(threshold, jax.core.Tracer):
        checks.number("threshold", threshold)
    if jnp.ndim(threshold) or any(jnp.iscomplexobj(given) for given in (values, threshold)):
        raise ValueError("threshold: expected a single real number, and values real ones")
    if values.ndim != 1 or not values.size or labels.shape != values.shape:
        raise ValueError(
            f"labels: expected one for each of values [E], got shapes {list(labels.shape)} and "
            f"{list(values.shape)}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"labels: expected integers, got dtype {labels.dtype}")
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


def best_thresholds(
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
) -> Thresholds:
    """The best threshold of every input about every boolean target.

    The candidate of largest information gain, the smallest one on a tie.

    Args:
      inputs: [E, n] real numbers, of any dtype; compared in their own precision.
      targets: [E, u] booleans.
      memory_budget: bytes of working memory; sets how many inputs and targets are worked on at once
        and never changes the result.
      mesh: devices to divide the inputs among, see `mofn_jax.meshes`. Each process sorts only the
        inputs that its own devices work on.
      progress: called with the number of inputs done since the last call.

    Returns:
      Thresholds of values [n, u] and gains [n, u].

    Raises:
      ValueError: where shapes disagree, inputs are not finite, targets are not boolean,
        memory_budget is below 1, or as `with_both_axes` for the mesh.

    Examples:
      >>> inputs = np.array([[.1, 5], [.4, 1], [.4, 4], [.7, 2], [.9, 3], [1, 0]])
      >>> targets = np.array([[False], [False], [False], [True], [True], [True]])
      >>> best_thresholds(inputs, targets).values.tolist()
      [[0.7], [4.0]]
    """
    inputs = _told_apart("inputs", checks.matrix("inputs", inputs, [None, None]))
    targets = checks.booleans("targets", targets, [len(inputs), None])
    checks.callback("progress", progress)
    mesh = meshes.with_both_axes(mesh)
    memory_budget = checks.at_least("memory_budget", memory_budget, 1)
    num_examples, num_inputs = inputs.shape
    values = np.empty((num_inputs, targets.shape[1]), _float_dtype(inputs))
    gains = np.empty(values.shape, np.int32)
    own, devices = meshes.own_share(num_inputs, mesh), meshes.own_devices(mesh)
    done = own.start
    for some, columns in _sorted_pieces(inputs, own, targets.shape[1], memory_budget, devices):
        cuts, gains[some] = meshes.divide(
            best_cuts_of_targets,
            (columns.order, columns.is_cut),
            (targets, x_log_x(num_examples)),
            mesh=devices,
            at_once=_at_once(num_examples, memory_budget),
        )
        values[some] = columns.values_at(cuts)
        if progress is not None:
            progress(some.stop - done)
        done = some.stop
    for found in (values, gains):
        meshes.fill_in(found, mesh)
    return Thresholds(values, _in_nats(gains, num_examples))


def unit_thresholds(
    activations: ArrayLike,
    predictions: ArrayLike,
    num_classes: int,
    *,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Of each unit, the threshold of largest information gain about the predicted class.

    Args:
      activations: [E, u] real numbers, what leaves the units.
      predictions: [E] integers in 0..k-1, the class that the network itself predicts.
      num_classes: k.
      memory_budget: bytes of working memory; never changes the result.
      mesh: devices to divide the units among, as in `best_thresholds`.

    Returns:
      thresholds [u], NaN for a constant unit, and gains [u] float64 in nats, -1 for a constant
      unit (below every other).

    Raises:
      ValueError: where shapes disagree, activations are not finite, labels out of range or
        memory_budget below 1.
    """
    activations = checks.matrix("activations", activations, [None, None])
    activations = _told_apart("activations", activations)
    num_examples, num_units = activations.shape
    num_classes = checks.at_least("num_classes", num_classes, 1)
    predictions = checks.class_labels("predictions", predictions, num_classes, num_examples)
    mesh = meshes.with_both_axes(mesh)
    memory_budget = checks.at_least("memory_budget", memory_budget, 1)
    # Classes that are never predicted take no part; of many thousands, a table each would be large.
    _, predictions = np.unique(predictions, return_inverse=True)
    predictions, num_classes = predictions.astype(np.int32), int(predictions.max()) + 1
    values = np.empty(num_units, _float_dtype(activations))
    gains = np.empty(num_units)
    own, devices = meshes.own_share(num_units, mesh), meshes.own_devices(mesh)
    for some, columns in _sorted_pieces(activations, own, 1, memory_budget, devices):
        cuts, fixed_gains = meshes.divide(
            best_cuts_of_classes,
            (columns.order, columns.is_cut),
            (predictions, x_log_x(num_examples)),
            mesh=devices,
            num_classes=num_classes,
            at_once=_at_once(num_examples * min(num_classes, WORD), memory_budget),
        )
        values[some] = columns.values_at(cuts[:, None])[:, 0]
        gains[some] = np.where(cuts < 0, -1.0, _in_nats(fixed_gains, num_examples))
    for found in (values, gains):
        meshes.fill_in(found[:, None], mesh)
    return values, gains


def most_informative_positions(
    activations: ArrayLike,
    predictions: ArrayLike,
    num_classes: int,
    *,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
) -> np.ndarray:
    """Of each filter, the position whose best threshold tells most about the predicted class.

    Args:
      activations: [E, H', W', u] of a convolution.
      predictions: [E] integers in 0..k-1.
      num_classes: k.
      memory_budget: as in `unit_thresholds`.
      mesh: as in `unit_thresholds`.

    Returns:
      [u, 2] row and column; on a tie the first in row-major order.

    Raises:
      ValueError: activations of another shape or not finite, labels out of range.
    """
    activations = checks.matrix("activations", activations, [None] * 4)
    num_examples, height, width, num_units = activations.shape
    flat = activations.reshape(num_examples, -1)
    _, gains = unit_thresholds(
        flat, predictions, num_classes, memory_budget=memory_budget, mesh=mesh
    )
    gains = gains.reshape(height * width, num_units)
    best = first_of_largest(gains, num_examples, np.unique(predictions).size)
    return np.stack(np.unravel_index(best, (height, width)), axis=1)


def first_of_largest(gains: np.ndarray, num_examples: int, num_classes: int) -> np.ndarray:
    """Of each column of gains [P, u], in nats, the first row of the largest: [u].

    As between cuts, gains that rounding cannot tell apart count as equal.

    Args:
      gains: of E examples about k classes, as `unit_thresholds` gives them.
      num_examples: E.
      num_classes: k, those that there are.
    """
    # Half a step more, for the rounding of nats.
    tied = (tied_within(num_classes) + 0.5) * nats_per_step(num_examples) / num_examples
    return (gains >= gains.max(0) - tied).argmax(0)


def binarize_targets(
    activations: ArrayLike,
    predictions: ArrayLike,
    num_classes: int,
    *,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """When is each hidden unit "on": its activation against its best threshold.

    Args:
      activations: [E, u] real numbers, what leaves the units.
      predictions: [E] integers in 0..k-1, the class that the network itself predicts.
      num_classes: k.
      memory_budget: bytes of working memory; never changes the result.
      mesh: devices to divide the units among, as in `best_thresholds`.

    Returns:
      targets [E, u] booleans, `activations >= thresholds`, and thresholds [u], NaN for a constant
      unit, which is never on.

    Raises:
      ValueError: where shapes disagree, activations are not finite, labels out of range or
        memory_budget below 1.

    Examples:
      >>> targets, thresholds = binarize_targets(np.array([[.1], [.9], [.8]]), [0, 1, 1], 2)
      >>> targets[:, 0].tolist(), thresholds.tolist()
      ([False, True, True], [0.8])
    """
    thresholds, _ = unit_thresholds(
        activations, predictions, num_classes, memory_budget=memory_budget, mesh=mesh
    )
    return np.asarray(activations) >= thresholds, thresholds


def softmax_targets(predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """When is each softmax unit "on": when its class is the one predicted.

    Args:
      predictions: [E] integers in 0..k-1.
      num_classes: k.

    Returns:
      [E, k] booleans.

    Raises:
      ValueError: labels out of range.
    """
    num_classes = checks.at_least("num_classes", num_classes, 1)
    predictions = checks.class_labels("predictions", predictions, num_classes)
    return predictions[:, None] == np.arange(num_classes)


class SortedColumns(NamedTuple):
    """Columns in ascending order, and where they can be cut."""

    values: np.ndarray  # [n, E], in the order of the examples
    order: np.ndarray  # [n, E] int32, the example at each place, ascending by value
    is_cut: np.ndarray  # [n, E] bool, the value at this place differs from the one before it

    def values_at(self, cuts: np.ndarray) -> np.ndarray:
        """The value at each cut [n, u]; NaN where the cut is -1."""
        examples = np.take_along_axis(self.order, np.maximum(cuts, 0), axis=1)
        values = np.take_along_axis(self.values, examples, axis=1)
        return np.where(cuts < 0, np.nan, values)


def _sorted_pieces(
    array: np.ndarray, which: slice, num_targets: int, memory_budget: int, mesh: Mesh | None
) -> Iterator[tuple[slice, SortedColumns]]:
    """Sorts some columns of [E, n] at a time; half of the budget reads ahead, for a memory map."""
    num_examples, columns = len(array), range(which.start, which.stop)
    most_read = memory_budget // 2 // (array.itemsize * num_examples)
    most_sorted = min(
        memory_budget // 2 // (SORT_BYTES * num_examples),
        _MOST_CELLS // (num_examples * num_targets),
    )
    for block in chunks(len(columns), max(1, most_read)):
        block_columns = columns[block]
        read = read_columns(array, slice(block_columns.start, block_columns.stop))
        for piece in chunks(len(block_columns), meshes.full_rounds(most_sorted, mesh)):
            some = block_columns[piece]
            yield slice(some.start, some.stop), sort_columns(read[:, piece])
        del read  # before the next block is read


def sort_columns(columns: np.ndarray) -> SortedColumns:
    """Sorts each column of [E, n], on the host and in its own precision.

    From here on the search for thresholds needs only integers: float64 is exact on every device.
    """
    # Adding 0 turns -0 into 0: equal values must have equal digits.
    values = np.ascontiguousarray(columns.T, dtype=_float_dtype(columns)) + 0
    order = np.empty(values.shape, np.int32)
    is_cut = np.zeros(values.shape, bool)

    def sort_rows(rows: range) -> None:
        for row in rows:
            order[row] = _ascending(values[row])
            ascending = values[row][order[row]]
            np.not_equal(ascending[1:], ascending[:-1], out=is_cut[row, 1:])

    workers = meshes.cpu_count()
    with ThreadPoolExecutor(workers) as pool:
        size = -(-len(values) // workers)
        pieces = (range(i, min(i + size, len(values))) for i in range(0, len(values), size))
        list(pool.map(sort_rows, pieces))
    return SortedColumns(values, order, is_cut)


def _ascending(row: np.ndarray) -> np.ndarray:
    """The ascending order of floats [E], from sorts of 16-bit digits.

    NumPy's stable sort of 16-bit integers is a radix sort: faster than its sort of floats, and most
    of all where many values are equal, as after a relu.
    """
    unsigned = np.dtype(f"u{row.dtype.itemsize}")
    sign = unsigned.type(1 << (8 * unsigned.itemsize - 1))
    bits = row.view(unsigned)
    bits = np.where(bits & sign, ~bits, bits | sign)  # integers in the order of the floats
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    for shift in range(16, 8 * unsigned.itemsize, 16):
        digit = (bits >> unsigned.type(shift)).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order


def _in_nats(fixed_gains: np.ndarray, num_examples: int) -> np.ndarray:
    """Gains from E times their fixed point; rounding may leave a gain of 0 a step below it."""
    return np.maximum(fixed_gains, 0) * (nats_per_step(num_examples) / num_examples)


def _at_once(num_examples: int, memory_budget: int) -> int:
    """How many columns the kernel works on together."""
    if meshes.platform() == "cpu":
        memory_budget = min(memory_budget, _CACHE_BYTES)
    return max(1, memory_budget // (_KERNEL_BYTES * num_examples))


def _told_apart(name: str, array: np.ndarray) -> np.ndarray:
    """The array, if its integers are different as floats where they are."""
    if array.dtype.kind in "iu" and array.dtype.itemsize > 4:
        most = 2**53
        if array.max() > most or array.min() < -most:
            raise ValueError(f"{name}: expected integers up to 2**53, which float64 tells apart")
    return array


def _float_dtype(array: np.ndarray) -> np.dtype:
    """The floating precision in which an array's thresholds are found: its own, if it has one."""
    own = array.dtype.kind == "f" and array.dtype.itemsize <= 8
    return array.dtype.newbyteorder("=") if own else np.dtype(np.float64)

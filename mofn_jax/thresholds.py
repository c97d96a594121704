"""Information gain, the best threshold of a value about a label, and binary targets.

A threshold `t` splits examples into `v >= t` and `v < t`. Its information gain about the labels is

    gain(t) = H(labels) - |v >= t| / E * H(labels | v >= t) - |v < t| / E * H(labels | v < t)

in nats, and its candidates are the distinct values of `v` except the smallest. On a CPU values are
sorted on the host, in their own precision; `mofn_jax.cuts` then evaluates every candidate in
integers. An accelerator sorts them itself and looks up as little as it can: `mofn_jax.device_cuts`
finds the same.

Axis letters: E examples, n inputs, u units, k classes; H', W' rows and columns of a convolution.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from mofn_jax import checks, cuts, device_cuts, meshes
from mofn_jax.chunking import one_ahead
from mofn_jax.columns import (
    SORT_BYTES,
    float_dtype,
    from_sort_keys,
    pieces,
    sort_columns,
    sort_keys,
)
from mofn_jax.cuts import WORD, nats_per_step, tied_within, x_log_x

# Bytes of working memory an example takes for each column that the kernel of sorted ones works on.
_KERNEL_BYTES = 32
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
    search = _Search(
        cuts.best_cuts_of_targets,
        device_cuts.best_cuts_of_targets,
        shared=(targets, x_log_x(len(inputs))),
        options={},
        num_targets=targets.shape[1],
        sorted_bytes=_KERNEL_BYTES,
        unsorted_bytes=device_cuts.CELL_BYTES * min(targets.shape[1], WORD),
    )
    values, gains = _best_values(inputs, search, memory_budget, mesh, progress)
    return Thresholds(values, _in_nats(gains, len(inputs)))


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
    num_examples = len(activations)
    num_classes = checks.at_least("num_classes", num_classes, 1)
    predictions = checks.class_labels("predictions", predictions, num_classes, num_examples)
    mesh = meshes.with_both_axes(mesh)
    memory_budget = checks.at_least("memory_budget", memory_budget, 1)
    # Classes that are never predicted take no part; of many thousands, a table each would be large.
    _, predictions = np.unique(predictions, return_inverse=True)
    predictions, num_classes = predictions.astype(np.int32), int(predictions.max()) + 1
    search = _Search(
        cuts.best_cuts_of_classes,
        device_cuts.best_cuts_of_classes,
        shared=(predictions, x_log_x(num_examples)),
        options={"num_classes": num_classes},
        num_targets=1,
        sorted_bytes=_KERNEL_BYTES * min(num_classes, WORD),
        unsorted_bytes=device_cuts.CELL_BYTES * min(num_classes, WORD),
    )
    (values,), (gains,) = (a.T for a in _best_values(activations, search, memory_budget, mesh))
    return values, np.where(np.isnan(values), -1.0, _in_nats(gains, num_examples))


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


class _Search(NamedTuple):
    """What finds the best cuts, and what it needs."""

    of_sorted: Callable[..., Any]  # columns: a kernel of `cuts`
    of_unsorted: Callable[..., Any]  # likewise of `device_cuts`
    shared: tuple[np.ndarray, ...]  # targets or labels, and the table
    options: Mapping[str, Any]  # static
    num_targets: int  # u, 1 of labels
    sorted_bytes: int  # of working memory for each example of a sorted column
    unsorted_bytes: int


def _best_values(
    array: np.ndarray,
    search: _Search,
    memory_budget: int,
    mesh: Mesh | None,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Of every column of [E, n] the values at its best cuts, and E times their gains.

    Returns:
      [n, u] in the column's precision, NaN where it is constant, and [n, u] int32 in fixed point.
    """
    num_examples, num_columns = array.shape
    values = np.empty((num_columns, search.num_targets), float_dtype(array))
    gains = np.empty(values.shape, np.int32)
    own, devices = meshes.own_share(num_columns, mesh), meshes.own_devices(mesh)
    most = min(
        memory_budget // 2 // (SORT_BYTES * num_examples),
        _MOST_CELLS // (num_examples * search.num_targets),
    )
    if meshes.platform() == "cpu" or num_examples > device_cuts.MOST_EXAMPLES:
        best = (
            (some, _of_sorted(columns, search, memory_budget, devices))
            for some, columns in pieces(array, own, most, memory_budget, devices)
        )
    else:
        # The host makes the next keys while the device sorts these: two pieces are in memory.
        read = pieces(array, own, most, memory_budget // 2, devices)
        best = (
            (some, _of_unsorted(columns, keys, search, memory_budget, devices))
            for some, columns, keys in one_ahead((*piece, sort_keys(piece[1])) for piece in read)
        )
    done = own.start
    for some, (values[some], gains[some]) in best:
        if progress is not None:
            progress(some.stop - done)
        done = some.stop
    for found in (values, gains):
        meshes.fill_in(found, mesh)
    return values, gains


def _of_sorted(
    columns: np.ndarray, search: _Search, memory_budget: int, devices: Mesh | None
) -> tuple[np.ndarray, np.ndarray]:
    """As `_best_values`, of columns [E, c] that the host sorts."""
    in_order = sort_columns(columns)
    if meshes.platform() == "cpu":
        memory_budget = min(memory_budget, _CACHE_BYTES)
    best, gains = meshes.divide(
        search.of_sorted,
        (in_order.order, in_order.is_cut),
        search.shared,
        mesh=devices,
        at_once=max(1, memory_budget // (search.sorted_bytes * len(columns))),
        **search.options,
    )
    shape = len(best), search.num_targets
    return in_order.values_at(best.reshape(shape)), gains.reshape(shape)


def _of_unsorted(
    columns: np.ndarray,
    keys: tuple[np.ndarray, ...],
    search: _Search,
    memory_budget: int,
    devices: Mesh | None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `_best_values`, of columns [E, c] that the device sorts; of those left open, the host."""
    found = meshes.divide(
        search.of_unsorted,
        [keys],
        search.shared,
        mesh=devices,
        at_once=max(1, memory_budget // (search.unsorted_bytes * len(columns))),
        **search.options,
    )
    values = from_sort_keys(found.keys, float_dtype(columns))
    values, gains = np.where(found.cuts < 0, np.nan, values), found.gains
    left = ~found.decided
    if left.any():
        some, targets = _padded(left.any(1)), _padded(left.any(0))
        if search.num_targets > 1:
            on, table = search.shared
            search = search._replace(shared=(on[:, targets], table), num_targets=len(targets))
        where = np.ix_(some, targets)
        values[where], gains[where] = _of_sorted(columns[:, some], search, memory_budget, devices)
    return values, gains


def _padded(chosen: np.ndarray) -> np.ndarray:
    """The places that are chosen, a power of two of them, as each other number is compiled anew."""
    places = np.flatnonzero(chosen)
    return np.resize(places, 1 << (len(places) - 1).bit_length())


def _in_nats(fixed_gains: np.ndarray, num_examples: int) -> np.ndarray:
    """Gains from E times their fixed point; rounding may leave a gain of 0 a step below it."""
    return np.maximum(fixed_gains, 0) * (nats_per_step(num_examples) / num_examples)


def _told_apart(name: str, array: np.ndarray) -> np.ndarray:
    """The array, if its integers are different as floats where they are."""
    if array.dtype.kind in "iu" and array.dtype.itemsize > 4:
        most = 2**53
        if array.max() > most or array.min() < -most:
            raise ValueError(f"{name}: expected integers up to 2**53, which float64 tells apart")
    return array

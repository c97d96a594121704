"""What enters and leaves each layer of a trained network.

The network is traced, whatever framework it is written in, and its layers are found in the program
(see `mofn_jax.products`). A layer's weights are *effective* ones: of the linear map from what
enters it to what reaches its nonlinearity, as the network computes it.

Axis letters: E examples, P positions, n inputs, u units, k classes, C channels, K of a kernel's
window.
"""

import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from mofn_jax import checks
from mofn_jax.capture import (
    Asked,
    Logits,
    Run,
    Weighted,
    asked_of,
    cached,
    layers_of,
    probes_of,
    run_of,
    weights_of,
)
from mofn_jax.frameworks import as_network
from mofn_jax.geometry import Convolution, NotExplained
from mofn_jax.products import Layers, Product

# The share of the rise that a nonlinearity may fall and still count as rising: silu falls by 3%.
_DIP = 0.05
# Recomputed sums may be as far from the network's, root mean square of a unit: bfloat16 has 0.4%.
_TOLERANCE = 0.02


class Layer(NamedTuple):
    """A layer of a trained network on some examples.

    The sum of a unit is `inputs @ weights + bias`, of a convolution over its patch. Its activation
    rises with it: where the nonlinearity, or a scale before it, turns it around, the signs of the
    weights and of the bias are turned.
    """

    name: str  # where its kernel lies in the parameters, "/" between levels
    kind: str  # "dense", "conv" or "softmax"
    weights: np.ndarray  # [n, u]; of a convolution [*K, C, u]; of groups, their share of n or C
    bias: np.ndarray  # [u]; [*P, u] where it differs from position to position
    inputs: np.ndarray  # [E, *P, n]; of a convolution [E, *P, C], as rows, columns and channels
    activations: np.ndarray  # [E, *P, u], after the nonlinearity; softmax: logits
    predictions: np.ndarray  # [E] int32, the class of the network's largest logit; [E, T] of tokens
    convolution: Convolution | None = None
    groups: int = 1  # as many runs of units each read a run of the inputs or channels of their own
    note: str = ""  # what to know of where it ends: no nonlinearity, or one that does not rise
    every_position: bool = False  # E counts pairs of an example and a position, of a layer's many
    kernel_shape: tuple[int, ...] | None = None  # and n is, of a convolution, [*K, C]
    input_names: tuple[str, ...] | None = None  # [n], of what a unit reads


def layer_names(
    network: Any,
    params: Any,
    inputs,
    *,
    call_kwargs: Mapping[str, Any] | None = None,
    logits: Logits = None,
    predictions=None,
) -> tuple[str, ...]:
    """The names of the layers that `capture_layers`, of the same arguments, captures.

    Raises:
      ValueError: no inputs, inputs not finite, or as `capture_layers` for the network.
    """
    inputs = checks.matrix("inputs", inputs[:1], [None] * max(1, np.ndim(inputs)))
    asked = asked_of(as_network(network, params, call_kwargs), inputs, logits, predictions is None)
    layers = cached(layers_of, asked)
    _warn(layers.passed_over)
    return tuple(product.name for product in layers.products)


def capture_layers(
    network: Any,
    params: Any,
    inputs,
    *,
    layers: Sequence[str] | None = None,
    batch_size: int = 256,
    call_kwargs: Mapping[str, Any] | None = None,
    logits: Logits = None,
    predictions=None,
) -> tuple[Layer, ...]:
    """What enters and leaves each layer of a trained network.

    A layer is a product, dense or a convolution, of what depends on the inputs with parameters. Its
    bias and normalisations by constants, as batch normalisation is in inference, are folded into
    its weights. What leaves it is taken after the functions of each element that follow, such as a
    relu; where something else follows (a normalisation of what leaves it, a sum with something
    else), it is taken there, and `Layer.note` says so. Each layer is recomputed from its weights on
    some examples; one of which this fails is passed over. What is passed over is named in a
    warning, with the reason.

    Args:
      network: a Linen module; an NNX module; or a function of (params, inputs), as a network of
        Equinox, `lambda model, inputs: jax.vmap(model)(inputs)`, or Haiku.
      params: its parameters, or all variables of a Linen module as {"params": ..., ...}; None with
        an NNX module, which holds its own and is read as for inference. Leaves of a function's
        parameters that are no arrays are constants.
      inputs: [E, ...] inputs of the network.
      layers: names of the layers to capture; None for all.
      batch_size: examples at a time.
      call_kwargs: keyword arguments of the network's call, such as {"train": False}.
      logits: which of the network's outputs are its logits, [E, k], or [E, T, k] at each token: a
        key of them or a function of them. By default the first element of a tuple or list, a
        mapping's "logits", or else the only output of shape [E, k]. A single logit, [E, 1], is
        that of the second of two classes. Of [E, T, k], layers of T positions are explained about
        the class at each.
      predictions: [E] integers from 0, the classes that hidden layers are explained about, instead
        of those of the logits: for a network without classes.

    Returns:
      The layers, input side first.

    Raises:
      ValueError: no inputs, inputs not finite or too large for the network, a name that no layer
        has, batch_size below 1, predictions of another shape or not integers from 0, no logits, or
        several that could be them, logits that are not finite, or a network without layers.
    """
    reader = _reader(network, params, inputs, batch_size, call_kwargs, logits, predictions)
    names = [product.name for product in reader.found.products]
    for name in layers or ():
        checks.known("layers", name, names)
    wanted = tuple(i for i, name in enumerate(names) if layers is None or name in layers)
    passed_over = dict(reader.found.passed_over) if layers is None else {}
    run = reader.run_of(wanted)
    values: list[np.ndarray] = []
    probed: list[np.ndarray] = []
    for rows, some, sums in reader.batches(run):
        if not values:
            values, probed = [_room_for(value, len(reader.inputs)) for value in some], sums
        for value, part in zip(values, some, strict=True):
            if value is not part:
                value[rows] = part
    classes = reader.classes(slice(None), values, run)
    captured = []
    for i, (enters, leaves), weights, probe in zip(
        wanted, run.sides, reader.weights_of(wanted), probed, strict=True
    ):
        product = reader.found.products[i]
        layer = _layer(product, weights, values[enters], values[leaves], classes)
        try:
            captured.append(_checked(layer, weights, probe, reader.batch_size))
        except NotExplained as reason:
            passed_over[product.name] = str(reason)
    _warn(passed_over)
    return tuple(captured)


def read_layer(
    network: Any,
    params: Any,
    inputs,
    name: str,
    *,
    batch_size: int = 256,
    call_kwargs: Mapping[str, Any] | None = None,
    logits: Logits = None,
    predictions=None,
) -> Iterator[Layer]:
    """A layer, a batch of examples after another: the whole of it may not fit.

    The arguments and errors are those of `capture_layers`.

    Raises:
      NotExplained: a layer whose sums cannot be recomputed.
    """
    reader = _reader(network, params, inputs, batch_size, call_kwargs, logits, predictions)
    names = [product.name for product in reader.found.products]
    wanted = (names.index(checks.known("name", name, names)),)
    run = reader.run_of(wanted)
    ((enters, leaves),) = run.sides
    layer = None
    for rows, some, sums in reader.batches(run):
        classes = reader.classes(rows, some, run)
        if layer is None:
            product, (weights,) = reader.found.products[wanted[0]], reader.weights_of(wanted)
            layer = _layer(product, weights, some[enters], some[leaves], classes)
            layer = _checked(layer, weights, sums[0], reader.batch_size)
        yield layer._replace(inputs=some[enters], activations=some[leaves], predictions=classes)


def patches(layer: Layer, position: Sequence[int]) -> np.ndarray:
    """The receptive patch of a convolution's units at one position.

    Args:
      layer: a convolution of kernel [*K, C, u].
      position: of images row and column, in what leaves the layer.

    Returns:
      [E, K * C], flattened as the kernel is; zeros where padding reaches outside. Of a convolution
      in groups, of the channels of all groups.

    Raises:
      ValueError: a layer that is no convolution, or a position that its units do not have.
    """
    if layer.convolution is None:
        raise ValueError(f"layer: expected a convolution, got {layer.name!r} of kind {layer.kind}")
    sizes = layer.activations.shape[1:-1]
    if len(position) != len(sizes) or not all(map(operator.contains, map(range, sizes), position)):
        raise ValueError(
            f"position: expected {'row and column' if len(sizes) == 2 else 'numbers'} from 0 and "
            f"below {sizes}, got {tuple(position)}"
        )
    num_examples = len(layer.inputs)
    return cut_pairs(layer, np.arange(num_examples), np.tile(position, (num_examples, 1)))


def cut_pairs(layer: Layer, examples: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """What units read at some pairs of an example and a position.

    Args:
      layer: any layer.
      examples: [S] integers.
      positions: [S, P] integers, for P axes of positions in what leaves the layer.

    Returns:
      [S, n], or [S, K * C] of a convolution, flattened as the kernel is.
    """
    if layer.convolution is None:
        return layer.inputs[(examples, *positions.T)]
    window = layer.weights.shape[:-2]
    ones = (1,) * len(window)
    index = [examples.reshape(-1, *ones)]
    is_inside = np.ones((len(examples), *ones), bool)
    for axis, (stride, dilation, (before, _)) in enumerate(zip(*layer.convolution, strict=True)):
        places = positions[:, axis, None] * stride - before + dilation * np.arange(window[axis])
        places = places.reshape(-1, *(size if i == axis else 1 for i, size in enumerate(window)))
        size = layer.inputs.shape[1 + axis]
        is_inside = is_inside & (places >= 0) & (places < size)
        index.append(np.clip(places, 0, size - 1))
    patch = layer.inputs[tuple(index)]
    patch[~is_inside] = 0
    return patch.reshape(len(examples), -1)


def group_inputs(layer: Layer, inputs: np.ndarray, group: int) -> np.ndarray:
    """Of what all units read [S, n], or [S, K * C], the share of a group's units."""
    if layer.groups == 1:
        return inputs
    channels = layer.inputs.shape[-1]
    size = channels // layer.groups
    shares = inputs.reshape(len(inputs), -1, channels)[..., group * size : (group + 1) * size]
    return shares.reshape(len(inputs), -1)


class _Reader(NamedTuple):
    """A network and its inputs."""

    arrays: Sequence[Any]  # its parameters
    inputs: np.ndarray
    predictions: np.ndarray | None  # given by the user
    batch_size: int
    asked: Asked
    found: Layers

    def run_of(self, wanted: tuple[int, ...]) -> Run:
        return cached(run_of, self.asked, wanted, self.batch_size)

    def weights_of(self, wanted: tuple[int, ...]) -> list[Weighted]:
        return cached(weights_of, self.asked, wanted)(self.arrays)

    def batches(self, run: Run) -> Iterator[tuple[slice, list[np.ndarray], list[np.ndarray]]]:
        """The examples of each batch, the values on them, and the sums at its probed pairs.

        All batches are of one size, the last starting early: each size would be compiled.
        """
        dtype = jax.dtypes.canonicalize_dtype(self.inputs.dtype)
        for start in range(0, len(self.inputs), self.batch_size):
            stop = min(start + self.batch_size, len(self.inputs))
            with np.errstate(over="ignore"):
                batch = self.inputs[stop - self.batch_size : stop].astype(dtype, copy=False)
            if dtype.kind == "f" and not np.isfinite(batch).all():
                raise ValueError(f"inputs: too large for the network's {dtype}")
            outputs = [np.asarray(output) for output in run.function(*self.arrays, batch)]
            seen_before = start - (stop - self.batch_size)
            values = [value[seen_before:] for value in outputs[: run.num_values]]
            yield slice(start, stop), values, outputs[run.num_values :]

    def classes(self, rows: slice, values: Sequence[np.ndarray], run: Run) -> np.ndarray:
        """What is predicted of some examples: as given, or the class of the largest logit."""
        if self.predictions is not None:
            return self.predictions[rows]
        assert run.logits is not None
        return _predicted(values[run.logits])


def _reader(
    network: Any,
    params: Any,
    inputs: Any,
    batch_size: int,
    call_kwargs: Mapping[str, Any] | None,
    logits: Logits,
    predictions: Any,
) -> _Reader:
    inputs = checks.matrix("inputs", inputs, [None] * max(1, np.ndim(inputs)))
    if predictions is not None:
        predictions = checks.class_labels("predictions", predictions, None, len(inputs))
    described = as_network(network, params, call_kwargs)
    asked = asked_of(described, inputs, logits, predictions is None)
    return _Reader(
        described.arrays,
        inputs,
        predictions,
        min(checks.at_least("batch_size", batch_size, 1), len(inputs)),
        asked,
        cached(layers_of, asked),
    )


def _room_for(batch: np.ndarray, num_examples: int) -> np.ndarray:
    """An array for the values of all examples: the batch itself, if that has all of them."""
    if len(batch) == num_examples:
        return batch
    return np.empty((num_examples, *batch.shape[1:]), batch.dtype)


def _layer(
    product: Product,
    weighted: Weighted,
    enters: np.ndarray,
    leaves: np.ndarray,
    predictions: np.ndarray,
) -> Layer:
    """The layer, of weights before any scale."""
    return Layer(
        name=product.name,
        kind=product.kind,
        weights=np.asarray(weighted.weights),
        bias=np.asarray(weighted.bias),
        inputs=enters,
        activations=leaves,
        predictions=predictions,
        convolution=product.geometry.convolution,
        groups=product.geometry.groups,
        note=product.note,
    )


def _checked(layer: Layer, weighted: Weighted, sums: np.ndarray, batch_size: int) -> Layer:
    """The layer with its effective weights, if from them come the sums that the network computed.

    Args:
      layer: with weights before any scale, on the first batch at least.
      weighted: of the layer.
      sums: [S, u], the network's, at the probed pairs of the first batch.
      batch_size: of that batch.

    Raises:
      NotExplained: a scale that is not the same at all positions, or other sums.
    """
    probes = probes_of((batch_size, *layer.activations.shape[1:-1]))
    scale, bias, rise, fall = (np.asarray(value) for value in weighted[1:])
    num_units = scale.shape[-1]
    if (scale != scale.reshape(-1, num_units)[0]).any():
        raise NotExplained("its scale differs from position to position")
    scale = scale.reshape(-1, num_units)[0]
    linear, size = unit_sums(layer, probes)
    linear, size = linear * scale, size * np.abs(scale)
    bias_there = bias[tuple(probes[:, 1:].T)]
    off = _root_mean_square(linear + bias_there - sums)
    if (off > _TOLERANCE * _root_mean_square(sums - bias_there) + 1e-5 * size.max(0)).any():
        raise NotExplained("its sums are not those of its weights")
    if (bias == bias.reshape(-1, num_units)[0]).all():
        bias = bias.reshape(-1, num_units)[0]
    return turned(layer._replace(weights=layer.weights * scale, bias=bias), rise, fall)


def unit_sums(layer: Layer, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the units of a layer sum up, without the bias.

    Args:
      layer: any layer.
      pairs: [S, 1 + P] integers, an example and, for P axes of positions, a position.

    Returns:
      [S, u] float64 sums, and the same of absolute values.
    """
    reads = cut_pairs(layer, pairs[:, 0], pairs[:, 1:]).astype(np.float64)
    num_units = layer.weights.shape[-1]
    kernel = layer.weights.reshape(-1, num_units)
    sums, sizes = np.empty((2, len(pairs), num_units))
    for group, units in enumerate(np.split(np.arange(num_units), layer.groups)):
        read = group_inputs(layer, reads, group)
        sums[:, units] = read @ kernel[:, units]
        sizes[:, units] = np.abs(read) @ np.abs(kernel[:, units])
    return sums, sizes


def turned(layer: Layer, rise: np.ndarray, fall: np.ndarray) -> Layer:
    """The layer with the signs of its weights turned where the activation falls with the sum.

    Args:
      layer: any layer.
      rise: [u], how much the activation rises as the sum does, in all.
      fall: [u], how much it falls. Of units that do both, the note says so.
    """
    sign = np.where((fall > rise) & (rise <= _DIP * fall), -1, 1).astype(layer.weights.dtype)
    bends = np.minimum(rise, fall) > _DIP * np.maximum(rise, fall)
    note = layer.note
    if bends.any():
        note += "; " * bool(note)
        note += f"the activation of {bends.sum()} of {len(rise)} units is not monotone in the sum"
    return layer._replace(weights=layer.weights * sign, bias=layer.bias * sign, note=note)


def _root_mean_square(array: np.ndarray) -> np.ndarray:
    """Of each column."""
    return np.sqrt(np.square(array, dtype=np.float64).mean(0))


def _predicted(logits: np.ndarray) -> np.ndarray:
    """The class of the largest logit, or of two classes the second if its one logit is above 0."""
    if not np.isfinite(logits).all():
        raise ValueError("network: its logits hold NaN or infinity; expected finite numbers")
    if logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(np.int32)
    return logits.argmax(-1).astype(np.int32)


def _warn(passed_over: Mapping[str, str]) -> None:
    if passed_over:
        reasons = ", ".join(f"{name} ({why})" for name, why in passed_over.items())
        warnings.warn(f"layers that are not explained: {reasons}", stacklevel=3)

"""Capture: from a network and its inputs to what enters and leaves each of its layers.

The network is traced, whatever framework it is written in, and its layers are found in the program
(see `mofn_jax.products`). Each is recomputed on some examples before it is given out.

Axis letters: E examples, P positions, S pairs of the two, n inputs, u units, k classes.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mofn_jax import checks
from mofn_jax.compiled import (
    Asked,
    Logits,
    Run,
    Weighted,
    asked_for_batches,
    asked_of,
    cached,
    entering_layers,
    layers_of,
    probes_of,
    run_of,
    weights_of,
)
from mofn_jax.frameworks import as_network
from mofn_jax.geometry import NotExplained
from mofn_jax.layers import Layer, turned, unit_sums
from mofn_jax.names import Names, check_names, class_names
from mofn_jax.products import Layers, Product
from mofn_jax.program import dtype_of
from mofn_jax.sources import names_of

# Recomputed sums may be as far from the network's, root mean square of a unit: bfloat16 has 0.4%.
_TOLERANCE = 0.02


def layer_names(
    network: Any,
    params: Any,
    inputs: ArrayLike,
    *,
    call_kwargs: Mapping[str, Any] | None = None,
    logits: Logits = None,
    predictions: ArrayLike | None = None,
) -> tuple[str, ...]:
    """The names of the layers that `capture_layers`, of the same arguments, captures.

    Raises:
      ValueError: as `capture_layers`.
    """
    found = _reader(network, params, inputs, 256, call_kwargs, logits, predictions, None).found
    _warn(found.passed_over)
    return tuple(product.name for product in found.products)


def capture_layers(
    network: Any,
    params: Any,
    inputs: ArrayLike,
    *,
    layers: Sequence[str] | None = None,
    batch_size: int = 256,
    call_kwargs: Mapping[str, Any] | None = None,
    logits: Logits = None,
    predictions: ArrayLike | None = None,
    names: Names | None = None,
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
        Equinox, `lambda model, inputs: jax.vmap(model)(inputs)`, or Haiku. It is traced once for
        all parameters and inputs of the same shapes: what it reads beside them is a constant.
      params: its parameters, or all variables of a Linen module as {"params": ..., ...}; None with
        an NNX module, which holds its own and is read as for inference. Leaves of a function's
        parameters that are no arrays are constants.
      inputs: [E, ...] inputs of the network.
      layers: names of the layers to capture; None for all.
      batch_size: examples at a time.
      call_kwargs: keyword arguments of the network's call, such as {"train": False}.
      logits: which of the network's outputs are its logits, [E, k], or [E, T, k] at each token: a
        key of them or a function of them. By default the first element of a tuple or list, a
        record's or mapping's "logits", or else the only output of shape [E, k]. A single logit,
        [E, 1], is that of the second of two classes (not a probability: it is split at 0). Of
        [E, T, k], layers of T positions are explained about the class at each.
      predictions: [E] integers from 0, the classes that hidden layers are explained about, instead
        of those of the logits: for a network without classes.
      names: what the inputs and classes are called, such as `Dataset.names`; by default a data
        frame's columns. What enters other layers is named by itself, see `Layer.input_names`.

    Returns:
      The layers, input side first.

    Raises:
      ValueError: no inputs, inputs not finite or too large for the network, a name that no layer
        has, batch_size below 1, predictions of another shape or not integers from 0, no logits, or
        several that could be them, logits that are not finite, names of another number than the
        inputs or classes, or a network without layers.
    """
    reader = _reader(network, params, inputs, batch_size, call_kwargs, logits, predictions, names)
    known = [product.name for product in reader.found.products]
    if layers is not None:
        layers = [checks.known("layers", name, known) for name in checks.sequence("layers", layers)]
    wanted = tuple(i for i, name in enumerate(known) if layers is None or name in layers)
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
        wanted, run.sides, reader.weights_of(wanted, probed), probed, strict=True
    ):
        layer = reader.layer(i, weights, values[enters], values[leaves], classes)
        product = reader.found.products[i]
        try:
            captured.append(_checked(layer, product, weights, probe, reader.batch_size))
        except NotExplained as reason:
            passed_over[product.name] = str(reason)
    _warn(passed_over)
    return tuple(captured)


def read_layer(
    network: Any,
    params: Any,
    inputs: ArrayLike,
    name: str,
    *,
    batch_size: int = 256,
    call_kwargs: Mapping[str, Any] | None = None,
    logits: Logits = None,
    predictions: ArrayLike | None = None,
    names: Names | None = None,
) -> Iterator[Layer]:
    """A layer, a batch of examples after another: the whole of it may not fit.

    The arguments and errors are those of `capture_layers`.

    Raises:
      NotExplained: a layer whose sums cannot be recomputed.
    """
    reader = _reader(network, params, inputs, batch_size, call_kwargs, logits, predictions, names)
    known = [product.name for product in reader.found.products]
    wanted = (known.index(checks.known("name", name, known)),)
    run = reader.run_of(wanted)
    ((enters, leaves),) = run.sides
    layer = None
    for rows, some, sums in reader.batches(run):
        classes = reader.classes(rows, some, run)
        if layer is None:
            product, (weights,) = reader.found.products[wanted[0]], reader.weights_of(wanted, sums)
            layer = reader.layer(wanted[0], weights, some[enters], some[leaves], classes)
            layer = _checked(layer, product, weights, sums[0], reader.batch_size)
        yield layer._replace(inputs=some[enters], activations=some[leaves], predictions=classes)


class _Reader(NamedTuple):
    """A network and its inputs."""

    arrays: Sequence[Any]  # its parameters
    inputs: np.ndarray
    predictions: np.ndarray | None  # given by the user
    batch_size: int
    asked: Asked
    found: Layers
    names: Names  # of the inputs and classes

    def run_of(self, wanted: tuple[int, ...]) -> Run:
        return cached(run_of, self.asked, wanted, self.batch_size)

    def weights_of(self, wanted: tuple[int, ...], probed: Sequence[np.ndarray]) -> list[Weighted]:
        largest = [np.abs(sums).max().astype(np.float32) for sums in probed]
        return cached(weights_of, self.asked, wanted)(self.arrays, largest)

    def batches(self, run: Run) -> Iterator[tuple[slice, list[np.ndarray], list[np.ndarray]]]:
        """The examples of each batch, the values on them, and the sums at its probed pairs.

        All batches are of one size, the last starting early: each size would be compiled.
        """
        dtype = jax.dtypes.canonicalize_dtype(self.inputs.dtype)
        for start in range(0, len(self.inputs), self.batch_size):
            stop = min(start + self.batch_size, len(self.inputs))
            given = self.inputs[stop - self.batch_size : stop]
            with np.errstate(over="ignore"):
                batch = given.astype(dtype, copy=False)
            is_lost = dtype.kind in "iu" and (batch != given).any()
            if is_lost or (dtype.kind == "f" and not np.isfinite(batch).all()):
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

    def layer(
        self,
        i: int,
        weighted: Weighted,
        enters: np.ndarray,
        leaves: np.ndarray,
        predictions: np.ndarray,
    ) -> Layer:
        """A layer, of weights before any scale."""
        product = self.found.products[i]
        source = cached(entering_layers, self.asked)[i]
        input_names, input_scaling = names_of(source, self.inputs.shape, self.names)
        weights = np.asarray(weighted.weights)
        return Layer(
            name=product.name,
            kind=product.kind,
            weights=weights,
            bias=np.asarray(weighted.bias),
            inputs=enters,
            activations=leaves,
            predictions=predictions,
            convolution=product.geometry.convolution,
            groups=product.geometry.groups,
            note=product.note,
            input_names=input_names,
            input_scaling=input_scaling,
            unit_names=class_names(product.kind, weights.shape[-1], self.names),
        )


def _reader(
    network: Any,
    params: Any,
    inputs: Any,
    batch_size: int,
    call_kwargs: Mapping[str, Any] | None,
    logits: Logits,
    predictions: Any,
    names: Names | None,
) -> _Reader:
    given, inputs = inputs, checks.numbers("inputs", inputs, 1)
    names = check_names(names, given, inputs.shape[-1])
    if predictions is not None:
        predictions = checks.class_labels("predictions", predictions, None, len(inputs))
    batch_size = min(checks.at_least("batch_size", batch_size, 1), len(inputs))
    described = as_network(network, params, call_kwargs)
    asked = asked_of(described, inputs, logits, predictions is None)
    asked = cached(asked_for_batches, asked, batch_size)
    return _Reader(
        described.arrays,
        inputs,
        predictions,
        batch_size,
        asked,
        cached(layers_of, asked),
        names,
    )


def _room_for(batch: np.ndarray, num_examples: int) -> np.ndarray:
    """An array for the values of all examples: the batch itself, if that has all of them."""
    if len(batch) == num_examples:
        return batch
    return np.empty((num_examples, *batch.shape[1:]), batch.dtype)


def _checked(
    layer: Layer, product: Product, weighted: Weighted, sums: np.ndarray, batch_size: int
) -> Layer:
    """The layer with its effective weights, if from them come the sums that the network computed.

    Args:
      layer: with weights before any scale, on the first batch at least.
      product: of the layer.
      weighted: of the layer.
      sums: [S, u], the network's, at the probed pairs of the first batch.
      batch_size: of that batch.

    Raises:
      NotExplained: a scale that is not the same at all positions, or other sums.
    """
    probes = probes_of((batch_size, *layer.activations.shape[1:-1]))
    scale, bias, rise, fall = (np.asarray(value) for value in weighted[1:])
    if not (np.isfinite(layer.weights).all() and np.isfinite(scale).all()):
        raise ValueError(f"params: the weights of {layer.name!r} hold NaN or infinity")
    num_units = scale.shape[-1]
    if (scale != scale.reshape(-1, num_units)[0]).any():
        raise NotExplained("its scale differs from position to position")
    scale = scale.reshape(-1, num_units)[0]
    linear, size = unit_sums(layer, probes)
    linear, size = linear * scale, size * np.abs(scale)
    bias_there = bias[tuple(probes[:, 1:].T)]
    off = _root_mean_square(linear + bias_there - sums)
    # Where the bias is much larger than the sums, rounding is of that size.
    rounding = float(jnp.finfo(dtype_of(product.affine)).eps) * _root_mean_square(sums)
    most = _TOLERANCE * _root_mean_square(sums - bias_there) + 1e-5 * size.max(0) + rounding
    if (off > most).any():
        raise NotExplained("its sums are not those of its weights")
    if (bias == bias.reshape(-1, num_units)[0]).all():
        bias = bias.reshape(-1, num_units)[0]
    return turned(layer._replace(weights=layer.weights * scale, bias=bias), rise, fall)


def _root_mean_square(array: np.ndarray) -> np.ndarray:
    """Of each column."""
    return np.sqrt(np.square(array, dtype=np.float64).mean(0))


def _predicted(logits: np.ndarray) -> np.ndarray:
    """The class of the largest logit, or of two classes the second if its one logit is above 0."""
    if not np.isfinite(logits).all():
        raise ValueError(
            "network: its logits hold NaN or infinity; expected finite numbers: say which output "
            "they are with logits=, or give predictions="
        )
    if logits.shape[-1] == 1:
        return (logits[..., 0] > 0).astype(np.int32)
    return logits.argmax(-1).astype(np.int32)


def _warn(passed_over: Mapping[str, str]) -> None:
    if passed_over:
        reasons = ", ".join(f"{name} ({why})" for name, why in passed_over.items())
        warnings.warn(f"layers that are not explained: {reasons}", stacklevel=3)

"""A layer of a trained network on some examples, and what each of its units reads.

Axis letters: E examples, P positions, S pairs of the two, n inputs, u units, C channels, K of a
kernel's window.
"""

import operator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mofn_jax import checks
from mofn_jax.display import html_table
from mofn_jax.geometry import Convolution

KINDS = ("dense", "conv", "softmax")
# The share of the rise that a nonlinearity may fall and still count as rising: silu falls by 3%.
_DIP = 0.05


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
    input_names: tuple[str, ...] | None = None  # of what enters, [n] or [C]
    input_scaling: np.ndarray | None = None  # [n, 2], how values are shown, as in `Names`
    unit_names: tuple[str, ...] | None = None  # [u], of classes

    def __repr__(self) -> str:
        """What it is, and the shapes of what it holds."""
        return f"Layer({', '.join(f'{name}: {text}' for name, text in self._described())})"

    def _repr_html_(self) -> str:
        """A table for a notebook."""
        return html_table(f"Layer {self.name}", ["field", "what it holds"], self._described())

    def _described(self) -> list[tuple[str, str]]:
        described = []
        for name, value in self._asdict().items():
            if hasattr(value, "shape"):
                described.append((name, f"{list(value.shape)} {value.dtype}"))
            elif isinstance(value, tuple) and name.endswith("names"):
                described.append((name, f"{len(value)}, {', '.join(map(str, value[:2]))}, ..."))
            elif value != Layer._field_defaults.get(name, ...):
                described.append((name, str(value)))
        return described


def check_layer(name: str, layer: Layer) -> Layer:
    """The layer, if its fields belong together, whatever made it.

    Raises:
      ValueError: naming the first field that does not.
    """
    checks.instance(name, layer, Layer)
    checks.known(f"{name}.kind", layer.kind, KINDS)
    for field, kind in (("name", str), ("note", str), ("every_position", bool)):
        checks.instance(f"{name}.{field}", getattr(layer, field), kind)
    weights = checks.numbers(f"{name}.weights", layer.weights, 2)
    activations = checks.numbers(f"{name}.activations", layer.activations, 2)
    inputs = checks.on_host(f"{name}.inputs", layer.inputs)
    if inputs.dtype.kind not in "fiubV":
        raise ValueError(f"{name}.inputs: expected real numbers, got dtype {inputs.dtype}")
    num_units, groups = weights.shape[-1], checks.at_least(f"{name}.groups", layer.groups, 1)
    for field, array, size in (
        ("inputs", inputs, weights.shape[-2] * groups),
        ("activations", activations, num_units),
    ):
        if array.ndim != activations.ndim or array.shape[-1] != size:
            raise ValueError(
                f"{name}.{field}: expected [E, {'..., ' * (activations.ndim > 2)}{size}] with "
                f"weights {list(weights.shape)}, got {list(array.shape)}"
            )
    if len(activations) != len(inputs):
        raise ValueError(
            f"{name}.activations: expected {len(inputs)} examples, got {len(activations)}"
        )
    window, positions = weights.shape[:-2], inputs.shape[1:-1]
    if layer.convolution is not None:
        _check_convolution(f"{name}.convolution", layer.convolution, len(window))
        if len(positions) == len(window):
            positions = layer.convolution.positions(positions, window)
    is_conv = layer.kind == "conv" and not layer.every_position
    if (
        num_units % groups
        or bool(window) != (layer.convolution is not None)
        or (is_conv != bool(window))
    ):
        raise ValueError(
            f"{name}.weights: {list(weights.shape)} are not those of kind {layer.kind!r}, "
            f"{groups} groups and convolution {layer.convolution}"
        )
    if activations.shape[1:-1] != positions:
        raise ValueError(
            f"{name}.activations: expected positions {list(positions)}, got "
            f"{list(activations.shape[1:-1])}"
        )
    predictions = checks.numbers(f"{name}.predictions", layer.predictions, 1)
    if len(predictions) != len(inputs):
        raise ValueError(
            f"{name}.predictions: expected {len(inputs)} examples, got {len(predictions)}"
        )
    _check_names_of(name, layer, num_units)
    num_classes = max(2, num_units) if layer.kind == "softmax" else None
    classes = checks.class_labels(f"{name}.predictions", predictions.reshape(-1), num_classes)
    return layer._replace(
        weights=weights,
        inputs=inputs,
        activations=activations,
        predictions=classes.reshape(predictions.shape),
    )


def _check_names_of(name: str, layer: Layer, num_units: int) -> None:
    """Asks that names are as many as what they name."""
    width = np.shape(layer.inputs)[-1]
    if layer.kernel_shape is not None:  # of pairs: names are those of channels
        width = layer.kernel_shape[-1] * layer.groups
    for field, size in (("input_names", width), ("unit_names", num_units)):
        some = getattr(layer, field)
        if some is not None and len(checks.texts(f"{name}.{field}", some)) != size:
            raise ValueError(f"{name}.{field}: expected {size} names, got {len(some)}")
    if layer.input_scaling is not None:
        checks.matrix(f"{name}.input_scaling", layer.input_scaling, [width, 2])


def _check_convolution(name: str, convolution: Convolution, num_axes: int) -> None:
    checks.instance(name, convolution, Convolution)
    for field, least in (("strides", 1), ("dilation", 1), ("padding", 0)):
        values = checks.sequence(f"{name}.{field}", getattr(convolution, field))
        if len(values) != num_axes:
            raise ValueError(f"{name}.{field}: expected {num_axes} axes, got {values}")
        for value in values:
            sides = checks.sequence(f"{name}.{field}", value) if field == "padding" else [value]
            for side in sides:
                checks.at_least(f"{name}.{field}", side, least)
            if len(sides) != (2 if field == "padding" else 1):
                raise ValueError(f"{name}.{field}: expected before and after, got {values}")


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
    layer = check_layer("layer", layer)
    if layer.convolution is None:
        raise ValueError(f"layer: expected a convolution, got {layer.name!r} of kind {layer.kind}")
    sizes = layer.activations.shape[1:-1]
    position = checks.sequence("position", position)
    are_integers = all(isinstance(place, int | np.integer) for place in position)
    is_one = are_integers and len(position) == len(sizes)
    if not is_one or not all(map(operator.contains, map(range, sizes), position)):
        raise ValueError(
            f"position: expected {'row and column' if len(sizes) == 2 else 'numbers'} from 0 and "
            f"below {sizes}, got {tuple(position)}"
        )
    checks.numbers("layer.inputs", layer.inputs, 2)
    num_examples = len(layer.inputs)
    return cut_pairs(layer, np.arange(num_examples), np.tile(position, (num_examples, 1)))


def take_examples(layer: Layer, examples: np.ndarray) -> Layer:
    """The layer on some of its examples, by their indices, or on none of them."""
    inputs, activations, predictions = (
        array[examples] for array in (layer.inputs, layer.activations, layer.predictions)
    )
    return layer._replace(inputs=inputs, activations=activations, predictions=predictions)


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

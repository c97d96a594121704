"""A layer of a trained network on some examples, and what each of its units reads.

Axis letters: E examples, P positions, S pairs of the two, n inputs, u units, C channels, K of a
kernel's window.
"""

import operator
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mofn_jax import checks
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
    input_names: tuple[str, ...] | None = None  # [n], of what a unit reads


def check_layer(name: str, layer: Layer) -> Layer:
    """The layer, if its fields belong together, whatever made it.

    Raises:
      ValueError: naming the first field that does not.
    """
    checks.instance(name, layer, Layer)
    checks.known(f"{name}.kind", layer.kind, KINDS)
    weights, inputs, activations, predictions = (
        checks.on_host(f"{name}.{field}", getattr(layer, field))
        for field in ("weights", "inputs", "activations", "predictions")
    )
    checks.numbers(f"{name}.weights", weights, 2)
    num_reads, num_units = weights.shape[-2:]
    window = weights.ndim - 2 if layer.convolution is not None else 0
    axes = inputs.ndim - 2
    groups = checks.at_least(f"{name}.groups", layer.groups, 1)
    for field, array, size in (
        ("inputs", inputs, num_reads * groups),
        ("activations", activations, num_units),
    ):
        if array.ndim < 2 or array.shape[-1] != size or array.ndim != 2 + axes:
            raise ValueError(
                f"{name}.{field}: expected [E, {'..., ' * bool(axes)}{size}] with weights "
                f"{list(weights.shape)}, got {list(array.shape)}"
            )
    if num_units % groups or weights.ndim != 2 + window or (window and window != axes):
        raise ValueError(
            f"{name}.weights: {list(weights.shape)} do not belong to {groups} groups and inputs "
            f"{list(inputs.shape)}"
        )
    for field, array in (("activations", activations), ("predictions", predictions)):
        if len(array) != len(inputs):
            raise ValueError(f"{name}.{field}: expected {len(inputs)} examples, got {len(array)}")
    classes = checks.class_labels(f"{name}.predictions", predictions.reshape(-1), None)
    return layer._replace(
        weights=weights,
        inputs=inputs,
        activations=activations,
        predictions=classes.reshape(predictions.shape),
    )


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

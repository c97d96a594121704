"""Layers of networks that are not in JAX, from arrays: of PyTorch, Keras, scikit-learn.

Axis letters: E examples, P positions, n inputs, u units, C channels, K of a kernel's window, S of
what a convolution reads.
"""

from collections.abc import Sequence

import jax
import numpy as np
from numpy.typing import ArrayLike

from mofn_jax import checks
from mofn_jax.geometry import Convolution
from mofn_jax.layers import Layer, turned, unit_sums
from mofn_jax.names import Names, check_names, class_names

LAYOUTS = ("jax", "torch")
_NUM_PAIRS = 256  # of an example and a position, on which outputs and sums are compared


def layer_from_arrays(
    name: str,
    weights: ArrayLike,
    inputs: ArrayLike,
    outputs: ArrayLike,
    predictions: ArrayLike,
    *,
    layout: str = "jax",
    kind: str | None = None,
    bias: ArrayLike | None = None,
    strides: int | Sequence[int] = 1,
    padding: str | int | Sequence[int] | Sequence[tuple[int, int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    names: Names | None = None,
) -> Layer:
    """A layer from its arrays, as `capture_layers` gives those of a network in JAX.

    Args:
      name: what to call it.
      weights: of a dense layer [n, u], of a convolution [*K, C, u], as Flax, Keras and scikit-learn
        have them; of layout "torch" [u, n] and [u, C, *K]. Of groups, C is their share.
      inputs: real numbers, what enters the layer: [E, *P, n]; of a convolution [E, *S, C], of
        layout "torch" [E, C, *S].
      outputs: real numbers, what leaves the layer after its nonlinearity: [E, *P, u]; of a
        convolution of layout "torch" [E, u, *P].
      predictions: [E] integers from 0, the network's class of each example.
      layout: "jax" or "torch".
      kind: "softmax" if the units are the classes; by default "dense" or "conv", by the weights.
      bias: [u]; None for zeros. No rule depends on it.
      strides: of a convolution, for all axes or each.
      padding: zeros before and after, for all axes or each; or "SAME" or "VALID".
      dilation: of the kernel, for all axes or each.
      groups: of a convolution.
      names: of what enters, [n] or [C] features, and of the classes; by default a data frame's
        columns.

    Raises:
      ValueError: arrays that are not finite numbers, or whose shapes do not belong together; an
        unknown layout, kind or padding; outputs of a hidden layer that do not rise or fall with the
        sums of the inputs and weights, as those of another layout do not; names of another number
        than the features or classes.

    Examples:
      >>> weights, inputs = np.array([[1.0, -1.0]]), np.array([[0.0, 1], [2, 1], [3, 0]])
      >>> outputs = inputs @ weights.T
      >>> layer = layer_from_arrays("fc", weights, inputs, outputs, [0, 1, 1], layout="torch")
      >>> layer.weights.shape, layer.kind
      ((2, 1), 'dense')
    """
    checks.instance("name", name, str)
    is_torch = checks.known("layout", layout, LAYOUTS) == "torch"
    weights = checks.numbers("weights", weights, 2)
    given, inputs = inputs, checks.numbers("inputs", inputs, 2)
    outputs = checks.matrix("outputs", outputs, [len(inputs), *[None] * (inputs.ndim - 1)])
    if weights.dtype.kind != "f":
        weights = weights.astype(np.float64)  # their signs may turn
    groups = checks.at_least("groups", groups, 1)
    window = weights.shape[2:] if is_torch else weights.shape[:-2]
    if is_torch:
        weights = np.moveaxis(weights, (0, 1), (-1, -2))
        if window:
            inputs, outputs = np.moveaxis(inputs, 1, -1), np.moveaxis(outputs, 1, -1)
    usual = {"strides": (strides, 1), "padding": (padding, 0), "dilation": (dilation, 1)}
    for argument, (value, of_none) in usual.items():
        if not window and np.any(checks.on_host(argument, value) != of_none):
            raise ValueError(f"{argument}: is of a convolution, but weights have two axes")
    channels, num_units = weights.shape[-2:]
    positions, convolution = inputs.shape[1:-1], None
    if window:
        if inputs.ndim != 2 + len(window):
            raise ValueError(
                f"inputs: expected {2 + len(window)} axes with a window of {list(window)}, got "
                f"{inputs.ndim}"
            )
        convolution = _convolution(window, positions, strides, padding, dilation)
        positions = convolution.positions(positions, window)
    if inputs.shape[-1] != channels * groups or num_units % groups:
        raise ValueError(
            f"weights: of {channels} inputs in {groups} groups and {num_units} units, they do not "
            f"belong to {inputs.shape[-1]} inputs; is the layout {layout!r}?"
        )
    if outputs.shape[1:] != (*positions, num_units):
        raise ValueError(
            f"outputs: expected positions {list(positions)} and {num_units} units, got "
            f"{list(outputs.shape[1:])}"
        )
    bias = np.zeros(num_units, np.float32) if bias is None else bias
    own = "conv" if window else "dense"
    kind = checks.known("kind", own if kind is None else kind, ["softmax", own])
    num_classes = max(2, num_units) if kind == "softmax" else None  # one logit is of two classes
    names = check_names(names, given, inputs.shape[-1])
    layer = Layer(
        name=name,
        kind=kind,
        weights=weights,
        bias=checks.matrix("bias", bias, [num_units]),
        inputs=inputs,
        activations=outputs,
        predictions=checks.class_labels("predictions", predictions, num_classes, len(inputs)),
        convolution=convolution,
        groups=groups,
        input_names=names.features,
        input_scaling=names.scaling,
        unit_names=class_names(kind, num_units, names),
    )
    return layer if kind == "softmax" else _turned_as_seen(layer)


def _convolution(
    window: Sequence[int],
    sizes: Sequence[int],
    strides: int | Sequence[int],
    padding: str | int | Sequence[int] | Sequence[tuple[int, int]],
    dilation: int | Sequence[int],
) -> Convolution:
    steps, apart = _each("strides", strides, window), _each("dilation", dilation, window)
    if isinstance(padding, str):
        padding = padding.upper()  # PyTorch's are in lower case
        checks.known("padding", padding, ["SAME", "VALID"])
        extent = [gap * (width - 1) + 1 for width, gap in zip(window, apart, strict=True)]
        pads = jax.lax.padtype_to_pads(sizes, extent, steps, padding)
        return Convolution(steps, apart, tuple((int(a), int(b)) for a, b in pads))
    try:
        sides = np.asarray(padding)
    except ValueError:  # lists of several lengths
        sides = np.full(0, -1)
    if sides.ndim == 0 or sides.shape == (len(window),):
        sides = np.broadcast_to(sides[..., None], (len(window), 2))
    if sides.shape != (len(window), 2) or sides.dtype.kind not in "iu" or sides.min() < 0:
        raise ValueError(
            f"padding: expected integers from 0, one for each of {len(window)} axes or two, got "
            f"{padding!r}"
        )
    return Convolution(steps, apart, tuple((int(a), int(b)) for a, b in sides))


def _each(name: str, value: int | Sequence[int], window: Sequence[int]) -> tuple[int, ...]:
    """A number for each axis of the window."""
    array = checks.on_host(name, value)
    values = list(np.atleast_1d(array)) * (1 if array.ndim else len(window))
    if len(values) != len(window):
        raise ValueError(f"{name}: expected a number for each of {len(window)} axes, got {value!r}")
    return tuple(checks.at_least(name, one, 1) for one in values)


def _turned_as_seen(layer: Layer) -> Layer:
    """The layer with the signs of its weights as its outputs rise or fall with the sums.

    Raises:
      ValueError: outputs that do neither.
    """
    shape = layer.activations.shape
    pairs = np.random.default_rng(0).integers(0, shape[:-1], (_NUM_PAIRS, len(shape) - 1))
    with np.errstate(over="ignore", invalid="ignore"):
        sums, _ = unit_sums(layer, pairs)
    order = np.argsort(sums, axis=0, kind="stable")
    seen = layer.activations[tuple(pairs.T)].astype(np.float64)
    steps = np.diff(np.take_along_axis(seen, order, axis=0), axis=0)
    rise, fall = np.maximum(steps, 0).sum(0), -np.minimum(steps, 0).sum(0)
    varies = (rise + fall > 0) & np.isfinite(sums).all(0)  # it is not known of sums too large
    less, more = np.minimum(rise, fall)[varies], np.maximum(rise, fall)[varies]
    if varies.any() and np.median(less / more) > 0.5:
        raise ValueError(
            "outputs: they neither rise nor fall with the sums of inputs and weights; are the "
            "layouts, strides and padding those of the network?"
        )
    return turned(layer, rise, fall)

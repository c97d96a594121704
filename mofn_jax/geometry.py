"""How a product reads what enters it and lays out what it gives, whatever its axes.

Axis letters: E examples, P positions, n inputs, u units, C channels, K of a kernel's window.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.extend.core as jex

from mofn_jax.program import shape_of


class NotExplained(ValueError):
    """Why a layer is passed over."""


class Convolution(NamedTuple):
    """How a kernel moves over its input; of images, rows before columns."""

    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]  # zeros before and after

    def positions(self, sizes: Sequence[int], window: Sequence[int]) -> tuple[int, ...]:
        """At how many places of each axis of these sizes the window fits."""
        return tuple(
            (size + sum(pad) - apart * (width - 1) - 1) // stride + 1
            for size, width, stride, apart, pad in zip(sizes, window, *self, strict=True)
        )


class Axes(NamedTuple):
    """How an array is laid out anew: its axes in another order, neighbours merged into one."""

    order: tuple[int, ...]
    merged: tuple[int, ...]  # how many of them make each new axis

    def arranged(self, array: Any) -> Any:
        """The array, of JAX or NumPy."""
        array = array.transpose(self.order)
        sizes, shape, start = array.shape, [], 0
        for count in self.merged:
            shape.append(math.prod(sizes[start : start + count]))
            start += count
        return array.reshape(shape)


class Geometry(NamedTuple):
    """What a product reads and gives, as arrays of one layout."""

    inputs: Axes  # to [E, *P, n], of convolutions [E, *P, C]; of groups, one after another
    weights: Axes  # to [n, u], of convolutions [*K, C, u]; of groups, the inputs of one
    outputs: Axes  # to [E, *P, u]
    groups: int  # as many runs of units read as many runs of inputs
    convolution: Convolution | None


def of_dot(equation: jex.JaxprEqn, side: int, axis: int) -> Geometry:
    """The geometry of a `dot_general`.

    Args:
      equation: the product.
      side: which of its operands depends on the inputs.
      axis: where that has the examples.

    Raises:
      NotExplained: it sums over the examples.
    """
    contracting, batch = equation.params["dimension_numbers"]
    ours, theirs = batch[side], batch[1 - side]
    # In the order that the kernel has them.
    pairs = sorted(zip(contracting[1 - side], contracting[side], strict=True))
    inner, summed = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    ndims = [len(shape_of(v)) for v in equation.invars]
    free = [i for i in range(ndims[side]) if i not in (*summed, *ours)]
    units = [i for i in range(ndims[1 - side]) if i not in (*inner, *theirs)]
    if axis not in free:
        raise NotExplained("it sums over the examples")
    # What leaves: the groups, and then of both operands what is left, the left one's first.
    start = len(ours) + (len(units) if side == 1 else 0)
    place = {i: start + k for k, i in enumerate(free)}
    start = len(ours) + (len(free) if side == 0 else 0)
    positions = [i for i in free if i != axis]
    ones = (1,) * (1 + len(positions))
    return Geometry(
        Axes((axis, *positions, *ours, *summed), (*ones, len(ours) + len(summed))),
        Axes((*inner, *theirs, *units), (len(inner), len(theirs) + len(units))),
        Axes(
            (
                *(place[i] for i in (axis, *positions)),
                *range(len(ours)),
                *range(start, start + len(units)),
            ),
            (*ones, len(ours) + len(units)),
        ),
        groups=math.prod(shape_of(equation.invars[side])[i] for i in ours),
        convolution=None,
    )


def of_convolution(equation: jex.JaxprEqn, axis: int) -> Geometry:
    """The geometry of a `conv_general_dilated`.

    Args:
      equation: the product.
      axis: where its left operand has the examples.

    Raises:
      NotExplained: a convolution whose units are no sums over patches of zero-padded arrays.
    """
    params = equation.params
    numbers = params["dimension_numbers"]
    if any(size != 1 for size in params["lhs_dilation"]):
        raise NotExplained("a transposed convolution")
    if params["batch_group_count"] != 1 or axis != numbers.lhs_spec[0]:
        raise NotExplained("its examples are no examples of the convolution")
    if any(side < 0 for pair in params["padding"] for side in pair):
        raise NotExplained("its padding crops")
    batch, feature, *window = numbers.lhs_spec
    out, into, *kernel = numbers.rhs_spec
    examples, units, *positions = numbers.out_spec
    return Geometry(
        Axes((batch, *window, feature), (1,) * (2 + len(window))),
        Axes((*kernel, into, out), (1,) * (2 + len(kernel))),
        Axes((examples, *positions, units), (1,) * (2 + len(positions))),
        groups=params["feature_group_count"],
        convolution=Convolution(
            tuple(params["window_strides"]),
            tuple(params["rhs_dilation"]),
            tuple((int(before), int(after)) for before, after in params["padding"]),
        ),
    )

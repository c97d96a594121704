"""Where what enters a layer comes from, a unit of the layer before or an input, and its name.

Through a program follow the labels of elements: as many as there are units, and the places of each.
A step that moves elements moves their labels; a function of each element keeps them; a pool keeps
the unit and counts places anew. Whatever else mixes elements ends the trail, and what comes after
has no name.

Axis letters: E examples, P positions, n inputs, u units, C channels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax.extend.core as jex
import numpy as np

from mofn_jax.names import Names
from mofn_jax.products import ELEMENTWISE, IDENTITIES, VIEWS, Product
from mofn_jax.program import Program, operands, shape_of

_VALUE, _POOLED, _CHANGED = "{}", "pooled {}", "f({})"


class Source(NamedTuple):
    """Of each element of an array, where it comes from."""

    layer: str | None  # a layer's name; None: the inputs of the network
    units: np.ndarray  # integers, shaped as the array: the unit, or the last axis of the inputs
    places: tuple[np.ndarray, ...]  # likewise, for each axis of positions
    form: str = _VALUE  # how its name is written; of what is no longer the value itself, otherwise

    def mapped(self, function: Callable[[np.ndarray], np.ndarray]) -> "Source":
        """The source with a function of each of its arrays."""
        return self._replace(
            units=function(self.units), places=tuple(function(place) for place in self.places)
        )


def sources_of(program: Program, products: Sequence[Product]) -> tuple[Source | None, ...]:
    """Of each layer, where what enters it comes from, on one example: arrays [*P, n] or [*P, C].

    Args:
      program: the network, traced for a few examples.
      products: its layers.

    Returns:
      None where it is not known.
    """
    # Of what depends on the inputs; None: not known.
    known: dict[jex.Var, Source | None] = {
        program.inputs: source_of_inputs(shape_of(program.inputs))
    }
    leaves = {product.leaves: product for product in products}
    for equation in program.jaxpr.eqns:
        read = [known[v] for v in operands(equation) if v in known]
        if read:
            known.update(dict.fromkeys(equation.outvars))
            sources = [source for source in read if source is not None]
            if len(sources) == len(read):
                known[equation.outvars[0]] = _followed(equation, sources)
        for variable in equation.outvars:
            if variable in leaves:
                known[variable] = _left(leaves[variable])
    return tuple(
        source and source.mapped(partial(_of_first_example, product))
        for product in products
        for source in [known[product.enters]]
    )


def _of_first_example(product: Product, array: np.ndarray) -> np.ndarray:
    """What enters a layer, arranged [*P, n]."""
    return product.geometry.inputs.arranged(array)[0]


def source_of_inputs(shape: Sequence[int]) -> Source:
    """Of a network's inputs [E, ..., C]: the last axis counts as units."""
    return _arranged_source(None, shape)


def _arranged_source(layer: str | None, shape: Sequence[int]) -> Source:
    """Of [E, *P, u]: the last axis are units."""
    _, *places, units = np.indices(shape, sparse=True)
    return Source(
        layer, np.broadcast_to(units, shape), tuple(np.broadcast_to(p, shape) for p in places)
    )


def _left(product: Product) -> Source:
    """Of what leaves a layer, in the layout that it has in the program."""
    shape = shape_of(product.leaves)
    order = product.outputs(np.arange(np.prod(shape)).reshape(shape), product.leaves)

    def laid_out(array: np.ndarray) -> np.ndarray:
        laid = np.empty(array.size, int)
        laid[order.reshape(-1)] = array.reshape(-1)
        return laid.reshape(shape)

    return _arranged_source(product.name, order.shape).mapped(laid_out)


def _followed(equation: jex.JaxprEqn, read: Sequence[Source]) -> Source | None:
    """What an equation makes of sources; None if it mixes them."""
    name, params, source = equation.primitive.name, equation.params, read[0]
    shape = shape_of(equation.outvars[0])
    if name in ELEMENTWISE:
        if shape != source.units.shape or not all(_are_same(source, other) for other in read[1:]):
            return None
        is_scaled = name in ("div", "mul") and len(operands(equation)) == 1  # by one number
        is_average = source.form == _POOLED and is_scaled
        if name in IDENTITIES or is_average or source.form.startswith("f("):
            return source
        return source._replace(form=_CHANGED.format(source.form))
    if name == "concatenate" and len({(s.layer, s.form, len(s.places)) for s in read}) == 1:
        units, *places = (
            np.concatenate(arrays, params["dimension"])
            for arrays in zip(*((s.units, *s.places) for s in read), strict=True)
        )
        return source._replace(units=units, places=tuple(places))
    if len(read) > 1:
        return None
    if name == "broadcast_in_dim":
        new = [axis for axis in range(len(shape)) if axis not in params["broadcast_dimensions"]]
        return source.mapped(lambda array: np.broadcast_to(np.expand_dims(array, new), shape))
    if name == "slice":
        steps = params["strides"] or (1,) * len(shape)
        some = tuple(map(slice, params["start_indices"], params["limit_indices"], steps))
        return source.mapped(lambda array: array[some])
    if name == "transpose":
        return source.mapped(lambda array: array.transpose(params["permutation"]))
    if name in VIEWS:
        return source.mapped(lambda array: array.reshape(shape))
    if name in ("reduce_window_max", "reduce_window_sum"):
        sides = zip(params["window_dimensions"], params["window_strides"], strict=True)
        return _pooled(source, shape, [axis for axis, side in enumerate(sides) if side != (1, 1)])
    if name in ("reduce_max", "reduce_sum"):
        axes = params["axes"]
        left = source._replace(places=tuple(p for p in source.places if _is_one(p, axes)))
        whole = tuple(1 if axis in axes else size for axis, size in enumerate(source.units.shape))
        pooled = _pooled(left, whole, axes)
        return pooled and pooled.mapped(lambda array: array.reshape(shape))
    return None


def _pooled(source: Source, shape: tuple[int, ...], axes: Sequence[int]) -> Source | None:
    """What a pool along some axes gives, of one unit in each window; places are counted anew."""
    if not _is_one(source.units, axes):
        return None
    places = []
    for place in source.places:
        along = [axis for axis in range(place.ndim) if not _is_one(place, [axis])]
        if len(along) > 1:
            return None
        if not set(along).isdisjoint(axes):
            place = np.expand_dims(
                np.arange(shape[along[0]]), [a for a in range(len(shape)) if a != along[0]]
            )
        else:
            place = _first(place, axes)
        places.append(np.broadcast_to(place, shape))
    units = np.broadcast_to(_first(source.units, axes), shape)
    form = source.form if source.form.startswith("pooled") else _POOLED.format(source.form)
    return Source(source.layer, units, tuple(places), form)


def _first(array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """The array's first elements along some axes, which stay."""
    return array[tuple(slice(1) if axis in axes else slice(None) for axis in range(array.ndim))]


def _is_one(array: np.ndarray, axes: Sequence[int]) -> bool:
    """Whether the elements are the same along these axes."""
    return bool((array == _first(array, axes)).all())


def _are_same(source: Source, other: Source) -> bool:
    """Whether elements come from the same."""
    keys = ((one.layer, one.form, len(one.places)) for one in (source, other))
    if len(set(keys)) > 1:
        return False
    pairs = zip((source.units, *source.places), (other.units, *other.places), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def names_of(
    source: Source | None, shape: tuple[int, ...], names: Names
) -> tuple[tuple[str, ...] | None, np.ndarray | None]:
    """The names and the scaling of what enters a layer.

    A unit of the layer before is `dense_0[63]`, one of a convolution with where it is,
    `conv_1[2][4, 5]`; an input is a feature, or with its place `pixel[4, 5]`, of several channels
    `pixel[0][4, 5]`. Places that go along with the layer's own positions are left out. What was
    pooled on the way is `pooled conv_1[2][4, 5]`, whose place counts what the pool gives; what was
    changed, element by element, `f(conv_1[2][4, 5])`.

    Args:
      source: arrays [*P, n] or [*P, C]; None if it is not known.
      shape: of the network's inputs, [E, ...].
      names: of these.

    Returns:
      Names, and numbers [., 2] as of `Names`; None for what is not known.
    """
    if source is None:
        return None, None
    size = source.units.shape[-1]
    units, *places = (array.reshape(-1, size) for array in (source.units, *source.places))
    fixed = [place for place in places if (place == place[0]).all()]
    moving = [place for place in places if not (place == place[0]).all()]
    if (units != units[0]).any() or any((place != place[:, :1]).any() for place in moving):
        return None, None
    texts = [_stem(source.layer, unit, shape, names) for unit in units[0].tolist()]
    if fixed:
        where = zip(*(place[0].tolist() for place in fixed), strict=True)
        texts = [f"{text}[{', '.join(map(str, w))}]" for text, w in zip(texts, where, strict=True)]
    is_value = source.layer is None and source.form == _VALUE
    scaling = names.scaling[units[0]] if is_value and names.scaling is not None else None
    return tuple(map(source.form.format, texts)), scaling


def _stem(layer: str | None, unit: int, shape: tuple[int, ...], names: Names) -> str:
    """What a unit is called, or a channel of the network's inputs."""
    if layer is not None:
        return f"{layer}[{unit}]"
    if names.features is not None:
        return names.features[unit]
    if len(shape) == 2:
        return f"x{unit}"
    if len(shape) == 4:
        return "pixel" if shape[-1] == 1 else f"pixel[{unit}]"
    return f"input[{unit}]"


def names_of_flattened(
    shape: tuple[int, ...], names: Names
) -> tuple[tuple[str, ...], np.ndarray | None]:
    """The names and the scaling of a network's inputs [E, ...], laid out as [E, n]."""
    texts, scaling = names_of(source_of_inputs((1, *shape[1:])).mapped(np.ravel), shape, names)
    assert texts is not None  # they have no positions
    return texts, scaling

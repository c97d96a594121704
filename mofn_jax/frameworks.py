"""Networks of several frameworks as functions of arrays: what is traced is the same for all.

A network is a Linen module and its parameters, an NNX module, which holds its own, or a function of
parameters and inputs, as Equinox and Haiku have them. Here each becomes a function that can be
compared and hashed, so that what was compiled for one serves all of the same shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
from flax import nnx

# A value and how it is written: True and 1 are equal, but a network may tell them apart.
Static = tuple[Any, str]
Options = tuple[tuple[str, Static], ...]


class LinenCall(NamedTuple):
    """Calls a Linen module."""

    module: nn.Module
    written: str  # the module, as of `Static`
    structure: Any
    options: Options

    def __call__(self, *arrays: jax.Array) -> Any:
        variables = jax.tree.unflatten(self.structure, arrays[:-1])
        return self.module.apply(variables, arrays[-1], **_keywords(self.options))


class NnxCall(NamedTuple):
    """Calls an NNX module, set to inference: no dropout, and averages that were kept."""

    graph: Any
    written: str  # the graph, as of `Static`
    structure: Any
    options: Options

    def __call__(self, *arrays: jax.Array) -> Any:
        module = nnx.merge(self.graph, jax.tree.unflatten(self.structure, arrays[:-1]))
        module.eval()
        return module(arrays[-1], **_keywords(self.options))


class FunctionCall(NamedTuple):
    """Calls a function of parameters, of which those that are no arrays are part of it."""

    function: Callable[..., Any]
    structure: Any
    written: str  # the structure, as of `Static`
    static: tuple[tuple[int, Static], ...]  # places and values of leaves that are no arrays
    options: Options

    def __call__(self, *arrays: jax.Array) -> Any:
        leaves = list(arrays[:-1])
        for place, (leaf, _) in self.static:
            leaves.insert(place, leaf)
        params = jax.tree.unflatten(self.structure, leaves)
        return self.function(params, arrays[-1], **_keywords(self.options))


Call = LinenCall | NnxCall | FunctionCall


class Network(NamedTuple):
    """A network as a function of arrays."""

    call: Call  # call(*arrays, inputs)
    arrays: Sequence[Any]  # its parameters
    paths: tuple[tuple[str, ...], ...]  # where each of them lies


def as_network(network: Any, params: Any, call_kwargs: Mapping[str, Any] | None) -> Network:
    """The network as a function of its parameters' arrays, and these.

    Args:
      network: a Linen module, an NNX module, or a function of parameters and inputs.
      params: the parameters of a Linen module or function; None with an NNX module.
      call_kwargs: keyword arguments of the network's call.

    Raises:
      ValueError: a network that is none of these, a Linen module without parameters, an NNX module
        with others than its own, or call_kwargs that are not by name.
    """
    if call_kwargs is not None and not (
        isinstance(call_kwargs, Mapping) and all(isinstance(name, str) for name in call_kwargs)
    ):
        raise ValueError(f"call_kwargs: expected arguments by name, got {call_kwargs!r}")
    options = tuple(
        (name, (value, repr(value))) for name, value in sorted((call_kwargs or {}).items())
    )
    described = _described(network, params, options)
    arrays = [
        _as_array(path, leaf) for path, leaf in zip(described.paths, described.arrays, strict=True)
    ]
    return described._replace(arrays=arrays)


def _as_array(path: Sequence[str], leaf: Any) -> Any:
    """A parameter, of the machine's own byte order.

    Raises:
      ValueError: naming one that is no array, or traced.
    """
    name = f"params ({'/'.join(path)})"
    if isinstance(leaf, jax.core.Tracer):
        raise ValueError(f"{name}: is traced; call it outside jit, vmap and grad")
    if not (hasattr(leaf, "dtype") and hasattr(leaf, "shape")):
        raise ValueError(f"{name}: expected an array, got {leaf!r}")
    if isinstance(leaf, np.ndarray):
        if not leaf.dtype.isnative:
            leaf = leaf.astype(leaf.dtype.newbyteorder("="))
        if leaf.dtype.kind == "f" and leaf.dtype.itemsize > 8:
            leaf = leaf.astype(np.float64)
    return leaf


def _described(network: Any, params: Any, options: Options) -> Network:
    if isinstance(network, nn.Module):
        if not isinstance(params, Mapping):
            raise ValueError(
                f"params: expected a Linen module's parameters by name, got {type(params).__name__}"
            )
        params = nn.meta.unbox(params)
        variables = params if "params" in params else {"params": params}
        leaves, structure = jax.tree_util.tree_flatten_with_path(variables)
        paths = [_names(path) for path, _ in leaves]
        paths = [path[1:] if path[0] == "params" else path for path in paths]
        return Network(
            LinenCall(network, repr(network), structure, options),
            [leaf for _, leaf in leaves],
            tuple(paths),
        )
    if isinstance(network, nnx.Module):
        if params is not None:
            raise ValueError("params: an NNX module holds its own parameters; expected None")
        graph, state = nnx.split(network)
        leaves, structure = jax.tree_util.tree_flatten_with_path(state)
        # Without the "value" of each variable; what is none is an array itself.
        paths = [_names(path[:-1] if str(path[-1]) == ".value" else path) for path, _ in leaves]
        return Network(
            NnxCall(graph, repr(graph), structure, options),
            [leaf for _, leaf in leaves],
            tuple(paths),
        )
    if not callable(network) or (isinstance(network, type) and issubclass(network, nn.Module)):
        raise ValueError(
            "network: expected a Linen module, an NNX module or a function of parameters and "
            f"inputs, got {network if isinstance(network, type) else type(network).__name__}"
        )
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    is_array = [
        isinstance(leaf, jax.Array | np.ndarray | np.number | np.bool) for _, leaf in leaves
    ]
    static = tuple(
        (place, (leaf, repr(leaf))) for place, (_, leaf) in enumerate(leaves) if not is_array[place]
    )
    held = [leaf for leaf, is_one in zip(leaves, is_array, strict=True) if is_one]
    return Network(
        FunctionCall(network, structure, repr(structure), static, options),
        [leaf for _, leaf in held],
        tuple(_names(path) for path, _ in held),
    )


def _keywords(options: Options) -> dict[str, Any]:
    return {name: value for name, (value, _) in options}


def _names(path: Sequence[Any]) -> tuple[str, ...]:
    """The parts of a path in a tree, as text."""
    return tuple(
        str(next(getattr(key, field) for field in ("key", "idx", "name") if hasattr(key, field)))
        for key in path
    )

"""A network compiled to give what enters and leaves its layers, and how they weigh it.

What is traced and compiled is kept, and serves every network of the same shapes.

Axis letters: E examples, P positions, S pairs of the two, n inputs, u units, k classes, C channels,
K of a kernel's window.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError

from mofn_jax import checks
from mofn_jax.frameworks import Call, Network
from mofn_jax.products import Layers, Product, find_layers
from mofn_jax.program import Program, compute, dtype_of, same_variables, shape_of, trace
from mofn_jax.sources import Source, sources_of

# Examples in the traces that are only read: how many makes no difference, but an axis of one would
# be like one that is broadcast.
_FEW = 2
# How far from 0 a nonlinearity is looked at, at least, and in how many steps: an odd number, for a
# pole at 0 to be stepped over.
_RANGE, _STEPS = 8.0, 127
_NUM_PROBES = 32  # pairs of example and position at which they are compared

# Which of a network's outputs are its logits.
Logits = Callable[[Any], Any] | str | int | None


class Asked(NamedTuple):
    """What a program is traced for."""

    call: Call
    paths: tuple[tuple[str, ...], ...]
    arrays: tuple[jax.ShapeDtypeStruct, ...]
    inputs: jax.ShapeDtypeStruct  # of one example
    logits: Logits
    has_logits: bool
    few: int = _FEW  # examples in the traces that are only read

    def trace(self, num_examples: int) -> Program:
        """The network for some number of examples.

        Raises:
          ValueError: no logits, or a network that does not take as many, or such parameters.
        """

        def outputs(*arrays: jax.Array) -> Any:
            given = self.call(*arrays)
            return [_logits(given, self.logits, num_examples), given] if self.has_logits else given

        shape = (num_examples, *self.inputs.shape)
        try:
            return trace(outputs, self.arrays, jax.ShapeDtypeStruct(shape, self.inputs.dtype))
        except (TypeError, KeyError, IndexError, AttributeError, FlaxError) as error:
            raise ValueError(
                f"network: it cannot be traced for {num_examples} examples with these params and "
                f"inputs: {type(error).__name__}: {checks.reason(error)}"
            ) from error


def asked_of(network: Network, inputs: np.ndarray, logits: Logits, has_logits: bool) -> Asked:
    """What to trace for a network and inputs [E, ...]."""
    arrays = tuple(_traced_as(np.shape(array), array.dtype) for array in network.arrays)
    one = _traced_as(inputs.shape[1:], inputs.dtype)
    return Asked(network.call, network.paths, arrays, one, logits, has_logits)


def _traced_as(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """Of the dtype that JAX gives it: float64 is float32 without 64 bits; random keys stay."""
    if not jnp.issubdtype(dtype, jax.dtypes.extended):
        dtype = jax.dtypes.canonicalize_dtype(dtype)
    return jax.ShapeDtypeStruct(shape, dtype)


def cached(function: Any, *arguments: Any) -> Any:
    """What a cached function gives, which is not kept if the network cannot be hashed."""
    try:
        hash(arguments)
    except TypeError:
        return function.__wrapped__(*arguments)
    return function(*arguments)


@lru_cache(maxsize=64)
def _program_of(asked: Asked, num_examples: int) -> Program:
    return asked.trace(num_examples)


@lru_cache(maxsize=64)
def asked_for_batches(asked: Asked, batch_size: int) -> Asked:
    """What to trace if the program for a few examples is another than that for a batch.

    A product of three operands, for one, is made in the order that costs least.
    """
    few, batch = (cached(_program_of, asked, size) for size in (asked.few, batch_size))
    try:
        same_variables(few, batch)
    except ValueError:
        return asked._replace(few=batch_size)
    return asked


@lru_cache(maxsize=64)
def layers_of(asked: Asked) -> Layers:
    few, larger = (cached(_program_of, asked, size) for size in (asked.few, asked.few + 1))
    layers = find_layers(few, larger, asked.paths, asked.has_logits)
    if not layers.products:
        reasons = "; ".join(f"{name}: {why}" for name, why in layers.passed_over.items())
        raise ValueError(
            "network: no layer that can be explained, a product of what depends on the inputs and "
            f"of parameters{f' ({reasons})' if reasons else ''}"
        )
    return layers


@lru_cache(maxsize=64)
def entering_layers(asked: Asked) -> tuple[Source | None, ...]:
    """Of each layer, where what enters it comes from."""
    layers = cached(layers_of, asked)
    return sources_of(layers.program, layers.products)


class Weighted(NamedTuple):
    """How a layer weighs what enters it, and what its nonlinearity does with the sums."""

    weights: jax.Array  # [n, u]; of a convolution [*K, C, u], before any scale
    scale: jax.Array  # [*P, u], of the sums
    bias: jax.Array  # [*P, u]
    rise: jax.Array  # [u], how much the nonlinearity rises in all
    fall: jax.Array  # [u], and falls


@lru_cache(maxsize=64)
def weights_of(asked: Asked, wanted: tuple[int, ...]) -> Callable[..., list[Weighted]]:
    """How some layers weigh what enters them, as a compiled function.

    It takes the parameters and, of each layer, how far from 0 sums are met.
    """
    layers = cached(layers_of, asked)

    @jax.jit
    def weigh(arrays: Sequence[jax.Array], largest: Sequence[jax.Array]) -> list[Weighted]:
        values = dict(zip(layers.program.parameters, arrays, strict=True))
        return [
            _weighted(layers.program, layers.products[i], values, reach)
            for i, reach in zip(wanted, largest, strict=True)
        ]

    return weigh


def _weighted(
    program: Program,
    product: Product,
    values: dict[jex.Var, jax.Array],
    reach: jax.Array,
) -> Weighted:
    (weights,) = compute(program, values, [product.weights])

    def sums(products: jax.Array) -> jax.Array:
        (sums,) = compute(program, values | {product.product: products}, [product.affine])
        return product.outputs(sums, product.affine)[0]

    zeros = jnp.zeros(shape_of(product.product), dtype_of(product.product))
    bias, scale = jax.jvp(sums, (zeros,), (jnp.ones_like(zeros),))

    def activations(sum_: jax.Array) -> jax.Array:
        sums = jnp.full(shape_of(product.affine), sum_, dtype_of(product.affine))
        (leaves,) = compute(program, values | {product.affine: sums}, [product.leaves])
        return product.outputs(leaves, product.leaves)[0].astype(jnp.float32)

    def climb(state: Any, sum_: jax.Array) -> Any:
        before, rise, fall = state
        after = activations(sum_)
        step = jnp.nan_to_num(after - before, nan=0.0, posinf=0.0, neginf=0.0)
        return (after, rise + jnp.maximum(step, 0), fall - jnp.minimum(step, 0)), None

    rise, fall = jnp.ones_like(scale), jnp.zeros_like(scale)
    if product.leaves is not product.affine:
        reach = jnp.maximum(reach, _RANGE)
        grid = jnp.linspace(-reach, reach, _STEPS + 1)
        start = activations(grid[0])
        still = jnp.zeros_like(start)
        (_, rise, fall), _ = jax.lax.scan(climb, (start, still, still), grid[1:])
    over_positions = tuple(range(scale.ndim - 1))
    return Weighted(
        _wide(product.geometry.weights.arranged(weights)),
        _wide(scale),
        _wide(bias),
        rise.sum(over_positions),
        fall.sum(over_positions),
    )


class Run(NamedTuple):
    """A network compiled to give what enters and leaves its layers."""

    function: Callable[..., Sequence[jax.Array]]
    num_values: int  # the first outputs; the others are sums at probed pairs, for each layer
    sides: tuple[tuple[int, int], ...]  # of each layer, the values that enter and leave
    logits: int | None  # the value that is the logits


@lru_cache(maxsize=64)
def run_of(asked: Asked, wanted: tuple[int, ...], batch_size: int) -> Run:
    """The network for batches of this size, compiled for some of its layers."""
    layers = cached(layers_of, asked)
    program = cached(_program_of, asked, batch_size)
    same = same_variables(layers.program, program)
    products = [layers.products[i].in_trace(same) for i in wanted]
    outputs = program.jaxpr.outvars[:1] if asked.has_logits else []
    logits = [v for v in outputs if not isinstance(v, jex.Literal)]

    def run(*arrays: jax.Array) -> list[jax.Array]:
        known = dict(zip(program.jaxpr.invars, arrays, strict=True))
        sides = [v for p in products for v in (p.enters, p.leaves, p.affine)]
        values = compute(program, known, [*sides, *logits])
        given, probed = [], []
        for product, enters, leaves, sums in zip(
            products, values[::3], values[1::3], values[2::3], strict=False
        ):
            given.append(_wide(product.geometry.inputs.arranged(enters)))
            given.append(_wide(product.outputs(leaves, product.leaves)))
            sums = product.outputs(sums, product.affine)
            probed.append(_wide(sums[tuple(probes_of(sums.shape[:-1]).T)]))
        return [*given, *map(_wide, values[len(sides) :]), *probed]

    inputs = jax.ShapeDtypeStruct((batch_size, *asked.inputs.shape), asked.inputs.dtype)
    traced = jax.make_jaxpr(run)(*asked.arrays, inputs)
    # What leaves a layer and enters the next is given once.
    split = len(traced.jaxpr.outvars) - len(products)
    given, probed = traced.jaxpr.outvars[:split], traced.jaxpr.outvars[split:]
    values = list(dict.fromkeys(given))
    places = [values.index(v) for v in given]
    jaxpr = traced.jaxpr.replace(outvars=[*values, *probed])
    return Run(
        jax.jit(jex.jaxpr_as_fun(jex.ClosedJaxpr(jaxpr, traced.consts))),
        len(values),
        tuple(zip(places[0::2], places[1::2], strict=False)),
        places[-1] if asked.has_logits else None,
    )


def _wide(array: jax.Array) -> jax.Array:
    """The array in a dtype that NumPy has."""
    narrow = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.kind == "V"
    return array.astype(jnp.float32) if narrow else array


def probes_of(shape: tuple[int, ...]) -> np.ndarray:
    """Some pairs of an example and a position, [S, 1 + P]."""
    return np.random.default_rng(0).integers(0, shape, (_NUM_PROBES, len(shape)))


def _logits(outputs: Any, which: Logits, num_examples: int) -> jax.Array:
    """The logits among a network's outputs."""
    if callable(which):
        outputs = which(outputs)
    elif isinstance(which, str) and hasattr(outputs, which):
        outputs = getattr(outputs, which)
    elif which is not None:
        try:
            outputs = outputs[which]
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"logits: the network's outputs have no {which!r}") from error
    while isinstance(outputs, tuple | list | Mapping) or hasattr(outputs, "logits"):
        if hasattr(outputs, "logits"):  # of a record
            outputs = outputs.logits
        elif isinstance(outputs, Mapping) and "logits" in outputs:
            outputs = outputs["logits"]
        elif isinstance(outputs, tuple | list) and outputs:
            outputs = outputs[0]
        else:
            outputs = _only_matrix(outputs, num_examples)
    shape = np.shape(outputs)
    if len(shape) not in (2, 3) or shape[0] != num_examples or 0 in shape:
        sizes = ["E" if i == 0 and n == num_examples else str(n) for i, n in enumerate(shape)]
        raise ValueError(
            "network: expected logits [E, k], or [E, T, k] at each token, got shape "
            f"[{', '.join(sizes)}]; say which output they are with logits=, or give predictions="
        )
    return outputs


def _only_matrix(outputs: Any, num_examples: int) -> Any:
    """The only output of shape [E, k]."""
    matrices = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(outputs)
        if np.ndim(leaf) == 2 and len(leaf) == num_examples
    }
    if len(matrices) != 1:
        raise ValueError(
            "logits: expected one output of shape [E, k], or one named 'logits', got "
            f"{', '.join(matrices) or 'none'}; say which they are, or give predictions="
        )
    return next(iter(matrices.values()))

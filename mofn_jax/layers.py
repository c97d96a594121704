"""What enters and leaves each layer of a trained network.

The network is traced once. Calls of Dense and Conv are intercepted and marked, and the marks show
in the traced program what enters each layer and, followed through elementwise functions, what
leaves its nonlinearity. So it works for any Linen module, not only for ours.

Axis letters: E examples, n inputs, u units, k classes; H, W, C rows, columns and channels of what
enters a convolution, H', W' rows and columns of what leaves it.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.extend.core as jex
import numpy as np
from flax.traverse_util import flatten_dict
from jax.ad_checkpoint import checkpoint_name

from mofn_jax import checks


class Convolution(NamedTuple):
    """How a kernel moves over its input, rows before columns."""

    strides: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]  # zeros before and after


class Layer(NamedTuple):
    """A layer of a trained network on some examples."""

    name: str  # as in the parameter tree, "/" between levels
    kind: str  # "dense", "conv" or "softmax"
    weights: np.ndarray  # [n, u]; of a convolution [rows, columns, C, u]
    bias: np.ndarray  # [u]
    inputs: np.ndarray  # [E, n]; of a convolution [E, H, W, C]
    activations: np.ndarray  # [E, u], after the nonlinearity; softmax: logits; conv: [E, H', W', u]
    predictions: np.ndarray  # [E] int32, the class of the network's largest logit
    convolution: Convolution | None = None


def layer_names(
    network: nn.Module, params: Any, inputs, *, call_kwargs: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """The names of the layers that `capture_layers`, of the same arguments, captures.

    Raises:
      ValueError: no inputs, inputs not finite, or as `capture_layers` for the network.
    """
    inputs = checks.matrix("inputs", inputs[:1], [None] * max(1, np.ndim(inputs)))
    program = _program_for(network, _variables(params), inputs, None, call_kwargs)
    return tuple(call.name for call in program.calls)


def capture_layers(
    network: nn.Module,
    params: Any,
    inputs,
    *,
    layers: Sequence[str] | None = None,
    batch_size: int = 256,
    call_kwargs: Mapping[str, Any] | None = None,
) -> tuple[Layer, ...]:
    """What enters and leaves each Dense and Conv layer of a trained network.

    The network may return its logits, or a tuple, list or mapping whose first element they are.
    Between the layers there may be anything; layers with parameters that are neither Dense on
    [E, n] nor ungrouped two-dimensional Conv, or that are called several times, are passed over and
    named in a warning. What leaves a layer is taken after the elementwise functions that follow it,
    such as relu; where its output goes several ways, or into something else than a layer or a pool,
    it is taken before them, and a warning says so.

    Args:
      network: a Linen module.
      params: its parameters, or all its variables as {"params": ..., ...}.
      inputs: [E, ...] inputs of the network.
      layers: names of the layers to capture; None for all.
      batch_size: examples at a time.
      call_kwargs: keyword arguments of the network's call, such as {"train": False}.

    Returns:
      The layers, input side first.

    Raises:
      ValueError: no inputs, inputs not finite, a name that no layer has, batch_size below 1, or a
        network that does not return logits [E, k].
    """
    inputs = checks.matrix("inputs", inputs, [None] * max(1, np.ndim(inputs)))
    num_examples = len(inputs)
    batch_size = min(checks.at_least("batch_size", batch_size, 1), num_examples)
    variables = _variables(params)
    program = _program_for(network, variables, inputs[:batch_size], layers, call_kwargs)
    if program.warning:
        warnings.warn(program.warning, stacklevel=2)
    sides: list[np.ndarray] = []
    for stop in range(batch_size, num_examples + batch_size, batch_size):
        # All of one size, the last starting early: each size would be traced and compiled.
        stop = min(stop, num_examples)
        batch = slice(stop - batch_size, stop)
        values = program.run(*jax.tree.leaves((variables, inputs[batch])))
        if not sides:
            sides = [np.empty((num_examples, *value.shape[1:]), value.dtype) for value in values]
        for side, value in zip(sides, values, strict=True):
            side[batch] = value
    *sides, logits = sides
    predictions = logits.argmax(-1).astype(np.int32)
    captured = []
    for call, enters, leaves in zip(program.calls, sides[::2], sides[1::2], strict=True):
        parameters = variables["params"]
        for part in call.path:
            parameters = parameters[part]
        weights = np.asarray(parameters["kernel"])
        captured.append(
            Layer(
                name=call.name,
                kind=call.kind,
                weights=weights,
                bias=np.asarray(
                    parameters.get("bias", np.zeros_like(weights, shape=weights.shape[-1:]))
                ),
                inputs=enters,
                activations=leaves,
                predictions=predictions,
                convolution=call.convolution,
            )
        )
    return tuple(captured)


def patches(layer: Layer, position: Sequence[int]) -> np.ndarray:
    """The receptive patch of a convolution's units at one position.

    Args:
      layer: a convolution of kernel [rows, columns, C, u].
      position: row and column in what leaves the layer.

    Returns:
      [E, rows * columns * C], flattened as the kernel is; zeros where padding reaches outside.

    Raises:
      ValueError: a layer that is no convolution, or a position that its units do not have.
    """
    if layer.convolution is None:
        raise ValueError(f"layer: expected a convolution, got {layer.name!r} of kind {layer.kind}")
    sizes = layer.activations.shape[1:3]
    if not all(0 <= at < size for at, size in zip(position, sizes, strict=True)):
        raise ValueError(
            f"position: expected row and column from 0 and below {sizes}, got {tuple(position)}"
        )
    strides, dilation, padding = layer.convolution
    rows, columns, channels, _ = layer.weights.shape
    num_examples, height, width, _ = layer.inputs.shape
    patch = np.zeros((num_examples, rows, columns, channels), layer.inputs.dtype)
    row, column = (
        position[axis] * strides[axis] - padding[axis][0] + dilation[axis] * np.arange(size)
        for axis, size in enumerate((rows, columns))
    )
    inside_rows = np.flatnonzero((row >= 0) & (row < height))
    inside_columns = np.flatnonzero((column >= 0) & (column < width))
    patch[:, inside_rows[:, None], inside_columns] = layer.inputs[
        :, row[inside_rows][:, None], column[inside_columns]
    ]
    return patch.reshape(num_examples, -1)


class _Call(NamedTuple):
    """A call of a layer in the traced program."""

    path: tuple[str, ...]
    kind: str
    convolution: Convolution | None

    @property
    def name(self) -> str:
        return "/".join(self.path)


class _Program(NamedTuple):
    """A traced network, compiled to give what enters and leaves its layers."""

    calls: tuple[_Call, ...]
    run: Callable[..., Sequence[jax.Array]]  # to what enters and leaves each call, then logits
    warning: str


def _variables(params: Any) -> Mapping[str, Any]:
    params = nn.meta.unbox(params)
    return params if "params" in params else {"params": params}


def _program_for(network, variables, inputs, layers, call_kwargs) -> _Program:
    """The program for inputs of this shape; kept, if the network can be hashed, to compile once."""
    leaves, structure = jax.tree.flatten((variables, inputs))
    shapes = tuple(  # of the dtype that JAX gives them: float64 is float32 without 64 bits
        jax.ShapeDtypeStruct(np.shape(leaf), jax.dtypes.canonicalize_dtype(leaf.dtype))
        for leaf in leaves
    )
    asked = (
        network,
        structure,
        shapes,
        layers if layers is None else tuple(layers),
        tuple(sorted((call_kwargs or {}).items())),
    )
    try:
        hash(asked)
    except TypeError:
        return _program.__wrapped__(*asked)
    return _program(*asked)


@lru_cache(maxsize=64)
def _program(network, structure, shapes, layers, call_kwargs) -> _Program:
    seen: list[tuple[tuple[str, ...], Convolution | None]] = []

    def mark(next_call, args, kwargs, context):
        module = context.module
        if context.method_name != "__call__" or not args:
            return next_call(*args, **kwargs)
        if type(module) is nn.Dense and args[0].ndim == 2:
            convolution = None
        elif type(module) is nn.Conv and _is_explained(module, args[0]):
            convolution = _convolution(module, args[0])
        else:
            return next_call(*args, **kwargs)
        seen.append((module.path, convolution))
        label = str(len(seen) - 1)
        outputs = next_call(checkpoint_name(args[0], f"enters {label}"), *args[1:], **kwargs)
        return checkpoint_name(outputs, f"leaves {label}")

    def logits(*leaves):
        variables, inputs = jax.tree.unflatten(structure, leaves)
        with nn.intercept_methods(mark):
            outputs = network.apply(variables, inputs, **dict(call_kwargs))
        if isinstance(outputs, Mapping):
            outputs = tuple(outputs.values())
        if isinstance(outputs, tuple | list):
            outputs = outputs[0]
        if np.ndim(outputs) != 2:
            raise ValueError(f"network: expected logits [E, k], got shape {np.shape(outputs)}")
        return outputs

    traced = jax.make_jaxpr(logits)(*shapes)
    (logits_variable,) = traced.jaxpr.outvars
    marks = {
        equation.params["name"]: equation.outvars[0]
        for equation in traced.jaxpr.eqns
        if equation.primitive.name == "name"
    }
    times_called = Counter(path for path, _ in seen)
    calls, sides, unclear = [], [], []
    for i, (path, convolution) in enumerate(seen):
        enters, leaves = marks.get(f"enters {i}"), marks.get(f"leaves {i}")
        if times_called[path] > 1 or enters is None or leaves is None:
            continue  # named below, as a layer that is not explained
        kind = "dense" if convolution is None else "conv"
        if (
            kind == "dense"
            and _shape(leaves) == _shape(logits_variable)
            and logits_variable in _computed_from(leaves, traced.jaxpr, elementwise=False)
        ):
            kind = "softmax"
        else:
            leaves, is_clear = _after_nonlinearity(leaves, traced.jaxpr)
            if not is_clear:
                unclear.append("/".join(path))
        calls.append(_Call(path, kind, convolution))
        sides.append((enters, leaves))
    explained = {call.path for call in calls}
    parameters = flatten_dict(jax.tree.unflatten(structure, shapes)[0]["params"])
    others = sorted({"/".join(path[:-1]) for path in parameters if path[:-1] not in explained})
    warning = ""
    if others:
        warning += f"layers that are not explained: {', '.join(others)}. "
    if unclear:
        warning += (
            "layers whose output goes several ways, or not into a layer or pool, explained before "
            "any nonlinearity: "
            f"{', '.join(unclear)}."
        )
    names = [call.name for call in calls]
    for name in layers or ():
        checks.known("layers", name, names)
    wanted = [i for i, name in enumerate(names) if layers is None or name in layers]
    outputs = [side for i in wanted for side in sides[i]]
    jaxpr = traced.jaxpr.replace(outvars=[*outputs, logits_variable])
    run = jax.jit(jex.jaxpr_as_fun(jex.ClosedJaxpr(jaxpr, traced.consts)))
    return _Program(tuple(calls[i] for i in wanted), run, warning.strip())


def _is_explained(module: nn.Conv, inputs: jax.Array) -> bool:
    """Whether its units are sums over one patch of zero-padded images."""
    return (
        inputs.ndim == 4
        and not isinstance(module.kernel_size, int)
        and len(module.kernel_size) == 2
        and module.feature_group_count == 1
        and _pair(module.input_dilation) == (1, 1)
        and module.mask is None
        and module.padding not in ("CIRCULAR", "REFLECT", "CAUSAL")
    )


def _convolution(module: nn.Conv, inputs: jax.Array) -> Convolution:
    strides, dilation = _pair(module.strides), _pair(module.kernel_dilation)
    padding = module.padding
    if isinstance(padding, str):
        kernel_size = _pair(module.kernel_size)
        extent = [(size - 1) * d + 1 for size, d in zip(kernel_size, dilation, strict=True)]
        pads = jax.lax.padtype_to_pads(inputs.shape[1:3], extent, strides, padding)
    else:
        pads = [_pair(side) for side in _pair(padding)]
    rows, columns = ((int(before), int(after)) for before, after in pads)
    return Convolution(strides, dilation, (rows, columns))


def _pair(value: Any) -> tuple[Any, ...]:
    """A value for rows and one for columns, from one for both, or from None for 1."""
    if value is None:
        return (1, 1)
    return (value, value) if isinstance(value, int) else tuple(value)


_ELEMENTWISE = frozenset(
    """
    abs add and atan2 broadcast_in_dim cbrt ceil clamp convert_element_type copy cos cosh div eq erf
    erf_inv erfc exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min
    mul ne neg not or pow rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan
    tanh xor checkpoint closed_call custom_jvp_call custom_vjp_call jit pjit
    """.split()
)

# What may read a layer that has no nonlinearity of its own: the next layer, a pool, a flatten.
_PASSES_ON = frozenset(
    """
    concatenate conv_general_dilated convert_element_type copy dot_general name pad reduce_max
    reduce_sum reduce_window_max reduce_window_sum reshape squeeze transpose
    """.split()
)


def _computed_from(
    start: jex.Var, jaxpr: jex.Jaxpr, *, elementwise: bool
) -> dict[jex.Var, jex.JaxprEqn | None]:
    """The variables that are computed from this one and constants alone, in order.

    With `elementwise`, only those of its shape that are computed element by element.
    """
    found: dict[jex.Var, jex.JaxprEqn | None] = {start: None}
    for equation in jaxpr.eqns:
        operands = _operands(equation)
        if not operands or not all(operand in found for operand in operands):
            continue
        if elementwise and not _is_elementwise(equation, _shape(start)):
            continue
        found |= dict.fromkeys(equation.outvars, equation)
    return found


def _operands(equation: jex.JaxprEqn) -> list[jex.Var]:
    return [v for v in equation.invars if not isinstance(v, jex.Literal)]


def _shape(variable: jex.Var | jex.Literal) -> tuple[int, ...] | None:
    return getattr(variable.aval, "shape", None)


def _is_elementwise(equation: jex.JaxprEqn, shape: tuple[int, ...] | None) -> bool:
    if equation.primitive.name not in _ELEMENTWISE:
        return False
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    if inner is not None:
        inner = getattr(inner, "jaxpr", inner)
        return all(_is_elementwise(e, shape) for e in inner.eqns)
    return all(_shape(v) in ((), shape) for v in (*equation.invars, *equation.outvars))


def _after_nonlinearity(leaves: jex.Var, jaxpr: jex.Jaxpr) -> tuple[jex.Var, bool]:
    """What is left of a layer's output after elementwise functions, and whether that is clear."""
    found = _computed_from(leaves, jaxpr, elementwise=True)
    used = dict.fromkeys(v for v in jaxpr.outvars if v in found)
    users = []
    for equation in jaxpr.eqns:
        if not all(v in found for v in equation.outvars):
            operands = [v for v in _operands(equation) if v in found]
            used |= dict.fromkeys(operands)
            users += [equation] * bool(operands)
    if len(used) > 1:
        return leaves, False
    if list(used) == [leaves] and not all(e.primitive.name in _PASSES_ON for e in users):
        return leaves, False  # a normalisation or a sum comes before the nonlinearity
    # Where nothing uses it, it is an output of the network's beside the logits.
    return next(iter(used)) if used else list(found)[-1], True

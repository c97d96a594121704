"""A JAX function as one flat program: every inner program inlined, so that all of it can be read.

What a network computes does not depend on the framework it is written in: traced, all are lists of
equations between variables.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

MOST_STEPS = 64  # of a scan that is unrolled

# What only calls an inner program, by the names of JAX 0.7 and later.
_CALLS = frozenset(
    """
    checkpoint closed_call core_call custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr jit pjit
    remat remat2
    """.split()
)


class Program(NamedTuple):
    """A traced function of parameters and inputs."""

    jaxpr: jex.Jaxpr
    consts: Sequence[Any]

    @property
    def parameters(self) -> list[jex.Var]:
        return self.jaxpr.invars[:-1]

    @property
    def inputs(self) -> jex.Var:
        return self.jaxpr.invars[-1]

    def variables(self) -> Iterator[jex.Var]:
        """All variables, in the same order in every trace of one function."""
        yield from self.jaxpr.constvars
        yield from self.jaxpr.invars
        for equation in self.jaxpr.eqns:
            yield from equation.outvars


def trace(function: Callable[..., Any], parameters: Sequence[Any], inputs: Any) -> Program:
    """The program of function(*parameters, inputs), whose outputs are its leaves.

    Args:
      function: of arrays.
      parameters: their shapes and dtypes.
      inputs: the shape and dtype of the inputs.
    """
    shapes = (*parameters, inputs)
    traced = jax.make_jaxpr(lambda *arrays: jax.tree.leaves(function(*arrays)))(*shapes)
    flat = jax.make_jaxpr(lambda *arrays: _inlined(traced.jaxpr, traced.consts, arrays))(*shapes)
    return Program(flat.jaxpr, flat.consts)


def same_variables(program: Program, other: Program) -> dict[jex.Var, jex.Var]:
    """Of each variable of a program, the one of another trace of the same function.

    Raises:
      ValueError: the traces are of different equations.
    """
    pairs = [p.jaxpr.eqns for p in (program, other)]
    same = dict(zip(program.variables(), other.variables(), strict=False))
    if len(pairs[0]) != len(pairs[1]) or not all(map(partial(_is_same, same), *pairs)):
        raise ValueError(
            "network: expected one that computes the same for any number of examples (of a loop "
            "over the examples, jax.vmap makes one)"
        )
    return same


def _is_same(same: Mapping[jex.Var, jex.Var], one: jex.JaxprEqn, other: jex.JaxprEqn) -> bool:
    """Whether two equations do the same with the same variables."""
    if one.primitive.name != other.primitive.name or len(one.invars) != len(other.invars):
        return False
    return all(
        isinstance(w, jex.Literal) if isinstance(v, jex.Literal) else same.get(v) is w
        for v, w in zip(one.invars, other.invars, strict=True)
    )


def operands(equation: jex.JaxprEqn) -> list[jex.Var]:
    """The variables that an equation reads."""
    return [v for v in equation.invars if not isinstance(v, jex.Literal)]


def shape_of(variable: jex.Var | jex.Literal) -> tuple[int, ...]:
    """The shape of an array; () of what is none."""
    return getattr(variable.aval, "shape", ())


def dtype_of(variable: jex.Var) -> np.dtype:
    return cast(Any, variable.aval).dtype


def compute(
    program: Program, known: Mapping[jex.Var, Any], wanted: Sequence[jex.Var]
) -> list[jax.Array]:
    """Values of some variables, from those of others: no equation that is not needed is evaluated.

    Args:
      program: the traced function.
      known: values, such as those of the parameters; variables that follow from them may be among
        them, with other values than the program would compute.
      wanted: the variables.
    """
    values = dict(known) | dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    needed = {v for v in wanted if v not in values}
    equations = []
    for equation in reversed(program.jaxpr.eqns):
        if any(v in needed for v in equation.outvars):
            equations.append(equation)
            needed.update(v for v in operands(equation) if v not in values)
    for equation in reversed(equations):
        results = _evaluated(equation, [_value(v, values) for v in equation.invars])
        for variable, result in zip(equation.outvars, results, strict=True):
            values.setdefault(variable, result)
    return [values[v] for v in wanted]


def _value(variable: jex.Var | jex.Literal, values: Mapping[jex.Var, Any]) -> Any:
    return variable.val if isinstance(variable, jex.Literal) else values[variable]


def _evaluated(equation: jex.JaxprEqn, arguments: Sequence[Any]) -> Sequence[Any]:
    results = equation.primitive.bind(*arguments, **equation.params)
    return results if equation.primitive.multiple_results else [results]


def _inlined(jaxpr: jex.Jaxpr, consts: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Evaluates a program without any inner program of its own; to be traced."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))
    for equation in jaxpr.eqns:
        read = [_value(v, values) for v in equation.invars]
        name, params = equation.primitive.name, equation.params
        if name in _CALLS:
            inner = params["call_jaxpr"] if "call_jaxpr" in params else params["jaxpr"]
            results: Sequence[Any] = _inlined(*_opened(inner), read)
        elif name == "scan" and 0 < params["length"] <= MOST_STEPS:
            results = _unrolled(params, read)
        elif name == "stop_gradient":
            results = read  # the same values; a layer's scale is a gradient, which it would stop
        else:
            results = _evaluated(equation, read)
        values.update(zip(equation.outvars, results, strict=True))
    return [_value(v, values) for v in jaxpr.outvars]


def _opened(inner: Any) -> tuple[jex.Jaxpr, Sequence[Any]]:
    return (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())


def _unrolled(params: Mapping[str, Any], arguments: Sequence[Any]) -> list[Any]:
    """A scan, step after step."""
    num_consts, num_carried = params["num_consts"], params["num_carry"]
    consts = arguments[:num_consts]
    carried = list(arguments[num_consts : num_consts + num_carried])
    scanned = arguments[num_consts + num_carried :]
    steps = range(params["length"])
    outputs = []
    for step in reversed(steps) if params["reverse"] else steps:
        slices = [jax.lax.index_in_dim(x, step, keepdims=False) for x in scanned]
        results = _inlined(*_opened(params["jaxpr"]), [*consts, *carried, *slices])
        carried = results[:num_carried]
        outputs.append(results[num_carried:])
    if params["reverse"]:
        outputs.reverse()
    return [*carried, *(jnp.stack(steps) for steps in zip(*outputs, strict=True))]

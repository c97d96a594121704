"""The layers of a traced network: products of what depends on the inputs with parameters.

A layer is a `dot_general` or `conv_general_dilated` of which one operand depends on the inputs and
the other on parameters alone. What leaves it is followed, element by element, through its bias, a
normalisation by constants and its nonlinearity, until something else reads it.

Axis letters: E examples, P positions, n inputs, u units, C channels, K of a kernel's window.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from mofn_jax.geometry import Geometry, NotExplained, of_convolution, of_dot
from mofn_jax.program import (
    MOST_STEPS,
    Program,
    dtype_of,
    operands,
    same_variables,
    shape_of,
)


class View(NamedTuple):
    """A step that lays the same elements out anew: a transposition, or another shape."""

    before: jex.Var
    order: tuple[int, ...] | None  # of a transposition

    def undone(self, array: Any) -> Any:
        if self.order is None:
            return array.reshape(shape_of(self.before))
        return array.transpose(np.argsort(self.order).tolist())


class Product(NamedTuple):
    """A layer in the program. Its variables are those of the trace that it was found in."""

    name: str
    geometry: Geometry
    enters: jex.Var
    weights: jex.Var
    product: jex.Var
    affine: jex.Var  # the last that is an affine function of the product, unit by unit
    leaves: jex.Var
    views: Mapping[jex.Var, tuple[View, ...]]  # how these last two are laid out anew
    is_logits: bool
    note: str  # why it ends before a nonlinearity, if one should be expected

    @property
    def kind(self) -> str:
        if self.is_logits:
            return "softmax"
        return "dense" if self.geometry.convolution is None else "conv"

    def outputs(self, array: Any, variable: jex.Var) -> Any:
        """The value of the affine function or of what leaves, as [E, *P, u]."""
        for view in reversed(self.views[variable]):
            array = view.undone(array)
        return self.geometry.outputs.arranged(array)

    def in_trace(self, same: Mapping[jex.Var, jex.Var]) -> "Product":
        """The layer in another trace, in which these are its variables."""
        return self._replace(
            enters=same[self.enters],
            weights=same[self.weights],
            product=same[self.product],
            affine=same[self.affine],
            leaves=same[self.leaves],
            views={
                same[v]: tuple(view._replace(before=same[view.before]) for view in views)
                for v, views in self.views.items()
            },
        )


class Layers(NamedTuple):
    """What was found in a program."""

    program: Program
    products: tuple[Product, ...]  # input side first
    passed_over: Mapping[str, str]  # why, by name


# Functions of each element alone, and of parameters.
ELEMENTWISE = frozenset(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type
    copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow
    is_finite le lgamma log log1p logistic lt max min mul name ne neg not or pow pvary
    reduce_precision rem round rsqrt select_n sharding_constraint sign sin sinh sqrt square
    sub tan tanh xor
    """.split()
)
IDENTITIES = frozenset(
    "convert_element_type copy copy_p name pvary reduce_precision sharding_constraint".split()
)
# Other layouts of the same elements.
VIEWS = frozenset("broadcast_in_dim expand_dims reshape squeeze transpose".split())
_PRODUCTS = frozenset(["conv_general_dilated", "dot_general"])
# What may read a layer that has no nonlinearity of its own: the next layer, a pool, a flatten.
_PASSES_ON = frozenset(
    """
    concatenate conv_general_dilated convert_element_type copy dot_general dynamic_slice gather name
    pad reduce_max reduce_sum reduce_window_max reduce_window_sum reshape slice split squeeze
    transpose
    """.split()
)


def find_layers(
    program: Program, larger: Program, paths: Sequence[tuple[str, ...]], has_logits: bool
) -> Layers:
    """The layers of a network.

    Args:
      program: the network, traced for some number of examples.
      larger: the same, traced for one example more: the axis that grows is that of examples.
      paths: of each parameter, its place among them.
      has_logits: whether the first output holds the logits. Then what reads a layer for another
        output alone is no end of it.

    Raises:
      ValueError: the two traces are of different equations.
    """
    graph = _graph(program, larger, has_logits)
    kernels = {
        i: kernel
        for i, equation in enumerate(program.jaxpr.eqns)
        if (kernel := _kernel(equation, graph)) is not None
    }
    names = _names(kernels, paths)
    passed_over = dict(_hidden_products(graph, paths)) | dict(_constant_products(graph))
    products = []
    for i, name in names.items():
        equation = program.jaxpr.eqns[i]
        try:
            geometry = _geometry(equation, graph)
        except NotExplained as reason:
            passed_over[name] = str(reason)
            continue
        enters, weights = _operands(equation, graph)
        product = Product(
            name,
            geometry,
            enters,
            weights,
            equation.outvars[0],
            **_followed(equation.outvars[0], graph),
        )
        if has_logits and _gives_logits(product, graph):
            product = product._replace(is_logits=True, leaves=product.affine, note="")
        products.append(product)
    return Layers(program, tuple(products), passed_over)


class _Graph(NamedTuple):
    """What depends on what in a program."""

    program: Program
    outputs: frozenset[jex.Var]  # the logits, or without any the others
    on_inputs: frozenset[jex.Var]  # variables that depend on the network's inputs
    sources: Mapping[jex.Var, frozenset[int]]  # of the others, the parameters they depend on
    readers: Mapping[jex.Var, Sequence[jex.JaxprEqn]]  # those that the outputs depend on, if any
    growth: Mapping[jex.Var, Sequence[tuple[int, int]]]  # axes that grow by how much an example

    def depends(self, variable: jex.Var | jex.Literal) -> bool:
        return not isinstance(variable, jex.Literal) and variable in self.on_inputs

    def axis_of_examples(self, variable: jex.Var) -> int:
        growth = self.growth[variable]
        if len(growth) != 1 or growth[0][1] != 1:
            raise NotExplained("no axis of its own holds the examples")
        return growth[0][0]


def _graph(program: Program, larger: Program, has_logits: bool) -> _Graph:
    grown = same_variables(program, larger)
    growth = {
        v: [
            (axis, more - size)
            for axis, (size, more) in enumerate(zip(shape_of(v), shape_of(w), strict=True))
            if more != size
        ]
        for v, w in grown.items()
    }
    jaxpr = program.jaxpr
    on_inputs = {program.inputs}
    sources = {v: frozenset([i]) for i, v in enumerate(program.parameters)}
    for equation in jaxpr.eqns:
        read = operands(equation)
        if not on_inputs.isdisjoint(read):
            on_inputs.update(equation.outvars)
        else:
            union = frozenset().union(*(sources.get(v, frozenset()) for v in read))
            sources.update(dict.fromkeys(equation.outvars, union))
    outputs = frozenset(
        v
        for v in (jaxpr.outvars[:1] if has_logits else jaxpr.outvars)
        if not isinstance(v, jex.Literal)
    )
    alive = set(outputs)
    readers: dict[jex.Var, list[jex.JaxprEqn]] = {}
    idle: dict[jex.Var, list[jex.JaxprEqn]] = {}
    for equation in reversed(jaxpr.eqns):
        is_alive = not alive.isdisjoint(equation.outvars)
        for v in dict.fromkeys(operands(equation)):
            (readers if is_alive else idle).setdefault(v, []).insert(0, equation)
            if is_alive:
                alive.add(v)
    return _Graph(program, outputs, frozenset(on_inputs), sources, idle | readers, growth)


def _side_of_inputs(equation: jex.JaxprEqn, graph: _Graph) -> int:
    return 0 if graph.depends(equation.invars[0]) else 1


def _operands(equation: jex.JaxprEqn, graph: _Graph) -> tuple[jex.Var, jex.Var]:
    """Of a product of inputs and parameters, what depends on the inputs and what does not."""
    enters, weights = operands(equation)
    return (enters, weights) if graph.depends(enters) else (weights, enters)


def _kernel(equation: jex.JaxprEqn, graph: _Graph) -> int | None:
    """Of a product of inputs and parameters, the largest of these parameters; else None."""
    if equation.primitive.name not in _PRODUCTS:
        return None
    if sum(graph.depends(v) for v in equation.invars) != 1:
        return None
    weights = equation.invars[1 - _side_of_inputs(equation, graph)]
    # None: a constant, as of a pool or a Fourier transform.
    sources = () if isinstance(weights, jex.Literal) else graph.sources.get(weights, ())
    return max(sorted(sources), key=lambda i: _size(graph.program.parameters[i]), default=None)


def _size(variable: jex.Var) -> int:
    return math.prod(shape_of(variable))


def _is_float(variable: jex.Var) -> bool:
    return jnp.issubdtype(dtype_of(variable), jnp.floating)


def _names(kernels: Mapping[int, int], paths: Sequence[tuple[str, ...]]) -> dict[int, str]:
    """Of each product its name: where its kernel lies, and which of the kernel's products it is."""
    shared = Counter(paths[kernel][:-1] for kernel in set(kernels.values()))
    times = Counter(kernels.values())
    seen: Counter[int] = Counter()
    names: dict[int, str] = {}
    for i, kernel in kernels.items():
        *folder, last = paths[kernel] or ("parameters",)
        alone = shared[tuple(folder)] == 1 and (folder or last == "kernel")
        name = "/".join(folder if alone else (*folder, last))
        if times[kernel] > 1:
            name += f"[{seen[kernel]}]"
            seen[kernel] += 1
        while name in names.values():  # "a/b" may be one part of a path, or two
            name += "'"
        names[i] = name
    return names


def _constant_products(graph: _Graph) -> Iterator[tuple[str, str]]:
    """Products of the inputs with arrays that the function holds itself, and why."""
    constants = graph.program.jaxpr.constvars
    for equation in graph.program.jaxpr.eqns:
        if equation.primitive.name not in _PRODUCTS:
            continue
        for v in operands(equation):
            if v in constants and any(map(graph.depends, equation.invars)):
                yield f"constant {list(shape_of(v))}", "weights that are not among the parameters"


def _hidden_products(graph: _Graph, paths: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Parameters that meet the inputs where no layer is looked for, and why."""
    for equation in graph.program.jaxpr.eqns:
        name = equation.primitive.name
        if name == "gather" and graph.depends(equation.invars[1]):
            why, tables = "looked up, not multiplied", equation.invars[:1]
        elif any(map(_multiplies, _inner(equation))):
            why = f"inside a {name}"
            if name == "scan":
                why += f" of more than {MOST_STEPS} steps"
            tables = equation.invars
        else:
            continue
        if not any(map(graph.depends, equation.invars)):
            continue
        for v in tables:
            if isinstance(v, jex.Literal) or len(shape_of(v)) < 2:
                continue
            for source in sorted(graph.sources.get(v, ())):
                if len(shape_of(graph.program.parameters[source])) > 1:
                    yield "/".join(paths[source][:-1] or paths[source]), why


def _inner(equation: jex.JaxprEqn) -> Iterator[jex.Jaxpr]:
    """The programs inside an equation, such as a loop's."""
    for value in equation.params.values():
        for inner in value if isinstance(value, tuple | list) else [value]:
            inner = getattr(inner, "jaxpr", inner)  # of a closed one
            if isinstance(inner, jex.Jaxpr):
                yield inner


def _multiplies(jaxpr: jex.Jaxpr) -> bool:
    return any(
        equation.primitive.name in _PRODUCTS or any(map(_multiplies, _inner(equation)))
        for equation in jaxpr.eqns
    )


def _geometry(equation: jex.JaxprEqn, graph: _Graph) -> Geometry:
    side = _side_of_inputs(equation, graph)
    enters, weights = _operands(equation, graph)
    axis = graph.axis_of_examples(enters)
    if graph.growth[weights]:
        raise NotExplained("its weights differ from example to example")
    if not _is_float(equation.outvars[0]):
        raise NotExplained("a product that is not of floats")
    if equation.primitive.name == "dot_general":
        return of_dot(equation, side, axis)
    if side == 1:
        raise NotExplained("the inputs are the kernel of a convolution")
    return of_convolution(equation, axis)


def _followed(product: jex.Var, graph: _Graph) -> dict[str, Any]:
    """What becomes of a product, element by element: the fields of a Product that say so."""
    views: dict[jex.Var, tuple[View, ...]] = {product: ()}
    makers: dict[jex.Var, jex.JaxprEqn] = {}
    is_affine = {product: True}
    for equation in graph.program.jaxpr.eqns:
        read = [v for v in operands(equation) if v in graph.on_inputs]
        if not read or not all(v in views for v in read):
            continue
        name, out = equation.primitive.name, equation.outvars[0]
        if name not in ELEMENTWISE | VIEWS or _size(out) != _size(product):
            continue
        if len({_layout(views[v]) for v in read}) != 1:
            continue
        views[out] = views[read[0]]
        if name in VIEWS:
            views[out] += (View(read[0], equation.params.get("permutation")),)
        makers[out] = equation
        is_affine[out] = (
            all(is_affine[v] for v in read)
            and _is_float(out)
            and (
                name in VIEWS | IDENTITIES | {"neg", "add", "add_any", "sub"}
                or (name == "mul" and len(read) == 1)
                or (name == "div" and len(read) == 1 and equation.invars[0] is read[0])
            )
        )
    outside = {v: [e for e in graph.readers.get(v, ()) if e.outvars[0] not in views] for v in views}
    ends = [v for v in views if outside[v] or v in graph.outputs]
    ends = ends or [list(views)[-1]]  # it is read by nothing
    leaves = _last_cut(list(views), makers, ends)
    affine = _last_cut([v for v in views if is_affine[v]], makers, [leaves])
    note = ""
    if len(ends) > 1:
        note = "it ends where its output goes several ways"
    elif affine is leaves:
        others = {e.primitive.name for e in outside[leaves]} - _PASSES_ON
        if others:
            note = f"it ends before a nonlinearity: {', '.join(sorted(others))} follows"
    return {
        "affine": affine,
        "leaves": leaves,
        "views": {v: views[v] for v in (affine, leaves)},
        "is_logits": False,
        "note": note,
    }


def _layout(views: Sequence[View]) -> tuple[Any, ...]:
    """Views of one layout, be they of different variables."""
    return tuple((shape_of(view.before), view.order) for view in views)


def _last_cut(
    candidates: Sequence[jex.Var], makers: Mapping[jex.Var, jex.JaxprEqn], ends: Sequence[jex.Var]
) -> jex.Var:
    """The last candidate through which alone all of the ends depend on the first one."""
    for candidate in reversed(candidates):
        through = {candidate}
        for out, equation in makers.items():
            read = [v for v in operands(equation) if v in makers or v is candidates[0]]
            if read and all(v in through for v in read):
                through.add(out)
        if through.issuperset(ends):
            return candidate
    raise AssertionError("the first candidate is before all ends")


def _gives_logits(product: Product, graph: _Graph) -> bool:
    """Whether its units are the classes: each logit is computed from its own unit, element by
    element, and from sums or the like over all of them, as a softmax is."""
    shape = jax.eval_shape(product.geometry.outputs.arranged, product.product.aval).shape
    if product.kind != "dense" or [shape] != [shape_of(v) for v in graph.outputs]:
        return False
    layouts = {product.affine: _layout(product.views[product.affine])}
    others: set[jex.Var] = set()
    for equation in graph.program.jaxpr.eqns:
        read = [v for v in operands(equation) if v in graph.on_inputs]
        if not read or not all(v in layouts or v in others for v in read):
            continue
        name, out = equation.primitive.name, equation.outvars[0]
        of_units = {layouts[v] for v in read if v in layouts}
        follows = name in ELEMENTWISE | VIEWS and _size(out) == _size(product.affine)
        if follows and len(of_units) == 1:
            layouts[out] = of_units.pop()
            if name in VIEWS:
                layouts[out] += _layout([View(read[0], equation.params.get("permutation"))])
        elif name not in _PRODUCTS:
            others.update(equation.outvars)
    return layouts.keys() >= graph.outputs

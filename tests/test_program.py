"""The flat program computes what the function does, with no program inside but those of loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mofn_jax as mofn
from mofn_jax.program import compute, same_variables, trace


@jax.custom_vjp
def cubed(x):
    return x**3


cubed.defvjp(lambda x: (cubed(x), x), lambda x, g: (3 * x**2 * g,))


@jax.custom_jvp
def doubled(x):
    return 2 * x


doubled.defjvp(lambda primals, tangents: (doubled(*primals), 2 * tangents[0]))


def steps(reverse):
    def step(carried, x):
        carried = jax.jit(jnp.tanh)(carried + x)
        return carried, doubled(carried)

    return lambda x: jax.lax.scan(step, jnp.zeros(3), x, reverse=reverse)


FUNCTIONS = {
    "calls": lambda x: jax.checkpoint(lambda x: cubed(jax.nn.relu(doubled(x))))(x),
    "scan": steps(False),
    "reverse scan": steps(True),
    "cond": lambda x: jax.lax.cond(x.sum() > 0, jnp.sin, jnp.cos, x),
    "while": lambda x: jax.lax.while_loop(lambda x: x.sum() < 100, lambda x: x + 1, x),
    "tree": lambda x: {"sorted": jnp.sort(x), "both": (x, [x.sum(), -x])},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_flat_program_computes_the_same(name):
    function = FUNCTIONS[name]
    x = np.random.default_rng(0).random((4, 3), np.float32)
    program = trace(lambda scale, x: function(scale * x), [jnp.float32(2)], x)
    primitives = {equation.primitive.name for equation in program.jaxpr.eqns}
    assert primitives.isdisjoint(
        {"jit", "pjit", "checkpoint", "custom_jvp_call", "custom_vjp_call", "scan"}
    )
    wanted = [v for v in program.jaxpr.outvars if isinstance(v, jax.extend.core.Var)]
    (scale,), inputs = program.parameters, program.inputs
    values = compute(program, {scale: jnp.float32(2), inputs: x}, wanted)
    expected = jax.tree.leaves(jax.jit(function)(2 * x))[: len(wanted)]
    for one, other in zip(values, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_what_is_not_needed_is_not_evaluated():
    program = trace(lambda w, x: (jnp.sin(w * x), jnp.cos(w)), [jnp.ones(3)], jnp.ones(3))
    (w,), (_, cosine) = program.parameters, program.jaxpr.outvars
    (value,) = compute(program, {w: jnp.zeros(3)}, [cosine])  # without the inputs
    np.testing.assert_array_equal(value, 1)
    product = program.jaxpr.eqns[0].outvars[0]
    (value,) = compute(program, {product: jnp.zeros(3)}, program.jaxpr.outvars[:1])
    np.testing.assert_array_equal(value, 0)


def test_a_network_that_differs_with_the_number_of_examples():
    def network(params, x):
        return (x if len(x) % 2 else jnp.sin(x)) @ params["w"]

    with pytest.raises(ValueError, match="network: expected one that computes the same for any"):
        mofn.capture_layers(network, {"w": np.ones((3, 2), np.float32)}, np.ones((4, 3)))


def test_variables_of_two_traces_belong_together():
    programs = [
        trace(lambda w, x: jnp.tanh(x @ w), [jnp.ones((3, 2))], jnp.ones((size, 3)))
        for size in (4, 5)
    ]
    same = same_variables(*programs)
    for one, other in same.items():
        assert one.aval.shape[1:] == other.aval.shape[1:]
    assert [same[v] for v in programs[0].jaxpr.outvars] == programs[1].jaxpr.outvars

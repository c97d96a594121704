"""The same network in four frameworks: the same layers, and the same rules."""

import warnings

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from foreign import DIGITS, IMAGES, drawn, trained

import mofn_jax as mofn
from mofn_jax import compiled


class LinenMLP(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(12, name="hidden")(x.reshape(len(x), -1)))
        return nn.Dense(10, name="head")(x)


class LinenCNN(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(6, (3, 3), name="conv")(x))
        x = nn.avg_pool(x, (2, 2), (2, 2))
        return nn.Dense(10, name="head")(x.reshape(len(x), -1))


class NnxMLP(nnx.Module):
    def __init__(self, params):
        rngs = nnx.Rngs(0)
        self.hidden = filled(nnx.Linear(64, 12, rngs=rngs), params["hidden"])
        self.head = filled(nnx.Linear(12, 10, rngs=rngs), params["head"])
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.head(self.dropout(nnx.relu(self.hidden(x.reshape(len(x), -1)))))


class NnxCNN(nnx.Module):
    def __init__(self, params):
        rngs = nnx.Rngs(0)
        self.conv = filled(nnx.Conv(1, 6, (3, 3), rngs=rngs), params["conv"])
        self.head = filled(nnx.Linear(96, 10, rngs=rngs), params["head"])

    def __call__(self, x):
        x = nnx.avg_pool(nnx.relu(self.conv(x)), (2, 2), (2, 2))
        return self.head(x.reshape(len(x), -1))


def filled(layer, params):
    """An NNX layer with these parameters."""
    layer.kernel, layer.bias = nnx.Param(params["kernel"]), nnx.Param(params["bias"])
    return layer


def haiku_mlp(x):
    x = jax.nn.relu(hk.Linear(12, name="hidden")(x.reshape(len(x), -1)))
    return hk.Linear(10, name="head")(x)


def haiku_cnn(x):
    x = jax.nn.relu(hk.Conv2D(6, 3, name="conv")(x))
    x = hk.avg_pool(x, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return hk.Linear(10, name="head")(x.reshape(len(x), -1))


class EquinoxCNN(eqx.Module):
    """Channels come first, and the kernels of the dense layer in their order."""

    conv: eqx.nn.Conv2d
    head: eqx.nn.Linear
    pool: eqx.nn.AvgPool2d

    def __init__(self, params):
        conv = drawn(eqx.nn.Conv2d, 1, 6, 3, 1, 1)
        kernel, bias = params["conv"]["kernel"], params["conv"]["bias"]
        self.conv = eqx.tree_at(
            lambda layer: (layer.weight, layer.bias),
            conv,
            (kernel.transpose(3, 2, 0, 1), bias[:, None, None]),
        )
        self.head = equinox_linear(params["head"])
        self.pool = eqx.nn.AvgPool2d(2, 2)

    def __call__(self, x):
        x = self.pool(jax.nn.relu(self.conv(x.transpose(2, 0, 1))))
        return self.head(x.transpose(1, 2, 0).reshape(-1))


def equinox_linear(params):
    size, units = params["kernel"].shape
    layer = drawn(eqx.nn.Linear, size, units)
    return eqx.tree_at(
        lambda layer: (layer.weight, layer.bias), layer, (params["kernel"].T, params["bias"])
    )


def equinox_mlp(params):
    mlp = drawn(eqx.nn.MLP, 64, 10, 12, 1)
    layers = tuple(equinox_linear(params[name]) for name in ("hidden", "head"))
    return eqx.tree_at(lambda mlp: mlp.layers, mlp, layers)


def mapped(model, inputs):
    return jax.vmap(model)(inputs)


def flattened(model, inputs):
    return jax.vmap(model)(inputs.reshape(len(inputs), -1))


def in_haiku(function, params):
    renamed = {name: {"w": layer["kernel"], "b": layer["bias"]} for name, layer in params.items()}
    apply = hk.without_apply_rng(hk.transform(function)).apply
    return lambda params, inputs: apply(params, inputs), renamed


def test_four_frameworks_give_the_same_rules():
    for network, others in (
        (LinenMLP(), (NnxMLP, equinox_mlp, flattened, haiku_mlp)),
        (LinenCNN(), (NnxCNN, EquinoxCNN, mapped, haiku_cnn)),
    ):
        params = trained(network)["params"]
        in_nnx, in_equinox, call, in_hk = others
        versions = {
            "linen": (network, params),
            "nnx": (in_nnx(params), None),
            "equinox": (call, in_equinox(params)),
            "haiku": in_haiku(in_hk, params),
        }
        rules = {}
        for name, version in versions.items():
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                results = mofn.extract_network(
                    *version, IMAGES, held_out=DIGITS.test.inputs, betas=[0.1], search="stepwise"
                )
            first, last = (result.at(beta=0.1) for result in results)
            named = {literal.name.split("[")[0] for rule in last for literal in rule.literals}
            assert {name.removeprefix("pooled ") for name in named} == {results[0].name}
            rules[name] = [
                rule._replace(
                    layer="", literals=[literal._replace(name="") for literal in rule.literals]
                )
                for rule in (*first, *last)
            ]
            names = [result.name for result in results]
            assert names in (["layers/0", "layers/1"], sorted(params, key="head".__eq__))
        for name in ("nnx", "equinox", "haiku"):
            assert rules[name] == rules["linen"], name


def test_a_second_network_of_the_same_shapes_compiles_nothing():
    events = []

    def listen(event, duration, **_):
        if "compile" in event:
            events.append(event)

    inputs = IMAGES[:30]
    linen = LinenMLP()
    first = linen.init(jax.random.key(0), inputs)["params"]
    second = jax.tree.map(lambda leaf: leaf + 1, first)
    apply = in_haiku(haiku_mlp, first)[0]
    in_haikus = [in_haiku(haiku_mlp, params)[1] for params in (first, second)]
    in_nnx = [NnxMLP(params) for params in (first, second)]
    in_equinox = [equinox_mlp(params) for params in (first, second)]
    versions = [
        [(linen, first), (linen, second)],
        [(module, None) for module in in_nnx],
        [(flattened, module) for module in in_equinox],
        [(apply, params) for params in in_haikus],
    ]
    for one, other in versions:
        mofn.capture_layers(*one, inputs)
        before = [f.cache_info().misses for f in (compiled.layers_of, compiled.run_of)]
        mofn.capture_layers(*other, inputs + 1)
        assert [f.cache_info().misses for f in (compiled.layers_of, compiled.run_of)] == before
    jax.monitoring.register_event_duration_secs_listener(listen)
    for _, other in versions:
        mofn.capture_layers(*other, inputs)
    assert not events


def test_an_nnx_module_is_read_as_for_inference():
    class Normed(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.linear = nnx.Linear(64, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.dropout = nnx.Dropout(0.5, rngs=rngs)
            self.head = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.linear(x.reshape(len(x), -1))))
            return self.head(self.dropout(x))

    module = Normed()
    module.norm.mean = nnx.BatchStat(jnp.arange(8.0))
    module.norm.scale = nnx.Param(jnp.linspace(-1, 1, 8))
    linear, head = mofn.capture_layers(module, None, IMAGES)
    assert not module.dropout.deterministic  # the user's module is left as it was
    sums = IMAGES.reshape(len(IMAGES), -1) @ linear.weights + linear.bias
    np.testing.assert_allclose(linear.activations, np.maximum(sums, 0), atol=1e-5)
    np.testing.assert_array_equal(head.inputs, linear.activations)


def test_an_nnx_module_with_an_array_of_its_own():
    class Raw(nnx.Module):
        def __init__(self):
            self.hidden = nnx.Linear(64, 5, rngs=nnx.Rngs(0))
            self.matrix = nnx.Param(jnp.ones((5, 3)))

        def __call__(self, x):
            return nnx.relu(self.hidden(x.reshape(len(x), -1))) @ self.matrix[...]

    assert mofn.layer_names(Raw(), None, IMAGES) == ("hidden", "matrix")


def test_an_nnx_module_inside_linen():
    class Inner(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(64, 7, rngs=rngs)
            self.head = nnx.Linear(7, 3, rngs=rngs)

        def __call__(self, x):
            return self.head(nnx.relu(self.hidden(x.reshape(len(x), -1))))

    network = nnx.bridge.to_linen(Inner)
    variables = network.init(jax.random.key(0), IMAGES)
    layers = mofn.capture_layers(network, variables, IMAGES)
    assert [(layer.name, layer.kind) for layer in layers] == [
        ("hidden", "dense"),
        ("head", "softmax"),
    ]


def test_bad_networks():
    module = NnxMLP(trained(LinenMLP(), steps=1)["params"])
    with pytest.raises(ValueError, match="params: an NNX module holds its own parameters"):
        mofn.capture_layers(module, {}, IMAGES)
    with pytest.raises(ValueError, match="network: expected a Linen module, an NNX module or"):
        mofn.capture_layers("network", {}, IMAGES)
    with pytest.raises(ValueError, match="network: no layer that can be explained"):
        mofn.capture_layers(lambda params, x: x.reshape(len(x), -1), {"w": jnp.ones(3)}, IMAGES)
    with pytest.raises(ValueError, match=r"no layer .*table: looked up, not multiplied"):
        mofn.capture_layers(looked_up, {"table": jnp.ones((3, 4))}, np.eye(3, dtype=int))


def looked_up(params, tokens):
    return params["table"][tokens].sum(1)

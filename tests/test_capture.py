"""Capture: what is captured is what the network computes, for our networks and for others."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mofn_jax as mofn
from mofn_jax import capture, compiled
from mofn_jax.capture import read_layer

IMAGES = np.random.default_rng(0).standard_normal((11, 8, 8, 1)).astype(np.float32)


def start(network, inputs=IMAGES):
    return network.init(jax.random.key(0), inputs[:1])["params"]


def by_name(captured):
    return {layer.name: layer for layer in captured}


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("network", [mofn.MLP, mofn.CNN, mofn.Autoencoder])
@pytest.mark.parametrize("batch_size", [4, 256])
def test_our_networks_own_activations(network, activation, batch_size):
    network = network(3, activation=activation)
    params = start(network)
    logits, activations = network.apply({"params": params}, IMAGES)
    captured = mofn.capture_layers(network, params, IMAGES, batch_size=batch_size)
    assert {layer.name for layer in captured} == set(activations)
    assert mofn.layer_names(network, params, IMAGES) == tuple(layer.name for layer in captured)
    for layer in captured:
        expected = logits if layer.kind == "softmax" else activations[layer.name]
        np.testing.assert_allclose(layer.activations, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(layer.predictions, np.argmax(logits, -1))
        np.testing.assert_array_equal(layer.weights, params[layer.name]["kernel"])
        np.testing.assert_array_equal(layer.bias, params[layer.name]["bias"])
    assert [layer.name for layer in captured if layer.kind == "softmax"] == ["softmax"]


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="first")(x)
        return nn.max_pool(nn.silu(x), (2, 2), strides=(2, 2))


class Foreign(nn.Module):
    """Nested, with a setup, a swish made of two operations, dropout, and log-probabilities."""

    def setup(self):
        self.body = Inner()
        self.middle = nn.Dense(6, use_bias=False)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Dense(3)

    def __call__(self, x, *, train):
        x = self.body(x)
        x = nn.leaky_relu(self.middle(x.reshape(len(x), -1)))
        x = self.dropout(x, deterministic=not train)
        return [nn.log_softmax(self.head(x)), x]


def test_a_network_that_is_not_ours():
    network = Foreign()
    params = network.init(jax.random.key(0), IMAGES[:1], train=False)["params"]
    call = {"call_kwargs": {"train": False}}
    captured = by_name(mofn.capture_layers(network, params, IMAGES, **call))
    assert list(captured) == ["body/first", "middle", "head"]
    assert [layer.kind for layer in captured.values()] == ["conv", "dense", "softmax"]
    log_probabilities, middle = network.apply({"params": params}, IMAGES, train=False)
    np.testing.assert_allclose(captured["middle"].activations, middle, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(captured["head"].inputs, middle, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        captured["head"].predictions, np.argmax(log_probabilities, axis=-1)
    )
    first = params["body"]["first"]
    outputs = nn.Conv(4, (3, 3)).apply({"params": first}, IMAGES)
    np.testing.assert_allclose(
        captured["body/first"].activations, nn.silu(outputs), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(captured["middle"].bias, np.zeros(6))
    assert captured["body/first"].weights.shape == (3, 3, 1, 4)
    (alone,) = mofn.capture_layers(network, {"params": params}, IMAGES, layers=["middle"], **call)
    np.testing.assert_array_equal(alone.activations, captured["middle"].activations)
    results = mofn.extract_network(network, params, IMAGES, betas=[0.1], **call)
    assert [result.name for result in results] == ["body/first", "middle", "head"]


def test_sequential_with_activations():
    network = nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(5), nn.relu, nn.Dense(2)])
    params = start(network)
    first, last = mofn.capture_layers(network, params, IMAGES)
    assert (first.name, last.name) == ("layers_1", "layers_3")
    assert (first.kind, last.kind) == ("dense", "softmax")
    np.testing.assert_array_equal(first.activations, np.maximum(first.activations, 0))
    np.testing.assert_array_equal(first.activations, last.inputs)


class Unusual(nn.Module):
    """With groups, a layer called twice, and one whose output goes two ways."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(2, (1, 1))(x)
        x = nn.relu(nn.Conv(2, (3, 3), feature_group_count=2, name="grouped")(x))
        x = nn.LayerNorm(name="norm")(x)
        shared = nn.Dense(2, name="shared")
        x = x.reshape(len(x), -1)[:, :2]
        x = shared(shared(x))
        x = nn.Dense(4, name="split")(x)
        return nn.Dense(3, name="head")(nn.relu(x) + jnp.cumsum(x, axis=1))


def test_what_is_unusual():
    network = Unusual()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured = by_name(mofn.capture_layers(network, start(network), IMAGES))
    assert list(captured) == ["Conv_0", "grouped", "shared[0]", "shared[1]", "split", "head"]
    assert captured["grouped"].groups == 2
    split = captured["split"]
    assert split.note == "it ends where its output goes several ways"
    np.testing.assert_allclose(
        split.activations, split.inputs @ split.weights + split.bias, rtol=1e-4, atol=1e-5
    )


class Applied(nn.Module):
    """A function that calls layers, then a head named so."""

    body: Callable

    @nn.compact
    def __call__(self, x):
        x = self.body(x)
        return {"logits": nn.Dense(3, name="head")(x.reshape(len(x), -1)), "features": x}


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (lambda x: nn.relu(nn.Conv(1, (3, 3))(x) + x), "before a nonlinearity: add follows"),
        (lambda x: nn.max_pool(nn.Conv(1, (3, 3))(x), (2, 2)), ""),
        (lambda x: nn.Conv(1, (3, 3))(x), ""),
    ],
)
def test_a_layer_that_ends_before_a_nonlinearity(body, note):
    network = Applied(body)
    variables = network.init(jax.random.key(0), IMAGES)
    first, head = mofn.capture_layers(network, variables, IMAGES)
    assert note in first.note
    assert bool(note) == bool(first.note)
    assert (head.name, head.kind, head.note) == ("head", "softmax", "")
    expected = nn.Conv(1, (3, 3)).apply({"params": variables["params"]["Conv_0"]}, IMAGES)
    np.testing.assert_allclose(first.activations, expected, rtol=1e-5, atol=1e-6)


def test_boxed_parameters():
    boxed = nn.with_partitioning(nn.initializers.lecun_normal(), (None, None))
    inputs = IMAGES.reshape(11, -1)
    network = nn.Dense(3, kernel_init=boxed)
    (layer,) = mofn.capture_layers(network, network.init(jax.random.key(0), inputs), inputs)
    assert layer.weights.shape == (64, 3)


def test_logits_of_another_shape():
    network = nn.Conv(3, (3, 3))
    with pytest.raises(ValueError, match=r"expected logits \[E, k\].*, got shape \[E, 8, 8, 3\]"):
        mofn.capture_layers(network, start(network), IMAGES)


def test_a_network_of_one_layer():
    network = nn.Dense(3)
    inputs = IMAGES.reshape(11, -1)
    params = start(network, inputs)
    (layer,) = mofn.capture_layers(network, params, inputs)
    assert (layer.kind, layer.name) == ("softmax", "")
    np.testing.assert_array_equal(layer.weights, params["kernel"])


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (IMAGES[:0], {}, "inputs: has no elements"),
        (np.full_like(IMAGES, np.nan), {}, "inputs: holds NaN"),
        (IMAGES, {"layers": ["dense_7"]}, r"layers: 'dense_7' is not known.*'dense_0', 'softmax'"),
        (IMAGES, {"batch_size": 0}, "batch_size: expected an integer of at least 1"),
    ],
)
def test_bad_input(inputs, options, message):
    network = mofn.MLP(2)
    with pytest.raises(ValueError, match=message):
        mofn.capture_layers(network, start(network), inputs, **options)


def test_same_shapes_trace_once():
    network = mofn.MLP(2)
    params = start(network)

    def traces():
        return compiled.layers_of.cache_info().misses, compiled.run_of.cache_info().misses

    mofn.capture_layers(network, params, IMAGES)
    found, run = traces()
    mofn.capture_layers(network, jax.tree.map(lambda a: a + 1, params), IMAGES + 1)
    assert traces() == (found, run)
    mofn.capture_layers(network, params, IMAGES, layers=["softmax"])
    assert traces() == (found, run + 1)


def linear(params, x):
    """Logits and what else such a network returns."""
    x = x.reshape(len(x), -1)
    hidden = nn.tanh(x @ params["hidden"])
    return {"features": hidden, "scores": hidden @ params["head"], "images": x}


CONSTANT = np.eye(64, dtype=np.float32)
LINEAR = {
    "hidden": np.random.default_rng(0).standard_normal((64, 5), np.float32),
    "head": np.random.default_rng(1).standard_normal((5, 3), np.float32),
}


def test_which_outputs_are_the_logits():
    expected = np.asarray(linear(LINEAR, IMAGES)["scores"])
    for logits in ("scores", lambda outputs: outputs["scores"]):
        _, head = mofn.capture_layers(linear, LINEAR, IMAGES, logits=logits)
        assert head.kind == "softmax"
        np.testing.assert_array_equal(head.predictions, expected.argmax(1))
    with pytest.raises(
        ValueError, match=r"logits: .* got \['features'\], \['images'\], \['scores'\]"
    ):
        mofn.capture_layers(linear, LINEAR, IMAGES)
    with pytest.raises(ValueError, match="logits: the network's outputs have no 'score'"):
        mofn.capture_layers(linear, LINEAR, IMAGES, logits="score")
    _, head = mofn.capture_layers(
        lambda params, x: {"loss": x.sum(), "out": linear(params, x)["scores"]}, LINEAR, IMAGES
    )
    np.testing.assert_array_equal(head.predictions, expected.argmax(1))


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (lambda h, w: h @ w, "softmax"),
        (lambda h, w: nn.log_softmax(h @ w), "softmax"),
        (lambda h, w: nn.softmax((h @ w) / 3), "softmax"),
        (lambda h, w: 30 * nn.tanh((h @ w) / 30), "softmax"),
        (lambda h, w: (h @ w)[:, ::-1], "dense"),
        (lambda h, w: (h @ w)[:, jnp.array([2, 0, 1])], "dense"),
        (lambda h, w: jnp.cumsum(h @ w, axis=1), "dense"),
        (lambda h, w: (h[:, :, None] * w[None]).sum(1), None),
        (lambda h, w: jax.lax.fori_loop(0, 80, lambda _, z: jnp.tanh(z @ w), h), None),
    ],
)
def test_the_softmax_layer_is_that_whose_units_are_the_classes(head, kind):
    """And never the hidden layer of as many units."""
    params = {"hidden": LINEAR["hidden"][:, :3], "head": LINEAR["head"][:3]}

    def network(params, x):
        return head(nn.relu(x.reshape(len(x), -1) @ params["hidden"]), params["head"])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the loop
        hidden, *rest = mofn.capture_layers(network, params, IMAGES)
    assert hidden.kind == "dense"
    assert [layer.kind for layer in rest] == [kind] * bool(kind)


class Record(NamedTuple):
    hidden: jax.Array
    logits: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Outputs:
    hidden: jax.Array
    logits: jax.Array


@pytest.mark.parametrize("record", [Record, Outputs])
@pytest.mark.parametrize("which", [None, "logits"])
def test_logits_of_a_record(record, which):
    def network(params, x):
        outputs = linear(params, x)
        return record(outputs["features"], outputs["scores"])

    _, head = mofn.capture_layers(network, LINEAR, IMAGES, logits=which)
    assert head.kind == "softmax"


def test_predictions_instead_of_logits():
    classes = np.arange(11) % 4
    hidden, head = mofn.capture_layers(linear, LINEAR, IMAGES, predictions=classes)
    assert (hidden.kind, head.kind) == ("dense", "dense")
    np.testing.assert_array_equal(hidden.predictions, classes)
    (one,) = mofn.extract_network(
        linear,
        LINEAR,
        IMAGES,
        held_out=IMAGES,
        layers=["hidden"],
        predictions=classes,
        held_out_predictions=classes,
        betas=[0.1],
    )
    assert len(one.at(beta=0.1)) == 5
    for wrong, message in (
        (classes[1:], r"predictions: expected shape \[11\]"),
        (classes - 1, "predictions: expected labels in 0"),
        (classes / 2, "predictions: expected integers"),
    ):
        with pytest.raises(ValueError, match=message):
            mofn.capture_layers(linear, LINEAR, IMAGES, predictions=wrong)
    with pytest.raises(ValueError, match="held_out_predictions: expected with predictions"):
        mofn.extract_network(linear, LINEAR, IMAGES, held_out=IMAGES, predictions=classes)


def test_a_single_logit_is_of_two_classes():
    kernel = np.random.default_rng(0).standard_normal((64, 1), np.float32)

    def network(params, x):
        return x.reshape(len(x), -1) @ params["kernel"]

    (layer,) = mofn.capture_layers(network, {"kernel": kernel}, IMAGES)
    says = (IMAGES.reshape(11, -1) @ kernel)[:, 0] > 0
    np.testing.assert_array_equal(layer.predictions, says)
    assert layer.kind == "softmax"
    targets, _ = mofn.layer_targets(layer, None)
    np.testing.assert_array_equal(targets[:, 0], says)


@pytest.mark.parametrize(
    ("network", "inputs", "message"),
    [
        (
            lambda p, x: (x / 0) @ p["w"],
            np.ones((4, 3)),
            "network: its logits hold NaN or infinity",
        ),
        (lambda p, x: (x @ p["w"])[:-1], np.ones((4, 3)), r"got shape \[1, 2\]"),
        (lambda p, x: x @ p["w"], np.full((4, 3), 1e300), "inputs: too large for the network's"),
        (lambda p, x: (x @ p["w"])[:, 0], np.ones((4, 3)), r"expected logits .* got shape \[E\]"),
        (lambda p, x: x @ p["w"], {"x": np.ones((4, 3))}, "inputs: expected real numbers"),
        (lambda p, x: x @ p["w"], None, "inputs: expected real numbers"),
        (
            lambda p, x: (x.reshape(4, -1, 3) @ p["w"]).reshape(-1, 2),
            np.ones((8, 3)),
            "network: it cannot be traced for 2 examples",
        ),
        (
            lambda p, x: jax.lax.map(lambda row: row @ p["w"], x),
            np.ones((4, 3)),
            "same for any number of examples .of a loop over the examples, jax.vmap makes one",
        ),
    ],
)
def test_bad_networks(network, inputs, message):
    for function in (mofn.capture_layers, mofn.layer_names):
        if function is mofn.layer_names and ("logits hold" in message or "too large" in message):
            continue  # it computes nothing
        with pytest.raises(ValueError, match=message):
            function(network, {"w": np.ones((3, 2), np.float32)}, inputs)


def test_weights_that_are_no_parameters_are_named():
    def network(params, x):
        return linear(params, nn.relu(x.reshape(len(x), -1) @ CONSTANT))["scores"]

    with pytest.warns(UserWarning, match=r"constant \[64, 64\] .weights that are not among"):
        captured = mofn.capture_layers(network, LINEAR, IMAGES)
    assert [layer.name for layer in captured] == ["hidden", "head"]


def test_leaves_that_are_no_arrays_are_told_apart_by_type():
    def network(params, x):
        scores = linear(params, x)["scores"]
        return scores if params["plain"] is True else -scores

    params = LINEAR | {"plain": True, "name": np.str_("none")}
    one = mofn.capture_layers(network, params, IMAGES)[-1].predictions
    other = mofn.capture_layers(network, params | {"plain": 1}, IMAGES)[-1].predictions
    assert (one != other).any()
    call = {"logits": "scores"}

    def keyed(params, x, which):
        return {"scores": linear(params, x)["scores"] * (1 if which[0] is True else -1)}

    one, other = (
        mofn.capture_layers(keyed, LINEAR, IMAGES, call_kwargs={"which": which}, **call)[-1]
        for which in ((True,), (1,))
    )
    assert (one.predictions != other.predictions).any()


def test_names_where_paths_do_not_tell():
    """Parameters that are one array, or a part with a slash in it."""
    (layer,) = mofn.capture_layers(lambda w, x: x.reshape(len(x), -1) @ w, LINEAR["hidden"], IMAGES)
    assert layer.name == "parameters"
    flat, unravel = jax.flatten_util.ravel_pytree(LINEAR)
    names = mofn.layer_names(lambda q, x: linear(unravel(q), x)["scores"], flat, IMAGES)
    assert names == ("parameters[0]", "parameters[1]")
    params = {"a/b": {"w": LINEAR["hidden"]}, "a": {"b": {"w": LINEAR["head"]}}}

    def network(params, x):
        both = {"hidden": params["a/b"]["w"], "head": params["a"]["b"]["w"]}
        return linear(both, x)["scores"]

    assert mofn.layer_names(network, params, IMAGES) == ("a/b", "a/b'")
    results = mofn.extract_network(network, params, IMAGES, betas=[0.1], search="weight_order")
    assert [result.name for result in results] == ["a/b", "a/b'"]


@pytest.mark.parametrize("num_examples", [3, 300])
def test_a_product_of_three_in_the_order_that_costs_least(num_examples):
    params = {"a": LINEAR["hidden"][:, :4], "b": LINEAR["head"][:4]}
    inputs = np.random.default_rng(0).standard_normal((num_examples, 64), np.float32)

    def network(params, x):
        return jnp.einsum("en,nr,ru->eu", x, params["a"], params["b"])

    captured = mofn.capture_layers(network, params, inputs)
    assert tuple(layer.name for layer in captured) == mofn.layer_names(network, params, inputs)
    expected = inputs @ params["a"] @ params["b"]
    np.testing.assert_allclose(captured[-1].activations, expected, rtol=1e-3, atol=1e-3)


def test_half_precision_with_a_large_bias():
    def network(params, x):
        half = jnp.asarray(x.reshape(len(x), -1), jnp.bfloat16)
        return nn.relu(half @ params["w"] + params["b"]) @ params["v"]

    params = {
        "w": jnp.asarray(LINEAR["hidden"], jnp.bfloat16) / 10,
        "b": jnp.full((1, 5), 100, jnp.bfloat16),
        "v": jnp.asarray(LINEAR["head"], jnp.bfloat16),
    }
    assert len(mofn.capture_layers(network, params, IMAGES)) == 2


def test_held_out_examples_of_another_shape():
    network = mofn.MLP(2)
    with pytest.raises(ValueError, match=r"held_out: expected shape \[E, \*\(8, 8, 1\)\], got"):
        mofn.extract_network(network, start(network), IMAGES, held_out=IMAGES[:, 1:])


def test_batches_give_what_the_whole_gives():
    network = mofn.CNN(3, conv_blocks=((4,),), dense=())
    params = start(network)
    whole, _ = mofn.capture_layers(network, params, IMAGES)
    parts = list(read_layer(network, params, IMAGES, "conv_0", batch_size=4))
    assert [len(part.inputs) for part in parts] == [4, 4, 3]
    for field in ("inputs", "activations", "predictions"):
        joined = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, field))
    np.testing.assert_array_equal(parts[0].weights, whole.weights)


def test_a_layer_that_is_not_what_it_seems_is_passed_over(monkeypatch):
    """A scale that differs from place to place, or sums that are not the network's."""

    def network(params, x):
        x = nn.relu((x @ params["first"]) * params["scale"][:, None])
        return x.mean((1, 2)) @ params["head"]

    params = {
        "first": np.ones((1, 3), np.float32),
        "scale": np.arange(1, 9, dtype=np.float32),
        "head": np.ones((3, 2), np.float32),
    }
    with jax.numpy_rank_promotion("allow"), pytest.warns(UserWarning, match="position to position"):
        (head,) = mofn.capture_layers(network, params, IMAGES)
    assert head.name == "head"
    unit_sums = capture.unit_sums

    def wrong(layer, pairs):
        sums, sizes = unit_sums(layer, pairs)
        return sums * (1 + 0.1 * (layer.name == "first")), sizes

    monkeypatch.setattr(capture, "unit_sums", wrong)
    params["scale"] = np.ones(8, np.float32)
    with jax.numpy_rank_promotion("allow"):
        with pytest.warns(UserWarning, match=r"not explained: first \(its sums are not those of"):
            (head,) = mofn.capture_layers(network, params, IMAGES)
        with pytest.warns(UserWarning, match=r"not explained: first \(its sums are not those of"):
            results = mofn.extract_network(network, params, IMAGES, betas=[0.1])
    assert [result.name for result in results] == ["head"]

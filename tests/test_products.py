"""Layers of networks that are not ours: each is recomputed from what it says of itself."""

import warnings

import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign import IMAGES, ConvNeXt, ResNet, ViT, assert_recomputed, trained

import mofn_jax as mofn


def captured(network, params, inputs=IMAGES[:50], **options):
    """The layers by name; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {
            layer.name: layer for layer in mofn.capture_layers(network, params, inputs, **options)
        }


def identity(x):
    return x


def test_a_residual_network_with_batch_normalisation():
    network = ResNet()
    variables = trained(network)
    layers = captured(network, variables)
    before_the_sum = ["block_0_b", "block_1_b", "block_1_short"]
    after_relu = ["stem", "block_0_a", "block_1_a"]
    assert sorted(layers) == sorted([*before_the_sum, *after_relu, "head"])
    for name in after_relu:
        assert_recomputed(layers[name], nn.relu)
        assert layers[name].note == ""
    for name in before_the_sum:
        assert_recomputed(layers[name])
        assert layers[name].note == "it ends before a nonlinearity: add follows"
    assert layers["head"].kind == "softmax"
    assert_recomputed(layers["head"])
    # A negative scale turns the kernel's signs.
    norm = variables["batch_stats"]["stem_norm"], variables["params"]["stem_norm"]
    scale = np.asarray(norm[1]["scale"] / jnp.sqrt(norm[0]["var"] + 1e-5))
    assert (scale < 0).any()
    np.testing.assert_allclose(
        layers["stem"].weights, np.asarray(variables["params"]["stem"]["kernel"]) * scale, rtol=1e-5
    )


@pytest.mark.parametrize("scanned", [False, True])
def test_a_vision_transformer(scanned):
    network = ViT(scanned)
    layers = captured(network, trained(network))
    blocks = [f"blocks/{{}}[{i}]" for i in range(3)] if scanned else ["block_0/{}", "block_1/{}"]
    names = [f"attention/{name}" for name in ("query", "key", "value", "out")] + ["up", "down"]
    expected = [block.format(name) for block in blocks for name in names]
    assert list(layers) == ["patches", *expected, "head"]
    for name, layer in layers.items():
        assert_recomputed(layer, nn.gelu if "/up" in name else identity)
        ends_early = "patches" in name or "out" in name or "down" in name
        assert bool(layer.note) == ends_early
    # What is added at each position is part of the bias there.
    assert layers["patches"].bias.shape == (4, 4, 12)
    assert layers[expected[0]].inputs.shape == (50, 16, 12)
    assert layers[expected[0]].weights.shape == (12, 12)


def test_a_depthwise_block_with_a_layer_scale():
    network = ConvNeXt()
    variables = trained(network)
    layers = captured(network, variables)
    assert list(layers) == ["stem", "depthwise", "up", "down", "head"]
    assert layers["depthwise"].groups == 8
    assert layers["depthwise"].weights.shape == (3, 3, 1, 8)
    for name, layer in layers.items():
        assert_recomputed(layer, nn.gelu if name == "up" else identity)
    params = jax.tree.map(np.asarray, variables["params"])
    assert (params["scale"] < 0).any()
    np.testing.assert_allclose(
        layers["down"].weights,
        np.asarray(params["down"]["kernel"]) * params["scale"][0, 0],
        rtol=1e-5,
    )


def test_haiku_s_own_networks():
    images = np.random.default_rng(0).standard_normal((4, 32, 32, 3)).astype(np.float32)
    for network, count in ((hk.nets.ResNet18, 21), (hk.nets.MobileNetV1, 28)):
        transformed = hk.without_apply_rng(
            hk.transform_with_state(
                lambda x, train=False, network=network: network(num_classes=5)(x, is_training=train)
            )
        )
        params, state = transformed.init(jax.random.key(0), images, True)
        layers = captured(
            lambda params, x, state=state, transformed=transformed: transformed.apply(
                params, state, x
            )[0],
            params,
            images,
        )
        assert len(layers) == count
        *_, head = layers.values()
        assert head.kind == "softmax"
        for layer in layers.values():
            ends_early = "add follows" in layer.note
            assert_recomputed(layer, identity if ends_early or layer is head else nn.relu)
        if network is hk.nets.MobileNetV1:
            assert sum(layer.groups > 1 for layer in layers.values()) == 13
        else:
            assert sum(bool(layer.note) for layer in layers.values()) == 11


class Recurrent(nn.Module):
    """Tokens, a recurrent layer, and logits from the table that the tokens were looked up in."""

    steps: int

    @nn.compact
    def __call__(self, tokens):
        table = nn.Embed(7, 5, name="table")
        x = nn.RNN(nn.SimpleCell(5, name="cell"), name="recurrent")(table(tokens))
        return table.attend(x[:, -1])


@pytest.mark.parametrize("jitted", [False, True])
def test_a_stopped_gradient_hides_no_layer(jitted):
    def network(params, x):
        stop = jax.jit(jax.lax.stop_gradient) if jitted else jax.lax.stop_gradient
        x = stop(2 * (x.reshape(len(x), -1) @ params["a"]) + params["b"][None])
        return stop(jnp.tanh(x)) @ params["c"]

    draw = np.random.default_rng(0).standard_normal
    size = int(np.prod(IMAGES.shape[1:]))
    params = {"a": draw((size, 5)) / size, "b": draw(5), "c": draw((5, 3))}
    layers = captured(network, jax.tree.map(jnp.float32, params))
    assert list(layers) == ["a", "c"]
    assert_recomputed(layers["a"], jnp.tanh)
    np.testing.assert_allclose(layers["a"].weights, 2 * params["a"], rtol=1e-6)


def test_a_loop_is_unrolled_or_named():
    for steps in (3, 65):
        tokens = np.random.default_rng(0).integers(0, 7, (6, steps))
        network = Recurrent(steps)
        params = network.init(jax.random.key(0), tokens)
        with pytest.warns(UserWarning, match="layers that are not explained") as caught:
            layers = mofn.capture_layers(network, params, tokens)
        message = str(caught[-1].message)
        names = [layer.name for layer in layers]
        assert "table (looked up, not multiplied)" in message
        if steps == 3:
            # Nothing has been read yet that the first step could multiply by h.
            expected = ["i[0]", "i[1]", "h[0]", "i[2]", "h[1]"]
            assert names == [*(f"cell/{name}" for name in expected), "table"]
        else:
            assert "cell/h (inside a scan of more than 64 steps)" in message
            assert names == ["table"]


class Mapped(nn.Module):
    """An ensemble of dense layers of which each reads the output of its own."""

    @nn.compact
    def __call__(self, x):
        options = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "axis_size": 3}
        x = x.reshape(len(x), -1)
        x = nn.tanh(nn.vmap(nn.Dense, in_axes=None, **options)(6, name="first")(x))
        return nn.vmap(nn.Dense, in_axes=0, **options)(4, name="second")(x).mean(0)


class Doubled(nn.Module):
    """A kernel that is twice its parameter."""

    @nn.compact
    def __call__(self, x):
        def double(variables):
            return jax.tree.map(lambda leaf: 2 * leaf, variables)

        dense = nn.map_variables(nn.Dense, "params", double, init=self.is_initializing())
        return dense(5, name="dense")(x.reshape(len(x), -1))


def half_precision(left, right, numbers, **_):
    half = jnp.bfloat16
    products = jax.lax.dot_general(left.astype(half), right.astype(half), numbers)
    return products.astype(jnp.float32)


class Wrapped(nn.Module):
    """Layers whose kernels are computed, or whose product is not the usual one."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.WeightNorm(nn.Conv(4, (3, 3), name="conv"))(x))
        x = nn.Dense(6, dot_general=half_precision, name="half")(x.reshape(len(x), -1))
        return nn.Dense(4, name="head")(nn.silu(x))


def test_wrapped_layers():
    for network in (Mapped(), Doubled(), Wrapped()):
        params = network.init(jax.random.key(0), IMAGES[:1])
        layers = captured(network, params)
        if "second" in layers:
            first, second = layers.values()
            assert (first.weights.shape, second.weights.shape) == ((64, 18), (6, 12))
            assert second.groups == 3
            assert_recomputed(first, nn.tanh)
            assert_recomputed(second)
        elif "dense" in layers:
            kernel = np.asarray(params["params"]["dense"]["kernel"])
            np.testing.assert_array_equal(layers["dense"].weights, 2 * kernel)
            assert_recomputed(layers["dense"])
        else:
            # What enters the second is rounded to bfloat16, and so are its weights.
            assert_recomputed(layers["conv"], nn.relu, tolerance=1e-2)
            assert_recomputed(layers["half"], nn.silu, tolerance=1e-2)
            assert_recomputed(layers["head"])


def dense(activation):
    """A function of a kernel, through an activation and a second kernel."""
    return lambda params, x: activation(x @ params["first"]) @ params["second"]


@pytest.mark.parametrize(
    ("activation", "sign", "note"),
    [
        (nn.gelu, 1, ""),
        (nn.silu, 1, ""),
        (lambda x: nn.relu(-2 * x), -1, ""),
        (lambda x: 1 - nn.sigmoid(x), -1, ""),
        (jax.checkpoint(lambda x: jnp.where(x > 0, x, 0.1 * x)), 1, ""),
        (jax.jit(lambda x: jnp.exp(-x)), -1, ""),
        (lambda x: 1 - jnp.clip(x / 40, 0.5, 1), -1, ""),  # flat where sums are small
        (jnp.abs, 1, "not monotone in the sum"),
        (lambda x: 1 / x, 1, "not monotone in the sum"),
        (jnp.sin, 1, "not monotone in the sum"),
    ],
)
def test_signs_turn_with_what_follows(activation, sign, note):
    rng = np.random.default_rng(0)
    params = {
        "first": rng.standard_normal((5, 4)).astype(np.float32),
        "second": rng.standard_normal((4, 3)).astype(np.float32),
    }
    inputs = 20 * rng.standard_normal((20, 5)).astype(np.float32)
    layers = captured(dense(activation), params, inputs)
    assert list(layers) == ["first", "second"]
    first = layers["first"]
    np.testing.assert_allclose(np.abs(first.weights) > 0, True)
    np.testing.assert_array_equal(np.sign(first.weights), sign * np.sign(params["first"]))
    assert note in first.note
    assert bool(note) == bool(first.note)
    np.testing.assert_allclose(
        first.activations, activation(inputs @ params["first"]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("falling", [lambda x: -jnp.log(x), jax.lax.rsqrt])
def test_signs_turn_where_the_nonlinearity_is_not_defined_everywhere(falling):
    rng = np.random.default_rng(0)
    params = {"first": rng.random((5, 4), np.float32), "second": rng.random((4, 3), np.float32)}
    first, _ = captured(dense(falling), params, rng.random((20, 5), np.float32)).values()
    np.testing.assert_array_equal(first.weights, -params["first"])
    assert first.note == ""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lambda w, x: jax.lax.conv_transpose(x, w, (2, 2), "SAME"), "a transposed convolution"),
        (
            lambda w, x: jax.lax.conv(x[..., 0][:, None], w[:, :1, :, :4], (1, 1), [(-1, 0)] * 2),
            "its padding crops",
        ),
        (lambda w, x: x.reshape(2, -1, 3) @ w[0, 0], "no axis of its own holds the examples"),
        (lambda w, x: jnp.einsum("ehwc,eco->ehwo", x, w[0, :1] * x[:, 0, 0, :1, None]), None),
    ],
)
def test_what_cannot_be_explained_is_passed_over_with_its_reason(body, reason):
    """Each beside a layer that can be."""
    rng = np.random.default_rng(0)
    params = {"odd": rng.random((3, 3, 3, 4), np.float32), "head": rng.random((3, 2), np.float32)}
    inputs = rng.random((8, 6, 6, 3), np.float32)

    def network(params, x):
        return x.mean((1, 2)) @ params["head"] + body(params["odd"], x).sum()

    if reason is None:  # a product of two things that depend on the inputs is no layer
        assert list(captured(network, params, inputs)) == ["head"]
        return
    with pytest.warns(UserWarning, match=f"not explained: odd .{reason}"):
        layers = mofn.capture_layers(network, params, inputs)
    assert [layer.name for layer in layers] == ["head"]


def test_other_numbers_of_axes():
    """A convolution over one axis, einsums of several, and a kernel that is read twice."""
    rng = np.random.default_rng(0)
    params = {
        "line": rng.standard_normal((3, 4, 6), np.float32),
        "heads": rng.standard_normal((2, 6, 5), np.float32),
        "out": rng.standard_normal((5, 2, 6), np.float32),
        "shared": rng.standard_normal((6, 6), np.float32),
    }
    inputs = rng.standard_normal((10, 9, 4), np.float32)
    numbers = ("NWC", "WIO", "NWC")

    def network(params, x):
        x = nn.relu(
            jax.lax.conv_general_dilated(x, params["line"], (2,), "SAME", (1,), (2,), numbers)
        )
        x = nn.tanh(jnp.einsum("etn,hnd->ethd", x, params["heads"]))
        x = nn.tanh(jnp.einsum("ethd,dho->eto", x, params["out"]))
        return (nn.tanh(x @ params["shared"]) @ params["shared"]).mean(1)

    layers = captured(network, params, inputs)
    assert list(layers) == ["line", "heads", "out", "shared[0]", "shared[1]"]
    assert layers["line"].convolution.strides == (2,)
    assert layers["heads"].activations.shape == (10, 5, 10)
    # As the kernel has them: d before h.
    np.testing.assert_array_equal(layers["out"].weights, params["out"].reshape(10, 6))
    for name, layer in layers.items():
        assert_recomputed(layer, {"line": nn.relu, "shared[1]": identity}.get(name, nn.tanh))


def test_examples_need_not_come_first():
    """The axis of examples is found: Equinox maps a function of one example."""
    rng = np.random.default_rng(0)
    params = {
        "w": rng.standard_normal((4, 5), np.float32),
        "v": rng.standard_normal((3, 4), np.float32),
    }
    inputs = rng.standard_normal((4, 5), np.float32)  # as many examples as units

    def network(params, x):
        x = jnp.tanh(params["w"] @ x.T)
        return (params["v"] @ x).T

    first, second = captured(network, params, inputs).values()
    np.testing.assert_array_equal(first.weights, params["w"].T)
    np.testing.assert_allclose(first.activations, np.tanh(inputs @ params["w"].T), rtol=1e-5)
    assert second.kind == "softmax"

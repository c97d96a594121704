"""Names of what enters layers: each is that of the value it stands for, or there is none."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import mofn_jax as mofn

IMAGES = np.random.default_rng(0).random((6, 8, 9, 2), np.float32)


def of_last_axis(name):
    """The unit, and the places if there are any, that a name ends with."""
    numbers = [list(map(int, text.split(","))) for text in re.findall(r"\[([\d, ]+)\]", name)]
    return numbers[0][0], tuple(numbers[1]) if len(numbers) > 1 else ()


def check_names(network, params, inputs, *, pool=None):
    """The layers, each of whose named inputs has the value of what its name says."""
    layers = mofn.capture_layers(network, params, inputs)
    values = {layer.name: layer.activations for layer in layers}
    for layer in layers:
        for i, name in enumerate(layer.input_names or ()):
            stem = name.removeprefix("pooled ").split("[")[0]
            value = inputs if stem in ("pixel", "input") else values[stem]
            if name.startswith("pooled "):
                value = pool(value)
            unit, places = of_last_axis(name)
            expected = value[(slice(None), *places, ..., unit)]
            np.testing.assert_allclose(layer.inputs[..., i], expected, rtol=1e-6)
        if layer.input_names is not None:
            assert len(set(layer.input_names)) == len(layer.input_names)
    return {layer.name: layer.input_names for layer in layers}


def start(network, inputs):
    return network.init(jax.random.key(0), inputs)["params"]


def pool(value):
    return np.asarray(nn.max_pool(value, (2, 2), strides=(2, 2)))


def test_a_cnn_names_channels_units_and_where_they_are():
    network = mofn.CNN(3, conv_blocks=((4, 5),), dense=(6,))
    names = check_names(network, start(network, IMAGES), IMAGES, pool=pool)
    assert names["conv_0"] == ("pixel[0]", "pixel[1]")
    assert names["conv_1"][2] == "conv_0[2]"
    assert names["dense_0"][0] == "pooled conv_1[0][0, 0]"
    assert names["dense_0"][-1] == "pooled conv_1[4][1, 1]"
    assert names["softmax"][3] == "dense_0[3]"


def test_an_autoencoder_names_the_layer_that_each_reads():
    network = mofn.Autoencoder(3, hidden=(6,), code=4)
    names = check_names(network, start(network, IMAGES), IMAGES)
    assert names["encoder_0"][(1 * 9 + 3) * 2 + 1] == "pixel[1][1, 3]"
    assert {layer: some[1] for layer, some in names.items() if layer != "encoder_0"} == {
        "code": "encoder_0[1]",
        "decoder_0": "code[1]",
        "reconstruction": "decoder_0[1]",
        "softmax": "code[1]",
    }


class Mixed(nn.Module):
    """Layouts, views, pools by sums, tokens, and steps that no name survives."""

    @nn.compact
    def __call__(self, x):
        x = jnp.transpose(nn.relu(nn.Conv(4, (3, 3), padding="SAME", name="a")(x)), (0, 3, 1, 2))
        x = jax.lax.slice_in_dim(x[:, 1:], 0, None, 2, axis=2).reshape(len(x), 3, -1)
        tokens = nn.tanh(nn.Dense(5, name="tokens")(jnp.swapaxes(x, 1, 2)))
        mean = nn.relu(nn.Dense(6, name="mean")(tokens.mean(1)))
        both = jnp.concatenate([mean[:, 2:], mean[:, :2]], axis=-1)[:, None]
        y = nn.relu(nn.Dense(6, name="concatenated")(both.squeeze(1)))
        z = nn.relu(nn.Dense(6, name="normed")(nn.LayerNorm(use_scale=False)(y)))
        z = nn.relu(nn.Dense(6, name="residual")(y + z))
        shifted = nn.Dense(6, name="shifted")(nn.sigmoid(tokens.max(1) + 0.5))
        z = z * nn.sigmoid(shifted)
        return nn.Dense(3, name="softmax")(jnp.exp(z))


def test_views_and_pools_are_followed_and_what_mixes_ends_the_trail():
    layers = mofn.capture_layers(Mixed(), start(Mixed(), IMAGES), IMAGES)
    names = {layer.name: layer.input_names for layer in layers}
    values = {layer.name: layer for layer in layers}
    assert names["a"] == ("pixel[0]", "pixel[1]")
    # A token is a place, and its inputs are the units of what was sliced.
    assert names["tokens"] == ("a[1]", "a[2]", "a[3]")
    assert names["mean"] == tuple(f"pooled tokens[{i}]" for i in range(5))
    np.testing.assert_allclose(
        values["mean"].inputs, values["tokens"].activations.mean(1), rtol=1e-5
    )
    assert names["concatenated"] == tuple(f"mean[{i}]" for i in (2, 3, 4, 5, 0, 1))
    order = [2, 3, 4, 5, 0, 1]
    np.testing.assert_array_equal(
        values["concatenated"].inputs, values["mean"].activations[:, order]
    )
    assert names["shifted"] == tuple(f"f(pooled tokens[{i}])" for i in range(5))
    assert names["normed"] is None
    assert names["residual"] is None
    assert names["softmax"] is None


def test_a_value_that_is_changed_on_the_way_is_named_as_a_function_of_it():
    def network(weights, x):
        hidden = jax.nn.relu(x / 255 @ weights[0])
        return jnp.sin(hidden).astype(jnp.float32) @ weights[1]

    rng = np.random.default_rng(1)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in [(5, 4), (4, 3)]]
    inputs = rng.random((20, 5), np.float32) * 255
    scaling = np.tile([1.0, 2.0], (5, 1))
    names = mofn.Names(tuple("abcde"), ("no", "yes", "so"), scaling)
    first, last = mofn.capture_layers(network, weights, inputs, names=names)
    assert first.input_names == tuple(f"f({letter})" for letter in "abcde")
    assert first.input_scaling is None  # it is not of what enters
    assert last.unit_names == ("no", "yes", "so")


def test_pixels_of_flattened_images():
    images = np.zeros((20, 2, 3, 1))
    images[:10, 1, 2] = 1
    answers = mofn.explain_predictions(images, [1] * 10 + [0] * 10)
    assert mofn.format_literals(answers.rules[1]) == ["pixel[1, 2] >= 1"]

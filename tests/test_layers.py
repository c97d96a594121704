"""What units read: a patch of what enters, with zeros around it."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mofn_jax as mofn


class Convolution(nn.Module):
    """A convolution of any kind whose positions all reach the logits."""

    options: dict

    @nn.compact
    def __call__(self, inputs):
        outputs = nn.Conv(3, name="conv", **self.options)(inputs)
        return nn.tanh(outputs).mean((1, 2)), outputs


@pytest.mark.parametrize("padding", ["SAME", "VALID", 2, ((0, 1), (2, 0))])
@pytest.mark.parametrize(
    ("strides", "dilation", "kernel_size"),
    list(itertools.product([1, 2], [1, 2], [(3, 3), (2, 4), (1, 2)])),
)
def test_patches_rebuild_every_pre_activation(strides, dilation, kernel_size, padding):
    inputs = np.random.default_rng(1).standard_normal((2, 9, 8, 2)).astype(np.float32)
    network = Convolution(
        {
            "kernel_size": kernel_size,
            "strides": strides,
            "kernel_dilation": dilation,
            "padding": padding,
        }
    )
    params = network.init(jax.random.key(0), inputs)["params"]
    params["conv"]["bias"] = jnp.array([0.5, -1.0, 2.0])
    _, outputs = network.apply({"params": params}, inputs)
    (layer,) = mofn.capture_layers(network, params, inputs)
    assert layer.kind == "conv"
    np.testing.assert_allclose(layer.activations, np.tanh(outputs), rtol=1e-5, atol=1e-6)
    weights = layer.weights.reshape(-1, 3)
    for row, column in np.ndindex(outputs.shape[1:3]):
        patch = mofn.patches(layer, (row, column))
        np.testing.assert_allclose(
            patch @ weights + layer.bias, outputs[:, row, column], rtol=1e-4, atol=1e-5
        )


def test_bad_input_of_patches():
    images = np.ones((3, 8, 8, 1), np.float32)
    network = mofn.CNN(2)
    params = network.init(jax.random.key(0), images)["params"]
    convolution, *_, softmax = mofn.capture_layers(network, params, images)
    for position in [(6, 0), (0, 6), (-1, 0)]:
        with pytest.raises(ValueError, match="position: expected row and column"):
            mofn.patches(convolution, position)
    with pytest.raises(ValueError, match="layer: expected a convolution, got 'softmax'"):
        mofn.patches(softmax, (0, 0))

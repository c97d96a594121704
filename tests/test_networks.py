"""Networks: shapes, names, and what the activations are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mofn_jax as mofn

IMAGES = np.random.default_rng(0).random((3, 8, 8, 1), np.float32)

NETWORKS = [
    (
        mofn.MLP(4, hidden=(7, 5)),
        {"dense_0": (3, 7), "dense_1": (3, 5), "softmax": (3, 4)},
    ),
    (
        mofn.CNN(10),
        {
            "conv_0": (3, 6, 6, 32),
            "conv_1": (3, 4, 4, 64),
            "dense_0": (3, 128),
            "softmax": (3, 10),
        },
    ),
    (
        mofn.CNN(4, conv_blocks=((2, 3), (4,)), dense=(), padding="SAME"),
        {
            "conv_0": (3, 8, 8, 2),
            "conv_1": (3, 8, 8, 3),
            "conv_2": (3, 4, 4, 4),
            "softmax": (3, 4),
        },
    ),
    (
        mofn.CNN(4, conv_blocks=((2,), (3,)), dense=(5,), kernel_size=(5, 5), padding="SAME"),
        {
            "conv_0": (3, 8, 8, 2),
            "conv_1": (3, 4, 4, 3),
            "dense_0": (3, 5),
            "softmax": (3, 4),
        },
    ),
    (
        mofn.CNN(4, conv_blocks=((2,),), dense=(5,), unsupervised=True),
        {
            "conv_0": (3, 6, 6, 2),
            "dense_0": (3, 5),
            "reconstruction": (3, 64),
            "softmax": (3, 4),
        },
    ),
    (
        mofn.Autoencoder(4, hidden=(9,), code=6),
        {
            "encoder_0": (3, 9),
            "code": (3, 6),
            "decoder_0": (3, 9),
            "reconstruction": (3, 64),
            "softmax": (3, 4),
        },
    ),
]


@pytest.mark.parametrize(("network", "shapes"), NETWORKS)
def test_activations_are_named_as_the_parameters(network, shapes):
    (logits, activations), variables = network.init_with_output(jax.random.key(0), IMAGES)
    assert {name: a.shape for name, a in activations.items()} == shapes
    assert list(activations) == list(shapes)
    assert set(variables["params"]) == set(shapes)
    assert logits.shape == shapes["softmax"]
    np.testing.assert_allclose(activations["softmax"], nn.softmax(logits), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "function"),
    [("relu", nn.relu), ("tanh", jnp.tanh), ("sigmoid", nn.sigmoid), ("linear", lambda x: x)],
)
def test_activation_is_the_one_asked_for(name, function):
    network = mofn.MLP(2, hidden=(5,), activation=name)
    (_, activations), variables = network.init_with_output(jax.random.key(0), IMAGES)
    layer = variables["params"]["dense_0"]
    expected = function(IMAGES.reshape(3, -1) @ np.asarray(layer["kernel"]) + layer["bias"][None])
    np.testing.assert_allclose(activations["dense_0"], expected, atol=1e-6)


def test_dense_layers_may_have_an_activation_of_their_own():
    network = mofn.CNN(2, conv_blocks=((3,),), dense=(5,), dense_activation="linear")
    (_, activations), variables = network.init_with_output(jax.random.key(0), IMAGES)
    pooled = nn.max_pool(activations["conv_0"], (2, 2), strides=(2, 2)).reshape(3, -1)
    layer = variables["params"]["dense_0"]
    expected = np.asarray(pooled) @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])
    np.testing.assert_allclose(activations["dense_0"], expected, atol=1e-5)
    assert (activations["conv_0"] >= 0).all()
    with pytest.raises(ValueError, match=r"dense_activation: 'gelu' is not known"):
        mofn.CNN(2, dense_activation="gelu")


def test_unsupervised_layers_learn_nothing_of_the_classes():
    network = mofn.CNN(2, conv_blocks=((3,),), dense=(5,), unsupervised=True)
    params = network.init(jax.random.key(0), IMAGES)["params"]
    gradients = [
        jax.grad(lambda p, labels=labels: mofn.training.loss(network, p, IMAGES, labels)[0])(params)
        for labels in (np.array([0, 1, 1]), np.array([1, 0, 0]))
    ]
    for name in params:
        same = jax.tree.map(lambda a, b: bool((a == b).all()), *(g[name] for g in gradients))
        assert jax.tree.all(same) == (name != "softmax"), name
    assert np.abs(gradients[0]["conv_0"]["kernel"]).max() > 0
    names = mofn.layer_names(network, params, IMAGES)
    assert names == ("conv_0", "dense_0", "reconstruction", "softmax")


@pytest.mark.parametrize("network", [mofn.MLP, mofn.CNN, mofn.Autoencoder])
def test_unknown_activation(network):
    with pytest.raises(ValueError, match=r"activation: 'gelu' is not known.*relu.*tanh.*sigmoid"):
        network(2, activation="gelu").init(jax.random.key(0), IMAGES)


def test_a_cnn_wants_images():
    with pytest.raises(ValueError, match="inputs: a CNN expects images"):
        mofn.CNN(2).init(jax.random.key(0), IMAGES.reshape(3, -1))


def test_images_too_small_for_the_blocks():
    with pytest.raises(ValueError, match=r"inputs: images \(4, 4\) are too small"):
        mofn.CNN(2).init(jax.random.key(0), IMAGES[:, :4, :4])


@pytest.mark.parametrize(
    ("lists", "tuples"),
    [
        (mofn.MLP(2, hidden=[4, 3]), mofn.MLP(2, hidden=(4, 3))),
        (
            mofn.CNN(2, conv_blocks=[[2], [3]], dense=[4], kernel_size=[3, 3]),
            mofn.CNN(2, conv_blocks=((2,), (3,)), dense=(4,)),
        ),
        (mofn.Autoencoder(2, hidden=[4]), mofn.Autoencoder(2, hidden=(4,))),
    ],
)
def test_sizes_may_be_lists(lists, tuples):
    assert lists == tuples
    assert hash(lists) == hash(tuples)  # jit asks for it

"""Networks that are not ours, a little training on digits, and what layers compute, anew."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import mofn_jax as mofn
from mofn_jax.layers import cut_pairs, group_inputs

DIGITS = mofn.load_dataset("digits")
IMAGES, LABELS = DIGITS.train.inputs[:400], DIGITS.train.labels[:400]


class ResNet(nn.Module):
    """Two residual blocks with batch normalisation, the second with a shortcut convolution."""

    @nn.compact
    def __call__(self, x, train=False):
        def normed(x, name):
            # Scales of both signs, as training leaves them.
            scales = nn.initializers.normal(1.0)
            return nn.BatchNorm(not train, scale_init=scales, name=name)(x)

        x = nn.relu(normed(nn.Conv(6, (3, 3), use_bias=False, name="stem")(x), "stem_norm"))
        for i, (size, stride) in enumerate([(6, 1), (8, 2)]):
            y = nn.Conv(size, (3, 3), stride, use_bias=False, name=f"block_{i}_a")(x)
            y = nn.relu(normed(y, f"block_{i}_a_norm"))
            y = nn.Conv(size, (3, 3), use_bias=False, name=f"block_{i}_b")(y)
            y = normed(y, f"block_{i}_b_norm")
            if x.shape != y.shape:
                x = nn.Conv(size, (1, 1), stride, use_bias=False, name=f"block_{i}_short")(x)
                x = normed(x, f"block_{i}_short_norm")
            x = nn.relu(x + y)
        return nn.Dense(10, name="head")(x.mean((1, 2)))


class Block(nn.Module):
    """A block of a transformer, as `nn.scan` wants it."""

    @nn.compact
    def __call__(self, x, _=None):
        y = nn.LayerNorm(name="norm_0")(x)
        x = x + nn.MultiHeadDotProductAttention(2, name="attention")(y)
        y = nn.gelu(nn.Dense(24, name="up")(nn.LayerNorm(name="norm_1")(x)))
        return x + nn.Dense(x.shape[-1], name="down")(y), None


class ViT(nn.Module):
    """Patches, places, two blocks (or three that are scanned), and a head on the mean token."""

    scanned: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(12, (2, 2), strides=(2, 2), name="patches")(x)
        x = x.reshape(len(x), -1, 12)
        x = x + self.param("places", nn.initializers.normal(0.5), (1, x.shape[1], 12))
        if self.scanned:
            blocks = nn.scan(
                Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=3
            )
            x, _ = blocks(name="blocks")(x, None)
        else:
            for i in range(2):
                x, _ = Block(name=f"block_{i}")(x)
        return nn.Dense(10, name="head")(nn.LayerNorm(name="norm")(x).mean(1))


class ConvNeXt(nn.Module):
    """A depthwise block with a layer scale, negative for some units."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (2, 2), strides=(2, 2), name="stem")(x)
        y = nn.Conv(8, (3, 3), feature_group_count=8, name="depthwise")(x)
        y = nn.LayerNorm(name="norm")(y)
        y = nn.gelu(nn.Dense(16, name="up")(y))
        y = nn.Dense(8, name="down")(y)
        x = x + y * self.param("scale", nn.initializers.normal(1.0), (1, 1, 1, 8))
        return nn.Dense(10, name="head")(x.mean((1, 2)))


def drawn(make: Callable, *sizes: int) -> object:
    """A module of another library: whether that draws from a key twice is not for us to say."""
    with jax.debug_key_reuse(False):
        return make(*sizes, key=jax.random.key(0))


def trained(network: nn.Module, steps: int = 15) -> dict:
    """The variables of a Linen network after a few steps on digits."""
    variables = network.init(jax.random.key(0), IMAGES[:1])
    state = {name: value for name, value in variables.items() if name != "params"}
    call = {"train": True} if state else {}
    optimizer = optax.adam(0.01)

    def loss(params, state):
        logits, state = network.apply(
            {"params": params, **state}, IMAGES, mutable=list(state), **call
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, LABELS)
        return losses.mean(), state

    @jax.jit
    def step(params, state, memory):
        gradients, state = jax.grad(loss, has_aux=True)(params, state)
        updates, memory = optimizer.update(gradients, memory)
        return optax.apply_updates(params, updates), state, memory

    params, memory = variables["params"], optimizer.init(variables["params"])
    for _ in range(steps):
        params, state, memory = step(params, state, memory)
    return {"params": params, **state}


def sums(layer: mofn.Layer) -> np.ndarray:
    """What a layer's weights make of what enters it, of the shape of what leaves it."""
    shape = layer.activations.shape
    pairs = np.indices(shape[:-1]).reshape(len(shape) - 1, -1).T
    reads = cut_pairs(layer, pairs[:, 0], pairs[:, 1:])
    weights = layer.weights.reshape(-1, shape[-1])
    of_groups = [
        group_inputs(layer, reads, group) @ share
        for group, share in enumerate(np.split(weights, layer.groups, axis=1))
    ]
    return np.concatenate(of_groups, axis=1).reshape(shape) + layer.bias


def assert_recomputed(
    layer: mofn.Layer, activation: Callable = lambda x: x, tolerance: float = 1e-4
) -> None:
    """What leaves the layer is the activation of its sums, to a share of the largest sum."""
    computed = sums(layer)
    expected = activation(jnp.asarray(computed))
    largest = np.abs(computed).max()
    np.testing.assert_allclose(layer.activations, expected, atol=tolerance * largest)

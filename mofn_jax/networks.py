"""Networks to explain: dense, convolutional, and an autoencoder with a classifier on its code.

Each returns its logits and, by the name of the layer in the parameter tree, the activations that
leave every layer: after the nonlinearity, before pooling; the softmax layer's are probabilities.

Axis letters: E examples, k classes.
"""

import math
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax

from mofn_jax import checks

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "tanh": nn.tanh,
    "sigmoid": nn.sigmoid,
    "linear": lambda x: x,
}
Activations = dict[str, jax.Array]


class MLP(nn.Module):
    """Dense layers `dense_0`, `dense_1`, ... and `softmax`.

    Attributes:
      num_classes: k.
      hidden: the size of each hidden layer.
      activation: relu, tanh, sigmoid or linear, which is none.

    Raises:
      ValueError: an attribute of another kind or out of range, as of the other networks.
    """

    num_classes: int
    hidden: Sequence[int] = (128,)
    activation: str = "relu"

    def __post_init__(self):
        self.num_classes = checks.at_least("num_classes", self.num_classes, 1)
        self.hidden = _sizes("hidden", self.hidden)
        checks.known("activation", self.activation, ACTIVATIONS)
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: jax.Array) -> tuple[jax.Array, Activations]:
        """Inputs [E, ...] to logits [E, k] and activations by name."""
        activations: Activations = {}
        x = inputs.reshape(len(inputs), -1)
        x = _dense_layers("dense", self.hidden, self.activation, x, activations)
        return _softmax_layer(self.num_classes, x, activations), activations


class CNN(nn.Module):
    """Convolutions `conv_0`, ..., dense layers `dense_0`, ... and `softmax`.

    Each block of convolutions ends in a 2 x 2 max-pool. By default: conv 32, conv 64, pool,
    dense 128, softmax. `conv_blocks=((64, 64), (128, 128), (256, 256))` with `padding="SAME"` is a
    small VGG; `conv_blocks=((16,), (8,))` with `padding="SAME"` and `dense_activation="linear"` is
    the paper's network for MNIST.

    Attributes:
      num_classes: k.
      conv_blocks: of each block, the number of filters of each convolution.
      dense: the size of each dense layer.
      activation: relu, tanh, sigmoid or linear, which is none.
      kernel_size: rows and columns of every kernel.
      padding: VALID or SAME.
      dense_activation: of the dense layers; None for the same.
      unsupervised: whether all layers but `softmax` learn to give the inputs back, through a dense
        layer `reconstruction` of what enters `softmax`, and nothing of the classes.
    """

    num_classes: int
    conv_blocks: Sequence[Sequence[int]] = ((32, 64),)
    dense: Sequence[int] = (128,)
    activation: str = "relu"
    kernel_size: Sequence[int] = (3, 3)
    padding: str = "VALID"
    dense_activation: str | None = None
    unsupervised: bool = False

    def __post_init__(self):
        self.num_classes = checks.at_least("num_classes", self.num_classes, 1)
        blocks = checks.sequence("conv_blocks", self.conv_blocks)
        self.conv_blocks = tuple(_sizes("conv_blocks", block) for block in blocks)
        self.dense = _sizes("dense", self.dense)
        self.kernel_size = _sizes("kernel_size", self.kernel_size)
        if len(self.kernel_size) != 2:
            raise ValueError(f"kernel_size: expected rows and columns, got {self.kernel_size}")
        checks.known("activation", self.activation, ACTIVATIONS)
        checks.known("padding", self.padding, ["VALID", "SAME"])
        if self.dense_activation is not None:
            checks.known("dense_activation", self.dense_activation, ACTIVATIONS)
        checks.instance("unsupervised", self.unsupervised, bool)
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: jax.Array) -> tuple[jax.Array, Activations]:
        """Images [E, rows, columns, channels] to logits [E, k] and activations by name."""
        if inputs.ndim != 4:
            raise ValueError(
                f"inputs: a CNN expects images [E, rows, columns, channels], got {inputs.shape}"
            )
        activate = ACTIVATIONS[self.activation]
        activations: Activations = {}
        x = inputs
        for block in self.conv_blocks:
            for filters in block:
                name = f"conv_{len(activations)}"
                convolution = nn.Conv(filters, self.kernel_size, padding=self.padding, name=name)
                x = activations[name] = activate(convolution(x))
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
            if 0 in x.shape:
                raise ValueError(
                    f"inputs: images {inputs.shape[1:3]} are too small for the blocks of this CNN"
                )
        x = x.reshape(len(x), -1)
        dense_activation = self.dense_activation or self.activation
        x = _dense_layers("dense", self.dense, dense_activation, x, activations)
        if self.unsupervised:
            size = math.prod(inputs.shape[1:])
            activations["reconstruction"] = nn.Dense(size, name="reconstruction")(x)
            x = jax.lax.stop_gradient(x)
        return _softmax_layer(self.num_classes, x, activations), activations


class Autoencoder(nn.Module):
    """Encoder `encoder_0`, ..., `code`; decoder `decoder_0`, ..., `reconstruction`; `softmax`.

    The decoder mirrors the encoder and gives the inputs back; the softmax layer reads the code.
    Training adds the mean squared error of the reconstruction to the cross-entropy.

    Attributes:
      num_classes: k.
      hidden: the size of each encoder layer before the code.
      code: the size of the code.
      activation: relu, tanh, sigmoid or linear; the reconstruction has none.
    """

    num_classes: int
    hidden: Sequence[int] = (256,)
    code: int = 128
    activation: str = "relu"

    def __post_init__(self):
        self.num_classes = checks.at_least("num_classes", self.num_classes, 1)
        self.hidden = _sizes("hidden", self.hidden)
        self.code = checks.at_least("code", self.code, 1)
        checks.known("activation", self.activation, ACTIVATIONS)
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: jax.Array) -> tuple[jax.Array, Activations]:
        """Inputs [E, ...] to logits [E, k] and activations by name."""
        activate = ACTIVATIONS[self.activation]
        activations: Activations = {}
        x = inputs.reshape(len(inputs), -1)
        size = x.shape[1]
        x = _dense_layers("encoder", self.hidden, self.activation, x, activations)
        code = activations["code"] = activate(nn.Dense(self.code, name="code")(x))
        mirrored = tuple(reversed(self.hidden))
        x = _dense_layers("decoder", mirrored, self.activation, code, activations)
        activations["reconstruction"] = nn.Dense(size, name="reconstruction")(x)
        return _softmax_layer(self.num_classes, code, activations), activations


def _sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    """The sizes as a tuple: a list could not be hashed, as jit asks."""
    return tuple(checks.at_least(name, size, 1) for size in checks.sequence(name, sizes))


def _dense_layers(
    prefix: str, sizes: Sequence[int], activation: str, x: jax.Array, activations: Activations
) -> jax.Array:
    """Dense layers named prefix_0, ...; what leaves them is noted in `activations`."""
    activate = ACTIVATIONS[activation]
    for i, size in enumerate(sizes):
        name = f"{prefix}_{i}"
        x = activations[name] = activate(nn.Dense(size, name=name)(x))
    return x


def _softmax_layer(num_classes: int, x: jax.Array, activations: Activations) -> jax.Array:
    """The logits; the probabilities are noted in `activations`."""
    logits = nn.Dense(num_classes, name="softmax")(x)
    activations["softmax"] = nn.softmax(logits)
    return logits

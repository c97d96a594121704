"""Training with Adam, and saving and restoring parameters.

Axis letters: B examples of a batch, E examples, k classes.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

from mofn_jax import checks
from mofn_jax.data import Dataset, Split

Params = Any


class TrainResult(NamedTuple):
    """Trained parameters, and how training went."""

    params: Params
    history: dict[str, np.ndarray]  # by name of the metric, a value for each epoch: [num_epochs]


def loss(
    network: nn.Module, params: Params, inputs: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean cross-entropy in nats, and for a network that reconstructs its inputs the mean squared
    error of the reconstruction on top.

    Args:
      network: returns logits and activations by name; one named `reconstruction` is compared with
        the inputs.
      params: its parameters.
      inputs: [B, ...].
      labels: [B] int32.

    Returns:
      The loss, a scalar, and how many of the examples are put in their class, int32.
    """
    logits, activations = network.apply({"params": params}, inputs)
    total = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    if "reconstruction" in activations:
        reconstruction = activations["reconstruction"]
        total += jnp.mean((reconstruction - inputs.reshape(reconstruction.shape)) ** 2)
    return total, (logits.argmax(-1) == labels).sum()


@partial(jax.jit, static_argnames="network")
def train_step(
    network: nn.Module,
    params: Params,
    state: optax.OptState,
    inputs: jax.Array,
    labels: jax.Array,
    learning_rate: float,
) -> tuple[Params, optax.OptState, tuple[jax.Array, jax.Array]]:
    """A step of Adam on a batch (inputs [B, ...], labels [B]).

    Returns:
      Parameters, state, and of the batch before the step what `loss` returns.
    """
    value, gradient = jax.value_and_grad(loss, argnums=1, has_aux=True)(
        network, params, inputs, labels
    )
    updates, state = optax.adam(learning_rate).update(gradient, state, params)
    return optax.apply_updates(params, updates), state, value


@partial(jax.jit, static_argnames="network")
def _count_right(network, params, inputs, labels):
    logits, _ = network.apply({"params": params}, inputs)
    return (logits.argmax(-1) == labels).sum()


def accuracy(network: nn.Module, params: Params, split: Split, *, batch_size: int = 1024) -> float:
    """The share of a split's examples, all of them, that the network puts in their class."""
    right = 0
    for start in range(0, len(split.labels), batch_size):
        stop = start + batch_size
        right += int(
            _count_right(network, params, split.inputs[start:stop], split.labels[start:stop])
        )
    return right / len(split.labels)


def train(
    key: jax.Array,
    network: nn.Module,
    dataset: Dataset,
    *,
    num_epochs: int = 10,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    callback: Callable[[int, Mapping[str, float]], None] | None = None,
) -> TrainResult:
    """Trains a network with Adam.

    Every example is seen once an epoch, in an order drawn from the key; the last batch may be
    smaller. The same key gives the same parameters on the same machine.

    Args:
      key: of the parameters' start and the order of examples.
      network: returns logits and activations by name.
      dataset: what to learn.
      num_epochs: at least 1.
      batch_size: at least 1.
      learning_rate: of Adam.
      callback: called after each epoch with its number, from 1, and its metrics: `loss` and
        `train_accuracy`, means over the epoch's examples as each came up, and `test_accuracy`.

    Returns:
      The parameters, and the metrics of each epoch.

    Raises:
      ValueError: num_epochs or batch_size below 1, learning_rate negative, inputs not finite,
        labels outside 0..k-1, or a network with fewer classes than the dataset.
    """
    num_epochs = checks.at_least("num_epochs", num_epochs, 1)
    batch_size = checks.at_least("batch_size", batch_size, 1)
    checks.non_negative("learning_rate", learning_rate)
    for name, split in (("train", dataset.train), ("test", dataset.test)):
        checks.matrix(f"{name}.inputs", split.inputs, [None] * np.ndim(split.inputs))
        checks.class_labels(f"{name}.labels", split.labels, dataset.num_classes, len(split.inputs))
    inputs, labels = dataset.train
    start_key, order_key = jax.random.split(key)
    # Compiled as one: each initializer by itself takes as long.
    init = jax.jit(lambda *arguments: network.init_with_output(*arguments))
    (logits, _), variables = init(start_key, inputs[:1])
    if logits.shape[-1] < dataset.num_classes:
        raise ValueError(
            f"network: tells {logits.shape[-1]} classes apart, the dataset has "
            f"{dataset.num_classes}"
        )
    params = variables["params"]
    state = optax.adam(learning_rate).init(params)
    history: dict[str, list[float]] = {}
    for epoch in range(1, num_epochs + 1):
        order = np.asarray(
            jax.random.permutation(jax.random.fold_in(order_key, epoch), len(labels))
        )
        losses, right = [], []
        for start in range(0, len(labels), batch_size):
            batch = order[start : start + batch_size]
            params, state, (value, count) = train_step(
                network, params, state, inputs[batch], labels[batch], learning_rate
            )
            losses.append(value * len(batch))
            right.append(count)
        metrics = {
            "loss": float(sum(losses)) / len(labels),
            "train_accuracy": int(sum(right)) / len(labels),
            "test_accuracy": accuracy(network, params, dataset.test),
        }
        for name, value in metrics.items():
            history.setdefault(name, []).append(value)
        if callback is not None:
            callback(epoch, metrics)
    return TrainResult(params, {name: np.array(values) for name, values in history.items()})


def save_params(path: str | os.PathLike[str], params: Params) -> None:
    """Saves parameters in a folder, whole or not at all, in place of any that were there.

    Of several processes, the one that calls this saves them, without the others.
    """
    with _checkpointer() as checkpointer:
        # As NumPy arrays: restored on any device, whichever they were trained on.
        checkpointer.save(Path(path).absolute(), jax.tree.map(np.asarray, params), force=True)


def restore_params(path: str | os.PathLike[str]) -> Params:
    """The parameters that `save_params` saved, as NumPy arrays.

    Raises:
      ValueError: no parameters there.
    """
    path = Path(path).absolute()
    try:
        with _checkpointer() as checkpointer:
            return checkpointer.restore(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"path: no parameters in {path}") from error


def _checkpointer() -> ocp.StandardCheckpointer:
    own = jax.process_index()  # by default, all processes wait for each other
    return ocp.StandardCheckpointer(
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=own, active_processes={own}
        )
    )

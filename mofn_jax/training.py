"""Training with Adam, and saving and restoring parameters.

Axis letters: B examples of a batch, E examples, k classes.
"""

import contextlib
import errno
import io
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import tensorstore

from mofn_jax import checks
from mofn_jax.data import Dataset, Split

Params = Any

# The files that Orbax writes for parameters: those that are always there, and all.
_MARKS = ("_METADATA", "manifest.ocdbt")
_SAVED = re.compile(
    r"_METADATA|_CHECKPOINT_METADATA|_sharding|commit_success\.txt"
    r"|array_metadatas(/process_\d+)?|descriptor(/descriptor\.pbtxt)?"
    r"|ocdbt\.process_\d+|(ocdbt\.process_\d+/)?(manifest\.ocdbt|d(/[0-9a-f]{32})?)"
)
_OVERHEAD_BYTES = 2**16  # of what is saved beside the arrays


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
      ValueError: no key, network or dataset; num_epochs or batch_size below 1, learning_rate
        negative, inputs not finite or of other shapes in the two splits, labels outside 0..k-1, or
        a network with fewer classes than the dataset, or that does not take its inputs.
    """
    _check_key(key)
    checks.instance("network", network, nn.Module)
    checks.instance("dataset", dataset, Dataset)
    checks.callback("callback", callback)
    num_epochs = checks.at_least("num_epochs", num_epochs, 1)
    batch_size = checks.at_least("batch_size", batch_size, 1)
    learning_rate = checks.non_negative("learning_rate", learning_rate)
    num_classes = checks.at_least("dataset.num_classes", dataset.num_classes, 1)
    splits: list[Split] = []
    for name, split in (("dataset.train", dataset.train), ("dataset.test", dataset.test)):
        inputs, labels = checks.instance(name, split, Split)
        inputs = checks.numbers(f"{name}.inputs", inputs, 1)
        if splits:
            inputs = checks.matrix(f"{name}.inputs", inputs, [None, *splits[0].inputs.shape[1:]])
        labels = checks.class_labels(f"{name}.labels", labels, num_classes, len(inputs))
        splits.append(Split(inputs, labels))
    (inputs, labels), test = splits
    start_key, order_key = jax.random.split(key)
    # Compiled as one: each initializer by itself takes as long.
    init = jax.jit(lambda *arguments: network.init_with_output(*arguments))
    outputs, variables = init(start_key, inputs[:1])
    try:
        (logits, activations), params = outputs, variables["params"]
        num_told = logits.shape[-1]
        if logits.shape != (1, num_told) or not isinstance(activations, Mapping):
            raise TypeError
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(
            "network: expected one with parameters that returns logits [E, k] and activations by "
            "name, as MLP does"
        ) from error
    if num_told < num_classes:
        raise ValueError(f"network: tells {num_told} classes apart, the dataset has {num_classes}")
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
            "test_accuracy": accuracy(network, params, test),
        }
        for name, value in metrics.items():
            history.setdefault(name, []).append(value)
        if callback is not None:
            callback(epoch, metrics)
    return TrainResult(params, {name: np.array(values) for name, values in history.items()})


def _check_key(key: Any) -> None:
    try:
        jax.eval_shape(jax.random.split, key)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"key: expected one key, such as jax.random.key(0), got {key!r}"
        ) from error


def save_params(path: str | os.PathLike[str], params: Params) -> None:
    """Saves parameters in a folder, whole or not at all, in place of any that were there.

    Of several processes, the one that calls this saves them, without the others.

    Args:
      path: the folder.
      params: a tree of arrays; they come back in dictionaries and lists.

    Raises:
      ValueError: something else than earlier parameters is there, or what is to be saved is not a
        tree of arrays of numbers by name.
      OSError: it cannot be written there.
    """
    path = check_can_save(path)
    leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=lambda leaf: leaf is None)
    if not leaves:
        raise ValueError("params: hold no arrays")
    num_bytes, names = _OVERHEAD_BYTES, set()
    for place, leaf in leaves:
        name = f"params{jax.tree_util.keystr(place)}"
        array = checks.on_host(name, leaf)
        is_number = jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool
        if not is_number or array.dtype.itemsize > 16 or array.size == 0:
            raise ValueError(
                f"{name}: expected an array of numbers, got {array.dtype} {list(array.shape)}"
            )
        if any(not isinstance(getattr(key, "key", ""), str) for key in place):
            raise ValueError(f"{name}: expected names as keys")
        num_bytes += array.nbytes
        names.add(jax.tree_util.keystr(place, simple=True, separator="."))
    if len(names) < len(leaves):
        raise ValueError("params: names with dots in them coincide")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Orbax's threads go on for a while, and print, where a disk turns out to be full.
    if shutil.disk_usage(path.parent).free < num_bytes:
        raise OSError(
            errno.ENOSPC, f"parameters may need {num_bytes} bytes, more than left", str(path)
        )
    # Made elsewhere, as Orbax takes no brackets, backslashes, ... in names; then copied beside its
    # place, and moved there when it is whole: a kill loses neither new nor old ones.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as elsewhere,
        tempfile.TemporaryDirectory(
            prefix=f".{path.name}-", dir=path.parent, ignore_cleanup_errors=True
        ) as beside,
    ):
        made, new, old = Path(elsewhere) / "made", Path(beside) / "new", Path(beside) / "old"
        try:
            with _quiet(), _checkpointer() as checkpointer:
                # As NumPy arrays: restored on any device, whichever they were trained on.
                checkpointer.save(made, jax.tree.map(np.asarray, params))
            shutil.copytree(made, new)
        except Exception as error:  # of many kinds, as what goes wrong
            raise OSError(
                f"parameters cannot be written: {path} ({checks.reason(error)})"
            ) from None
        if path.exists():
            shutil.copymode(path, new)
            path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise


def check_can_save(path: str | os.PathLike[str]) -> Path:
    """The path, absolute, if parameters may be saved there: nothing else would be replaced.

    Raises:
      ValueError: something else than earlier parameters is there, or this process works in it.
      OSError: a folder that cannot be looked into.
    """
    path = checks.path("path", path)
    with contextlib.suppress(RuntimeError):  # links in a circle
        path = path.resolve()
    here: list[Path] = []
    with contextlib.suppress(FileNotFoundError):  # the folder where it works may be gone
        here = [Path.cwd(), *Path.cwd().parents]
    if path in here:
        raise ValueError(f"path: {path} is where this process works; expected another folder")
    if path.is_dir():
        found: set[str] = set()
        for folder, folders, files in os.walk(path, onerror=_raise):
            for place in (Path(folder) / name for name in (*folders, *files)):
                # A link is never ours.
                found.add("" if place.is_symlink() else place.relative_to(path).as_posix())
        is_ours = not found or found.issuperset(_MARKS)
        is_ours = is_ours and all(map(_SAVED.fullmatch, found))
    else:
        is_ours = not path.exists() and not path.is_symlink()
    if not is_ours:
        raise ValueError(f"path: {path} holds something else than parameters; it is left as it is")
    return path


def _raise(error: OSError) -> None:
    raise error


def restore_params(path: str | os.PathLike[str]) -> Params:
    """The parameters that `save_params` saved, as NumPy arrays.

    Raises:
      ValueError: no parameters there, or damaged ones.
    """
    path = checks.path("path", path)
    if not all((path / mark).is_file() for mark in _MARKS):
        raise ValueError(f"path: no parameters in {path}")
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as elsewhere:
            copy = shutil.copytree(path, Path(elsewhere) / "copy")  # of a name that Orbax takes
            # Each value by itself first: of a damaged one, its threads print more than they raise.
            files = {"driver": "file", "path": f"{copy}/"}
            store = tensorstore.KvStore.open({"driver": "ocdbt", "base": files}).result()
            for key in store.list().result():
                store.read(key).result()
            with _quiet(), _checkpointer() as checkpointer:
                return checkpointer.restore(copy)
    except Exception as error:  # of many kinds, as what is damaged
        raise ValueError(
            f"path: parameters in {path} cannot be read ({checks.reason(error)})"
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the threads of Orbax print of an error, which is raised as well."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _checkpointer() -> ocp.StandardCheckpointer:
    own = jax.process_index()  # by default, all processes wait for each other
    return ocp.StandardCheckpointer(
        multiprocessing_options=ocp.options.MultiprocessingOptions(
            primary_host=own, active_processes={own}
        )
    )

"""The networks of the experiments: their names, their training, and their parameters, kept."""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
from absl import flags
from tqdm import tqdm

import mofn_jax as mofn
from experiments import command_line, devices
from mofn_jax import outputs

# What to train, by name.
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "CNN": mofn.CNN,
    "VGG": partial(mofn.CNN, conv_blocks=((16, 16), (32, 32), (64, 64)), padding="SAME"),
    "Autoencoder": mofn.Autoencoder,
    "MLP": mofn.MLP,
    "SmallMLP": partial(mofn.MLP, hidden=(16, 8)),
}
ACTIVATIONS = list(mofn.networks.ACTIVATIONS)
_EPOCHS = {"CNN": 6, "VGG": 6, "Autoencoder": 10, "MLP": 10, "SmallMLP": 300}
_FEW_EXAMPLES, _EPOCHS_OF_FEW = 10_000, 20


class Case(NamedTuple):
    """A network to train on a dataset."""

    dataset: str
    network: str  # a name in NETWORKS
    activation: str
    seed: int  # of the dataset's split and of training

    def __str__(self) -> str:
        return "-".join(map(str, self)).replace("/", "_")


class Trained(NamedTuple):
    """A network with its parameters, and the data it was trained on."""

    network: nn.Module
    params: mofn.training.Params
    dataset: mofn.Dataset
    test_accuracy: float


def define_flags(
    values: flags.FlagValues, *, networks: Sequence[str], seeds: Sequence[int]
) -> None:
    """The flags of scripts that train many networks once and keep them, with these defaults."""
    define_list = partial(command_line.define_list, values)
    define_list("networks", networks, "What to train.", known=NETWORKS)
    define_list("activations", ["relu", "tanh"], "Their nonlinearities.", known=ACTIVATIONS)
    define_list("seeds", seeds, "Of the data's split and of training.")
    flags.DEFINE_string("data_dir", None, "Where TFDS keeps its datasets.", flag_values=values)
    flags.DEFINE_integer(
        "num_epochs",
        None,
        f"Epochs of training; by default {_EPOCHS}, and at least {_EPOCHS_OF_FEW} where there are "
        f"fewer than {_FEW_EXAMPLES} training examples.",
        1,
        flag_values=values,
    )
    flags.DEFINE_string(
        "trained", "runs/trained", "Where trained networks are kept.", flag_values=values
    )
    command_line.define_compilation_cache(values)


def train(
    network: nn.Module, dataset: mofn.Dataset, num_epochs: int, seed: int
) -> mofn.TrainResult:
    """Trains under a progress bar; each of several processes trains on a device of its own."""
    quiet = not devices.is_first_process()
    with tqdm(total=num_epochs, unit="epoch", desc="training", disable=quiet) as bar:

        def show(epoch: int, metrics) -> None:
            bar.set_postfix({name: f"{float(value):.4f}" for name, value in metrics.items()})
            bar.update()

        return mofn.train(
            jax.random.key(seed), network, dataset, num_epochs=num_epochs, callback=show
        )


@lru_cache(maxsize=1)  # the networks of a seed follow each other
def _load(name: str, data_dir: str | None, seed: int) -> mofn.Dataset:
    return mofn.load_dataset(name, data_dir=data_dir, seed=seed)


def _num_epochs(case: Case, options: flags.FlagValues) -> int:
    if options.num_epochs is not None:
        return options.num_epochs
    dataset = _load(case.dataset, options.data_dir, case.seed)
    least = _EPOCHS_OF_FEW if len(dataset.train.labels) < _FEW_EXAMPLES else 1
    return max(least, _EPOCHS[case.network])


def name(case: Case, options: flags.FlagValues) -> str:
    """The case and for how many epochs it is trained: what its results are kept under."""
    return f"{case}-{_num_epochs(case, options)}"


def train_or_restore(case: Case, options: flags.FlagValues) -> Trained:
    """The case's network, restored if it was trained before, trained and kept if not.

    Args:
      case: what to train.
      options: holds the flags that `define_flags` defines.

    Raises:
      flags.Error: a convolutional network for a dataset that has no images.
    """
    dataset = _load(case.dataset, options.data_dir, case.seed)
    network = NETWORKS[case.network](dataset.num_classes, activation=case.activation)
    if isinstance(network, mofn.CNN) and dataset.train.inputs.ndim != 4:
        raise flags.Error(f"networks: {case.network} needs images, {case.dataset} has none")
    folder = Path(options.trained) / name(case, options)
    done = folder / "history.json"  # written last
    if done.exists():
        params = mofn.restore_params(folder / "params")
    else:
        params, history = train(network, dataset, _num_epochs(case, options), case.seed)
        mofn.save_params(folder / "params", params)
        outputs.write_text(
            done, json.dumps({name: values.tolist() for name, values in history.items()}, indent=1)
        )
    test_accuracy = json.loads(done.read_text())["test_accuracy"][-1]
    return Trained(network, params, dataset, test_accuracy)


def cases(
    dataset: str, networks: Sequence[str], activations: Sequence[str], seeds: Sequence[int]
) -> list[Case]:
    """Every network with every activation and seed, all of the first seed first."""
    return [
        Case(dataset, network, activation, seed)
        for seed in seeds
        for network in networks
        for activation in activations
    ]

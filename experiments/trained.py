"""The networks of the experiments: their names, their training, and their parameters, kept."""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import flax.linen as nn
import jax
import numpy as np
from absl import flags
from tqdm import tqdm

import mofn_jax as mofn
from experiments import command_line, devices, kept
from mofn_jax import outputs
from mofn_jax.training import check_can_save

_PAPERS_CNN = partial(
    mofn.CNN, conv_blocks=((16,), (8,)), padding="SAME", dense_activation="linear"
)
# What to train, by name; those of the paper, whose network for cars is SmallMLP, by its data.
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "CNN": mofn.CNN,
    "VGG": partial(mofn.CNN, conv_blocks=((16, 16), (32, 32), (64, 64)), padding="SAME"),
    "Autoencoder": mofn.Autoencoder,
    "MLP": mofn.MLP,
    "SmallMLP": partial(mofn.MLP, hidden=(16, 8)),
    "PaperPromoters": partial(mofn.MLP, hidden=(25,)),
    "PaperEcoli": partial(mofn.MLP, hidden=(100,)),
    "PaperMNIST": _PAPERS_CNN,
    "PaperAutoencoder": partial(_PAPERS_CNN, unsupervised=True),
    "PaperFaces": partial(_PAPERS_CNN, conv_blocks=((20,), (10,)), dense=(256,)),
    "PaperFashion": partial(
        _PAPERS_CNN, conv_blocks=((32, 64),), kernel_size=(5, 5), dense=(1024,)
    ),
}
ACTIVATIONS = list(mofn.networks.ACTIVATIONS)
_EPOCHS = {
    **{"CNN": 6, "VGG": 6, "Autoencoder": 10, "MLP": 10, "SmallMLP": 300},
    **{"PaperPromoters": 100, "PaperEcoli": 300, "PaperMNIST": 5, "PaperAutoencoder": 10},
    **{"PaperFaces": 50, "PaperFashion": 3},
}
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
    define_list(
        "networks",
        networks,
        "The networks to train, or to take up if they are kept.",
        known=NETWORKS,
    )
    define_list(
        "activations",
        ["relu", "tanh"],
        "The nonlinearities of their layers, one after another.",
        known=ACTIVATIONS,
    )
    define_list(
        "seeds", seeds, "Seeds that draw the data's split, the first parameters and the batches."
    )
    define_training_flags(values)


def define_training_flags(values: flags.FlagValues) -> None:
    """The flags of how networks are trained and where they are kept."""
    define_data_dir(values)
    flags.DEFINE_integer(
        "num_epochs",
        None,
        f"For how many epochs networks are trained; by default {_EPOCHS}, and at least "
        f"{_EPOCHS_OF_FEW} where there are fewer than {_FEW_EXAMPLES} training examples.",
        1,
        flag_values=values,
    )
    command_line.define_folder(
        values, "trained", "runs/trained", "The folder in which trained networks are kept."
    )
    command_line.define_compilation_cache(values)


def define_data_dir(values: flags.FlagValues) -> None:
    """The flag of the folder of datasets that are not embedded."""
    command_line.define_folder(
        values,
        "data_dir",
        None,
        "The folder in which TFDS, or scikit-learn, keeps its datasets; its own by default.",
        is_written=False,
    )


def make_network(name: str, activation: str, dataset: mofn.Dataset) -> nn.Module:
    """The network of this name for a dataset.

    Raises:
      flags.Error: a convolutional network for a dataset that has no images.
    """
    network = NETWORKS[name](dataset.num_classes, activation=activation)
    if isinstance(network, mofn.CNN) and dataset.train.inputs.ndim != 4:
        raise flags.Error(f"networks: {name} needs images, {dataset.name} has none")
    return network


def before_training(network: nn.Module, inputs: np.ndarray) -> mofn.training.Params:
    """The parameters of a network as zeros: enough to name its layers.

    Args:
      network: a Linen module.
      inputs: [E, ...] inputs of it.
    """
    shapes = jax.eval_shape(network.init, jax.random.key(0), inputs)["params"]
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def check_layers(
    layers: Sequence[str] | None, cases: Sequence[Case], options: flags.FlagValues
) -> None:
    """Asks, before anything is trained, that there are layers to explain.

    Args:
      layers: names of layers, of which each network has some; None for all.
      cases: the networks.
      options: holds the flags that `define_flags` defines.

    Raises:
      flags.Error: no network, one that does not take its dataset, or a layer that none has.
    """
    names: set[str] = set()
    for case in {(case.dataset, case.network): case for case in reversed(cases)}.values():
        dataset = load(case.dataset, options.data_dir, case.seed)
        network = make_network(case.network, case.activation, dataset)
        names.update(_layer_names(network, dataset.train.inputs[:2]))
    if not names or (layers is not None and names.isdisjoint(layers)):
        raise flags.Error(
            "nothing to do: no network, activation or seed, or no network has the layers; there "
            f"are {', '.join(sorted(names)) or 'none'}"
        )
    if unknown := set(layers or ()) - names:
        images = np.zeros((2, 8, 8, 1), np.float32)
        for make in NETWORKS.values():
            unknown -= set(_layer_names(make(2), images))
    if unknown:
        raise flags.Error(f"layers: no network has {', '.join(sorted(unknown))}")


def _layer_names(network: nn.Module, inputs: np.ndarray) -> tuple[str, ...]:
    return mofn.layer_names(network, before_training(network, inputs), inputs)


def sides(dataset: mofn.Dataset, num_examples: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Inputs to find rules on, and others to measure them on.

    Of a complete table, whose two splits are the same, the others are what is left of it, or None.

    Args:
      dataset: the dataset.
      num_examples: how many training examples to take; None for all.
    """
    inputs = dataset.train.inputs
    examples = inputs[:num_examples]
    others = dataset.test.inputs
    if np.array_equal(inputs, others):
        others = inputs[len(examples) :]
    return examples, others if len(others) else None


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
def load(name: str, data_dir: str | None, seed: int) -> mofn.Dataset:
    return mofn.load_dataset(name, data_dir=data_dir, seed=seed)


def _num_epochs(case: Case, options: flags.FlagValues) -> int:
    if options.num_epochs is not None:
        return options.num_epochs
    dataset = load(case.dataset, options.data_dir, case.seed)
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
    dataset = load(case.dataset, options.data_dir, case.seed)
    network = make_network(case.network, case.activation, dataset)
    folder = Path(options.trained).expanduser() / name(case, options)
    done = folder / "history.json"  # written last
    with kept.alone_in(folder, wait=True):
        if done.exists():
            params = mofn.restore_params(folder / "params")
        else:
            check_can_save(folder / "params")
            params, history = train(network, dataset, _num_epochs(case, options), case.seed)
            mofn.save_params(folder / "params", params)
            values = {name: values.tolist() for name, values in history.items()}
            outputs.write_text(done, json.dumps(values, indent=1))
    try:
        test_accuracy = float(kept.read_json(done, dict)["test_accuracy"][-1])
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{done} holds no test accuracy; without it, it is made anew") from error
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

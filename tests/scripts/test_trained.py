"""Networks of the experiments: trained once, then restored; every name makes a network."""

import jax
import numpy as np
import pytest
from absl import flags

from experiments import trained


def options(folder, **values):
    flag_values = flags.FlagValues()
    trained.define_flags(flag_values, networks=["MLP"], seeds=[0])
    values = {"trained": folder, **values}
    flag_values(["script", *(f"--{name}={value}" for name, value in values.items())])
    return flag_values


def test_a_network_is_trained_once(tmp_path, monkeypatch):
    case = trained.Case("wine", "SmallMLP", "tanh", 1)
    first = trained.train_or_restore(case, options(tmp_path, num_epochs=3))
    monkeypatch.setattr(trained, "train", None)
    again = trained.train_or_restore(case, options(tmp_path, num_epochs=3))
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
    assert first.test_accuracy == again.test_accuracy
    assert first.network.activation == "tanh"
    assert first.network.hidden == (16, 8)


@pytest.mark.parametrize("name", list(trained.NETWORKS))
def test_every_network_takes_small_images(name):
    network = trained.NETWORKS[name](10, activation="relu")
    images = np.zeros((2, 8, 8, 1), np.float32)
    (logits, _), _ = network.init_with_output(jax.random.key(0), images)
    assert logits.shape == (2, 10)
    convolutions = sum(map(len, getattr(network, "conv_blocks", ())))
    with_two = ("CNN", "PaperMNIST", "PaperAutoencoder", "PaperFaces", "PaperFashion")
    assert convolutions == {"VGG": 6, **dict.fromkeys(with_two, 2)}.get(name, 0)


def test_cases_are_ordered_by_seed_and_named():
    cases = trained.cases("wine", ["MLP", "CNN"], ["relu"], [0, 1])
    assert list(map(str, cases)) == [
        "wine-MLP-relu-0",
        "wine-CNN-relu-0",
        "wine-MLP-relu-1",
        "wine-CNN-relu-1",
    ]


def test_results_of_other_epochs_have_another_name(tmp_path):
    case = trained.Case("wine", "SmallMLP", "relu", 0)
    assert trained.name(case, options(tmp_path, num_epochs=3)) == "wine-SmallMLP-relu-0-3"
    assert trained.name(case, options(tmp_path)) == "wine-SmallMLP-relu-0-300"
    assert trained.name(case._replace(network="MLP"), options(tmp_path)) == "wine-MLP-relu-0-20"


def test_a_cnn_needs_images(tmp_path):
    with pytest.raises(flags.Error, match="networks: CNN needs images, wine has none"):
        trained.train_or_restore(trained.Case("wine", "CNN", "relu", 0), options(tmp_path))

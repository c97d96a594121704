"""Training learns, repeats itself, counts every example, and its parameters survive the disk."""

import re
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import mofn_jax as mofn
from mofn_jax import training

WINE = mofn.load_dataset("wine")
NETWORK = mofn.MLP(3, hidden=(8,))


def same(tree, other):
    return jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), tree, other))


def test_it_learns_and_tells_how_it_went():
    seen = []
    result = mofn.train(
        jax.random.key(0),
        NETWORK,
        WINE,
        num_epochs=30,
        learning_rate=0.01,
        callback=lambda epoch, metrics: seen.append((epoch, metrics)),
    )
    assert result.history["test_accuracy"][-1] > 0.9
    assert result.history["loss"][-1] < 0.1 < result.history["loss"][0]
    assert [epoch for epoch, _ in seen] == list(range(1, 31))
    for name, values in result.history.items():
        assert values.tolist() == [metrics[name] for _, metrics in seen]


def test_same_key_same_parameters_other_key_others():
    first, again, other = (
        mofn.train(jax.random.key(seed), NETWORK, WINE, num_epochs=2).params for seed in (1, 1, 2)
    )
    assert same(first, again)
    assert not same(first, other)


def test_an_autoencoder_learns_to_reconstruct():
    network = mofn.Autoencoder(3, hidden=(16,), code=8, activation="tanh")
    start = network.init(jax.random.key(0), WINE.train.inputs[:1])["params"]
    trained = mofn.train(jax.random.key(0), network, WINE, num_epochs=30, learning_rate=0.01).params

    def squared_error(params):
        _, activations = network.apply({"params": params}, WINE.test.inputs)
        return float(((activations["reconstruction"] - WINE.test.inputs) ** 2).mean())

    assert squared_error(trained) < 0.5 * squared_error(start)
    assert training.accuracy(network, trained, WINE.test) > 0.9


@pytest.mark.parametrize("batch_size", [1, 5, 36, 100])
def test_accuracy_counts_the_last_partial_batch(batch_size):
    params = NETWORK.init(jax.random.key(0), WINE.test.inputs[:1])["params"]
    logits, _ = NETWORK.apply({"params": params}, WINE.test.inputs)
    expected = int((np.argmax(logits, -1) == WINE.test.labels).sum()) / len(WINE.test.labels)
    assert training.accuracy(NETWORK, params, WINE.test, batch_size=batch_size) == expected


def test_the_metrics_of_an_epoch_are_over_all_its_examples():
    # With a learning rate of 0 nothing moves: the mean over unequal batches is the whole's.
    result = mofn.train(
        jax.random.key(0), NETWORK, WINE, num_epochs=1, batch_size=37, learning_rate=0.0
    )
    whole, right = training.loss(NETWORK, result.params, *WINE.train)
    assert result.history["loss"][0] == pytest.approx(float(whole), rel=1e-5)
    assert result.history["train_accuracy"][0] == int(right) / len(WINE.train.labels)
    assert right == round(
        training.accuracy(NETWORK, result.params, WINE.train) * len(WINE.train.labels)
    )


def test_parameters_survive_the_disk(tmp_path):
    params = NETWORK.init(jax.random.key(0), WINE.test.inputs[:1])["params"]
    mofn.save_params(tmp_path / "params", jax.tree.map(np.zeros_like, params))
    mofn.save_params(tmp_path / "params", params)  # in place of the others
    restored = mofn.restore_params(tmp_path / "params")
    assert same(params, restored)
    logits, _ = NETWORK.apply({"params": restored}, WINE.test.inputs)
    np.testing.assert_array_equal(logits, NETWORK.apply({"params": params}, WINE.test.inputs)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_epochs": 0}, "num_epochs: expected an integer of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1, got 0"),
        ({"learning_rate": -1.0}, "learning_rate: expected a finite number of at least 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        mofn.train(jax.random.key(0), NETWORK, WINE, **options)


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.full((4, 13), np.nan), np.zeros(4, int), "train.inputs: holds NaN"),
        (np.zeros((4, 13)), np.full(4, 3), r"train.labels: expected labels in 0..2"),
        (np.zeros((4, 13)), np.zeros(5, int), r"train.labels: expected shape \[4\]"),
        (np.zeros((0, 13)), np.zeros(0, int), "train.inputs: has no elements"),
    ],
)
def test_bad_data(inputs, labels, message):
    dataset = WINE._replace(train=mofn.Split(inputs.astype(np.float32), labels))
    with pytest.raises(ValueError, match=message):
        mofn.train(jax.random.key(0), NETWORK, dataset)


def test_a_folder_without_parameters(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "none"):
        with pytest.raises(ValueError, match="path: no parameters in"):
            mofn.restore_params(tmp_path / name)


def test_a_network_with_too_few_classes():
    with pytest.raises(ValueError, match="network: tells 2 classes apart, the dataset has 3"):
        mofn.train(jax.random.key(0), mofn.MLP(2), WINE)


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_nothing_of_the_users_is_replaced(tmp_path):
    params = {"kernel": np.ones((2, 3), np.float32)}
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/today.txt").write_text("keep me")
    (tmp_path / "file").write_text("keep me too")
    mofn.save_params(tmp_path / "mixed", params)
    (tmp_path / "mixed/today.txt").write_text("keep me")
    mofn.save_params(tmp_path / "deep", params)
    (tmp_path / "deep/d/today.txt").write_text("keep me")
    for name in ("hidden", "outer"):
        mofn.save_params(tmp_path / name, params)
    (tmp_path / "hidden/_NOTES").write_text("keep me")
    (tmp_path / "outer/mine").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links/there").symlink_to(tmp_path / "notes")
    before = files_of(tmp_path)
    for name in ("notes", "file", "mixed", "deep", "hidden", "outer", "links"):
        with pytest.raises(
            ValueError, match=f"path: .*{name} holds something else than parameters"
        ):
            mofn.save_params(tmp_path / name, params)
    assert files_of(tmp_path) == before


def test_an_empty_folder_and_a_link_to_earlier_parameters_are_taken(tmp_path):
    first, second = ({"kernel": np.full(3, value)} for value in (1, 2))
    (tmp_path / "empty").mkdir()
    mofn.save_params(tmp_path / "empty", first)
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    mofn.save_params(tmp_path / "link", second)
    assert (tmp_path / "link").is_symlink()
    assert same(mofn.restore_params(tmp_path / "empty"), second)
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "link"}


@pytest.mark.parametrize("name", ["lr=[0.1]/params", "a[1]", "x\\y/params", "größe ≥ 1"])
def test_names_of_every_kind(tmp_path, name):
    for value in (1, 2):
        mofn.save_params(tmp_path / name, {"kernel": np.full(3, value)})
        assert same(mofn.restore_params(tmp_path / name), {"kernel": np.full(3, value)})
    top = name.split("/")[0]
    assert [path.name for path in tmp_path.iterdir()] == [top]


def test_not_in_place_of_where_one_works(tmp_path, monkeypatch):
    (tmp_path / "here/below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here/below")
    for path in (".", "..", tmp_path, "/"):
        with pytest.raises(ValueError, match="is where this process works"):
            mofn.save_params(path, {"kernel": np.ones(3)})


def test_a_folder_that_cannot_be_looked_into(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()

    def denied(path, **options):
        options["onerror"](PermissionError(13, "Permission denied", str(path)))
        yield from ()

    monkeypatch.setattr(training.os, "walk", denied)
    with pytest.raises(PermissionError):
        mofn.save_params(tmp_path / "mine", {"kernel": np.ones(3)})


@pytest.mark.parametrize("when", ["while they are saved", "full"])
def test_earlier_parameters_outlive_a_failure(tmp_path, monkeypatch, when):
    first, second = ({"kernel": np.full(3, value)} for value in (1, 2))
    mofn.save_params(tmp_path / "params", first)
    if when == "full":
        monkeypatch.setattr(training.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    else:

        def fail(self, path, tree):
            path.mkdir()
            (path / "half").write_text("half")
            raise RuntimeError("the disk is gone")

        monkeypatch.setattr(training.ocp.StandardCheckpointer, "save", fail)
    with pytest.raises(OSError, match=r"parameters (cannot be written|may need)"):
        mofn.save_params(tmp_path / "params", second)
    monkeypatch.undo()
    assert same(mofn.restore_params(tmp_path / "params"), first)
    assert [path.name for path in tmp_path.iterdir()] == ["params"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "params: hold no arrays"),
        (None, "params: expected an array of numbers"),
        ({"a": {"b": "text"}}, r"params\['a'\]\['b'\]: expected an array of numbers"),
        ({"a": np.array([None])}, r"params\['a'\]: expected an array of numbers"),
        ({"a": jax.random.key(0)}, r"params\['a'\]: expected an array"),
        ({"a": np.zeros((0, 3))}, r"params\['a'\]: expected an array of numbers, got .* \[0, 3\]"),
        ({1: np.ones(3)}, "expected names as keys"),
        ({"a.b": np.ones(1), "a": {"b": np.zeros(1)}}, "names with dots in them coincide"),
    ],
)
def test_what_are_no_parameters(tmp_path, params, message):
    with pytest.raises(ValueError, match=message):
        mofn.save_params(tmp_path / "params", params)
    assert not any(tmp_path.iterdir())


def test_damaged_parameters(tmp_path, capfd):
    mofn.save_params(tmp_path / "whole", {"kernel": np.ones((20, 30)), "bias": np.ones(30)})
    whole = files_of(tmp_path / "whole")
    refused = 0
    for name in whole:
        for change in (None, b"", b"{", whole[name][: len(whole[name]) // 2]):
            shutil.copytree(tmp_path / "whole", tmp_path / "copy")
            (tmp_path / "copy" / name).unlink()
            if change is not None:
                (tmp_path / "copy" / name).write_bytes(change)
            said = ""
            try:
                mofn.restore_params(tmp_path / "copy")  # not every file is needed
            except ValueError as error:
                said = str(error)
            assert re.match("$|path: (no parameters in|parameters in .* cannot be read)", said)
            refused += bool(said)
            shutil.rmtree(tmp_path / "copy")
    assert refused >= 12
    assert capfd.readouterr().err == ""


def test_parameters_are_saved_where_the_folder_of_the_process_is_gone(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    mofn.save_params(tmp_path / "params", {"a": np.ones(3)})
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(mofn.restore_params(tmp_path / "params")["a"], np.ones(3))

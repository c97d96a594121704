"""Datasets of TensorFlow Datasets: prepared, downloaded, or refused; Fashion-MNIST to its rules."""

import functools
import gzip
import http.server
import socket
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from test_data import check_dataset, rows_of

import mofn_jax as mofn
from experiments import prepare_tfds
from mofn_jax.data import load_dataset

FASHION_MNIST_ARCHIVES = Path("/usr/share/datasets/fashion-mnist")  # where Debian puts them


@contextmanager
def without_a_network():
    def refuse(*args, **kwargs):
        raise socket.gaierror("no network in this test")

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        monkeypatch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture
def no_network():
    with without_a_network():
        yield


@pytest.fixture(scope="module")
def fashion_mnist(tmp_path_factory):
    """Fashion-MNIST, prepared from Debian's package and loaded without a network."""
    if not FASHION_MNIST_ARCHIVES.is_dir():
        pytest.fail(f"no {FASHION_MNIST_ARCHIVES}: apt-get install dataset-fashion-mnist")
    data_dir = tmp_path_factory.mktemp("tensorflow_datasets")
    options = {
        "dataset": "fashion_mnist",
        "manual_dir": FASHION_MNIST_ARCHIVES,
        "data_dir": data_dir,
    }
    with without_a_network():
        prepare_tfds.main(["prepare_tfds", *(f"--{k}={v}" for k, v in options.items())])
        return load_dataset("fashion_mnist", data_dir=data_dir)


def test_prepared_fashion_mnist_is_that_of_the_archives(fashion_mnist):
    check_dataset(fashion_mnist, "fashion_mnist", (28, 28, 1), 10)
    np.testing.assert_array_equal(np.bincount(fashion_mnist.train.labels), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(fashion_mnist.test.labels), [1000] * 10)
    for split, prefix in ((fashion_mnist.train, "train"), (fashion_mnist.test, "t10k")):
        with gzip.open(FASHION_MNIST_ARCHIVES / f"{prefix}-images-idx3-ubyte.gz") as archive:
            pixels = np.frombuffer(archive.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
        # TFDS shuffles the examples.
        assert rows_of(pixels.astype(np.float32) / 255) == rows_of(split.inputs)


def test_from_fashion_mnist_to_rules(fashion_mnist):
    train = mofn.Split(*(array[:3000] for array in fashion_mnist.train))
    test = mofn.Split(*(array[:1000] for array in fashion_mnist.test))
    network = mofn.CNN(10, conv_blocks=((8,), (16,)), dense=(32,))
    small = fashion_mnist._replace(train=train, test=test)
    trained = mofn.train(jax.random.key(0), network, small, num_epochs=3)
    assert trained.history["test_accuracy"][-1] > 0.7
    results = mofn.extract_network(
        network,
        trained.params,
        train.inputs,
        held_out=test.inputs,
        betas=[0.0, 0.3],
        search="weight_order",
    )
    assert [result.name for result in results] == ["conv_0", "conv_1", "dense_0", "softmax"]
    best = results[-1].rules[0.0]
    assert np.mean([rule.held_out_skill for rule in best]) > 0.5
    conv = results[1].rules[0.3][0]
    assert conv.kernel_shape == (3, 3, 8)
    assert conv.every_position


@pytest.mark.parametrize("module", ["tensorflow", "importlib_resources"])
def test_a_missing_extra_is_named(module, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {module}: pip install \"mofn_jax\[tfds\]\""):
        load_dataset("fashion_mnist", data_dir=tmp_path)


@pytest.mark.usefixtures("no_network")
def test_an_unprepared_dataset_says_where_it_was_looked_for_and_how_to_prepare_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="'kmnist' is not prepared") as refused:
        load_dataset("kmnist", data_dir=tmp_path)
    message = str(refused.value)
    assert f"nothing in {tmp_path}/kmnist/3.0.1, and no answer from codh.rois.ac.jp" in message
    assert f'tfds.load("kmnist", data_dir="{tmp_path}")' in message
    assert "python -m experiments.prepare_tfds --dataset=kmnist" in message
    assert f"--manual_dir=FOLDER --data_dir={tmp_path}" in message
    assert not list(tmp_path.iterdir())


def test_a_network_that_never_answers_is_given_up_within_15_seconds(monkeypatch, tmp_path):
    released = threading.Event()

    def hang(*args, **kwargs):
        released.wait(60)
        raise socket.gaierror("the resolver gave up")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    started = time.monotonic()
    with pytest.raises(FileNotFoundError, match="'mnist' is not prepared"):
        load_dataset("mnist", data_dir=tmp_path)
    assert time.monotonic() - started < 15
    released.set()


class TinyTable(tfds.core.GeneratorBasedBuilder):
    """Numbers and a class out of one file to download; only a training split."""

    VERSION = tfds.core.Version("1.0.0")
    url = ""

    def _info(self):
        features = {
            "zeta": np.float32,
            "alpha": tfds.features.Tensor(shape=(2,), dtype=np.int64),
            "nested": {"b": np.bool_, "a": np.float64},
            "target": tfds.features.ClassLabel(num_classes=2),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=({key: key for key in ("zeta", "alpha", "nested")}, "target"),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(dl_manager.download(self.url))}

    def _generate_examples(self, path):
        for index, line in enumerate(path.read_text().splitlines()):
            alpha1, alpha2, a, b, zeta, target = map(int, line.split(","))
            yield (
                index,
                {
                    "zeta": zeta,
                    "alpha": [alpha1, alpha2],
                    "nested": {"a": a, "b": bool(b)},
                    "target": target,
                },
            )


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The address of a web server of the files in tmp_path / "served"."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_HEAD(self):
            if "broken" in self.path:
                self.send_error(503)
            else:
                super().do_HEAD()

    (tmp_path / "served").mkdir()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = functools.partial(Handler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def serve_table(monkeypatch, tmp_path, address):
    """20 rows whose last number is the class, 10 of each."""
    rows = np.random.default_rng(0).integers(0, 100, size=(20, 6))
    rows[:, 3] %= 2
    rows[:, 5] = np.arange(20) % 2
    np.savetxt(tmp_path / "served" / "table.csv", rows, fmt="%d", delimiter=",")
    monkeypatch.setattr(TinyTable, "url", address)
    monkeypatch.setattr(mofn.tfds, "_HOST", address)
    return rows


def test_with_a_network_a_table_is_downloaded_prepared_and_standardised(
    monkeypatch, tmp_path, server
):
    rows = serve_table(monkeypatch, tmp_path, f"{server}/table.csv")
    dataset = load_dataset("tiny_table", data_dir=tmp_path / "data", seed=1)
    check_dataset(dataset, "tiny_table", (5,), 2)
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), [8, 8])
    np.testing.assert_array_equal(np.bincount(dataset.test.labels), [2, 2])
    np.testing.assert_allclose(dataset.train.inputs.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(dataset.train.inputs.std(axis=0), 1, rtol=1e-6)
    # Columns in the order of their names: alpha (2), nested a and b, zeta.
    scaled = np.sort(np.concatenate([dataset.train.inputs, dataset.test.inputs]), axis=0)
    for scaled_column, raw_column in zip(scaled.T, np.sort(rows[:, :5], axis=0).T, strict=True):
        assert np.corrcoef(scaled_column, raw_column)[0, 1] == pytest.approx(1, abs=1e-6)

    (tmp_path / "served" / "table.csv").unlink()
    again = load_dataset("tiny_table", data_dir=str(tmp_path / "data"), seed=1)
    np.testing.assert_array_equal(dataset.train.inputs, again.train.inputs)
    other = load_dataset("tiny_table", data_dir=tmp_path / "data", seed=2)
    assert (dataset.train.labels != other.train.labels).any()


@pytest.mark.parametrize(
    ("file", "message"),
    [("absent.csv", "the download failed: .*404"), ("broken.csv", "no answer from 127.0.0.1")],
)
def test_a_failed_download_leaves_nothing_and_is_explained(
    file, message, monkeypatch, tmp_path, server
):
    serve_table(monkeypatch, tmp_path, f"{server}/{file}")
    with pytest.raises(FileNotFoundError, match=f"'tiny_table' is not prepared.*{message}"):
        load_dataset("tiny_table", data_dir=tmp_path / "data")
    assert not list(tmp_path.glob("data/tiny_table/*"))


def define(name, features, splits=None, supervised_keys=None):
    """Defines a TFDS dataset of these features, whose splits are given example by example."""

    def info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=supervised_keys,
        )

    attributes = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": info,
        "_split_generators": lambda self, _: {s: self._generate_examples(s) for s in splits},
        "_generate_examples": lambda self, split: enumerate(splits[split]),
        "__module__": __name__,
    }
    return type(name, (tfds.core.GeneratorBasedBuilder,), attributes)


CLASS = tfds.features.ClassLabel(num_classes=2)
IMAGES = np.random.default_rng(0).integers(0, 2**16, size=(5, 4, 3, 1), dtype=np.uint16)
EXAMPLES = [
    {"picture": image, "kind": index % 2, "id": f"e{index}", "boxes": list(range(index))}
    for index, image in enumerate(IMAGES)
]
NUMBER = [{"x": 1.0, "label": 0}, {"x": 2.0, "label": 1}]

TinyImages = define(
    "TinyImages",
    {
        "picture": tfds.features.Image(shape=(4, 3, 1), dtype=np.uint16),
        "kind": CLASS,
        "id": tfds.features.Text(),
        "boxes": tfds.features.Sequence(np.int64),
    },
    {"train": EXAMPLES[:3], "test": EXAMPLES[3:]},
)
TinyFloats = define(
    "TinyFloats",
    {"image": tfds.features.Image(shape=(1, 2, 1), dtype=np.float32), "label": CLASS},
    {
        "train": [
            {"image": np.float32([[[0.25], [0.5]]]), "label": 0},
            {"image": np.float32([[[0.75], [-1]]]), "label": 1},
        ],
        "test": [{"image": np.float32([[[0], [7]]]), "label": 1}],
    },
    ("image", "label"),
)
TinyUntrained = define("TinyUntrained", {"x": np.float32, "label": CLASS}, {"validation": NUMBER})
TinyUnlabelled = define(
    "TinyUnlabelled",
    {"x": np.float32, "label": CLASS},
    {"train": NUMBER, "test": [{"x": 0.0, "label": -1}]},
)
TinyHoles = define(
    "TinyHoles",
    {"x": np.float32, "label": CLASS},
    {"train": NUMBER, "test": [{"x": np.nan, "label": 0}]},
)


def prepare(builder_class, data_dir):
    builder_class(data_dir=data_dir).download_and_prepare()


def test_integer_images_are_divided_by_their_largest_value(tmp_path):
    prepare(TinyImages, tmp_path)
    dataset = load_dataset("tiny_images", data_dir=tmp_path)
    check_dataset(dataset, "tiny_images", (4, 3, 1), 2)
    assert rows_of(dataset.train.inputs) == rows_of(IMAGES[:3].astype(np.float32) / 65535)
    assert rows_of(dataset.test.inputs) == rows_of(IMAGES[3:].astype(np.float32) / 65535)


def test_float_images_are_left_as_they_are(tmp_path):
    prepare(TinyFloats, tmp_path)
    dataset = load_dataset("tiny_floats", data_dir=tmp_path)
    order = np.argsort(dataset.train.labels)
    np.testing.assert_array_equal(
        dataset.train.inputs[order].reshape(2, 2), [[0.25, 0.5], [0.75, -1]]
    )
    np.testing.assert_array_equal(dataset.test.inputs.reshape(2), [0, 7])


def test_files_to_be_fetched_by_hand_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(TinyImages, "MANUAL_DOWNLOAD_INSTRUCTIONS", "Fetch pictures.zip.")
    with pytest.raises(FileNotFoundError, match=r"fetched by hand:\nFetch pictures\.zip\."):
        load_dataset("tiny_images", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("builder_class", "name", "message"),
    [
        (TinyUntrained, "tiny_untrained", "has no train split, only validation"),
        (TinyUnlabelled, "tiny_unlabelled", "split test, labels: expected labels in 0..1"),
        (TinyHoles, "tiny_holes", "split test, inputs: holds NaN"),
    ],
)
def test_prepared_datasets_that_do_not_fit_are_refused(builder_class, name, message, tmp_path):
    prepare(builder_class, tmp_path)
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        load_dataset(name, data_dir=tmp_path)


TEXT = tfds.features.Text()
MATRIX = tfds.features.Tensor(shape=(2, 2), dtype=np.float32)
RAGGED = tfds.features.Tensor(shape=(None,), dtype=np.float32)
ANY_SIZE = tfds.features.Image(shape=(None, None, 3))
define("UnfitSizes", {"image": ANY_SIZE, "label": CLASS}, supervised_keys=("image", "label"))
define("UnfitLabel", {"x": np.float32, "y": np.float32}, supervised_keys=("x", "y"))
define("UnfitLabels", {"x": np.float32, "y": CLASS, "z": CLASS})
define(
    "UnfitInputs",
    {"e": CLASS, "d": RAGGED, "c": {"nested": MATRIX}, "b": TEXT, "a": np.float32, "label": CLASS},
    supervised_keys=({key: key for key in "abcde"}, "label"),
)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unfit_sizes", "the images of 'unfit_sizes' differ in size"),
        ("unfit_label", "the label 'y' of 'unfit_label' is not a class"),
        ("unfit_labels", "'unfit_labels' has 2 class labels"),
        ("unfit_inputs", "'unfit_inputs' has inputs that are neither .* numbers: b, c, d, e$"),
    ],
)
def test_unfit_features_are_refused_before_anything_is_downloaded(name, message, tmp_path):
    with pytest.raises(ValueError, match=f"name: {message}"):
        load_dataset(name, data_dir=tmp_path)

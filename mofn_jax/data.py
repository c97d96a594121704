"""Datasets by name: embedded in scikit-learn, generated, or from TensorFlow Datasets (TFDS).

Axis letters: E examples, n inputs.
"""

import contextlib
import importlib.util
import itertools
import os
import re
import textwrap
import threading
import urllib.parse
from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from mofn_jax import checks

_EMBEDDED = ("breast_cancer", "digits", "wine")
_GENERATED = ("mofn-3-7-10", "monks-1", "monks-2", "monks-3", "monks-3-noisy")
_MONKS_SIZES = (3, 3, 2, 3, 4, 2)  # how many values each of the six attributes has
_MONKS_NOISE = 0.05
_MAX_BITS = 16
_TEST_SHARE = 0.2
_NETWORK_SECONDS = 5.0
_TFDS_HOST = "https://storage.googleapis.com"  # asked where a dataset registers no address


class Split(NamedTuple):
    """Examples and their classes."""

    inputs: np.ndarray  # [E, height, width, channels] or [E, n] float32
    labels: np.ndarray  # [E] int32


class Dataset(NamedTuple):
    """A training and a test split; labels are 0..num_classes-1."""

    train: Split
    test: Split
    num_classes: int
    name: str


def load_dataset(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, seed: int = 0
) -> Dataset:
    """Loads a dataset by name.

    * Embedded in scikit-learn: `digits` (images [E, 8, 8, 1] in [0, 1]), `breast_cancer` and `wine`
      (tables [E, n]). 80% of each class is for training, chosen by `seed`.
    * Generated boolean tables, inputs 0 or 1: `monks-1`, `monks-2`, `monks-3` (Thrun et al., 1991:
      432 rows, six attributes one-hot in 17 inputs), `mofn-3-7-10` (1024 rows of 10 bits, on when
      at least 3 of the first 7 are), and `K-of-N` such as `3-of-5` (2^N rows, on when at least K
      bits are). A table is complete, so its training and test splits both are the whole table.
      `monks-3-noisy` flips 22 training labels (5%), chosen by `seed`, and no test label.
    * Any other name, `name/config` or `name:version`, goes to TensorFlow Datasets: classification
      from images of one size, or from numeric features, which are concatenated in the order of
      their names. Without a test split, 80% of each class of the training split is for training,
      chosen by `seed`. What is prepared under `data_dir` is read without a network; anything else
      is downloaded and prepared there. TensorFlow is told to leave GPUs to JAX.

    Images of integers are divided by the largest of their type, images of floats left as they are.
    Tables, except the boolean ones, are standardised by the mean and standard deviation of their
    training split.

    Args:
      name: which dataset.
      data_dir: where TensorFlow Datasets keeps its datasets; None for its own default.
      seed: of random splits and label noise.

    Returns:
      Splits with inputs [E, height, width, channels] or [E, n] float32 and labels [E] int32.

    Raises:
      ValueError: if the name is unknown, the dataset is not one for classification from images of
        one size or finite numbers, data_dir is no path, or the seed not an integer of 32 bits.
      FileNotFoundError: if a TensorFlow dataset is not prepared and cannot be downloaded.
      ImportError: if TensorFlow is missing and needed.

    Example:
      >>> dataset = load_dataset("monks-2")
      >>> dataset.train.inputs.shape, int(dataset.train.labels.sum())
      ((432, 17), 142)
    """
    checks.instance("name", name, str)
    seed = checks.seed(seed)
    folder = None if data_dir is None else os.fspath(checks.path("data_dir", data_dir))
    if name in _EMBEDDED:
        return _load_embedded(name, seed)
    if name in _GENERATED or re.fullmatch(r"[0-9]{1,4}-of-[0-9]{1,4}", name):
        return _generate(name, seed)
    # No namespaces and no builder arguments: TFDS would ask the network about them.
    if re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        return _load_tfds(name, folder, seed)
    raise _unknown_name(name)


def _unknown_name(name: str) -> ValueError:
    return ValueError(
        f"name: unknown dataset {name!r}; embedded are {', '.join(_EMBEDDED)}; generated are "
        f"{', '.join(_GENERATED)} and K-of-N (such as 3-of-5); any other name is looked up in "
        "TensorFlow Datasets"
    )


def _load_embedded(name: str, seed: int) -> Dataset:
    import sklearn.datasets

    data = getattr(sklearn.datasets, f"load_{name}")()
    labels = data.target.astype(np.int32)
    if name == "digits":
        whole = Split(data.images[..., None].astype(np.float32) / 16, labels)
        train, test = _stratified_split(whole, seed)
    else:
        train, test = _standardise(*_stratified_split(Split(data.data, labels), seed))
    return Dataset(train, test, num_classes=len(data.target_names), name=name)


def _stratified_split(whole: Split, seed: int) -> tuple[Split, Split]:
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(
        np.arange(len(whole.labels)),
        test_size=_TEST_SHARE,
        stratify=whole.labels,
        random_state=seed,
    )
    return (
        Split(whole.inputs[train], whole.labels[train]),
        Split(whole.inputs[test], whole.labels[test]),
    )


def _standardise(train: Split, test: Split) -> tuple[Split, Split]:
    mean, deviation = train.inputs.mean(axis=0), train.inputs.std(axis=0)
    deviation[deviation == 0] = 1

    def scale(split: Split) -> Split:
        return split._replace(inputs=((split.inputs - mean) / deviation).astype(np.float32))

    return scale(train), scale(test)


def _generate(name: str, seed: int) -> Dataset:
    if name.startswith("monks"):
        inputs, positive = _monks(name.removesuffix("-noisy"))
    elif name == "mofn-3-7-10":
        inputs = _all_rows(10)
        positive = inputs[:, :7].sum(axis=1) >= 3
    else:
        needed, num_bits = (int(part) for part in name.split("-of-"))
        if not 1 <= needed <= num_bits <= _MAX_BITS:
            raise ValueError(f"name: expected K-of-N with 1 <= K <= N <= {_MAX_BITS}, got {name!r}")
        inputs = _all_rows(num_bits)
        positive = inputs.sum(axis=1) >= needed
    labels = positive.astype(np.int32)
    train = test = Split(inputs.astype(np.float32), labels)
    if name == "monks-3-noisy":
        flipped = np.random.default_rng(seed).permutation(len(labels))
        flipped = flipped[: round(_MONKS_NOISE * len(labels))]
        noisy = labels.copy()
        noisy[flipped] = 1 - noisy[flipped]
        train = train._replace(labels=noisy)
    return Dataset(train, test, num_classes=2, name=name)


def _all_rows(num_bits: int) -> np.ndarray:
    """Every row of bits in counting order, [2^n, n]."""
    return np.array(list(itertools.product((0, 1), repeat=num_bits)))


def _monks(problem: str) -> tuple[np.ndarray, np.ndarray]:
    """One-hot attributes [432, 17] and which rows are positive [432]."""
    rows = np.array(list(itertools.product(*(range(1, size + 1) for size in _MONKS_SIZES))))
    a1, a2, _, a4, a5, _ = rows.T
    positive = {
        "monks-1": (a1 == a2) | (a5 == 1),
        "monks-2": (rows == 1).sum(axis=1) == 2,
        "monks-3": ((a5 == 3) & (a4 == 1)) | ((a5 != 4) & (a2 != 3)),
    }[problem]
    one_hot = [
        column[:, None] == np.arange(1, size + 1)
        for column, size in zip(rows.T, _MONKS_SIZES, strict=True)
    ]
    return np.concatenate(one_hot, axis=1), positive


def import_tfds() -> ModuleType:
    """TensorFlow Datasets, imported when it is asked for: it is slow, and TensorFlow an extra.

    Raises:
      ImportError: saying what to install.
    """
    # Looked for, not imported: TFDS imports both only when it first uses them.
    needed = ("tensorflow", "importlib_resources")
    if missing := [module for module in needed if importlib.util.find_spec(module) is None]:
        raise ImportError(
            "datasets that are neither embedded nor generated come from TensorFlow Datasets, "
            f'which needs {" and ".join(missing)}: pip install "mofn_jax[tfds]"'
        )
    import tensorflow_datasets

    return tensorflow_datasets


def _load_tfds(name: str, data_dir: str | None, seed: int) -> Dataset:
    tfds = import_tfds()
    builder = _find_builder(tfds, name, data_dir)
    features = builder.info.features
    inputs, label = _feature_names(tfds, name, builder.info)
    is_image = isinstance(features[inputs[0]], tfds.features.Image)
    num_classes = features[label].num_classes
    if not builder.data_path.exists():
        _download(tfds, builder, name)
    splits = builder.info.splits
    if "train" not in splits:
        raise ValueError(f"name: {name!r} has no train split, only {', '.join(sorted(splits))}")
    _keep_tensorflow_off_gpus()
    needed = dict.fromkeys((*inputs, label), True)
    # Other features may be large, or not stack to one array.
    decoders = tfds.decode.PartialDecoding(needed) if set(features) - set(needed) else None

    def read(split_name: str) -> Split:
        dataset = builder.as_dataset(split=split_name, batch_size=-1, decoders=decoders)
        arrays = dict(tfds.as_numpy(dataset))
        origin = f"{name}, split {split_name}"
        labels = checks.class_labels(f"{origin}, labels", arrays.pop(label), num_classes)
        columns = jax.tree.leaves(arrays)  # in the order of their names
        if is_image:
            return Split(_scale_image(columns[0]), labels)
        table = np.concatenate([c.reshape(len(c), -1).astype(np.float64) for c in columns], axis=1)
        return Split(checks.matrix(f"{origin}, inputs", table, [None, None]), labels)

    if "test" in splits:
        train, test = read("train"), read("test")
    else:
        train, test = _stratified_split(read("train"), seed)
    if not is_image:
        train, test = _standardise(train, test)
    return Dataset(train, test, num_classes, name)


def _find_builder(tfds: ModuleType, name: str, data_dir: str | None) -> Any:
    """What is on disk, whichever its version; else a builder that could prepare it."""
    from tensorflow_datasets.core import read_only_builder

    with contextlib.suppress(tfds.core.DatasetNotFoundError):
        return read_only_builder.builder_from_files(name, data_dir=data_dir)
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise _unknown_name(name) from None
    except (AssertionError, ValueError) as error:
        raise ValueError(f"name: no such configuration or version: {error}") from None


def _feature_names(tfds: ModuleType, name: str, info: Any) -> tuple[list[str], str]:
    """The names of the input features, one image or numeric ones, and of the label."""
    features: Mapping[str, Any] = info.features
    if info.supervised_keys:
        tree, label = info.supervised_keys[:2]
        inputs = jax.tree.leaves(tree)
    else:
        labels = [key for key, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
        if len(labels) != 1:
            raise ValueError(f"name: {name!r} has {len(labels)} class labels; expected one")
        label = labels[0]
        images = [key for key, f in features.items() if isinstance(f, tfds.features.Image)]
        inputs = images if len(images) == 1 else [key for key in features if key != label]
    if not isinstance(features[label], tfds.features.ClassLabel):
        raise ValueError(f"name: the label {label!r} of {name!r} is not a class")
    if len(inputs) == 1 and isinstance(features[inputs[0]], tfds.features.Image):
        if None in features[inputs[0]].shape:
            raise ValueError(f"name: the images of {name!r} differ in size; expected one size")
    elif unfit := sorted(key for key in inputs if not _is_numeric(tfds, features[key])):
        raise ValueError(
            f"name: {name!r} has inputs that are neither one image nor numbers: {', '.join(unfit)}"
        )
    return inputs, label


def _is_numeric(tfds: ModuleType, feature: Any) -> bool:
    """Whether a feature is a number, a vector of them, or a dictionary of such features."""
    if isinstance(feature, tfds.features.FeaturesDict):
        return all(_is_numeric(tfds, part) for part in feature.values())
    # Their subclasses are texts, classes, boxes.
    is_plain = type(feature) in (tfds.features.Scalar, tfds.features.Tensor)
    return (
        is_plain
        and np.dtype(feature.np_dtype).kind in "fiub"
        and len(feature.shape) < 2
        and None not in feature.shape
    )


def _scale_image(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    largest = np.float32(np.iinfo(pixels.dtype).max)
    return np.divide(pixels, largest, dtype=np.float32)


def _keep_tensorflow_off_gpus() -> None:
    """TensorFlow would otherwise take all memory of the GPUs that JAX computes on."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # already initialised: its user has decided
        tf.config.set_visible_devices([], "GPU")


def _download(tfds: ModuleType, builder: Any, name: str) -> None:
    """Downloads and prepares a dataset, or says soon how to: TFDS retries a dead network long."""
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        instructions = textwrap.dedent(builder.MANUAL_DOWNLOAD_INSTRUCTIONS).strip()
        raise _not_prepared(builder, name, f"its files are fetched by hand:\n{instructions}")
    addresses = (url for url in builder.url_infos or () if url.startswith("http"))
    address = next(addresses, _TFDS_HOST)
    if not _answers(address):
        host = urllib.parse.urlsplit(address).netloc
        raise _not_prepared(builder, name, f"no answer from {host}, so it was not downloaded")
    try:
        builder.download_and_prepare()
    except (OSError, tfds.download.DownloadError) as error:
        raise _not_prepared(builder, name, f"the download failed: {error}") from error


def _not_prepared(builder: Any, name: str, reason: str) -> FileNotFoundError:
    root = os.fspath(builder.data_dir_root)
    load = f'import tensorflow_datasets as tfds; tfds.load("{name}", data_dir="{root}")'
    return FileNotFoundError(
        f"dataset {name!r} is not prepared: nothing in {builder.data_dir}, and {reason}\n"
        "To prepare it with a network, if its files need not be fetched by hand:\n"
        f"  python -c '{load}'\n"
        "To prepare it without one, from its archives in a folder:\n"
        f"  python -m experiments.prepare_tfds --dataset={name} --manual_dir=FOLDER "
        f"--data_dir={root}"
    )


def _answers(address: str) -> bool:
    """Whether a server answers in time, asked in a thread: looking up a name has no timeout."""
    import requests

    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError):
            if requests.head(address, timeout=_NETWORK_SECONDS).status_code < 500:
                answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_NETWORK_SECONDS)
    return answered.is_set()

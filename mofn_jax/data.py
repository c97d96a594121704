"""Datasets by name: embedded, generated, or from scikit-learn or TensorFlow Datasets (TFDS).

Axis letters: E examples, n inputs.
"""

import contextlib
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mofn_jax import checks, tables, tfds
from mofn_jax.downloads import not_prepared, responds
from mofn_jax.names import Names
from mofn_jax.tables import Examples

_GENERATED = ("mofn-3-7-10", "monks-1", "monks-2", "monks-3", "monks-3-noisy")
_MONKS_NOISE = 0.05
_MAX_BITS = 16
_TEST_SHARE = 0.2
OLIVETTI_FILE = "olivetti_py3.pkz"  # scikit-learn's name for it
_OLIVETTI_HOST = "https://ndownloader.figshare.com"


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
    class_names: tuple[str, ...] | None = None  # where the classes have names
    feature_names: tuple[str, ...] | None = None  # [n], of a table whose columns have names
    feature_scaling: np.ndarray | None = None  # [n, 2]: of a table's own units, see `Names`

    @property
    def names(self) -> Names:
        """What its inputs and classes are called, to give to `extract_network` and others."""
        return Names(self.feature_names, self.class_names, self.feature_scaling)


def load_dataset(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, seed: int = 0
) -> Dataset:
    """Loads a dataset by name.

    * Embedded: `digits` (images [E, 8, 8, 1] in [0, 1]), and tables [E, n]: `breast_cancer`, `wine`
      (all three of scikit-learn), `ecoli` (336 proteins, 7 measures, 8 classes: Nakai, 1996),
      `promoters` (106 sequences of 57 nucleotides, one-hot in 228 inputs: Towell et al., 1990) and
      `car` (1,728 cars, six attributes one-hot in 21 inputs, 4 classes: Bohanec and Rajkovic,
      1988). 80% of each class is for training, chosen by `seed`.
    * `olivetti`: scikit-learn's Olivetti faces, 400 images [E, 64, 64, 1] in [0, 1] of 40 people,
      split in the same way. Read from `data_dir`, or downloaded there.
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
    Tables, except the boolean ones, `car` and `promoters`, are standardised by the mean and
    standard deviation of their training split, which `feature_scaling` holds.

    Args:
      name: which dataset.
      data_dir: where scikit-learn or TensorFlow Datasets keeps its datasets; None for its default.
      seed: of random splits and label noise.

    Returns:
      Splits with inputs [E, height, width, channels] or [E, n] float32 and labels [E] int32.

    Raises:
      ValueError: if the name is unknown, the dataset is not one for classification from images of
        one size or finite numbers, data_dir is no path, or the seed not an integer of 32 bits.
      FileNotFoundError: if a dataset is not there and cannot be downloaded.
      ImportError: if TensorFlow is missing and needed.

    Examples:
      >>> dataset = load_dataset("car")
      >>> dataset.train.inputs.shape, dataset.class_names, dataset.feature_names[-1]
      ((1382, 21), ('unacc', 'acc', 'good', 'vgood'), 'safety=high')
    """
    checks.instance("name", name, str)
    seed = checks.seed(seed)
    folder = None if data_dir is None else os.fspath(checks.path("data_dir", data_dir))
    if name in _EMBEDDED:
        return _dataset(name, seed, _EMBEDDED[name]())
    if name == "olivetti":
        return _dataset(name, seed, _olivetti(folder))
    if name in _GENERATED or re.fullmatch(r"[0-9]{1,4}-of-[0-9]{1,4}", name):
        return _generate(name, seed)
    # No namespaces and no builder arguments: TFDS would ask the network about them.
    if re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        with contextlib.suppress(tfds.UnknownName):
            return _dataset(name, seed, *tfds.read(name, folder))
    raise ValueError(
        f"name: unknown dataset {name!r}; embedded are {', '.join(_EMBEDDED)}; generated are "
        f"{', '.join(_GENERATED)} and K-of-N (such as 3-of-5); olivetti is scikit-learn's; any "
        "other name is looked up in TensorFlow Datasets"
    )


def _dataset(name: str, seed: int, train: Examples, test: Examples | None = None) -> Dataset:
    """The dataset of these examples, split by class if they are not yet."""
    splits = [Split(*some[:2]) for some in (train, test) if some is not None]
    if test is None:
        splits = _stratified_split(splits[0], seed)
    scaling = None
    if train.inputs.ndim == 2 and train.inputs.dtype != bool:
        splits, scaling = _standardise(*splits)
    first, second = (
        Split(inputs.astype(np.float32, copy=False), labels.astype(np.int32, copy=False))
        for inputs, labels in splits
    )
    names = train.class_names
    num_classes = int(train.labels.max()) + 1 if names is None else len(names)
    return Dataset(first, second, num_classes, name, names, train.feature_names, scaling)


def _stratified_split(whole: Split, seed: int) -> list[Split]:
    from sklearn.model_selection import train_test_split

    parts = train_test_split(
        np.arange(len(whole.labels)),
        test_size=_TEST_SHARE,
        stratify=whole.labels,
        random_state=seed,
    )
    return [Split(whole.inputs[part], whole.labels[part]) for part in parts]


def _standardise(train: Split, test: Split) -> tuple[list[Split], np.ndarray]:
    """The splits in standard deviations from the mean, and both, [n, 2]."""
    mean, deviation = train.inputs.mean(axis=0), train.inputs.std(axis=0)
    deviation[deviation == 0] = 1
    splits = [split._replace(inputs=(split.inputs - mean) / deviation) for split in (train, test)]
    return splits, np.stack([mean, deviation], axis=1)


def _of_scikit_learn(name: str) -> Examples:
    import sklearn.datasets

    data = getattr(sklearn.datasets, f"load_{name}")()
    class_names = tuple(map(str, data.target_names))
    if name == "digits":
        return Examples(data.images[..., None] / np.float32(16), data.target, class_names)
    return Examples(data.data, data.target, class_names, tuple(map(str, data.feature_names)))


_EMBEDDED: dict[str, Callable[[], Examples]] = {
    "breast_cancer": partial(_of_scikit_learn, "breast_cancer"),
    "car": tables.car,
    "digits": partial(_of_scikit_learn, "digits"),
    "ecoli": tables.ecoli,
    "promoters": tables.promoters,
    "wine": partial(_of_scikit_learn, "wine"),
}


def _olivetti(data_dir: str | None) -> Examples:
    import sklearn.datasets

    folder = Path(sklearn.datasets.get_data_home() if data_dir is None else data_dir)
    path = folder / OLIVETTI_FILE
    fetch = partial(sklearn.datasets.fetch_olivetti_faces, data_home=folder, n_retries=1)
    not_there = partial(
        not_prepared,
        "olivetti",
        folder,
        load="from sklearn.datasets import fetch_olivetti_faces; "
        f'fetch_olivetti_faces(data_home="{folder}")',
        prepare=f"prepare_olivetti --images=FOLDER --data_dir={folder}",
    )
    if not path.exists():
        if not responds(_OLIVETTI_HOST):
            host = _OLIVETTI_HOST.removeprefix("https://")
            raise not_there(f"no answer from {host}, so it was not downloaded")
        try:
            fetch()
        except OSError as error:
            raise not_there(f"the download failed: {error}") from error
    try:
        faces = fetch(download_if_missing=False)
    except Exception as error:  # of many kinds, as what is damaged
        raise ValueError(
            f"data_dir: {path} cannot be read ({checks.reason(error)}); without it, it is made anew"
        ) from None
    return Examples(faces.images[..., None], faces.target)


def _generate(name: str, seed: int) -> Dataset:
    if name.startswith("monks"):
        examples = tables.monks(name.removesuffix("-noisy"))
    elif name == "mofn-3-7-10":
        bits = tables.all_rows(10)
        examples = Examples(bits, bits[:, :7].sum(axis=1) >= 3)
    else:
        needed, num_bits = (int(part) for part in name.split("-of-"))
        if not 1 <= needed <= num_bits <= _MAX_BITS:
            raise ValueError(f"name: expected K-of-N with 1 <= K <= N <= {_MAX_BITS}, got {name!r}")
        bits = tables.all_rows(num_bits)
        examples = Examples(bits, bits.sum(axis=1) >= needed)
    labels = examples.labels.astype(np.int32)
    train = test = Split(examples.inputs.astype(np.float32), labels)
    if name == "monks-3-noisy":
        flipped = np.random.default_rng(seed).permutation(len(labels))
        flipped = flipped[: round(_MONKS_NOISE * len(labels))]
        noisy = labels.copy()
        noisy[flipped] = 1 - noisy[flipped]
        train = train._replace(labels=noisy)
    return Dataset(train, test, 2, name, feature_names=examples.feature_names)

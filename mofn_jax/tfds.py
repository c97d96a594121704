"""Datasets of TensorFlow Datasets (TFDS), which is slow to import and fetches TensorFlow.

Axis letters: E examples, n inputs.
"""

import contextlib
import importlib.util
import os
import textwrap
import urllib.parse
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import numpy as np

from mofn_jax import checks
from mofn_jax.downloads import not_prepared, responds
from mofn_jax.tables import Examples

_HOST = "https://storage.googleapis.com"  # asked where a dataset registers no address


class UnknownName(Exception):
    """TensorFlow Datasets has no dataset of this name."""


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


def read(name: str, data_dir: str | None) -> tuple[Examples, Examples | None]:
    """The train split of a dataset, downloaded and prepared if it is not, and its test split.

    Args:
      name: `name`, `name/config` or `name:version`.
      data_dir: where TensorFlow Datasets keeps its datasets; None for its own default.

    Returns:
      Examples of images of one size, scaled to floats, or of numeric features side by side; None
      for a dataset that has no test split. There are as many classes as names of them.

    Raises:
      UnknownName: no dataset of this name.
      ValueError: not one for classification from images of one size or finite numbers.
      FileNotFoundError: not prepared, and it cannot be downloaded.
      ImportError: TensorFlow is missing.
    """
    tfds = import_tfds()
    builder = _find_builder(tfds, name, data_dir)
    features = builder.info.features
    inputs, label = _feature_names(tfds, name, builder.info)
    is_image = isinstance(features[inputs[0]], tfds.features.Image)
    if not builder.data_path.exists():
        _download(tfds, builder, name)
    splits = builder.info.splits
    if "train" not in splits:
        raise ValueError(f"name: {name!r} has no train split, only {', '.join(sorted(splits))}")
    _keep_tensorflow_off_gpus()
    needed = dict.fromkeys((*inputs, label), True)
    # Other features may be large, or not stack to one array.
    decoders = tfds.decode.PartialDecoding(needed) if set(features) - set(needed) else None
    class_names = tuple(features[label].names)

    def read_split(split_name: str) -> Examples:
        dataset = builder.as_dataset(split=split_name, batch_size=-1, decoders=decoders)
        arrays = dict(tfds.as_numpy(dataset))
        origin = f"{name}, split {split_name}"
        labels = arrays.pop(label)
        labels = checks.class_labels(f"{origin}, labels", labels, len(class_names))
        columns = jax.tree_util.tree_leaves_with_path(arrays)  # in the order of their names
        if is_image:
            return Examples(_scale_image(columns[0][1]), labels, class_names)
        tables = [values.reshape(len(values), -1).astype(np.float64) for _, values in columns]
        feature_names: list[str] = []
        for (place, values), table in zip(columns, tables, strict=True):
            own = jax.tree_util.keystr(place, simple=True, separator="/")
            numbered = [f"{own}[{i}]" for i in range(table.shape[1])]
            feature_names += [own] if values.ndim == 1 else numbered
        table = np.concatenate(tables, axis=1)
        table = checks.matrix(f"{origin}, inputs", table, [None, None])
        return Examples(table, labels, class_names, tuple(feature_names))

    return read_split("train"), read_split("test") if "test" in splits else None


def _find_builder(tfds: ModuleType, name: str, data_dir: str | None) -> Any:
    """What is on disk, whichever its version; else a builder that could prepare it."""
    from tensorflow_datasets.core import read_only_builder

    with contextlib.suppress(tfds.core.DatasetNotFoundError):
        return read_only_builder.builder_from_files(name, data_dir=data_dir)
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise UnknownName(name) from None
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
    if features[label].num_classes is None:
        raise ValueError(f"name: {name!r} does not say how many classes there are")
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
    address = next(addresses, _HOST)
    if not responds(address):
        host = urllib.parse.urlsplit(address).netloc
        raise _not_prepared(builder, name, f"no answer from {host}, so it was not downloaded")
    try:
        builder.download_and_prepare()
    except (OSError, tfds.download.DownloadError) as error:
        raise _not_prepared(builder, name, f"the download failed: {error}") from error


def _not_prepared(builder: Any, name: str, reason: str) -> FileNotFoundError:
    root = os.fspath(builder.data_dir_root)
    load = f'import tensorflow_datasets as tfds; tfds.load("{name}", data_dir="{root}")'
    return not_prepared(
        name,
        builder.data_dir,
        reason,
        load,
        f"prepare_tfds --dataset={name} --manual_dir=FOLDER --data_dir={root}",
    )

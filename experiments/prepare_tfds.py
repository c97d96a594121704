"""Prepares a TensorFlow Datasets dataset from archives that are already on disk, with no network.

The archives may be packed anew, as those of Debian's package dataset-fashion-mnist are: sizes and
checksums of the files found are registered in place of the ones that TensorFlow Datasets knows.

    python -m experiments.prepare_tfds --dataset=fashion_mnist --manual_dir=FOLDER
"""

import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from absl import flags

from experiments import command_line
from mofn_jax import checks
from mofn_jax.tfds import import_tfds


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "dataset",
        None,
        "The dataset's name at TFDS, or name/config.",
        required=True,
        flag_values=values,
    )
    flags.DEFINE_string(
        "manual_dir",
        None,
        "The folder of its archives, each named as in its download address.",
        required=True,
        flag_values=values,
    )
    flags.DEFINE_string(
        "data_dir",
        None,
        "The folder in which TFDS keeps its datasets; its own by default.",
        flag_values=values,
    )


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    tfds = import_tfds()
    manual_dir = checks.path("manual_dir", options.manual_dir)
    if not manual_dir.is_dir():
        sys.exit(f"--manual_dir: no folder {manual_dir}")
    data_dir = options.data_dir and os.fspath(checks.path("data_dir", options.data_dir))
    try:
        builder = tfds.builder(options.dataset, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        sys.exit(f"--dataset: TensorFlow Datasets has no {options.dataset!r}")
    except (AssertionError, TypeError, ValueError, ImportError) as error:
        sys.exit(f"--dataset: {' '.join(str(error).split())}")
    if builder.data_path.exists():
        print(f"{options.dataset} is already prepared in {builder.data_dir}")
        return
    prepare(tfds, builder, manual_dir)
    print(f"{options.dataset} is now prepared in {builder.data_dir}")


def prepare(tfds: ModuleType, builder: Any, manual_dir: Path) -> None:
    """Prepares the builder's dataset from the archives in the folder, and from nothing else."""
    from tensorflow_datasets.core.download import checksums, extractor

    names = {url: _file_name(url, info) for url, info in (builder.url_infos or {}).items()}
    missing = sorted({name for name in names.values() if not (manual_dir / name).is_file()})
    found = {url: name for url, name in names.items() if name not in missing}
    if ambiguous := [name for name, count in Counter(found.values()).items() if count > 1]:
        sys.exit(f"several downloads of {builder.name} share a name: {', '.join(ambiguous)}")
    lack = f"{builder.name}: {manual_dir} lacks {', '.join(missing)}"
    if missing and not found:
        sys.exit(lack)
    url_infos = {url: checksums.compute_url_info(manual_dir / name) for url, name in found.items()}
    config = tfds.download.DownloadConfig(
        manual_dir=manual_dir, force_checksums_validation=True, try_download_gcs=False
    )
    builder.data_dir_root.mkdir(parents=True, exist_ok=True)
    with (
        # With these registered alone, TFDS refuses every address whose archive is not here.
        mock.patch.dict(checksums.get_all_url_infos(), url_infos, clear=True),
        mock.patch.dict(builder.url_infos or {}, url_infos, clear=True),
        # Not TFDS's own folder: there, archives of other datasets with the same names wait.
        tempfile.TemporaryDirectory(
            prefix="incomplete.archives-", dir=builder.data_dir_root, ignore_cleanup_errors=True
        ) as scratch,
    ):
        try:
            builder.download_and_prepare(download_dir=scratch, download_config=config)
        except ValueError as error:
            if any(url in str(error) for url in names.keys() - found.keys()):
                sys.exit(lack)
            sys.exit(f"--manual_dir: {manual_dir}: {checks.reason(error)}")
        except (OSError, EOFError, extractor.ExtractError) as error:
            sys.exit(f"--manual_dir: {manual_dir}: {checks.reason(error)}")


def _file_name(url: str, info: Any) -> str:
    """The name under which TFDS would have saved what it downloads."""
    return info.filename or Path(urlsplit(url).path).name


if __name__ == "__main__":
    command_line.run(main)

"""experiments/prepare_tfds.py on a small dataset; test_tfds.py runs it on a real one."""

import gzip
from typing import ClassVar

import numpy as np
import pytest
import tensorflow_datasets as tfds
from absl import flags
from tensorflow_datasets.core.download import checksums

from experiments import prepare_tfds
from mofn_jax.data import load_dataset

ADDRESS = "http://files.invalid"


class TinyArchives(tfds.core.GeneratorBasedBuilder):
    """A number and its parity, from one gzipped file a split; a third file is never asked for."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos: ClassVar = {
        f"{ADDRESS}/train.gz": checksums.UrlInfo(1, "0" * 64, "train.gz"),
        f"{ADDRESS}/test.gz?download=1": checksums.UrlInfo(2, "1" * 64, None),
        f"{ADDRESS}/stale.gz": checksums.UrlInfo(3, "2" * 64, "stale.gz"),
    }

    def _info(self):
        features = {"x": np.float32, "label": tfds.features.ClassLabel(num_classes=2)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        paths = dl_manager.download_and_extract(
            {"train": f"{ADDRESS}/train.gz", "test": f"{ADDRESS}/test.gz?download=1"}
        )
        return {split: self._generate_examples(path) for split, path in paths.items()}

    def _generate_examples(self, path):
        for number in path.read_text().split():
            yield number, {"x": int(number), "label": int(number) % 2}


@pytest.fixture
def archives(tmp_path):
    folder = tmp_path / "archives"
    folder.mkdir()
    for split, numbers in (("train", range(10)), ("test", range(100, 104))):
        with gzip.open(folder / f"{split}.gz", "wt") as archive:
            archive.write(" ".join(map(str, numbers)))
    return folder


def run(archives, data_dir, dataset="tiny_archives"):
    arguments = [f"--dataset={dataset}", f"--manual_dir={archives}", f"--data_dir={data_dir}"]
    prepare_tfds.main(["prepare_tfds", *arguments])


def test_archives_become_a_dataset_that_loads(archives, tmp_path, capsys):
    data_dir = tmp_path / "data"
    run(archives, data_dir)
    assert f"tiny_archives is now prepared in {data_dir}/tiny_archives/1.0.0" in (
        capsys.readouterr().out
    )
    dataset = load_dataset("tiny_archives", data_dir=data_dir)
    np.testing.assert_array_equal(np.bincount(dataset.train.labels), [5, 5])
    np.testing.assert_array_equal(np.bincount(dataset.test.labels), [2, 2])
    assert [path.name for path in data_dir.iterdir()] == ["tiny_archives"]  # no scratch is left


def test_a_prepared_dataset_is_left_alone(archives, tmp_path, capsys):
    run(archives, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    capsys.readouterr()
    run(archives, tmp_path)
    assert capsys.readouterr().out == (
        f"tiny_archives is already prepared in {tmp_path}/tiny_archives/1.0.0\n"
    )
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_archives_of_the_same_name_from_another_folder_are_read_anew(archives, tmp_path):
    run(archives, tmp_path / "data")
    other = tmp_path / "other"
    other.mkdir()
    for name in ("train.gz", "test.gz"):
        with gzip.open(other / name, "wt") as archive:
            archive.write("1 3 5")
    (tmp_path / "data" / "tiny_archives" / "1.0.0").rename(tmp_path / "first")
    run(other, tmp_path / "data")
    labels = load_dataset("tiny_archives", data_dir=tmp_path / "data").train.labels
    np.testing.assert_array_equal(labels, [1, 1, 1])


@pytest.mark.parametrize(
    ("absent", "named"),
    [
        (["test.gz"], r"lacks stale\.gz, test\.gz$"),
        (["test.gz", "train.gz"], r"lacks stale\.gz, test\.gz, train\.gz$"),
    ],
)
def test_missing_archives_are_named_and_nothing_is_left(absent, named, archives, tmp_path):
    for name in absent:
        (archives / name).unlink()
    with pytest.raises(SystemExit, match=named):
        run(archives, tmp_path / "data")
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert TinyArchives.url_infos.keys() >= {f"{ADDRESS}/stale.gz"}  # TFDS's own list is restored


def test_a_crash_leaves_no_half_dataset(archives, tmp_path, monkeypatch):
    def crash(self, path):
        yield "0", {"x": 0, "label": 0}
        raise RuntimeError("crash")

    with monkeypatch.context() as patched:
        patched.setattr(TinyArchives, "_generate_examples", crash)
        with pytest.raises(RuntimeError, match="crash"):
            run(archives, tmp_path / "data")
    assert not list((tmp_path / "data" / "tiny_archives").iterdir())
    run(archives, tmp_path / "data")
    assert len(load_dataset("tiny_archives", data_dir=tmp_path / "data").train.labels) == 10


def test_downloads_that_share_a_name_are_refused(archives, tmp_path, monkeypatch):
    info = checksums.UrlInfo(1, "0" * 64, None)
    urls = {f"{ADDRESS}/{folder}/train.gz": info for folder in "ab"}
    monkeypatch.setattr(TinyArchives, "url_infos", urls)
    with pytest.raises(SystemExit, match=r"downloads of tiny_archives share a name: train\.gz"):
        run(archives, tmp_path / "data")


@pytest.mark.parametrize("flag", ["dataset", "manual_dir"])
def test_flags_it_cannot_do_without_are_asked_for(flag):
    other = {"dataset": "manual_dir", "manual_dir": "dataset"}[flag]
    with pytest.raises(flags.Error, match=f"--{flag} must have a value"):
        prepare_tfds.main(["prepare_tfds", f"--{other}=x"])


def test_unknown_datasets_and_folders_are_refused(archives, tmp_path):
    with pytest.raises(SystemExit, match="--dataset: TensorFlow Datasets has no 'no_such'"):
        run(archives, tmp_path, dataset="no_such")
    with pytest.raises(SystemExit, match=r"--dataset: .*only: 1\.0\.0"):
        run(archives, tmp_path, dataset="tiny_archives:9.9.9")
    with pytest.raises(SystemExit, match=f"--manual_dir: no folder {tmp_path}/absent"):
        run(tmp_path / "absent", tmp_path)

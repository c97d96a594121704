"""The Olivetti faces from photographs on disk, as scikit-learn and load_dataset read them."""

import numpy as np
import pytest
from PIL import Image

from experiments import prepare_olivetti
from mofn_jax.data import load_dataset


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """40 people, each a gray level; pictures 92 wide, 112 high, with a white spot at the top left
    of the square in the middle, and black above and below it."""
    folder = tmp_path_factory.mktemp("photographs")
    for person in range(40):
        (folder / f"s{person + 1}").mkdir()
        for picture in range(10):
            pixels = np.zeros((112, 92), np.uint8)
            pixels[10:102] = 50 + 4 * person + picture
            pixels[10:33, :46] = 255
            Image.fromarray(pixels).save(folder / f"s{person + 1}" / f"{picture + 1}.pgm")
    return folder


def prepare(folder, data_dir):
    prepare_olivetti.main(["prepare_olivetti", f"--images={folder}", f"--data_dir={data_dir}"])


def test_what_is_written_is_what_is_read(photographs, tmp_path, capsys):
    prepare(photographs, tmp_path / "data")
    assert "olivetti is now prepared in" in capsys.readouterr().out
    dataset = load_dataset("olivetti", data_dir=tmp_path / "data")
    assert dataset.num_classes == 40
    assert dataset.train.inputs.shape == (320, 64, 64, 1)
    assert dataset.train.inputs.dtype == np.float32
    for split, each in ((dataset.train, 8), (dataset.test, 2)):
        np.testing.assert_array_equal(np.bincount(split.labels), [each] * 40)
        # The spot is at the top left, rows first, and the rest as bright as the person is.
        assert (split.inputs[:, 4:12, 4:28] == 1).all()
        levels = split.inputs[:, 40, 40, 0]
        # From the darkest, 50, to the spot's 255.
        lowest = 4 * split.labels / 205
        assert (levels > lowest - 1e-6).all()
        assert (levels < lowest + 9.01 / 205).all()
        assert (split.inputs[:, -1] == levels[:, None, None]).all()
    prepare(photographs, tmp_path / "data")
    assert "already prepared" in capsys.readouterr().out


def test_missing_and_broken_pictures_are_named(photographs, tmp_path):
    with pytest.raises(ValueError, match=r"images: .* lacks s1/1.pgm and 399 others"):
        prepare(tmp_path, tmp_path / "data")
    for person in range(1, 41):
        (tmp_path / f"s{person}").symlink_to(photographs / f"s{person}")
    (tmp_path / "s3").unlink()
    (tmp_path / "s3").mkdir()
    for picture in range(1, 11):
        (tmp_path / "s3" / f"{picture}.pgm").write_text("none")
    with pytest.raises(ValueError, match=r"images: .*s3/1.pgm is no picture"):
        prepare(tmp_path, tmp_path / "data")
    assert not (tmp_path / "data" / "olivetti_py3.pkz").exists()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "olivetti_py3.pkz").write_bytes(b"no faces")
    with pytest.raises(ValueError, match=r"data_dir: .*olivetti_py3.pkz cannot be read"):
        load_dataset("olivetti", data_dir=tmp_path)

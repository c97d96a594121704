"""Prepare the Olivetti faces without a network, from the photographs they were made of.

The 400 photographs of AT&T Laboratories Cambridge (Samaria and Harter, 1994) in a folder as they
are published: s1/1.pgm to s40/10.pgm, ten of each of forty people. The square in their middle is
scaled to 64 x 64 pixels, and all are written as scikit-learn keeps them.

    python -m experiments.prepare_olivetti --images=FOLDER
"""

from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
from absl import flags
from PIL import Image, ImageOps
from sklearn.datasets import get_data_home

from experiments import command_line
from mofn_jax import checks, outputs
from mofn_jax.data import OLIVETTI_FILE

_PEOPLE, _EACH, _SIZE = 40, 10, (64, 64)


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "images",
        None,
        "The folder of the photographs s1/1.pgm to s40/10.pgm.",
        required=True,
        flag_values=values,
    )
    command_line.define_folder(
        values,
        "data_dir",
        None,
        "The folder in which scikit-learn keeps its datasets; its own by default.",
    )


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    images = checks.path("images", options.images)
    folder = Path(get_data_home()) if options.data_dir is None else Path(options.data_dir)
    path = folder.expanduser() / OLIVETTI_FILE
    if path.exists():
        print(f"olivetti is already prepared in {path}")
        return
    faces = read_faces(images)
    # scikit-learn transposes what it reads, as its source has columns first.
    columns = faces.transpose(0, 2, 1).reshape(len(faces), -1)
    outputs.write_whole(path, lambda temporary: joblib.dump(columns, temporary, compress=6))
    print(f"olivetti is now prepared in {path}")


def read_faces(folder: Path) -> np.ndarray:
    """All photographs, [400, 64, 64] float32, ten of each person after another.

    Raises:
      ValueError: some are not there, or are no pictures.
    """
    numbers = np.ndindex(_PEOPLE, _EACH)
    paths = [folder / f"s{person + 1}" / f"{picture + 1}.pgm" for person, picture in numbers]
    if missing := [str(path.relative_to(folder)) for path in paths if not path.is_file()]:
        raise ValueError(f"images: {folder} lacks {missing[0]} and {len(missing) - 1} others")

    def read(path: Path) -> np.ndarray:
        try:
            with Image.open(path) as image:
                fitted = ImageOps.fit(image.convert("L"), _SIZE, Image.Resampling.BOX)
                return np.asarray(fitted, np.float32)
        except OSError as error:
            raise ValueError(f"images: {path} is no picture ({checks.reason(error)})") from None

    return np.stack([read(path) for path in paths])


if __name__ == "__main__":
    command_line.run(main)

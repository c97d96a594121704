"""Arrays from files that other tools have saved: .npy, .npz and .csv; nothing in them is run."""

import csv
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mofn_jax import checks

_MISSING = ("", "na", "n/a", "null", "none", "?")  # not the names of columns


def load_array(name: str, file: str, shape: Sequence[int | None] | None = None) -> np.ndarray:
    """The array in a file; of a .npy it is mapped, not read.

    Args:
      name: what it is, for errors.
      file: a .npy, a .npz of one array, FILE.npz:NAME, or a .csv.
      shape: what it must have, as of `checks.matrix`; None for any of at least one axis.

    Raises:
      ValueError: naming it and the file, that is not there, cannot be read or holds something else.
    """
    path, key = file, ""
    if not Path(file).exists():  # names of files may have colons too
        path, _, key = file.rpartition(":") if ".npz:" in file else (file, "", "")
    readers = {".npy": _load_npy, ".npz": _load_npz, ".csv": _load_csv}
    suffix = checks.known(f"{name} (ending of {path})", Path(path).suffix, readers)
    if not Path(path).is_file():
        raise ValueError(f"{name}: no file {path}")
    try:
        array = readers[suffix](name, path, key)
    except _Refused:
        raise
    except Exception as error:  # of many kinds, as what is damaged
        raise ValueError(f"{name}: {path} cannot be read ({checks.reason(error)})") from error
    try:
        return (
            checks.numbers(name, array, 1) if shape is None else checks.matrix(name, array, shape)
        )
    except ValueError as error:
        raise ValueError(f"{error} ({file})") from error


def load_names(name: str, file: str | None) -> tuple[str, ...] | None:
    """The lines of a text file in UTF-8, each a name; None without a file.

    Raises:
      ValueError: naming it and the file, that is not there, cannot be read or holds no names.
    """
    if file is None:
        return None
    try:
        names = tuple(Path(file).read_text(encoding="utf-8-sig").splitlines())
    except (OSError, ValueError) as error:
        raise ValueError(f"{name}: {file} cannot be read ({checks.reason(error)})") from error
    if not names or not all(map(str.strip, names)):
        raise ValueError(f"{name}: expected a name on each line ({file})")
    return names


class _Refused(ValueError):
    """Says all that there is to say."""


def _load_npy(name: str, path: str, key: str) -> np.ndarray:
    if zipfile.is_zipfile(path):
        raise _Refused(f"{name}: {path} holds several arrays; its ending should be .npz")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _load_npz(name: str, path: str, key: str) -> np.ndarray:
    with open(path, "rb") as file:
        arrays = np.load(file, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise _Refused(f"{name}: {path} holds one array; its ending should be .npy")
        if key and key not in arrays.files:
            raise _Refused(
                f"{name} (array in {path}): {key!r} is not known; expected one of {arrays.files}"
            )
        if not key and len(arrays.files) != 1:
            raise _Refused(f"{name}: {path} holds {arrays.files}; say which as {path}:NAME")
        return arrays[key or arrays.files[0]]


def _load_csv(name: str, path: str, key: str) -> np.ndarray:
    with open(path, encoding="utf-8-sig", newline="") as lines:  # without a byte-order mark
        first = next(csv.reader(lines), [])
        lines.seek(0)
        for mark, what in ((";", "semicolons"), ("\t", "tabs")):
            if any(mark in field for field in first):
                raise _Refused(f"{name}: {path} is parted by {what}; expected commas")
        try:
            with warnings.catch_warnings(action="ignore"):  # of a file without rows
                return np.loadtxt(
                    lines, delimiter=",", quotechar='"', skiprows=int(_is_header(first)), ndmin=2
                )
        except ValueError as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            raise _Refused(f"{name}: {path} is not a table of numbers ({error})") from error


def _is_header(fields: Sequence[str]) -> bool:
    """Whether none of the fields is a number, nor missing."""

    def is_number(field: str) -> bool:
        try:
            float(field)
        except ValueError:
            return False
        return True

    return not any(is_number(field) or field.strip().lower() in _MISSING for field in fields)

"""Tables that travel with the package: made from their definitions, or of a few hundred rows.

Axis letters: E examples, n inputs.
"""

import csv
import itertools
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

import numpy as np

_MONKS_SIZES = (3, 3, 2, 3, 4, 2)  # how many values each of the six attributes has
_CAR = {
    "buying": ("low", "med", "high", "vhigh"),
    "maint": ("low", "med", "high", "vhigh"),
    "doors": ("2", "3", "4", "5more"),
    "persons": ("2", "4", "more"),
    "lug_boot": ("small", "med", "big"),
    "safety": ("low", "med", "high"),
}
# The decision model of Bohanec and Rajkovic (1988): [buying][maint]; [doors][persons][lug_boot], of
# two persons 0; [price][comfort][safety].
_CAR_PRICE = np.array([[3, 3, 2, 1], [3, 2, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
_CAR_COMFORT = np.array(
    [
        [[0, 0, 0], [1, 1, 2], [0, 1, 2]],
        [[0, 0, 0], [1, 1, 2], [1, 2, 2]],
        [[0, 0, 0], [1, 2, 2], [1, 2, 2]],
        [[0, 0, 0], [1, 2, 2], [1, 2, 2]],
    ]
)
_CAR_CLASS = np.array(
    [
        [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 1], [0, 1, 1]],
        [[0, 0, 0], [0, 1, 1], [0, 1, 3]],
        [[0, 0, 0], [0, 1, 2], [0, 2, 3]],
    ]
)
_NUCLEOTIDES = ("a", "c", "g", "t")


class Examples(NamedTuple):
    """Examples with their classes, and the names of both."""

    inputs: np.ndarray  # [E, n], or images [E, height, width, channels]
    labels: np.ndarray  # [E] integers from 0
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None  # [n], of tables


def all_rows(num_bits: int) -> np.ndarray:
    """Every row of bits in counting order, [2^n, n]."""
    return np.array(list(itertools.product((0, 1), repeat=num_bits)))


def monks(problem: str) -> Examples:
    """One of the three MONK's problems (Thrun et al., 1991), all 432 rows, one-hot [432, 17]."""
    rows = np.array(list(itertools.product(*(range(1, size + 1) for size in _MONKS_SIZES))))
    a1, a2, _, a4, a5, _ = rows.T
    positive = {
        "monks-1": (a1 == a2) | (a5 == 1),
        "monks-2": (rows == 1).sum(axis=1) == 2,
        "monks-3": ((a5 == 3) & (a4 == 1)) | ((a5 != 4) & (a2 != 3)),
    }[problem]
    names = [f"a{i}" for i in range(1, 7)]
    inputs, feature_names = _one_hot(names, [range(1, 1 + s) for s in _MONKS_SIZES], rows - 1)
    return Examples(inputs, positive.astype(np.int32), feature_names=feature_names)


def car() -> Examples:
    """Car evaluation, all 1,728 rows, one-hot [1728, 21], from the decision model behind it."""
    rows = np.array(list(itertools.product(*(range(len(values)) for values in _CAR.values()))))
    buying, maint, doors, persons, lug_boot, safety = rows.T
    comfort = _CAR_COMFORT[doors, persons, lug_boot]
    labels = _CAR_CLASS[_CAR_PRICE[buying, maint], comfort, safety]
    inputs, feature_names = _one_hot(list(_CAR), list(_CAR.values()), rows)
    return Examples(inputs, labels, ("unacc", "acc", "good", "vgood"), feature_names)


def ecoli() -> Examples:
    """Where a protein of E. coli is found, by seven measures of it: [336, 7]."""
    (*feature_names, _), *lines = _read("ecoli.csv")
    class_names = tuple(sorted({line[-1] for line in lines}))
    return Examples(
        np.array([line[:-1] for line in lines], np.float64),
        np.array([class_names.index(line[-1]) for line in lines]),
        class_names,
        tuple(feature_names),
    )


def promoters() -> Examples:
    """Whether 57 nucleotides of E. coli are a promoter: one-hot [106, 228]."""
    _, *lines = _read("promoters.csv")
    rows = np.array([[_NUCLEOTIDES.index(letter) for letter in line[1:]] for line in lines])
    places = [f"p{place:+d}" for place in (*range(-50, 0), *range(1, 8))]
    inputs, feature_names = _one_hot(places, [_NUCLEOTIDES] * len(places), rows)
    labels = np.array([line[0] == "+" for line in lines]).astype(np.int32)
    return Examples(inputs, labels, ("no promoter", "promoter"), feature_names)


def _read(name: str) -> list[list[str]]:
    text = (resources.files("mofn_jax") / "uci" / name).read_text(encoding="utf-8")
    return list(csv.reader(text.splitlines()))


def _one_hot(
    names: Sequence[str], values: Sequence[Sequence], rows: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each attribute's values as inputs of their own, named `attribute=value`.

    Args:
      names: of the attributes.
      values: of each attribute, those it takes.
      rows: [E, attributes] which of its values each has.

    Returns:
      [E, n] booleans and [n] names.
    """
    inputs = [
        column[:, None] == np.arange(len(some)) for column, some in zip(rows.T, values, strict=True)
    ]
    feature_names = [
        f"{name}={value}" for name, some in zip(names, values, strict=True) for value in some
    ]
    return np.concatenate(inputs, axis=1), tuple(feature_names)

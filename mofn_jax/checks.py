"""What public functions ask of their arguments: each check raises a ValueError that names one."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mofn_jax.chunking import row_slices


def matrix(name: str, array: Any, shape: Sequence[int | None]) -> np.ndarray:
    """The array on the host: real, finite, of this shape (None: any size of at least one).

    Memory maps stay on disk. Finiteness is looked at a slice at a time.

    Raises:
      ValueError: naming the argument, what was wrong and what was expected.
    """
    array = np.asarray(array)
    # bfloat16 and its kin, of which NumPy knows only the width
    if array.dtype.kind == "V" and jnp.issubdtype(array.dtype, jnp.number):
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got dtype {array.dtype}")
    expected = ", ".join("any" if size is None else str(size) for size in shape)
    if array.ndim != len(shape) or any(
        size not in (None, actual) for size, actual in zip(shape, array.shape, strict=True)
    ):
        raise ValueError(f"{name}: expected shape [{expected}], got {list(array.shape)}")
    if 0 in array.shape:
        raise ValueError(f"{name}: has no elements (shape {list(array.shape)})")
    if array.dtype.kind == "f":
        for rows in row_slices(array):
            if not np.isfinite(array[rows]).all():
                raise ValueError(f"{name}: holds NaN or infinity; expected finite numbers")
    return array


def booleans(name: str, array: Any, shape: Sequence[int | None]) -> np.ndarray:
    """The array on the host, boolean and of this shape.

    Raises:
      ValueError: naming the argument.
    """
    array = np.asarray(array)
    if array.dtype != bool:
        raise ValueError(f"{name}: expected booleans, got dtype {array.dtype}")
    return matrix(name, array, shape)


def class_labels(
    name: str, array: Any, num_classes: int | None, num_examples: int | None = None
) -> np.ndarray:
    """The labels on the host, [E] int32 in 0..num_classes-1, or from 0 if that is None.

    Raises:
      ValueError: naming the argument.
    """
    array = matrix(name, array, [num_examples])
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected integers, got dtype {array.dtype}")
    most = np.iinfo(np.int32).max if num_classes is None else num_classes - 1
    if array.min() < 0 or array.max() > most:
        raise ValueError(
            f"{name}: expected labels in 0..{most}, got values from {array.min()} to {array.max()}"
        )
    return array.astype(np.int32)


def non_negative(name: str, value: float) -> float:
    """The value, finite and not below 0.

    Raises:
      ValueError: naming the argument.
    """
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name}: expected a finite number of at least 0, got {value}")
    return value


def at_least(name: str, value: Any, smallest: int) -> int:
    """The value, an integer not below the smallest.

    Raises:
      ValueError: naming the argument.
    """
    try:
        integer = operator.index(value)
    except TypeError:
        integer = smallest - 1
    if integer < smallest:
        raise ValueError(f"{name}: expected an integer of at least {smallest}, got {value!r}")
    return integer


def known(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """The value, one of the choices.

    Raises:
      ValueError: naming the argument and listing the choices.
    """
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"{name}: {value!r} is not known; expected one of {choices}")
    return value

"""What public functions ask of their arguments: each check raises a ValueError that names one."""

import contextlib
import math
import operator
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax.chunking import row_slices

LARGEST_SEED = 2**32 - 1  # of scikit-learn and NumPy's older generators

_Kind = TypeVar("_Kind")


def on_host(name: str, array: Any) -> np.ndarray:
    """The array in the memory of the host, of whatever dtype and shape.

    Raises:
      ValueError: naming an argument that is traced, masked in part, or lists of several lengths.
    """
    try:
        found = np.asarray(array)
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError(
            f"{name}: is traced, but this works on arrays that are known; call it outside jit, "
            "vmap and grad"
        ) from error
    except Exception as error:  # of many kinds, as what has an __array__ of its own
        raise ValueError(f"{name}: expected an array of one shape ({reason(error)})") from error
    if any(map(np.ma.is_masked, array if isinstance(array, list | tuple) else [array])):
        what = "NaN" if found.dtype.kind == "f" and np.isnan(found).any() else "values"
        raise ValueError(
            f"{name}: holds {what} under a mask; fill them, or leave their examples out"
        )
    return found


def matrix(
    name: str, array: Any, shape: Sequence[int | None], *, nan_is_missing: bool = False
) -> np.ndarray:
    """The array on the host: real, finite, of this shape (None: any size of at least one).

    NaN is allowed where it stands for what is missing. Floats of more than 64 bits become float64.
    Memory maps of the machine's own byte order stay on disk; finiteness is looked at a slice at a
    time.

    Raises:
      ValueError: naming the argument, what was wrong and what was expected.
    """
    array = on_host(name, array)
    # bfloat16, int4 and their kin, of which NumPy knows only the width
    if array.dtype.kind == "V" and jnp.issubdtype(array.dtype, jnp.number):
        array = array.astype(np.int32 if jnp.issubdtype(array.dtype, jnp.integer) else np.float32)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            array = array.astype(np.float64)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got dtype {array.dtype}")
    expected = ", ".join("any" if size is None else str(size) for size in shape)
    if array.ndim != len(shape) or any(
        size not in (None, actual) for size, actual in zip(shape, array.shape, strict=True)
    ):
        hint = ""
        if array.ndim > len(shape) == 2:
            hint = f"; {name}.reshape(-1, {array.shape[-1]}) has a row for each position"
        raise ValueError(f"{name}: expected shape [{expected}], got {list(array.shape)}{hint}")
    if 0 in array.shape:
        raise ValueError(f"{name}: has no elements (shape {list(array.shape)})")
    if array.dtype.kind == "f":
        for rows in row_slices(array):
            is_fit = np.isfinite(array[rows])
            if not is_fit.all() and not (nan_is_missing and not np.isinf(array[rows]).any()):
                raise ValueError(f"{name}: holds NaN or infinity; expected finite numbers")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def numbers(name: str, array: Any, least_axes: int) -> np.ndarray:
    """As `matrix`, of any shape of at least so many axes."""
    array = on_host(name, array)
    return matrix(name, array, [None] * max(least_axes, array.ndim))


def booleans(name: str, array: Any, shape: Sequence[int | None]) -> np.ndarray:
    """The array on the host, boolean and of this shape.

    Raises:
      ValueError: naming the argument.
    """
    array = on_host(name, array)
    if array.dtype != bool:
        hint = ""
        if array.ndim == len(shape) and array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all():
            hint = f"; of zeros and ones, say {name} > 0"
        elif array.dtype.kind in "iu":
            hint = "; of the labels of classes, say softmax_targets"
        raise ValueError(f"{name}: expected booleans, got dtype {array.dtype}{hint}")
    return matrix(name, array, shape)


def class_labels(
    name: str, array: Any, num_classes: int | None, num_examples: int | None = None
) -> np.ndarray:
    """The labels on the host, [E] int32 in 0..num_classes-1, or from 0 if that is None.

    Raises:
      ValueError: naming the argument, or num_classes.
    """
    array = matrix(name, array, [num_examples])
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected integers, got dtype {array.dtype}")
    most = np.iinfo(np.int32).max
    if num_classes is not None:
        most = at_least("num_classes", num_classes, 1, largest=most + 1) - 1
    if array.min() < 0 or array.max() > most:
        raise ValueError(
            f"{name}: expected labels in 0..{most}, got values from {array.min()} to {array.max()}"
        )
    return array.astype(np.int32)


def number(name: str, value: Any, smallest: float = -math.inf, largest: float = math.inf) -> float:
    """The value, a finite number not below the smallest and not above the largest.

    Raises:
      ValueError: naming the argument.
    """
    array = on_host(name, value)
    is_real = jnp.issubdtype(array.dtype, jnp.number) and array.dtype.kind != "c"
    is_integer = isinstance(value, int) and not isinstance(value, bool)  # of any size
    number = math.nan
    if array.ndim == 0 and (is_real or is_integer):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if not math.isfinite(number) or not smallest <= number <= largest:
        limits = f" of at least {smallest:g}" if smallest > -math.inf else ""
        limits += f" and at most {largest:g}" if largest < math.inf else ""
        raise ValueError(f"{name}: expected a finite number{limits}, got {value!r}")
    return number


def non_negative(name: str, value: Any) -> float:
    """The value, a finite number not below 0.

    Raises:
      ValueError: naming the argument.
    """
    return number(name, value, 0)


def at_least(name: str, value: Any, smallest: int, *, largest: int | None = None) -> int:
    """The value, an integer not below the smallest and not above the largest, if there is one.

    Raises:
      ValueError: naming the argument.
    """
    try:
        integer = operator.index(value)
    except TypeError:
        integer = smallest - 1
    if isinstance(value, bool) or integer < smallest or (largest is not None and integer > largest):
        limit = "" if largest is None else f" and at most {largest}"
        raise ValueError(
            f"{name}: expected an integer of at least {smallest}{limit}, got {value!r}"
        )
    return integer


def seed(value: Any) -> int:
    """The seed, an integer of 32 bits.

    Raises:
      ValueError: naming it.
    """
    return at_least("seed", value, 0, largest=LARGEST_SEED)


def known(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """The value, one of the choices.

    Raises:
      ValueError: naming the argument and listing the choices.
    """
    choices = list(choices)
    if not isinstance(value, Hashable) or value not in choices:
        raise ValueError(f"{name}: {value!r} is not known; expected one of {choices}")
    return value


def sequence(name: str, values: Any) -> list[Any]:
    """The values as a list.

    Raises:
      ValueError: naming an argument that is a single value or a string.
    """
    # A NamedTuple, such as a rule, is one thing.
    is_one = isinstance(values, str | bytes | Mapping) or hasattr(values, "_fields")
    if is_one or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise ValueError(f"{name}: expected a sequence, such as a list, got {_short(values)}")
    return list(values)


def text(name: str, value: Any) -> str:
    """The value, a text that can be written in UTF-8.

    Raises:
      ValueError: naming what is none.
    """
    try:
        instance(name, value, str).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: expected text, got {value!r}") from None
    return value


def texts(name: str, values: Any) -> tuple[str, ...]:
    """The values, texts.

    Raises:
      ValueError: naming what are none.
    """
    return tuple(text(name, value) for value in sequence(name, values))


def instance(name: str, value: Any, kind: type[_Kind]) -> _Kind:
    """The value, of this kind.

    Raises:
      ValueError: naming the argument and the kind.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected a {kind.__name__}, got {_short(value)}")
    return value


def callback(name: str, value: Any) -> Callable | None:
    """The value, a function or None.

    Raises:
      ValueError: naming the argument.
    """
    if value is not None and not callable(value):
        raise ValueError(f"{name}: expected a function or None, got {value!r}")
    return value


def path(name: str, value: str | os.PathLike[str]) -> Path:
    """The path, absolute, of a home directory too.

    Raises:
      ValueError: naming an argument that is no path.
    """
    try:
        text = os.fspath(value)
        if not isinstance(text, str) or not text or "\0" in text:
            raise TypeError
        return Path(text).expanduser().absolute()
    except (TypeError, RuntimeError):  # of the home directory of nobody
        raise ValueError(f"{name}: expected a path, got {value!r}") from None


def reason(error: BaseException) -> str:
    """What an error of another library says, in a line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _short(value: Any) -> str:
    """A value in an error: whole if that is short."""
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"

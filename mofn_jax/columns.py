"""Columns of values in ascending order, in their own precision.

Sorted on the host, or as unsigned integers in the order of the floats, which any device can sort:
from there on the search for thresholds needs only integers, and float64 is exact everywhere.

Axis letters: E examples, n columns, u targets.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mofn_jax import meshes
from mofn_jax.chunking import chunks, read_columns

# Bytes of working memory an example of each sorted column takes: its value, order, and whether it
# may be cut there, twice over while they are made.
SORT_BYTES = 32
NO_KEY = np.iinfo(np.uint32).max  # above that of any value


class SortedColumns(NamedTuple):
    """Columns in ascending order, and where they can be cut."""

    values: np.ndarray  # [n, E], in the order of the examples
    order: np.ndarray  # [n, E] int32, the example at each place, ascending by value
    is_cut: np.ndarray  # [n, E] bool, the value at this place differs from the one before it

    def values_at(self, cuts: np.ndarray) -> np.ndarray:
        """The value at each cut [n, u]; NaN where the cut is -1."""
        examples = np.take_along_axis(self.order, np.maximum(cuts, 0), axis=1)
        values = np.take_along_axis(self.values, examples, axis=1)
        return np.where(cuts < 0, np.nan, values)


def pieces(
    array: np.ndarray, which: slice, most: int, memory_budget: int, mesh: Mesh | None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Some columns of [E, n] at a time; half of the budget reads ahead, for a memory map.

    Args:
      array: [E, n].
      which: the columns.
      most: how many columns a piece has at most.
      memory_budget: bytes.
      mesh: devices that each piece is divided among.

    Yields:
      Which columns, and their values [E, c].
    """
    columns = range(which.start, which.stop)
    most_read = memory_budget // 2 // (array.itemsize * len(array))
    for block in chunks(len(columns), max(1, most_read)):
        block_columns = columns[block]
        read = read_columns(array, slice(block_columns.start, block_columns.stop))
        for piece in chunks(len(block_columns), meshes.full_rounds(most, mesh)):
            some = block_columns[piece]
            yield slice(some.start, some.stop), read[:, piece]
        del read  # before the next block is read


def sort_columns(columns: np.ndarray) -> SortedColumns:
    """Sorts each column of [E, n], on the host and in its own precision."""
    values = _rows(columns)
    order = np.empty(values.shape, np.int32)
    is_cut = np.zeros(values.shape, bool)

    def sort_rows(rows: range) -> None:
        for row in rows:
            order[row] = _ascending(values[row])
            ascending = values[row][order[row]]
            np.not_equal(ascending[1:], ascending[:-1], out=is_cut[row, 1:])

    workers = meshes.cpu_count()
    with ThreadPoolExecutor(workers) as pool:
        size = -(-len(values) // workers)
        parts = (range(i, min(i + size, len(values))) for i in range(0, len(values), size))
        list(pool.map(sort_rows, parts))
    return SortedColumns(values, order, is_cut)


def sort_keys(columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of columns [E, n] words [n, E] uint32 in the order of their values, the highest first.

    One word of a float of up to 32 bits, two of a float64; `from_sort_keys` turns them back.
    """
    keys = _in_order(_rows(columns))
    if keys.dtype.itemsize < 8:
        return (keys.astype(np.uint32),)
    return (keys >> np.uint64(32)).astype(np.uint32), keys.astype(np.uint32)


def key_words(dtype: np.dtype) -> int:
    """How many words a key of a float dtype has."""
    return max(1, dtype.itemsize // 4)


def less_than(keys: Sequence[jax.Array], others: Sequence[jax.Array]) -> jax.Array:
    """Whether keys are less than others, word by word of the same shape, or one."""
    less = jnp.bool_(False)
    for key, other in reversed(list(zip(keys, others, strict=True))):
        less = (key < other) | ((key == other) & less)
    return less


def from_sort_keys(keys: tuple[np.ndarray, ...], dtype: np.dtype) -> np.ndarray:
    """The values of keys, which `sort_keys` made of columns whose `float_dtype` this is."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    bits = keys[-1].astype(unsigned)
    if len(keys) > 1:
        bits |= keys[0].astype(unsigned) << unsigned.type(32)
    sign = _sign(unsigned)
    return np.where(bits & sign, bits ^ sign, ~bits).view(dtype)


def keys_of_thresholds(thresholds: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Of thresholds [N] the keys of the least values of a float dtype that are not below them."""
    with np.errstate(over="ignore"):  # infinity is beyond all values too
        values = thresholds.astype(dtype)
    above = np.nextafter(values, dtype.type(np.inf))
    values = np.where(values < thresholds, above, values)
    return tuple(key[:, 0] for key in sort_keys(values[None]))


def float_dtype(array: np.ndarray) -> np.dtype:
    """The floating precision in which an array's thresholds are found: its own, if it has one."""
    own = array.dtype.kind == "f" and array.dtype.itemsize <= 8
    return array.dtype.newbyteorder("=") if own else np.dtype(np.float64)


def _rows(columns: np.ndarray) -> np.ndarray:
    """The columns as rows. Adding 0 turns -0 into 0: equal values must have equal digits."""
    return np.ascontiguousarray(columns.T, dtype=float_dtype(columns)) + 0


def _in_order(values: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of the floats."""
    unsigned = np.dtype(f"u{values.dtype.itemsize}")
    sign, bits = _sign(unsigned), values.view(unsigned)
    return np.where(bits & sign, ~bits, bits | sign)


def _sign(unsigned: np.dtype) -> np.unsignedinteger:
    return unsigned.type(1 << (8 * unsigned.itemsize - 1))


def _ascending(row: np.ndarray) -> np.ndarray:
    """The ascending order of floats [E], from sorts of 16-bit digits.

    NumPy's stable sort of 16-bit integers is a radix sort: faster than its sort of floats, and most
    of all where many values are equal, as after a relu.
    """
    bits = _in_order(row)
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    for shift in range(16, 8 * bits.itemsize, 16):
        digit = (bits >> bits.dtype.type(shift)).astype(np.uint16)
        order = order[np.argsort(digit[order], kind="stable")]
    return order

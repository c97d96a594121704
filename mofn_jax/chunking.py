"""Work in equal pieces, so that memory is bounded and every piece runs the same compiled code."""

import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_TILE_BYTES = 2**18  # of rows that are turned into columns at a time, in a CPU's cache


def chunks(total: int, size: int) -> Iterator[slice]:
    """As few slices of one length, at most `size`, as cover 0..total-1, in order.

    The last one starts early rather than end late: its first elements are done twice, which is
    harmless where the result of an element does not depend on its piece.

    Examples:
      >>> list(chunks(7, 5))
      [slice(0, 4, None), slice(3, 7, None)]
    """
    if not total:
        return
    size = -(-total // -(-total // size))  # even pieces: the fewest elements are done twice
    for start in range(0, total, size):
        start = min(start, total - size)
        yield slice(start, start + size)


def one_ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """The items, each made by another thread while the one before it is worked on."""
    left = iter(items)
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(list, islice(left, 1))
        while item := coming.result():
            coming = maker.submit(list, islice(left, 1))
            yield item[0]


def one_behind(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """The function of each item, by another thread while the next ones are made."""
    waiting: deque[Future[_Result]] = deque()
    worker = ThreadPoolExecutor(1)
    try:
        for item in items:
            waiting.append(worker.submit(function, item))
            while waiting and waiting[0].done():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        worker.shutdown(cancel_futures=True)


def row_slices(array: np.ndarray, num_bytes: int = 2**22) -> Iterator[slice]:
    """Slices that cover an array's rows in order, each of a multiple of 8 of them but the last.

    A memory map's pages are let go after each slice, so that what has been read of the file does
    not stay in memory.

    Args:
      array: [E, ...].
      num_bytes: how large a slice may be, if 8 rows are not larger.

    Examples:
      >>> list(row_slices(np.zeros((20, 4), np.uint8), num_bytes=70))
      [slice(0, 16, None), slice(16, 20, None)]
    """
    rows = 8 * max(1, num_bytes // max(1, 8 * array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))
        _let_go(array)


def read_columns(array: np.ndarray, which: slice | np.ndarray = slice(None)) -> np.ndarray:
    """Some columns of [E, n], each in one piece of memory; a map is read in slices.

    They are a copy, unless they are a slice of columns that lie so already.
    """
    if array.flags.f_contiguous and isinstance(which, slice):
        return array[:, which]
    columns = np.empty((len(array), np.arange(array.shape[1])[which].size), array.dtype, order="F")
    for rows in row_slices(array, _TILE_BYTES):
        columns[rows] = array[rows][:, which]
    return columns


def _let_go(array: np.ndarray) -> None:
    """Drops the pages of a memory map from this process; the file has them."""
    mode: str | None = None
    base: Any = array
    while isinstance(base, np.ndarray):
        mode = getattr(base, "mode", mode)
        base = base.base
    # The pages of copy-on-write maps ("c") may be the only ones of their content.
    if isinstance(base, mmap.mmap) and mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)

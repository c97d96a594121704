"""Work in equal pieces, so that memory is bounded and every piece runs the same compiled code."""

from collections.abc import Iterator


def chunks(total: int, size: int) -> Iterator[slice]:
    """Slices of exactly `size` (or `total`, if smaller) that cover 0..total-1 in order.

    The last one starts early rather than end late: its first elements are done twice, which is
    harmless where the result of an element does not depend on its piece.

    Example:
      >>> list(chunks(5, 2))
      [slice(0, 2, None), slice(2, 4, None), slice(3, 5, None)]
    """
    size = min(size, total)
    for start in range(0, total, size):
        start = min(start, total - size)
        yield slice(start, start + size)

"""All that a record holds, to compare: what it shows of itself is less."""

import numpy as np


def content(record):
    """Arrays as lists, records as tuples, whatever they lie in."""
    if isinstance(record, np.ndarray):
        return record.dtype.str, record.tolist()
    if isinstance(record, tuple | list):
        return tuple(map(content, record))
    return record

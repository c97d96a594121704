"""All that a record, or a page, holds, to compare: what it shows of itself is less."""

import json
import re

import numpy as np


def content(record):
    """Arrays as lists, records as tuples, whatever they lie in."""
    if isinstance(record, np.ndarray):
        return record.dtype.str, record.tolist()
    if isinstance(record, tuple | list):
        return tuple(map(content, record))
    return record


def page_data(html):
    """The data of a report."""
    return json.loads(re.search('id="data">(.*?)</script>', html, re.DOTALL)[1])

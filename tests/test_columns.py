"""Columns in ascending order: by their values, and by keys that any device can sort."""

import numpy as np
import pytest

from mofn_jax import columns


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8", np.int32, bool])
def test_keys_are_in_the_order_of_the_values_and_turn_back(dtype):
    values = [-np.inf, -3e4, -1, -6e-8, -0.0, 0.0, 6e-8, 1, 1.001, 3e4, np.inf]
    if np.dtype(dtype).kind != "f":
        values = [0, 1] if dtype is bool else [-(2**31), -1, 0, 1, 2**31 - 1]
    column = np.array(values, dtype)[:, None]
    keys = columns.sort_keys(column)
    assert all(key.dtype == np.uint32 and key.shape == (1, len(values)) for key in keys)
    whole = [int("".join(f"{word:032b}" for word in words), 2) for words in np.stack(keys)[:, 0].T]
    assert whole == sorted(whole)
    distinct = np.unique(column.astype(np.float64))
    assert len(set(whole)) == len(distinct)
    back = columns.from_sort_keys(keys, columns.float_dtype(column))
    np.testing.assert_array_equal(back[0], column[:, 0])
    assert back.dtype == columns.float_dtype(column)


def test_pieces_cover_the_columns_asked_for():
    array = np.arange(60.0).reshape(3, 20)
    for budget in (1, 200, 2**20):
        found = list(columns.pieces(array, slice(4, 17), 3, budget, None))
        assert {i for some, _ in found for i in range(some.start, some.stop)} == set(range(4, 17))
        for some, piece in found:
            np.testing.assert_array_equal(piece, array[:, some])
            assert piece.shape[1] <= 3

"""Pieces cover everything, memory maps stay as they are, and what is read of them is let go."""

import threading

import numpy as np
import processes
import pytest
from numpy.lib.format import open_memmap

import mofn_jax as mofn
from mofn_jax import chunking
from mofn_jax.chunking import chunks, row_slices


@pytest.mark.parametrize("total", [1, 5, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_chunks_are_equal_and_cover_everything(total, size):
    pieces = [range(total)[piece] for piece in chunks(total, size)]
    assert {len(piece) for piece in pieces} == {min(size, total)}
    assert {i for piece in pieces for i in piece} == set(range(total))


@pytest.mark.parametrize("num_rows", [1, 8, 9, 100])
@pytest.mark.parametrize("num_bytes", [1, 200, 10**6])
def test_row_slices_cover_every_row_once(num_rows, num_bytes):
    array = np.zeros((num_rows, 3))
    slices = list(row_slices(array, num_bytes))
    assert [i for rows in slices for i in range(num_rows)[rows]] == list(range(num_rows))
    assert all(rows.start % 8 == 0 for rows in slices)
    assert all(array[rows].nbytes <= max(num_bytes, 8 * 24) for rows in slices)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_map_reads_the_same_again_after_its_pages_were_let_go(tmp_path, mode):
    written = np.random.default_rng(0).random((1000, 50))
    np.save(tmp_path / "map.npy", written)
    mapped = np.load(tmp_path / "map.npy", mmap_mode=mode)
    if mode != "r":
        mapped[3] = written[3] = 7
    for view in (mapped, mapped[:, 10:], np.asarray(mapped)):
        read = np.concatenate([view[rows] for rows in row_slices(view, 5000)])
        np.testing.assert_array_equal(read, written[:, -view.shape[1] :])


def test_rules_of_a_map_are_those_of_the_array(tmp_path):
    rng = np.random.default_rng(0)
    weights, inputs = rng.standard_normal((20, 3)), rng.standard_normal((300, 20)).round(1)
    targets = inputs @ weights > 1
    for order in ("C", "F"):
        np.save(tmp_path / f"{order}.npy", np.asarray(inputs, order=order))
    options = {"search": "weight_order", "refine": True, "max_literals": 5}
    expected = mofn.extract_layer(weights, inputs, targets, **options)
    for order in ("C", "F"):
        mapped = np.load(tmp_path / f"{order}.npy", mmap_mode="r")
        found = mofn.extract_layer(weights, mapped, targets, memory_budget=10_000, **options)
        assert str(found) == str(expected)


@pytest.fixture(scope="module")
def large_map(tmp_path_factory):
    """A map of 256 MiB."""
    file = tmp_path_factory.mktemp("maps") / "inputs.npy"
    inputs = open_memmap(file, "w+", np.float32, (2**16, 2**10))
    rng = np.random.default_rng(0)
    for rows in row_slices(inputs, 2**24):
        inputs[rows] = rng.random(inputs[rows].shape, np.float32)
    inputs.flush()
    return file


@pytest.mark.parametrize("search", ["weight_order", "exact"])
def test_a_map_of_eight_budgets_takes_a_few_of_memory(large_map, search):
    budget = 2**25
    (printed,) = processes.run_side_by_side(["tests.memory_job", large_map, search, 4, budget])
    assert int(printed) < 5 * budget


def test_rules_of_thousands_of_literals_take_a_few_budgets_of_memory(tmp_path):
    budget = 2**25  # the table of the ranks of all rules would be two of them
    np.save(tmp_path / "inputs.npy", np.random.default_rng(0).random((2000, 4000), np.float32))
    (printed,) = processes.run_side_by_side(
        ["tests.memory_job", tmp_path / "inputs.npy", "weight_order", 4000, budget]
    )
    assert int(printed) < 5 * budget


def test_one_ahead_is_made_while_this_one_is_worked_on():
    made, wanted = [], threading.Event()

    def items():
        for i in range(3):
            made.append(i)
            if i == 1:
                wanted.set()
            yield i

    ahead = chunking.one_ahead(items())
    assert next(ahead) == 0
    assert wanted.wait(10)  # nobody has asked for it yet
    assert [*ahead] == [1, 2]
    assert made == [0, 1, 2]


def test_what_goes_wrong_ahead_is_told():
    def items():
        yield 0
        raise OSError("the disk")

    ahead = chunking.one_ahead(items())
    assert next(ahead) == 0
    with pytest.raises(OSError, match="the disk"):
        next(ahead)


def test_what_is_made_of_one_is_worked_on_while_the_next_one_is_made():
    worked_on, made = threading.Event(), []

    def items():
        yield 0
        assert worked_on.wait(10)  # though nothing was made of it yet
        yield 1
        yield 2

    def double(item):
        if item == 0:
            worked_on.set()
        made.append(item)
        return 2 * item

    assert [*chunking.one_behind(double, items())] == [0, 2, 4]
    assert made == [0, 1, 2]
    assert [*chunking.one_behind(double, [])] == []


@pytest.mark.parametrize("fails", ["item", "function"])
def test_what_goes_wrong_behind_or_before_is_told(fails):
    def items():
        yield 1
        yield 0
        if fails == "item":
            raise OSError("the disk")

    def inverse(item):
        return 1 / (item + (fails == "item"))

    behind = chunking.one_behind(inverse, items())
    with pytest.raises(OSError if fails == "item" else ZeroDivisionError):
        list(behind)

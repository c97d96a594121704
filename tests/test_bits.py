"""Bits: every example once, literals where they hold, and counts that every device agrees on."""

import jax
import numpy as np
import pytest

from mofn_jax import bits
from mofn_jax.literals import Literals, literal_truth


def test_packing_keeps_every_example_once():
    truth = np.random.default_rng(0).random((3, 45)) < 0.5
    words = bits.pack_examples(truth)
    assert words.shape == (3, 2)
    np.testing.assert_array_equal(jax.lax.population_count(words).sum(1), truth.sum(1))


def test_signed_counts_of_every_device_agree():
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(2**32, size=(size, 9), dtype=np.uint32) for size in (5, 7))
    signs = rng.choice(np.array([-1, 1], np.int32), 9)
    expected = (np.bitwise_count(rows[:, None] & columns).astype(int) * signs).sum(-1)
    for signed in (bits._counts_by_word, bits._counts_at_once, bits.signed_counts):
        np.testing.assert_array_equal(jax.jit(signed)(rows, columns, signs), expected)
    expected = np.bitwise_count(rows[:, None] & columns).sum(-1)
    for count in (bits._scan_words, bits._all_at_once, bits.counts):
        np.testing.assert_array_equal(jax.jit(count)(rows, columns.T), expected)


@pytest.mark.parametrize("num_on", [0, 1, 31, 32, 33, 70])
def test_packing_by_target_keeps_every_example_on_its_side(num_on):
    rng = np.random.default_rng(num_on)
    target = rng.permutation(np.arange(70) < num_on)
    truth = rng.random((4, 70)) < 0.5
    words, signs = bits.pack_by_target(bits.pack_examples(truth), target)
    assert words.shape == (4, 4)
    on, off = (np.bitwise_count(words[:, signs == sign]).sum(1) for sign in (-1, 1))
    assert on.tolist() == truth[:, target].sum(1).tolist()
    assert off.tolist() == truth[:, ~target].sum(1).tolist()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("memory_budget", [1, 2**20])
def test_literals_hold_where_they_hold(order, memory_budget):
    rng = np.random.default_rng(0)
    inputs = np.asarray(rng.standard_normal((100, 6)).round(1), order=order)
    literals = [
        Literals(
            rng.permutation(6)[:size], rng.standard_normal(size).round(1), rng.random(size) < 0.5
        )
        for size in (6, 0, 3)
    ]
    found = bits.literal_bits(literals, inputs, 6, memory_budget)
    for unit, unit_literals in zip(found, literals, strict=True):
        count = len(unit_literals.inputs)
        expected = bits.pack_examples(literal_truth(unit_literals, inputs).T)
        np.testing.assert_array_equal(unit[:count], expected)
        assert not unit[count:].any()

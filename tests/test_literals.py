"""Literals: sign, order, and what gives none."""

import numpy as np
import oracle
import pytest

from mofn_jax.literals import (
    Literals,
    literal_truth,
    ordered_literals,
    ordered_literals_by_gain,
)


def as_tuples(literals):
    return list(zip(*(field.tolist() for field in literals[:3]), strict=True))


def test_worked_example():
    literals = ordered_literals(np.array([1.5, -0.5]), np.array([0.7, 4.0]))
    assert as_tuples(literals) == [(0, 0.7, False), (1, 4.0, True)]


@pytest.mark.parametrize("seed", range(20))
def test_against_the_oracle(seed):
    rng = np.random.default_rng(seed)
    weights = rng.integers(-3, 4, 12) / 2  # zeros, and ties in size
    thresholds = np.where(rng.random(12) < 0.2, np.nan, rng.standard_normal(12))
    expected = oracle.literals(
        weights.tolist(), [None if np.isnan(t) else t for t in thresholds.tolist()]
    )
    assert as_tuples(ordered_literals(weights, thresholds)) == expected
    assert as_tuples(ordered_literals(weights, thresholds, max_literals=3)) == expected[:3]


def test_all_weights_zero_gives_none():
    assert as_tuples(ordered_literals(np.zeros(3), np.zeros(3))) == []


def test_truth_is_each_literal_on_each_example():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((20, 4)).round(1)
    literals = Literals(np.array([2, 0]), inputs[3, [2, 0]], np.array([False, True]))
    expected = [
        [oracle.holds(literal, example) for literal in as_tuples(literals)]
        for example in inputs.tolist()
    ]
    assert literal_truth(literals, inputs).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_order_and_signs_by_gain(seed):
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 4, (50, 6)).astype(np.float32)
    target = inputs[:, 0] - inputs[:, 3] + rng.standard_normal(50) > 0
    thresholds = np.array([2, np.nan, 1, 2, 3, 1])
    gains = np.array([0.3, 0, 0.1, 0.3, 0.2, 0.1])
    literals = ordered_literals_by_gain(inputs, target, thresholds, gains)
    assert literals.inputs.tolist() == [0, 3, 4, 2, 5]
    assert literals.negated[:2].tolist() == [False, True]
    for i, threshold, negated in as_tuples(literals):
        above = inputs[:, i] >= threshold
        assert negated == (target[above].mean() < target[~above].mean())

"""Thresholds against the oracle, the worked examples, and the legal extremes."""

import math
from fractions import Fraction

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import mofn_jax as mofn
from mofn_jax import thresholds as th

WITHIN = 1e-6  # nats, how far from the best gain a threshold may be


def split_counts(values, labels, threshold):
    """The class counts of both sides, in either order: equal ones have exactly equal gain."""
    sides = ([], [])
    for value, label in zip(values, labels, strict=True):
        sides[int(value >= threshold)].append(label)
    return sorted(tuple(side.count(label) for label in sorted(set(labels))) for side in sides)


def assert_best(values, labels, threshold, reported_gain):
    """The threshold is a candidate, as good as any, and the smallest of the exactly equal."""
    candidates = oracle.candidates(values)
    if not candidates:
        assert math.isnan(threshold)
        return
    gains = {candidate: oracle.gain(values, labels, candidate) for candidate in candidates}
    best = max(gains.values())
    assert gains[threshold] >= best - WITHIN
    assert reported_gain == pytest.approx(best, abs=WITHIN)
    counts = split_counts(values, labels, threshold)
    assert threshold == min(c for c in candidates if split_counts(values, labels, c) == counts)


def assert_all_best(inputs, targets):
    found = th.best_thresholds(inputs, targets)
    for i in range(inputs.shape[1]):
        for j in range(targets.shape[1]):
            assert_best(
                inputs[:, i].tolist(),
                targets[:, j].tolist(),
                found.values[i, j],
                found.gains[i, j],
            )
    return found


def test_worked_example_of_two_inputs():
    inputs = np.array([[0.1, 5], [0.4, 1], [0.4, 4], [0.7, 2], [0.9, 3], [1, 0]], np.float32)
    targets = np.array([0, 0, 0, 1, 1, 1], bool)[:, None]
    found = assert_all_best(inputs, targets)
    assert found.values[:, 0].tolist() == [np.float32(0.7), 4.0]
    np.testing.assert_allclose(found.gains[:, 0], [math.log(2), 0.318257], atol=1e-6)


def test_information_gain_of_the_worked_example():
    values, labels = jnp.array([5.0, 1, 4, 2, 3, 0]), jnp.array([0, 0, 0, 1, 1, 1])
    gains = jax.vmap(lambda t: th.information_gain(values, labels, t, 2))(jnp.arange(1.0, 6))
    np.testing.assert_allclose(gains, [0.132304, 0, 0.056633, 0.318257, 0.132304], atol=1e-6)


def test_majority_of_three():
    inputs = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    found = assert_all_best(inputs, inputs.sum(1, keepdims=True) >= 2)
    assert found.values[:, 0].tolist() == [1, 1, 1]
    np.testing.assert_allclose(found.gains[:, 0], 0.130812, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8, bool])
@pytest.mark.parametrize("num_examples", [1, 2, 31, 32, 33, 100])
def test_random_cases(dtype, num_examples):
    rng = np.random.default_rng(num_examples)
    inputs = np.stack(
        [
            rng.integers(0, 2, num_examples),
            rng.integers(0, 5, num_examples),
            np.full(num_examples, 3),
            100 * np.maximum(rng.standard_normal(num_examples), 0),
        ],
        axis=1,
    ).astype(dtype)
    targets = np.stack(
        [rng.random(num_examples) < 0.1, rng.random(num_examples) < 0.5, inputs[:, 3] > 50], 1
    )
    assert_all_best(inputs, targets)


@hypothesis.settings(deadline=None, max_examples=150)
@hypothesis.given(
    st.sampled_from([1, 3, 9, 34]).flatmap(
        lambda num_examples: st.tuples(
            hnp.arrays(
                np.float64,
                (num_examples, 2),
                elements=st.sampled_from([-2.0, -0.0, 0.0, 5e-324, 1e-40, 1.5, 7.0])
                | st.floats(-1e300, 1e300),
            ),
            hnp.arrays(bool, (num_examples, 2)),
        )
    )
)
def test_any_case(case):
    assert_all_best(*case)


def test_float64_values_that_float32_cannot_tell_apart():
    inputs = np.array([[1.0], [1 + 1e-12], [1 + 2e-12]])
    found = th.best_thresholds(inputs, np.array([[False], [False], [True]]))
    assert found.values[0, 0] == 1 + 2e-12


@pytest.mark.parametrize("num_classes", [1, 2, 3, 10, 70])
@pytest.mark.parametrize("num_examples", [1, 33, 200])
def test_unit_thresholds_about_several_classes(num_classes, num_examples):
    rng = np.random.default_rng(num_classes)
    activations = np.tanh(rng.standard_normal((num_examples, 5))).astype(np.float32)
    activations[:, 1] = np.maximum(activations[:, 1], 0)
    activations[:, 2] = 0.25
    labels = rng.integers(0, num_classes, num_examples)
    thresholds, gains = th.unit_thresholds(activations, labels, num_classes)
    for j in range(5):
        assert_best(activations[:, j].tolist(), labels.tolist(), thresholds[j], gains[j])
    assert np.isnan(thresholds[2])
    assert gains[2] == -1
    targets, again = mofn.binarize_targets(activations, labels, num_classes)
    np.testing.assert_array_equal(again, thresholds)
    np.testing.assert_array_equal(targets, activations >= thresholds)
    assert not targets[:, 2].any()


def test_softmax_targets():
    assert th.softmax_targets([1, 0, 1], 3).tolist() == [
        [False, True, False],
        [True, False, False],
        [False, True, False],
    ]


def test_memory_budget_and_order_of_examples_change_nothing():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((500, 7)).astype(np.float32).round(1)
    targets = rng.random((500, 5)) < 0.3
    whole = th.best_thresholds(inputs, targets)
    shuffled = rng.permutation(500)
    for other in (
        th.best_thresholds(inputs, targets, memory_budget=1),
        th.best_thresholds(inputs, targets, memory_budget=200_000),
        th.best_thresholds(inputs[shuffled], targets[shuffled]),
    ):
        np.testing.assert_array_equal(other.values, whole.values)
        np.testing.assert_array_equal(other.gains, whole.gains)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((0, 2)), np.zeros((0, 1), bool)), "inputs: has no elements"),
        ((np.zeros((3, 0)), np.zeros((3, 1), bool)), "inputs: has no elements"),
        ((np.zeros(3), np.zeros((3, 1), bool)), r"inputs: expected shape \[any, any\]"),
        ((np.full((3, 1), np.nan), np.zeros((3, 1), bool)), "inputs: holds NaN"),
        ((np.full((3, 1), np.inf), np.zeros((3, 1), bool)), "inputs: holds NaN or infinity"),
        ((np.full((3, 1), "a"), np.zeros((3, 1), bool)), "inputs: expected real numbers"),
        ((np.zeros((3, 1)), np.zeros((2, 1), bool)), r"targets: expected shape \[3, any\]"),
        ((np.zeros((3, 1)), np.zeros((3, 1))), "targets: expected booleans"),
    ],
)
def test_bad_input_of_best_thresholds(arguments, message):
    with pytest.raises(ValueError, match=message):
        th.best_thresholds(*arguments)


@pytest.mark.parametrize(
    ("activations", "predictions", "message"),
    [
        (np.zeros((3, 1)), [0, 1, 2], r"predictions: expected labels in 0..1, got .* from 0 to 2"),
        (np.zeros((3, 1)), [0, -1, 1], "predictions: expected labels in 0..1"),
        (np.zeros((3, 1)), [0.0, 1.0, 1.0], "predictions: expected integers"),
        (np.zeros((3, 1)), [0, 1], r"predictions: expected shape \[3\]"),
        (np.full((3, 1), -np.inf), [0, 1, 1], "activations: holds NaN or infinity"),
    ],
)
def test_bad_input_of_binarize_targets(activations, predictions, message):
    with pytest.raises(ValueError, match=message):
        mofn.binarize_targets(activations, predictions, 2)


def test_most_informative_position_is_that_of_largest_gain():
    rng = np.random.default_rng(0)
    activations = np.maximum(rng.standard_normal((30, 2, 3, 2)), 0).astype(np.float32)
    labels = rng.integers(0, 3, 30)
    activations[:, 1, 2, 0] = labels
    activations[:, 0, 1, 1] = activations[:, 1, 0, 1] = labels >= 1  # a tie
    activations[:, 0, 0, 1] = 7
    found = mofn.most_informative_positions(activations, labels, 3)
    assert found.tolist() == [[1, 2], [0, 1]]
    for unit, (row, column) in enumerate(found):
        best = max(
            oracle.gain(activations[:, i, j, unit].tolist(), labels.tolist(), threshold)
            for i, j in np.ndindex(2, 3)
            for threshold in oracle.candidates(activations[:, i, j, unit].tolist())
        )
        values = activations[:, row, column, unit].tolist()
        assert best == max(
            oracle.gain(values, labels.tolist(), t) for t in oracle.candidates(values)
        )


def test_positions_are_of_a_convolution():
    with pytest.raises(ValueError, match="activations: expected shape"):
        mofn.most_informative_positions(np.zeros((4, 3)), np.zeros(4, int), 2)


def test_classes_never_predicted_change_nothing():
    rng = np.random.default_rng(0)
    activations, labels = rng.standard_normal((50, 6)), rng.integers(0, 3, 50)
    few = mofn.unit_thresholds(activations, labels, 3)
    many = mofn.unit_thresholds(activations, 1000 * labels, 10**9)
    np.testing.assert_array_equal(few, many)


@pytest.mark.parametrize("memory_budget", [0, 1e9])
def test_bad_memory_budget(memory_budget):
    message = "memory_budget: expected an integer of at least 1"
    with pytest.raises(ValueError, match=message):
        mofn.best_thresholds(np.eye(3), np.eye(3) > 0, memory_budget=memory_budget)
    with pytest.raises(ValueError, match=message):
        mofn.binarize_targets(np.eye(3), np.arange(3), 3, memory_budget=memory_budget)


def exact_gain(values, labels, threshold):
    """exp(E * gain) but for a factor that all thresholds share, as a fraction of integers."""
    above = [label for value, label in zip(values, labels, strict=True) if value >= threshold]
    below = [label for value, label in zip(values, labels, strict=True) if value < threshold]
    sides = (above, below)
    return Fraction(
        math.prod(
            side.count(label) ** side.count(label) for side in sides for label in set(labels)
        ),
        math.prod(len(side) ** len(side) for side in sides),
    )


def first_of_the_best(values, labels):
    """The smallest threshold of exactly the largest gain."""
    gains = {t: exact_gain(values, labels, t) for t in oracle.candidates(values)}
    return min(t for t in gains if gains[t] == max(gains.values()))


def test_of_exactly_equal_gains_of_many_classes_the_smallest_threshold():
    values, labels = [0, 0.5, 0, 0, 1, 0, 0.5], [3, 2, 1, 3, 3, 2, 3]
    assert exact_gain(values, labels, 0.5) == exact_gain(values, labels, 1.0)
    found, _ = th.unit_thresholds(np.array(values)[:, None], labels, 4)
    assert found == 0.5


@pytest.mark.parametrize("num_classes", [2, 3, 6, 40])
def test_ties_against_whole_numbers(num_classes):
    rng = np.random.default_rng(num_classes)
    for _ in range(25):
        num_examples = rng.choice([4, 11, 28, 59])  # what is compiled for one is good for others
        values = rng.integers(0, rng.integers(3, 12), (num_examples, 8)).astype(np.float32)
        values[:2] = [[0], [1]]  # none is constant
        labels = rng.integers(0, num_classes, num_examples)
        found, _ = th.unit_thresholds(values, labels, num_classes)
        expected = [first_of_the_best(column, labels.tolist()) for column in values.T.tolist()]
        assert found.tolist() == expected
        if num_classes == 2:
            found = th.best_thresholds(values, labels[:, None] == 1).values[:, 0]
            assert found.tolist() == expected


def test_of_positions_that_tell_as_much_the_first():
    values, labels = [0, 0.5, 0, 0, 1, 0, 0.5], [3, 2, 1, 3, 3, 2, 3]
    # The second position has the later cut alone, whose gain is exactly that of the first's.
    second = [float(value == 1) for value in values]
    first = [float(value >= 0.5) for value in values]
    for maps in ([first, second], [second, first]):
        activations = np.array(maps).T.reshape(7, 1, 2, 1)
        assert mofn.most_informative_positions(activations, labels, 4).tolist() == [[0, 0]]

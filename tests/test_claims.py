"""What the paper says of its search, tried: by weight no set of literals is missed, on bits."""

import itertools

import jax
import numpy as np
import oracle
import pytest

import mofn_jax as mofn


def rows(num_values, num_inputs):
    return np.array(list(itertools.product(range(num_values), repeat=num_inputs)))


def least_errors_by_size(truth, targets):
    """Of each target the least errors of any M of any N of the literals, for each N: [u, n + 1]."""
    num_inputs = truth.shape[1]
    least = np.full((targets.shape[1], num_inputs + 1), len(truth))
    for size in range(num_inputs + 1):
        for some in itertools.combinations(range(num_inputs), size):
            counts = truth[:, some].sum(1)
            for m in range(size + 2):
                errors = ((counts >= m)[:, None] != targets).sum(0)
                least[:, size] = np.minimum(least[:, size], errors)
    return least


def assert_optimal_on_bits(weights, biases):
    """Threshold units over all rows of bits, [u, n] weights, largest first: the first N literals
    make as few errors as any N do."""
    inputs = rows(2, weights.shape[1])
    targets = inputs @ weights.T >= biases
    truth = inputs == 1
    everything = mofn.pack_examples(np.ones(len(inputs), bool))
    score = jax.jit(jax.vmap(mofn.score_unit, in_axes=(None, 0, None)))
    tables = score(mofn.pack_examples(truth.T), mofn.pack_examples(targets.T), everything)
    sizes = np.arange(weights.shape[1] + 1)
    is_rule = sizes[:, None] + 1 >= np.arange(len(sizes) + 1)
    by_weight = np.where(is_rule, tables, len(inputs)).min(-1)
    np.testing.assert_array_equal(by_weight, least_errors_by_size(truth, targets))


@pytest.mark.parametrize("num_inputs", [1, 2, 3, 4])
def test_weight_order_is_optimal_on_bits(num_inputs):
    drawn = itertools.combinations_with_replacement(range(4, 0, -1), num_inputs)
    pairs = [(w, bias) for w in drawn for bias in range(sum(w) + 2)]
    weights, biases = (np.array(side) for side in zip(*pairs, strict=True))
    assert_optimal_on_bits(weights, biases)


@pytest.mark.parametrize("num_inputs", [5, 6])
def test_weight_order_is_optimal_on_more_bits(num_inputs):
    rng = np.random.default_rng(num_inputs)
    weights = -np.sort(-rng.integers(1, 5, (1000, num_inputs)), axis=1)
    assert_optimal_on_bits(weights, rng.integers(0, weights.sum(1) + 2))


def test_a_threshold_of_bits_is_between_them():
    inputs = rows(2, 4)
    targets = inputs @ [[4, 1], [2, 3], [1, 2], [1, 2]] >= [5, 4]
    thresholds = mofn.best_thresholds(inputs, targets).values
    np.testing.assert_array_equal(thresholds, 1)


@pytest.mark.parametrize(
    ("weights", "bias", "thresholds", "size", "better", "errors"),
    [((4, 2, 1), 6, (1, 1, 2), 2, (0, 2), (5, 4)), ((4, 3, 1), 7, (2, 1, 1), 1, (1,), (8, 7))],
)
def test_weight_order_is_not_optimal_on_three_values(
    weights, bias, thresholds, size, better, errors
):
    inputs, weights = rows(3, 3), np.array(weights)
    target = inputs @ weights >= bias
    found = mofn.best_thresholds(inputs, target[:, None]).values[:, 0]
    np.testing.assert_array_equal(found, thresholds)
    literals = oracle.literals(weights.tolist(), thresholds)
    examples, on = inputs.tolist(), target.tolist()
    first, best = (
        min(oracle.errors(m, some, examples, on) for m in range(size + 2))
        for some in (literals[:size], [literals[i] for i in better])
    )
    assert (first, best) == errors


def test_the_search_that_is_exact_finds_what_weight_order_misses():
    inputs, weights = rows(3, 3), np.array([4, 3, 1])
    arrays = weights[:, None], inputs, (inputs @ weights >= 7)[:, None]
    for search, errors in (("weight_order", 8), ("exact", 7)):
        front = mofn.extract_layer(*arrays, search=search)
        (rule,) = mofn.select_rules(front, max_literals=1)
        assert round(rule.error * 27) == errors

"""Complexity against the oracle and the worked examples, and the order of rules by it."""

import numpy as np
import oracle
import pytest

from mofn_jax.complexity import (
    NO_RULE,
    complexity,
    dnf_complexity,
    prefix_order,
    prefix_order_from,
)


def test_order_of_rules_is_by_complexity_then_size():
    order = prefix_order(6)
    rules = [(0, 0), (0, 1)] + [(taken, m) for taken in range(1, 7) for m in range(1, taken + 1)]
    rules.sort(key=lambda rule: (oracle.length(rule[1], rule[0]), rule))
    ranks = [order.ranks[rule] for rule in rules]
    assert ranks == sorted(set(ranks))
    assert np.transpose(order.rules_at(np.array(ranks))).tolist() == [list(r) for r in rules]
    assert (order.ranks != NO_RULE).sum() == len(rules)


def test_orders_of_some_of_the_rules():
    whole = prefix_order(11)
    for first, stop in ((0, 4), (4, 8), (8, 12)):
        order = prefix_order_from(first, stop, 11)
        assert order.ranks.shape == (5, 13)
        rows = np.full_like(order.ranks, NO_RULE)
        rows[: 12 - first] = whole.ranks[first : stop + 1]
        if first:
            rows[0] = NO_RULE
        is_rule = rows != NO_RULE
        np.testing.assert_array_equal(order.ranks != NO_RULE, is_rule)
        np.testing.assert_array_equal(np.argsort(order.ranks[is_rule]), np.argsort(rows[is_rule]))
        rules = np.transpose(order.rules_at(order.ranks[is_rule])).tolist()
        assert rules == [[first + taken, m] for taken, m in np.argwhere(is_rule)]


@pytest.mark.parametrize(
    ("num_inputs", "expected"),
    [
        (
            3,
            {(1, 2): 0.386853, (2, 2): 0.386853, (1, 3): 0.613147, (3, 3): 0.613147, (2, 3): 1},
        ),
        (4, {(2, 2): 0.278943, (1, 3): 0.442114, (3, 3): 0.442114, (2, 3): 0.721057}),
        (4, {(1, 4): 0.557886, (4, 4): 0.557886, (2, 4): 1, (3, 4): 1, (1, 1): 0}),
        (128, {(3, 3): 0.012176, (2, 3): 0.019858, (8, 10): 0.065236, (65, 128): 1}),
    ],
)
def test_worked_complexities(num_inputs, expected):
    m, taken = zip(*expected, strict=True)
    found = complexity(m, taken, num_inputs)
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-6)


@pytest.mark.parametrize("num_inputs", [1, 2, 3, 7, 40, 128])
def test_complexity_against_the_oracle_with_exact_ties(num_inputs):
    rules = [(m, taken) for taken in range(num_inputs + 1) for m in range(taken + 2)]
    found = complexity(*np.transpose(rules), num_inputs).tolist()
    expected = [oracle.complexity(m, taken, num_inputs) for m, taken in rules]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    by_length = {}
    for (m, taken), value in zip(rules, found, strict=True):
        by_length.setdefault(oracle.length(m, taken), set()).add(value)
    assert all(len(values) == 1 for values in by_length.values())
    if num_inputs > 1:  # and rules of different length differ
        assert len(set(found)) == len(by_length)


def test_complexity_of_more_literals_than_inputs():
    with pytest.raises(ValueError, match="num_literals: expected at most 3, got 4"):
        complexity(2, [3, 4], num_inputs=3)


def test_what_is_kept_for_the_next_caller_is_read_only():
    for array in prefix_order(5):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 7


def test_a_dnf_is_as_complex_as_the_rule_it_spells_out():
    for num_inputs in (1, 2, 5, 21):
        for taken in range(num_inputs + 1):
            for m in range(taken + 2):
                length = oracle.length(m, taken)
                expected = complexity(m, taken, num_inputs)
                assert dnf_complexity(length, num_inputs) == pytest.approx(expected, abs=1e-9)
    assert dnf_complexity(10**6, 3) > 1
    with pytest.raises(ValueError, match="length: expected integers"):
        dnf_complexity(-1, 3)

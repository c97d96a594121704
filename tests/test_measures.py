"""What rules say of examples and how true that is, against a plain reading of them."""

import numpy as np
import oracle
import pytest
from test_rules import make_rule

import mofn_jax as mofn


def test_evaluate_against_the_oracle():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((50, 3)).round(1)
    inputs[:5, 2] = 0.5  # on the threshold
    rules = [make_rule(m=m) for m in (0, 1, 2, 3)]
    says = mofn.evaluate_rules(rules, inputs)
    for rule, column in zip(rules, says.T, strict=True):
        assert column.tolist() == [
            oracle.says(rule.m, rule.literals, example) for example in inputs.tolist()
        ]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((2, 2)), "inputs: the rules need at least 3 columns, got 2"),
        (np.full((2, 3), np.nan), "inputs: holds NaN"),
        (np.zeros((0, 3)), "inputs: has no elements"),
    ],
)
def test_bad_inputs_to_evaluate(inputs, message):
    with pytest.raises(ValueError, match=message):
        mofn.evaluate_rules([make_rule()], inputs)


def test_held_out_errors_are_counted_on_the_other_examples():
    inputs = np.array([[0, 0, 1.0], [0, 0, 0], [-2, 0, 0], [-2, 0, 1]])
    targets = np.array([[True], [True], [True], [False]])
    (rule,) = mofn.measure_held_out([make_rule()], inputs, targets)
    assert rule.held_out_error == 0.5  # it says 1 0 1 1
    assert rule.held_out_baseline_error == 0.25
    assert rule.held_out_skill == -1
    assert rule.error == 0.01
    with pytest.raises(ValueError, match=r"targets: expected shape \[4, 1\]"):
        mofn.measure_held_out([make_rule()], inputs, targets[:3])

"""Rules: what they say, how they print."""

import math

import numpy as np
import pytest

import mofn_jax as mofn


def make_rule(**changes):
    literals = (mofn.Literal(2, 0.5, False), mofn.Literal(0, -1.25, True))
    return mofn.Rule(3, 1, literals, 0.01, 0.2, 0.1)._replace(**changes)


def test_skill_says_when_there_is_nothing_to_explain():
    assert make_rule().skill == pytest.approx(0.9)
    assert math.isnan(make_rule(error=0.0, baseline_error=0.0).skill)
    assert make_rule().held_out_skill is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {},
            "unit 3 <=> 1 of {x2 >= 0.5, x0 < -1.25}"
            "   (error 1.0%, baseline 10.0%, complexity 0.200)",
        ),
        ({"m": 0, "literals": ()}, "unit 3 <=> true   (error"),
        ({"m": 1, "literals": ()}, "unit 3 <=> false   (error"),
        (
            {"held_out_error": 0.123, "held_out_baseline_error": 0.2},
            "(error 1.0%, baseline 10.0%, held-out error 12.3%, held-out baseline 20.0%, complex",
        ),
        ({"layer": "dense_0", "unit_threshold": 0.75}, "dense_0 unit 3 >= 0.75 <=> 1 of {x2"),
        (
            {"layer": "conv_1", "position": (4, 5), "kernel_shape": (1, 1, 3)},
            "conv_1 unit 3 at row 4, column 5 <=> 1 of {c2[+0, +0] >= 0.5, c0[+0, +0] < -1.25}",
        ),
    ],
)
def test_text(changes, text):
    assert text in str(make_rule(**changes))


@pytest.mark.parametrize(
    ("index", "name"), [(0, "c0[-1, -1]"), (1, "c1[-1, -1]"), (2, "c0[-1, +0]"), (17, "c1[+1, +1]")]
)
def test_name_of_a_convolutions_input_is_channel_and_offset(index, name):
    rule = make_rule(literals=(mofn.Literal(index, 0.5, False),), kernel_shape=(3, 3, 2))
    assert f"{{{name} >= 0.5}}" in str(rule)


def test_names_of_the_users_own():
    assert "{size >= 0.5, age < -1.25}" in mofn.format_rule(make_rule(), ["age", "sex", "size"])


def test_too_few_names():
    with pytest.raises(ValueError, match="input_names: the rule needs at least 3, got 2"):
        mofn.format_rule(make_rule(), ["age", "sex"])


def test_a_constant_rule_has_no_held_out_skill_by_rounding():
    inputs, on = np.zeros((10, 3)), np.arange(10)[:, None] < 9
    (rule,) = mofn.measure_held_out([make_rule(m=0, literals=())], inputs, on)
    assert rule.held_out_error == rule.held_out_baseline_error == 0.1
    assert rule.held_out_skill == 0


def test_rules_from_an_iterator_are_not_used_up():
    rules = [make_rule(), make_rule(m=0, literals=())]
    inputs = np.zeros((4, 3))
    np.testing.assert_array_equal(
        mofn.evaluate_rules(iter(rules), inputs), mofn.evaluate_rules(rules, inputs)
    )

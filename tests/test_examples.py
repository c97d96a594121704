"""Why rules say what they say of one example: read plainly, and by trying what turns it."""

import itertools
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import mofn_jax as mofn

LITERALS = (
    mofn.Literal(0, 0.5, False, name="age <b>", offset=40.0, scale=10.0),
    mofn.Literal(2, 1.5, True),
    mofn.Literal(1, -1.0, False),
)


def make_rule(m, literals=LITERALS, **changes):
    return mofn.Rule(3, m, literals, 0.01, 0.2, 0.1)._replace(**changes)


def test_each_literal_with_its_value_in_the_tables_own_units():
    found = mofn.explain_example([make_rule(2)], np.array([0.25, 0.0, 1.0]))
    (checked,) = found.rules
    assert [(one.value, one.holds) for one in checked.literals] == [
        (42.5, False),
        (1.0, True),
        (0.0, True),
    ]
    assert (checked.says, checked.num_holding, checked.to_turn) == (True, 2, 1)
    assert str(found).splitlines() == [
        "1 of 1 rules say on: unit 3",
        "unit 3: on, 2 of 3 hold, 2 needed; it would turn if 1 of those failed",
        "  holds  x2 < 1.5: it is 1",
        "  holds  x1 >= -1: it is 0",
        "  fails  age <b> >= 45: it is 42.5",
    ]


@pytest.mark.parametrize("m", [0, 1, 2, 3, 4])
def test_it_says_what_the_rules_say_and_no_fewer_literals_turn_it(m):
    rule = make_rule(m)
    for holds in itertools.product((True, False), repeat=3):
        example = np.array([1.0, -2.0, 3.0]) + np.array([-1, 2, -3]) * [
            not holds[0],
            holds[2],
            holds[1],
        ]
        (checked,) = mofn.explain_example([rule], example).rules
        assert tuple(one.holds for one in checked.literals) == holds
        assert checked.says == mofn.evaluate_rules([rule], example[None])[0, 0]
        turning = [
            sum(a != b for a, b in zip(holds, other, strict=True))
            for other in itertools.product((True, False), repeat=3)
            if (sum(other) >= m) != checked.says
        ]
        assert checked.to_turn == min(turning, default=None)


def test_in_float32_a_value_on_the_threshold_is_what_the_rule_takes_it_for():
    rule = make_rule(1, (mofn.Literal(0, float(np.float32(0.1)), False),))
    example = np.array([0.1], np.float32)
    assert mofn.explain_example([rule], example).rules[0].says
    assert mofn.evaluate_rules([rule], example[None])[0, 0]


def test_classes_that_the_rules_allow():
    rules = [make_rule(m, unit_name=name) for m, name in ((1, "cat"), (2, "dog"), (3, "cow"))]
    found = mofn.explain_example(rules, [0.25, 0.0, 1.0])
    assert [one.rule.unit_name for one in found.saying_on] == ["cat", "dog"]
    assert str(found).startswith("2 of 3 rules say on: class cat, class dog\n")
    table = ET.fromstring(f"<div>{found._repr_html_()}</div>")
    assert len(table.findall(".//tr")) == 1 + 3 * 3
    cells = ["".join(cell.itertext()) for cell in table.findall(".//td")]
    assert cells.count("age <b> >= 45") == 3
    nothing = mofn.explain_example([make_rule(1, ())], [0.0])
    assert str(nothing) == "0 of 1 rules say on\nunit 3: off, always"
    assert "off, always" in nothing._repr_html_()


@pytest.mark.parametrize(
    ("rules", "inputs", "message"),
    [
        ([make_rule(1)], [0.0, 1.0], "inputs: the rules need at least 3, got 2"),
        ([make_rule(1)], [[0.0, 1.0, 2.0]], r"inputs: expected shape \[any\]"),
        ([make_rule(1)], [np.nan, 1, 2], "inputs: holds NaN"),
        ([3], [0.0], r"rules\[0\]: expected a Rule"),
    ],
)
def test_what_is_no_example_is_refused(rules, inputs, message):
    with pytest.raises(ValueError, match=message):
        mofn.explain_example(rules, inputs)


@pytest.mark.parametrize("held_out", [True, False])
def test_on_how_many_examples_the_rules_of_classes_decide_nothing(held_out):
    rng = np.random.default_rng(0)
    inputs, weights = rng.standard_normal((120, 6)), rng.standard_normal((6, 4))
    logits = inputs @ weights
    layer = mofn.layer_from_arrays("fc", weights, inputs, logits, logits.argmax(1), kind="softmax")
    some, others = (
        layer._replace(
            inputs=inputs[rows], activations=logits[rows], predictions=layer.predictions[rows]
        )
        for rows in (slice(80), slice(80, 120))
    )
    result = mofn.explain_layer(
        some, held_out=others if held_out else None, betas=[0.3], lengths=[2], search="stepwise"
    )
    seen = others if held_out else some
    for row, rules in zip(
        mofn.report.layer_rows(result),
        (*result.rules.values(), *result.by_length.values()),
        strict=True,
    ):
        on = mofn.evaluate_rules(rules, seen.inputs).sum(1)
        assert row.none_on == (on == 0).mean()
        assert row.several_on == (on > 1).mean()
    assert row.none_on > 0
    hidden = layer._replace(kind="dense")
    assert np.isnan(mofn.report.layer_rows(mofn.explain_layer(hidden, betas=[0.3]))[0].none_on)

"""Rules: what they say, how they print, and that they survive JSON."""

import json
import math

import numpy as np
import oracle
import pytest

import mofn_jax as mofn


def make_rule(**changes):
    literals = (mofn.Literal(2, 0.5, False), mofn.Literal(0, -1.25, True))
    return mofn.Rule(3, 1, literals, 0.01, 0.2, 0.1)._replace(**changes)


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
            "conv_1 unit 3 at row 4, column 5 <=> 1 of {c2[+0,+0] >= 0.5, c0[+0,+0] < -1.25}",
        ),
    ],
)
def test_text(changes, text):
    assert text in str(make_rule(**changes))


@pytest.mark.parametrize(
    ("index", "name"), [(0, "c0[-1,-1]"), (1, "c1[-1,-1]"), (2, "c0[-1,+0]"), (17, "c1[+1,+1]")]
)
def test_name_of_a_convolutions_input_is_channel_and_offset(index, name):
    rule = make_rule(literals=(mofn.Literal(index, 0.5, False),), kernel_shape=(3, 3, 2))
    assert f"{{{name} >= 0.5}}" in str(rule)


def test_names_of_the_users_own():
    assert "{size >= 0.5, age < -1.25}" in mofn.format_rule(make_rule(), ["age", "sex", "size"])


def test_json_gives_equal_rules_back():
    rules = (
        make_rule(error=1 / 3, literals=(mofn.Literal(7, 0.1 + 0.2, True),)),
        make_rule(m=0, literals=(), position=(1, 2), kernel_shape=(3, 3, 8), layer="conv_0"),
        make_rule(held_out_error=1e-9, held_out_baseline_error=0.5, unit_threshold=5e-324),
    )
    again = mofn.rules_from_json(mofn.rules_to_json(rules))
    assert again == rules
    assert all(type(literal) is mofn.Literal for rule in again for literal in rule.literals)


def test_too_few_names():
    with pytest.raises(ValueError, match="input_names: the rule needs at least 3, got 2"):
        mofn.format_rule(make_rule(), ["age", "sex"])


def test_a_constant_rule_has_no_held_out_skill_by_rounding():
    inputs, on = np.zeros((10, 3)), np.arange(10)[:, None] < 9
    (rule,) = mofn.measure_held_out([make_rule(m=0, literals=())], inputs, on)
    assert rule.held_out_error == rule.held_out_baseline_error == 0.1
    assert rule.held_out_skill == 0


@pytest.mark.parametrize(
    "text", ["", "{}", '""', "{}{", "[1]", '[{"unit": 1}]', '[{"unit": 1, "size": 2}]']
)
def test_json_that_is_not_rules(text):
    with pytest.raises(ValueError, match="text: expected a JSON list of rules"):
        mofn.rules_from_json(text)


BEFORE_THE_FORMAT = """[{"unit": 1, "m": 1, "literals": [
{"input": 11, "threshold": 0.7256516218185425, "negated": true},
{"input": 0, "threshold": 1, "negated": false}], "error": 0.19, "complexity": 0.01,
"baseline_error": 0.32, "held_out_error": 0.2, "held_out_baseline_error": 0.4, "beta": 0.1,
"max_literals": null, "layer": "conv_0", "unit_threshold": 0.44, "position": [2, 0],
"kernel_shape": [3, 3, 2]}]"""


def test_rules_saved_before_there_was_a_format_still_load():
    (rule,) = mofn.rules_from_json(BEFORE_THE_FORMAT)
    assert rule.literals == ((11, 0.7256516218185425, True), (0, 1.0, False))
    assert (rule.position, rule.kernel_shape, rule.first_input) == ((2, 0), (3, 3, 2), 0)
    saved = json.loads(mofn.rules_to_json([rule]))
    assert saved.keys() == {"format", "rules"}
    assert saved["format"] == 1
    assert mofn.rules_from_json(json.dumps(saved)) == (rule,)


def test_numbers_of_numpy_become_those_of_json():
    literals = (mofn.Literal(np.int32(2), np.float32(0.5), np.True_),)
    rule = make_rule(literals=literals, error=np.float64(0.25), position=np.array([1, 2]))
    (again,) = mofn.rules_from_json(mofn.rules_to_json([rule]))
    assert again.literals == ((2, 0.5, True),)
    assert (again.error, again.position) == (0.25, (1, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 2, "rules": []}', "format 2 is newer than this version of mofn_jax reads, 1"),
        ('{"format": "1", "rules": []}', "format: expected an integer"),
        ('{"format": 1}', "got neither"),
        ('{"format": 1, "rules": [], "more": 0}', "got neither"),
        ('{"rules": []}', "format: expected an integer"),
        ("[" * 100_000, "recursion"),
        ("[3]", r"rules\[0\]: expected a dict, got 3"),
        (3, "must be str, bytes or bytearray"),
    ],
)
def test_json_of_other_things(text, message):
    with pytest.raises(ValueError, match=f"text: .*{message}"):
        mofn.rules_from_json(text)


WRONG = {
    "unit": [-1, 0.5, "0", None, True],
    "m": [-1, 1.5, "2", None, True, 9],
    "literals": [None, {}, "ab", [3], [[]], [{}]],
    "error": [-0.1, 1.1, "0", None, float("nan"), True],
    "complexity": [-0.1, 1.1, float("inf")],
    "baseline_error": [0.6, None],
    "held_out_error": [2, "x", []],
    "held_out_baseline_error": [0.7, True],
    "beta": [-1, "x", float("inf")],
    "max_literals": [0, 1.5, True],
    "layer": [None, 3],
    "unit_threshold": ["x", float("nan")],
    "position": [3, ["a"], [-1], [0.5], "ab"],
    "every_position": ["no", 1, None],
    "kernel_shape": [[0], [[1]], "ab", [1]],
    "first_input": [-1, 0.5, None],
    "input_names": ["ab", [1, 2, 3], []],
    "size": [1],
}
WRONG_LITERAL = {
    "input": [-1, 0.5, "0", None, True],
    "threshold": [float("nan"), float("inf"), "x", None, True],
    "negated": ["false", 0, None],
    "size": [1],
}


def saved_rule():
    return json.loads(mofn.rules_to_json([make_rule()]))


def refuses(saved, name):
    with pytest.raises(ValueError, match=f"text: .*{name}"):
        mofn.rules_from_json(json.dumps(saved))


@pytest.mark.parametrize("field", WRONG)
def test_every_field_of_a_rule_is_checked(field):
    for value in WRONG[field]:
        saved = saved_rule()
        saved["rules"][0][field] = value
        refuses(saved, field)


@pytest.mark.parametrize("field", WRONG_LITERAL)
def test_every_field_of_a_literal_is_checked(field):
    for value in WRONG_LITERAL[field]:
        saved = saved_rule()
        saved["rules"][0]["literals"][0][field] = value
        refuses(saved, field)


@pytest.mark.parametrize("field", ["unit", "m", "literals", "error", "complexity"])
def test_a_field_that_is_missing(field):
    saved = saved_rule()
    del saved["rules"][0][field]
    refuses(saved, field)


def test_rules_from_an_iterator_are_not_used_up():
    rules = [make_rule(), make_rule(m=0, literals=())]
    inputs = np.zeros((4, 3))
    np.testing.assert_array_equal(
        mofn.evaluate_rules(iter(rules), inputs), mofn.evaluate_rules(rules, inputs)
    )

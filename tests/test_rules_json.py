"""Rules as JSON: they come back equal, old files load, and whatever is no rule is refused."""

import json

import numpy as np
import pytest

import mofn_jax as mofn


def make_rule(**changes):
    literals = (mofn.Literal(2, 0.5, False), mofn.Literal(0, -1.25, True))
    return mofn.Rule(3, 1, literals, 0.01, 0.2, 0.1)._replace(**changes)


def test_json_gives_equal_rules_back():
    rules = (
        make_rule(error=1 / 3, literals=(mofn.Literal(7, 0.1 + 0.2, True),)),
        make_rule(m=0, literals=(), position=(1, 2), kernel_shape=(3, 3, 8), layer="conv_0"),
        make_rule(held_out_error=1e-9, held_out_baseline_error=0.5, unit_threshold=5e-324),
    )
    again = mofn.rules_from_json(mofn.rules_to_json(rules))
    assert again == rules
    assert all(type(literal) is mofn.Literal for rule in again for literal in rule.literals)


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
    assert [literal[:4] for literal in rule.literals] == [
        (11, 0.7256516218185425, True, "c1[+0, +1]"),
        (0, 1.0, False, "c0[-1, -1]"),
    ]
    assert (rule.position, rule.kernel_shape) == ((2, 0), (3, 3, 2))
    saved = json.loads(mofn.rules_to_json([rule]))
    assert saved.keys() == {"format", "rules"}
    assert saved["format"] == 2
    assert mofn.rules_from_json(json.dumps(saved)) == (rule,)


def test_rules_of_the_first_format_keep_the_names_of_their_inputs():
    old = json.loads(BEFORE_THE_FORMAT)[0] | {"kernel_shape": None, "first_input": 4}
    (rule,) = mofn.rules_from_json(json.dumps({"format": 1, "rules": [old]}))
    assert mofn.format_literals(rule) == ["x15 < 0.7257", "x4 >= 1"]
    named = old | {"input_names": [f"n{i}" for i in range(12)]}
    (rule,) = mofn.rules_from_json(json.dumps({"format": 1, "rules": [named]}))
    assert mofn.format_literals(rule) == ["n11 < 0.7257", "n0 >= 1"]
    for name, value in (("first_input", -1), ("input_names", ["a"]), ("input_names", "ab")):
        wrong = json.dumps({"format": 1, "rules": [old | {name: value}]})
        with pytest.raises(ValueError, match=rf"text: .*rules\[0\]\.{name}"):
            mofn.rules_from_json(wrong)


def test_numbers_of_numpy_become_those_of_json():
    literals = (mofn.Literal(np.int32(2), np.float32(0.5), np.True_),)
    rule = make_rule(literals=literals, error=np.float64(0.25), position=np.array([1, 2]))
    (again,) = mofn.rules_from_json(mofn.rules_to_json([rule]))
    assert again.literals == (mofn.Literal(2, 0.5, True),)
    assert (again.error, again.position) == (0.25, (1, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 3, "rules": []}', "format 3 is newer than this version of mofn_jax reads, 2"),
        ('{"format": "1", "rules": []}', "format: expected an integer"),
        ('{"format": 1}', "got neither"),
        ('{"format": 1, "rules": [], "more": 0}', "got neither"),
        ('{"rules": []}', "format: expected an integer"),
        ("[" * 100_000, "recursion"),
        ("[3]", r"rules\[0\]: expected a dict, got 3"),
        (3, "must be str, bytes or bytearray"),
        ('{"format": 1, "rules": [], "rules": []}', "a field is there twice"),
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
    "held_out_bound": [-0.1, 1.5, "x"],
    "beta": [-1, "x", float("inf")],
    "max_literals": [0, 1.5, True, 1],
    "layer": [None, 3, "\udc80"],
    "unit_threshold": ["x", float("nan")],
    "position": [3, ["a"], [-1], [0.5], "ab", [], {}],
    "every_position": ["no", 1, None],
    "kernel_shape": [[0], [[1]], "ab", [1], [], {}, [2**40, 2**40]],
    "unit_name": [None, 3, "\udc80"],
    "first_input": [0],
    "size": [1],
}
WRONG_LITERAL = {
    "input": [-1, 0.5, "0", None, True],
    "threshold": [float("nan"), float("inf"), "x", None, True],
    "negated": ["false", 0, None],
    "name": [3, ["a"], "\udc80"],
    "offset": ["x", None, float("inf"), True],
    "scale": [0, -1.0, float("nan"), None],
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

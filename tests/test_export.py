"""Rules as Python and Markdown: what they say, and that nothing in a name breaks them."""

import numpy as np
import pytest

import mofn_jax as mofn

LITERALS = (
    mofn.Literal(0, 0.5, False, name="age, in\nyears # |"),
    mofn.Literal(2, 0.1 + 0.2, True),
    mofn.Literal(1, -1e-9, False),
)


def make_rule(m, literals=LITERALS, **changes):
    return mofn.Rule(3, m, literals, 0.01, 0.2, 0.1)._replace(**changes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_python_says_what_the_rules_say(dtype):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((300, 3)).astype(dtype)
    inputs[:9, 2] = 0.1 + 0.2  # on the threshold, as near as the dtype has it
    rules = [make_rule(m) for m in (0, 1, 2, 3, 4)] + [make_rule(0, ()), make_rule(1, ())]
    scope = {}
    exec(mofn.rules_to_python(rules, "decide"), scope)
    says = [scope["decide"](row) for row in inputs]
    np.testing.assert_array_equal(says, mofn.evaluate_rules(rules, inputs))
    assert len(np.unique(np.array(says)[:, 2])) == 2


def test_python_of_a_trained_layer():
    wine = mofn.load_dataset("wine")
    answers = mofn.explain_predictions(
        wine.train.inputs, wine.train.labels, max_literals=6, names=wine.names
    )
    source = mofn.rules_to_python(answers.rules)
    scope = {}
    exec(source, scope)
    says = [scope["says"](row) for row in wine.test.inputs.tolist()]
    np.testing.assert_array_equal(says, mofn.evaluate_rules(answers.rules, wine.test.inputs))
    assert "# class class_0 <=> " in source


@pytest.mark.parametrize("name", ["", "a b", "lambda", "f(x): pass", 3])
def test_names_that_python_does_not_take(name):
    with pytest.raises(ValueError, match="name: "):
        mofn.rules_to_python([make_rule(1)], name)


def test_markdown_has_a_line_for_each_rule():
    measured = {"held_out_error": 0.02, "held_out_baseline_error": 0.3, "held_out_bound": 0.05}
    rules = [make_rule(2, layer="softmax", unit_name="ill", **measured), make_rule(0, ())]
    head, _, first, second = mofn.rules_to_markdown(rules).splitlines()
    assert head.count("|") == 8
    assert first == (
        "| softmax class ill | 2 of {age, in years # \\| >= 0.5, x2 < 0.3, x1 >= -1e-09} "
        "| 1.0 | 2.0 | 5.0 | 30.0 | 0.200 |"
    )
    assert second == "| unit 3 | true | 1.0 |  |  | 10.0 | 0.200 |"

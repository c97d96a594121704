"""The answer of all rules together: truths that are known, fidelity, and trees of as many tests."""

import jax
import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

import mofn_jax as mofn


@pytest.mark.parametrize("name", ["monks-2", "mofn-3-7-10"])
def test_known_truths_are_found_exactly(name):
    data = mofn.load_dataset(name)
    answers = mofn.explain_predictions(
        data.train.inputs, data.train.labels, held_out=(data.test.inputs, data.test.labels)
    )
    assert (answers.fidelity, answers.held_out_fidelity) == (1.0, 1.0)
    assert answers.held_out_tree_fidelity < 1


def test_answers_of_a_network_beat_trees():
    digits = mofn.load_dataset("digits")
    network = mofn.CNN(10)
    params = mofn.train(jax.random.key(0), network, digits, num_epochs=20).params
    (layer,) = mofn.capture_layers(network, params, digits.train.inputs, layers=["softmax"])
    (held_out,) = mofn.capture_layers(network, params, digits.test.inputs, layers=["softmax"])
    said, others = layer.predictions, held_out.predictions
    answers = mofn.explain_predictions(
        digits.train.inputs, said, held_out=(digits.test.inputs, others)
    )
    assert answers.num_literals <= 300
    assert answers.held_out_fidelity > 0.92
    assert answers.held_out_fidelity > answers.held_out_tree_fidelity
    flat = digits.train.inputs.reshape(len(said), -1), digits.test.inputs.reshape(len(others), -1)
    tree = DecisionTreeClassifier(max_leaf_nodes=512, random_state=0).fit(flat[0], said)
    assert answers.held_out_fidelity > tree.score(flat[1], others)
    says = answers.answer(flat[1])
    assert (says == others).mean() == answers.held_out_fidelity

    # Of the softmax layer's rules, which alone leave some digits without a class.
    result = mofn.explain_layer(layer, betas=(), lengths=[3])
    rules = result.at(max_literals=3)
    together = mofn.answer_from_rules(rules, layer.inputs, said, held_out=(held_out.inputs, others))
    assert together.rules == rules
    yes = mofn.evaluate_rules(rules, held_out.inputs).sum(1)
    assert (yes != 1).mean() > 0.02
    assert together.held_out_fidelity > (yes == 1).mean()


def test_the_table_of_log_odds():
    inputs = np.array([[0], [1], [2], [3], [4]])
    rule = mofn.Rule(0, 1, (mofn.Literal(0, 1, False), mofn.Literal(0, 3, False)), 0.2, 0.1, 0.4)
    never = mofn.Rule(1, 1, (), 0.2, 0.0, 0.2)
    answers = mofn.answer_from_rules([rule, never], inputs, [0, 1, 0, 0, 0])
    # No, one and two literals hold on 1, 2 and 2 examples, of which 1, 1 and 2 are of class 0.
    expected = np.log([1.5 / 0.5, 1.5 / 1.5, 2.5 / 0.5])
    np.testing.assert_allclose(answers.log_odds[0], expected)
    np.testing.assert_allclose(answers.log_odds[1], [np.log(1.5 / 4.5)])
    assert answers.answer(inputs).tolist() == [0, 0, 0, 0, 0]
    assert (answers.fidelity, answers.held_out_fidelity, answers.num_literals) == (0.8, None, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.ones((0, 2))}, "inputs: has no elements"),
        ({"inputs": np.full((4, 2), np.inf)}, "inputs: holds NaN or infinity"),
        ({"predictions": [0, 1, 0]}, r"predictions: expected shape \[4\]"),
        ({"predictions": [0, 1, 0, -1]}, "predictions: expected labels in 0"),
        ({"predictions": [0.0, 1, 0, 1]}, "predictions: expected integers"),
        ({"held_out": (np.ones((3, 2)), [0, 1, 2])}, r"held_out: expected labels in 0..1"),
        ({"held_out": (np.ones((3, 1)), [0, 1, 1])}, r"held_out: expected shape \[any, 2\]"),
        ({"max_literals": 0}, "max_literals: expected an integer of at least 1"),
    ],
)
def test_bad_input(change, message):
    given = {"inputs": np.arange(8).reshape(4, 2) % 3, "predictions": [0, 1, 0, 1]}
    with pytest.raises(ValueError, match=message):
        mofn.explain_predictions(**(given | change))


def test_no_rules():
    with pytest.raises(ValueError, match="rules: expected one for each class, got none"):
        mofn.answer_from_rules([], np.ones((2, 1)), [0, 1])

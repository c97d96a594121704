"""Names that users give: of features in a table's own units, of classes, of a data frame."""

import jax
import numpy as np
import pytest

import mofn_jax as mofn


def table(names):
    network = mofn.MLP(2, hidden=(4,))
    inputs = np.random.default_rng(2).standard_normal((40, 3)).astype(np.float32)
    params = network.init(jax.random.key(0), inputs)["params"]
    return mofn.extract_network(network, params, inputs, betas=[0.01], search="exact", names=names)


def test_rules_have_the_names_of_features_and_classes_in_the_tables_own_units():
    scaling = np.array([[10.0, 2.0], [0.0, 1.0], [-5.0, 0.5]])
    names = mofn.Names(("age", "dose", "weight"), ("ill", "well"), scaling)
    hidden, softmax = table(names)
    bare = table(None)
    seen = 0
    for rule, plain in zip(hidden.at(beta=0.01), bare[0].at(beta=0.01), strict=True):
        for literal, same, text in zip(
            rule.literals, plain.literals, mofn.format_literals(rule), strict=True
        ):
            assert literal[:3] == same[:3]  # in the network's units
            offset, scale = scaling[literal.input]
            shown = offset + scale * literal.threshold
            sign = "<" if literal.negated else ">="
            assert text == f"{names.features[literal.input]} {sign} {shown:.4g}"
            assert str(same).startswith(f"x{literal.input} ")
            seen += 1
    assert seen
    for rule, name in zip(softmax.at(beta=0.01), ("ill", "well"), strict=True):
        assert str(rule).startswith(f"softmax class {name} <=> ")
        assert all(literal.name.startswith("dense_0[") for literal in rule.literals)
    assert mofn.rules_from_json(mofn.rules_to_json(hidden.at(beta=0.01))) == hidden.at(beta=0.01)


def test_columns_of_a_data_frame_are_names():
    class Frame:
        columns = ("age", 7)

        def __array__(self, dtype=None, copy=None):
            return np.random.default_rng(3).random((30, 2))

    answers = mofn.explain_predictions(Frame(), np.asarray(Frame())[:, 0] > 0.5)
    assert str(answers.rules[1]).startswith("unit 1 <=> 1 of {age >= 0.5")
    layer = mofn.layer_from_arrays("fc", np.eye(2), Frame(), np.asarray(Frame()), [0, 1] * 15)
    assert layer.input_names == ("age", "7")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b", "c"), "names: expected a Names"),
        (mofn.Names(("a", "b")), "names.features: 2 names of 3 inputs"),
        (mofn.Names(("a", "b", 3)), "names.features: expected a str"),
        (mofn.Names(classes=("a",)), "names.classes: 1 names of 2 classes"),
        (mofn.Names(classes="ab"), "names.classes: expected a sequence"),
        (mofn.Names(scaling=np.ones((3, 1))), r"names.scaling: expected shape \[3, 2\]"),
        (mofn.Names(scaling=np.zeros((3, 2))), "names.scaling: expected scales above 0"),
        (mofn.Names(scaling=np.full((3, 2), np.nan)), "names.scaling: holds NaN"),
    ],
)
def test_names_that_do_not_fit(names, message):
    with pytest.raises(ValueError, match=message):
        table(names)

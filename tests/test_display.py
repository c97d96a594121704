"""What records show of themselves: short in a terminal, whole and escaped in a notebook."""

import xml.etree.ElementTree as ET

import jax
import numpy as np
import pytest

import mofn_jax as mofn


@pytest.fixture(scope="module")
def results():
    digits = mofn.load_dataset("digits")
    network = mofn.CNN(10, conv_blocks=((4,),), dense=(64,))
    params = mofn.train(jax.random.key(0), network, digits, num_epochs=4).params
    return mofn.extract_network(
        network,
        params,
        digits.train.inputs,
        held_out=digits.test.inputs,
        betas=[0.0, 1.0],
        lengths=[3],
        search="stepwise",
        names=digits.names,
    )


def table(record):
    """The cells of what a record shows in a notebook, line by line."""
    tree = ET.fromstring(f"<div>{record._repr_html_()}</div>")
    return [["".join(cell.itertext()) for cell in line] for line in tree.findall(".//tr")]


def test_a_layers_rules(results):
    hidden, softmax = results[1:]
    first, *lines = repr(softmax).splitlines()
    assert first == "LayerRules(softmax: softmax, 64 inputs, 10 units)"
    assert not softmax.constant_units
    assert [line.split(":")[0].strip() for line in lines] == [
        "beta 0",
        "beta 1",
        "at most 3 literals",
    ]
    for line, row in zip(lines, mofn.report.layer_rows(softmax), strict=True):
        texts = (f"{row.error:.1%}", f"{row.held_out_error:.1%}", f"{row.literals:.1f}")
        assert line.endswith(": error {}, held-out error {}, {} literals".format(*texts))
        assert list(texts) in [cells[1:] for cells in table(softmax)]
    assert len(repr(results)) < 2000
    count = hidden.constant_units
    assert (f", {count} constant)" in repr(hidden)) == bool(count)


def test_rules_alone_and_together(results):
    rules = results[-1].at(beta=0.0)
    lines = repr(rules).splitlines()
    assert lines[0] == "10 rules"
    assert lines[1:] == list(map(repr, rules))
    long = max(rules, key=lambda rule: len(rule.literals))
    assert len(long.literals) > 8
    assert f", ... {len(long.literals) - 6} more}}, error {long.error:.1%}" in repr(long)
    assert repr(long).startswith(f"Rule(softmax class {long.unit_name} <=> {long.m} of {{dense_0[")
    assert str(long).count(" >= ") + str(long).count(" < ") == len(long.literals)  # that is whole
    assert len(repr(long)) < 300
    many = results[1].at(beta=0.0)
    assert repr(many).splitlines()[11:] == [f"... {64 - 10} more"]
    assert isinstance(many[3:5], tuple)
    assert repr(many[3:5]).startswith("2 rules\n")
    assert many[0] == next(iter(many))
    cells = table(rules)
    assert len(cells) == 1 + 10
    assert cells[1][0] == "softmax class 0"
    assert cells[1][4] == f"{rules[0].held_out_bound:.1%}"
    assert table(rules[0]) == cells[:2]


def test_names_that_are_no_html_are_escaped():
    literals = (mofn.Literal(0, 1.0, True, name="<script>"),)
    rule = mofn.Rule(0, 1, literals, 0.1, 0.1, 0.2)
    assert "<script>" not in rule._repr_html_()
    assert table(rule)[1][1] == "1 of {<script> < 1}"


def test_fronts_and_layers_say_how_large_they_are(results):
    front = results[-1].front
    count = sum(map(len, front.units))
    assert (
        repr(front) == f"RuleFront(10 units, {count} rules over 64 inputs, found on 1437 examples)"
    )
    assert [cells[2] for cells in table(front)[1:]] == [str(len(unit)) for unit in front.units]
    layer = mofn.layer_from_arrays("fc", np.eye(3), np.eye(3), np.eye(3), [0, 1, 2])
    assert repr(layer).startswith("Layer(name: fc, kind: dense, weights: [3, 3] float64, ")
    assert ["activations", "[3, 3] float64"] in table(layer)
    named = layer._replace(input_names=("a", "b", "c"))
    assert "input_names: 3, a, b, ..." in repr(named)

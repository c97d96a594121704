"""Rules of layers and networks: chosen by beta and by length, measured on held-out examples."""

import jax
import numpy as np
import pytest

import mofn_jax as mofn


def test_rules_by_length_beside_those_by_beta():
    network = mofn.CNN(2, conv_blocks=((3,),), dense=(4,))
    inputs = np.random.default_rng(0).random((40, 6, 6, 1))
    params = network.init(jax.random.key(0), inputs[:1])["params"]
    results = mofn.extract_network(
        network, params, inputs[:30], held_out=inputs[30:], betas=[0.1], lengths=[1, 3]
    )
    for result in results:
        assert result.at(beta=0.1) == result.rules[0.1]
        for length, rules in result.by_length.items():
            assert rules == result.at(max_literals=length)
            chosen = mofn.select_rules(result.front, max_literals=length)
            for rule, alike in zip(rules, chosen, strict=True):
                assert [some[:3] for some in rule.literals] == [some[:3] for some in alike.literals]
            for rule in rules:
                assert (rule.max_literals, rule.beta) == (length, None)
                assert rule.layer == result.name
                assert rule.held_out_error is not None
        assert list(result.by_length) == [1, 3]
        with pytest.raises(ValueError, match="max_literals: 2 is not known"):
            result._replace(look=None).at(max_literals=2)
        with pytest.raises(ValueError, match="beta: expected either beta or max_literals"):
            result.at(beta=0.1, max_literals=1)
    (layer, *_) = mofn.capture_layers(network, params, inputs)
    alone = mofn.explain_layer(layer, betas=(), lengths=[2], search="exact")
    assert alone.rules == {}
    assert {len(rule.literals) for rule in alone.at(max_literals=2)} <= {0, 1, 2}
    with pytest.raises(ValueError, match="betas: expected at least one number, or lengths"):
        mofn.explain_layer(layer, betas=())
    with pytest.raises(ValueError, match="lengths: expected an integer of at least 1, got 0"):
        mofn.explain_layer(layer, lengths=[0])


def test_held_out_inputs_of_another_shape():
    network = mofn.MLP(2, hidden=(3,))
    rng = np.random.default_rng(0)
    params = network.init(jax.random.key(0), np.zeros((1, 5)))["params"]
    layer, softmax = mofn.capture_layers(network, params, rng.standard_normal((20, 5)))
    with pytest.raises(ValueError, match=r"held_out: expected inputs of shape \(5,\), got \(3,\)"):
        mofn.explain_layer(layer, held_out=softmax)
    with pytest.raises(ValueError, match="inputs: has no elements"):
        mofn.extract_network(network, params, np.zeros((0, 5)))

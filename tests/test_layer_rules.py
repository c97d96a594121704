"""The rules of a layer: of any beta and length, also of those that were not asked for."""

import pickle

import jax
import numpy as np
import pytest

import mofn_jax as mofn

NOT_HELD_OUT = dict.fromkeys(("held_out_error", "held_out_baseline_error", "held_out_bound"))


@pytest.mark.parametrize("positions", ["all", "most_informative"])
@pytest.mark.parametrize("held_out", [True, False])
def test_betas_and_lengths_that_were_not_asked_for(positions, held_out):
    network = mofn.CNN(2, conv_blocks=((3,),), dense=(4,))
    inputs = np.random.default_rng(0).random((60, 6, 6, 1))
    params = network.init(jax.random.key(0), inputs[:1])["params"]
    others = inputs[40:] if held_out else None
    options = {"held_out": others, "positions": positions, "search": "stepwise"}
    names = mofn.Names(classes=("no", "yes"))
    few = mofn.extract_network(
        network, params, inputs[:40], betas=[3.0], lengths=[3], names=names, **options
    )
    many = mofn.extract_network(
        network, params, inputs[:40], betas=[0.01, 3], lengths=[2, 3], names=names, **options
    )
    again = pickle.loads(pickle.dumps(few))
    for result, loaded, asked in zip(few, again, many, strict=True):
        assert result.at(beta=3) is result.rules[3.0]
        assert result.at(max_literals=3) is result.by_length[3]
        for some in (result, loaded):
            assert some.at(beta=0.01) == asked.rules[0.01]
            assert some.at(max_literals=2) == asked.by_length[2]
    captured = mofn.capture_layers(network, params, inputs[:40], names=names)
    for layer, asked in zip(captured, many, strict=True):
        alone = mofn.explain_layer(layer, betas=[3], positions=positions, search="stepwise")
        plain = [rule._replace(**NOT_HELD_OUT) for rule in asked.rules[0.01]]
        assert list(alone.at(beta=0.01)) == plain

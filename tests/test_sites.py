"""Where units are looked at: rules of every position, of the most informative one, of groups."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import mofn_jax as mofn
from mofn_jax.capture import read_layer
from mofn_jax.layers import group_inputs
from mofn_jax.sites import (
    Batches,
    at_pairs,
    draw_held_out_pairs,
    draw_pairs,
    most_informative,
    num_positions,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((60, 7, 6, 2)).astype(np.float32)


class Grouped(nn.Module):
    """A convolution in two groups, strided and padded, and a head."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 2), strides=2, feature_group_count=2, name="conv")(x)
        return nn.Dense(3, name="head")(nn.relu(x).reshape(len(x), -1))


class Tokens(nn.Module):
    """A class at each token."""

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(5, name="hidden")(x))
        return nn.Dense(4, name="head")(x)


def start(network, inputs):
    return network.init(jax.random.key(0), inputs[:1])


def test_pairs_are_distinct_seeded_and_as_many_as_asked():
    for num_examples, positions, size in ((3, 5, 15), (200, 100, 10_000), (10_001, 3, 10_001)):
        pairs = draw_pairs(num_examples, positions, seed=1)
        assert pairs.shape == (size, 2)
        assert len(np.unique(pairs, axis=0)) == size
        assert (np.diff(pairs[:, 0]) >= 0).all()
        assert (pairs < [num_examples, positions]).all()
        np.testing.assert_array_equal(draw_pairs(num_examples, positions, seed=1), pairs)
    assert (draw_pairs(200, 100, seed=2) != draw_pairs(200, 100, seed=1)).any()
    held_out = draw_held_out_pairs(50, 100, seed=1)
    np.testing.assert_array_equal(held_out[:, 0], np.arange(50))
    assert len(np.unique(held_out[:, 1])) > 20


def test_pairs_of_batches_are_those_of_the_whole():
    network = Grouped()
    params = start(network, IMAGES)
    layer, _ = mofn.capture_layers(network, params, IMAGES)
    assert num_positions(layer) == 12
    pairs = draw_pairs(60, 12, seed=0)[::7]
    whole = at_pairs(Batches.of(layer), pairs)
    batches = Batches(
        60,
        lambda: read_layer(network, params, IMAGES, "conv", batch_size=16),
        lambda: layer,
    )
    for one, other in zip(whole, at_pairs(batches, pairs), strict=True):
        np.testing.assert_array_equal(one, other)
    # A position is a unit of its own: its patch, and what leaves there.
    rows, columns = np.divmod(pairs[:, 1], 3)
    np.testing.assert_array_equal(whole.activations, layer.activations[pairs[:, 0], rows, columns])
    for group in range(2):
        units = slice(2 * group, 2 * group + 2)
        sums = group_inputs(whole, whole.inputs, group) @ whole.weights[:, units]
        computed = np.maximum(sums + whole.bias[units], 0)
        np.testing.assert_allclose(whole.activations[:, units], computed, rtol=1e-4, atol=1e-5)


def test_the_most_informative_position_whatever_the_budget():
    network = Grouped()
    layer, _ = mofn.capture_layers(network, start(network, IMAGES), IMAGES)
    expected = mofn.most_informative_positions(layer.activations, layer.predictions, 3)
    for budget in (1, 60 * 4 * 8 * 2 * 5, 2**29):
        positions, thresholds = most_informative(Batches.of(layer), memory_budget=budget)
        np.testing.assert_array_equal(positions, expected)
        targets, found = mofn.layer_targets(layer, positions)
        np.testing.assert_array_equal(thresholds, found)
    for unit, (row, column) in enumerate(positions):
        on = layer.activations[:, row, column, unit] >= thresholds[unit]
        np.testing.assert_array_equal(targets[:, unit], on)


def test_the_most_informative_of_seven_positions_in_pieces_that_overlap():
    rng = np.random.default_rng(0)
    inputs, weights = rng.random((60, 7, 3), np.float32), rng.standard_normal((3, 4))
    classes = rng.integers(0, 3, 60)
    layer = mofn.layer_from_arrays("tokens", weights, inputs, inputs @ weights, classes)
    images = layer.activations[:, None]
    expected = mofn.most_informative_positions(images, layer.predictions, 3)[:, 1:]
    for at_once in range(1, 9):
        positions, thresholds = most_informative(
            Batches.of(layer), memory_budget=2 * 60 * 4 * 8 * at_once
        )
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_array_equal(thresholds, mofn.layer_targets(layer, positions)[1])


@pytest.mark.parametrize("positions", ["all", "most_informative"])
def test_rules_of_groups_are_as_true_as_they_say(positions):
    network = Grouped()
    params = start(network, IMAGES)
    layer, _ = mofn.capture_layers(network, params, IMAGES)
    held_out, _ = mofn.capture_layers(network, params, IMAGES[::-1] + 1)
    options = {"betas": [0.01], "positions": positions, "search": "stepwise"}
    result = mofn.explain_layer(layer, held_out=held_out, **options)
    assert len(result.at(beta=0.01)) == 4
    for rule in result.at(beta=0.01):
        group = rule.unit // 2
        assert rule.kernel_shape == (3, 2, 1)
        assert all(f"pixel[{group}][" in text for text in mofn.format_literals(rule))
        if positions == "all":
            assert (rule.position, rule.every_position) == (None, True)
            assert f"conv unit {rule.unit} >= {rule.unit_threshold:.4g} at every position" in str(
                rule
            )
            looked_at = [
                (layer, draw_pairs(60, 12, seed=0)),
                (held_out, draw_held_out_pairs(60, 12, seed=0)),
            ]
        else:
            assert not rule.every_position
            place = np.ravel_multi_index(rule.position, (4, 3))
            pairs = np.stack([np.arange(60), np.full(60, place)], axis=1)
            looked_at = [(layer, pairs), (held_out, pairs)]
        for (seen, pairs), error in zip(looked_at, (rule.error, rule.held_out_error), strict=True):
            at = at_pairs(Batches.of(seen), pairs)
            says = mofn.evaluate_rules([rule], group_inputs(at, at.inputs, group))[:, 0]
            on = at.activations[:, rule.unit] >= rule.unit_threshold
            assert error == pytest.approx((says != on).mean(), abs=1e-12)
    assert mofn.rules_from_json(mofn.rules_to_json(result.at(beta=0.01))) == result.at(beta=0.01)
    # Read batch by batch, with little memory, on the layer alone: the same rules.
    (again,) = mofn.extract_network(
        network,
        params,
        IMAGES,
        held_out=IMAGES[::-1] + 1,
        layers=["conv"],
        memory_budget=2**14,
        **options,
    )
    assert again.at(beta=0.01) == result.at(beta=0.01)


def test_seeds_draw_other_pairs():
    images = np.tile(IMAGES, (20, 1, 1, 1)) + RNG.standard_normal((1200, 7, 6, 2))
    network = Grouped()
    params = start(network, images)
    first, again, other = (
        mofn.extract_network(
            network, params, images, layers=["conv"], betas=[0.1], search="weight_order", seed=seed
        )[0]
        for seed in (0, 0, 1)
    )
    assert first.front.num_examples == 10_000
    assert first.rules == again.rules
    assert first.rules != other.rules
    np.testing.assert_array_equal(first.thresholds, other.thresholds)


def test_a_class_at_each_token():
    tokens = RNG.standard_normal((50, 6, 3)).astype(np.float32)
    network = Tokens()
    params = start(network, tokens)
    hidden, head = mofn.capture_layers(network, params, tokens)
    logits = network.apply(params, tokens)
    np.testing.assert_array_equal(head.predictions, logits.argmax(-1))
    assert (hidden.kind, head.kind) == ("dense", "softmax")
    # The thresholds of a position are about the classes there.
    positions, thresholds = most_informative(Batches.of(hidden))
    gains = np.stack(
        [
            mofn.unit_thresholds(hidden.activations[:, place], head.predictions[:, place], 4)[1]
            for place in range(6)
        ]
    )
    np.testing.assert_array_equal(positions[:, 0], gains.argmax(0))
    for unit, place in enumerate(positions[:, 0]):
        found, _ = mofn.unit_thresholds(
            hidden.activations[:, place, [unit]], head.predictions[:, place], 4
        )
        assert thresholds[unit] == found[0]
    for positions in ("all", "most_informative"):
        results = mofn.extract_network(
            network, params, tokens, held_out=tokens, betas=[0.0], positions=positions
        )
        for rule in results[1].at(beta=0.0):
            assert rule.unit_threshold is None
            assert rule.every_position == (positions == "all")
            if positions == "most_informative":
                assert f"at position {rule.position[0]}" in str(rule)
        everywhere = results[1].at(beta=0.0)
    says = mofn.evaluate_rules(
        [rule._replace(layer="") for rule in everywhere], head.inputs.reshape(-1, 5)
    )
    assert says.shape == (300, 4)


def test_classes_of_tokens_do_not_explain_other_positions():
    class Pooled(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(3, (2,), strides=(2,), name="conv")(x))
            x = nn.Dense(8, name="wide")(x.reshape(len(x), -1))
            return x.reshape(len(x), 4, 2)

    tokens = RNG.standard_normal((20, 6, 3)).astype(np.float32)
    network = Pooled()
    params = start(network, tokens)
    conv, *_ = mofn.capture_layers(network, params, tokens)
    with pytest.raises(
        ValueError, match=r"predictions: .* each of 4 tokens, but 'conv' has .*\[3\]"
    ):
        mofn.explain_layer(conv)
    with pytest.raises(ValueError, match=r"predictions: .* each of 4 tokens, but 'wide' has"):
        mofn.extract_network(network, params, tokens, layers=["wide"])
    with pytest.warns(UserWarning, match="predicts a class at each of other positions"):
        assert mofn.extract_network(network, params, tokens) == ()
    results = mofn.extract_network(
        network, params, tokens, predictions=np.arange(20) % 3, betas=[0.1]
    )
    assert [result.name for result in results] == ["conv", "wide"]


def test_bad_positions():
    network = Grouped()
    layer, head = mofn.capture_layers(network, start(network, IMAGES), IMAGES)
    with pytest.raises(ValueError, match="positions: 'every' is not known; expected one of"):
        mofn.explain_layer(layer, positions="every")
    with pytest.raises(ValueError, match=r"positions: 'conv' has positions \[4, 3\]"):
        mofn.layer_targets(layer, None)
    with pytest.raises(ValueError, match=r"positions: 'head' has positions \[\]"):
        mofn.layer_targets(head, np.zeros((3, 2), int))

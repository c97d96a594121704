"""Error counts against the oracle and the worked examples."""

import hypothesis
import hypothesis.extra.numpy as hnp
import jax
import numpy as np
import oracle
import pytest

import mofn_jax as mofn
from mofn_jax import meshes, score_kernels, scoring
from mofn_jax.bits import pack_examples
from mofn_jax.complexity import NO_RULE, prefix_order, prefix_order_from
from mofn_jax.literals import Literals, literal_truth
from mofn_jax.search import weight_order


def errors_of(truth, target):
    """score_unit on plain booleans [E, N] and [E]."""
    return np.asarray(
        mofn.score_unit(
            pack_examples(truth.T),
            pack_examples(target),
            pack_examples(np.ones_like(target)),
        )
    )


def assert_counts(truth, target):
    literals = [(i, True, False) for i in range(truth.shape[1])]
    counts = errors_of(truth, target)
    for wrong, _, taken, m in oracle.prefix_rules(literals, truth.tolist(), target.tolist()):
        assert counts[taken, m] == wrong


def test_worked_example_of_two_inputs():
    truth = np.array([[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 1, 1]], bool).T
    counts = errors_of(truth, np.array([0, 0, 0, 1, 1, 1], bool))
    assert [counts[taken, : taken + 2].tolist() for taken in range(3)] == [
        [3, 3],
        [3, 0, 3],
        [3, 1, 0, 3],
    ]


def test_majority_of_three():
    truth = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], bool)
    counts = errors_of(truth, truth.sum(1) >= 2)
    assert [counts[taken, : taken + 2].tolist() for taken in range(4)] == [
        [4, 4],
        [4, 2, 4],
        [4, 2, 2, 4],
        [4, 3, 0, 3, 4],
    ]


@pytest.mark.parametrize("num_examples", [1, 2, 31, 32, 33, 100])
@pytest.mark.parametrize("num_literals", [1, 2, 6])
def test_random_cases(num_examples, num_literals):
    rng = np.random.default_rng(num_examples)
    truth = rng.random((num_examples, num_literals)) < 0.4
    assert_counts(truth, rng.random(num_examples) < 0.3)
    assert_counts(truth, np.zeros(num_examples, bool))
    assert_counts(truth, np.ones(num_examples, bool))


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(hnp.arrays(bool, (40, 5)), hnp.arrays(bool, 40))
def test_any_case(truth, target):
    assert_counts(truth, target)


def random_layer(num_examples=70, num_inputs=6, num_units=5):
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((num_examples, num_inputs)).round(1)
    literals = [
        Literals(
            rng.permutation(num_inputs)[: num_inputs - unit],
            rng.standard_normal(num_inputs - unit).round(1),
            rng.random(num_inputs - unit) < 0.5,
        )
        for unit in range(num_units)
    ]
    return literals, inputs, rng.random((num_examples, num_units)) < 0.4


@pytest.mark.parametrize("num_examples", [1, 33, 70])
@pytest.mark.parametrize("kernel", ["least_ranks", "useful_ranks"])
def test_least_ranks_are_those_of_the_table(num_examples, kernel):
    rng = np.random.default_rng(num_examples)
    truth, target = rng.random((num_examples, 40)) < 0.4, rng.random(num_examples) < 0.3
    packed = pack_examples(truth.T), pack_examples(target)
    examples, errors = pack_examples(np.ones_like(target)), errors_of(truth, target)
    order = prefix_order(40)
    by_bits = getattr(score_kernels, f"{kernel}_by_bits")
    found = by_bits(*packed, examples, order.ranks)
    assert found.whole
    for wrong, least in enumerate(np.minimum.accumulate(found.least).tolist()):
        assert least == order.ranks[errors <= wrong].min(initial=NO_RULE)

    literals, target = packed
    hold = np.zeros(32 * len(target), np.int32)
    by_walk = getattr(score_kernels, f"{kernel}_by_walk")
    for first, stop in ((0, 15), (15, 30), (30, 45)):  # the last literals are missing
        order = prefix_order_from(first, stop, 40)
        some = np.zeros((15, len(target)), np.uint32)
        some[: len(literals[first:stop])] = literals[first:stop]
        (least, whole), hold = by_walk(some, target, hold, examples, order.ranks)
        assert whole
        row = errors[first : stop + 1]
        if kernel == "least_ranks" or first == 0:
            for wrong, rank in enumerate(np.minimum.accumulate(least).tolist()):
                assert rank == order.ranks[: len(row)][row <= wrong].min(initial=NO_RULE)
    np.testing.assert_array_equal(hold[:num_examples], truth.sum(1))


@pytest.mark.parametrize(("limit", "num_needed"), [(128, 1), (128, 60), (512, 149)])
def test_accelerators_find_the_same_rules(monkeypatch, limit, num_needed):
    """Of weights that say nothing of the unit, and of those by which it is on."""
    rng = np.random.default_rng(num_needed)
    inputs = rng.random((90, 150)) < num_needed / 150
    weights = np.stack([rng.standard_normal(150), np.ones(150), np.arange(150) % 7 + 1], 1)
    targets = inputs @ weights >= np.quantile(inputs @ weights, [0.3, 0.5, 0.7], axis=0).diagonal()
    monkeypatch.setattr(scoring, "MOST_LITERALS_FOR_BITS", limit)
    monkeypatch.setattr(weight_order, "MOST_LITERALS_FOR_BITS", limit)
    expected = mofn.extract_layer(weights, inputs, targets, search="weight_order")
    monkeypatch.setattr(meshes, "platform", lambda: "tpu")
    for memory_budget in (2**29, 2**16):
        options = {"search": "weight_order", "memory_budget": memory_budget}
        assert str(mofn.extract_layer(weights, inputs, targets, **options)) == str(expected)
    monkeypatch.setattr(score_kernels, "_MOST_USEFUL", 0)  # then the CPU's kernel is asked
    jax.clear_caches()
    found = mofn.extract_layer(weights, inputs, targets, search="weight_order")
    jax.clear_caches()
    assert str(found) == str(expected)


def test_a_layer_is_its_units():
    literals, inputs, targets = random_layer()
    order = prefix_order(6)
    scored = list(scoring.score_layer(literals, inputs, targets, order))
    assert len(scored) == 5
    for unit, found in enumerate(scored):
        truth = np.zeros((70, 6), bool)
        truth[:, : 6 - unit] = literal_truth(literals[unit], inputs)
        errors = errors_of(truth, targets[:, unit])
        for wrong in range(71):
            least = order.ranks[errors <= wrong].min(initial=NO_RULE)
            assert found[wrong] == least


@pytest.mark.parametrize("memory_budget", [1, 5000, 20000])
def test_memory_budget_changes_nothing(memory_budget):
    literals, inputs, targets = random_layer()
    order = prefix_order(6)
    for whole, pieces in zip(
        scoring.score_layer(literals, inputs, targets, order),
        scoring.score_layer(literals, inputs, targets, order, memory_budget=memory_budget),
        strict=True,
    ):
        np.testing.assert_array_equal(whole, pieces)


@pytest.mark.parametrize("memory_budget", [2**29, 2**16, 1])
def test_walks_over_some_literals_at_a_time_find_what_tables_do(monkeypatch, memory_budget):
    rng = np.random.default_rng(1)
    weights, inputs = rng.random((150, 3)), rng.standard_normal((90, 150)) > 0
    layer = weights, inputs, inputs.sum(1, keepdims=True) > [70, 75, 80]
    expected = mofn.extract_layer(*layer, search="weight_order")
    assert max(len(c.literals.inputs) for unit in expected.units for c in unit) > 128
    monkeypatch.setattr(weight_order, "MOST_LITERALS_FOR_BITS", 128)
    found = mofn.extract_layer(*layer, search="weight_order", memory_budget=memory_budget)
    assert str(found) == str(expected)

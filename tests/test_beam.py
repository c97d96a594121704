"""Beam search: never worse than its parts, finds what is hidden, the same in any pieces."""

import numpy as np
import pytest

from mofn_jax.fronts import merge_fronts
from mofn_jax.literals import Literals, literal_truth
from mofn_jax.search import beam
from mofn_jax.search.exact import exact
from mofn_jax.search.weight_order import weight_order

NUM_INPUTS, NUM_EXAMPLES = 24, 200


def layer(kind, seed=0):
    """Bits and three units; literals all "bit is 1", the third unit's in another order."""
    rng = np.random.default_rng(seed)
    inputs = (rng.random((NUM_EXAMPLES, NUM_INPUTS)) < 0.5).astype(np.float32)
    if kind == "random":
        targets = rng.random((NUM_EXAMPLES, 3)) < [0.5, 0.1, 0.9]
    elif kind == "counts":  # 2 of 4, 5 of 9 and 8 of 8 of bits that come late in the order
        inputs[:, -8:] = rng.random((NUM_EXAMPLES, 8)) < 0.9
        on = [inputs[:, -4:].sum(1) >= 2, inputs[:, 9:18].sum(1) >= 5, inputs[:, -8:].all(1)]
        targets = np.stack(on, axis=1)
    else:  # "linear": most inputs matter, by different amounts
        targets = inputs @ rng.standard_normal((NUM_INPUTS, 3)) > 0
    orders = [np.arange(NUM_INPUTS), np.arange(NUM_INPUTS), rng.permutation(NUM_INPUTS)[:-2]]
    literals = [
        Literals(order, np.ones(len(order)), np.zeros(len(order), bool)) for order in orders
    ]
    return literals, inputs, targets


OPTIONS = {"beam_literals": 9, "exact_literals": 2}


@pytest.mark.parametrize("kind", ["random", "counts", "linear"])
def test_never_worse_than_weight_order_or_exact_search(kind):
    data = layer(kind)
    front = beam.beam(*data, **OPTIONS)
    assert front.proven_literals == 2
    for part in (weight_order(*data), exact(*data, exact_literals=2)):
        for mine, merged in zip(front.units, merge_fronts(front, part).units, strict=True):
            assert [(c.complexity, c.errors) for c in mine] == [
                (c.complexity, c.errors) for c in merged
            ]


def test_finds_hidden_rules():
    literals, inputs, targets = layer("counts")
    best = [unit[-1] for unit in beam.beam(literals, inputs, targets, **OPTIONS).units]
    assert [rule.errors for rule in best[:2]] == [0, 0]
    assert [(rule.m, len(rule.literals.inputs)) for rule in best[:2]] == [(2, 4), (5, 9)]
    assert best[1].literals.inputs.tolist() == list(range(9, 18))
    assert best[2].errors < weight_order(literals, inputs, targets).units[2][-1].errors


@pytest.mark.parametrize("signs", ["weights", "free"])
def test_rules_make_the_errors_they_say(signs):
    literals, inputs, targets = layer("linear")
    front = beam.beam(literals, inputs, targets, signs=signs, max_literals=9, **OPTIONS)
    larger = 0
    for unit, target in zip(front.units, targets.T, strict=True):
        for rule in unit:
            says = literal_truth(rule.literals, inputs).sum(1) >= rule.m
            assert rule.errors == (says != target).sum()
            assert len(set(rule.literals.inputs.tolist())) == len(rule.literals.inputs) <= 9
            larger += len(rule.literals.inputs) > 2
    assert larger >= 6  # found by the beam alone


def test_of_many_inputs_a_pool_is_searched():
    rng = np.random.default_rng(0)
    inputs = (rng.random((400, 90)) < 0.5).astype(np.float32)
    targets = inputs[:, 60:65].sum(1, keepdims=True) >= 3
    literals = [Literals(np.arange(90), np.ones(90), np.zeros(90, bool))]
    options = {"beam_inputs": 32, "exact_literals": 2, "beam_literals": 6}
    front = beam.beam(literals, inputs, targets, max_literals=6, **options)
    best = front.units[0][-1]  # late in the order, found by gain
    assert (best.errors, best.m, best.literals.inputs.tolist()) == (0, 3, [60, 61, 62, 63, 64])
    in_parts = beam.beam(literals, inputs, targets, max_literals=6, memory_budget=1, **options)
    assert str(in_parts.units) == str(front.units)
    (pool,) = beam._pools(literals, inputs, targets, [[best]], 32, 2**20)
    assert pool.inputs.tolist() == sorted(set(pool.inputs.tolist()))
    assert len(pool.inputs) == 32
    assert {*range(16), *range(60, 65)} <= set(pool.inputs.tolist())


def test_free_signs_find_a_rule_of_negations():
    literals, inputs, targets = layer("counts")
    turned = [unit._replace(negated=unit.inputs % 2 == 1) for unit in literals]
    rule = beam.beam(turned, inputs, targets, signs="free", **OPTIONS).units[1][-1]
    assert (rule.errors, rule.m, sorted(rule.literals.inputs.tolist())) == (0, 5, [*range(9, 18)])
    assert not rule.literals.negated.any()


def test_deterministic_in_one_piece_or_many():
    data = layer("linear", seed=1)
    whole = beam.beam(*data, **OPTIONS)
    done = []
    again = beam.beam(*data, **OPTIONS, memory_budget=1, progress=done.append)
    assert str(whole.units) == str(again.units)
    assert done == [1, 1, 1]


def test_a_second_layer_of_the_same_shape_compiles_nothing():
    beam.beam(*layer("linear"), **OPTIONS)
    compiled = beam.search_units._cache_size()
    beam.beam(*layer("random", seed=5), **OPTIONS)
    assert beam.search_units._cache_size() == compiled


def test_all_sets_proven_leave_nothing_to_search():
    _, inputs, targets = layer("linear")
    few = [Literals(np.arange(7, dtype=np.int32), np.ones(7), np.zeros(7, bool))] * 3
    assert str(beam.beam(few, inputs[:, :7], targets)) == str(exact(few, inputs[:, :7], targets))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_width": 0}, "beam_width: expected an integer of at least 1"),
        ({"beam_inputs": 31}, "beam_inputs: expected an integer of at least 32"),
        ({"beam_literals": 0}, "beam_literals: expected an integer of at least 1"),
        ({"exact_literals": 5}, "exact_literals: expected at most 4"),
        ({"signs": "any"}, "signs: 'any' is not known"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        beam.beam(*layer("random"), **options)

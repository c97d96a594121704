"""Exact search: against brute force, on known truths, and what it promises."""

import numpy as np
import oracle
import pytest
from content import content

from mofn_jax.fronts import merge_fronts
from mofn_jax.literals import Literals, literal_truth
from mofn_jax.meshes import Resources
from mofn_jax.search import exact
from mofn_jax.search.weight_order import weight_order


def random_unit(seed, num_inputs, num_examples, *, num_literals=None):
    """One unit whose literals are in a random order, some negated, and its data."""
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 4, (num_examples, num_inputs)).astype(np.float32)
    target = inputs @ rng.standard_normal(num_inputs) + rng.standard_normal(num_examples) > 0
    order = rng.permutation(num_inputs)[:num_literals].astype(np.int32)
    thresholds = rng.integers(1, 4, len(order)).astype(np.float32)
    return Literals(order, thresholds, rng.random(len(order)) < 0.5), inputs, target


def as_tuples(literals):
    return list(zip(*(field.tolist() for field in literals[:3]), strict=True))


def best_by_size(literals, inputs, target, num_literals, **options):
    """{(N, M): rule} of one unit."""
    (rules,) = exact.best_sets(
        [literals], inputs, target[:, None], num_literals=num_literals, **options
    )
    return {(len(rule.literals.inputs), rule.m): rule for rule in rules}


def errors_of(rules):
    return {size_and_m: rule.errors for size_and_m, rule in rules.items()}


def check_errors(rules, inputs, target):
    for rule in rules:
        says = literal_truth(rule.literals, inputs).sum(1) >= rule.m
        assert rule.errors == (says != target).sum()


@pytest.mark.parametrize(("num_inputs", "num_examples"), [(1, 5), (3, 40), (6, 33), (8, 31)])
def test_all_sets_against_brute_force(num_inputs, num_examples):
    literals, inputs, target = random_unit(num_inputs, num_inputs, num_examples)
    expected = oracle.best_subset_errors(as_tuples(literals), inputs.tolist(), target.tolist())
    found = best_by_size(literals, inputs, target, num_inputs)
    assert errors_of(found) == {key: expected[key] for key in expected if 0 < key[1] <= key[0]}
    check_errors(found.values(), inputs, target)


@pytest.mark.parametrize(("num_inputs", "num_examples"), [(1, 5), (4, 40), (6, 20), (8, 8)])
def test_all_signed_sets_against_brute_force(num_inputs, num_examples):
    literals, inputs, target = random_unit(num_inputs, num_inputs, num_examples)
    expected = oracle.best_signed_subset_errors(
        as_tuples(literals), inputs.tolist(), target.tolist(), num_inputs
    )
    found = best_by_size(literals, inputs, target, num_inputs, signs="free")
    assert errors_of(found) == expected
    check_errors(found.values(), inputs, target)


@pytest.mark.parametrize(("num_inputs", "largest"), [(17, 4), (35, 2)])
def test_small_sets_of_many_inputs_against_brute_force(num_inputs, largest):
    literals, inputs, target = random_unit(0, num_inputs, 8, num_literals=num_inputs - 3)
    expected = {
        key: least
        for key, least in oracle.best_subset_errors(
            as_tuples(literals), inputs.tolist(), target.tolist(), largest
        ).items()
        if 0 < key[1] <= key[0]
    }
    found = best_by_size(literals, inputs, target, largest)
    assert errors_of(found) == expected
    check_errors(found.values(), inputs, target)


def test_small_signed_sets_of_many_inputs_against_brute_force():
    literals, inputs, target = random_unit(1, 18, 10, num_literals=15)
    expected = oracle.best_signed_subset_errors(
        as_tuples(literals), inputs.tolist(), target.tolist(), 3
    )
    found = best_by_size(literals, inputs, target, 3, signs="free")
    assert errors_of(found) == expected
    check_errors(found.values(), inputs, target)


@pytest.mark.parametrize("signs", ["weights", "free"])
def test_both_ways_through_the_sets_agree(monkeypatch, signs):
    literals, inputs, target = random_unit(2, 10, 200, num_literals=9)
    at_once = best_by_size(literals, inputs, target, 3, signs=signs)
    monkeypatch.setattr(exact, "all_sets_fit", lambda num_inputs, free: False)
    in_blocks = best_by_size(literals, inputs, target, 3, signs=signs)
    assert len(at_once) == 6
    assert errors_of(at_once) == errors_of(in_blocks)


@pytest.mark.parametrize("num_inputs", [9, 40])  # all sets at once, and in blocks
def test_of_equals_the_first_literals_win(num_inputs):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (100, 3))
    # Literals in reverse order of the inputs; many equal ones, those of three kinds far apart.
    inputs = bits[:, np.arange(num_inputs) % 3].astype(np.float32)
    literals = Literals(
        np.arange(num_inputs)[::-1], np.ones(num_inputs), np.zeros(num_inputs, bool)
    )
    found = best_by_size(literals, inputs, bits.sum(1) >= 2, 3)
    assert found[3, 2].errors == 0
    assert found[3, 2].literals.inputs.tolist() == literals.inputs[:3].tolist()
    assert found[1, 1].literals.inputs[0] in literals.inputs[:3]


@pytest.mark.parametrize("k", range(1, 6))
def test_recovers_threshold_units(k):
    inputs = np.indices((2,) * 7).reshape(7, -1).T.astype(np.float32)
    relevant = [1, 2, 3, 5, 6]
    targets = (inputs[:, relevant].sum(1) >= k)[:, None]
    literals = [Literals(np.arange(7), np.ones(7), np.zeros(7, bool))]
    (front,) = exact.exact(literals, inputs, targets).units
    assert front[-1].errors == 0
    assert (front[-1].m, front[-1].literals.inputs.tolist()) == (k, relevant)


def test_recovers_3_of_7_with_the_wrong_signs():
    inputs = np.indices((2,) * 10).reshape(10, -1).T.astype(np.float32)
    targets = (inputs[:, :7].sum(1) >= 3)[:, None]
    wrong = [Literals(np.arange(10), np.ones(10), np.arange(10) % 2 == 0)]
    assert exact.exact(wrong, inputs, targets).units[0][-1].errors > 0
    front = exact.exact(wrong, inputs, targets, signs="free")
    best = front.units[0][-1]
    assert (best.errors, best.m, best.literals.inputs.tolist()) == (0, 3, list(range(7)))
    assert not best.literals.negated.any()
    assert front.proven_literals == 10


def test_front_is_never_worse_than_weight_order():
    literals, inputs, target = random_unit(3, 20, 32)
    front = exact.exact([literals], inputs, target[:, None])
    by_weight = weight_order([literals], inputs, target[:, None], max_literals=3)
    assert front.num_examples == 32
    assert front.on_counts.tolist() == [target.sum()]
    assert content(merge_fronts(front, by_weight)) == content(front)


def test_constant_targets_and_units_without_literals():
    inputs = np.ones((6, 3), np.float32)
    none = Literals(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, bool))
    targets = np.array([[True] * 6, [False] * 6]).T
    front = exact.exact([none, none], inputs, targets)
    assert [[(rule.m, rule.errors) for rule in unit] for unit in front.units] == [
        [(0, 0)],
        [(1, 0)],
    ]


@pytest.mark.parametrize(("num_inputs", "signs"), [(5, "free"), (20, "weights")])
def test_memory_budget_changes_nothing(num_inputs, signs):
    units = [random_unit(seed, num_inputs, 50, num_literals=num_inputs - seed) for seed in range(3)]
    inputs = units[0][1]
    literals, targets = [unit[0] for unit in units], np.stack([unit[2] for unit in units], axis=1)
    whole = exact.exact(literals, inputs, targets, exact_literals=2, signs=signs)
    pieces = exact.exact(
        literals,
        inputs,
        targets,
        exact_literals=2,
        signs=signs,
        resources=Resources(memory_budget=1),
    )
    assert str(whole.units) == str(pieces.units)


def test_a_second_layer_of_the_same_shape_compiles_nothing():
    def run(seed):
        literals, inputs, target = random_unit(seed, 21, 31, num_literals=20 - seed)
        exact.exact([literals], inputs, target[:, None])

    run(0)
    compiled = exact._best_in_blocks._cache_size()
    run(1)
    assert exact._best_in_blocks._cache_size() == compiled


def test_how_far_the_proof_goes():
    def proven(*arguments, **options):
        return exact.provable_literals(*arguments, **options)

    assert proven(16) == 16
    assert proven(17) == proven(128) == 3
    assert proven(10, signs="free") == 10
    assert proven(11, signs="free") == 3
    assert proven(784) == 2
    assert proven(5000) == 1
    assert proven(128, 4) == 4
    assert proven(128, max_literals=2) == 2
    assert proven(2, 3) == 2


def test_merged_fronts_keep_the_stronger_proof():
    literals, inputs, target = random_unit(0, 20, 10)
    proven = exact.exact([literals], inputs, target[:, None], exact_literals=2)
    by_weight = weight_order([literals], inputs, target[:, None])
    assert by_weight.proven_literals == 0
    assert merge_fronts(by_weight, proven).proven_literals == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exact_literals": 5}, "exact_literals: expected at most 4"),
        ({"exact_literals": 0}, "exact_literals: expected an integer of at least 1"),
        ({"signs": "any"}, "signs: 'any' is not known"),
        ({"max_literals": 0}, "max_literals: expected an integer of at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(options, message):
    literals, inputs, target = random_unit(0, 20, 10)
    with pytest.raises(ValueError, match=message):
        exact.exact([literals], inputs, target[:, None], **options)

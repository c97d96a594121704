"""Refinement: every move the best there is, no move left at the end, errors never up."""

import numpy as np
import oracle
import pytest

from mofn_jax import meshes
from mofn_jax.fronts import Candidate, RuleFront, non_dominated
from mofn_jax.literals import Literals, literal_truth
from mofn_jax.search.exact import exact
from mofn_jax.search.refine import refine_front, refine_unit


def random_front(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((60, 5)).round(1).astype(dtype)
    targets = inputs @ rng.standard_normal((5, 3)) + 0.3 * rng.standard_normal((60, 3)) > 0
    thresholds = inputs[rng.integers(60, size=(3, 5)), np.arange(5)]
    literals = [Literals(np.arange(5), t, rng.random(5) < 0.5) for t in thresholds]
    return exact(literals, inputs, targets, signs="free"), inputs, targets


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize(
    ("num_examples", "dtype"),
    [(1, np.float32), (60, np.float64), (127, np.int8), (128, np.float32), (300, np.float16)],
)
def test_moves_are_those_of_plain_loops(monkeypatch, platform, num_examples, dtype):
    rng = np.random.default_rng(num_examples)
    # Large and close, so that float64 needs all of its bits; of a few values, so that many tie.
    inputs = (1e9 * (dtype == np.float64) + rng.integers(-4, 5, (num_examples, 6))).astype(dtype)
    inputs[:, 2] = 1
    targets = rng.random((num_examples, 2)) < 0.4
    thresholds = inputs[rng.integers(num_examples, size=(2, 5, 6)), np.arange(6)]
    rules = []
    for target, some_thresholds in zip(targets.T, thresholds, strict=True):
        unit = []
        for size, row in zip([1, 2, 3, 5, 6], some_thresholds, strict=True):
            which, m = rng.choice(6, size, replace=False), int(rng.integers(1, size + 1))
            # Some between two values, some below all of them.
            moved = row[which].astype(np.float64) - rng.choice([0, 0.5, 50], size)
            literals = Literals(which, moved, rng.random(size) < 0.5)
            truth = literal_truth(literals, inputs).sum(1) >= m
            unit.append(Candidate(m, literals, np.count_nonzero(truth != target), float(size)))
        rules.append(unit)
    monkeypatch.setattr(meshes, "platform", lambda: platform)
    options = {"refine_literals": 6, "memory_budget": 2**30}
    for unit, target in zip(rules, targets.T, strict=True):
        for rule in unit:
            examples, on = inputs.tolist(), target.tolist()
            fields = [field.tolist() for field in rule.literals[:3]]
            expected = oracle.refined(rule.m, [*zip(*fields, strict=True)], examples, on)
            errors = oracle.errors(rule.m, expected, examples, on)
            found = refine_unit([rule], inputs, target, **options)[-1]
            assert found.errors == errors
            if errors < rule.errors:
                assert found.literals.thresholds.tolist() == [t for _, t, _ in expected]
            else:
                assert found is rule
        together = refine_unit(unit, inputs, target, **options)
        apart = [refine_unit([rule], inputs, target, **options)[-1] for rule in unit]
        assert [rule.errors for rule in together] == [r.errors for r in non_dominated(apart)]


def test_a_threshold_that_comes_back_has_moved():
    """From between two values away, and back, to the upper one of them."""
    rng = np.random.default_rng(5)
    inputs = rng.integers(0, 4, (24, 4)).astype(float)
    target = rng.random(24) < 0.4
    m, examples, on = int(rng.integers(1, 4)), inputs.tolist(), target.tolist()
    start = [(i, inputs[rng.integers(24), i] - 0.5, bool(rng.random() < 0.5)) for i in range(4)]
    moved = oracle.refined(m, start, examples, on)
    assert moved[0][1] == start[0][1] + 0.5
    literals = Literals(*map(np.array, zip(*start, strict=True)))
    rule = Candidate(m, literals, oracle.errors(m, start, examples, on), 1.0)
    (found,) = refine_unit([rule], inputs, target, refine_literals=4, memory_budget=1)
    assert found.literals.thresholds.tolist() == [threshold for _, threshold, _ in moved]


def test_a_literal_of_a_constant_input_stays():
    inputs, target = np.ones((3, 1)), np.array([True, True, False])
    rule = Candidate(1, Literals(np.array([0]), np.array([5.0]), np.array([False])), 2, 0.5)
    assert refine_unit([rule], inputs, target, refine_literals=1, memory_budget=1) == (rule,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_single_move_improves_a_refined_rule(dtype):
    front, inputs, targets = random_front(dtype=dtype)
    refined = refine_front(front, inputs, targets)
    examples, moved = inputs.tolist(), 0
    for unit, before, target in zip(refined.units, front.units, targets.T.tolist(), strict=True):
        assert unit[-1].errors <= before[-1].errors
        for rule in unit:
            literals = list(zip(*(field.tolist() for field in rule.literals[:3]), strict=True))
            assert rule.errors == oracle.errors(rule.m, literals, examples, target)
            as_simple = [
                one.errors
                for one in before
                if one.complexity <= rule.complexity and len(one.literals.inputs) <= len(literals)
            ]
            assert rule.errors <= min(as_simple)
            moved += rule.errors < min(as_simple)
            for place, (i, _, negated) in enumerate(literals):
                for threshold in oracle.candidates(inputs[:, i].tolist()):
                    other = [*literals[:place], (i, threshold, negated), *literals[place + 1 :]]
                    assert rule.errors <= oracle.errors(rule.m, other, examples, target)
    assert moved >= 3


def test_never_worse_anywhere_on_the_front():
    front, inputs, targets = random_front(seed=1)
    refined = refine_front(front, inputs, targets)
    for before, after in zip(front.units, refined.units, strict=True):
        for rule in before:
            assert any(
                one.errors <= rule.errors and one.complexity <= rule.complexity for one in after
            )
    assert refined.proven_literals == front.proven_literals


def test_finds_the_thresholds_of_a_box():
    grid = np.indices((10, 10)).reshape(2, -1).T.astype(np.float64)
    target = (grid[:, 0] >= 7) & (grid[:, 1] < 4)
    literals = Literals(np.array([0, 1]), np.array([5.0, 6.0]), np.array([False, True]))
    wrong = int((literal_truth(literals, grid).all(1) != target).sum())
    front = RuleFront(((Candidate(2, literals, wrong, 0.5),),), np.array([target.sum()]), 100, 2)
    done = []
    (rule,) = refine_front(front, grid, target[:, None], progress=done.append).units[0]
    assert wrong > 0
    assert (rule.errors, rule.literals.thresholds.tolist()) == (0, [7.0, 4.0])
    assert literals.thresholds.tolist() == [5.0, 6.0]  # the old rule is as it was
    assert done == [1]


def test_large_rules_and_constant_rules_stay():
    front, inputs, targets = random_front(seed=2)
    small = refine_front(front, inputs, targets, refine_literals=1)
    kept = {id(rule) for unit in front.units for rule in unit}
    for unit in small.units:
        assert all(id(rule) in kept for rule in unit if len(rule.literals.inputs) != 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:-1], y[:-1], {}), "inputs: expected shape"),
        (lambda x, y: (x, y[:, :-1], {}), "targets: expected shape"),
        (lambda x, y: (x * np.nan, y, {}), "inputs: holds NaN"),
        (lambda x, y: (x, y * 1.0, {}), "targets: expected booleans"),
        (lambda x, y: (x, y, {"refine_literals": 0}), "refine_literals: expected an integer"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    front, inputs, targets = random_front()
    inputs, targets, options = change(inputs, targets)
    with pytest.raises(ValueError, match=message):
        refine_front(front, inputs, targets, **options)

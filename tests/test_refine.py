"""Refinement: every move the best there is, no move left at the end, errors never up."""

import numpy as np
import oracle
import pytest

from mofn_jax.fronts import Candidate, RuleFront
from mofn_jax.literals import Literals, literal_truth
from mofn_jax.search.exact import exact
from mofn_jax.search.refine import best_move, refine_front


def random_front(seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((60, 5)).round(1).astype(dtype)
    targets = inputs @ rng.standard_normal((5, 3)) + 0.3 * rng.standard_normal((60, 3)) > 0
    thresholds = inputs[rng.integers(60, size=(3, 5)), np.arange(5)]
    literals = [Literals(np.arange(5), t, rng.random(5) < 0.5) for t in thresholds]
    return exact(literals, inputs, targets, signs="free"), inputs, targets


@pytest.mark.parametrize("seed", range(10))
def test_best_move_against_all_moves(seed):
    rng = np.random.default_rng(seed)
    values, on = rng.integers(0, 6, 30), rng.random(30) < 0.5
    negated = bool(seed % 2)

    def errors(cut):  # of "the literal holds" on these, the pivotal examples
        return int((((values >= cut) ^ negated) != on).sum())

    for now in range(7):
        cut, change = best_move(2 * values + on, 6, now, negated)
        assert (errors(cut), cut) == min((errors(other), other) for other in range(1, 6))
        assert change == errors(cut) - errors(now)


def test_a_literal_of_a_constant_input_stays():
    assert best_move(np.array([0, 1, 1]), 1, 1, False) == (1, 0)


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

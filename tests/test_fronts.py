"""Fronts and selection against enumerating every rule."""

import numpy as np
import oracle
import pytest

import mofn_jax as mofn
from mofn_jax import fronts, score_kernels
from mofn_jax.bits import pack_examples
from mofn_jax.complexity import complexity, prefix_order


def random_unit(seed, num_inputs, num_examples=24):
    """Literals, their truth and a target that some of them explain in part."""
    rng = np.random.default_rng(seed)
    truth = rng.random((num_examples, num_inputs)) < 0.5
    target = (truth[:, : num_inputs // 2 + 1].sum(1) >= rng.integers(1, 3)) ^ (
        rng.random(num_examples) < 0.2
    )
    literals = mofn.Literals(
        np.arange(num_inputs), np.full(num_inputs, 1.0), np.zeros(num_inputs, bool)
    )
    return literals, truth, target


def front_of(literals, truth, target, num_inputs):
    packed = map(pack_examples, (truth.T, target, np.ones_like(target)))
    errors = np.asarray(score_kernels.score_unit(*packed))
    return fronts.front_of_table(errors, literals, num_inputs)


def scored_prefixes(literals, truth, target):
    rules = [(i, True, False) for i in literals.inputs.tolist()]
    return oracle.prefix_rules(rules, truth.tolist(), target.tolist())


def shape(candidate):
    return candidate.errors, len(candidate.literals.inputs), candidate.m


@pytest.mark.parametrize("num_inputs", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("seed", range(6))
def test_front_and_every_beta_against_enumeration(num_inputs, seed):
    literals, truth, target = random_unit(seed, num_inputs)
    unit = front_of(literals, truth, target, num_inputs)
    scored = scored_prefixes(literals, truth, target)
    expected = [(wrong, taken, m) for wrong, _, taken, m in oracle.front(scored)]
    assert [shape(candidate) for candidate in unit] == expected
    front = mofn.RuleFront((unit,), np.array([target.sum()]), len(target), num_inputs)
    for beta in (0.0, 0.01, 0.1, 0.3, 1.0, 10.0):
        (chosen,) = fronts.select(front, beta)
        wrong, _, taken, m = oracle.best_loss(scored, beta, len(target), num_inputs)
        assert shape(chosen) == (wrong, taken, m)

    order = prefix_order(num_inputs)
    least_ranks = np.full(len(target) + 1, order.ranks.max())
    for wrong, _, taken, m in scored:
        least_ranks[wrong] = min(least_ranks[wrong], order.ranks[taken, m])
    by_ranks = fronts.front_of_prefixes(least_ranks, order, literals, num_inputs)
    expected = {(wrong, taken, m) for wrong, _, taken, m in oracle.front(scored, criteria=2)}
    assert expected <= {shape(candidate) for candidate in by_ranks} <= {*map(shape, unit)}


@pytest.mark.parametrize("seed", range(6))
def test_every_limit_against_enumeration(seed):
    literals, truth, target = random_unit(seed, 8)
    unit = front_of(literals, truth, target, 8)
    front = mofn.RuleFront((unit,), np.array([target.sum()]), len(target), 8)
    scored = scored_prefixes(literals, truth, target)
    for limit in range(1, 9):
        for largest in (0.0, 0.3, 0.6, 1.0):
            some = [
                (wrong, taken, complexity(m, taken, 8), m)
                for wrong, _, taken, m in scored
                if taken <= limit and complexity(m, taken, 8) <= largest
            ]
            (chosen,) = fronts.select(front, max_literals=limit, max_complexity=largest)
            assert (*shape(chosen)[:2], chosen.complexity) == min(some)[:3]
        some = [one for one in scored if one[2] <= limit]
        (chosen,) = fronts.select(front, 0.1, max_literals=limit)
        loss = chosen.errors / len(target) + 0.1 * chosen.complexity
        wrong, _, taken, m = oracle.best_loss(some, 0.1, len(target), 8)
        assert loss == pytest.approx(wrong / len(target) + 0.1 * complexity(m, taken, 8))


def test_a_longer_rule_of_less_complexity_takes_nothing_from_a_shorter_one():
    literals = mofn.Literals(np.arange(60), np.ones(60), np.zeros(60, bool))
    short = mofn.Candidate(20, literals.first(40), errors=5, complexity=0.6)
    long = mofn.Candidate(2, literals, errors=4, complexity=0.2)
    unit = fronts.non_dominated([short, long])
    assert unit == (long, short)
    front = mofn.RuleFront((unit,), np.array([9]), num_examples=20, num_inputs=60)
    assert mofn.select_rules(front, max_literals=40)[0].m == 20
    (rule,) = mofn.select_rules(front, max_literals=60)
    assert (rule.m, rule.max_literals, rule.beta) == (2, 60, None)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "beta: expected one of beta, max_literals and max_complexity, got none"),
        ({"max_literals": 0}, "max_literals: expected an integer of at least 1, got 0"),
        ({"max_complexity": -1}, "max_complexity: expected a finite number of at least 0"),
    ],
)
def test_bad_limits(limits, message):
    front = mofn.RuleFront((), np.array([]), num_examples=8, num_inputs=2)
    with pytest.raises(ValueError, match=message):
        mofn.select_rules(front, **limits)


def test_a_tie_of_the_loss_goes_to_the_less_complex_rule():
    literals = mofn.Literals(np.arange(2), np.ones(2), np.zeros(2, bool))
    simple = mofn.Candidate(1, literals.first(1), errors=6, complexity=0.25)
    long = mofn.Candidate(2, literals, errors=4, complexity=0.5)
    front = mofn.RuleFront(((simple, long),), np.array([4]), num_examples=8, num_inputs=2)
    assert fronts.select(front, beta=1.0) == (simple,)
    assert fronts.select(front, beta=0.99) == (long,)


def test_merged_front_is_the_front_of_all():
    num_inputs = 6
    literals, truth, target = random_unit(3, num_inputs)
    reverse = literals.take(np.arange(num_inputs)[::-1])
    both = [
        mofn.RuleFront((unit,), np.array([target.sum()]), len(target), num_inputs)
        for unit in (
            front_of(literals, truth, target, num_inputs),
            front_of(reverse, truth[:, ::-1], target, num_inputs),
        )
    ]
    scored = scored_prefixes(literals, truth, target) + scored_prefixes(reverse, truth, target)
    expected = [one[:2] for one in oracle.front(scored)]
    merged = mofn.merge_fronts(*both)
    assert [
        (c.errors, oracle.length(c.m, len(c.literals.inputs))) for c in merged.units[0]
    ] == expected


def test_of_rules_of_equal_loss_the_less_complex_is_selected():
    literals = mofn.Literals(*np.zeros((3, 0)))
    beta = 0.3
    for num_examples in range(1, 200):  # 3 / 20 + 0.3 < 9 / 20, to a float
        for fewer in range(num_examples):
            more = fewer + 0.3 * num_examples
            if more != int(more) or more > num_examples:
                continue
            unit = tuple(
                mofn.Candidate(1, literals, int(errors), complexity)
                for errors, complexity in ((more, 0.0), (fewer, 1.0))
            )
            front = mofn.RuleFront((unit,), np.array([0]), num_examples, num_inputs=2)
            assert mofn.select_rules(front, beta)[0].complexity == 0


def test_fronts_of_other_examples_do_not_merge():
    front = mofn.RuleFront(((),), np.array([4]), num_examples=8, num_inputs=2)
    with pytest.raises(ValueError, match="same units on the same examples"):
        mofn.merge_fronts(front, front._replace(on_counts=np.array([5])))


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf")])
def test_bad_beta(beta):
    front = mofn.RuleFront((), np.array([]), num_examples=8, num_inputs=2)
    with pytest.raises(ValueError, match="beta: expected a finite number of at least 0"):
        mofn.select_rules(front, beta)

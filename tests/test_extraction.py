"""Extraction: known truths come back, errors are what evaluation says, bad input is refused."""

import itertools

import jax
import numpy as np
import oracle
import pytest
from content import content

import mofn_jax as mofn
from mofn_jax.compat import enable_x64


def rule_of(weights, inputs, target, beta=0.0, **options):
    """The rule of a single unit."""
    front = mofn.extract_layer(
        np.asarray(weights, np.float32)[:, None], inputs, target[:, None], **options
    )
    return mofn.select_rules(front, beta)[0]


def inputs_of(rule):
    return sorted((literal.input, literal.negated) for literal in rule.literals)


@pytest.mark.parametrize("n", range(1, 9))
def test_threshold_units_come_back_as_exactly_k_of_n(n):
    table = np.array(list(itertools.product([0, 1], repeat=n)), np.float32)
    targets = table.sum(1)[:, None] - np.arange(1, n + 1) >= 0  # unit k - 1: weights 1, bias -k
    front = mofn.extract_layer(np.ones((n, n)), table, targets)
    for k, rule in enumerate(mofn.select_rules(front, beta=0.0), start=1):
        assert (rule.error, rule.m) == (0, k)
        assert rule.literals == tuple(mofn.Literal(i, 1.0, False) for i in range(n))


def test_mofn_3_7_10():
    table = mofn.load_dataset("mofn-3-7-10").train
    rule = rule_of([1] * 7 + [0] * 3, table.inputs, table.labels == 1)
    assert (rule.error, rule.m) == (0, 3)
    assert inputs_of(rule) == [(i, False) for i in range(7)]


FIRST_VALUES = np.array([0, 3, 6, 8, 11, 15])  # columns of "attribute has its first value"


def test_both_halves_of_monks_2():
    table = mofn.load_dataset("monks-2").train
    count = table.inputs[:, FIRST_VALUES].sum(1)
    np.testing.assert_array_equal(count == 2, table.labels == 1)
    weights = np.zeros(17)
    weights[FIRST_VALUES] = 1
    at_least = rule_of(weights, table.inputs, count >= 2)
    assert (at_least.error, at_least.m) == (0, 2)
    assert inputs_of(at_least) == [(i, False) for i in FIRST_VALUES]
    at_most = rule_of(-weights, table.inputs, count <= 2)
    assert (at_most.error, at_most.m) == (0, 4)
    assert inputs_of(at_most) == [(i, True) for i in FIRST_VALUES]


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        # a1 = a2 or a5 = 1; an AND for each term, as (column, negated)
        (
            "monks-1",
            [
                [(0, False), (3, False)],
                [(1, False), (4, False)],
                [(2, False), (5, False)],
                [(11, False)],
            ],
        ),
        # a5 = 3 and a4 = 1, or a5 != 4 and a2 != 3
        ("monks-3", [[(8, False), (13, False)], [(5, True), (14, True)]]),
    ],
)
def test_monks_1_and_3_layer_by_layer(name, terms):
    table = mofn.load_dataset(name).train
    weights = np.zeros((17, len(terms)))
    for unit, term in enumerate(terms):
        for column, negated in term:
            weights[column, unit] = -1 if negated else 1
    hidden = np.stack(
        [np.all([table.inputs[:, i] != negated for i, negated in term], axis=0) for term in terms],
        axis=1,
    )
    front = mofn.extract_layer(weights, table.inputs, hidden)
    for term, rule in zip(terms, mofn.select_rules(front, beta=0.0), strict=True):
        assert (rule.error, rule.m) == (0, len(term))
        assert inputs_of(rule) == sorted(term)
    output = rule_of(np.ones(len(terms)), hidden, table.labels == 1)
    assert (output.error, output.m, len(output.literals)) == (0, 1, len(terms))


def random_layer(seed, num_examples=60, num_inputs=7, num_units=4, dtype=np.float64):
    rng = np.random.default_rng(seed)
    inputs = np.maximum(rng.standard_normal((num_examples, num_inputs)), 0).round(1).astype(dtype)
    inputs[:, 2] = 1
    weights = rng.standard_normal((num_inputs, num_units)).round(1)
    targets = inputs @ weights >= np.median(inputs @ weights, axis=0)
    targets[:, 0] = False
    return weights, inputs, targets


@pytest.mark.parametrize("seed", range(5))
def test_a_whole_layer_against_the_oracle(seed):
    weights, inputs, targets = random_layer(seed)
    front = mofn.extract_layer(weights, inputs, targets, search="weight_order")
    thresholds = mofn.best_thresholds(inputs, targets).values
    for unit, found in enumerate(front.units):
        literals = oracle.literals(
            weights[:, unit].tolist(),
            [None if np.isnan(t) else t for t in thresholds[:, unit].tolist()],
        )
        scored = oracle.prefix_rules(literals, inputs.tolist(), targets[:, unit].tolist())
        assert [(c.errors, len(c.literals.inputs), c.m) for c in found] == [
            (wrong, taken, m) for wrong, _, taken, m in oracle.front(scored)
        ]


@pytest.mark.parametrize("beta", [0.0, 0.05, 0.5])
def test_reported_errors_are_those_of_the_evaluated_rules(beta):
    weights, inputs, targets = random_layer(0, num_examples=333)
    rules = mofn.select_rules(mofn.extract_layer(weights, inputs, targets), beta)
    says = mofn.evaluate_rules(rules, inputs)
    assert [rule.error for rule in rules] == (says != targets).mean(0).tolist()
    on = targets.mean(0)
    np.testing.assert_allclose([r.baseline_error for r in rules], np.minimum(on, 1 - on))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, bool])
def test_any_dtype_gives_the_rules_of_its_values(dtype):
    weights, inputs, targets = random_layer(0)
    inputs = (inputs * 10).astype(dtype)
    rules = mofn.select_rules(mofn.extract_layer(weights, inputs, targets), 0.01)
    as_double = mofn.extract_layer(weights, inputs.astype(np.float64), targets)
    assert rules == mofn.select_rules(as_double, 0.01)


@pytest.mark.parametrize("search", list(mofn.SEARCHES))
@pytest.mark.parametrize("refine", [False, True])
def test_every_search_is_as_good_as_the_paper_s(search, refine):
    weights, inputs, targets = random_layer(0, num_inputs=20)
    paper = mofn.extract_layer(weights, inputs, targets, search="weight_order", max_literals=3)
    front = mofn.extract_layer(
        weights, inputs, targets, search=search, refine=refine, max_literals=3
    )
    for unit, of_paper in zip(front.units, paper.units, strict=True):
        for rule in of_paper:
            assert any(
                one.errors <= rule.errors and one.complexity <= rule.complexity for one in unit
            )
    rules = mofn.select_rules(front, 0.0)
    assert [rule.error for rule in rules] == (mofn.evaluate_rules(rules, inputs) != targets).mean(
        0
    ).tolist()
    if search == "weight_order" and not refine:
        assert content(front) == content(paper)
    elif refine or search == "best":
        assert sum(unit[-1].errors for unit in front.units) < sum(
            unit[-1].errors for unit in paper.units
        )


def test_best_is_the_front_of_all_refined():
    layer = random_layer(0, num_inputs=20)
    best = mofn.extract_layer(*layer, exact_literals=2)
    parts = [
        mofn.extract_layer(*layer, search=search, **options)
        for search, options in (
            ("weight_order", {}),
            ("exact", {"exact_literals": 2}),
            ("stepwise", {}),
        )
    ]
    all_ = mofn.refine_front(mofn.merge_fronts(*parts), *layer[1:], refine_literals=60)
    assert shapes(best) == shapes(all_)
    assert best.proven_literals == 2


def shapes(front):
    """What is to be known of every candidate."""
    return [
        [(c.m, c.errors, c.complexity, *(f.tolist() for f in c.literals[:3])) for c in unit]
        for unit in front.units
    ]


def test_a_search_of_the_user_s():
    weights, inputs, targets = random_layer(0)

    def first_literal(literals, inputs, targets, *, max_literals, resources, least=1):
        """Of each unit the rule of its first literal."""
        units = []
        for unit, target in zip(literals, targets.T, strict=True):
            says = mofn.literal_truth(unit.first(least), inputs).any(1)
            errors = int((says != target).sum())
            units.append((mofn.Candidate(1, unit.first(least), errors, 0.0),))
            resources.progress(1)
        assert max_literals == 3
        return mofn.RuleFront(tuple(units), targets.sum(0), *inputs.shape)

    done = []
    options = {"search": first_literal, "max_literals": 3, "progress": done.append}
    front = mofn.extract_layer(weights, inputs, targets, least=2, **options)
    assert [len(rule.literals) for rule in mofn.select_rules(front, 0.0)] == [2] * 4
    assert done == [1] * 4
    layer = mofn.extract_layer(weights, inputs, targets, **options, refine=True)
    assert {len(rule.literals) for rule in mofn.select_rules(layer, 0.0)} == {1}
    with pytest.raises(ValueError, match=r"most: the search has no such option; it has \['least'"):
        mofn.extract_layer(weights, inputs, targets, most=2, **options)


def test_without_weights_gain_orders_and_signs():
    _, inputs, targets = random_layer(0)
    front = mofn.extract_layer(None, inputs, targets, search="weight_order")
    thresholds = mofn.best_thresholds(inputs, targets)
    for unit, target, gains in zip(front.units, targets.T, thresholds.gains.T, strict=True):
        for rule in unit:
            used = rule.literals.inputs
            assert gains[used].tolist() == sorted(gains[used].tolist(), reverse=True)
            for i, threshold, negated in zip(*rule.literals[:3], strict=True):
                above = inputs[:, i] >= threshold
                assert negated == (target[above].mean() < target[~above].mean())
    assert max(unit[-1].errors for unit in front.units) < 30  # half the examples


def test_max_literals_limits_every_rule():
    weights, inputs, targets = random_layer(1)
    front = mofn.extract_layer(weights, inputs, targets, max_literals=2)
    sizes = {len(c.literals.inputs) for unit in front.units for c in unit}
    assert max(sizes) == 2


def test_budget_and_order_of_examples_change_nothing():
    weights, inputs, targets = random_layer(2)
    rules = mofn.select_rules(mofn.extract_layer(weights, inputs, targets), 0.01)
    shuffled = np.random.default_rng(0).permutation(len(inputs))
    for front in (
        mofn.extract_layer(weights, inputs, targets, memory_budget=1),
        mofn.extract_layer(weights, inputs[shuffled], targets[shuffled]),
    ):
        assert mofn.select_rules(front, 0.01) == rules


@pytest.mark.parametrize(
    "change",
    [
        {"weights": np.zeros((7, 4))},  # no literals at all
        {"inputs": np.ones((60, 7))},
        {"targets": np.ones((60, 4), bool)},
    ],
)
def test_degenerate_layers_get_constant_rules(change):
    weights, inputs, targets = random_layer(3)
    layer = {"weights": weights, "inputs": inputs, "targets": targets} | change
    for rule in mofn.select_rules(mofn.extract_layer(**layer), beta=0.0):
        assert rule.literals == ()
        assert rule.error == rule.baseline_error


def test_one_example_one_input():
    rule = rule_of([1.0], np.zeros((1, 1)), np.array([True]))
    assert (rule.m, rule.literals, rule.error) == (0, (), 0)


@pytest.mark.parametrize(
    ("search", "got"),
    [
        (lambda *_, **__: [], "list"),
        (lambda _, inputs, targets, **__: mofn.RuleFront((), targets.sum(0), *inputs.shape), "0"),
    ],
)
def test_a_search_that_returns_something_else(search, got):
    with pytest.raises(ValueError, match=f"search: .* RuleFront of 4 units, got {got}$"):
        mofn.extract_layer(*random_layer(5), search=search)


@pytest.mark.parametrize("search", list(mofn.SEARCHES))
@pytest.mark.parametrize("memory_budget", [1, 2**29])
def test_progress_counts_every_unit_once_and_names_every_stage(search, memory_budget):
    weights, inputs, targets = random_layer(4, num_inputs=20)
    done, stages = [], {}
    mofn.extract_layer(
        weights,
        inputs,
        targets,
        search=search,
        memory_budget=memory_budget,
        progress=done.append,
        on_stage=lambda name, *numbers: stages.setdefault(name, []).append(numbers),
    )
    assert sum(done) == 4
    searched = ["weight order", "exact", "stepwise", "refine"]
    if search != "best":
        searched = [search.replace("_", " ")]
    assert list(stages) == ["compiling", "thresholds", *searched]
    assert stages.pop("compiling") == [(0, 4)]
    assert stages.pop("thresholds")[-1] == (20, 20)
    for numbers in stages.values():
        assert (numbers[0], numbers[-1]) == ((0, 4), (4, 4))
        assert numbers == sorted(numbers)


def test_a_second_layer_of_the_same_shape_compiles_nothing():
    compiled = []

    def listen(event, duration, **_):
        if "compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)  # for good, in JAX 0.7
    mofn.extract_layer(*random_layer(5, num_examples=61))  # a shape of no other test
    assert compiled
    compiled.clear()
    mofn.extract_layer(*random_layer(6, num_examples=61))
    assert not compiled


def test_with_64_bits_the_rules_are_the_same():
    layer = random_layer(7, num_inputs=20)
    front = mofn.extract_layer(*layer)
    with enable_x64(True):
        assert content(mofn.extract_layer(*layer)) == content(front)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float16])
def test_weights_of_any_dtype(dtype):
    _, inputs, targets = random_layer(8)
    weights = np.random.default_rng(8).integers(0, 4, (7, 4)).astype(dtype)
    as_double = mofn.extract_layer(weights.astype(np.float64), inputs, targets)
    assert content(mofn.extract_layer(weights, inputs, targets)) == content(as_double)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((6, 4))}, r"weights: expected shape \[7, any\], got \[6, 4\]"),
        ({"weights": np.full((7, 4), np.nan)}, "weights: holds NaN"),
        ({"weights": np.zeros((7, 0))}, "weights: has no elements"),
        ({"inputs": np.full((60, 7), np.inf)}, "inputs: holds NaN or infinity"),
        ({"inputs": np.zeros((0, 7))}, "inputs: has no elements"),
        ({"inputs": np.zeros((60, 0))}, "inputs: has no elements"),
        ({"targets": np.zeros((59, 4), bool)}, r"targets: expected shape \[60, 4\]"),
        ({"targets": np.zeros((60, 3), bool)}, r"targets: expected shape \[60, 4\]"),
        ({"targets": np.zeros((60, 4), int)}, "targets: expected booleans, got dtype int64"),
        ({"search": "magic"}, r"search: 'magic' is not known; expected one of \['best'"),
        ({"max_literals": 0}, "max_literals: expected an integer of at least 1, got 0"),
        (
            {"exact_literal": 2},
            r"exact_literal: the search has no such option; it has \['exact_lit",
        ),
        ({"stepwise_literals": 300}, "stepwise_literals: expected at most 256, got 300"),
        ({"search": "exact", "signs": "any"}, "signs: 'any' is not known"),
        ({"memory_budget": 2e9}, "memory_budget: expected an integer of at least 1, got 2000000"),
    ],
)
def test_bad_input(change, message):
    weights, inputs, targets = random_layer(0)
    layer = {"weights": weights, "inputs": inputs, "targets": targets} | change
    with pytest.raises(ValueError, match=message):
        mofn.extract_layer(**layer)

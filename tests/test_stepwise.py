"""Stepwise search: against the same steps in plain Python, and the errors that its rules make."""

import functools
import operator

import jax
import numpy as np
import pytest

import mofn_jax as mofn
from mofn_jax import meshes
from mofn_jax.bits import pack_examples
from mofn_jax.literals import Literals, literal_truth
from mofn_jax.meshes import Resources
from mofn_jax.search import pools, steps, stepwise
from mofn_jax.search.exact import NO_SET
from mofn_jax.search.sets import Unit


def random_unit(seed, num_literals=9, num_examples=70):
    """Truth of literals [E, L] and a target that some of them explain in part."""
    rng = np.random.default_rng(seed)
    truth = rng.random((num_examples, num_literals)) < rng.uniform(0.2, 0.8, num_literals)
    score = truth @ rng.standard_normal(num_literals) + rng.standard_normal(num_examples)
    return truth, score > np.quantile(score, rng.uniform(0.3, 0.9))


def packed(truth, target, num_literals=None):
    return Unit(
        pack_examples(truth.T).T.copy(),
        np.int32(truth.shape[1] if num_literals is None else num_literals),
        pack_examples(target),
        pack_examples(np.ones_like(target)),
    )


def kernel(truth, target, *, largest, polished, free=False, num_literals=None):
    options = {"largest": largest, "polished": polished, "num_examples": len(truth), "free": free}
    return jitted(**options)(packed(truth, target, num_literals))


@functools.cache
def jitted(**options):
    return jax.jit(functools.partial(steps.search_unit, **options))


class PlainSteps:
    """The steps by loops over examples, literals and M."""

    def __init__(self, truth, target, largest, free):
        columns = [truth[:, i].tolist() for i in range(truth.shape[1])]
        if free:
            columns += [[not holds for holds in column] for column in columns]
        self.columns, self.on, self.largest = columns, target.tolist(), largest
        self.inputs = truth.shape[1]
        self.errors = functools.cache(self.count_errors)
        tables = steps.guide(len(truth), largest)
        self.table, self.offset = tables.losses.tolist(), tables.losses.shape[1] // 2

    def held(self, rows):
        return [sum(self.columns[k][e] for k in rows) for e in range(len(self.on))]

    def loss(self, rows, m):
        row = self.table[len(rows)]
        return sum(
            row[(c - m if on else m - c - 1) + self.offset]
            for c, on in zip(self.held(rows), self.on, strict=True)
        )

    def count_errors(self, rows, m):
        return sum((c >= m) != on for c, on in zip(self.held(rows), self.on, strict=True))

    def best_m(self, rows):
        return min((self.errors(rows, m), m) for m in range(1, len(rows) + 1))

    def can_take(self, rows):
        used = {k % self.inputs for k in rows}
        return [k for k in range(len(self.columns)) if k % self.inputs not in used]

    def walk(self):
        """{N: (errors, M, rows)} of the steps alone."""
        rows, m, last, steps_done = frozenset(), 1, -1, 0
        least, best = {}, {}
        while steps_done < 4 * self.largest:
            size = len(rows)
            window = [min(max(m + d, 1), size + 1) for d in (-1, 0, 1)]
            adds = [
                (self.loss(rows | {k}, new), k, place)
                for k in self.can_take(rows)
                for place, new in enumerate(window)
            ]
            drops = [
                (self.loss(rows - {k}, new), k, place)
                for k in rows
                for place, new in enumerate(window)
            ]
            drop = min(drops, default=None)
            if (
                size >= 4
                and drop[0] < least[size - 1]
                and drop[1] != last
                and steps_done + self.largest - size + 1 < 4 * self.largest
            ):
                loss, k, place = drop
                rows = rows - {k}
            elif size >= min(self.largest, self.inputs):
                break
            else:
                loss, k, place = min(adds)
                rows, last = rows | {k}, k
            m = window[place]
            size = len(rows)
            least[size] = min(least.get(size, loss), loss)
            errors, best_m = self.best_m(rows)
            if size not in best or errors < best[size][0]:
                best[size] = errors, best_m, rows
            steps_done += 1
        return best

    def polish(self, rows, m, errors, place):
        """A list of rows, None for an empty place, exchanged one by one."""
        size, stayed = len(rows), 0
        while stayed < size:
            others = frozenset(rows[:place] + rows[place + 1 :])
            middle = min(
                (sum((c >= n) != on for c, on in zip(self.held(others), self.on, strict=True)), n)
                for n in range(1, size + 1)
            )[1]
            window = [min(max(middle + d, 1), size) for d in (-2, -1, 0, 1, 2)]
            new = min(
                (self.errors(others | {k}, n), k, p)
                for k in self.can_take(others)
                for p, n in enumerate(window)
            )
            stayed += 1
            if errors is None or new[0] < errors:
                errors, rows[place], m, stayed = new[0], new[1], window[new[2]], 1
            place = (place + 1) % size
        return errors, m, rows


def as_dict(found):
    return {
        size: (int(errors), int(m), frozenset(np.flatnonzero(taken).tolist()))
        for size, (errors, m, taken) in enumerate(zip(*map(np.asarray, found), strict=True))
        if errors != NO_SET
    }


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_steps_are_those_of_the_oracle(seed, free):
    truth, target = random_unit(seed, num_literals=7 if free else 11)
    found = kernel(truth, target, largest=7, polished=0, free=free)
    assert as_dict(found) == PlainSteps(truth, target, 7, free).walk()


def test_products_count_what_words_do(monkeypatch):
    units = [random_unit(seed, num_examples=100) for seed in range(6)]
    options = {"largest": 7, "polished": 5, "free": True}
    expected = [as_dict(kernel(*unit, **options)) for unit in units]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *(packed(*unit) for unit in units))
    monkeypatch.setattr(meshes, "platform", lambda: "tpu")
    search = functools.partial(steps.search_unit, num_examples=100, **options)
    lowered = jax.jit(jax.vmap(search)).lower(stacked)
    assert "6x9x32x4xi8" in lowered.as_text()
    found = lowered.compile()(stacked)
    for number, unit in enumerate(expected):
        assert as_dict(jax.tree.map(operator.itemgetter(number), found)) == unit


@pytest.mark.parametrize("seed", range(8))
def test_polishing_is_that_of_the_oracle(seed):
    truth, target = random_unit(seed)
    plain = PlainSteps(truth, target, 6, free=False)
    met = plain.walk()
    sets = {}
    for size in range(1, 5):  # forth
        errors, m, rows = met[size]
        best = plain.polish(sorted(rows), m, errors, 0)
        before = sets[size - 1][2] if size > 1 else []
        grown = plain.polish([*before, None], 0, None, size - 1)
        sets[size] = min(best, grown, key=lambda one: one[0])
    for size in range(3, 0, -1):  # and back
        larger = sets[size + 1][2]
        place = min(
            range(size + 1),
            key=lambda p: plain.best_m(frozenset(larger[:p] + larger[p + 1 :]))[0],
        )
        fewer = [*larger]
        fewer[place] = fewer[size]
        fewer.pop()
        errors, m = plain.best_m(frozenset(fewer))
        shrunk = plain.polish(fewer, m, errors, 0)
        sets[size] = min(sets[size], shrunk, key=lambda one: one[0])
    polished = {size: (errors, m, frozenset(rows)) for size, (errors, m, rows) in sets.items()}
    assert as_dict(kernel(truth, target, largest=6, polished=4)) == met | polished


@pytest.mark.parametrize("seed", range(4))
def test_no_exchange_improves_a_polished_set(seed):
    truth, target = random_unit(seed, num_literals=12)
    plain = PlainSteps(truth, target, 8, free=False)
    for size, (errors, m, rows) in as_dict(kernel(truth, target, largest=8, polished=5)).items():
        assert errors == plain.errors(rows, m) == plain.best_m(rows)[0]
        if size <= 5:
            for out in rows:
                others = rows - {out}
                middle = min(range(1, size + 1), key=lambda n: plain.errors(others, n))
                for k in plain.can_take(others):
                    for n in range(max(1, middle - 2), min(size, middle + 2) + 1):
                        assert errors <= plain.errors(others | {k}, n)


def test_fewer_literals_than_are_asked_for():
    truth, target = random_unit(0, num_literals=8)
    truth[:, 5:] = False
    found = as_dict(kernel(truth, target, largest=7, polished=7, num_literals=5))
    assert sorted(found) == [1, 2, 3, 4, 5]
    assert all(max(rows) < 5 for _, _, rows in found.values())
    assert as_dict(kernel(truth, target, largest=7, polished=7, num_literals=0)) == {}


@pytest.mark.parametrize("largest", [1, 5, 60, 256])
@pytest.mark.parametrize("num_examples", [1, 10_000, 10**7])
def test_the_guide_is_whole_numbers_that_mirror_each_other(largest, num_examples):
    losses, slopes, scale, reach = steps.guide(num_examples, largest)
    offset = losses.shape[1] // 2
    assert 1 <= scale <= 16
    z = np.arange(-offset, offset - 1)
    np.testing.assert_array_equal(losses[:, :-1] - losses[:, 1:], slopes[:, :-1])
    np.testing.assert_array_equal(slopes[:, z + offset] + slopes[:, -z - 2 + offset], 2 * scale)
    assert (np.diff(slopes) <= 0).all()
    assert not slopes[:, reach + offset :].any()
    if num_examples <= 4 * 10**6:
        assert losses.max() * num_examples < 2**31


def layer(seed=0, num_inputs=30, num_examples=300):
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((num_examples, num_inputs)).round(2)
    weights = rng.standard_normal((num_inputs, 4))
    return weights, inputs, inputs @ weights > [0, 1, -2, 4]


@pytest.mark.parametrize("signs", ["weights", "free"])
def test_rules_make_the_errors_they_say(signs):
    weights, inputs, targets = layer()
    front = mofn.extract_layer(weights, inputs, targets, search="stepwise", signs=signs)
    lengths = set()
    for unit, target in zip(front.units, targets.T, strict=True):
        for rule in unit:
            says = literal_truth(rule.literals, inputs).sum(1) >= rule.m
            assert rule.errors == (says != target).sum()
            used = list(zip(*(field.tolist() for field in rule.literals[:2]), strict=True))
            assert len(set(used)) == len(used)
            lengths.add(len(used))
    assert max(lengths) > 12


def test_finds_hidden_rules():
    rng = np.random.default_rng(0)
    inputs = (rng.random((400, 40)) < 0.5).astype(np.float32)
    targets = np.stack([inputs[:, 3:8].sum(1) >= 2, inputs[:, 20:35].sum(1) >= 8], axis=1)
    front = mofn.extract_layer(np.ones((40, 2)), inputs, targets, search="stepwise")
    for (unit, used), m in zip(
        [(front.units[0], range(3, 8)), (front.units[1], range(20, 35))], (2, 8), strict=True
    ):
        best = min(unit, key=lambda rule: rule.errors)
        assert (best.errors, best.m) == (0, m)
        assert sorted(best.literals.inputs.tolist()) == list(used)


def test_of_many_inputs_those_of_most_weight_and_gain_are_searched():
    rng = np.random.default_rng(0)
    inputs = (rng.random((300, 90)) < 0.5).astype(np.float32)
    targets = inputs[:, 60:65].sum(1, keepdims=True) >= 3
    weights = np.linspace(1, 0.1, 90)[:, None]  # the inputs that matter weigh little
    front = mofn.extract_layer(weights, inputs, targets, search="stepwise", stepwise_inputs=20)
    best = min(front.units[0], key=lambda rule: rule.errors)
    assert (best.errors, sorted(best.literals.inputs.tolist())) == (0, [60, 61, 62, 63, 64])
    literals = Literals(np.arange(90), np.ones(90), np.zeros(90, bool), np.zeros(90))
    assert pools.choose_pool(literals, 20).tolist() == list(range(20))
    gains = np.arange(90.0)
    assert pools.choose_pool(literals._replace(gains=gains), 20).tolist() == [
        *range(10),
        *range(80, 90),
    ]
    assert pools.choose_pool(literals._replace(gains=None), 20).tolist() == list(range(20))


def test_other_thresholds_are_the_quantiles():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((50, 4)).round(1)
    inputs[:, 1] = np.maximum(inputs[:, 1], 0)  # the lower half is one value
    inputs[:, 2] = np.arange(50) == 7
    own = Literals(
        np.array([3, 1, 2], np.int32), np.array([0.1, 0.5, 1]), np.array([False, True, False])
    )
    # Of the examples as many as there are in 1, 2 and 3 quarters are below, up to equal values.
    ascending = np.sort(inputs, axis=0)
    quartiles = ascending[[13, 25, 38]]
    own.thresholds[0] = quartiles[1, 3]
    expected = [
        (i, t, bool(negated))
        for row in quartiles
        for i, own_threshold, negated in zip(*own[:3], strict=True)
        if (t := row[i]) not in (own_threshold, ascending[0, i])
    ]
    for memory_budget in (1, 2**20):
        quantiles = pools.Quantiles(inputs, 4)
        for _ in range(2):  # the second time they are known
            (found,) = pools.other_thresholds([own], quantiles, memory_budget)
        found = [field.tolist() for field in found[:3]]
        assert list(zip(*found, strict=True)) == expected
    assert {i for i, *_ in expected} == {1, 3}
    (none,) = pools.other_thresholds([own], pools.Quantiles(inputs, 1), 2**20)
    assert len(none.inputs) == 0


def test_ranges_of_an_input_are_found():
    rng = np.random.default_rng(0)
    inputs = rng.random((400, 5))
    low, high = np.sort(inputs[:, 2])[[100, 300]]
    targets = (inputs[:, 2:3] >= low) & (inputs[:, 2:3] < high) & (inputs[:, :1] > 0.3)
    options = {"search": "stepwise", "signs": "free"}
    errors = {
        count: min(
            rule.errors
            for rule in mofn.extract_layer(
                np.ones((5, 1)), inputs, targets, thresholds_per_input=count, **options
            ).units[0]
        )
        for count in (1, 4)
    }
    assert errors[4] < 10 < errors[1]


@pytest.mark.parametrize(("per_input", "several"), [(1, 0), (3, 300), (4, 241)])
def test_inputs_that_gain_most_have_more_thresholds(per_input, several):
    rng = np.random.default_rng(0)
    inputs, gains = rng.random((64, 300)), rng.permutation(300) / 300
    chosen = []

    def note_pools(*arguments, **options):
        made = pools.choose_pools(*arguments, **options)
        chosen.extend(made[0])
        return made

    literals = Literals(np.arange(300), np.full(300, 0.4), np.zeros(300, bool), gains)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepwise, "choose_pools", note_pools)
        options = {"thresholds_per_input": per_input}
        stepwise.stepwise([literals], inputs, inputs[:, :1] > 0.7, **options)
    (pool,) = chosen
    np.testing.assert_array_equal(pool.inputs[:300], np.arange(300))
    counts = np.bincount(pool.inputs)
    assert counts.sum() == 300 + several * (per_input - 1) <= 1024
    np.testing.assert_array_equal(counts > 1, gains.argsort().argsort() >= 300 - several)


def test_memory_budget_and_known_bits_change_nothing():
    weights, inputs, targets = layer(1)
    thresholds = mofn.best_thresholds(inputs, targets)
    literals = [
        mofn.ordered_literals(*unit) for unit in zip(weights.T, thresholds.values.T, strict=True)
    ]
    bits = mofn.bits.literal_bits(literals, inputs, 30, 2**20)
    data = literals, inputs, targets
    whole = stepwise.stepwise(*data)
    assert str(stepwise.stepwise(*data, resources=Resources(1))) == str(whole)
    assert str(stepwise.stepwise(*data, bits=bits)) == str(whole)
    short = stepwise.stepwise(*data, max_literals=5)
    assert max(len(rule.literals.inputs) for unit in short.units for rule in unit) == 5


def test_a_second_layer_of_the_same_shape_compiles_nothing():
    mofn.extract_layer(*layer(), search="stepwise")
    compiled = stepwise._search_units._cache_size()
    mofn.extract_layer(*layer(5), search="stepwise")
    assert stepwise._search_units._cache_size() == compiled


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stepwise_literals": 257}, "stepwise_literals: expected at most 256, got 257"),
        ({"stepwise_literals": 0}, "stepwise_literals: expected an integer of at least 1"),
        ({"stepwise_inputs": 0}, "stepwise_inputs: expected an integer of at least 1"),
        ({"thresholds_per_input": 0}, "thresholds_per_input: expected an integer of at least 1"),
        ({"polish_literals": -1}, "polish_literals: expected an integer of at least 0"),
        ({"signs": "any"}, "signs: 'any' is not known"),
        ({"max_literals": 0}, "max_literals: expected an integer of at least 1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        mofn.extract_layer(*layer(), search="stepwise", **options)

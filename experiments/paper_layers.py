"""A layer of a network, explained as the paper does: what its rules, ours, and trees amount to.

A convolution's filters are explained each at its most informative position, and errors are measured
on the examples that the rules were found on; beside it, on others.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import mofn_jax as mofn
from experiments.progress import UnitBar
from experiments.published import Published
from experiments.rivals import TREE, Side, Tree, each_unit, grown_trees, optimal_trees
from experiments.trained import Case, Trained
from mofn_jax import outputs
from mofn_jax.complexity import dnf_complexity
from mofn_jax.layer_rules import measure_layer
from mofn_jax.literals import Literals
from mofn_jax.sites import name_rules

# At the paper's beta, and no more complex on average; no rule more complex.
WEIGHT_ORDER, AS_COMPLEX = "weight order", "weight order, as complex"
BEST, EACH = "best", "best, each"
OPTIMAL_TREE = "optimal tree"
_GROWN_TESTS = (*range(1, 64), 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)
_OPTIMAL_TESTS = range(1, 16)
_BISECTIONS = 40
_LEAST_BETA, _LARGEST_BETA = 1e-6, 1e6  # at the latter nothing but complexity 0 is chosen


class PaperRow(NamedTuple):
    """What the paper says of a layer, and what one method makes of ours: means over its units."""

    part: str
    dataset: str
    network: str
    activation: str
    layer: str
    published: str  # the paper's method, or which point of its curve
    beta: float | None
    paper_complexity: float | None
    paper_error: float | None
    paper_time: str
    seed: int
    test_accuracy: float  # of the network
    examples: int  # that rules were found on
    constant_units: int
    method: str
    seconds: float  # to find the rules, or trees, of all complexities
    units: int  # these and the following as in `Means`
    complexity: float
    error: float
    baseline_error: float
    held_out_error: float
    held_out_baseline_error: float


class Means(NamedTuple):
    """Means over the units of a layer that are not constant."""

    units: int
    complexity: float
    error: float  # on the examples the rules were found on
    baseline_error: float  # of the better constant rule there
    held_out_error: float
    held_out_baseline_error: float


class Sides(NamedTuple):
    """Inputs of a network."""

    measured: np.ndarray  # what the paper's rules are found and measured on
    found: np.ndarray  # what those are found on, the same or a part, that are measured on
    held_out: np.ndarray  # these


class Explained(NamedTuple):
    """The rules of a layer, found on some examples, and its activations on others."""

    result: mofn.LayerRules
    other: mofn.Layer
    seconds: float

    def rules(self, **choice: Any) -> tuple[mofn.Rule, ...]:
        """The rules of the varying units at a beta or up to a complexity, measured on the others.

        Args:
          **choice: beta or max_complexity.
        """
        thresholds = self.result.thresholds
        places = [rule.position for rule in next(iter(self.result.rules.values()))]
        positions = None if None in places else np.array(places)
        rules = mofn.select_rules(self.result.front, **choice)
        rules = name_rules(rules, self.other, positions, thresholds)
        (rules,) = measure_layer([rules], self.other, positions, thresholds)
        return tuple(rule for rule in rules if rule.baseline_error > 0)

    def of_mean_complexity(self, largest: float) -> tuple[mofn.Rule, ...]:
        """Those at the least beta at which they are no more complex than this on average."""
        front = self.result.front
        varies = (front.on_counts > 0) & (front.on_counts < front.num_examples)

        def mean(beta: float) -> float:
            lengths = np.array([candidate.complexity for candidate in mofn.select(front, beta)])
            return float(lengths[varies].mean()) if varies.any() else 0.0

        return self.rules(beta=least_beta(mean, largest))


def least_beta(mean_complexity: Callable[[float], float], largest: float) -> float:
    """The least price of complexity at which its mean, a function of the price, is no larger."""
    low, high = 0.0, _LARGEST_BETA
    if mean_complexity(low) <= largest:
        return low
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2 if low > _LEAST_BETA else max(high / 4, _LEAST_BETA)
        low, high = (low, middle) if mean_complexity(middle) <= largest else (middle, high)
    return high


def capture(trained: Trained, inputs: np.ndarray, layer: str) -> mofn.Layer:
    (captured,) = mofn.capture_layers(trained.network, trained.params, inputs, layers=[layer])
    return captured


def explain(layer: mofn.Layer, other: mofn.Layer, search: str, name: str) -> Explained:
    """The rules of a layer by a search, under a bar of this name."""
    start = time.perf_counter()
    with UnitBar(leave=False) as bar:
        bar.start(f"{name} {search}", layer.weights.shape[-1])
        result = mofn.explain_layer(
            layer,
            betas=[0.0],
            positions="most_informative",
            search=search,
            progress=bar.update,
            on_stage=bar.stage,
        )
    return Explained(result, other, time.perf_counter() - start)


def rows_of_layer(
    case: Case, trained: Trained, published: Sequence[Published], sides: Sides, path: Path
) -> Iterator[PaperRow]:
    """A row for each of the paper's about a layer and each method; writes the rules chosen.

    Args:
      case: which network.
      trained: the network.
      published: the rows of one part about one layer.
      sides: inputs of the network.
      path: where the rows will be kept; the rules beside it.
    """
    part, layer_name = published[0].part, published[0].layer
    measured, held_out = (
        capture(trained, inputs, layer_name) for inputs in (sides.measured, sides.held_out)
    )
    same = sides.found is sides.measured
    found = measured if same else capture(trained, sides.found, layer_name)
    only = most_informative_unit(measured) if part == "figure1" else None
    all_rules: list[mofn.Rule] = []
    constant_units = 0

    def row(about: Published, method: str, seconds: float, means: Means) -> PaperRow:
        examples = len(sides.measured)
        own = (case.seed, trained.test_accuracy, examples, constant_units, method, seconds)
        return PaperRow(*about._replace(dataset=case.dataset), *own, *means)

    by_weight, by_best = [WEIGHT_ORDER], [BEST]
    if only is None:  # of one unit the mean is the same
        by_best += [EACH]
    if any(about.beta is not None for about in published):
        by_weight += [AS_COMPLEX]
    for search, methods in (("weight_order", by_weight), ("best", by_best)):
        name = f"{case} {layer_name}"
        first = explain(measured, held_out if same else measured, search, name)
        second = first if same else explain(found, held_out, search, name)
        constant_units = first.result.constant_units
        for about in published:
            for method in methods:
                chosen = [choose_rules(some, method, about, only) for some in (first, second)]
                all_rules += chosen[0]
                yield row(about, method, first.seconds, means_of_rules(*chosen))
    outputs.write_text(path.with_suffix(".rules.json"), mofn.rules_to_json(all_rules))
    if part != "table1":
        return
    pairs = [pair_of(found, held_out)] if same else [pair_of(measured), pair_of(found, held_out)]
    for method in (TREE, OPTIMAL_TREE):
        start = time.perf_counter()
        trees = [trees_of_units(method, pair) for pair in pairs]
        seconds = (time.perf_counter() - start) / len(pairs)
        for about in published:
            yield row(about, method, seconds, means_of_trees(trees, pairs, about.paper_complexity))


def choose_rules(
    explained: Explained, method: str, about: Published, only: int | None
) -> tuple[mofn.Rule, ...]:
    """The rules to set beside the paper's: at its beta, or of no more complexity than its."""
    largest = about.paper_complexity
    if method == WEIGHT_ORDER and about.beta is not None:
        rules = explained.rules(beta=about.beta)
    elif largest is None:
        rules = explained.rules(beta=0.0)
    elif method == EACH or only is not None:
        rules = explained.rules(max_complexity=largest)
    else:
        rules = explained.of_mean_complexity(largest)
    return rules if only is None else tuple(rule for rule in rules if rule.unit == only)


def means_of_rules(first: Sequence[mofn.Rule], second: Sequence[mofn.Rule]) -> Means:
    """Of rules on what they were found on, and of others, found on a part, held out."""

    def mean(rules: Sequence[mofn.Rule], field: str) -> float:
        return float(np.mean([getattr(rule, field) for rule in rules])) if rules else np.nan

    return Means(
        len(first),
        *(mean(first, field) for field in ("complexity", "error", "baseline_error")),
        *(mean(second, f"held_out_{field}") for field in ("error", "baseline_error")),
    )


def most_informative_unit(layer: mofn.Layer) -> int:
    """The filter whose best position tells most about the class."""
    flat = layer.activations.reshape(len(layer.activations), -1)
    num_classes = int(layer.predictions.max()) + 1
    _, gains = mofn.unit_thresholds(flat, layer.predictions, num_classes)
    return int(np.argmax(gains.reshape(-1, layer.weights.shape[-1]).max(0)))


class Pair(NamedTuple):
    """A dense layer on the examples to learn from and on others, its varying units alone."""

    weights: np.ndarray  # [n, u]
    side: Side
    other: Side


def pair_of(layer: mofn.Layer, other: mofn.Layer | None = None) -> Pair:
    other = other or layer
    targets, thresholds = mofn.layer_targets(layer, None)
    other_targets, _ = mofn.layer_targets(other, None, thresholds)
    varies = targets.any(0) & ~targets.all(0)
    return Pair(
        layer.weights[:, varies],
        Side(layer.inputs, targets[:, varies]),
        Side(other.inputs, other_targets[:, varies]),
    )


def trees_of_units(method: str, pair: Pair) -> list[list[Tree]]:
    """Of each unit trees of all sizes: grown of the inputs, or optimal ones of the literals."""
    of_units: list[Literals] = []

    def keep(literals, inputs, targets, **options) -> mofn.RuleFront:
        of_units.extend(literals)
        return mofn.SEARCHES["weight_order"](literals, inputs, targets, **options)

    weights, side, other = pair
    if method == OPTIMAL_TREE:
        mofn.extract_layer(weights, *side, search=keep, max_literals=1)

    def trees(unit: int) -> list[Tree]:
        target = side.targets[:, unit]
        if method == TREE:
            return list(grown_trees(_GROWN_TESTS, side.inputs, target, other.inputs))
        truth = [mofn.literal_truth(of_units[unit], some.inputs) for some in (side, other)]
        return list(optimal_trees(_OPTIMAL_TESTS, truth[0], target, truth[1]))

    return each_unit(trees, range(weights.shape[1]))


def means_of_trees(
    trees: Sequence[Sequence[Sequence[Tree]]], pairs: Sequence[Pair], largest: float | None
) -> Means:
    """Of the trees with fewest errors that are no more complex on average; a constant is one.

    Args:
      trees: of each pair, of each unit.
      pairs: of the layer on what is measured and, if it is another, on a part and held out.
      largest: mean complexity; None for any.
    """
    chosen = [
        np.mean(chosen_trees(of_units, pair, np.inf if largest is None else largest), axis=0)
        for of_units, pair in zip(trees, pairs, strict=True)
    ]
    return Means(len(trees[0]), *chosen[0][:3].tolist(), *chosen[-1][3:].tolist())


def chosen_trees(
    trees: Sequence[Sequence[Tree]], pair: Pair, largest: float
) -> list[tuple[float, float, float, float, float]]:
    """Of each unit complexity, error and baseline error, and both errors on the others."""
    _, side, other = pair
    choices: list[list[tuple[float, float, float]]] = []  # complexity, error, error on the others
    baselines: list[list[float]] = []
    for some, *targets in zip(trees, side.targets.T, other.targets.T, strict=True):
        constants = [np.full(len(target), targets[0].mean() > 0.5) for target in targets]
        options = [Tree(0, 0, *constants), *some]
        lengths = dnf_complexity([tree.length for tree in options], side.inputs.shape[1])
        errors = [
            [float((says != target).mean()) for says, target in zip(t[2:], targets, strict=True)]
            for t in options
        ]
        choices.append([(c, *e) for c, e in zip(lengths.tolist(), errors, strict=True)])
        baselines.append([float(min(target.mean(), 1 - target.mean())) for target in targets])

    def chosen(beta: float) -> list[tuple[float, float, float]]:
        return [min(some, key=lambda c: (c[1] + beta * c[0], c[0])) for some in choices]

    def mean(beta: float) -> float:
        return float(np.mean([length for length, _, _ in chosen(beta)]))

    return [
        (length, error, baseline, other_error, other_baseline)
        for (length, error, other_error), (baseline, other_baseline) in zip(
            chosen(least_beta(mean, largest)), baselines, strict=True
        )
    ]

"""From a layer, or a whole trained network, to the rules of its units.

It reads like the paper's algorithm: binarise the targets, find each literal's threshold, score the
candidate rules, keep the fronts, choose by beta, measure on held-out examples.

Axis letters: E examples, n inputs, u units, k classes.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from jax.sharding import Mesh

from mofn_jax import checks, meshes
from mofn_jax.chunking import read_columns
from mofn_jax.fronts import RuleFront
from mofn_jax.layers import (
    Layer,
    capture_layers,
    layer_names,
    patches,
)
from mofn_jax.literals import (
    Literals,
    most_literals,
    ordered_literals,
    ordered_literals_by_gain,
)
from mofn_jax.meshes import Resources
from mofn_jax.rules import Rule, measure_held_out, select_rules
from mofn_jax.search import SEARCHES, Search, check_options
from mofn_jax.search.refine import refine_front
from mofn_jax.search.stepwise import compile_ahead
from mofn_jax.thresholds import (
    best_thresholds,
    binarize_targets,
    most_informative_positions,
    softmax_targets,
)

DEFAULT_BETAS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class LayerRules(NamedTuple):
    """What was found in one layer."""

    name: str
    kind: str  # "dense", "conv" or "softmax"
    thresholds: np.ndarray  # [u], of the units' activations; NaN for a constant or softmax unit
    constant_units: int  # units that are always or never on
    front: RuleFront
    rules: dict[float, tuple[Rule, ...]]  # by beta, one rule for each unit
    by_length: dict[int, tuple[Rule, ...]]  # likewise, by the most literals

    def at(self, *, beta: float | None = None, max_literals: int | None = None) -> tuple[Rule, ...]:
        """The rules chosen at a beta, or by a number of literals.

        Raises:
          ValueError: not one of the two, or one at which no rules were chosen.
        """
        if (beta is None) == (max_literals is None):
            raise ValueError("beta: expected either beta or max_literals")
        if beta is not None:
            return self.rules[checks.known("beta", beta, self.rules)]
        return self.by_length[checks.known("max_literals", max_literals, self.by_length)]


def extract_layer(
    weights,
    inputs,
    targets,
    *,
    search: str | Search = "best",
    refine: bool = False,
    max_literals: int | None = None,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
    on_stage: Callable[[str, int, int], None] | None = None,
    **options: Any,
) -> RuleFront:
    """The front of rules of every unit of a layer; needs arrays only, from any framework.

    Args:
      weights: [n, u] real numbers; sign and size order and sign the literals. None if there are
        none: then the information gain of each input's threshold orders them, and they are signed
        as the unit is more often on above or below it.
      inputs: [E, n] real numbers, what enters the layer. A memory map is read in slices.
      targets: [E, u] booleans, whether each unit is on.
      search: the strategy, a name in `SEARCHES`: "weight_order", the paper's; "exact", the best of
        all rules of few literals; "stepwise", rules of any length up to 60 literals; "best", all
        of these, refined. Or a function that is one, see `Search`.
      refine: whether the thresholds of the rules found are moved where that makes fewer errors;
        "best" does so anyway.
      max_literals: the most literals in a rule; None for as many as there are inputs.
      memory_budget: bytes of working memory; never changes the result.
      mesh: devices, of one process or several, to divide the work among, with an axis "units", an
        axis "examples", or both, as `make_mesh` makes it. Never changes the result. Thresholds,
        scores and searches are divided; sorting and signing literals, and refinement, are not.
        Every process must be given the same arrays and options, and gets all the rules.
      progress: called with the number of units done since the last call.
      on_stage: called with what is being done ("compiling", "thresholds", "exact", ...), how much
        of it is done, and of how much: inputs of thresholds, units of the other stages.
      **options: of the search.

    Returns:
      The fronts of the u units.

    Raises:
      ValueError: shapes that disagree, NaN or infinity, no examples or inputs, targets that are not
        boolean, an unknown search or one that returns something else than a front of each unit, an
        option that the search does not have or out of its range, max_literals or memory_budget
        below 1, a mesh of other axes, arrays that differ between processes.

    Example:
      >>> inputs = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]])
      >>> targets = inputs.sum(1, keepdims=True) >= 2
      >>> front = extract_layer(np.ones((3, 1)), inputs, targets)
      >>> print(select_rules(front, beta=0.1)[0])
      unit 0 <=> 2 of {x0 >= 1, x1 >= 1, x2 >= 1}   (error 0.0%, baseline 50.0%, complexity 1.000)
    """
    strategy = search if callable(search) else SEARCHES[checks.known("search", search, SEARCHES)]
    check_options(strategy, options)
    memory_budget = checks.at_least("memory_budget", memory_budget, 1)
    inputs = checks.matrix("inputs", inputs, [None, None])
    if weights is not None:
        weights = checks.matrix("weights", weights, [inputs.shape[1], None])
    num_units = None if weights is None else weights.shape[1]
    targets = checks.booleans("targets", targets, [len(inputs), num_units])
    most_literals(max_literals, inputs.shape[1])
    mesh = meshes.with_both_axes(mesh)
    meshes.check_same(mesh, weights=weights, inputs=inputs, targets=targets)
    options["max_literals"] = max_literals
    if not callable(search):
        strategy([], inputs, targets[:, :0], **options)  # of no units: it checks its options
    resources = Resources(memory_budget, mesh, progress, on_stage)
    resources.report("compiling", 0, targets.shape[1])
    with ThreadPoolExecutor(1) as beside:
        # What takes longest to compile can be compiled while thresholds are found.
        if search in ("best", "stepwise") and mesh is None and meshes.platform() == "cpu":
            beside.submit(meshes.as_here(partial(compile_ahead, **options)), *inputs.shape)
        inputs, resources = _columns_at_hand(inputs, resources)
        literals = _layer_literals(weights, inputs, targets, resources)
        front = strategy(literals, inputs, targets, resources=resources, **options)
    if not isinstance(front, RuleFront) or len(front.units) != targets.shape[1]:
        raise ValueError(
            f"search: expected it to return a RuleFront of {targets.shape[1]} units, got "
            f"{len(front.units) if isinstance(front, RuleFront) else type(front).__name__}"
        )
    return refine_front(front, inputs, targets, memory_budget=memory_budget) if refine else front


def _columns_at_hand(inputs: np.ndarray, resources: Resources) -> tuple[np.ndarray, Resources]:
    """The inputs, column by column in memory if the budget has room for that, and what is left.

    Thresholds, bits and refinement all read columns: of rows they would each have to make them.
    """
    if inputs.flags.f_contiguous or inputs.nbytes > resources.memory_budget // 4 * 3:
        return inputs, resources
    left = resources.memory_budget - inputs.nbytes
    return read_columns(inputs), resources._replace(memory_budget=left)


def _layer_literals(
    weights: np.ndarray | None, inputs: np.ndarray, targets: np.ndarray, resources: Resources
) -> list[Literals]:
    """The literals of every unit, ordered and signed by its weights, or by gain without weights."""
    done, num_inputs = 0, inputs.shape[1]

    def progress(count: int) -> None:
        nonlocal done
        done += count
        resources.report("thresholds", done, num_inputs)

    thresholds = best_thresholds(
        inputs,
        targets,
        memory_budget=resources.memory_budget,
        mesh=resources.mesh,
        progress=progress,
    )
    values, gains = thresholds.values.T, thresholds.gains.T
    if weights is not None:
        return [
            ordered_literals(unit_weights, unit_values, gains=unit_gains)
            for unit_weights, unit_values, unit_gains in zip(weights.T, values, gains, strict=True)
        ]
    return [
        ordered_literals_by_gain(inputs, *unit)
        for unit in zip(targets.T, values, gains, strict=True)
    ]


def extract_network(
    network: nn.Module,
    params: Any,
    examples,
    *,
    held_out=None,
    betas: Sequence[float] = DEFAULT_BETAS,
    lengths: Sequence[int] = (),
    layers: Sequence[str] | None = None,
    call_kwargs: Mapping[str, Any] | None = None,
    on_start: Callable[[str, int], None] | None = None,
    on_layer: Callable[[LayerRules], None] | None = None,
    **options: Any,
) -> tuple[LayerRules, ...]:
    """Rules of every unit of every layer of a trained network.

    Args:
      network: a Linen module made of Dense and Conv layers.
      params: its parameters.
      examples: [E, ...] inputs of the network on which rules are found.
      held_out: inputs on which the rules' errors are measured as well.
      betas: prices of complexity; one rule for each unit and beta.
      lengths: numbers of literals; of each unit the best rule of at most as many.
      layers: names of the layers to explain, in this order; None for all, input side first.
      call_kwargs: keyword arguments of the network's call, such as {"train": False}.
      on_start: called with a layer's name and number of units before it is worked on.
      on_layer: called with a layer's result as soon as it is there.
      **options: of `extract_layer`, such as search, max_literals, memory_budget, progress and
        mesh, among whose devices the work is divided once the activations are there.

    Returns:
      The results, in the order of the layers.

    Raises:
      ValueError: as `capture_layers`, `explain_layer` and `extract_layer`.
    """
    if layers is None:
        layers = layer_names(network, params, examples, call_kwargs=call_kwargs)

    def capture(inputs, name: str) -> Layer:
        (layer,) = capture_layers(network, params, inputs, layers=[name], call_kwargs=call_kwargs)
        return layer

    results = []
    for name in layers:
        # One layer at a time: all the activations of a deep network may not fit.
        layer = capture(examples, name)
        if on_start is not None:
            on_start(name, layer.weights.shape[-1])
        other = None if held_out is None else capture(held_out, name)
        results.append(
            explain_layer(layer, held_out=other, betas=betas, lengths=lengths, **options)
        )
        if on_layer is not None:
            on_layer(results[-1])
    return tuple(results)


def explain_layer(
    layer: Layer,
    *,
    held_out: Layer | None = None,
    betas: Sequence[float] = DEFAULT_BETAS,
    lengths: Sequence[int] = (),
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
    **options: Any,
) -> LayerRules:
    """Rules of every unit of a captured layer, chosen and measured on held-out examples.

    Args:
      layer: what enters and leaves the layer on the examples on which rules are found.
      held_out: the same on others, on which the rules' errors are measured as well.
      betas: prices of complexity; one rule for each unit and beta.
      lengths: numbers of literals; of each unit the best rule of at most as many.
      memory_budget: bytes of working memory; never changes the result.
      mesh: devices to divide the work among, as in `extract_layer`. Of a convolution each filter
        has inputs of its own: on a mesh they take turns, and without one a CPU's cores each take
        one and tell of their progress from threads of their own.
      **options: of `extract_layer`.

    Raises:
      ValueError: neither betas nor lengths; betas negative or not finite; lengths below 1;
        held-out inputs of another shape; as `extract_layer`.
    """
    if not len(betas) and not len(lengths):
        raise ValueError("betas: expected at least one number, or lengths, got none")
    for beta in betas:
        checks.non_negative("betas", beta)
    for length in lengths:
        checks.at_least("lengths", length, 1)
    if held_out is not None and held_out.inputs.shape[1:] != layer.inputs.shape[1:]:
        raise ValueError(
            f"held_out: expected inputs of shape {layer.inputs.shape[1:]}, got "
            f"{held_out.inputs.shape[1:]}"
        )
    num_units = layer.weights.shape[-1]
    weights = layer.weights.reshape(-1, num_units)
    resources: dict[str, Any] = {"memory_budget": memory_budget, "mesh": mesh}
    positions = explained_positions(layer, **resources)
    targets, thresholds = layer_targets(layer, positions, **resources)

    def extract(units: slice) -> RuleFront:
        inputs = unit_inputs(layer, positions, units)
        return extract_layer(weights[:, units], inputs, targets[:, units], **resources, **options)

    runs = runs_of_units(layer, positions)
    # Filters side by side share the memory; on a mesh each of them has all the devices.
    if len(runs) > 1 and mesh is None:
        resources["memory_budget"] = max(1, memory_budget // meshes.cpu_count())
        fronts = meshes.side_by_side(extract, runs)
    else:
        fronts = [extract(units) for units in runs]
    front = fronts[0]._replace(
        units=tuple(unit for part in fronts for unit in part.units), on_counts=targets.sum(0)
    )
    chosen = [select_rules(front, beta) for beta in betas]
    chosen += [select_rules(front, max_literals=length) for length in lengths]
    chosen = [name_rules(rules, layer, positions, thresholds) for rules in chosen]
    if held_out is not None:
        chosen = measure_layer(chosen, held_out, positions, thresholds)
    constant_units = int(np.isin(front.on_counts, [0, front.num_examples]).sum())
    return LayerRules(
        layer.name,
        layer.kind,
        thresholds,
        constant_units,
        front,
        rules=dict(zip(map(float, betas), chosen, strict=False)),
        by_length=dict(zip(map(int, lengths), chosen[len(betas) :], strict=True)),
    )


def explained_positions(layer: Layer, **options: Any) -> np.ndarray | None:
    """Of each filter of a convolution, the row and column to explain: [u, 2]; None if dense.

    The options are of `unit_thresholds`.
    """
    if layer.kind != "conv":
        return None
    return most_informative_positions(
        layer.activations, layer.predictions, int(layer.predictions.max()) + 1, **options
    )


def layer_targets(
    layer: Layer,
    positions: np.ndarray | None,
    thresholds: np.ndarray | None = None,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """When each unit is on, [E, u] booleans, and its threshold, [u].

    Args:
      layer: the captured layer.
      positions: [u, 2], of each filter of a convolution; None for other layers.
      thresholds: [u], found earlier on other examples; None to find them on these.
      **options: of `binarize_targets`.
    """
    num_units = layer.weights.shape[-1]
    if layer.kind == "softmax":
        return softmax_targets(layer.predictions, num_units), np.full(num_units, np.nan)
    activations = layer.activations
    if positions is not None:
        activations = activations[:, positions[:, 0], positions[:, 1], np.arange(num_units)]
    if thresholds is not None:
        return activations >= thresholds, thresholds
    num_classes = int(layer.predictions.max()) + 1
    return binarize_targets(activations, layer.predictions, num_classes, **options)


def runs_of_units(layer: Layer, positions: np.ndarray | None) -> list[slice]:
    """The runs of units that share their inputs: all of them, or each filter by itself."""
    if positions is None:
        return [slice(0, layer.weights.shape[-1])]
    return [slice(unit, unit + 1) for unit in range(len(positions))]


def unit_inputs(layer: Layer, positions: np.ndarray | None, units: slice) -> np.ndarray:
    """The inputs [E, n] of a run of units: the layer's, or the patch of a filter."""
    return layer.inputs if positions is None else patches(layer, positions[units.start])


def name_rules(
    rules: Sequence[Rule], layer: Layer, positions: np.ndarray | None, thresholds: np.ndarray
) -> tuple[Rule, ...]:
    """The rules, each with what it explains: layer, threshold of the unit, place of the filter."""
    named = []
    for rule, threshold in zip(rules, thresholds.tolist(), strict=True):
        if not np.isnan(threshold):
            rule = rule._replace(unit_threshold=threshold)
        if positions is not None:
            row, column = positions[rule.unit].tolist()
            rule = rule._replace(position=(row, column), kernel_shape=layer.weights.shape[:-1])
        named.append(rule._replace(layer=layer.name))
    return tuple(named)


def measure_layer(
    choices: Sequence[Sequence[Rule]],
    layer: Layer,
    positions: np.ndarray | None,
    thresholds: np.ndarray,
) -> list[tuple[Rule, ...]]:
    """The rules of each choice with their errors on the layer's examples as held-out errors."""
    targets, _ = layer_targets(layer, positions, thresholds)
    measured: list[tuple[Rule, ...]] = [()] * len(choices)
    for units in runs_of_units(layer, positions):
        inputs = unit_inputs(layer, positions, units)
        for i, rules in enumerate(choices):
            measured[i] += measure_held_out(rules[units], inputs, targets[:, units])
    return measured

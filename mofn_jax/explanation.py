"""From a captured layer, or a whole trained network, to the rules of its units.

It reads like the paper's algorithm: binarise the targets, find each literal's threshold, score the
candidate rules, keep the fronts, choose by beta, measure on held-out examples.

Axis letters: E examples, n inputs, u units, k classes.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jax.sharding import Mesh
from numpy.typing import ArrayLike

from mofn_jax import checks, meshes
from mofn_jax.capture import capture_layers, layer_names, read_layer
from mofn_jax.compiled import Logits
from mofn_jax.extraction import check_extraction, extract_layer
from mofn_jax.fronts import RuleFront
from mofn_jax.geometry import NotExplained
from mofn_jax.layer_rules import LayerRules, Look, undecided_shares
from mofn_jax.layers import Layer, check_layer, take_examples
from mofn_jax.names import Names, check_names
from mofn_jax.rules import select_rules
from mofn_jax.sites import (
    POSITIONS,
    Batches,
    look_at,
    runs_of_units,
    unit_inputs,
)

DEFAULT_BETAS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def extract_network(
    network: Any,
    params: Any,
    examples: ArrayLike,
    *,
    held_out: ArrayLike | None = None,
    betas: Sequence[float] = DEFAULT_BETAS,
    lengths: Sequence[int] = (),
    layers: Sequence[str] | None = None,
    call_kwargs: Mapping[str, Any] | None = None,
    logits: Logits = None,
    predictions: ArrayLike | None = None,
    held_out_predictions: ArrayLike | None = None,
    names: Names | None = None,
    on_start: Callable[[str, int], None] | None = None,
    on_layer: Callable[[LayerRules], None] | None = None,
    **options: Any,
) -> tuple[LayerRules, ...]:
    """Rules of every unit of every layer of a trained network.

    Args:
      network: a Linen module, an NNX module, or a function of parameters and inputs, see
        `capture_layers`.
      params: its parameters; None with an NNX module.
      examples: [E, ...] inputs of the network on which rules are found.
      held_out: inputs on which the rules' errors are measured as well.
      betas: prices of complexity; one rule for each unit and beta.
      lengths: numbers of literals; of each unit the best rule of at most as many.
      layers: names of the layers to explain, in this order; None for all, input side first.
      call_kwargs: keyword arguments of the network's call, such as {"train": False}.
      logits: which of the network's outputs are its logits, see `capture_layers`.
      predictions: [E] classes of the examples instead of the network's, see `capture_layers`.
      held_out_predictions: the same of the held-out examples.
      names: what the inputs and classes are called, see `capture_layers`.
      on_start: called with a layer's name and number of units before it is worked on.
      on_layer: called with a layer's result as soon as it is there.
      **options: of `explain_layer`, such as positions, search, max_literals, memory_budget,
        progress and mesh, among whose devices the work is divided once the activations are there.

    Returns:
      The results, in the order of the layers. A layer whose sums cannot be recomputed is passed
      over with a warning, and of all layers those with other positions than the network's classes.

    Raises:
      ValueError: as `capture_layers`, `explain_layer` and `extract_layer`; predictions without
        held_out_predictions.
    """
    betas, lengths = _check_choices(betas, lengths, **options)
    for callback in (("on_start", on_start), ("on_layer", on_layer)):
        checks.callback(*callback)
    if (held_out_predictions is not None) != (predictions is not None and held_out is not None):
        raise ValueError("held_out_predictions: expected with predictions, and only then")
    given, examples = examples, checks.numbers("examples, the network's inputs", examples, 1)
    names = check_names(names, given, examples.shape[-1])
    if held_out is not None:
        held_out = checks.numbers("held_out", held_out, 1)
        if held_out.shape[1:] != examples.shape[1:]:
            shapes = f"[E, *{examples.shape[1:]}], got {held_out.shape}"
            raise ValueError(f"held_out: expected shape {shapes}")
        if held_out_predictions is not None:
            held_out_predictions = checks.class_labels(
                "held_out_predictions", held_out_predictions, None, len(held_out)
            )
    asked: dict[str, Any] = {"call_kwargs": call_kwargs, "logits": logits}
    known = layer_names(network, params, examples, predictions=predictions, **asked)
    if layers is not None:
        layers = [checks.known("layers", name, known) for name in checks.sequence("layers", layers)]
    asked["names"] = names

    def batches(inputs, classes, name: str) -> Batches:
        given = (network, params, inputs)
        read = partial(read_layer, *given, name, predictions=classes, **asked)

        whole = partial(_captured, *given, name, predictions=classes, **asked)
        return Batches(len(inputs), read, whole)

    results = []
    for name in known if layers is None else layers:
        # One layer at a time: all the activations of a deep network may not fit.
        seen = batches(examples, predictions, name)
        others = None if held_out is None else batches(held_out, held_out_predictions, name)
        try:
            first = next(seen.read())
            tokens, positions = first.predictions.shape[1:], first.activations.shape[1:-1]
            if layers is None and tokens not in ((), positions):
                raise NotExplained("the network predicts a class at each of other positions")
        except NotExplained as reason:
            warnings.warn(f"layers that are not explained: {name} ({reason})", stacklevel=2)
            continue
        if on_start is not None:
            on_start(name, first.weights.shape[-1])
        results.append(_explain(seen, others, betas=betas, lengths=lengths, **options))
        if on_layer is not None:
            on_layer(results[-1])
    return tuple(results)


def _captured(network: Any, params: Any, inputs: np.ndarray, name: str, **asked: Any) -> Layer:
    captured = capture_layers(network, params, inputs, layers=[name], **asked)
    if not captured:
        raise NotExplained(f"layers: {name!r} is not explained on {len(inputs)} examples")
    return captured[0]


def explain_layer(
    layer: Layer,
    *,
    held_out: Layer | None = None,
    betas: Sequence[float] = DEFAULT_BETAS,
    lengths: Sequence[int] = (),
    positions: str = "all",
    seed: int = 0,
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
      positions: where the units of a convolution, or of a layer on tokens, are explained. "all":
        the rules hold at every position; they are found on `max(E, 10,000)` distinct pairs of an
        example and a position, drawn at random, or all pairs if they are fewer, and measured at
        one position of each held-out example. "most_informative", as in the paper: each unit at
        the position whose best threshold tells most about the class. Both take that threshold.
      seed: of the pairs drawn.
      memory_budget: bytes of working memory; never changes the result.
      mesh: devices to divide the work among, as in `extract_layer`. Units with inputs of their own,
        of groups or each at its own position, take turns on a mesh; without one a CPU's cores each
        take some and tell of their progress from threads of their own.
      **options: of `extract_layer`.

    Raises:
      ValueError: neither betas nor lengths; betas negative or not finite; lengths below 1; unknown
        positions; a layer whose fields do not belong together; a held-out one of another shape;
        predictions at each token of a layer with other positions; as `extract_layer`.
    """
    return _explain(
        Batches.of(check_layer("layer", layer)),
        None if held_out is None else Batches.of(check_layer("held_out", held_out)),
        betas=betas,
        lengths=lengths,
        positions=positions,
        seed=seed,
        memory_budget=memory_budget,
        mesh=mesh,
        **options,
    )


def _explain(
    batches: Batches,
    held_out: Batches | None,
    *,
    betas: Sequence[float],
    lengths: Sequence[int],
    positions: str = "all",
    seed: int = 0,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
    **options: Any,
) -> LayerRules:
    """`explain_layer` of a layer that is read batch by batch."""
    memory_budget = checks.at_least("memory_budget", memory_budget, 1)
    seed = checks.seed(seed)
    betas, lengths = _check_choices(
        betas,
        lengths,
        positions=positions,
        seed=seed,
        memory_budget=memory_budget,
        mesh=mesh,
        **options,
    )
    resources: dict[str, Any] = {"memory_budget": memory_budget, "mesh": mesh}
    first = next(batches.read())
    if held_out is not None:
        second = next(held_out.read())
        for field in ("inputs", "activations"):
            shape, other_shape = (getattr(side, field).shape[1:] for side in (first, second))
            if other_shape != shape:
                raise ValueError(f"held_out: expected {field} of shape {shape}, got {other_shape}")
        for field in ("kind", "convolution", "groups"):
            value, other_value = (getattr(side, field) for side in (first, second))
            if other_value != value:
                raise ValueError(f"held_out: expected {field} {value}, got {other_value}")
    layer, other, places, thresholds, targets = look_at(
        batches, held_out, positions=positions, seed=seed, **resources
    )
    num_units = layer.weights.shape[-1]
    weights = layer.weights.reshape(-1, num_units)

    def extract(units: slice) -> RuleFront:
        inputs = unit_inputs(layer, places, units)
        return extract_layer(weights[:, units], inputs, targets[:, units], **resources, **options)

    runs = runs_of_units(layer, places)
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
    look = Look(take_examples(layer, np.arange(0)), places, thresholds, held_out, positions, seed)
    chosen = look.finished(chosen, other)
    undecided = None
    if layer.kind == "softmax" and num_units > 1:
        choices = [*((beta, None) for beta in betas), *((None, length) for length in lengths)]
        shares = undecided_shares(chosen, layer if other is None else other, places)
        undecided = dict(zip(choices, shares, strict=True))
    constant_units = int(np.isin(front.on_counts, [0, front.num_examples]).sum())
    return LayerRules(
        layer.name,
        layer.kind,
        thresholds,
        constant_units,
        front,
        rules=dict(zip(map(float, betas), chosen, strict=False)),
        by_length=dict(zip(map(int, lengths), chosen[len(betas) :], strict=True)),
        note=layer.note,
        undecided=undecided,
        look=look,
    )


def _check_choices(
    betas: Sequence[float],
    lengths: Sequence[int],
    *,
    positions: str = "all",
    seed: int = 0,
    **options: Any,
) -> tuple[list[float], list[int]]:
    """The betas and lengths, if these and the other options of `explain_layer` are fit.

    Raises:
      ValueError: as `explain_layer`.
    """
    betas = [checks.non_negative("betas", beta) for beta in checks.sequence("betas", betas)]
    lengths = [checks.at_least("lengths", n, 1) for n in checks.sequence("lengths", lengths)]
    if not betas and not lengths:
        raise ValueError("betas: expected at least one number, or lengths, got none")
    checks.known("positions", positions, POSITIONS)
    checks.seed(seed)
    check_extraction(**options)
    return betas, lengths

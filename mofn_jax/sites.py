"""Where the units of a layer are looked at: at every position, or each at one.

A filter of a convolution, or a unit of a layer on tokens, is a unit at each position. Its rule is
found either on pairs of an example and a position, drawn at random, and then holds at every
position; or at the one position that tells most about the class, as in the paper. In both cases it
is on where it reaches one threshold, the best one at that position.

Axis letters: E examples, P positions, S pairs of the two, n inputs, u units, C channels, K of a
kernel's window.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mofn_jax import checks
from mofn_jax.chunking import chunks
from mofn_jax.layers import Layer, check_layer, cut_pairs, group_inputs
from mofn_jax.rules import Literal, Rule, Rules, name_input, named
from mofn_jax.thresholds import binarize_targets, first_of_largest, unit_thresholds

POSITIONS = ("all", "most_informative")
LEAST_PAIRS = 10_000  # drawn of fewer examples too, if there are as many
_BYTES = 8  # of an activation and the class beside it


class Batches(NamedTuple):
    """A layer on some examples, read a batch of them after another."""

    num_examples: int
    read: Callable[[], Iterator[Layer]]  # from the first example on, as often as it is called
    whole: Callable[[], Layer]  # on all examples at once

    @classmethod
    def of(cls, layer: Layer) -> "Batches":
        """A captured layer as one batch."""
        return cls(len(layer.inputs), partial(_one_batch, layer), partial(_itself, layer))


def _one_batch(layer: Layer) -> Iterator[Layer]:
    yield layer


def _itself(layer: Layer) -> Layer:
    return layer


class Sited(NamedTuple):
    """A layer where its units are looked at, and when they are on."""

    layer: Layer  # on the examples, or on pairs of an example and a position
    held_out: Layer | None  # the same on others
    places: np.ndarray | None  # [u, P axes], of each unit its position; None: the layer has none
    thresholds: np.ndarray  # [u], NaN of softmax and constant units
    targets: np.ndarray  # [E, u] booleans


def look_at(
    batches: Batches,
    held_out: Batches | None = None,
    *,
    positions: str = "all",
    seed: int = 0,
    **resources: Any,
) -> Sited:
    """Where the units of a layer are explained, and when they are on there.

    Args:
      batches: the layer on the examples on which rules are found.
      held_out: the same on others.
      positions: one of `POSITIONS`, see `explain_layer`.
      seed: of the pairs drawn.
      **resources: memory_budget and mesh.

    Raises:
      ValueError: as `position_predictions`.
    """
    first = next(batches.read())
    places, thresholds = None, None
    if has_positions(first) and positions == "all":
        if first.kind != "softmax":
            _, thresholds = most_informative(batches, **resources)
        total = num_positions(first)
        layer = at_pairs(batches, draw_pairs(batches.num_examples, total, seed))
    else:
        layer = batches.whole()
        if has_positions(first):
            places, thresholds = most_informative(Batches.of(layer), **resources)
    targets, thresholds = layer_targets(layer, places, thresholds, **resources)
    other = None if held_out is None else look_at_held_out(held_out, positions, seed)
    return Sited(layer, other, places, thresholds, targets)


def look_at_held_out(held_out: Batches, positions: str, seed: int) -> Layer:
    """A layer on held-out examples, where its units are explained; arguments as of `look_at`."""
    first = next(held_out.read())
    if not has_positions(first) or positions != "all":
        return held_out.whole()
    pairs = draw_held_out_pairs(held_out.num_examples, num_positions(first), seed)
    return at_pairs(held_out, pairs)


def has_positions(layer: Layer) -> bool:
    """Whether a unit is computed at several positions of an example."""
    return layer.activations.ndim > 2


def num_positions(layer: Layer) -> int:
    """At how many positions of an example a unit is computed."""
    return math.prod(layer.activations.shape[1:-1])


def draw_pairs(num_examples: int, num_positions: int, seed: int) -> np.ndarray:
    """Distinct pairs of an example and a position, to find rules on.

    Returns:
      [S, 2] integers, by example: as many as there are examples but at least `LEAST_PAIRS`, or all.
    """
    total = num_examples * num_positions
    size = min(total, max(num_examples, LEAST_PAIRS))
    drawn = np.random.default_rng(seed).choice(total, size, replace=False)
    return np.stack(np.divmod(np.sort(drawn), num_positions), axis=1)


def draw_held_out_pairs(num_examples: int, num_positions: int, seed: int) -> np.ndarray:
    """One position of each example, [E, 2]: pairs that share an example are not independent."""
    drawn = np.random.default_rng([seed, 1]).integers(0, num_positions, num_examples)
    return np.stack([np.arange(num_examples), drawn], axis=1)


def at_pairs(batches: Batches, pairs: np.ndarray) -> Layer:
    """A layer with positions at some pairs, as one without positions.

    Args:
      batches: the layer.
      pairs: [S, 2] examples and positions, in the order of the examples.

    Returns:
      The layer of weights [n, u] on S examples, inputs [S, n]; of groups one after another.

    Raises:
      ValueError: as `position_predictions`.
    """
    parts: list[Layer] = []
    start = 0
    for batch in batches.read():
        stop = start + len(batch.inputs)
        some = slice(*np.searchsorted(pairs[:, 0], [start, stop]))
        examples, places = pairs[some, 0] - start, pairs[some, 1]
        positions = np.stack(np.unravel_index(places, batch.activations.shape[1:-1]), axis=1)
        reads = cut_pairs(batch, examples, positions)
        shares = [group_inputs(batch, reads, group) for group in range(batch.groups)]
        parts.append(
            batch._replace(
                inputs=np.concatenate(shares, axis=1),
                activations=batch.activations[(examples, *positions.T)],
                predictions=position_predictions(batch)[examples, places],
            )
        )
        start = stop
    first = parts[0]
    inputs, activations, predictions = (
        np.concatenate(side)
        for side in zip(
            *((part.inputs, part.activations, part.predictions) for part in parts), strict=True
        )
    )
    return first._replace(
        weights=first.weights.reshape(-1, first.weights.shape[-1]),
        inputs=inputs,
        activations=activations,
        predictions=predictions,
        convolution=None,
        every_position=True,
        kernel_shape=kernel_shape(first),
    )


def position_predictions(layer: Layer) -> np.ndarray:
    """What the network predicts at each position, [E, P]: of the example, or of each token.

    Raises:
      ValueError: predictions at each token, of a layer with other positions.
    """
    sizes = layer.activations.shape[1:-1]
    predictions = layer.predictions
    if predictions.ndim == 1:
        return np.broadcast_to(predictions[:, None], (len(predictions), math.prod(sizes)))
    if predictions.shape[1:] != sizes:
        raise ValueError(
            f"predictions: the network predicts a class at each of {predictions.shape[1]} tokens, "
            f"but {layer.name!r} has positions {list(sizes)}; expected predictions= [E]"
        )
    return predictions


def most_informative(
    batches: Batches, *, memory_budget: int = 2**29, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Of each unit the position whose best threshold tells most about the class, and that.

    Args:
      batches: the layer, read once or, where the budget asks for it, several times.
      memory_budget: bytes of working memory; never changes the result.
      **options: of `unit_thresholds`.

    Returns:
      positions [u, P axes], on a tie the first in row-major order, and thresholds [u], NaN for a
      unit that is constant at every position.

    Raises:
      ValueError: as `position_predictions`.
    """
    *sizes, num_units = next(batches.read()).activations.shape[1:]
    total = math.prod(sizes)
    at_once = memory_budget // 2 // (batches.num_examples * num_units * _BYTES)
    values, gains = np.empty((2, total, num_units))
    classes: set[int] = set()
    for block in chunks(total, max(1, at_once)):
        parts = [
            (
                batch.activations.reshape(-1, total, num_units)[:, block],
                position_predictions(batch)[:, block],
            )
            for batch in batches.read()
        ]
        activations, predictions = (np.concatenate(side) for side in zip(*parts, strict=True))
        classes.update(np.unique(predictions).tolist())
        found = _position_thresholds(
            activations, predictions, memory_budget=memory_budget, **options
        )
        values[block], gains[block] = (
            np.concatenate(side).reshape(-1, num_units) for side in zip(*found, strict=True)
        )
    best = first_of_largest(gains, batches.num_examples, len(classes))
    positions = np.stack(np.unravel_index(best, sizes), axis=1)
    return positions, values[best, np.arange(num_units)]


def _position_thresholds(
    activations: np.ndarray, predictions: np.ndarray, **options: Any
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Thresholds and gains of activations [E, P, u] about predictions [E, P], by runs of P."""
    num_examples, positions, _ = activations.shape
    # Where an example is of one class, all its positions are one call.
    is_one = (predictions == predictions[:, :1]).all()
    runs = [slice(0, positions)] if is_one else [slice(p, p + 1) for p in range(positions)]
    return [
        unit_thresholds(
            activations[:, run].reshape(num_examples, -1),
            predictions[:, run.start],
            int(predictions.max()) + 1,
            **options,
        )
        for run in runs
    ]


def layer_targets(
    layer: Layer,
    positions: np.ndarray | None,
    thresholds: np.ndarray | None = None,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """When each unit is on, [E, u] booleans, and its threshold, [u].

    Args:
      layer: the captured layer.
      positions: [u, P axes], of each unit the position at which it is looked at; None for a layer
        without positions.
      thresholds: [u], found earlier on other examples; None to find them on these.
      **options: of `binarize_targets`.

    Raises:
      ValueError: a layer whose fields do not belong together; positions of a layer that has none,
        none of one that has, or other ones; thresholds of another shape; predictions of several
        tokens, without thresholds; as `position_predictions`.
    """
    layer = check_layer("layer", layer)
    num_units = layer.weights.shape[-1]
    activations, predictions = layer.activations, layer.predictions
    if thresholds is not None:
        thresholds = checks.matrix("thresholds", thresholds, [num_units], nan_is_missing=True)
    if (positions is None) == has_positions(layer):
        raise ValueError(
            f"positions: {layer.name!r} has positions {list(activations.shape[1:-1])}; expected "
            "one for each unit, or None if there are none"
        )
    if positions is not None:
        sizes = activations.shape[1:-1]
        positions = checks.matrix("positions", positions, [num_units, len(sizes)])
        if positions.dtype.kind not in "iu" or (positions < 0).any() or (positions >= sizes).any():
            raise ValueError(f"positions: expected integers from 0 and below {sizes}")
        places = np.ravel_multi_index(tuple(positions.T), sizes)
        activations = activations[(slice(None), *positions.T, np.arange(num_units))]
        predictions = position_predictions(layer)[:, places]
    elif predictions.ndim > 1:
        position_predictions(layer)  # it says why not
    if layer.kind == "softmax":
        # A single logit is that of the second of two classes.
        classes = np.arange(num_units) if num_units > 1 else 1
        predictions = predictions.reshape(len(predictions), -1)
        return predictions == classes, np.full(num_units, np.nan)
    if thresholds is not None:
        return activations >= thresholds, thresholds
    if predictions.ndim == 2:
        if (predictions != predictions[:, :1]).any():
            raise ValueError("thresholds: needed where each token has a class of its own")
        predictions = predictions[:, 0]
    return binarize_targets(activations, predictions, int(predictions.max()) + 1, **options)


def kernel_shape(layer: Layer) -> tuple[int, ...] | None:
    """Of what a unit of a convolution reads, [*K, C]; None of other layers."""
    return layer.kernel_shape if layer.convolution is None else layer.weights.shape[:-1]


def runs_of_units(layer: Layer, positions: np.ndarray | None) -> list[slice]:
    """The runs of units that share their inputs: of a group, or each at its own position."""
    num_units = layer.weights.shape[-1]
    size = num_units // layer.groups if positions is None else 1
    return [slice(start, start + size) for start in range(0, num_units, size)]


def unit_inputs(layer: Layer, positions: np.ndarray | None, units: slice) -> np.ndarray:
    """The inputs [E, n] of a run of units."""
    reads = layer.inputs
    if positions is not None:
        num_examples = len(layer.inputs)
        where = np.tile(positions[units.start], (num_examples, 1))
        reads = cut_pairs(layer, np.arange(num_examples), where)
    return group_inputs(layer, reads, _group(layer, units.start))


def name_rules(
    rules: Sequence[Rule], layer: Layer, positions: np.ndarray | None, thresholds: np.ndarray
) -> tuple[Rule, ...]:
    """The rules, each with what it explains: layer, unit, threshold of the unit, and where."""
    about = []
    for rule, threshold in zip(rules, thresholds.tolist(), strict=True):
        if not np.isnan(threshold):
            rule = rule._replace(unit_threshold=threshold)
        if positions is not None:
            rule = rule._replace(position=tuple(positions[rule.unit].tolist()))
        about.append(
            rule._replace(
                literals=tuple(_named(literal, rule.unit, layer) for literal in rule.literals),
                layer=layer.name,
                unit_name="" if layer.unit_names is None else layer.unit_names[rule.unit],
                every_position=layer.every_position,
                kernel_shape=kernel_shape(layer),
            )
        )
    return Rules(about)


def _named(literal: Literal, unit: int, layer: Layer) -> Literal:
    """The literal with the name of its input."""
    window = kernel_shape(layer)
    share = layer.inputs.shape[-1] // layer.groups if window is None else window[-1]
    first = _group(layer, unit) * share
    name, i = name_input(literal.input, first, window, layer.input_names)
    return named(literal, name, None if layer.input_scaling is None else layer.input_scaling[i])


def _group(layer: Layer, unit: int) -> int:
    return unit // (layer.weights.shape[-1] // layer.groups)

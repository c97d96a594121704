"""What the page of a report holds: rules, and on some examples what enters the layers.

Axis letters: S examples shown, P positions, n inputs, u units; H, W, C rows, columns and channels
of a picture.
"""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mofn_jax import checks
from mofn_jax.answers import Answers
from mofn_jax.layer_rules import LayerRules
from mofn_jax.layers import Layer, take_examples
from mofn_jax.report import LayerRow, chosen_by, layer_rows, readable_row
from mofn_jax.rules import Rule, errors_of, inputs_needed, named_literals, unit_of
from mofn_jax.sites import (
    Batches,
    at_pairs,
    draw_held_out_pairs,
    layer_targets,
    num_positions,
    runs_of_units,
    unit_inputs,
)

_LARGEST_SIDE = 64  # of a picture; larger ones are shown smaller


def is_pictures(inputs: np.ndarray) -> bool:
    """Whether the inputs of a network are pictures, [E, H, W, C], gray or in colours."""
    return inputs.ndim == 4 and inputs.shape[-1] in (1, 3)


def _inputs_of(rules: Iterable[Rule]) -> list[int]:
    """Which inputs the literals of the rules name."""
    return sorted({literal.input for rule in rules for literal in rule.literals})


def numbers_of_an_example(units: Sequence[Sequence[Sequence[Rule]]]) -> int:
    """About how many numbers the page holds of an example, of a layer's units."""
    at_own = units[0][0][0].position is not None
    runs = [[unit] for unit in units] if at_own else [units]
    used = (_inputs_of(same[0] for unit in run for same in unit) for run in runs)
    return sum(map(len, used)) + 2 * len(units)


def answers_data(name: str, answers: Answers, inputs: np.ndarray | None) -> dict[str, Any]:
    """What the page holds of rules of all classes about the network's inputs."""
    checks.instance(f"answers[{name!r}]", answers, Answers)
    if inputs is None:
        raise ValueError("inputs: needed with answers")
    flat = inputs.reshape(len(inputs), -1)
    if inputs_needed(answers.rules) > flat.shape[1]:
        raise ValueError(f"answers[{name!r}]: are not about the {flat.shape[1]} inputs")
    units = [[[rule]] for rule in answers.rules]
    run, rules = _run_data(flat, units)
    return {
        "name": name,
        "run": run,
        "units": [
            {
                "name": rule.unit_name or str(rule.unit),
                "rules": of_unit,
                "log_odds": log_odds.tolist(),
            }
            for rule, of_unit, log_odds in zip(answers.rules, rules, answers.log_odds, strict=True)
        ],
    }


def layer_data(
    result: LayerRules, of_units: Sequence[Sequence[Sequence[Rule]]], layer: Layer, keep: np.ndarray
) -> dict[str, Any]:
    """What the page holds of a layer, on the examples that it shows.

    Args:
      result: of the layer.
      of_units: of the units that are shown, each different rule with the times it was chosen.
      layer: on G examples.
      keep: [S] indices of those that are shown.
    """
    first = [unit[0][0] for unit in of_units]
    every_position = first[0].every_position
    places, positions = None, None
    if first[0].position is not None:
        places = np.array([rule.position for rule in result.choices[0]])
    sizes = layer.activations.shape[1:-1]
    seen = take_examples(layer, keep)
    if every_position:
        pairs = draw_held_out_pairs(len(keep), num_positions(layer), seed=0)
        seen, positions = at_pairs(Batches.of(seen), pairs), pairs[:, 1]
    elif places is not None:
        positions = np.ravel_multi_index(tuple(places.T), sizes)
    targets, _ = layer_targets(seen, places, result.thresholds)
    activations = seen.activations
    if places is not None:
        activations = activations[(slice(None), *places.T, np.arange(len(places)))]
    units: list[dict[str, Any]] = []
    runs = []
    for run in runs_of_units(seen, places):
        some = of_units[run]
        if some:
            data, rules = _run_data(unit_inputs(seen, places, run), some)
            runs.append({**data, "first": run.start})
            units += [{"rules": of_unit} for of_unit in rules]
    for unit, rule, on in zip(units, first, result.front.on_counts, strict=False):
        unit["name"] = rule.unit_name or f"unit {rule.unit}"
        unit["title"] = unit_of(rule)
        unit["on"] = on / result.front.num_examples
    return {
        "name": result.name,
        "kind": result.kind,
        "note": result.note,
        "all_units": len(result.front.units),
        "found_on": result.front.num_examples,
        "every_position": every_position,
        "rows": list(map(_row_data, layer_rows(result))),
        "readable": _choice(readable_row(result)),
        "units": units,
        "runs": runs,
        # Where the examples, or each at its own place the units, are looked at.
        "positions": None if positions is None else positions.tolist(),
        "frames": _frames(layer).tolist() if len(sizes) == 2 else None,
        "on": _base64(targets[:, : len(units)].astype(np.uint8)),
        "activations": _numbers(activations[:, : len(units)]),
    }


def _run_data(
    values: np.ndarray, of_units: Sequence[Sequence[Sequence[Rule]]]
) -> tuple[dict[str, Any], list[list[dict[str, Any]]]]:
    """What units read that share their inputs [S, n], and of each unit its rules.

    Thresholds are those that `evaluate_rules` compares with: in the precision of the inputs.
    """
    inputs = _inputs_of(same[0] for unit in of_units for same in unit)
    values = values[:, inputs]
    columns = {i: column for column, i in enumerate(inputs)}
    heads: list[tuple[str, float, float]] = [("", 0.0, 1.0)] * len(inputs)
    literals: dict[tuple, int] = {}
    units = []
    for unit in of_units:
        rules = []
        for same in unit:
            ids = []
            for literal in named_literals(same[0]):
                column = columns[literal.input]
                heads[column] = str(literal.name), literal.offset, literal.scale
                threshold = _as_compared(literal.threshold, values.dtype)
                shown = f"{literal.shown(literal.threshold):.4g}"
                key = column, int(literal.negated), threshold, shown
                ids.append(literals.setdefault(key, len(literals)))
            rules.append(_rule_data(same, ids))
        # The truer, the further on; of equal ones the shorter first.
        rules.sort(key=lambda one: (-one["error"], one["complexity"], len(one["literals"])))
        units.append(rules)
    data = {"inputs": heads, "literals": list(literals), "values": _numbers(values)}
    return data, units


def _rule_data(same: Sequence[Rule], literals: Sequence[int]) -> dict[str, Any]:
    rule = same[0]
    errors = dict(zip(("error", "held_out", "bound", "baseline"), errors_of(rule), strict=True))
    return {
        "chosen": chosen_by(same),
        "choices": list(map(_choice, same)),
        "m": rule.m,
        "literals": literals,
        **errors,
        "complexity": rule.complexity,
    }


def _choice(one: Rule | LayerRow) -> str:
    """Of a rule or a row what tells the choice from others, which may look alike: 0.1 and 0.1."""
    return repr((one.beta, one.max_literals))


def _row_data(row: LayerRow) -> dict[str, Any]:
    fields = {name: None if value != value else value for name, value in row._asdict().items()}
    return {**fields, "choice": _choice(row), "chosen": chosen_by([row])}


def _frames(layer: Layer) -> np.ndarray:
    """Of each position the patch that a unit reads, [P, 4]: left, top, width and height.

    As shares of the picture: exact where the layer reads the picture itself; of a deeper layer,
    the part of the picture that lies under its patch.
    """
    sizes = layer.activations.shape[1:-1]
    window = layer.weights.shape[:-2] if layer.convolution is not None else (1, 1)
    sides = []
    for axis, size in enumerate(sizes):
        start, length, whole = np.arange(size), 1, size
        if layer.convolution is not None:
            (before, _), whole = layer.convolution.padding[axis], layer.inputs.shape[1 + axis]
            start = start * layer.convolution.strides[axis] - before
            length = layer.convolution.dilation[axis] * (window[axis] - 1) + 1
        sides.append(np.stack([start, np.full(size, length)]) / whole)
    (top, height), (left, width) = sides
    grid = np.empty((*sizes, 4))
    grid[..., 0], grid[..., 2] = left, width
    grid[..., 1], grid[..., 3] = top[:, None], height[:, None]
    return grid.reshape(-1, 4).round(4)


def evenly(size: int, most: int) -> np.ndarray:
    """At most so many of 0..size - 1, evenly spaced."""
    return np.linspace(0, size - 1, min(size, most)).astype(int)


def shown_size(pictures: np.ndarray) -> tuple[int, int]:
    """Rows and columns of pictures [G, H, W, C] as they are shown."""
    sizes = pictures.shape[1:3]
    shrunk = min(1.0, _LARGEST_SIDE / max(sizes))
    height, width = (max(1, round(size * shrunk)) for size in sizes)
    return height, width


def sprite(pictures: np.ndarray) -> dict[str, Any]:
    """All pictures [S, H, W, C] side by side in one PNG, gray or in colours as they are."""
    pictures = pictures.astype(np.float64)
    low, high = pictures.min(), pictures.max()
    pixels = ((pictures - low) / ((high - low) or 1) * 255).round().astype(np.uint8)
    height, width = shown_size(pictures)
    columns = math.ceil(math.sqrt(len(pixels)))
    rows = -(-len(pixels) // columns)
    sheet = Image.new("L" if pixels.shape[-1] == 1 else "RGB", (columns * width, rows * height))
    for i, picture in enumerate(pixels):
        one = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
        row, column = divmod(i, columns)
        one = one.resize((width, height), Image.Resampling.BOX)
        sheet.paste(one, (column * width, row * height))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return {
        "png": base64.b64encode(file.getvalue()).decode(),
        "columns": columns,
        "rows": rows,
        "width": width,
        "height": height,
    }


def _as_compared(threshold: float, dtype: np.dtype) -> float:
    """The threshold as `evaluate_rules` compares it with inputs, in their own precision.

    Of those that the page holds in float32 the shortest number that is the same in float32.
    """
    if dtype.kind not in "fV":
        return threshold
    rounded = dtype.type(threshold)
    return float(str(np.float32(rounded))) if dtype.itemsize <= 4 else float(rounded)


def _numbers(array: np.ndarray) -> dict[str, Any]:
    """The array's numbers, of few digits in float32, all others in float64."""
    small = array.dtype.kind in "fV" and array.dtype.itemsize <= 4
    packed = _base64(array.astype(np.float32 if small else np.float64))
    return {"bytes": 4 if small else 8, "packed": packed}


def _base64(array: np.ndarray) -> str:
    """The bytes of an array, little-endian."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return base64.b64encode(array.tobytes()).decode()

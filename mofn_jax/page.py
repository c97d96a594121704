"""The report: layers, their rules and the examples behind them, as one page that needs no network.

What a browser shows is made of `report.html`, `report.css` and `report.js` in `templates`, and of
the data below. It holds what enters the layers on some examples, and evaluates the rules on them.

Axis letters: G examples to show, S of them, or pairs of one and a position, P positions, n inputs,
u units; H, W, C rows, columns and channels of a picture.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from matplotlib.image import imsave
from numpy.typing import ArrayLike

from mofn_jax import checks
from mofn_jax.answers import Answers
from mofn_jax.layer_rules import LayerRules
from mofn_jax.layers import Layer, check_layer
from mofn_jax.report import chosen_by, layer_rows, readable_row, rules_by_unit
from mofn_jax.rules import Rule, format_literals, named_literals, unit_of
from mofn_jax.sites import (
    Batches,
    at_pairs,
    draw_pairs,
    layer_targets,
    num_positions,
    runs_of_units,
    unit_inputs,
)

MOST_UNITS = 256  # shown of a layer
MOST_EXAMPLES = 1000
_PICTURE_BYTES = 2**20  # of all pictures, before they are compressed
_VALUE_BYTES = 3 * 2**19  # of what enters the layers, and leaves them
_LEAST_EXAMPLES = 8
_LARGEST_SIDE = 64  # of a picture; larger ones are shown smaller

_TEMPLATES = Environment(
    loader=PackageLoader("mofn_jax"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


def examples_to_show(inputs: np.ndarray) -> np.ndarray:
    """Of many examples those that a report has room for, evenly spaced: [G] indices.

    Args:
      inputs: [E, ...], of the network; of pictures [E, H, W, C] there is room for fewer.
    """
    most = MOST_EXAMPLES
    if inputs.ndim == 4:
        most = min(most, _PICTURE_BYTES // _smaller(inputs[:1])[0].size)
    return _evenly(len(inputs), most)


def report_html(
    results: Sequence[LayerRules],
    layers: Iterable[Layer],
    *,
    title: str = "M-of-N rules",
    about: str = "",
    pictures: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    answers: Mapping[str, Answers] | None = None,
) -> str:
    """A page to read in a browser: of every layer its table, of every unit its rules.

    Of each unit its rules stand along a slider, with error, bound and baseline, beside the examples
    that most excite it and its literals' inputs, and those on which a rule is wrong.

    Args:
      results: of a network's layers.
      layers: the same layers, one after another, on G examples to show, such as some of the
        held-out ones.
      title: of the page.
      about: a line under it, such as what the network learned.
      pictures: [G, H, W] or [G, H, W, C] real numbers, what to show of each example; C is 1, or 3
        for colours. None for examples that are no pictures.
      class_names: of the network's classes; None for numbers.
      answers: of the network as a whole, by what they are about.

    Returns:
      The page, in HTML, to write to a file in UTF-8. It reads nothing from a network.

    Raises:
      ValueError: no results, layers of another number or kind, pictures of another number.

    Examples:
      >>> import jax, mofn_jax as mofn
      >>> wine = mofn.load_dataset("wine")
      >>> network = mofn.MLP(num_classes=3, activation="relu")
      >>> params = mofn.train(jax.random.key(0), network, wine, num_epochs=2).params
      >>> results = mofn.extract_network(network, params, wine.train.inputs, betas=[0.1])
      >>> layers = mofn.capture_layers(network, params, wine.test.inputs)
      >>> page = mofn.report_html(results, layers, class_names=wine.class_names)
      >>> page.startswith("<!doctype html>")
      True
    """
    results = checks.sequence("results", results)
    if not results or not all(isinstance(result, LayerRules) for result in results):
        raise ValueError("results: expected at least one, as extract_network returns them")
    budget = _VALUE_BYTES // len(results)
    shown: list[dict[str, Any]] = []
    predictions: np.ndarray | None = None
    for layer in layers:
        if len(shown) == len(results):
            raise ValueError(f"layers: expected {len(results)}, as results, got more")
        result, layer = results[len(shown)], check_layer(f"layers[{len(shown)}]", layer)
        if layer.name != result.name or layer.weights.shape[-1] != len(result.front.units):
            raise ValueError(
                f"layers[{len(shown)}]: expected {result.name!r} of {len(result.front.units)} "
                f"units, got {layer.name!r} of {layer.weights.shape[-1]}"
            )
        if predictions is not None and len(predictions) != len(layer.predictions):
            raise ValueError(f"layers[{len(shown)}]: of another number of examples")
        predictions = layer.predictions
        shown.append(_layer_data(result, layer, budget, pictures is not None))
    if predictions is None or len(shown) < len(results):
        raise ValueError(f"layers: expected {len(results)}, as results, got {len(shown)}")
    if class_names is not None:
        class_names = checks.texts("class_names", class_names)
    data = {
        "layers": shown,
        # Of tokens each has its own.
        "predictions": predictions.tolist() if predictions.ndim == 1 else None,
        "classes": class_names,
        "pictures": None if pictures is None else _sprite(pictures, len(predictions)),
    }
    return _TEMPLATES.get_template("report.html").render(
        title=title,
        about=about,
        data=data,
        num_shown=len(predictions),
        held_out=results[0].choices[0][0].held_out_error is not None,
        whole={name: _answer_data(one) for name, one in (answers or {}).items()},
    )


def _answer_data(answers: Answers) -> dict[str, Any]:
    return {
        "summary": str(answers).splitlines()[0],
        "rules": [(unit_of(rule), rule.m, format_literals(rule)) for rule in answers.rules],
    }


def _layer_data(result: LayerRules, layer: Layer, budget: int, is_pictured: bool) -> dict[str, Any]:
    """What the page holds of a layer."""
    of_units = rules_by_unit(result)[:MOST_UNITS]
    num_units, first = len(of_units), result.choices[0]
    places = None
    if num_units and first[0].position is not None:
        places = np.array([rule.position for rule in first])
    runs = [
        range(run.start, min(run.stop, num_units))
        for run in runs_of_units(layer, places)
        if run.start < num_units
    ]
    used = [
        sorted(
            {
                literal.input
                for unit in run
                for same in of_units[unit]
                for literal in same[0].literals
            }
        )
        for run in runs
    ]
    numbers = sum(map(len, used)) + 2 * num_units  # of an example
    most = max(_LEAST_EXAMPLES, budget // (4 * numbers))
    every_position = bool(first) and first[0].every_position
    seen, examples, positions = _sited(layer, every_position, most)
    targets, _ = layer_targets(seen, places, result.thresholds)
    if places is None:
        activations = seen.activations
    else:
        activations = seen.activations[(slice(None), *places.T, np.arange(len(places)))]
    units = []
    for unit, rules in enumerate(of_units):
        on = result.front.on_counts[unit] / result.front.num_examples
        units.append({"name": _short_name(rules[0][0]), "title": unit_of(rules[0][0]), "on": on})
    groups = []
    for run, inputs in zip(runs, used, strict=True):
        values = unit_inputs(seen, places, slice(run.start, run.stop))[:, inputs]
        groups.append({**_run_data(run, inputs, values, of_units, units), "first": run.start})
    frames, where = None, None
    if is_pictured and layer.activations.ndim == 4:
        frames = _frames(layer).tolist()
        where = (
            positions
            if places is None
            else np.ravel_multi_index(tuple(places.T), layer.activations.shape[1:-1])
        )
    row = readable_row(result)
    return {
        "name": result.name,
        "kind": result.kind,
        "inputs": result.front.num_inputs,
        "all_units": len(result.front.units),
        "found_on": result.front.num_examples,
        "found_on_what": "pairs of an example and a position" if every_position else "examples",
        "constant": result.constant_units,
        "note": result.note,
        "rows": [_row_data(one) for one in layer_rows(result)],
        "readable": _choice(row.beta, row.max_literals),
        "units": units,
        "runs": groups,
        "examples": examples.tolist(),
        "frames": frames,
        "places": None if where is None else where.tolist(),
        "each_its_own_place": places is not None,
        "on": _base64(targets[:, :num_units].astype(np.uint8)),
        "activations": _base64(activations[:, :num_units].astype(np.float32)),
    }


def _sited(
    layer: Layer, every_position: bool, most: int
) -> tuple[Layer, np.ndarray, np.ndarray | None]:
    """The layer on at most so many examples, or pairs, which [S], and of pairs their positions."""
    num_examples = len(layer.inputs)
    if not every_position:
        keep = _evenly(num_examples, most)
        some = {
            name: getattr(layer, name)[keep] for name in ("inputs", "activations", "predictions")
        }
        return layer._replace(**some), keep, None
    pairs = draw_pairs(num_examples, num_positions(layer), seed=0)
    pairs = pairs[_evenly(len(pairs), most)]
    return at_pairs(Batches.of(layer), pairs), pairs[:, 0], pairs[:, 1]


def _run_data(
    run: range,
    inputs: Sequence[int],
    values: np.ndarray,
    of_units: Sequence[Sequence[Sequence[Rule]]],
    units: list[dict[str, Any]],
) -> dict[str, Any]:
    """What units read that share their inputs; each unit is given its rules.

    Thresholds are those that `evaluate_rules` compares with: in the precision of the inputs.
    """
    is_float = values.dtype.kind in "fV"
    precision = values.dtype.type if is_float else float
    columns = {i: column for column, i in enumerate(inputs)}
    heads: list[tuple[str, float, float]] = [("", 0.0, 1.0)] * len(inputs)
    literals: dict[tuple, int] = {}
    for unit in run:
        rules = []
        for same in of_units[unit]:
            rule, ids = same[0], []
            for literal in named_literals(rule):
                column = columns[literal.input]
                heads[column] = str(literal.name), literal.offset, literal.scale
                key = column, literal.negated, float(precision(literal.threshold)), str(literal)
                ids.append(literals.setdefault(key, len(literals)))
            rules.append(_rule_data(same, ids))
        # The truer, the further on; of equal ones the shorter first.
        rules.sort(key=lambda one: (-one["error"], one["complexity"], len(one["literals"])))
        units[unit]["rules"] = rules
    small = is_float and values.dtype.itemsize <= 4
    return {
        "inputs": heads,
        "literals": list(literals),
        "values": _base64(values.astype(np.float32 if small else np.float64)),
        "bytes": 4 if small else 8,
    }


def _rule_data(same: Sequence[Rule], literals: Sequence[int]) -> dict[str, Any]:
    rule = same[0]
    held_out = rule.held_out_baseline_error
    return {
        "chosen": chosen_by(same),
        "choices": [_choice(one.beta, one.max_literals) for one in same],
        "m": rule.m,
        "literals": literals,
        "error": rule.error,
        "held_out": rule.held_out_error,
        "bound": rule.held_out_bound,
        "baseline": rule.baseline_error if held_out is None else held_out,
        "complexity": rule.complexity,
    }


def _row_data(row: Any) -> dict[str, Any]:
    fields = {name: None if value != value else value for name, value in row._asdict().items()}
    return {**fields, "choice": _choice(row.beta, row.max_literals)}


def _choice(beta: float | None, max_literals: int | None) -> str:
    return f"beta {beta:g}" if beta is not None else f"at most {max_literals} literals"


def _short_name(rule: Rule) -> str:
    return rule.unit_name or f"unit {rule.unit}"


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


def _evenly(size: int, most: int) -> np.ndarray:
    """At most so many of 0..size - 1, evenly spaced."""
    return np.linspace(0, size - 1, min(size, most)).astype(int)


def _smaller(pictures: np.ndarray) -> np.ndarray:
    """Pictures [G, H, W, C] of sides no longer than shown, each pixel the mean of a block."""
    block = -(-max(pictures.shape[1:3]) // _LARGEST_SIDE)
    if block == 1:
        return pictures
    rows, columns = (size // block for size in pictures.shape[1:3])
    cut = pictures[:, : rows * block, : columns * block]
    return cut.reshape(len(cut), rows, block, columns, block, -1).mean((2, 4))


def _sprite(pictures: Any, num_examples: int) -> dict[str, Any]:
    """All pictures side by side in one PNG."""
    pictures = checks.numbers("pictures", pictures, 3)
    if pictures.ndim == 3:
        pictures = pictures[..., None]
    if pictures.ndim != 4 or pictures.shape[-1] not in (1, 3) or len(pictures) != num_examples:
        raise ValueError(
            f"pictures: expected shape [{num_examples}, H, W, 1 or 3], got {list(pictures.shape)}"
        )
    pictures = _smaller(pictures.astype(np.float32))
    low, high = pictures.min(), pictures.max()
    gray = ((pictures - low) / ((high - low) or 1) * 255).round().astype(np.uint8)
    count, height, width, _ = gray.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    grid = np.zeros((rows * columns, height, width, 3), np.uint8)
    grid[:count] = gray
    grid = grid.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    file = io.BytesIO()
    imsave(file, grid.reshape(rows * height, columns * width, 3), format="png")
    return {
        "png": base64.b64encode(file.getvalue()).decode(),
        "columns": columns,
        "rows": rows,
        "width": width,
        "height": height,
    }


def _base64(array: np.ndarray) -> str:
    """The bytes of an array, little-endian."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return base64.b64encode(array.tobytes()).decode()

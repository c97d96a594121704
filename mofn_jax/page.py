"""The report: layers, their rules and the examples behind them, as one page that needs no network.

What a browser shows is made of `report.html`, `report.css` and `report.js` in `templates`, and of
the data of `page_data`.

Axis letters: G examples given, S of them shown; H, W, C rows, columns and channels of a picture.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import ArrayLike

from mofn_jax import checks
from mofn_jax.answers import Answers
from mofn_jax.display import percent
from mofn_jax.layer_rules import LayerRules
from mofn_jax.layers import Layer, check_layer
from mofn_jax.page_data import (
    answers_data,
    evenly,
    is_pictures,
    layer_data,
    numbers_of_an_example,
    shown_size,
    sprite,
)
from mofn_jax.report import LayerRow, readable_row, rules_by_unit
from mofn_jax.rules import Rule, format_body, unit_of
from mofn_jax.sites import has_positions

MOST_UNITS = 256  # shown of a layer; classes are shown all
MOST_EXAMPLES = 1000
_PICTURE_BYTES = 2**20  # of all pictures, before they are compressed
_VALUE_BYTES = 7 * 2**18  # of what enters the layers, and leaves them
_LEAST_EXAMPLES = 32

_TEMPLATES = Environment(
    loader=PackageLoader("mofn_jax"), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATES.globals.update(percent=percent, unit_of=unit_of, format_body=format_body)


def examples_to_show(inputs: np.ndarray) -> np.ndarray:
    """Of many examples those that a report may have room for, evenly spaced: [G] indices.

    Args:
      inputs: [E, ...], of the network; of pictures [E, H, W, C] there is room for fewer.
    """
    most = MOST_EXAMPLES
    if is_pictures(inputs):
        most = min(most, _PICTURE_BYTES // math.prod(shown_size(inputs)) // inputs.shape[-1])
    return evenly(len(inputs), most)


def report_html(
    results: Sequence[LayerRules],
    layers: Iterable[Layer],
    *,
    title: str = "M-of-N rules",
    about: str = "",
    inputs: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    answers: Mapping[str, Answers] | None = None,
) -> str:
    """A page to read in a browser: of every layer its table, of every unit its rules.

    Of each unit its rules stand along a slider, with error, bound and baseline, beside the examples
    that most excite it and its literals' inputs, and those on which a rule is wrong. Of an example,
    why the rules say what they say.

    Args:
      results: of a network's layers.
      layers: the same layers, one after another, on G examples to show, such as some of the
        held-out ones. If there is no room for all, evenly spaced ones are shown.
      title: of the page.
      about: a line under it, such as what the network learned.
      inputs: [G, ...] real numbers, what enters the network. Those of shape [G, H, W, C] are shown
        as pictures; C is 1, or 3 for colours.
      labels: [G] integers, the examples' true classes.
      class_names: of the network's classes; None for numbers.
      answers: rules of all classes about the network's inputs, with a name for each.

    Returns:
      The page, in HTML, to write to a file in UTF-8. It reads nothing from a network.

    Raises:
      ValueError: no results, or of other betas and lengths from layer to layer; layers that are
        not those of the results; inputs or labels of another number; fewer class names than
        classes; answers without inputs, or about more of them than there are.

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
    first = results[0]
    choices = [(set(result.rules), set(result.by_length)) for result in results]
    if any(one != choices[0] for one in choices):
        raise ValueError("results: expected the same betas and lengths of each layer")
    for text in (("title", title), ("about", about)):
        checks.instance(*text, str)
    units = [_units_to_show(result) for result in results]
    room = _VALUE_BYTES // (4 * sum(map(numbers_of_an_example, units)))
    shown: list[dict[str, Any]] = []
    predictions = np.empty(0)
    if not isinstance(layers, Iterable):
        raise ValueError(f"layers: expected one for each of results, got {layers!r}")
    for layer in layers:
        name = f"layers[{len(shown)}]"
        if len(shown) == len(results):
            raise ValueError(f"layers: expected {len(results)}, as results, got more")
        result = results[len(shown)]
        layer = _check_layer_of(result, name, layer)
        if shown and len(predictions) != len(layer.predictions):
            raise ValueError(f"{name}: of another number of examples")
        predictions = layer.predictions
        keep = evenly(len(predictions), max(_LEAST_EXAMPLES, room))
        shown.append(layer_data(result, units[len(shown)], layer, keep))
    if len(shown) < len(results):
        raise ValueError(f"layers: expected {len(results)}, as results, got {len(shown)}")
    num_given, accuracy, num_classes = len(predictions), None, int(predictions.max()) + 1
    if labels is not None:
        known = checks.class_labels("labels", labels, None, num_given)
        num_classes = max(num_classes, int(known.max()) + 1)
        if predictions.ndim == 1:
            accuracy = float((predictions == known)[keep].mean())
        labels = known[keep].tolist()
    if class_names is not None:
        class_names = checks.texts("class_names", class_names)
        if len(class_names) < num_classes:
            raise ValueError(f"class_names: expected {num_classes} or more, got {len(class_names)}")
    entering = None
    if inputs is not None:
        entering = checks.numbers("inputs", inputs, 2)
        if len(entering) != num_given:
            raise ValueError(f"inputs: expected {num_given} examples, got {len(entering)}")
        entering = entering[keep]
    pictures = entering if entering is not None and is_pictures(entering) else None
    data = {
        "layers": shown,
        "numbers": keep.tolist(),
        # Of tokens each has its own.
        "predictions": predictions[keep].tolist() if predictions.ndim == 1 else None,
        "labels": labels,
        "classes": class_names,
        "pictures": None if pictures is None else sprite(pictures),
        "answers": [answers_data(name, one, entering) for name, one in (answers or {}).items()],
    }
    return _TEMPLATES.get_template("report.html").render(
        title=title,
        about=about,
        data=data,
        num_shown=len(keep),
        held_out=first.choices[0][0].held_out_error is not None,
        whole=answers or {},
        accuracy=accuracy,
        chosen=_condition(readable_row(results[-1])),
    )


def _units_to_show(result: LayerRules) -> list[list[list[Rule]]]:
    """Of each unit that is shown its different rules, with the times that each was chosen."""
    units = rules_by_unit(result)
    return units if result.kind == "softmax" else units[:MOST_UNITS]


def _check_layer_of(result: LayerRules, name: str, layer: Layer) -> Layer:
    """The layer, if it is the one that was explained, on other examples.

    Raises:
      ValueError: naming it.
    """
    layer = check_layer(name, layer)
    rule = result.choices[0][0]
    *window, num_units = layer.weights.shape
    found = layer.name, layer.kind, math.prod(window), num_units, has_positions(layer)
    front = result.front
    expected = result.name, result.kind, front.num_inputs, len(front.units)
    if found != (*expected, rule.every_position or rule.position is not None):
        raise ValueError(
            f"{name}: expected {result.name!r}, {result.kind}, of {front.num_inputs} inputs and "
            f"{len(front.units)} units, as it was explained, got {layer!r}"
        )
    return layer


def _condition(row: LayerRow) -> str:
    """What is true of the rules of a row, in Python."""
    return f"max_literals == {row.max_literals}" if row.beta is None else f"beta == {row.beta}"

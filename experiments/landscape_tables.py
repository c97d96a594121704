"""The tables and pictures of the landscape experiment, from the rows that it keeps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt

from experiments import kept
from experiments.curves import THIN, draw_lines, figure
from experiments.rivals import TREE
from mofn_jax import outputs, plots, report

_KEYS = ["network", "activation", "layer", "kind", "inputs", "units", "positions", "which"]
_MEASURES = ["error", "held_out_error", "baseline_error", "skill", "complexity", "literals"]


class LandscapeRow(NamedTuple):
    """A layer at one beta or number of literals, as in `report.LayerRow`, by one method."""

    dataset: str
    network: str
    activation: str
    seed: int
    test_accuracy: float  # of the network
    method: str  # a search, or trees, whose tests count as literals
    positions: str  # where filters are explained; "" of other layers
    which: str  # "all" units, or those "drawn"
    layer: str
    kind: str
    inputs: int
    units: int
    constant_units: int
    proven_literals: int
    beta: float | None
    max_literals: int | None
    error: float
    held_out_error: float
    baseline_error: float
    skill: float
    complexity: float
    literals: float


def write_landscape(workdir: Path, rows: Sequence[LandscapeRow]) -> None:
    """Writes landscape.csv, landscape.md, and of each network its landscapes and its curves."""
    outputs.write_text(workdir / "landscape.csv", report.rows_to_csv(rows))
    means = kept.over_seeds(
        rows,
        [*_KEYS, "method", "beta", "max_literals"],
        ["test_accuracy", "constant_units", *_MEASURES],
    )
    outputs.write_text(workdir / "landscape.md", tables(means))
    for network in dict.fromkeys(row.network for row in rows):
        some = [row for row in means if row.network == network]
        outputs.write_whole(workdir / f"{network}.png", partial(draw_landscapes, some))
        lengths = [row for row in some if row.beta is None]
        if lengths:
            draw_lengths(lengths, workdir / f"{network}_literals.png")


class _Line(NamedTuple):
    """What begins a line of a table, with the mean that it holds."""

    network: str
    layer: str
    units: str
    constant_rule: str
    method: str
    choice: Any
    mean: Any


def tables(means: Sequence[Any]) -> str:
    """Means over seeds as Markdown: a line for each layer and method, a column for each choice."""
    are_held_out = any(row.held_out_error == row.held_out_error for row in means)
    error = "held_out_error" if are_held_out else "error"
    about = (
        "Shares in percent, means over the units that are not constant, then over seeds "
        "(± standard deviation). " + "Errors are those on held-out examples"
        if are_held_out
        else "Errors are those on the whole table, where the rules were found"
    )

    def lines(name: str) -> list[_Line]:
        return [
            _Line(
                f"{row.network} {row.activation} ({row.test_accuracy:.1%})",
                f"{row.layer} ({row.inputs} inputs)",
                _units(row),
                kept.percent(row, "baseline_error"),
                row.method,
                f"{getattr(row, name):g}",
                row,
            )
            for row in means
            if getattr(row, name) is not None
        ]

    def table(name: str, show: Any) -> str:
        index = ["network", "layer", "units", "constant_rule", "method"]
        return kept.pivot(lines(name), index, "choice", lambda line: show(line.mean))

    def both(row: Any) -> str:
        return f"{100 * getattr(row, error):.2f} · {row.literals:.1f}"

    parts = [f"{about}."]
    if lines("max_literals"):
        title = "By number of literals, or of tests of a tree, at most: the error"
        parts += [title, table("max_literals", partial(kept.percent, value=error))]
    if are_held_out and lines("max_literals"):
        title = "The same on the examples that rules and trees were found on"
        parts += [title, table("max_literals", partial(kept.percent, value="error"))]
    if lines("beta"):
        parts += ["By beta: the error · the mean number of literals", table("beta", both)]
    return "\n\n".join(parts) + "\n"


def _units(row: Any) -> str:
    """Which units of a layer a row is about, and where."""
    text = f"{row.units} units" if row.which == "all" else f"{row.units} drawn units"
    if row.constant_units:
        text += f", {row.constant_units:.3g} constant"
    return text + (f", {where(row.positions)}" if row.positions else "")


def where(positions: str) -> str:
    """In words where filters are explained."""
    return {"all": "every position", "most_informative": "one position each"}[positions]


def draw_landscapes(means: Sequence[Any], path: Path) -> None:
    """A network's landscapes: a column for each activation, a row for each search and positions."""
    activations = list(dict.fromkeys(row.activation for row in means))
    means = [row for row in means if row.which == "all"]
    places = list(dict.fromkeys(row.positions for row in means if row.positions)) or [""]
    methods = list(dict.fromkeys(row.method for row in means if row.method != TREE))
    panels = [(method, place) for method in methods for place in places]
    picture, axes = plt.subplots(
        len(panels),
        len(activations),
        figsize=(5.5 * len(activations), 4 * len(panels)),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for row_axes, (method, place) in zip(axes, panels, strict=True):
        for ax, activation in zip(row_axes, activations, strict=True):
            some = [
                row
                for row in means
                if (row.method, row.activation) == (method, activation)
                and row.positions in ("", place)
            ]
            plots.plot_landscape(some, ax=ax)
            title = f"{means[0].network}, {activation}: {method}"
            ax.set_title(f"{title}, {where(place)}" if place else title)
    # Each panel set the scale that all share by its own points.
    axes[0, 0].autoscale(axis="y")
    axes[0, 0].set_ylim(bottom=0)
    picture.savefig(path, dpi=110)
    plt.close(picture)


def draw_lengths(means: Sequence[Any], path: Path) -> None:
    """Errors by number of literals: a panel for each activation, layer and positions."""
    names = list(dict.fromkeys(row[: len(_KEYS)] for row in means if row.method == TREE))
    with figure(path, len(names), columns=4) as axes:
        for ax, name in zip(axes, names, strict=True):
            some = [row for row in means if row[: len(_KEYS)] == name]
            draw_lines(ax, some, "max_literals", ["held_out_error", "error"])
            ax.plot([], [], "o-", color="gray", label="where found, not held out", **THIN)
            ax.axhline(some[0].baseline_error, color="black", linewidth=0.8, label="constant rule")
            ax.set_ylim(bottom=0)
            ax.set_xticks(sorted({row.max_literals for row in some}))
            ax.set_xlabel("literals (tests)")
            ax.set_ylabel("mean error (share of examples)")
            network, activation, layer, *_ = name
            ax.set_title(f"{network} {activation} {layer}\n{_units(some[0])}", fontsize="medium")

"""The tables and pictures of `experiments.paper`, from the rows that it keeps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

import mofn_jax as mofn
from experiments.adversarial import AdversarialRow
from experiments.kept import markdown, over_seeds, percent
from experiments.paper_layers import AS_COMPLEX, BEST, EACH, OPTIMAL_TREE, WEIGHT_ORDER, PaperRow
from experiments.published import ADVERSARIAL_RIGHT
from experiments.rivals import TREE
from mofn_jax import outputs, plots, report

_KEYS = [*PaperRow._fields[:10], "method"]
_MEASURES = ["complexity", "error", "baseline_error", "held_out_error", "held_out_baseline_error"]
_HEADS = {
    WEIGHT_ORDER: "its algorithm, on our networks",
    AS_COMPLEX: "its algorithm, no more complex on average",
    BEST: "default search, no more complex on average",
    EACH: "default search, no rule more complex",
    TREE: "decision trees, no more complex on average",
    OPTIMAL_TREE: "optimal trees, no more complex on average",
}


def write_part(workdir: Path, part: str, rows: Sequence[PaperRow]) -> str:
    """Writes the rows, table and pictures of a part, and returns the table."""
    outputs.write_text(workdir / f"{part}.csv", report.rows_to_csv(rows))
    means = over_seeds(
        rows, _KEYS, ["test_accuracy", "units", "constant_units", "seconds", *_MEASURES]
    )
    text = table([row for row in means if row.paper_error is not None or row.paper_time])
    others = [row for row in means if row.paper_error is None and not row.paper_time]
    if others:
        text += f"\nAt complexities of which the paper prints no error:\n\n{table(others)}"
    outputs.write_text(workdir / f"{part}.md", text)
    if part == "figure2":
        outputs.write_whole(workdir / "figure2.png", partial(draw_curves, means))
    return text


def table(means: Sequence[Any]) -> str:
    """A line for each of the paper's rows, from means over seeds; errors in percent."""
    methods = list(dict.fromkeys(row.method for row in means))
    lines: dict[tuple, list[Any]] = {}
    for row in means:
        lines.setdefault(row[: len(_KEYS) - 1], []).append(row)
    heads = ["network (test accuracy), layer (units)", "published", "paper", "constant rule"]
    cells = [[*heads, *(_HEADS[method] for method in methods)]]
    cells.append(["---", "---", *(["---:"] * (len(cells[0]) - 2))])
    for some in lines.values():
        first = some[0]
        by_method = {row.method: row for row in some}
        seeds = f", {first.seeds} seeds" if first.seeds > 1 else ""
        name = f"{first.dataset} {first.network} {first.activation} ({first.test_accuracy:.1%}"
        method = first.published + ("" if first.beta is None else f", beta {first.beta:g}")
        paper = _numbers(first.paper_complexity, first.paper_error)
        cells.append(
            [
                f"{name}{seeds}), {first.layer} ({first.units:.4g})",
                method,
                f"{paper} {first.paper_time and f'({first.paper_time})'}".strip() or "-",
                f"{percent(first, 'baseline_error')} ({percent(first, 'held_out_baseline_error')})",
                *(_cell(by_method[method]) for method in methods),
            ]
        )
    return (
        "Each cell: complexity · **error** in percent, on the examples the rules were found on (on "
        "held-out ones), means over the units that are not constant (± standard deviation over "
        "seeds); seconds to find the rules of all complexities, or trees of all sizes, compilation "
        f"included.\n\n{markdown(cells)}\n"
    )


def _numbers(length: float | None, error: float | None) -> str:
    parts = [] if length is None else [f"{length:.3f}"]
    return " · ".join(parts if error is None else [*parts, f"**{100 * error:.4g}**"])


def _cell(row: Any) -> str:
    text = f"{row.complexity:.3f} · **{percent(row, 'error')}** ({percent(row, 'held_out_error')})"
    return f"{text}, {row.seconds:.2g} s"


def draw_curves(means: Sequence[Any], path: Path) -> None:
    """Figure 2: of each network a panel, of each layer the paper's curve and ours."""
    panels = list(dict.fromkeys((row.network, row.activation) for row in means))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5 * len(panels), 4.5), layout="constrained", sharey=True
    )
    lines = {WEIGHT_ORDER: "o-", BEST: "s--"}
    for ax, panel in zip(axes, panels, strict=True):
        of_panel = [row for row in means if row[2:4] == panel and row.paper_error is not None]
        for i, layer in enumerate(dict.fromkeys(row.layer for row in of_panel)):
            some = [row for row in of_panel if row.layer == layer]
            style: dict[str, Any] = {"color": f"C{i}", "markersize": 4}
            paper = [row for row in some if row.method == WEIGHT_ORDER]
            xs, ys = zip(*((row.paper_complexity, row.paper_error) for row in paper), strict=True)
            ax.plot(xs, ys, "x:", label=layer, **style)
            for method, line in lines.items():
                found = [row for row in some if row.method == method]
                ax.plot([r.complexity for r in found], [r.error for r in found], line, **style)
        ax.set_title(f"{panel[0].removeprefix('Paper')}, {panel[1]}")
        ax.set_xlabel("mean complexity of the rules")
        ax.set_ylim(bottom=0)
        ax.plot([], [], "x:", color="gray", label="the paper's curve")
        ax.plot([], [], lines[WEIGHT_ORDER], color="gray", label="its algorithm, our networks")
        ax.plot([], [], lines[BEST], color="gray", label="default search")
        ax.legend(fontsize="small")
    axes[0].set_ylabel("mean error, on the examples found on")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write_filter(workdir: Path, weights, rules: Sequence[mofn.Rule]) -> None:
    """Writes Figure 1: a filter and its rules, by weight order and then by the default search.

    Args:
      workdir: where to write.
      weights: [*K, C] of the filter.
      rules: as many by either search.
    """
    outputs.write_text(workdir / "figure1.txt", "".join(f"{rule}\n" for rule in rules))
    figure = plt.figure(figsize=(8, 5), layout="constrained")
    half = len(rules) // 2
    above, below = figure.subfigures(2, 1, squeeze=False).flat
    above.supylabel("weight order", fontsize=10)
    plots.plot_filter_rules(weights, rules[:half], figure=above)
    below.supylabel("default search", fontsize=10)
    plots.plot_filter_rules(weights, rules[half:], figure=below)
    outputs.write_whole(workdir / "figure1.png", lambda path: figure.savefig(path, dpi=110))
    plt.close(figure)


def write_adversarial(workdir: Path, rows: Sequence[AdversarialRow]) -> str:
    """Writes the rows and the table of the adversarial examples, and returns the table."""
    outputs.write_text(workdir / "adversarial.csv", report.rows_to_csv(rows))
    means = over_seeds(
        rows,
        ["epsilon", "method"],
        ["examples", "fooled", "tests", "right_before", "right", "alone"],
    )
    heads = ["epsilon (fooled)", "examples", "answered by", "literals or tests"]
    heads += ["right before", "right after", "the true class's rule alone holds"]
    cells = [heads, ["---:", "---:", "---", *["---:"] * 4]]
    for row in means:
        alone = "" if row.alone != row.alone else percent(row, "alone")
        shares = (percent(row, "right_before"), f"**{percent(row, 'right')}**", alone)
        method = "default search" if row.method == BEST else row.method
        about = (f"{row.epsilon:g} ({row.fooled:.1%})", f"{row.examples:.0f}", method)
        cells.append([*about, f"{row.tests:.0f}", *shares])
    text = (
        "Shares in percent, means over seeds (± standard deviation). In the paper rules of maximal "
        f"complexity answer {ADVERSARIAL_RIGHT:.1%} of 1,000; its epsilon is not said.\n\n"
        f"{markdown(cells)}\n"
    )
    outputs.write_text(workdir / "adversarial.md", text)
    return text

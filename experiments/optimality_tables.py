"""The tables and figures of the optimality experiment, from the rows that it keeps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import kept
from experiments.curves import THIN, draw_lines, figure
from experiments.rivals import TREE
from mofn_jax import outputs, report


class GapRow(NamedTuple):
    """Means over the units of a layer that are not constant, at one beta."""

    dataset: str
    activation: str
    seed: int
    layer: str
    inputs: int
    units: int
    method: str
    beta: float
    loss: float  # error + beta * complexity
    least_loss: float  # of all rules over all sets of the literals
    optimal: float  # share of the units whose rule has the least loss


class BudgetRow(NamedTuple):
    """Means over varying units of a layer, for one method and number of literals."""

    dataset: str
    network: str
    activation: str
    seed: int
    layer: str
    inputs: int
    which: str  # "all" units that vary, or those "drawn"
    units: int
    method: str
    literals: float  # at most; tests of a tree, weights of a regression; infinity for any number
    error: float  # on the examples that all was found on
    held_out_error: float
    baseline_error: float  # of the constant rule, held out
    explained: float  # share of the units with a held-out error of at most 1%
    network_accuracy: float  # on its test examples


def write_gaps(workdir: Path, rows: Sequence[GapRow]) -> None:
    """Writes gap.csv (every layer), gap.md (means over all, printed too) and gap.png."""
    outputs.write_text(workdir / "gap.csv", report.rows_to_csv(rows))
    means = kept.over_seeds(rows, ["beta", "method"], ["loss", "optimal"])
    text = f"""Mean loss, error + beta × complexity, in percent (± standard deviation over seeds)

{kept.pivot(means, ["beta"], "method", partial(kept.percent, value="loss"))}

Units whose rule has the least loss there is, in percent

{kept.pivot(means, ["beta"], "method", partial(kept.percent, value="optimal"))}
"""
    outputs.write_text(workdir / "gap.md", text)
    print(text)
    means = kept.over_seeds(rows, ["dataset", "method", "beta"], ["loss"])
    names = list(dict.fromkeys(row.dataset for row in rows))
    with figure(workdir / "gap.png", len(names), columns=3) as axes:
        for ax, name in zip(axes, names, strict=True):
            draw_lines(ax, [row for row in means if row.dataset == name], "beta", ["loss"])
            betas = sorted({row.beta for row in rows})
            smallest = min([beta for beta in betas if beta], default=1.0)
            ax.set_xscale("symlog", linthresh=smallest)
            ax.set_xticks(betas[::2], [f"{beta:g}" for beta in betas[::2]])
            ax.minorticks_off()
            ax.set_xlim(-0.1 * smallest, 1.3 * betas[-1])
            ax.set_ylim(bottom=0)
            ax.set_title(name, fontsize="medium")
            ax.set_xlabel("beta, the price of complexity")
            ax.set_ylabel("error + beta × complexity")


def write_budgets(workdir: Path, rows: Sequence[BudgetRow]) -> None:
    """Writes budgets.csv (every network), budgets.md (means, printed too) and budgets.png."""
    outputs.write_text(workdir / "budgets.csv", report.rows_to_csv(rows))
    case = ["dataset", "network", "activation", "layer", "which"]
    means = kept.over_seeds(
        rows, [*case, "method", "literals"], ["held_out_error", "error", "explained"]
    )
    titles = {
        "held_out_error": "Mean held-out error, in percent (± standard deviation over seeds)",
        "error": "Mean error on the examples the rules and trees were found on, in percent",
        "explained": "Units with a held-out error of at most 1%, in percent",
    }
    text = "\n\n".join(
        f"{title}, by number of literals (tests, weights)\n\n"
        + kept.pivot(means, [*case, "method"], "literals", partial(kept.percent, value=value))
        for value, title in titles.items()
    )
    outputs.write_text(workdir / "budgets.md", text + "\n")
    print(text)
    names = list(dict.fromkeys(row[:5] for row in means if row.method == TREE))
    with figure(workdir / "budgets.png", len(names), columns=4) as axes:
        for ax, name in zip(axes, names, strict=True):
            some = [row for row in means if row[:5] == name and row.literals < np.inf]
            draw_lines(ax, some, "literals", ["held_out_error", "error"])
            same = [row for row in rows if (*row[:3], row.layer, row.which) == name]
            baseline = [row.baseline_error for row in same]
            any_number = [
                row.held_out_error
                for row in same
                if (row.method, row.literals) == ("weight order", np.inf)
            ]
            ax.axhline(
                float(np.mean(any_number)),
                color="C0",
                linestyle=":",
                linewidth=0.8,
                label="weight order, any number",
            )
            ax.plot([], [], "o-", color="gray", label="where found, not held out", **THIN)
            ax.axhline(
                float(np.mean(baseline)), color="black", linewidth=0.8, label="constant rule"
            )
            ax.set_ylim(bottom=0)
            ax.set_xscale("log")
            budgets = sorted({row.literals for row in some})
            ax.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
            ax.minorticks_off()
            *case, layer, which = name
            number = f", {same[0].units} units" if which == "drawn" else ""
            ax.set_title(f"{' '.join(case)}\n{layer}{number}", fontsize="medium")
            ax.set_xlabel("literals (tests, weights)")
            ax.set_ylabel("mean error (share of examples)")

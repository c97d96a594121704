"""How far from the best: the paper's weight order, our searches, and decision trees.

    python -m experiments.optimality --datasets=digits,fashion_mnist --seeds=0,1,2

Two questions, each answered by a table and a figure in the working directory:

* gap: on small networks, whose layers have so few inputs that all sets of literals can be scored:
  how much larger than the least there is, is the loss `error + beta * complexity` of the rules of
  weight order and of stepwise search?
* budgets: on softmax layers: how wrong are rules of at most 1, 2, 3, 5, 10, 20 literals, by each
  search, and decision trees with as many tests, on the examples they were found on and on others?

Networks are trained once and kept; what is done is not done again.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from absl import flags
from matplotlib.axes import Axes
from sklearn.tree import DecisionTreeClassifier
from tqdm import tqdm

import mofn_jax as mofn
from experiments import command_line, kept, trained
from mofn_jax import outputs, report
from mofn_jax.search.all_sets import all_sets_fit

TABLES = ("monks-1", "monks-2", "monks-3", "mofn-3-7-10", "breast_cancer", "wine")
TREE = "decision tree"
_EXPLAINED = 0.01  # the held-out error up to which a unit counts as explained
_LINES = {"weight order": "o:", "exact": "s-.", "stepwise": "^--", "best": "D-", TREE: "x-"}
_THICK: dict[str, Any] = {"markersize": 4, "linewidth": 1.2}
_THIN: dict[str, Any] = {"markersize": 2.5, "linewidth": 0.5, "markerfacecolor": "white"}


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
    """Means over a softmax layer's varying units, for one method and number of literals."""

    dataset: str
    network: str
    activation: str
    seed: int
    method: str
    literals: int  # at most; of a tree, its tests
    error: float  # on the examples that rules and trees were found on
    held_out_error: float
    baseline_error: float  # of the constant rule, held out
    explained: float  # share of the units with a held-out error of at most 1%
    network_accuracy: float  # on its test examples


def define_flags(values: flags.FlagValues) -> None:
    define_list = partial(command_line.define_list, values)
    define_list("tables", TABLES, "Datasets for the gap; may be empty.")
    define_list("datasets", ["digits", "fashion_mnist"], "For the budgets; may be empty.")
    define_list("betas", mofn.DEFAULT_BETAS, "Of the gap.")
    define_list("budgets", [1, 2, 3, 5, 10, 20], "Numbers of literals.")
    flags.DEFINE_integer(
        "num_examples", 10_000, "Training examples to find rules on.", 1, flag_values=values
    )
    flags.DEFINE_string("workdir", "runs/optimality", "Where to write.", flag_values=values)
    trained.define_flags(values, networks=["CNN", "Autoencoder"], seeds=[0, 1, 2])


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    betas = command_line.numbers("betas", options.betas)
    budgets = command_line.numbers("budgets", options.budgets, int)
    seeds = command_line.numbers("seeds", options.seeds, int)
    workdir = Path(options.workdir)
    which = ("tables", "datasets", "networks", "activations", "seeds", "data_dir", "trained")
    kept.open_folder(workdir, options, may_differ=which)

    def rows_of(kind: str, make: Callable, row: type, datasets: Sequence[str], networks) -> list:
        rows = []
        cases = [
            case
            for dataset in datasets
            for case in trained.cases(dataset, networks, options.activations, seeds)
        ]
        for case in tqdm(cases, unit="network", desc=kind):
            path = workdir / "cases" / f"{kind}-{trained.name(case, options)}.json"
            rows += kept.kept_rows(path, row, partial(make, case, options))
        return rows

    gaps = rows_of("gap", partial(gap_rows, betas), GapRow, options.tables, ["SmallMLP"])
    if gaps:
        write_gaps(workdir, gaps)
    errors = rows_of(
        "budgets", partial(budget_rows, budgets), BudgetRow, options.datasets, options.networks
    )
    if errors:
        write_budgets(workdir, errors)
    print(f"tables and figures are in {workdir}")


def gap_rows(
    betas: Sequence[float], case: trained.Case, options: flags.FlagValues
) -> Iterator[GapRow]:
    """The rows of every layer of a network that has few enough inputs for all their sets."""
    network, params, dataset, _ = trained.train_or_restore(case, options)
    for layer in mofn.capture_layers(network, params, dataset.train.inputs[: options.num_examples]):
        num_inputs = len(layer.weights)
        if not all_sets_fit(num_inputs, free=False):
            continue
        targets, _ = mofn.layer_targets(layer, None)
        varies = targets.any(0) & ~targets.all(0)
        if not varies.any():
            continue
        arrays = layer.weights[:, varies], layer.inputs, targets[:, varies]
        fronts = {
            "weight order": mofn.extract_layer(*arrays, search="weight_order"),
            "stepwise": mofn.extract_layer(*arrays, search="stepwise", polish_literals=16),
            "exact": mofn.extract_layer(*arrays, search="exact"),
        }
        for beta in betas:
            losses = {method: unit_losses(front, beta) for method, front in fronts.items()}
            least = losses["exact"]
            for method, loss in losses.items():
                yield GapRow(
                    dataset=case.dataset,
                    activation=case.activation,
                    seed=case.seed,
                    layer=layer.name,
                    inputs=num_inputs,
                    units=int(varies.sum()),
                    method=method,
                    beta=beta,
                    loss=loss.mean(),
                    least_loss=least.mean(),
                    optimal=float((loss <= least + 1e-12).mean()),
                )


def unit_losses(front: mofn.RuleFront, beta: float) -> np.ndarray:
    """The least loss of each unit at this beta: [u]."""
    return np.array(
        [c.errors / front.num_examples + beta * c.complexity for c in mofn.select(front, beta)]
    )


def budget_rows(
    budgets: Sequence[int], case: trained.Case, options: flags.FlagValues
) -> Iterator[BudgetRow]:
    """The rows of a network's softmax layer."""
    network, params, dataset, accuracy = trained.train_or_restore(case, options)

    def capture(inputs: np.ndarray) -> tuple[mofn.Layer, np.ndarray]:
        (layer,) = mofn.capture_layers(network, params, inputs, layers=["softmax"])
        return layer, mofn.softmax_targets(layer.predictions, dataset.num_classes)

    layer, targets = capture(dataset.train.inputs[: options.num_examples])
    held_out, held_out_targets = capture(dataset.test.inputs)
    varies = targets.any(0) & ~targets.all(0)
    targets, held_out_targets = targets[:, varies], held_out_targets[:, varies]
    on = held_out_targets.mean(0)

    fronts = {
        method: mofn.extract_layer(layer.weights[:, varies], layer.inputs, targets, search=search)
        for method, search in (
            ("weight order", "weight_order"),
            ("exact", "exact"),
            ("stepwise", "stepwise"),
            ("best", "best"),
        )
    }
    for budget in budgets:
        says = {}
        for method, front in fronts.items():
            if method == "exact" and budget > front.proven_literals:
                continue
            rules = mofn.select_rules(front, max_literals=budget)
            says[method] = [mofn.evaluate_rules(rules, x.inputs) for x in (layer, held_out)]
        trees = [
            DecisionTreeClassifier(max_leaf_nodes=budget + 1, random_state=0).fit(layer.inputs, y)
            for y in targets.T
        ]
        says[TREE] = [
            np.stack([tree.predict(x.inputs) for tree in trees], axis=1) for x in (layer, held_out)
        ]
        for method, (found_on, others) in says.items():
            held_out_errors = (others != held_out_targets).mean(0)
            yield BudgetRow(
                *case,
                method=method,
                literals=budget,
                error=float((found_on != targets).mean()),
                held_out_error=float(held_out_errors.mean()),
                baseline_error=float(np.minimum(on, 1 - on).mean()),
                explained=float((held_out_errors <= _EXPLAINED).mean()),
                network_accuracy=accuracy,
            )


def write_gaps(workdir: Path, rows: Sequence[GapRow]) -> None:
    """Writes gap.csv (every layer), gap.md (means over all, printed too) and gap.png."""
    outputs.write_text(workdir / "gap.csv", report.rows_to_csv(rows))
    means = kept.over_seeds(rows, ["beta", "method"], ["loss", "optimal"])
    text = f"""Mean loss, error + beta × complexity, in percent (± standard deviation over seeds)

{kept.pivot(means, ["beta"], "method", "loss")}

Units whose rule has the least loss there is, in percent

{kept.pivot(means, ["beta"], "method", "optimal")}
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
    network = ["dataset", "network", "activation"]
    means = kept.over_seeds(
        rows, [*network, "method", "literals"], ["held_out_error", "error", "explained"]
    )
    titles = {
        "held_out_error": "Mean held-out error, in percent (± standard deviation over seeds)",
        "error": "Mean error on the examples the rules and trees were found on, in percent",
        "explained": "Units with a held-out error of at most 1%, in percent",
    }
    text = "\n\n".join(
        f"{title}, by number of literals (tests)\n\n"
        + kept.pivot(means, [*network, "method"], "literals", value)
        for value, title in titles.items()
    )
    outputs.write_text(workdir / "budgets.md", text + "\n")
    print(text)
    names = list(dict.fromkeys(row[:3] for row in means))
    with figure(workdir / "budgets.png", len(names), columns=4) as axes:
        for ax, name in zip(axes, names, strict=True):
            some = [row for row in means if row[:3] == name]
            draw_lines(ax, some, "literals", ["held_out_error", "error"])
            baseline = [row.baseline_error for row in rows if row[:3] == name]
            ax.plot([], [], "o-", color="gray", label="where found, not held out", **_THIN)
            ax.axhline(
                float(np.mean(baseline)), color="black", linewidth=0.8, label="constant rule"
            )
            ax.set_ylim(bottom=0)
            ax.set_xscale("log")
            budgets = sorted({row.literals for row in some})
            ax.set_xticks(budgets, map(str, budgets))
            ax.minorticks_off()
            ax.set_title(" ".join(name), fontsize="medium")
            ax.set_xlabel("literals (tests of a tree)")
            ax.set_ylabel("mean error (share of examples)")


@contextmanager
def figure(path: Path, num_panels: int, *, columns: int) -> Iterator[list[Axes]]:
    """Axes to draw on, with one legend, saved at the end."""
    columns = min(columns, num_panels)
    rows = -(-num_panels // columns)
    picture, axes = plt.subplots(
        rows,
        columns,
        figsize=(3.2 * columns, 2.9 * rows + 0.5),
        layout="constrained",
        squeeze=False,
    )
    used = list(axes.flat)[:num_panels]
    for ax in list(axes.flat)[num_panels:]:
        ax.remove()
    yield used
    handles = used[0].get_legend_handles_labels()
    picture.legend(*handles, loc="outside lower center", ncols=4, fontsize="small")
    outputs.write_whole(path, lambda temporary: picture.savefig(temporary, dpi=150))
    plt.close(picture)


def draw_lines(ax: Axes, means: Sequence[Any], x: str, values: Sequence[str]) -> None:
    """A line of the first value for each method, and thin ones, markers hollow, of the others."""
    for i, method in enumerate(_LINES):
        some = [row for row in means if row.method == method]
        for value in values:
            is_first = value == values[0]
            ax.plot(
                [getattr(row, x) for row in some],
                [getattr(row, value) for row in some],
                _LINES[method],
                color=f"C{i}",
                label=method if is_first and some else None,
                **(_THICK if is_first else _THIN),
            )


if __name__ == "__main__":
    command_line.run(main)

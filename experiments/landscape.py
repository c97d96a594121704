"""The paper's experiment: which layers of which networks do M-of-N rules explain?

    python -m experiments.landscape --dataset=fashion_mnist --seeds=0,1,2

Trains each network, or takes it up where it was trained before; extracts the rules of every layer
by the paper's search and by ours, on training examples; measures them on all test examples. The
working directory receives the rules of every layer, landscape.csv (a row for each network, layer,
search and beta or number of literals), landscape.md (means over seeds at some betas, and by number
of literals), softmax_rules.txt (those of the first seed) and, of each network, the extraction
landscapes. What is done is not done again: a run that was stopped goes on where it was. The tables
hold the networks that this run was asked for. The working directory takes one run at a time.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from absl import flags
from tqdm import tqdm

import mofn_jax as mofn
from experiments import command_line, kept, trained
from mofn_jax import checks, outputs, plots, report


class LandscapeRow(NamedTuple):
    """A layer at one beta or number of literals, as in `report.LayerRow`."""

    dataset: str
    network: str
    activation: str
    seed: int
    test_accuracy: float  # of the network
    search: str
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


def define_flags(values: flags.FlagValues) -> None:
    define_list = partial(command_line.define_list, values)
    flags.DEFINE_string(
        "dataset", "fashion_mnist", "A name load_dataset knows.", flag_values=values
    )
    define_list(
        "searches",
        ["weight_order", "best"],
        "How to search.",
        known=mofn.SEARCHES,
        may_be_empty=False,
    )
    define_list("betas", mofn.DEFAULT_BETAS, "Prices of complexity.")
    define_list("lengths", [3, 10, 40], "Numbers of literals, at most.")
    define_list("shown_betas", [0.01, 1], "Those of the printed table and rules.")
    define_list(
        "layers",
        None,
        "The layers to do, beside those done before; by default all.",
        may_be_empty=False,
    )
    flags.DEFINE_integer(
        "num_examples", 10_000, "Training examples to find rules on.", 1, flag_values=values
    )
    command_line.define_positions(values)
    command_line.define_folder(values, "workdir", "runs/landscape", "Where to write.")
    trained.define_flags(values, networks=["CNN", "VGG", "Autoencoder", "MLP"], seeds=[0])


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    command_line.use_compilation_cache(options)
    chosen = {**command_line.choices(options), "positions": options.positions}
    shown = command_line.numbers("shown_betas", options.shown_betas)
    seeds = command_line.seeds(options)
    cases = trained.cases(options.dataset, options.networks, options.activations, seeds)
    workdir = Path(options.workdir).expanduser()
    which = ["networks", "activations", "seeds", "searches", "layers", "shown_betas"]
    kept.check_folder(workdir, options, may_differ=which)
    if not options["shown_betas"].using_default_value:
        for beta in shown:
            checks.known("shown_betas", beta, chosen["betas"])
    shown = [beta for beta in shown if beta in chosen["betas"]] or chosen["betas"]
    trained.check_layers(options.layers, cases, options)
    with kept.alone_in(workdir):
        kept.open_folder(workdir, options, may_differ=which)
        make_landscape(workdir, options, cases, chosen, shown)
    print((workdir / "landscape.md").read_text(encoding="utf-8"))
    print(f"tables, rules and pictures are in {workdir}")


def make_landscape(
    workdir: Path,
    options: flags.FlagValues,
    cases: Sequence[trained.Case],
    chosen: dict[str, Any],
    shown: Sequence[float],
) -> None:
    """Does what is not done yet, and writes all tables, rules and pictures anew after each network.

    Args:
      workdir: where to write.
      options: of the script.
      cases: the networks.
      chosen: betas, lengths and positions.
      shown: the betas of the printed table and rules.
    """
    rows: list[LandscapeRow] = []
    softmax_rules = ""
    for case in tqdm(cases, unit="network"):
        folder = workdir / "cases" / trained.name(case, options)
        rows += case_rows(case, options, chosen, folder)
        if rows:
            write_landscape(workdir, rows, shown)
        if case.seed == cases[0].seed:
            choices: list[Choice] = [(beta, None) for beta in shown]
            choices += [(None, length) for length in chosen["lengths"]]
            softmax_rules += rules_of_softmax(folder, options.searches, choices)
            outputs.write_text(workdir / "softmax_rules.txt", softmax_rules)


def case_rows(
    case: trained.Case, options: flags.FlagValues, choices: dict[str, Any], folder: Path
) -> Iterator[LandscapeRow]:
    """The rows of every layer of a network, with each search."""
    network, params, dataset, accuracy = trained.train_or_restore(case, options)
    inputs = trained.sides(dataset, options.num_examples)
    for name in mofn.layer_names(network, params, inputs[0]):
        paths = {search: folder / f"{name}-{search}.json" for search in options.searches}
        sides: list[mofn.Layer] = []
        if not all(path.exists() for path in paths.values()):
            if options.layers is not None and name not in options.layers:
                continue
            for side in inputs:
                if side is not None:
                    sides.extend(mofn.capture_layers(network, params, side, layers=[name]))
        for search, path in paths.items():
            explain = partial(explain_rows, case, accuracy, sides, search, choices, path)
            yield from kept.kept_rows(path, LandscapeRow, explain)


def explain_rows(
    case: trained.Case,
    accuracy: float,
    sides: Sequence[mofn.Layer],
    search: str,
    choices: dict[str, Any],
    path: Path,
) -> Iterator[LandscapeRow]:
    """The rows of a layer, captured on examples and on held-out ones, if any; writes its rules."""
    layer, *others = sides
    with tqdm(total=layer.weights.shape[-1], unit="unit", leave=False) as bar:
        bar.set_description(f"{case} {layer.name} {search}")
        result = mofn.explain_layer(
            layer,
            held_out=others[0] if others else None,
            **choices,
            search=search,
            progress=bar.update,
        )
    groups = [*result.rules.values(), *result.by_length.values()]
    rules = [rule for group in groups for rule in group]
    outputs.write_text(path.with_suffix(".rules.json"), mofn.rules_to_json(rules))
    for row in report.layer_rows(result):
        yield LandscapeRow(*case, test_accuracy=accuracy, search=search, **row._asdict())


Choice = tuple[float | None, int | None]  # a beta, or the most literals


def name_of(choice: Choice) -> str:
    beta, length = choice
    return f"beta {beta:g}" if length is None else f"{length} literals"


def rules_of_softmax(folder: Path, searches: Sequence[str], choices: Sequence[Choice]) -> str:
    """The softmax rules kept in a network's folder, under a line for each search and choice."""
    text = ""
    for search in searches:
        path = folder / f"softmax-{search}.rules.json"
        try:
            rules = mofn.rules_from_json(path.read_text(encoding="utf-8")) if path.exists() else ()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        for choice in choices:
            lines = [f"{rule}\n" for rule in rules if (rule.beta, rule.max_literals) == choice]
            if lines:
                text += f"{folder.name}, {search}, {name_of(choice)}\n{''.join(lines)}\n"
    return text


def write_landscape(workdir: Path, rows: Sequence[LandscapeRow], shown: Sequence[float]) -> None:
    """Writes landscape.csv, landscape.md and a picture of each network."""
    outputs.write_text(workdir / "landscape.csv", report.rows_to_csv(rows))
    keys = ["network", "activation", "layer", "kind", "inputs", "units", "search"]
    keys += ["beta", "max_literals"]
    measures = ["error", "held_out_error", "baseline_error", "skill", "complexity", "literals"]
    means = kept.over_seeds(rows, keys, ["test_accuracy", "constant_units", *measures])
    outputs.write_text(
        workdir / "landscape.md", table([r for r in means if r.beta is None or r.beta in shown])
    )
    for network in dict.fromkeys(row.network for row in rows):
        some = [row for row in means if row.network == network]
        outputs.write_whole(workdir / f"{network}.png", partial(draw_network, some))


def table(means: Sequence[Any]) -> str:
    """Means over seeds as a Markdown table: a line for each layer, a column a search and choice."""
    columns = list(dict.fromkeys((row.search, (row.beta, row.max_literals)) for row in means))
    lines: dict[tuple, dict[tuple, str]] = {}
    are_held_out = any(row.held_out_error == row.held_out_error for row in means)
    for row in means:
        key = (
            f"{row.network} {row.activation} ({row.test_accuracy:.1%})",
            f"{row.layer} ({row.inputs} → {row.units})",
            f"{row.constant_units:.3g}",
            str(row.seeds),
            f"{row.baseline_error:.1%}",
        )
        lines.setdefault(key, {})[row.search, (row.beta, row.max_literals)] = (
            f"**{row.held_out_error if are_held_out else row.error:.1%}** · {row.skill:.2f} · "
            f"{row.literals:.1f} · {row.complexity:.3f}"
        )
    heads = [f"{search}, {name_of(choice)}" for search, choice in columns]
    first = [
        f"network ({'test ' * are_held_out}accuracy)",
        "layer (inputs → units)",
        "constant units",
        "seeds",
    ]
    table = [[*first, "constant rule", *heads]]
    table += [["---"] * len(table[0])]
    table += [[*key, *(line.get(c, "") for c in columns)] for key, line in lines.items()]
    error = "held-out error" if are_held_out else "error on the whole table, where they were found"
    return (
        f"Each cell: **{error}** · skill · literals · complexity, means over the units that "
        "are not constant, then over seeds.\n\n" + kept.markdown(table) + "\n"
    )


def draw_network(means: Sequence[Any], path: Path) -> None:
    """A network's landscapes: a column for each activation, a row for each search."""
    searches = list(dict.fromkeys(row.search for row in means))
    activations = list(dict.fromkeys(row.activation for row in means))
    figure, axes = plt.subplots(
        len(searches),
        len(activations),
        figsize=(5.5 * len(activations), 4 * len(searches)),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for row_axes, search in zip(axes, searches, strict=True):
        for ax, activation in zip(row_axes, activations, strict=True):
            some = [row for row in means if (row.search, row.activation) == (search, activation)]
            plots.plot_landscape(some, ax=ax)
            ax.set_title(f"{means[0].network}, {activation}: {search.replace('_', ' ')}")
    # Each panel set the scale that all share by its own points.
    axes[0, 0].autoscale(axis="y")
    axes[0, 0].set_ylim(bottom=0)
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    command_line.run(main)

"""The paper's experiment: which layers of which networks do M-of-N rules explain?

    python -m experiments.landscape --dataset=fashion_mnist --seeds=0,1,2

Trains each network, or takes it up where it was trained before; extracts the rules of every layer
by the paper's search and by ours, on training examples; grows decision trees of as many tests as
rules have literals; measures all on all test examples. Filters of convolutions are explained at
every position, and each at its most informative one, as in the paper. Of layers of more than 1,024
inputs trees are grown for 8 units drawn by the seed, whose rules have rows of their own.

The working directory receives the rules of every layer, landscape.csv (a row for each network,
layer, method and beta or number of literals), landscape.md (means over seeds), softmax_rules.txt
(those of the first seed) and, of each network, the extraction landscapes and the errors by number
of literals. What is done is not done again: a run that was stopped goes on where it was. The tables
hold the networks that this run was asked for. The working directory takes one run at a time.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from tqdm import tqdm

import mofn_jax as mofn
from experiments import command_line, kept, trained
from experiments.landscape_tables import LandscapeRow, write_landscape
from experiments.rivals import TREE, draw_units, each_unit, grown_trees
from mofn_jax import checks, outputs, report
from mofn_jax.complexity import dnf_complexity
from mofn_jax.sites import (
    POSITIONS,
    Batches,
    has_positions,
    layer_targets,
    look_at,
    runs_of_units,
    unit_inputs,
)


def define_flags(values: flags.FlagValues) -> None:
    define_list = partial(command_line.define_list, values)
    flags.DEFINE_string(
        "dataset",
        "fashion_mnist",
        "The dataset to learn, by a name that load_dataset knows.",
        flag_values=values,
    )
    define_list(
        "searches",
        ["weight_order", "best"],
        "How rules are searched for, each search beside the others.",
        known=mofn.SEARCHES,
        may_be_empty=False,
    )
    command_line.define_choices(values, lengths=[3, 10, 20, 40, 60])
    define_list("shown_betas", [0.01, 1], "Betas whose softmax rules are written out.")
    define_list(
        "layers",
        None,
        "The layers to do, beside those done before; all by default.",
        may_be_empty=False,
    )
    flags.DEFINE_integer(
        "num_examples",
        10_000,
        "How many training examples rules are found on.",
        1,
        flag_values=values,
    )
    define_list(
        "positions",
        POSITIONS,
        "Where filters are explained: at every position, each at the one that tells most, or both.",
        known=POSITIONS,
        may_be_empty=False,
    )
    command_line.define_folder(
        values, "workdir", "runs/landscape", "The folder to write to, and to take up again."
    )
    trained.define_flags(values, networks=["CNN", "VGG", "Autoencoder", "MLP"], seeds=[0])


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    command_line.use_compilation_cache(options)
    chosen = command_line.choices(options)
    shown = command_line.numbers("shown_betas", options.shown_betas)
    seeds = command_line.seeds(options)
    cases = trained.cases(options.dataset, options.networks, options.activations, seeds)
    workdir = Path(options.workdir).expanduser()
    which = ["networks", "activations", "seeds", "searches", "layers", "positions", "shown_betas"]
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
      chosen: betas and lengths.
      shown: the betas of the softmax rules that are written out.
    """
    rows: list[LandscapeRow] = []
    softmax_rules = ""
    for case in tqdm(cases, unit="network"):
        folder = workdir / "cases" / trained.name(case, options)
        rows += case_rows(case, options, chosen, folder)
        if rows:
            write_landscape(workdir, rows)
        if case.seed == cases[0].seed:
            choices: list[Choice] = [(beta, None) for beta in shown]
            choices += [(None, length) for length in chosen["lengths"]]
            softmax_rules += rules_of_softmax(folder, options.searches, choices)
            outputs.write_text(workdir / "softmax_rules.txt", softmax_rules)


def case_rows(
    case: trained.Case, options: flags.FlagValues, choices: dict[str, Any], folder: Path
) -> Iterator[LandscapeRow]:
    """The rows of every layer of a network, by each method, of filters at each of the positions."""
    network, params, dataset, accuracy = trained.train_or_restore(case, options)
    inputs = trained.sides(dataset, options.num_examples)
    methods = [*options.searches, *([TREE] if choices["lengths"] else [])]
    for seen in mofn.capture_layers(network, params, inputs[0][:2]):
        paths: dict[tuple[str, str], Path] = {}
        for place in options.positions if has_positions(seen) else [""]:
            for method in methods:
                parts = filter(None, (seen.name, place, method.replace(" ", "_")))
                paths[place, method] = folder / f"{'-'.join(parts)}.json"
        sides: list[mofn.Layer] = []
        if not all(path.exists() for path in paths.values()):
            if options.layers is not None and seen.name not in options.layers:
                continue
            for side in inputs:
                if side is not None:
                    sides.extend(
                        mofn.capture_layers(
                            network, params, side, layers=[seen.name], names=dataset.names
                        )
                    )
        for (place, method), path in paths.items():
            explain = partial(explain_rows, case, accuracy, sides, place, method, choices, path)
            yield from kept.kept_rows(path, LandscapeRow, explain)


def explain_rows(
    case: trained.Case,
    accuracy: float,
    sides: Sequence[mofn.Layer],
    positions: str,
    method: str,
    choices: dict[str, Any],
    path: Path,
) -> Iterator[LandscapeRow]:
    """The rows of a layer, captured on examples and on held-out ones, if any; writes its rules."""
    layer, *others = sides
    held_out = others[0] if others else None
    if method == TREE:
        made = rows_of_trees(layer, held_out, positions or "all", choices["lengths"], case.seed)
    else:
        with tqdm(total=layer.weights.shape[-1], unit="unit", leave=False) as bar:
            bar.set_description(f"{case} {layer.name} {positions} {method}")
            result = mofn.explain_layer(
                layer,
                held_out=held_out,
                positions=positions or "all",
                **choices,
                search=method,
                progress=bar.update,
            )
        groups = result.choices
        rules = [rule for group in groups for rule in group]
        outputs.write_text(path.with_suffix(".rules.json"), mofn.rules_to_json(rules))
        made = rows_of_rules(result, case.seed)
    kept_fields = LandscapeRow._fields
    for which, row in made:
        yield LandscapeRow(
            *case,
            test_accuracy=accuracy,
            method=method.replace("_", " "),
            positions=positions,
            which=which,
            **{name: value for name, value in row._asdict().items() if name in kept_fields},
        )


def rows_of_rules(result: mofn.LayerRules, seed: int) -> Iterator[tuple[str, report.LayerRow]]:
    """The rows of all units of a layer and, if not all of them have trees, of those that have."""
    front = result.front
    varying = np.flatnonzero((front.on_counts > 0) & (front.on_counts < front.num_examples))
    drawn = varying[draw_units(len(varying), front.num_inputs, seed)]
    yield from (("all", row) for row in report.layer_rows(result))
    if len(drawn) < len(varying):

        def some(choices: dict[Any, tuple[mofn.Rule, ...]]) -> dict[Any, tuple[mofn.Rule, ...]]:
            return {key: tuple(rules[unit] for unit in drawn) for key, rules in choices.items()}

        part = result._replace(
            constant_units=0,
            front=front._replace(
                units=tuple(front.units[unit] for unit in drawn), on_counts=front.on_counts[drawn]
            ),
            rules=some(result.rules),
            by_length=some(result.by_length),
        )
        yield from (("drawn", row) for row in report.layer_rows(part))


def rows_of_trees(
    layer: mofn.Layer,
    held_out: mofn.Layer | None,
    positions: str,
    sizes: Sequence[int],
    seed: int,
) -> Iterator[tuple[str, report.LayerRow]]:
    """How well trees explain all units of a layer, or those drawn: a row for each size."""
    others = None if held_out is None else Batches.of(held_out)
    sited = look_at(Batches.of(layer), others, positions=positions)
    sides = [sited.layer, sited.layer if sited.held_out is None else sited.held_out]
    targets = [layer_targets(side, sited.places, sited.thresholds)[0] for side in sides]
    varying = np.flatnonzero(targets[0].any(0) & ~targets[0].all(0))
    runs = runs_of_units(sited.layer, sited.places)
    num_inputs, num_units = math.prod(layer.weights.shape[:-1]), layer.weights.shape[-1]
    drawn = varying[draw_units(len(varying), num_inputs, seed)]

    def measures(unit: int) -> list[tuple[float, ...]]:
        """Of each tree tests, complexity, error, held-out error and that of the constant rule."""
        run = next(run for run in runs if run.start <= unit < run.stop)
        inputs = [unit_inputs(side, sited.places, run) for side in sides]
        target, other_target = (side[:, unit] for side in targets)
        on = other_target.mean()
        return [
            (
                tree.tests,
                float(dnf_complexity(tree.length, num_inputs)),
                (tree.says != target).mean(),
                (tree.held_out_says != other_target).mean(),
                min(on, 1 - on),
            )
            for tree in grown_trees(sizes, inputs[0], target, inputs[1])
        ]

    of_units = np.reshape(each_unit(measures, drawn), (-1, len(sizes), 5))
    are_all = len(drawn) == len(varying)
    for size, of_size in zip(sizes, of_units.swapaxes(0, 1), strict=True):
        tests, lengths, errors, other_errors, baselines = of_size.T
        varies = baselines > 0
        row = report.LayerRow(
            layer=layer.name,
            kind=layer.kind,
            inputs=num_inputs,
            units=num_units if are_all else len(drawn),
            constant_units=num_units - len(varying) if are_all else 0,
            proven_literals=0,
            beta=None,
            max_literals=size,
            error=mean(errors),
            held_out_error=float("nan") if held_out is None else mean(other_errors),
            baseline_error=mean(baselines),
            skill=mean(1 - other_errors[varies] / baselines[varies]),
            complexity=mean(lengths),
            literals=mean(tests),
        )
        yield "all" if are_all else "drawn", row


def mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


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


if __name__ == "__main__":
    command_line.run(main)

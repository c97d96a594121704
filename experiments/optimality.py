"""How far from the best: the paper's weight order, our searches, trees and linear models.

    python -m experiments.optimality --datasets=digits,fashion_mnist --seeds=0,1,2

Two questions, each answered by a table and a figure in the working directory:

* gap: on small networks, whose layers have so few inputs that all sets of literals can be scored:
  how much larger than the least there is, is the loss `error + beta * complexity` of the rules of
  weight order and of stepwise search?
* budgets: on softmax layers, or other dense ones: how wrong are rules of at most 1, 2, 3, 5, 10,
  20, 40, 60, 100 literals, by each search, decision trees with as many tests, and logistic
  regressions with as many of the same literals, on the examples they were found on and on others?
  Of layers of more than 1,024 inputs trees and regressions are made of 8 units drawn by the seed.

Networks are trained once and kept; what is done is not done again.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

import mofn_jax as mofn
from experiments import command_line, kept, trained
from experiments.optimality_tables import BudgetRow, GapRow, write_budgets, write_gaps
from experiments.progress import UnitBar
from experiments.rivals import LINEAR, TREE, Side, draw_units, rivals_of_units
from mofn_jax.fronts import merge_fronts
from mofn_jax.literals import Literals
from mofn_jax.search.all_sets import all_sets_fit

TABLES = ("monks-1", "monks-2", "monks-3", "mofn-3-7-10", "breast_cancer", "wine")
_EXPLAINED = 0.01  # the held-out error up to which a unit counts as explained


def define_flags(values: flags.FlagValues) -> None:
    define_list = partial(command_line.define_list, values)
    define_list(
        "tables",
        TABLES,
        "The datasets on which the gap to the best rules is measured; may be empty.",
    )
    define_list(
        "datasets",
        ["digits", "fashion_mnist"],
        "The datasets on which rules of as many literals are compared; may be empty.",
    )
    define_list("betas", mofn.DEFAULT_BETAS, "Prices of complexity at which the gap is measured.")
    define_list(
        "budgets",
        [1, 2, 3, 5, 10, 20, 40, 60, 100],
        "Numbers of literals at which errors are compared.",
    )
    define_list(
        "layers",
        ["softmax"],
        "The dense layers on which rules of as many literals are compared.",
        may_be_empty=False,
    )
    flags.DEFINE_integer(
        "num_examples",
        10_000,
        "How many training examples rules are found on.",
        1,
        flag_values=values,
    )
    command_line.define_folder(
        values, "workdir", "runs/optimality", "The folder to write to, and to take up again."
    )
    trained.define_flags(values, networks=["CNN", "Autoencoder"], seeds=[0, 1, 2])


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    command_line.use_compilation_cache(options)
    betas = command_line.numbers("betas", options.betas)
    budgets = command_line.numbers("budgets", options.budgets, int, least=1)
    seeds = command_line.seeds(options)
    check_cases(options, betas, budgets, seeds)
    workdir = Path(options.workdir).expanduser()
    with kept.alone_in(workdir):
        which = ("tables", "datasets", "networks", "activations", "seeds", "layers")
        kept.open_folder(workdir, options, may_differ=which)
        answer_questions(workdir, options, betas, budgets, seeds)
    print(f"tables and figures are in {workdir}")


def check_cases(
    options: flags.FlagValues, betas: Sequence[float], budgets: Sequence[int], seeds: Sequence[int]
) -> None:
    """Asks, before anything is trained, that there is something to do, and that it can be done.

    Raises:
      flags.Error: nothing to do, a network that does not take a dataset, a dataset without held-out
        examples, or layers that no network has or that are not dense.
    """
    gap = options.tables and betas
    networks = options.networks if options.datasets and budgets else []
    if not seeds or not options.activations or not (gap or networks):
        raise flags.Error(
            "nothing to do: no seeds or activations, and neither tables with betas nor datasets "
            "with networks and budgets"
        )
    for name in options.tables if gap else []:
        trained.load(name, options.data_dir, seeds[0])
    cases = [
        trained.Case(name, network, options.activations[0], seeds[0])
        for name in options.datasets
        for network in networks
    ]
    if cases:
        trained.check_layers(options.layers, cases, options)
    for case in cases:
        dataset = trained.load(case.dataset, options.data_dir, case.seed)
        if trained.sides(dataset, options.num_examples)[1] is None:
            raise flags.Error(
                f"datasets: {case.dataset} is one table, with no examples to hold out"
            )
        network, some = trained.make_network(*case[1:3], dataset), dataset.train.inputs[:2]
        params = trained.before_training(network, some)
        wanted = set(options.layers) & set(mofn.layer_names(network, params, some))
        for layer in mofn.capture_layers(network, params, some, layers=sorted(wanted)):
            if layer.kind == "conv":
                raise flags.Error(f"layers: {layer.name} of {case.network} is not a dense layer")


def answer_questions(
    workdir: Path,
    options: flags.FlagValues,
    betas: Sequence[float],
    budgets: Sequence[int],
    seeds: Sequence[int],
) -> None:
    """Does what is not done yet, and writes the tables and figures."""

    def cases(kind: str, datasets: Sequence[str], networks: Sequence[str]) -> tqdm:
        each = [trained.cases(one, networks, options.activations, seeds) for one in datasets]
        return tqdm([*chain(*each)], unit="network", desc=kind)

    def path(kind: str, case: trained.Case, end: str = "") -> Path:
        return workdir / "cases" / f"{kind}-{trained.name(case, options)}{end}.json"

    gaps: list[GapRow] = []
    for case in cases("gap", options.tables if betas else [], ["SmallMLP"]):
        make = partial(gap_rows, betas, case, options)
        gaps += kept.kept_rows(path("gap", case), GapRow, make)
    if gaps:
        write_gaps(workdir, gaps)
    errors: list[BudgetRow] = []
    for case in cases("budgets", options.datasets if budgets else [], options.networks):
        for layer in options.layers:
            rows = partial(budget_rows, budgets, case, layer, options)
            errors += kept.kept_rows(path("budgets", case, f"-{layer}"), BudgetRow, rows)
    if errors:
        write_budgets(workdir, errors)


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
            "stepwise": mofn.extract_layer(
                *arrays, search="stepwise", polish_literals=16, thresholds_per_input=1
            ),
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
    budgets: Sequence[int], case: trained.Case, layer_name: str, options: flags.FlagValues
) -> Iterator[BudgetRow]:
    """The rows of a dense layer of a network; none if it has no such layer."""
    network, params, dataset, accuracy = trained.train_or_restore(case, options)
    examples, others = trained.sides(dataset, options.num_examples)
    if layer_name not in mofn.layer_names(network, params, examples):
        return
    assert others is not None  # see check_cases
    layer, held_out = (
        mofn.capture_layers(network, params, inputs, layers=[layer_name])[0]
        for inputs in (examples, others)
    )
    targets, thresholds = mofn.layer_targets(layer, None)
    held_out_targets, _ = mofn.layer_targets(held_out, None, thresholds)
    varies = targets.any(0) & ~targets.all(0)
    sides = (
        Side(layer.inputs, targets[:, varies]),
        Side(held_out.inputs, held_out_targets[:, varies]),
    )
    num_inputs, num_units = len(layer.weights), int(varies.sum())
    every, drawn = np.arange(num_units), draw_units(num_units, num_inputs, case.seed)
    groups = [every] if len(drawn) == num_units else [every, drawn]

    def row(which: np.ndarray, method: str, literals: float, says: Sequence[np.ndarray]):
        errors, held_out_errors = (
            (some != side.targets[:, which]).mean(0) for some, side in zip(says, sides, strict=True)
        )
        on = sides[1].targets[:, which].mean(0)
        return BudgetRow(
            *case,
            layer=layer_name,
            inputs=num_inputs,
            which="all" if len(which) == num_units else "drawn",
            units=len(which),
            method=method,
            literals=literals,
            error=float(errors.mean()),
            held_out_error=float(held_out_errors.mean()),
            baseline_error=float(np.minimum(on, 1 - on).mean()),
            explained=float((held_out_errors <= _EXPLAINED).mean()),
            network_accuracy=accuracy,
        )

    literals, fronts = all_fronts(layer.weights[:, varies], sides[0], max(budgets), str(case))
    for method, front in fronts.items():
        for budget in (*budgets, np.inf):
            if method == "exact" and budget > front.proven_literals:
                continue
            rules = mofn.select_rules(front, max_literals=int(min(budget, num_inputs)))
            says = [mofn.evaluate_rules(rules, side.inputs) for side in sides]
            for which in groups:
                yield row(which, method, budget, [some[:, which] for some in says])
    rivals = rivals_of_units(budgets, sides, literals, drawn)
    for method in (TREE, LINEAR):
        for i, budget in enumerate(budgets):
            says = [np.stack([unit[method][i][k] for unit in rivals], axis=1) for k in (0, 1)]
            yield row(drawn, method, budget, says)


def all_fronts(
    weights: np.ndarray, side: Side, largest: int, name: str
) -> tuple[list[Literals], dict[str, mofn.RuleFront]]:
    """The literals of every unit, and what each search makes of them."""
    kept_literals: list[Literals] = []
    fronts: dict[str, mofn.RuleFront] = {}

    def search_all(literals, inputs, targets, **arguments) -> mofn.RuleFront:
        kept_literals.extend(literals)
        longest = {"stepwise_literals": largest}
        for search in ("weight_order", "exact", "stepwise"):
            options = longest if search == "stepwise" else {}
            front = mofn.SEARCHES[search](literals, inputs, targets, **arguments, **options)
            fronts[search.replace("_", " ")] = front
        return merge_fronts(*fronts.values())

    with UnitBar(leave=False) as bar:
        bar.start(name, 4 * weights.shape[1])
        merged = mofn.extract_layer(
            weights, *side, search=search_all, progress=bar.update, on_stage=bar.stage
        )
        bar.set_postfix_str("refine")
        # What the search "best" does, without all the others once more.
        fronts["best"] = mofn.refine_front(
            merged, *side, refine_literals=largest, progress=bar.update
        )
    return kept_literals, fronts


if __name__ == "__main__":
    command_line.run(main)

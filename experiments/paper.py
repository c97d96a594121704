"""The paper's tables and figures again: what it prints, beside what its algorithm and ours find.

    python -m experiments.paper --parts=table1,figure1,figure2,table2,adversarial

Of every row of its tables and every point of its curves: its value; that of its own algorithm on
networks that we train (weight order, each filter at its most informative position, errors on the
examples that the rules were found on); the same held out; the better constant rule; and the default
search at no more complexity. Table 1 sets decision trees beside them, grown and optimal ones.

Of the small tables and the faces, rules are found on all examples, as in the paper, and those that
are measured on held-out ones on four fifths; of the promoters, on 10,000 synthetic sequences, each
of whose nucleotides is drawn evenly and by itself, and measured on 10,000 others; of MNIST, on the
first 5,000 test images, and measured on the others; of Fashion-MNIST, on the first 1,000.
Adversarial examples are made of those others.

The working directory receives a table (.md) and all rows (.csv) of each part, and the pictures.
What is done is not done again. --quick does all of it on small data that need no network, with
little training: to see that it runs.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

import mofn_jax as mofn
from experiments import adversarial, command_line, kept, paper_tables, trained
from experiments.paper_layers import PaperRow, Sides, capture, rows_of_layer
from experiments.published import ROWS, Published
from experiments.rivals import import_streed
from mofn_jax import checks

PARTS = ("table1", "figure1", "figure2", "table2", "adversarial")
_SEEDS = {"table1": 5, "figure1": 1, "figure2": 3, "table2": 3, "adversarial": 3}
_OF_ONE_SEED = "PaperFashion"  # it takes longest to train, and has the picture of figure1
_IMAGES = ("mnist", "fashion_mnist", "olivetti")
_QUICK_DATA = "digits"  # in place of images that are not embedded
_QUICK_EPOCHS = 2
_SYNTHETIC = 10_000
_TEST_EXAMPLES = {"mnist": 5000, "fashion_mnist": 1000}
_QUICK_EXAMPLES = 200


def define_flags(values: flags.FlagValues) -> None:
    define_list = partial(command_line.define_list, values)
    define_list(
        "parts",
        PARTS,
        "Which tables and figures of the paper are made again.",
        known=PARTS,
        may_be_empty=False,
    )
    seeds = (
        f"Seeds that draw parameters and batches; by default the first {_SEEDS}, of "
        f"{_OF_ONE_SEED} the first alone."
    )
    define_list("seeds", None, seeds, may_be_empty=False)
    about = "How far adversarial examples move each pixel."
    define_list("epsilons", [0.05, 0.1, 0.2], about, may_be_empty=False)
    flags.DEFINE_bool(
        "quick",
        False,
        "Whether all of it is tried on small data with little training.",
        flag_values=values,
    )
    command_line.define_folder(
        values,
        "workdir",
        None,
        "The folder to write to; runs/paper by default, or runs/paper_quick.",
    )
    trained.define_training_flags(values)


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    command_line.use_compilation_cache(options)
    if options.quick and options.num_epochs is None:
        options["num_epochs"].value = _QUICK_EPOCHS
    seeds = None if options.seeds is None else command_line.seeds(options)
    epsilons = command_line.numbers("epsilons", options.epsilons)
    if not all(epsilons):
        raise flags.Error("epsilons: expected numbers above 0")
    workdir = options.workdir or ("runs/paper_quick" if options.quick else "runs/paper")
    workdir = Path(workdir).expanduser()
    which = ["parts", "seeds", "epsilons"]
    kept.check_folder(workdir, options, may_differ=which)
    if "table1" in options.parts:
        import_streed()
    datasets = {row.dataset for row in ROWS if row.part in options.parts}
    for dataset in datasets | ({"mnist"} if "adversarial" in options.parts else set()):
        trained.load(data_of(dataset, options.quick), options.data_dir, 0)
    with kept.alone_in(workdir):
        kept.open_folder(workdir, options, may_differ=which)
        for part in dict.fromkeys(options.parts):
            default = 1 if options.quick else _SEEDS[part]
            some = list(range(default)) if seeds is None else seeds
            if part == "adversarial":
                print(do_adversarial(workdir, options, some, epsilons))
            else:
                print(do_layers(workdir, options, part, some))
    print(f"tables and pictures are in {workdir}")


def data_of(dataset: str, quick: bool) -> str:
    """The dataset to use for one of the paper's."""
    return _QUICK_DATA if quick and dataset in _IMAGES else dataset


def do_layers(workdir: Path, options: flags.FlagValues, part: str, seeds: Sequence[int]) -> str:
    """Does what is not done yet of a part; writes its rows, table and pictures.

    Returns:
      The table.
    """
    layers: dict[tuple[str, ...], list[Published]] = {}
    for about in ROWS:
        if about.part == part:
            layers.setdefault(about[1:5], []).append(about)
    rows: list[PaperRow] = []
    for seed in seeds:
        for (dataset, network, activation, layer), published in tqdm(
            layers.items(), unit="layer", desc=f"{part}, seed {seed}"
        ):
            if network == _OF_ONE_SEED and seed != seeds[0]:
                continue
            name = data_of(dataset, options.quick)
            case = trained.Case(name, network, activation, seed)
            path = workdir / "cases" / f"{part}-{trained.name(case, options)}-{layer}.json"

            def make(case=case, dataset=dataset, published=published, path=path):
                network = trained.train_or_restore(case, options)
                sides = sides_of(network.dataset, dataset, case.seed, options.quick)
                return rows_of_layer(case, network, published, sides, path)

            rows += kept.kept_rows(path, PaperRow, make)
            if part == "figure1":
                draw_filter(workdir, case, layer, path.with_suffix(".rules.json"), options)
    return paper_tables.write_part(workdir, part, rows)


def draw_filter(
    workdir: Path, case: trained.Case, layer: str, path: Path, options: flags.FlagValues
) -> None:
    """The picture of a filter and its rules, which are kept in a file."""
    rules = mofn.rules_from_json(path.read_text(encoding="utf-8"))
    network = trained.train_or_restore(case, options)
    captured = capture(network, network.dataset.test.inputs[:2], layer)
    paper_tables.write_filter(workdir, captured.weights[..., rules[0].unit], rules)


def do_adversarial(
    workdir: Path, options: flags.FlagValues, seeds: Sequence[int], epsilons: Sequence[float]
) -> str:
    """As `do_layers`, of adversarial examples."""
    rows: list[adversarial.AdversarialRow] = []
    for seed in tqdm(seeds, unit="seed", desc="adversarial"):
        case = trained.Case(data_of("mnist", options.quick), "PaperMNIST", "relu", seed)
        for epsilon in epsilons:
            path = workdir / "cases" / f"adversarial-{trained.name(case, options)}-{epsilon}.json"

            def make(case=case, seed=seed, epsilon=epsilon):
                network = trained.train_or_restore(case, options)
                next_seed = (seed + 1) % (checks.LARGEST_SEED + 1)
                another = trained.train_or_restore(case._replace(seed=next_seed), options)
                size = len(sides_of(network.dataset, "mnist", seed, options.quick).measured)
                return adversarial.rows_of_network(case, network, another, size, epsilon)

            rows += kept.kept_rows(path, adversarial.AdversarialRow, make)
    return paper_tables.write_adversarial(workdir, rows)


def sides_of(dataset: mofn.Dataset, name: str, seed: int, quick: bool) -> Sides:
    """The inputs that rules about one of the paper's datasets are found and measured on.

    Args:
      dataset: what the network was trained on.
      name: the paper's dataset.
      seed: of synthetic examples.
      quick: whether few are enough.
    """
    train, test = dataset.train.inputs, dataset.test.inputs
    if name == "promoters":
        size = _QUICK_EXAMPLES if quick else _SYNTHETIC
        measured, held_out = (
            synthetic_sequences(size, train.shape[1] // 4, [seed, part]) for part in (0, 1)
        )
        return Sides(measured, measured, held_out)
    if name in _TEST_EXAMPLES:
        size = _QUICK_EXAMPLES if quick else _TEST_EXAMPLES[name]
        measured, held_out = test[:size], test[size:]
        return Sides(measured, measured, held_out)
    return Sides(np.concatenate([train, test]), train, test)


def synthetic_sequences(size: int, length: int, seed: Sequence[int]) -> np.ndarray:
    """Sequences of nucleotides drawn evenly and by themselves, one-hot: [size, 4 * length]."""
    letters = np.random.default_rng(seed).integers(0, 4, (size, length))
    return np.eye(4, dtype=np.float32)[letters].reshape(size, -1)


if __name__ == "__main__":
    command_line.run(main)

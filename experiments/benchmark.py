"""How fast and how large: thresholds, scoring and whole extraction, beside NumPy and scikit-learn.

Extraction is that by weight order, the paper's search, and, as `default`, that by the default one.

    python -m experiments.benchmark --sizes=S,M --workdir=runs/benchmark

The layers are as real ones: inputs after relu (half zeros) or tanh, random weights, the units on as
their kind has it. Each size runs in a process of its own, so that its memory is its own. Everything
that is timed is checked: thresholds and scores against NumPy's, on all or on a sample of inputs and
units. First calls include compilation; warm times are medians. On a TPU what its compiler estimated
of whole layers stands beside (see experiments/compile_report.py): of the device alone, without the
host's work. The working directory receives benchmark.json and benchmark.txt.

    S  128 inputs, 10 units, 10,000 examples: the softmax layer of a CNN
    M  9,216 inputs, 128 units, 10,000 examples: the dense layer after the convolutions
    L  4,096 inputs, 1,000 units, 50,000 examples, at most 128 literals: the softmax layer of VGG16
       on the validation set of ImageNet; the whole extraction once, thresholds and scoring alone
       of its first 100 units, the default search of four
    B  1,024 inputs, 32 units, 10,000 examples, at most 128 literals; B2n, B2u, B2E: twice as many
"""

import csv
import json
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from sklearn.tree import DecisionTreeClassifier
from tqdm import tqdm

import mofn_jax as mofn
from experiments import command_line, kept
from mofn_jax import checks, outputs


class Size(NamedTuple):
    """The shape of a layer and how often to time it."""

    inputs: int
    units: int
    examples: int
    max_literals: int | None
    softmax: bool
    runs: int  # warm ones
    stage_units: int | None = None  # thresholds and scoring are timed alone on so many; None: all
    default_units: int | None = None  # the default search is timed on so many


SIZES = {
    "S": Size(128, 10, 10_000, None, True, 9),
    "M": Size(9_216, 128, 10_000, None, False, 1, None, 4),
    "L": Size(4_096, 1_000, 50_000, 128, True, 1, 100, 4),
    "B": Size(1_024, 32, 10_000, 128, False, 5),
    "B2n": Size(2_048, 32, 10_000, 128, False, 5),
    "B2u": Size(1_024, 64, 10_000, 128, False, 5),
    "B2E": Size(1_024, 32, 20_000, 128, False, 5),
}
SMALL_SIZES = {
    "S": Size(16, 4, 300, None, True, 2),
    "M": Size(64, 3, 300, None, False, 2),
    "L": Size(32, 10, 500, 8, True, 2, 4, 2),
}
ESTIMATES = Path(__file__).parent / "results/tpu/after/compile_report.csv"  # of one chip of a v5e
_SAMPLE_INPUTS, _SAMPLE_UNITS, _SAMPLE_STUMPS = 32, 10, 10


def define_flags(values: flags.FlagValues) -> None:
    define_list = partial(command_line.define_list, values, may_be_empty=False)
    define_list("sizes", ["S", "M", "L"], "The sizes of layers that are timed.")
    inputs = ["relu", "tanh"]
    define_list(
        "activations", inputs, "The nonlinearities that the inputs went through.", known=inputs
    )
    flags.DEFINE_bool(
        "small",
        False,
        "Whether the sizes are divided, to try all of it in a minute.",
        flag_values=values,
    )
    command_line.define_seed(values, "Draws the numbers in the layers.")
    command_line.define_folder(values, "workdir", "runs/benchmark", "The folder to write to.")


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    for size in options.sizes:
        checks.known("sizes", size, SIZES)
    cases = [(size, activation) for size in options.sizes for activation in options.activations]
    workdir = Path(options.workdir).expanduser()
    with kept.alone_in(workdir):
        kept.open_folder(workdir, options)
        report = measure_cases(workdir, cases, options.seed, options.small)
    print(format_rows(report["rows"]))
    print(f"\n{report['machine']}\nwritten to {workdir}")


def measure_cases(
    workdir: Path, cases: Sequence[tuple[str, str]], seed: int, small: bool
) -> dict[str, Any]:
    """Measures each size and activation, writes what is known so far, and returns all of it."""
    report: dict[str, Any] = {"machine": None, "rows": []}
    for size, activation in tqdm(cases, unit="layer"):
        # A fresh process for each: peak memory and compilation are its own. And so is the device,
        # which an accelerator may give to one process alone: this one must not ask for it.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            report["machine"] = process.submit(machine).result()
            report["rows"] += process.submit(measure, size, activation, seed, small).result()
        outputs.write_text(workdir / "benchmark.json", json.dumps(report, indent=1))
    outputs.write_text(workdir / "benchmark.txt", format_rows(report["rows"]) + "\n")
    return report


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    device = jax.devices()[0]
    return {
        "device": f"{jax.device_count()} x {device.platform} ({device.device_kind})",
        "host": f"{platform.machine()}, {multiprocessing.cpu_count()} cores",
        "python": platform.python_version(),
        "jax": jax.__version__,
        "numpy": np.__version__,
    }


def make_layer(size: Size, activation: str, seed: int):
    """Weights [n, u], inputs [E, n] float32 and targets [E, u] as a real layer has them."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((size.examples, size.inputs), np.float32)
    inputs = np.maximum(inputs, 0) if activation == "relu" else np.tanh(inputs)
    weights = rng.standard_normal((size.inputs, size.units), np.float32) / size.inputs**0.5
    activations = inputs @ weights
    if size.softmax:
        targets = activations.argmax(1)[:, None] == np.arange(size.units)
    else:
        targets = activations >= np.quantile(activations, rng.random(size.units), axis=0).diagonal()
    return weights, inputs, targets


def measure(
    name: str, activation: str = "relu", seed: int = 0, small: bool = False
) -> list[dict[str, Any]]:
    """The rows of one layer: thresholds, scoring, extraction by weight order, the default search.

    Args:
      name: of its size.
      activation: "relu" or "tanh", where its inputs come from.
      seed: of its numbers.
      small: whether the size is divided.
    """
    size = (SMALL_SIZES if small else SIZES)[name]
    weights, inputs, targets = make_layer(size, activation, seed)
    units = min(size.units, size.stage_units or size.units)
    cells = size.inputs * size.examples
    some_weights, some_targets = weights[:, :units], targets[:, :units]

    found, thresholds = timed(
        lambda: mofn.best_thresholds(inputs, some_targets), size.runs, cells * units
    )
    thresholds |= check_thresholds(found, inputs, some_targets, seed)

    literals = [
        mofn.ordered_literals(unit_weights, values, size.max_literals)
        for unit_weights, values in zip(some_weights.T, found.values.T, strict=True)
    ]
    order = mofn.prefix_order(size.max_literals or size.inputs)
    least_ranks, scoring = timed(
        lambda: list(mofn.score_layer(literals, inputs, some_targets, order)),
        size.runs,
        cells * units,
    )
    scoring["ms_per_unit"] = scoring["warm_s"] / units * 1e3

    front, extraction = timed(
        lambda: mofn.extract_layer(
            weights, inputs, targets, search="weight_order", max_literals=size.max_literals
        ),
        size.runs if size.stage_units is None else 0,
        cells * size.units,
    )
    assert len(front.units) == size.units
    extraction |= peak_memory()
    default_units = min(size.units, size.default_units or size.units)
    _, default = timed(
        lambda: mofn.extract_layer(
            weights[:, :default_units],
            inputs,
            targets[:, :default_units],
            max_literals=size.max_literals,
        ),
        size.runs,
        cells * default_units,
    )
    default["ms_per_unit"] = default["warm_s"] / default_units * 1e3
    default |= peak_memory()
    scoring |= check_scores(least_ranks, literals, inputs, some_targets, order)
    stages = {
        "thresholds": thresholds,
        "scoring": scoring,
        "extraction": extraction,
        "default": default,
    }
    if jax.default_backend() == "tpu" and not small:
        for stage, seconds in tpu_estimates(name, ESTIMATES.read_text(encoding="utf-8")).items():
            stages[stage]["tpu_estimate_s"] = seconds
    known = {"size": name, "activation": activation}
    return [{**known, "stage": stage, **row} for stage, row in stages.items()]


def tpu_estimates(name: str, report: str) -> dict[str, float]:
    """By stage the seconds of a device that a compile report estimates of a size's whole layer."""
    size = SIZES[name]
    kernels = [
        row
        for row in csv.DictReader(report.splitlines())
        if row["size"] == name and row["kernel"] != "host"
    ]

    def seconds(run: str, kernel: str = "") -> float:
        return sum(
            float(r["seconds"]) for r in kernels if r["run"] == run and kernel in r["kernel"]
        )

    estimates = {"extraction": seconds("weight order")}
    if size.stage_units is None:
        estimates["thresholds"] = seconds("weight order", "cuts")
        estimates["scoring"] = seconds("weight order", "scoring")
    if size.default_units is None:
        estimates["default"] = seconds("default") + seconds("refinement")
    return estimates


def peak_memory() -> dict[str, Any]:
    """Of this process and of its device so far."""
    memory = jax.devices()[0].memory_stats()  # None on a CPU
    return {
        "process_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "device_peak_mb": memory and memory["peak_bytes_in_use"] / 2**20,
    }


def timed(job: Callable[[], Any], runs: int, cells: int) -> tuple[Any, dict[str, Any]]:
    """What a job returns, the time of its first call, and of warm ones, if any, the median."""
    start = time.perf_counter()
    result = job()
    first = time.perf_counter() - start
    warm = [] if runs else [first]
    for _ in range(runs):
        start = time.perf_counter()
        result = job()
        warm.append(time.perf_counter() - start)
    median = float(np.median(warm))
    return result, {"first_s": first, "warm_s": median, "ns": median / cells * 1e9}


def check_thresholds(
    found: mofn.Thresholds, inputs: np.ndarray, targets: np.ndarray, seed: int
) -> dict[str, float]:
    """Times NumPy and scikit-learn on samples; asserts that our gains are as good as NumPy's."""
    rng = np.random.default_rng(seed)
    some_inputs = rng.permutation(inputs.shape[1])[:_SAMPLE_INPUTS]
    some_units = rng.permutation(targets.shape[1])[:_SAMPLE_UNITS]
    start = time.perf_counter()
    _, best = numpy_thresholds(inputs[:, some_inputs], targets[:, some_units])
    seconds = time.perf_counter() - start
    ours = found.gains[np.ix_(some_inputs, some_units)]
    assert np.abs(ours - best).max() < 1e-6
    values = found.values[np.ix_(some_inputs, some_units)]
    for i, row in zip(some_inputs, values, strict=True):
        above = inputs[:, [i]] >= row
        recomputed = numpy_gains(
            above.sum(0), (above & targets[:, some_units]).sum(0), targets[:, some_units]
        )
        assert np.abs(recomputed - best[list(some_inputs).index(i)]).max() < 1e-6

    stumps = list(zip(some_inputs, some_units[: len(some_inputs)], strict=False))[:_SAMPLE_STUMPS]
    columns = [np.ascontiguousarray(inputs[:, [i]]) for i, _ in stumps]
    start = time.perf_counter()
    for column, (_, unit) in zip(columns, stumps, strict=True):
        DecisionTreeClassifier(max_depth=1, criterion="entropy").fit(column, targets[:, unit])
    stump_seconds = time.perf_counter() - start
    num_examples = len(inputs)
    return {
        "numpy_ns": seconds / (len(some_inputs) * len(some_units) * num_examples) * 1e9,
        "sklearn_ns": stump_seconds / (len(stumps) * num_examples) * 1e9,
    }


def numpy_gains(above: np.ndarray, on_above: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Information gain in float64 of cuts with these counts, [..., u] about targets [E, u]."""
    total, on = len(targets), targets.sum(0)

    def entropy(part, whole):
        share = part / np.maximum(whole, 1)
        logs = np.log(np.maximum(share, 1e-300)), np.log(np.maximum(1 - share, 1e-300))
        return -share * logs[0] - (1 - share) * logs[1]

    below = total - above
    return (
        entropy(on, total)
        - above / total * entropy(on_above, above)
        - below / total * entropy(on - on_above, below)
    )


def numpy_thresholds(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best thresholds and their gains [n, u], an input at a time and all its units at once."""
    values, gains = [], []
    for column in inputs.T:
        order = np.argsort(column)
        ascending = column[order]
        cuts = np.flatnonzero(ascending[1:] != ascending[:-1]) + 1
        on_below = np.cumsum(targets[order], axis=0)[cuts - 1]
        column_gains = numpy_gains(
            (len(column) - cuts)[:, None], targets.sum(0) - on_below, targets
        )
        best = column_gains.argmax(0)
        values.append(ascending[cuts[best]])
        gains.append(column_gains.max(0))
    return np.array(values), np.array(gains)


def check_scores(
    least_ranks: Sequence[np.ndarray],
    literals: Sequence[mofn.Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    order: mofn.PrefixOrder,
) -> dict[str, float]:
    """Times NumPy on the first units, at most ten; asserts that the scores are equal."""
    units = range(min(len(literals), 10 if len(order.ranks) < 1000 else 1))
    start = time.perf_counter()
    expected = [numpy_scores(literals[j], inputs, targets[:, j], order.ranks) for j in units]
    seconds = time.perf_counter() - start
    for unit, least in zip(units, expected, strict=True):
        at_most = np.minimum.accumulate(least)
        np.testing.assert_array_equal(least_ranks[unit][: len(least)], at_most)
    return {
        "numpy_ns": seconds / (len(units) * inputs.shape[1] * len(inputs)) * 1e9,
        "numpy_ms_per_unit": seconds / len(units) * 1e3,
    }


def numpy_scores(
    literals: mofn.Literals, inputs: np.ndarray, target: np.ndarray, ranks: np.ndarray
) -> np.ndarray:
    """For each number of errors the least rank, [E + 1]; a literal and all M at a time."""
    hold = np.zeros(len(inputs), np.int64)
    least = np.full(len(inputs) + 1, np.iinfo(np.int32).max)
    rows = ranks.shape[1]
    for taken, row in enumerate(ranks):
        if 0 < taken <= len(literals.inputs):
            column = inputs[:, literals.inputs[taken - 1]]
            holds = column >= literals.thresholds[taken - 1]
            hold += holds != literals.negated[taken - 1]
        on = np.bincount(hold[target], minlength=rows)
        off = np.bincount(hold[~target], minlength=rows)
        missed = np.cumsum(on) - on  # on, but fewer than M hold
        false = len(target) - target.sum() - (np.cumsum(off) - off)
        np.minimum.at(least, missed + false, row)
    return least


def format_rows(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    columns = {
        "size": "size",
        "activation": "inputs",
        "stage": "stage",
        "first_s": "first call s",
        "warm_s": "warm s",
        "ns": "ns/cell",
        "ms_per_unit": "ms/unit",
        "tpu_estimate_s": "estimated s",
        "process_peak_mb": "process MB",
        "device_peak_mb": "device MB",
        "numpy_ns": "NumPy ns",
        "sklearn_ns": "sklearn ns",
    }
    if not any("tpu_estimate_s" in row for row in rows):
        del columns["tpu_estimate_s"]
    lines = [list(columns.values())]
    for row in rows:
        cells = [row.get(name) for name in columns]
        lines.append(["" if c is None else c if isinstance(c, str) else f"{c:.4g}" for c in cells])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


if __name__ == "__main__":
    command_line.run(main)

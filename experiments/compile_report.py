"""What a TPU would make of the library's kernels, read from its compiler: no TPU is needed.

    pip install -e ".[tpu-check]"
    python -m experiments.compile_report --sizes=S,M,L

The layers are the benchmark's. The library is run on each of them as on a TPU, by weight order and,
of a few units, by the default search; `refinement` is a part of the latter, of rules that were
found here. Compiled functions are not carried out, but recorded as they are called, and then
compiled ahead of time for one chip of the topology. `network` is the training and
capture of a CNN on images of 28 x 28 pixels, with the thresholds of all positions of its
convolutions.

The working directory receives compile_report.csv and .md, a line for each kernel and size: how long
it takes to compile, its memory, what it costs (see experiments/hlo_costs.py) and the seconds that
follow for the layer, all calls together: an estimate by the compiler, not a measurement. How often
loops go round of which the data say it was counted on a few units of the layer, here. Beside the
kernels stand the seconds that the host took here meanwhile, and those that the transfers would
take. What is done is kept, and a run that is interrupted goes on.
"""

import hashlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
from absl import flags
from jax.experimental import topologies
from tqdm import tqdm

import mofn_jax as mofn
from experiments import benchmark, command_line, hlo_costs, kept, kernels
from mofn_jax import checks, held_inputs, meshes, outputs, report
from mofn_jax.meshes import DEFAULT_RESOURCES
from mofn_jax.search.refine import refine_unit

_DEFAULT_UNITS = 256  # the default search is run on so many
_COUNTED_UNITS = 4  # about as many as a TPU works on at once
_BYTES_PER_SECOND = 1e10  # to and from a device, an assumption
# What libtpu asks of the machine that it finds itself on, which has no TPU.
_NO_TPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Row(NamedTuple):
    """One kernel at one shape, in one run of a layer; or, as `host`, all that the host does."""

    size: str
    run: str  # the search
    kernel: str
    calls: float  # of the whole layer
    arrays: str  # that it takes
    seconds: float = math.nan  # of all calls: estimated; NaN if a loop's length is unknown
    transfer_s: float = math.nan  # likewise
    compile_s: float = math.nan
    arguments_mb: float = math.nan
    temporaries_mb: float = math.nan
    megacycles: float = math.nan  # by the compiler, of one call
    gathered: float = math.nan  # elements, of one call
    scattered: float = math.nan
    sorting_megacycles: float = math.nan
    loops: str = ""  # how often each goes round, "?" if that is unknown


class Run(NamedTuple):
    """What is recorded of a layer."""

    name: str
    job: Callable[[], Any]
    share: float = 1.0  # of the layer's units that it works on
    counted: Callable[[], Any] | None = None  # the same of a few units, if the data decide


def define_flags(values: flags.FlagValues) -> None:
    define_list = partial(command_line.define_list, values, may_be_empty=False)
    known = [*benchmark.SIZES, "network"]
    define_list("sizes", ["S", "M", "L", "network"], "The layers to compile for.", known=known)
    define_list("kernels", ["all"], "Parts of the names of those to compile, or all.")
    flags.DEFINE_string(
        "topology", "v5e:2x2", "The TPU to compile for, as libtpu names it.", flag_values=values
    )
    flags.DEFINE_bool(
        "small", False, "Whether the sizes are divided, to try all of it.", flag_values=values
    )
    command_line.define_folder(values, "workdir", "runs/compile_report", "The folder to write to.")


def main(argv: Sequence[str]) -> None:
    options = command_line.parse(define_flags, argv, __doc__)
    if find_spec("libtpu") is None:
        raise ImportError("the compiler for TPUs is not here: pip install -e '.[tpu-check]'")
    jax.config.update("jax_platforms", "cpu")
    chip = jax.sharding.SingleDeviceSharding(tpu(options.topology).devices[0])
    workdir = Path(options.workdir).expanduser()
    with kept.alone_in(workdir):
        kept.open_folder(workdir, options, may_differ=["sizes", "kernels"])
        (workdir / "cases").mkdir(exist_ok=True)
        rows: list[Row] = []
        for size in options.sizes:
            for run in runs_of(size, options.small):
                rows += compile_run(size, run, options.kernels, chip, workdir / "cases")
                outputs.write_text(workdir / "compile_report.csv", report.rows_to_csv(rows))
                outputs.write_text(workdir / "compile_report.md", table(rows) + "\n")
    print(table(rows))
    print(f"\nwritten to {workdir}")


def tpu(topology: str) -> Any:
    """The topology of TPUs that are not here.

    Raises:
      ValueError: libtpu does not know it.
    """
    for name, value in _NO_TPU.items():
        os.environ.setdefault(name, value)
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except Exception as error:  # of many kinds, as what libtpu looks at
        raise ValueError(f"topology: {checks.reason(error)}") from error


def runs_of(size: str, small: bool) -> Iterator[Run]:
    """The searches of a layer of the benchmark, or the training and capture of a CNN."""
    if size == "network":
        yield Run("network", partial(_network, 64 if small else 10_000))
        return
    shape = (benchmark.SMALL_SIZES if small else benchmark.SIZES)[size]
    weights, inputs, targets = benchmark.make_layer(shape, "relu", seed=0)
    extract = partial(mofn.extract_layer, max_literals=shape.max_literals)
    weight_order = partial(extract, weights, inputs, targets, search="weight_order")
    yield Run("weight order", weight_order)

    def default(num_units: int) -> None:
        extract(weights[:, :num_units], inputs, targets[:, :num_units])

    some, few = min(_DEFAULT_UNITS, shape.units), min(_COUNTED_UNITS, shape.units)
    yield Run("default", partial(default, some), some / shape.units, partial(default, few))
    # What is to be refined must have been found, and the inputs be held.
    front = extract(weights[:, :few], inputs, targets[:, :few], refine_literals=0)
    with mock.patch.object(meshes, "platform", return_value="tpu"):
        held = held_inputs.hold(inputs, DEFAULT_RESOURCES.memory_budget)

    def refine() -> None:
        for rules, target in zip(front.units, targets.T, strict=False):
            refine_unit(rules, inputs, target, refine_literals=60, memory_budget=2**26, held=held)

    yield Run("refinement", refine, few / shape.units, refine)


def _network(num_examples: int) -> None:
    rng = np.random.default_rng(0)
    side = 8 if num_examples < 1_000 else 28
    images = rng.random((num_examples, side, side, 1), np.float32)
    labels = rng.integers(0, 10, num_examples).astype(np.int32)
    split = mofn.Split(images, labels)
    network = mofn.CNN(num_classes=10, activation="relu")
    few = mofn.Dataset(split, split, num_classes=10, name="images")
    params = mofn.train(jax.random.key(0), network, few, num_epochs=1).params
    first, *_ = mofn.capture_layers(network, params, images)
    mofn.most_informative_positions(first.activations, labels, 10)


def compile_run(
    size: str, run: Run, wanted: Sequence[str], chip: jax.sharding.Sharding, cases: Path
) -> Iterator[Row]:
    """The rows of a run: what it calls is compiled, each shape once."""
    rounds = rounds_of(run)
    with kernels.recorded("tpu", _zeros, carried_out=["compiled", "training"]) as calls:
        start = time.perf_counter()
        run.job()
        seconds = (time.perf_counter() - start) / run.share
        counts = Counter(map(_arrays, calls))
        unique = {_arrays(call): call for call in calls}
        for arrays, call in tqdm(unique.items(), unit="kernel", desc=f"{size}, {run.name}"):
            if wanted != ["all"] and not any(part in call.name for part in wanted):
                continue
            lowered = call.traced(chip).lower()
            same = hashlib.sha256(lowered.as_text().encode()).hexdigest()[:12]
            one = Row("", "", call.name, 1, arrays)
            of_call = partial(_compiled, lowered, rounds, call.device_bytes, one)
            (one,) = kept.kept_rows(cases / f"{call.name}-{same}.json", Row, of_call)
            times = counts[arrays] / run.share
            yield one._replace(
                size=size,
                run=run.name,
                calls=times,
                seconds=times * one.seconds,
                transfer_s=times * one.transfer_s,
            )
    yield Row(size, run.name, "host", 1, "", seconds)


def rounds_of(run: Run) -> Callable[[str], float | None]:
    """How often a loop goes round, by the name of its operation, where the data say it.

    The units of a few go round together until the last of them has ended; of the turns that a loop
    has, the mean.
    """
    if run.counted is None:
        return lambda name: None
    with kernels.counted_rounds() as counts:
        run.counted()

    def mean(name: str) -> float | None:
        of_loop = counts.get(kernels.loop_name(name) or "")
        if not of_loop:
            return None
        num_units = max(1, len(counts["take_steps"]))  # one turn each; rules are refined in turn
        return float(np.reshape(of_loop, (num_units, -1)).max(0).mean())

    return mean


def _zeros(call: kernels.Call) -> Any:
    """What a call would return, all zeros; but nothing is left out, and cuts are at the value 0."""

    def made(path: Any, array: Any) -> np.ndarray:
        fields = [getattr(key, "name", None) for key in path]
        filled = 2**31 if "keys" in fields else {"decided", "whole"}.intersection(fields) != set()
        return np.broadcast_to(np.array(filled, array.dtype), array.shape)

    shapes = jax.eval_shape(partial(call.function, **call.options), *call.arguments)
    return jax.tree_util.tree_map_with_path(made, shapes)


def _arrays(call: kernels.Call) -> str:
    """The kernel and the shapes that it is called with."""
    leaves = jax.tree.leaves(call.arguments)
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct)]
    shapes = Counter(f"{a.dtype.name}{list(a.shape)}" for a in arrays)
    return "; ".join(
        [
            call.name,
            *(f"{count} x {shape}" if count > 1 else shape for shape, count in shapes.items()),
        ]
    )


def _compiled(
    lowered: Any, rounds: Callable[[str], float | None], device_bytes: int, row: Row
) -> Iterator[Row]:
    """The row of one call, from its compiler."""
    start = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    costs = hlo_costs.costs(compiled.as_text(), rounds)
    moved = memory.argument_size_in_bytes + memory.output_size_in_bytes - device_bytes
    yield row._replace(
        seconds=costs.all_cycles / hlo_costs.CYCLES_PER_SECOND,
        transfer_s=moved / _BYTES_PER_SECOND,
        compile_s=seconds,
        arguments_mb=memory.argument_size_in_bytes / 2**20,
        temporaries_mb=memory.temp_size_in_bytes / 2**20,
        megacycles=costs.cycles / 1e6,
        gathered=costs.gathered,
        scattered=costs.scattered,
        sorting_megacycles=costs.sorting / 1e6,
        loops=" ".join(costs.loops),
    )


_SUMS = ("calls", "seconds", "transfer_s")
_LARGEST = ("compile_s", "temporaries_mb")
_PER_CALL = ("gathered", "scattered")


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, of each kernel of a run the shapes together."""
    heads = (
        "layer,run,kernel,shapes,calls,seconds,transfers s,compile s,temporaries MB,look-ups,"
        "scatters,loops"
    ).split(",")
    lines: list[list[Any]] = [heads, [*["---"] * 3, *["---:"] * 8, "---"]]
    for size, run, kernel in dict.fromkeys((row.size, row.run, row.kernel) for row in rows):
        some = [r for r in rows if (r.size, r.run, r.kernel) == (size, run, kernel)]
        largest = max(some, key=lambda row: row.calls * row.arguments_mb)
        if kernel == "host":
            lines.append([size, run, kernel, "", "", f"{some[0].seconds:.3g}", *[""] * 6])
            continue
        lines.append(
            [size, run, kernel, len(some)]
            + [f"{sum(getattr(row, name) for row in some):.3g}" for name in _SUMS]
            + [f"{max(getattr(row, name) for row in some):.3g}" for name in _LARGEST]
            + [f"{sum(row.calls * getattr(row, name) for row in some):.2g}" for name in _PER_CALL]
            + [largest.loops]
        )
    return kept.markdown(lines)


if __name__ == "__main__":
    command_line.run(main)

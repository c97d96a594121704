"""A run's folder, which is its own; what is done is kept and not done again; means over seeds."""

import fcntl
import json
import math
import os
from collections import defaultdict, namedtuple
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from absl import flags

from mofn_jax import checks, outputs

# Flags that say where things are, and with what it is computed: no result depends on them.
_NO_MATTER = (
    *("workdir", "data_dir", "trained", "compilation_cache"),
    *("memory_budget", "mesh", "coordinator", "num_processes", "process_id"),
)

# What scripts write into their folders.
_WRITTEN = (
    *("params", "layers.csv", "rules.json", "rules.txt", "landscape.png", "answers.txt"),
    "report.html",
    *("cases", "landscape.csv", "landscape.md", "softmax_rules.txt"),
    *(f"{name}.{end}" for name in ("gap", "budgets") for end in ("csv", "md", "png")),
    *("benchmark.json", "benchmark.txt", "compile_report.csv", "compile_report.md"),
    *(
        f"{name}.{end}"
        for name in ("table1", "figure1", "figure2", "table2", "adversarial")
        for end in ("csv", "md", "png", "txt")
    ),
)


@contextmanager
def alone_in(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds a folder, made if it is not there, for one run at a time.

    Args:
      folder: locked until the end, or until this process is no more.
      wait: whether to wait for another run that holds it.

    Raises:
      flags.Error: another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise flags.Error(
            f"workdir: another run is at work in {folder}; choose another --workdir"
        ) from None
    except OSError:
        pass  # a file system that has no locks
    try:
        yield
    finally:
        os.close(descriptor)


def check_folder(
    folder: Path, options: flags.FlagValues, *, may_differ: Sequence[str] = ()
) -> None:
    """Asks that a folder has no results, or those of the same flags, and nobody else's files.

    Args:
      folder: where results are kept.
      options: the script's flags.
      may_differ: flags that say which runs to do, but change no run's results, beside those that
        name folders or devices.

    Raises:
      flags.Error: the folder holds results of other flags, or files of others that would be
        replaced, or is one of a trained network.
    """
    values = options.flag_values_dict()
    if "trained" in values:
        trained, own = (Path(p).expanduser().resolve() for p in (values["trained"], folder))
        if trained in (own, *own.parents):
            raise flags.Error(f"workdir: {folder} is inside of --trained; choose another --workdir")
    path = folder / "config.json"
    if not path.exists():
        found = sorted(name for name in _WRITTEN if (folder / name).exists())
        if found:
            raise flags.Error(
                f"{folder} holds files that are no results of this script ({', '.join(found)}); "
                "choose another --workdir"
            )
        return
    before = read_json(path, dict)
    changed = [
        name
        for name, value in values.items()
        if name not in (*may_differ, *_NO_MATTER) and before.get(name) != value
    ]
    if changed:
        raise flags.Error(
            f"{folder} holds results of other flags ({', '.join(changed)}); "
            "choose another --workdir"
        )


def open_folder(folder: Path, options: flags.FlagValues, *, may_differ: Sequence[str] = ()) -> None:
    """Starts or takes up the experiment in a folder, and writes its config.json.

    The arguments and errors are those of `check_folder`.
    """
    check_folder(folder, options, may_differ=may_differ)
    outputs.write_config(folder, options.flag_values_dict())


def read_json(path: Path, kind: type) -> Any:
    """What a JSON file holds, an object or a list.

    Raises:
      ValueError: naming a file that does not.
    """
    try:
        return checks.instance("its content", json.loads(path.read_text(encoding="utf-8")), kind)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read ({error}); without it, it is made anew") from error


def kept_rows(path: Path, row: type, make: Callable[[], Iterable[Any]]) -> list[Any]:
    """The rows, NamedTuples of one kind, from the file they are kept in, or made and kept."""
    if not path.exists():
        rows = [one._asdict() for one in make()]
        outputs.write_text(path, json.dumps(rows, indent=1))
    try:
        return [row(**fields) for fields in read_json(path, list)]
    except TypeError as error:
        raise ValueError(f"{path} holds no rows ({error}); without it, it is made anew") from error


def over_seeds(rows: Sequence[Any], keys: Sequence[str], values: Sequence[str]) -> list[Any]:
    """Of rows that agree in the keys, means over each seed's, then over seeds.

    Args:
      rows: NamedTuples of one kind, with a field `seed`.
      keys: the fields that tell rows apart.
      values: the fields to average; NaN is left out.

    Returns:
      NamedTuples of the keys, the number of seeds, and of each value its mean and, as `value_sd`,
      the standard deviation over seeds, NaN where there is one.
    """
    groups: dict[tuple, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        groups[tuple(getattr(row, key) for key in keys)][row.seed].append(row)
    names = [*keys, "seeds", *(name + end for name in values for end in ("", "_sd"))]
    mean_row = cast(Any, namedtuple)("mean_row", names)

    def mean_and_deviation(by_seed: Iterable[list[Any]], name: str) -> tuple[float, float]:
        known = [[v for row in some if (v := getattr(row, name)) == v] for some in by_seed]
        means = [np.mean(some) for some in known if some]
        return (
            float(np.mean(means)) if means else math.nan,
            float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
        )

    return [
        mean_row(
            *key,
            len(group),
            *(v for name in values for v in mean_and_deviation(group.values(), name)),
        )
        for key, group in groups.items()
    ]


def pivot(
    rows: Sequence[Any], index: Sequence[str], column: str, cell: Callable[[Any], str]
) -> str:
    """A Markdown table with a line for what agrees in some fields, and a column for each value.

    Args:
      rows: with these fields, such as `over_seeds` returns.
      index: the fields that begin a line.
      column: the field whose values head the other columns.
      cell: what to show of a row.
    """
    columns = list(dict.fromkeys(getattr(row, column) for row in rows))
    lines: dict[tuple, dict[Any, str]] = defaultdict(dict)
    for row in rows:
        key = tuple(getattr(row, name) for name in index)
        lines[key][getattr(row, column)] = cell(row)
    heads = [name.replace("_", " ") for name in index]
    table = [[*heads, *columns], ["---"] * len(index) + ["---:"] * len(columns)]
    table += [[*key, *(line.get(c, "") for c in columns)] for key, line in lines.items()]
    return markdown(table)


def percent(mean: Any, value: str) -> str:
    """A share, one of the values of what `over_seeds` returns, in percent with its deviation."""
    share, deviation = getattr(mean, value), getattr(mean, f"{value}_sd")
    return f"{100 * share:.2f}" + (f" ± {100 * deviation:.2f}" if deviation == deviation else "")


def markdown(table: Sequence[Sequence[Any]]) -> str:
    """The lines of cells as a Markdown table."""
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in table)

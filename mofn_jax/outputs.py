"""A run's folder: tables, rules and pictures, each file whole or not there at all."""

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from mofn_jax import checks
from mofn_jax.layer_rules import LayerRules
from mofn_jax.plots import plot_landscape
from mofn_jax.report import (
    chosen_by,
    format_table,
    layer_rows,
    readable_row,
    rows_to_csv,
    rules_by_unit,
)
from mofn_jax.rules_json import rules_to_json


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file under a temporary name, then renames it: never half a file.

    Raises:
      OSError: naming the file, where it cannot be written.
    """
    path = Path(os.path.realpath(path))  # what a link leads to
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}-{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_config(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes config.json: what the run was asked to do, and with which versions."""
    versions = {name: version(name) for name in ("mofn_jax", "jax", "flax", "numpy")}
    write_text(workdir / "config.json", json.dumps({**config, "versions": versions}, indent=1))


def write_results(workdir: Path, results: Sequence[LayerRules]) -> None:
    """Writes layers.csv, rules.json, rules.txt and landscape.png for the layers done so far.

    Raises:
      ValueError: no results.
    """
    workdir, results = checks.path("workdir", workdir), checks.sequence("results", results)
    if not results:
        raise ValueError("results: expected at least one, got none")
    rows = [row for result in results for row in layer_rows(result)]
    rules = [rule for result in results for chosen in result.choices for rule in chosen]
    write_text(workdir / "layers.csv", rows_to_csv(rows))
    write_text(workdir / "rules.json", rules_to_json(rules))
    write_text(workdir / "rules.txt", rules_text(results))
    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    plot_landscape(rows, ax=ax)
    write_whole(workdir / "landscape.png", lambda path: figure.savefig(path, dpi=150))
    plt.close(figure)


def rules_text(results: Sequence[LayerRules]) -> str:
    """Each rule once, after what it was chosen by; of softmax layers first, unit by unit."""
    return "".join(
        f"{chosen_by(same)}  {same[0]}\n"
        for result in sorted(results, key=lambda result: result.kind != "softmax")
        for unit in rules_by_unit(result)
        for same in unit
    )


def summary(results: Sequence[LayerRules]) -> str:
    """What a person reads at the end: the table of layers, notes on them, some softmax rules."""
    rows = [row for result in results for row in layer_rows(result)]
    text = format_table(rows)
    for result in results:
        if result.note:
            text += f"\n{result.name}: {result.note}"
    for result in results:
        if result.kind == "softmax":
            row = readable_row(result)
            rules = result.at(beta=row.beta, max_literals=row.max_literals)
            text += f"\n\n{result.name} rules, {chosen_by(rules[:1])}:\n"
            text += "\n".join(map(str, rules))
    return text

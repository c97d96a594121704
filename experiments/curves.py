"""Curves of errors, a line for each method and a panel for each layer or dataset."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from experiments.rivals import LINEAR, TREE
from mofn_jax import outputs

# How the curve of each method is drawn.
_LINES = {
    "weight order": "o:",
    "exact": "s-.",
    "stepwise": "^--",
    "best": "D-",
    TREE: "x-",
    LINEAR: "+-",
}
_THICK: dict[str, Any] = {"markersize": 4, "linewidth": 1.2}
THIN: dict[str, Any] = {"markersize": 2.5, "linewidth": 0.5, "markerfacecolor": "white"}


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
    picture.legend(
        *handles, loc="outside lower center", ncols=min(4, columns + 1), fontsize="small"
    )
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
                **(_THICK if is_first else THIN),
            )

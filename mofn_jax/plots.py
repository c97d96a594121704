"""Pictures: extraction landscapes. Each function draws on given Axes and returns them."""

from collections.abc import Sequence
from itertools import groupby

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from mofn_jax.report import LayerRow

_MARKERS = "osD^vP*Xph<>"


def plot_landscape(rows: Sequence[LayerRow], *, ax: Axes | None = None) -> Axes:
    """The extraction landscape: mean error against mean complexity over beta, a curve per layer.

    Solid: on the examples the rules were found on; dashed, with hollow markers: on held-out ones.
    Black, at complexity 0: the mean error of the better constant rule.

    Args:
      rows: of any layers and betas, as `layer_rows` gives them.
      ax: where to draw; None for a new figure.

    Returns:
      The Axes.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    by_layer = groupby(rows, key=lambda row: row.layer)
    for i, (name, group) in enumerate(by_layer):
        layer = sorted(group, key=lambda row: row.complexity)
        complexity = [row.complexity for row in layer]
        color, marker = f"C{i % 10}", _MARKERS[i % len(_MARKERS)]
        error = [row.error for row in layer]
        held_out = [row.held_out_error for row in layer]
        ax.plot(complexity, error, color=color, marker=marker, label=name)
        ax.plot(complexity, held_out, "--", color=color, marker=marker, markerfacecolor="white")
        ax.plot(0, layer[0].baseline_error, color="black", marker=marker)
    ax.set_xlabel("mean complexity of the rules (0 to 1)")
    ax.set_ylabel("mean error (share of examples)")
    ax.set_ylim(bottom=0)
    ax.plot([], [], color="gray", linestyle="--", label="on held-out examples")
    ax.plot([], [], color="black", linestyle="", marker=_MARKERS[0], label="constant rule")
    ax.legend(fontsize="small")
    return ax

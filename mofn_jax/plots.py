"""Pictures: extraction landscapes, rule cards, and the errors of every rule of a unit.

Each function draws where it is told to, or on a new figure, and returns the Axes.

Axis letters: E examples, N literals, M needed, n inputs; H, W, C rows, columns and channels of a
picture.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from mofn_jax import checks
from mofn_jax.complexity import complexity
from mofn_jax.measures import inputs_of_rules
from mofn_jax.report import LayerRow
from mofn_jax.rules import Rule, check_rules, format_literals, format_rule, inputs_needed

_MARKERS = "osD^vP*Xph<>"
_COLORS = [f"C{i}" for i in range(10) if i != 7]  # gray is for the legend


def plot_landscape(rows: Sequence[LayerRow], *, ax: Axes | None = None) -> Axes:
    """The extraction landscape: mean error against mean complexity over beta, a curve per layer.

    Solid: on the examples the rules were found on; dashed, with hollow markers: on held-out ones.
    Black, at complexity 0: the mean error of the better constant rule, held-out if there is one.
    Complexity is on a logarithmic scale, from 0 to 0.01 on a linear one.

    Args:
      rows: of any layers, as `layer_rows` gives them. Those of betas are drawn, or if there are
        none, those of numbers of literals.
      ax: where to draw; None for a new figure.

    Returns:
      The Axes.

    Raises:
      ValueError: no rows.
    """
    rows = checks.sequence("rows", rows)
    if not rows or not all(hasattr(row, "complexity") for row in rows):
        raise ValueError("rows: expected at least one, as layer_rows gives them")
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    by_beta = [row for row in rows if row.beta is not None] or rows
    for i, name in enumerate(dict.fromkeys(row.layer for row in rows)):
        layer = sorted(
            (row for row in by_beta if row.layer == name), key=lambda row: row.complexity
        )
        lengths = [row.complexity for row in layer]
        style: dict[str, Any] = {
            "color": _COLORS[i % len(_COLORS)],
            "marker": _MARKERS[i % len(_MARKERS)],
        }
        ax.plot(lengths, [row.error for row in layer], label=name, **style)
        held_out = [row.held_out_error for row in layer]
        ax.plot(lengths, held_out, "--", markerfacecolor="white", **style)
        ax.plot(0, layer[0].baseline_error, **{**style, "color": "black"})
    ax.set_xlabel("mean complexity of the rules (0 to 1)")
    ax.set_ylabel("mean error (share of examples)")
    ax.set_xscale("symlog", linthresh=0.01)
    ax.set_xticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
    ax.set_xlim(-0.001, 1)
    ax.set_ylim(bottom=0)
    if any(row.held_out_error == row.held_out_error for row in rows):
        ax.plot([], [], color="gray", linestyle="--", label="on held-out examples")
    ax.plot([], [], color="black", linestyle="", marker=_MARKERS[0], label="constant rule")
    ax.legend(fontsize="small")
    return ax


def plot_rule_card(
    rule: Rule,
    inputs: ArrayLike,
    pictures: ArrayLike,
    *,
    per_literal: int = 6,
    examples: Sequence[int] = (),
    input_names: Sequence[str] | None = None,
    figure: Figure | SubFigure | None = None,
) -> np.ndarray:
    """A rule, and for each of its literals the pictures that most excite the input it names.

    A row for each literal, with its text and on how many examples it holds; a negated literal holds
    when its input is *not* excited as by these pictures. Above each picture: the value of the
    input. All pictures share one scale from black to white.

    Args:
      rule: the rule.
      inputs: [E, n] real numbers, what its literals test.
      pictures: [E, H, W] or [E, H, W, C] real numbers, what to show of each example; C is 1, or 3
        for colours.
      per_literal: how many pictures of each literal, at most E.
      examples: indices of examples to show in front, with whether each literal holds on them.
      input_names: [n] names of the inputs; see `format_rule`.
      figure: where to draw; None for a new figure.

    Returns:
      The Axes, [N, examples + pictures] for N literals; none for a constant rule.

    Raises:
      ValueError: inputs not finite, or fewer than the rule names; pictures not finite, of another
        shape or number; per_literal below 1; examples that there are not.
    """
    inputs = inputs_of_rules(check_rules([rule]), inputs)
    sizes: list[int | None] = [len(inputs), None, None, None]
    pictures = checks.matrix("pictures", pictures, sizes[: max(3, min(4, np.ndim(pictures)))])
    if pictures.ndim == 4 and pictures.shape[3] not in (1, 3):
        raise ValueError(f"pictures: expected 1 or 3 channels, got {pictures.shape[3]}")
    per_literal = min(checks.at_least("per_literal", per_literal, 1), len(inputs))
    examples = checks.sequence("examples", examples)
    for example in examples:
        is_index = isinstance(example, int | np.integer) and not isinstance(example, bool)
        if not is_index or not 0 <= example < len(inputs):
            raise ValueError(f"examples: expected indices below {len(inputs)}, got {example!r}")
    rows, columns = len(rule.literals), len(examples) + per_literal
    if figure is None:
        size = (3 + 0.9 * columns, 1.2 + 1.1 * rows)
        figure = plt.figure(figsize=size, layout="constrained")
    # Lines that fit; the measures, behind three blanks, get their own.
    letters = int(13 * figure.bbox.width / figure.dpi)
    parts = format_rule(rule, input_names).split("   ")
    figure.suptitle("\n".join(textwrap.fill(part, letters) for part in parts), fontsize=9)
    if rows == 0:
        return np.empty((0, columns), object)
    below = "examples on which each literal's input is largest, and its value"
    if len(examples):
        below = f"the {len(examples)} chosen; then {below}"
    figure.supxlabel(below, fontsize=9)
    axes = figure.subplots(rows, columns, squeeze=False)
    low, high = float(pictures.min()), float(pictures.max())
    texts = format_literals(rule, input_names)
    for row, literal, text in zip(axes, rule.literals, texts, strict=True):
        values = inputs[:, literal.input].astype(np.float64)
        holds = (inputs[:, literal.input] >= literal.threshold) != literal.negated
        largest = np.argsort(-values, kind="stable")[:per_literal]
        for ax, example in zip(row, [*examples, *largest], strict=True):
            picture = (pictures[example].astype(np.float64) - low) / ((high - low) or 1)
            ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
            ax.set_title(f"{values[example]:.4g}", fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
        for ax, example in zip(row, examples, strict=False):
            ax.set_xlabel("holds" if holds[example] else "does not hold", fontsize=9)
        label = f"{text}\nholds on {holds.mean():.0%} of all examples,\n"
        label += f"on {holds[largest].sum()} of the {per_literal} that most excite it"
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    return axes


def plot_filter_rules(
    weights: ArrayLike, rules: Sequence[Rule], *, figure: Figure | SubFigure | None = None
) -> np.ndarray:
    """The weights of a filter, and which inputs of its patch its rules name, as pictures.

    White: a literal, the input reaches a threshold; black: a negated literal, it stays below one;
    gray: the rule does not name it; with ± where it names it in both ways. Of one channel all
    pictures stand in a row, of more each in a row of its own, its channels side by side. All
    weights share one scale, gray at 0.

    Args:
      weights: [rows, columns] or [rows, columns, C] real numbers, of one filter.
      rules: of this filter, such as those of rising beta, which grow shorter.
      figure: where to draw; None for a new figure.

    Returns:
      The Axes, [1 + rules, C], the weights first.

    Raises:
      ValueError: weights not finite or of another shape, or rules of another kernel.

    Examples:
      >>> from mofn_jax.rules import Literal
      >>> literals = Literal(4, 0.5, negated=False), Literal(0, 0.1, negated=True)
      >>> rule = Rule(0, 1, literals, 0.1, 0.2, 0.3)
      >>> plot_filter_rules(np.array([[-1, 0, 0], [0, 2, 0]]), [rule]).shape
      (2, 1)
    """
    sizes: list[int | None] = [None, None, None]
    weights = checks.matrix("weights", weights, sizes[: max(2, min(3, np.ndim(weights)))])
    weights = weights.reshape(*weights.shape[:2], -1).astype(np.float64)
    rules = check_rules(rules)
    for i, rule in enumerate(rules):
        if rule.kernel_shape not in (None, weights.shape) or inputs_needed([rule]) > weights.size:
            raise ValueError(
                f"rules[{i}]: is not about a kernel of shape {list(weights.shape)}, as the weights"
            )
    num_channels = weights.shape[2]
    shape = (1 + len(rules), num_channels)
    if figure is None:
        wide = shape if num_channels > 1 else shape[::-1]
        size = (0.5 + 1.6 * wide[1], 0.5 + 1.8 * wide[0])
        figure = plt.figure(figsize=size, layout="constrained")
    if num_channels > 1:
        axes = figure.subplots(*shape, squeeze=False)
    else:
        axes = figure.subplots(*shape[::-1], squeeze=False).T
    largest = np.abs(weights).max() or 1
    names = [f"{_body(rule)}\nerror {rule.error:.1%}" for rule in rules]
    pictures = [weights / largest]
    pictures += [_named_inputs(rule, weights.shape) for rule in rules]
    for row, name, picture in zip(axes, ["weights\n", *names], pictures, strict=True):
        for channel, ax in enumerate(row):
            ax.imshow(picture[..., channel], cmap="gray", vmin=-1, vmax=1)
            for y, x in np.argwhere(np.isnan(picture[..., channel])):
                ax.text(x, y, "±", ha="center", va="center")
            ax.set_xticks([])
            ax.set_yticks([])
            if num_channels > 1 and row is axes[0]:
                ax.set_title(f"channel {channel}", fontsize=9)
        if num_channels > 1:
            row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        else:
            row[0].set_title(name, fontsize=9)
    return axes


def _body(rule: Rule) -> str:
    if 0 < rule.m <= len(rule.literals):
        return f"{rule.m} of {len(rule.literals)}"
    return "true" if rule.m == 0 else "false"


def _named_inputs(rule: Rule, shape: tuple[int, ...]) -> np.ndarray:
    """1 where a rule names an input, -1 where negated, NaN where both, 0 elsewhere: [*shape]."""
    named = np.zeros(shape)
    for literal in rule.literals:
        place = np.unravel_index(literal.input, shape)
        sign = -1 if literal.negated else 1
        named[place] = sign if named[place] in (0, sign) else np.nan
    return named


def plot_scores(errors: ArrayLike, *, mark_front: bool = False, ax: Axes | None = None) -> Axes:
    """The errors of every rule over the first literals of one unit, as a heat map.

    A row for each N, literals taken; a column for each M, literals needed; blank where there is no
    rule. The brightest colour is for errors of at least the better constant rule's. A star marks
    the rule of least error, the least complex one on a tie.

    Args:
      errors: [N + 1, N + 2] integers, counts of errors as `score_unit` gives them.
      mark_front: whether to mark the rules that no other beats in both error and complexity.
      ax: where to draw; None for a new figure.

    Returns:
      The Axes.

    Raises:
      ValueError: errors not integers, negative or of another shape.
    """
    errors = checks.matrix("errors", errors, [None, None])
    if errors.shape[1] != len(errors) + 1:
        raise ValueError(f"errors: expected shape [N + 1, N + 2], got {list(errors.shape)}")
    # Each example is an error of one of the constant rules, true and false.
    num_examples = errors[0, :2].sum()
    if errors.dtype.kind not in "iu" or errors.min() < 0 or num_examples == 0:
        raise ValueError("errors: expected counts, integers of at least 0, of at least one example")
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 5), layout="constrained")
    is_rule = np.tri(len(errors), len(errors) + 1, k=1, dtype=bool)
    shares = np.where(is_rule, errors / num_examples, np.nan)
    image = ax.imshow(shares, cmap="cividis", vmin=0, vmax=shares[0, :2].min() or 1)
    label = "error (share of examples), up to the better constant rule's"
    ax.figure.colorbar(image, ax=ax, extend="max", label=label)
    front = _front_cells(errors, is_rule)
    if mark_front:
        taken, m = front.T
        ax.plot(m, taken, "o", color="white", markeredgecolor="black", label="front")
    taken, m = front[-1]
    label = f"least error: M = {m}, N = {taken}, {errors[taken, m] / num_examples:.1%}"
    ax.plot(m, taken, "*", color="white", markeredgecolor="black", markersize=14, label=label)
    ax.set_xlabel("M, literals needed")
    ax.set_ylabel("N, literals taken")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize="small")
    return ax


def _front_cells(errors: np.ndarray, is_rule: np.ndarray) -> np.ndarray:
    """N and M of the rules on the table's front, least complex first: [., 2]."""
    taken, m = np.nonzero(is_rule)
    counts = errors[taken, m]
    order = np.lexsort((m, taken, counts, complexity(m, taken, len(errors))))
    counts = counts[order]
    improves = np.append(True, counts[1:] < np.minimum.accumulate(counts)[:-1])
    return np.stack([taken, m], axis=1)[order[improves]]

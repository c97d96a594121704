"""Tables: how well a layer's rules explain it, one row for each layer and choice of rules."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mofn_jax import checks
from mofn_jax.layer_rules import LayerRules
from mofn_jax.measures import mean_measures
from mofn_jax.rules import Rule, check_rules, format_body, named_literals


class LayerRow(NamedTuple):
    """Means over the units of a layer that are not constant, of one choice; NaN if all are."""

    layer: str
    kind: str
    inputs: int  # n
    units: int  # u
    constant_units: int  # units that are always or never on
    proven_literals: int  # no rule of as many of the literals, or fewer, is better; 0: not searched
    beta: float | None  # the price of complexity at which the rules were chosen, or
    max_literals: int | None  # the most literals that they were allowed
    error: float  # on the examples the rules were found on
    held_out_error: float  # NaN without held-out examples
    baseline_error: float  # of the constant rule; on the held-out examples, if there are any
    skill: float  # on the held-out examples, if any, of the units that are not constant there
    complexity: float
    literals: float
    # Shares of the units whose held-out error is at most 1% or 5% by its bound, see `error_bound`.
    within_1_percent: float = float("nan")
    within_5_percent: float = float("nan")
    # Of a softmax layer, the share of examples on which no class's rule says on, or several do.
    none_on: float = float("nan")
    several_on: float = float("nan")


def layer_rows(result: LayerRules) -> tuple[LayerRow, ...]:
    """A layer's rows, one for each beta, then one for each length.

    Raises:
      ValueError: not a layer's rules.
    """
    checks.instance("result", result, LayerRules)
    choices: list[tuple[float | None, int | None, tuple[Rule, ...]]] = [
        *((beta, None, rules) for beta, rules in sorted(result.rules.items())),
        *((None, length, rules) for length, rules in sorted(result.by_length.items())),
    ]
    undecided = result.undecided or {}
    return tuple(
        LayerRow(
            layer=result.name,
            kind=result.kind,
            inputs=result.front.num_inputs,
            units=len(result.front.units),
            constant_units=result.constant_units,
            proven_literals=result.front.proven_literals,
            beta=beta,
            max_literals=length,
            **mean_measures(rules),
            **dict(zip(("none_on", "several_on"), undecided.get((beta, length), ()), strict=False)),
        )
        for beta, length, rules in choices
    )


def readable_row(result: LayerRules) -> LayerRow:
    """The row of the rules to read first.

    They are the least complex, then the shortest, of those that cost less than a hundredth of error
    over the most exact ones.
    """
    rows = layer_rows(result)
    least = min(row.error for row in rows)
    # Not "at most", which is never true where all units are constant and errors NaN.
    return min(
        (row for row in rows if not row.error > least + 0.01),
        key=lambda row: (row.complexity, row.literals),
    )


def rules_by_unit(result: LayerRules) -> list[list[list[Rule]]]:
    """Of each unit its different rules, of each the times that it was chosen."""
    units = []
    for rules in zip(*result.choices, strict=True):
        chosen: dict[tuple, list[Rule]] = {}
        for rule in rules:
            chosen.setdefault((rule.m, rule.literals), []).append(rule)
        units.append(list(chosen.values()))
    return units


def chosen_by(rules: Sequence[Rule | LayerRow]) -> str:
    """What a rule was chosen by, of each time that it was: betas, and numbers of literals."""
    betas = ", ".join(f"{rule.beta:g}" for rule in rules if rule.beta is not None)
    lengths = ", ".join(str(rule.max_literals) for rule in rules if rule.beta is None)
    parts = [f"beta {betas}" * bool(betas), f"at most {lengths} literals" * bool(lengths)]
    return "; ".join(filter(None, parts))


class RuleRow(NamedTuple):
    """A rule, for a table of many: `pandas.DataFrame(rule_rows(rules))`."""

    layer: str
    unit: int
    unit_name: str
    beta: float | None
    max_literals: int | None
    rule: str  # such as "2 of {x3 >= 1, x5 < 0}"
    m: int
    literals: int
    complexity: float
    error: float  # on the examples it was found on
    baseline_error: float
    held_out_error: float | None
    held_out_bound: float | None  # what that is at most, for all units of the layer at once
    held_out_baseline_error: float | None
    unit_threshold: float | None
    position: tuple[int, ...] | None


class LiteralRow(NamedTuple):
    """A literal of a rule, for a table of many: `pandas.DataFrame(literal_rows(rules))`."""

    layer: str
    unit: int
    unit_name: str
    beta: float | None
    max_literals: int | None
    literal: str  # such as "x3 >= 1"
    input: int
    name: str
    negated: bool
    threshold: float  # in the network's units
    shown_threshold: float  # in those of the table


def rule_rows(rules: Iterable[Rule]) -> tuple[RuleRow, ...]:
    """The rules as rows of a table.

    Raises:
      ValueError: rules that are none.
    """
    return tuple(
        RuleRow(
            *_which(rule),
            rule=format_body(rule),
            m=rule.m,
            literals=len(rule.literals),
            **{name: getattr(rule, name) for name in RuleRow._fields[8:]},
        )
        for rule in check_rules(rules)
    )


def literal_rows(rules: Iterable[Rule]) -> tuple[LiteralRow, ...]:
    """The literals of the rules as rows of a table.

    Raises:
      ValueError: rules that are none.
    """
    return tuple(
        LiteralRow(
            *_which(rule),
            literal=str(literal),
            input=literal.input,
            name=str(literal.name),
            negated=literal.negated,
            threshold=literal.threshold,
            shown_threshold=literal.shown(literal.threshold),
        )
        for rule in check_rules(rules)
        for literal in named_literals(rule)
    )


def _which(rule: Rule) -> tuple[str, int, str, float | None, int | None]:
    return rule.layer, rule.unit, rule.unit_name, rule.beta, rule.max_literals


def format_table(rows: Sequence[Any]) -> str:
    """The rows, NamedTuples of one kind, as aligned text, numbers to the right.

    Raises:
      ValueError: no rows.
    """
    rows = _some(rows)
    heads = [field.replace("_", " ") for field in rows[0]._fields]
    texts = [isinstance(value, str) for value in rows[0]]
    cells = [[value if isinstance(value, str) else _number(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if is_text else cell.rjust(width)
            for cell, width, is_text in zip(line, widths, texts, strict=True)
        ).rstrip()
        for line in [heads, *cells]
    ]
    return "\n".join(lines)


def _some(rows: Sequence[Any]) -> list[Any]:
    rows = checks.sequence("rows", rows)
    if not rows:
        raise ValueError("rows: expected at least one, got none")
    if not hasattr(rows[0], "_fields") or any(type(row) is not type(rows[0]) for row in rows):
        raise ValueError("rows: expected NamedTuples of one kind")
    return rows


def _number(value: float | None) -> str:
    if isinstance(value, int):
        return str(value)
    return "-" if value is None or np.isnan(value) else f"{value:.4g}"


def rows_to_csv(rows: Sequence[Any]) -> str:
    """The rows, NamedTuples of one kind, as CSV in full precision; an empty field for NaN.

    Raises:
      ValueError: no rows.
    """
    rows = _some(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0]._fields)
    writer.writerows(["" if value != value else value for value in row] for row in rows)
    return text.getvalue()

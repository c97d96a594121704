"""What rules say of examples, and how true that is: of a rule, and of a layer's rules on average.

Axis letters: E examples, n inputs, u units.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mofn_jax import checks
from mofn_jax.bounds import error_bound
from mofn_jax.chunking import row_slices
from mofn_jax.rules import Rule, Rules, check_rules, inputs_needed

_SLICE_BYTES = 2**26  # of inputs evaluated at a time


def evaluate_rules(rules: Sequence[Rule], inputs: ArrayLike) -> np.ndarray:
    """What the rules say of each example.

    Args:
      rules: u rules over the same inputs.
      inputs: [E, n] real numbers; a literal compares in their own precision.

    Returns:
      [E, u] booleans.

    Raises:
      ValueError: inputs not finite, or fewer than the rules name; rules that are none.
    """
    rules = check_rules(rules)
    return _counts(rules, inputs) >= np.array([rule.m for rule in rules])


def count_literals(rules: Sequence[Rule], inputs: ArrayLike) -> np.ndarray:
    """How many literals of each rule hold on each example.

    Args:
      rules: u rules over the same inputs.
      inputs: [E, n] real numbers; a literal compares in their own precision.

    Returns:
      [E, u] int32.

    Raises:
      ValueError: inputs not finite, or fewer than the rules name; rules that are none.
    """
    return _counts(check_rules(rules), inputs)


def _counts(rules: Sequence[Rule], inputs: ArrayLike) -> np.ndarray:
    inputs = inputs_of_rules(rules, inputs)
    counts = np.zeros((len(inputs), len(rules)), np.int32)
    for rows in row_slices(inputs, _SLICE_BYTES):
        # Columns in one piece: rules may have thousands of literals, and each reads one.
        columns = np.ascontiguousarray(inputs[rows].T)
        for rule, count in zip(rules, counts[rows].T, strict=True):
            for literal in rule.literals:
                count += (columns[literal.input] >= literal.threshold) != literal.negated
    return counts


def inputs_of_rules(rules: Sequence[Rule], inputs: ArrayLike) -> np.ndarray:
    """The inputs [E, n] on the host.

    Raises:
      ValueError: inputs not finite, or fewer than the rules name.
    """
    inputs = checks.matrix("inputs", inputs, [None, None])
    needed = inputs_needed(rules)
    if inputs.shape[1] < needed:
        raise ValueError(f"inputs: the rules need at least {needed} columns, got {inputs.shape[1]}")
    return inputs


def measure_held_out(
    rules: Sequence[Rule], inputs: ArrayLike, targets: ArrayLike, *, num_units: int | None = None
) -> tuple[Rule, ...]:
    """The rules, with their error, its bound, and the baseline error on other examples.

    Args:
      rules: u rules over the same inputs.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans, whether each unit is on.
      num_units: of their layer, for all of which the bounds hold at once, see `error_bound`; None
        for u.

    Returns:
      u rules.

    Raises:
      ValueError: shapes disagree, inputs not finite, targets not boolean, rules that are none.
    """
    rules = check_rules(rules)
    says = evaluate_rules(rules, inputs)
    targets = checks.booleans("targets", targets, says.shape)
    errors, on = (says != targets).sum(0), targets.sum(0)
    baselines = np.minimum(on, len(targets) - on)
    num_units = max(1, len(rules)) if num_units is None else num_units
    bounds = error_bound(errors, len(targets), num_units=num_units)
    shares = (errors / len(targets), baselines / len(targets), bounds)
    return Rules(
        rule._replace(held_out_error=error, held_out_baseline_error=baseline, held_out_bound=bound)
        for rule, error, baseline, bound in zip(rules, *(s.tolist() for s in shares), strict=True)
    )


def mean_measures(rules: Sequence[Rule]) -> dict[str, float]:
    """Means over those rules of a layer's units that are not constant; NaN if all are."""
    held_out = rules[0].held_out_error is not None
    # Of a constant unit there is nothing to explain, and no rule of it errs.
    rules = [rule for rule in rules if rule.baseline_error > 0]
    skills = [rule.held_out_skill if held_out else rule.skill for rule in rules]

    def mean(values: Iterable[float | None]) -> float:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else float("nan")

    return {
        "error": mean(rule.error for rule in rules),
        "held_out_error": mean(rule.held_out_error for rule in rules),
        "baseline_error": mean(
            rule.held_out_baseline_error if held_out else rule.baseline_error for rule in rules
        ),
        "skill": mean(value for value in skills if value == value),
        "complexity": mean(rule.complexity for rule in rules),
        "literals": mean(len(rule.literals) for rule in rules),
        "within_1_percent": mean(_is_within(rule, 0.01) for rule in rules),
        "within_5_percent": mean(_is_within(rule, 0.05) for rule in rules),
    }


def _is_within(rule: Rule, error: float) -> bool | None:
    return None if rule.held_out_bound is None else rule.held_out_bound <= error

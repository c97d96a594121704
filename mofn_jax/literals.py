"""Literals: a unit's inputs against their thresholds, signed and ordered by its weights.

Input i of weight W_i gives the literal `X_i >= t_i` if W_i > 0 and its negation `X_i < t_i` if
W_i < 0; an input of weight 0, or a constant one (which has no threshold), gives none. Literals come
in order of |W_i|, largest first, the lower input first on a tie.

Axis letters: E examples, N literals, n inputs, u units.
"""

from typing import NamedTuple

import numpy as np

from mofn_jax import checks
from mofn_jax.chunking import row_slices


class Literals(NamedTuple):
    """Literals of one unit, in order."""

    inputs: np.ndarray  # [N] int32, index of the input
    thresholds: np.ndarray  # [N] floats
    negated: np.ndarray  # [N] bool; true for `X < t`
    gains: np.ndarray | None = None  # [N] float64, nats, of the thresholds about the unit; if known

    def first(self, count: int) -> "Literals":
        """The first literals, sharing memory with these."""
        return self.take(slice(count))

    def take(self, which: slice | np.ndarray) -> "Literals":
        """The literals at these positions; of a slice, sharing memory with these."""
        gains = None if self.gains is None else self.gains[which]
        return Literals(self.inputs[which], self.thresholds[which], self.negated[which], gains)

    def and_those(self, others: "Literals") -> "Literals":
        """These literals, then the others; their gains are not kept."""
        pairs = zip(self[:3], others[:3], strict=True)
        return Literals(*(np.concatenate(pair) for pair in pairs))

    def flip(self, which: np.ndarray) -> "Literals":
        """The literals, those at which [N] is true negated."""
        return self._replace(negated=self.negated ^ which)


NO_LITERALS = Literals(np.zeros(0, np.int32), np.zeros(0), np.zeros(0, bool))


def most_literals(max_literals: int | None, num_inputs: int) -> int:
    """The largest N of a rule over n inputs under a limit, or None.

    Raises:
      ValueError: max_literals below 1.
    """
    if max_literals is None:
        return num_inputs
    return min(checks.at_least("max_literals", max_literals, 1), num_inputs)


def ordered_literals(
    weights: np.ndarray,
    thresholds: np.ndarray,
    max_literals: int | None = None,
    *,
    gains: np.ndarray | None = None,
) -> Literals:
    """The literals of one unit, largest |weight| first.

    Args:
      weights: [n] real numbers.
      thresholds: [n] floats, NaN for an input that has none.
      max_literals: how many to keep; None keeps all.
      gains: [n] floats, the information gain of each threshold; None if not known.

    Returns:
      Literals, at most n of them.

    Raises:
      ValueError: shapes that disagree, weights that are not finite, max_literals below 1.

    Examples:
      >>> ordered_literals(np.array([0.5, -2.0, 0.0]), np.array([0.1, 0.2, 0.3])).inputs.tolist()
      [1, 0]
    """
    weights = checks.matrix("weights", weights, [None])
    thresholds = checks.matrix("thresholds", thresholds, weights.shape, nan_is_missing=True)
    if gains is not None:
        gains = checks.matrix("gains", gains, weights.shape)
    # As floats: unsigned integers and booleans have no negative.
    order = np.argsort(-np.abs(weights.astype(np.float64)), kind="stable")
    order = order[(weights[order] != 0) & ~np.isnan(thresholds[order])]
    order = order[: most_literals(max_literals, len(weights))]
    some_gains = None if gains is None else gains[order]
    return Literals(order.astype(np.int32), thresholds[order], weights[order] < 0, some_gains)


def ordered_literals_by_gain(
    inputs: np.ndarray, target: np.ndarray, thresholds: np.ndarray, gains: np.ndarray
) -> Literals:
    """The literals of one unit without weights, largest information gain first.

    A literal is negated if the unit is less often on at and above the threshold than below it. On a
    tie of the gain the lower input comes first.

    Args:
      inputs: [E, n] real numbers.
      target: [E] booleans, whether the unit is on.
      thresholds: [n] floats, NaN for an input that has none.
      gains: [n] floats, the information gain of each threshold.

    Returns:
      Literals, at most n of them.

    Examples:
      >>> inputs, target = np.array([[0, 9], [1, 8], [2, 7]]), np.array([True, True, False])
      >>> ordered_literals_by_gain(inputs, target, np.array([2, 8]), np.array([0.6, 0.6]))
      Literals(inputs=array([0, 1], dtype=int32), thresholds=array([2, 8]),
               negated=array([ True, False]), gains=array([0.6, 0.6]))
    """
    num_above, num_on_above = np.zeros((2, len(thresholds)), np.int64)
    for rows in row_slices(inputs):
        above = inputs[rows] >= thresholds
        num_above += np.count_nonzero(above, axis=0)
        num_on_above += np.count_nonzero(above[target[rows]], axis=0)
    falls = num_on_above * len(target) < num_above * np.count_nonzero(target)
    order = np.argsort(-gains, kind="stable")
    order = order[~np.isnan(thresholds[order])]
    return Literals(order.astype(np.int32), thresholds[order], falls[order], gains[order])


def check_literals(name: str, literals: Literals, num_inputs: int) -> None:
    """Asks that the literals are about some of n inputs.

    Raises:
      ValueError: naming them.
    """
    named, thresholds, negated, _ = checks.instance(name, literals, Literals)
    shape = checks.on_host(f"{name}.inputs", named).shape
    if shape == (0,) == np.shape(thresholds) == np.shape(negated):  # a constant rule's
        return
    named = checks.matrix(f"{name}.inputs", named, [None])
    checks.matrix(f"{name}.thresholds", thresholds, shape)
    checks.booleans(f"{name}.negated", negated, shape)
    if named.dtype.kind not in "iu" or named.min() < 0 or named.max() >= num_inputs:
        raise ValueError(f"{name}.inputs: expected integers in 0..{num_inputs - 1}, got {named}")


def literal_truth(literals: Literals, inputs: np.ndarray) -> np.ndarray:
    """Which literals hold on which examples.

    Args:
      literals: N literals.
      inputs: [E, n] real numbers, compared in their own precision.

    Returns:
      [E, N] booleans.

    Raises:
      ValueError: inputs not finite, or fewer than the literals name; literals that are none.
    """
    inputs = checks.matrix("inputs", inputs, [None, None])
    check_literals("literals", literals, inputs.shape[1])
    return truth_of(literals, inputs)


def truth_of(literals: Literals, inputs: np.ndarray) -> np.ndarray:
    """As `literal_truth`, of literals and inputs that have been checked."""
    which, thresholds, negated = map(np.asarray, literals[:3])
    return (inputs[:, which.astype(np.int64)] >= thresholds) ^ negated.astype(bool)

"""How complex a rule is, and the rules over a unit's first literals in this order.

Axis letters: N literals taken, M needed, n inputs, C rules.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from mofn_jax import checks


def complexity(m: ArrayLike, num_literals: ArrayLike, num_inputs: int) -> np.ndarray:
    """How long a rule is, as a DNF on a log scale, over the longest there is.

    `log(M * C(N, M)) / log(m * C(n, m))` with `m = ceil((n + 1) / 2)` (Odense and d'Avila Garcez,
    2020); 0 for the constant rules (M = 0, M > N) and where n = 1. Rules of equal length have
    equal complexity, bit for bit.

    Args:
      m: integers, how many literals must hold.
      num_literals: integers that broadcast with m, how many literals there are.
      num_inputs: n, all inputs of the layer, also those without a literal.

    Returns:
      float64, in 0..1.

    Raises:
      ValueError: not integers, below 0, or more literals than inputs.

    Examples:
      >>> complexity([1, 2, 2], [2, 2, 3], num_inputs=3).round(6).tolist()
      [0.386853, 0.386853, 1.0]
    """
    num_inputs = checks.at_least("num_inputs", num_inputs, 1)
    m, num_literals = _counts("m", m), _counts("num_literals", num_literals)
    try:
        m, num_literals = np.broadcast_arrays(m, num_literals)
    except ValueError as error:
        raise ValueError(f"num_literals: shaped otherwise than m ({error})") from error
    if np.max(num_literals, initial=0) > num_inputs:
        raise ValueError(f"num_literals: expected at most {num_inputs}, got {num_literals.max()}")
    constant = (m <= 0) | (m > num_literals)
    m, num_literals = np.where(constant, 1, m), np.where(constant, 1, num_literals)
    return _of_longest(_log_length(m, num_literals, _log_factorials(num_inputs)), num_inputs)


def dnf_complexity(length: ArrayLike, num_inputs: int) -> np.ndarray:
    """The complexity of any DNF by its length, on the scale of M-of-N rules: may be beyond 1.

    Args:
      length: integers, how many literals all conjunctions have together; 0 of a constant.
      num_inputs: n, all inputs of the layer.

    Returns:
      float64, at least 0.

    Raises:
      ValueError: not integers, or below 0.

    Examples:
      >>> dnf_complexity([0, 1, 2, 6], num_inputs=3).round(6).tolist()  # 6: 2 of 3 literals
      [0.0, 0.0, 0.386853, 1.0]
    """
    num_inputs = checks.at_least("num_inputs", num_inputs, 1)
    log_length = np.round(np.log(np.maximum(_counts("length", length), 1)), 10)
    return _of_longest(log_length, num_inputs)


def _of_longest(log_length: np.ndarray, num_inputs: int) -> np.ndarray:
    longest = _log_longest(num_inputs)
    return log_length / longest if longest > 0 else np.zeros_like(log_length)


@lru_cache(maxsize=8)
def _log_longest(num_inputs: int) -> float:
    """log(m * C(n, m)) with m = ceil((n + 1) / 2), the most that it can be."""
    return float(_log_length((num_inputs + 2) // 2, num_inputs, _log_factorials(num_inputs)))


def _counts(name: str, counts: Any) -> np.ndarray:
    counts = checks.on_host(name, counts)
    if counts.dtype.kind not in "iu" or np.min(counts, initial=0) < 0:
        raise ValueError(f"{name}: expected integers of at least 0, got {counts}")
    if np.max(counts, initial=0) > np.iinfo(np.int64).max // 2:
        raise ValueError(f"{name}: too large, got {counts}")
    return counts.astype(np.int64)  # of narrow integers NumPy's logarithms are narrow


def _log_factorials(largest: int) -> np.ndarray:
    """log 0!, log 1!, ... [largest + 1] float64."""
    return gammaln(np.arange(1, largest + 2))


def _log_length(m, num_literals, log_factorial: np.ndarray):
    """log(M * C(N, M)) = log N + log C(N-1, M-1), rounded so that equal lengths compare equal."""
    m = np.minimum(m, num_literals + 1 - m)  # these two too, which rounding can part
    binomial = (
        log_factorial[num_literals - 1] - log_factorial[m - 1] - log_factorial[num_literals - m]
    )
    return np.round(np.log(num_literals) + binomial, 10)


class PrefixOrder(NamedTuple):
    """The rules over a unit's first literals, least complex first, then by N, then by M."""

    ranks: np.ndarray  # [N + 1, N + 2] int32, ascending in that order; NO_RULE where not a rule
    taken: np.ndarray  # [C] int32, N of the rules of rank 2 c and 2 c + 1
    m: np.ndarray  # [C] int32, M of the rule of rank 2 c; that of rank 2 c + 1 is N + 1 - M

    def rules_at(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """N and M of the rules of these ranks."""
        taken, m = self.taken[ranks // 2], self.m[ranks // 2]
        return taken, np.where(ranks % 2, taken + 1 - m, m)


NO_RULE = np.iinfo(np.int32).max


def prefix_order(num_literals: int) -> PrefixOrder:
    """The order of all rules over the first N = 0..num_literals literals.

    The constant rules, M = 0 and 1 of no literals, appear once. The arrays are read-only.

    Raises:
      ValueError: num_literals not an integer of at least 0.
    """
    return _prefix_order(checks.at_least("num_literals", num_literals, 0))


@lru_cache(maxsize=2)
def _prefix_order(num_literals: int) -> PrefixOrder:
    order = prefix_order_from(0, num_literals, num_literals)
    for array in order:
        array.flags.writeable = False  # it is kept for the next caller
    return order


ORDER_BYTES = 24  # to make an order takes, for each entry of its ranks


def prefix_order_from(first: int, stop: int, num_literals: int) -> PrefixOrder:
    """The order of some of the rules: those of N = first + 1..stop, from 0 the constant ones too.

    M and N + 1 - M of N literals make rules of equal length, so that only one of them is sorted.

    Args:
      first: N of the first row of ranks, which holds rules only if it is 0.
      stop: N of the last row; rows beyond num_literals hold no rules.
      num_literals: as of all rules; the ranks are [stop - first + 1, num_literals + 2].
    """
    log_factorial = _log_factorials(num_literals)
    rows = np.arange(first, min(stop, num_literals) + 1)
    sizes = (rows + 1) // 2
    sizes[0] = first == 0
    starts = np.append(0, np.cumsum(sizes))
    lengths, m = np.zeros(starts[-1]), np.zeros(starts[-1], np.int32)
    for i, taken in enumerate(rows[1:], 1):  # by rows: there may be tens of millions of rules
        row = slice(starts[i], starts[i + 1])
        m[row] = np.arange(1, sizes[i] + 1)
        lengths[row] = _log_length(m[row], taken, log_factorial)
    lengths[: sizes[0]] = -1  # the constant rules come before the single literals, as short
    order = np.argsort(lengths)
    lengths = lengths[order]
    tied = np.concatenate([[False], lengths[1:] == lengths[:-1], [False]])
    for one, last in np.flatnonzero(np.diff(tied)).reshape(-1, 2):
        order[one : last + 1].sort()
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    ranks = np.full((stop - first + 1, num_literals + 2), NO_RULE, np.int32)
    if first == 0:
        ranks[0, :2] = 0, 1
    for i, taken in enumerate(rows[1:], 1):
        row_ranks = 2 * places[starts[i] : starts[i + 1]]
        ranks[i, taken : taken - len(row_ranks) : -1] = row_ranks + 1
        ranks[i, 1 : len(row_ranks) + 1] = row_ranks
    taken_by_row = np.repeat(rows.astype(np.int32), sizes)
    return PrefixOrder(ranks, taken_by_row[order], m[order])

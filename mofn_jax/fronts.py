"""The front of a unit: every rule that no other rule beats in both error and complexity.

Of rules with equal error and equal complexity the front keeps the one with fewer literals, then the
one that needs fewer. The rule of least `error + beta * complexity` is on the front for every beta,
so any beta is answered from it without another search.

Axis letters: E examples, N literals, M needed, n inputs, u units.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mofn_jax import checks
from mofn_jax.literals import Literals
from mofn_jax.scoring import NO_RULE, PrefixOrder, complexity


class Candidate(NamedTuple):
    """A scored rule: at least m of the literals hold."""

    m: int
    literals: Literals
    errors: int  # examples on which rule and target differ
    complexity: float


class RuleFront(NamedTuple):
    """The fronts of a layer's units."""

    units: tuple[tuple[Candidate, ...], ...]  # of each unit, the least complex first
    on_counts: np.ndarray  # [u] int64, examples on which the unit is on
    num_examples: int  # E
    num_inputs: int  # n
    proven_literals: int = 0  # no rule of as many of the literals, or fewer, beats the front


def non_dominated(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates that no other beats in both error and complexity, least complex first."""
    front: list[Candidate] = []
    for candidate in sorted(
        candidates, key=lambda c: (c.complexity, c.errors, len(c.literals.inputs), c.m)
    ):
        if not front or candidate.errors < front[-1].errors:
            front.append(candidate)
    return tuple(front)


def front_of_prefixes(
    least_ranks: np.ndarray, order: PrefixOrder, literals: Literals, num_inputs: int
) -> tuple[Candidate, ...]:
    """The front of one unit among the rules over its first literals.

    Args:
      least_ranks: int32, the least rank of a rule with 0, 1, ... errors, as `score_layer` gives it.
      order: of those rules.
      literals: the unit's literals.
      num_inputs: n.

    Returns:
      Candidates, least complex first.
    """
    before = np.append(NO_RULE, np.minimum.accumulate(least_ranks)[:-1])
    errors = np.flatnonzero(least_ranks < before)
    taken, m = order.rules_at(least_ranks[errors])
    lengths = complexity(m, taken, num_inputs)
    return non_dominated(
        map(Candidate, m.tolist(), map(literals.first, taken), errors.tolist(), lengths.tolist())
    )


def select(front: RuleFront, beta: float) -> tuple[Candidate, ...]:
    """Of each unit, the rule of least `error + beta * complexity`; the less complex one on a tie.

    Raises:
      ValueError: beta negative or not finite.
    """
    checks.non_negative("beta", beta)
    return tuple(
        # Times E, so that counts stay integers: rounded shares would break ties at random.
        min(unit, key=lambda c: c.errors + front.num_examples * beta * c.complexity)
        for unit in front.units
    )


def merge_fronts(*fronts: RuleFront) -> RuleFront:
    """Of each unit, the front of all the fronts' rules, found on the same examples.

    Raises:
      ValueError: fronts of other units or other examples.
    """
    first = fronts[0]
    for other in fronts[1:]:
        if (first.num_examples, first.num_inputs) != (other.num_examples, other.num_inputs) or (
            not np.array_equal(first.on_counts, other.on_counts)
        ):
            raise ValueError("fronts: expected fronts of the same units on the same examples")
    return first._replace(
        units=tuple(
            non_dominated(candidate for unit in units for candidate in unit)
            for units in zip(*(front.units for front in fronts), strict=True)
        ),
        proven_literals=max(front.proven_literals for front in fronts),
    )

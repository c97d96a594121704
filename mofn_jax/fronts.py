"""The front of a unit: every rule that no other rule beats in error, complexity and length at once.

One rule beats another if it makes no more errors, is no more complex and has no more literals, and
is better in one of these; of two that are equal in all three, the one that needs fewer literals.
The rule of least `error + beta * complexity`, or of least error, of any beta and among rules up to
any length or complexity, is on the front: all are answered from it without another search.

Axis letters: E examples, N literals, M needed, n inputs, u units.
"""

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mofn_jax import checks
from mofn_jax.complexity import NO_RULE, PrefixOrder, complexity
from mofn_jax.display import html_table, percent
from mofn_jax.literals import NO_LITERALS, Literals


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

    def __repr__(self) -> str:
        """How many rules there are, and on how much they were found."""
        return (
            f"RuleFront({len(self.units)} units, {sum(map(len, self.units))} rules over "
            f"{self.num_inputs} inputs, found on {self.num_examples} examples)"
        )

    def _repr_html_(self) -> str:
        """A table for a notebook: of each unit how true its rules are, from short to long."""
        rows = [
            [
                unit,
                percent(int(on) / self.num_examples),
                len(candidates),
                f"{len(candidates[0].literals.inputs)} to {len(candidates[-1].literals.inputs)}",
                percent(candidates[0].errors / self.num_examples),
                percent(candidates[-1].errors / self.num_examples),
            ]
            for unit, (candidates, on) in enumerate(zip(self.units, self.on_counts, strict=True))
            if candidates
        ]
        heads = ["unit", "on", "rules", "literals", "error of the simplest", "of the truest"]
        return html_table(repr(self), heads, rows)


def check_front(name: str, front: RuleFront) -> None:
    """Asks that the fields of a front belong together; candidates are taken as they are.

    Raises:
      ValueError: naming it.
    """
    checks.instance(name, front, RuleFront)
    num_examples = checks.at_least(f"{name}.num_examples", front.num_examples, 1)
    checks.at_least(f"{name}.num_inputs", front.num_inputs, 1)
    units = checks.sequence(f"{name}.units", front.units)
    for unit in units:
        if not isinstance(unit, tuple) or not unit or not isinstance(unit[0], Candidate):
            raise ValueError(f"{name}.units: expected at least one Candidate of each unit")
    counts = checks.on_host(f"{name}.on_counts", front.on_counts)
    if counts.shape != (len(units),) or (counts.size and counts.dtype.kind not in "iu"):
        raise ValueError(f"{name}.on_counts: expected an integer for each of {len(units)} units")
    if counts.size and (counts.min() < 0 or counts.max() > num_examples):
        raise ValueError(f"{name}.on_counts: expected integers in 0..{num_examples}")


def constant_rules(num_on: int, num_examples: int) -> list[Candidate]:
    """The rules *true* and *false* for a unit that is on for some of the examples."""
    others = num_examples - num_on
    return [Candidate(0, NO_LITERALS, others, 0.0), Candidate(1, NO_LITERALS, num_on, 0.0)]


def non_dominated(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates that no other beats in error, complexity and length, least complex first."""
    front: list[Candidate] = []
    # Of the less complex ones: lengths, and ever fewer errors, of those that no shorter one beats.
    lengths: list[int] = []
    errors: list[int] = []
    for candidate in sorted(
        candidates, key=lambda c: (c.complexity, c.errors, len(c.literals.inputs), c.m)
    ):
        length = len(candidate.literals.inputs)
        place = bisect_right(lengths, length)
        if place and errors[place - 1] <= candidate.errors:
            continue
        beaten = place
        while beaten < len(errors) and errors[beaten] >= candidate.errors:
            beaten += 1
        lengths[place:beaten], errors[place:beaten] = [length], [candidate.errors]
        front.append(candidate)
    return tuple(front)


def whatever_length(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats in error and complexity, as if length did not matter.

    Of as complex ones the shorter, then the one that needs fewer literals, counts as less complex.
    """

    def rank(candidate: Candidate) -> tuple[float, int, int]:
        return candidate.complexity, len(candidate.literals.inputs), candidate.m

    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda candidate: (candidate.errors, *rank(candidate))):
        if not front or rank(candidate) < rank(front[-1]):
            front.append(candidate)
    return front


def front_of_prefixes(
    least_ranks: np.ndarray, order: PrefixOrder, literals: Literals, num_inputs: int
) -> tuple[Candidate, ...]:
    """Of the rules over one unit's first literals those that none beats in error and complexity.

    Args:
      least_ranks: int32, the least rank of a rule with 0, 1, ... errors, as `score_layer` gives it.
      order: of those rules.
      literals: the unit's literals.
      num_inputs: n.

    Returns:
      Candidates, least complex first; longer ones of as many errors and more complexity are not
      among them.
    """
    before = np.append(NO_RULE, np.minimum.accumulate(least_ranks)[:-1])
    errors = np.flatnonzero(least_ranks < before)
    taken, m = order.rules_at(least_ranks[errors])
    return non_dominated(_prefix_rules(literals, taken, m, errors, num_inputs))


def front_of_table(
    errors: np.ndarray, literals: Literals, num_inputs: int
) -> tuple[Candidate, ...]:
    """The front of one unit among the rules over its first literals.

    Args:
      errors: [N + 1, N + 2] int32, at [taken, m], as `score_unit` gives them.
      literals: the unit's literals, which may be fewer than N.
      num_inputs: n.
    """
    count = min(len(literals.inputs), len(errors) - 1)
    errors = errors[: count + 1, : count + 2]
    # A rule of N - 1 literals and M, or M - 1, is shorter and less complex.
    better = np.ones_like(errors, bool)
    better[1:, 1:] = errors[1:, 1:] < np.minimum(errors[:-1, 1:], errors[:-1, :-1])
    better[1:, 0] = False
    taken, m = np.nonzero(np.tril(better))
    errors = np.append(errors[taken, m], errors[0, 1])
    taken, m = np.append(taken, 0), np.append(m, 1)
    return non_dominated(_prefix_rules(literals, taken, m, errors, num_inputs))


def _prefix_rules(literals, taken, m, errors, num_inputs) -> Iterable[Candidate]:
    lengths = complexity(m, taken, num_inputs)
    firsts = map(literals.first, taken.tolist())
    return map(Candidate, m.tolist(), firsts, errors.tolist(), lengths.tolist())


def select(
    front: RuleFront,
    beta: float | None = None,
    *,
    max_literals: int | None = None,
    max_complexity: float | None = None,
) -> tuple[Candidate, ...]:
    """Of each unit, the rule of least error or, with a beta, of least `error + beta * complexity`.

    Args:
      front: the fronts of u units.
      beta: the price of complexity, at least 0.
      max_literals: the most literals that the rule may have, at least 1.
      max_complexity: the largest complexity that it may have, at least 0.

    Returns:
      u candidates; on a tie the shorter, then the less complex one or, with a beta alone, the less
      complex one.

    Raises:
      ValueError: not a front, none of the three is given, or one is out of range.
    """
    check_front("front", front)
    if beta is None and max_literals is None and max_complexity is None:
        raise ValueError("beta: expected one of beta, max_literals and max_complexity, got none")
    for name, value in (("beta", beta), ("max_complexity", max_complexity)):
        if value is not None:
            checks.non_negative(name, value)
    if max_literals is not None:
        checks.at_least("max_literals", max_literals, 1)
    # Times E, so that counts stay integers: rounded shares would break ties at random.
    price = front.num_examples * float(beta or 0)
    beta_alone = max_literals is None and max_complexity is None

    def cost(candidate: Candidate) -> tuple[float, int]:
        length = 0 if beta_alone else len(candidate.literals.inputs)
        return candidate.errors + price * candidate.complexity, length

    return tuple(
        min(
            (
                candidate
                for candidate in unit
                if (max_literals is None or len(candidate.literals.inputs) <= max_literals)
                and (max_complexity is None or candidate.complexity <= max_complexity)
            ),
            key=cost,
        )
        for unit in front.units
    )


def merge_fronts(*fronts: RuleFront) -> RuleFront:
    """Of each unit, the front of all the fronts' rules, found on the same examples.

    Raises:
      ValueError: no front, or fronts of other units or other examples.
    """
    if not fronts:
        raise ValueError("fronts: expected at least one, got none")
    first = fronts[0]
    for front in fronts:
        checks.instance("fronts", front, RuleFront)
    for other in fronts[1:]:
        if (first.num_examples, first.num_inputs) != (other.num_examples, other.num_inputs) or (
            not np.array_equal(first.on_counts, other.on_counts)
        ):
            raise ValueError("fronts: expected fronts of the same units on the same examples")
    for front in fronts:
        check_front("fronts", front)
    return first._replace(
        units=tuple(
            non_dominated(candidate for unit in units for candidate in unit)
            for units in zip(*(front.units for front in fronts), strict=True)
        ),
        proven_literals=max(front.proven_literals for front in fronts),
    )

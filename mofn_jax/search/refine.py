"""Better thresholds for rules already found: one literal at a time, each to its best place.

A literal decides its rule on the pivotal examples, those on which M - 1 of the other literals hold.
Along the literal's input, ascending, the errors of every cut are a cumulative sum over these
examples, so the best of all cuts is found exactly. Literals take turns until none can improve.

Axis letters: E examples, N literals, M needed, n inputs, u units.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mofn_jax import checks
from mofn_jax.chunking import read_columns
from mofn_jax.columns import SORT_BYTES, sort_columns
from mofn_jax.fronts import Candidate, RuleFront, check_front, non_dominated
from mofn_jax.literals import check_literals, truth_of

_ALL_REFINED = 10  # literals
_LENGTHS = (15, 20, 30, 40, 60, 80, 100, 128, 192, 256)


def refine_front(
    front: RuleFront,
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    refine_literals: int = 60,
    memory_budget: int = 2**29,
    progress: Callable[[int], None] | None = None,
) -> RuleFront:
    """The front with the thresholds of its rules moved where that makes fewer errors.

    Complexity stays as it is, and the errors on these examples never rise. Of rules of more than 10
    literals, those of fewest errors with up to 15, 20, 30, 40, 60, 80, ... are refined.

    Args:
      front: the fronts of u units, found on these examples.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      refine_literals: rules of more literals keep their thresholds.
      memory_budget: bytes of working memory, if the columns of one rule need no more; never changes
        the result.
      progress: called with 1 for every unit done.

    Returns:
      The fronts of the u units. `proven_literals` still speaks of the literals before they moved.

    Raises:
      ValueError: not a front, inputs or targets of another shape than its, inputs not finite,
        targets not boolean, refine_literals or memory_budget below 1.

    Examples:
      >>> from mofn_jax.literals import Literals
      >>> inputs, targets = np.array([[0.1], [0.4], [0.7]]), np.array([[False], [True], [True]])
      >>> literals = Literals(np.array([0]), np.array([0.7]), np.array([False]))
      >>> front = RuleFront(((Candidate(1, literals, 1, 0.0),),), np.array([2]), 3, 1)
      >>> (rule,) = refine_front(front, inputs, targets).units[0]
      >>> rule.errors, rule.literals.thresholds.tolist()
      (0, [0.4])
    """
    check_front("front", front)
    checks.callback("progress", progress)
    inputs = checks.matrix("inputs", inputs, [front.num_examples, front.num_inputs])
    targets = checks.booleans("targets", targets, [front.num_examples, len(front.units)])
    refine_literals = checks.at_least("refine_literals", refine_literals, 1)
    for unit, target in zip(front.units, targets.T, strict=True):
        rule = min(unit, key=lambda rule: rule.errors)
        check_literals("front.units", rule.literals, front.num_inputs)
        says = truth_of(rule.literals, inputs).sum(1) >= rule.m
        if np.count_nonzero(says != target) != rule.errors:
            raise ValueError("inputs: they and targets are not those that the front was found on")
    memory_budget = checks.at_least("memory_budget", memory_budget, 1)
    units = []
    for rules, target in zip(front.units, targets.T, strict=True):
        units.append(
            refine_unit(
                rules, inputs, target, refine_literals=refine_literals, memory_budget=memory_budget
            )
        )
        if progress is not None:
            progress(1)
    return front._replace(units=tuple(units))


def refine_unit(
    rules: Sequence[Candidate],
    inputs: np.ndarray,
    target: np.ndarray,
    *,
    refine_literals: int,
    memory_budget: int,
) -> tuple[Candidate, ...]:
    """The front of one unit, from its front and a target [E]; see `refine_front`."""
    refined = []
    most_columns = memory_budget // (2 * SORT_BYTES * len(inputs))
    for some in _sharing_columns(_worth_it(rules, refine_literals), most_columns):
        columns = _rank_columns(inputs, some)
        refined += [_refine(rule, columns, target) for rule in some]
    return non_dominated([*rules, *refined])


def _worth_it(rules: Sequence[Candidate], refine_literals: int) -> list[Candidate]:
    """The rules to refine: all the short ones, and of the long ones the best up to some lengths."""
    all_up_to = min(_ALL_REFINED, refine_literals)
    worth = [rule for rule in rules if 0 < len(rule.literals.inputs) <= all_up_to]
    for length in (*(n for n in _LENGTHS if n < refine_literals), refine_literals):
        long = [rule for rule in rules if _ALL_REFINED < len(rule.literals.inputs) <= length]
        worth += [min(long, key=lambda rule: rule.errors)] if long else []
    return list({id(rule): rule for rule in worth}.values())  # each once


def _sharing_columns(rules: Sequence[Candidate], most_columns: int) -> Iterator[list[Candidate]]:
    """Runs of rules that name at most as many inputs, or of one rule."""
    some: list[Candidate] = []
    used: set[int] = set()
    for rule in rules:
        named = set(rule.literals.inputs.tolist())
        if some and len(used | named) > most_columns:
            yield some
            some, used = [], set()
        some.append(rule)
        used |= named
    if some:
        yield some


class _RankedColumns(NamedTuple):
    """Columns of inputs, and where each value stands among the different ones."""

    inputs: np.ndarray  # [I] ascending
    values: np.ndarray  # [I, E]
    ranks: np.ndarray  # [I, E] int64, from 0


def _rank_columns(inputs: np.ndarray, rules: Sequence[Candidate]) -> _RankedColumns:
    """The columns that the rules name."""
    used = np.unique(np.concatenate([rule.literals.inputs for rule in rules]))
    columns = sort_columns(read_columns(inputs, used))
    ranks = np.empty(columns.order.shape, np.int64)
    for row, order, is_cut in zip(ranks, columns.order, columns.is_cut, strict=True):
        row[order] = np.cumsum(is_cut)
    return _RankedColumns(used, columns.values, ranks)


def _refine(rule: Candidate, columns: _RankedColumns, target: np.ndarray) -> Candidate:
    """The rule with its thresholds moved, one at a time, until no move makes fewer errors.

    Args:
      rule: the rule, not constant.
      columns: the inputs that it names, and others.
      target: [E] booleans.
    """
    rows = np.searchsorted(columns.inputs, rule.literals.inputs)
    negated = rule.literals.negated
    thresholds = rule.literals.thresholds.copy()
    below = columns.values[rows] < thresholds[:, None]
    truth = below == negated[:, None]
    hold = truth.sum(0, dtype=np.int16)
    ranks = columns.ranks[rows]
    num_values = 1 + ranks.max(1)
    cuts = np.where(below, ranks, -1).max(1) + 1
    keys = 2 * ranks + target
    errors, unmoved, i = rule.errors, 0, 0
    while unmoved < len(rows):
        pivotal = np.flatnonzero(hold - truth[i] == rule.m - 1)
        cut, change = best_move(keys[i][pivotal], num_values[i], cuts[i], negated[i])
        unmoved += 1
        if change < 0:
            cuts[i] = cut
            thresholds[i] = columns.values[rows[i], np.argmax(ranks[i] == cut)]
            moved = (ranks[i] >= cut) ^ negated[i]
            hold += moved
            hold -= truth[i]
            truth[i] = moved
            errors, unmoved = errors + change, 1
        i = (i + 1) % len(rows)
    return rule._replace(
        literals=rule.literals._replace(thresholds=thresholds, gains=None), errors=errors
    )


def best_move(keys: np.ndarray, num_values: int, cut: int, negated: bool) -> tuple[int, int]:
    """The best cut for a literal, the smallest of the best.

    Args:
      keys: of the pivotal examples, twice the rank of the value among the different ones of the
        input, from 0, and 1 more where the unit is on.
      num_values: how many different values there are.
      cut: how many of them are below the threshold now.
      negated: whether the literal holds below it.

    Returns:
      How many values are below the best threshold, at least one and not all, and by how much the
      errors change.
    """
    if num_values < 2:
        return cut, 0
    off, on = np.bincount(keys, minlength=2 * num_values).reshape(-1, 2).T
    # How many more errors there are if the literal holds on the pivotal examples below each cut.
    change = np.append(0, np.cumsum(off - on))
    if not negated:
        change = change[-1] - change
    best = 1 + int(change[1:-1].argmin())
    return best, int(change[best] - change[cut])

"""Better thresholds for rules already found: one literal at a time, each to its best place.

A literal decides its rule on the pivotal examples, those on which M - 1 of the other literals hold.
Along the literal's input, ascending, the errors of every cut are a cumulative sum over these
examples, so the best of all cuts is found exactly. Literals take turns until none can improve.

Axis letters: E examples, N literals, M needed, n inputs, u units.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mofn_jax import checks, meshes
from mofn_jax.chunking import read_columns
from mofn_jax.fronts import Candidate, RuleFront, non_dominated
from mofn_jax.meshes import Resources
from mofn_jax.thresholds import SORT_BYTES, SortedColumns, sort_columns


def refine_front(
    front: RuleFront,
    inputs,
    targets,
    *,
    refine_literals: int = 20,
    memory_budget: int = 2**29,
    progress: Callable[[int], None] | None = None,
) -> RuleFront:
    """The front with the thresholds of its rules moved where that makes fewer errors.

    Complexity stays as it is, and the errors on these examples never rise.

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
      ValueError: inputs or targets of another shape than the front's, inputs not finite, targets
        not boolean, refine_literals below 1.

    Example:
      >>> from mofn_jax.literals import Literals
      >>> inputs, targets = np.array([[0.1], [0.4], [0.7]]), np.array([[False], [True], [True]])
      >>> literals = Literals(np.array([0]), np.array([0.7]), np.array([False]))
      >>> front = RuleFront(((Candidate(1, literals, 1, 0.0),),), np.array([2]), 3, 1)
      >>> (rule,) = refine_front(front, inputs, targets).units[0]
      >>> rule.errors, rule.literals.thresholds.tolist()
      (0, [0.4])
    """
    inputs = checks.matrix("inputs", inputs, [front.num_examples, front.num_inputs])
    targets = checks.booleans("targets", targets, [front.num_examples, len(front.units)])
    checks.at_least("refine_literals", refine_literals, 1)
    resources = Resources(checks.at_least("memory_budget", memory_budget, 1), progress=progress)
    units = refine_units(
        front, inputs, targets, refine_literals=refine_literals, resources=resources
    )
    return front._replace(units=tuple(units))


def refine_units(
    front: RuleFront,
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    refine_literals: int,
    resources: Resources,
) -> list[tuple[Candidate, ...]]:
    """The fronts of the units; see `refine_front`."""

    def refine(units: slice) -> list[tuple[Candidate, ...]]:
        with ThreadPoolExecutor(meshes.cpu_count()) as pool:
            return list(pool.map(refine_unit, front.units[units], targets.T[units]))

    def refine_unit(rules: Sequence[Candidate], target: np.ndarray) -> tuple[Candidate, ...]:
        open_rules = [rule for rule in rules if 0 < len(rule.literals.inputs) <= refine_literals]
        refined = []
        for some in _sharing_columns(open_rules, most_columns):
            used = np.unique(np.concatenate([rule.literals.inputs for rule in some]))
            columns = sort_columns(read_columns(inputs, used))
            refined += [_refine(rule, used, columns, target) for rule in some]
        return non_dominated([*rules, *refined])

    most_columns = resources.memory_budget // meshes.cpu_count() // (SORT_BYTES * len(inputs))
    # The columns that a rule of refine_literals names, of each of the units.
    bytes_per_unit = SORT_BYTES * len(inputs) * refine_literals
    return list(
        meshes.each_unit(
            refine,
            len(front.units),
            bytes_per_unit=bytes_per_unit,
            resources=resources._replace(mesh=None),
            stage="refine",
        )
    )


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


def _refine(
    rule: Candidate, used: np.ndarray, columns: SortedColumns, target: np.ndarray
) -> Candidate:
    """The rule with its thresholds moved, one at a time, until no move makes fewer errors.

    Args:
      rule: the rule, not constant.
      used: [I] the inputs that `columns` holds, ascending.
      columns: these inputs, sorted.
      target: [E] booleans.
    """
    signs = np.where(target, -1, 1).astype(np.int32)
    rows = np.searchsorted(used, rule.literals.inputs)
    thresholds = rule.literals.thresholds.copy()
    truth = (columns.values[rows] >= thresholds[:, None]) ^ rule.literals.negated[:, None]
    hold = truth.sum(0, dtype=np.int32)
    errors, unmoved, literal = rule.errors, 0, 0
    while unmoved < len(rows):
        row, negated = rows[literal], rule.literals.negated[literal]
        decided = signs * (hold - truth[literal] == rule.m - 1)
        cut, change = best_move(
            decided, truth[literal], columns.order[row], columns.is_cut[row], negated
        )
        unmoved += 1
        if change < 0:
            thresholds[literal] = columns.values[row, columns.order[row, cut]]
            moved = (columns.values[row] >= thresholds[literal]) ^ negated
            hold += moved
            hold -= truth[literal]
            truth[literal] = moved
            errors, unmoved = errors + change, 1
        literal = (literal + 1) % len(rows)
    return rule._replace(
        literals=rule.literals._replace(thresholds=thresholds, gains=None), errors=errors
    )


def best_move(
    decided: np.ndarray, truth: np.ndarray, order: np.ndarray, is_cut: np.ndarray, negated: bool
) -> tuple[int, int]:
    """The best cut for a literal, the smallest of the best.

    Args:
      decided: [E] int32, how many more errors the rule makes on an example if the literal holds;
        0 where it does not matter.
      truth: [E] booleans, where the literal holds now.
      order: [E], the examples in ascending order of its input.
      is_cut: [E] booleans, whether the input may be cut before this place.
      negated: whether the literal holds below the cut.

    Returns:
      The place of the cut, and by how much the errors change.
    """
    along = decided[order]
    below = np.cumsum(along, dtype=np.int32) - along
    if_holds = below if negated else below[-1] + along[-1] - below
    cut = int(np.argmin(np.where(is_cut, if_holds, np.iinfo(np.int32).max)))
    return cut, int(if_holds[cut] - decided[truth].sum())

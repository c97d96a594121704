"""Better thresholds for rules already found: one literal at a time, each to its best place.

Which rules are worth it, and what `mofn_jax.search.moves`, where thresholds move, is given of them.

Axis letters: C columns, E examples, K the largest N, N literals, M needed, n inputs, R rules,
u units.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mofn_jax import checks, meshes
from mofn_jax.chunking import read_columns
from mofn_jax.columns import (
    NO_KEY,
    SORT_BYTES,
    float_dtype,
    from_sort_keys,
    key_words,
    keys_of_thresholds,
    sort_columns,
    sort_keys,
)
from mofn_jax.fronts import Candidate, RuleFront, check_front, non_dominated
from mofn_jax.held_inputs import HeldInputs, columns_of, holds, in_held_order
from mofn_jax.literals import check_literals, truth_of
from mofn_jax.score_kernels import LANES
from mofn_jax.search.moves import Columns, Rules, move_thresholds

_ALL_REFINED = 10  # literals
_LENGTHS = (15, 20, 30, 40, 60, 80, 100, 128, 192, 256)
# What is compiled for rules and columns at once; for columns that, half of it, or a fourth.
_RULES, _COLUMNS = 16, 128


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
    held: HeldInputs | None = None,
) -> tuple[Candidate, ...]:
    """The front of one unit, from its front and a target [E]; see `refine_front`.

    The inputs may be held by the device.
    """
    refined = []
    most_columns = min(_COLUMNS, memory_budget // (2 * SORT_BYTES * len(inputs)))
    # The same for layers of few inputs, so that it is compiled once for them.
    largest = min(refine_literals, max(_COLUMNS, inputs.shape[1]))
    for some in _sharing_columns(_worth_it(rules, refine_literals), most_columns):
        refined += _refine(some, inputs, target, largest, held)
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
    """Runs of at most 16 rules that name at most as many inputs, or of one rule."""
    some: list[Candidate] = []
    used: set[int] = set()
    for rule in rules:
        named = set(rule.literals.inputs.tolist())
        if len(some) == _RULES or (some and len(used | named) > most_columns):
            yield some
            some, used = [], set()
        some.append(rule)
        used |= named
    if some:
        yield some


def _refine(
    rules: Sequence[Candidate],
    inputs: np.ndarray,
    target: np.ndarray,
    largest: int,
    held: HeldInputs | None,
) -> list[Candidate]:
    """The rules with their thresholds moved until no move makes fewer errors.

    Args:
      rules: at most 16, not constant, of at most `largest` literals each.
      inputs: [E, n] real numbers.
      target: [E] booleans.
      largest: K.
      held: the inputs, if the device holds them.
    """
    num_examples, dtype = len(inputs), float_dtype(inputs)
    signs = np.where(target, -1, 1).astype(np.int32)
    used = np.unique(np.concatenate([rule.literals.inputs for rule in rules]))
    size = 1 << (max(len(used), _COLUMNS // 4) - 1).bit_length()  # one of few
    if holds(held, inputs):
        signs = in_held_order(signs, held)
        columns = Columns(columns_of(held.keys, np.resize(used, size)), None)
    else:
        signs = np.pad(signs, (0, LANES - num_examples % LANES))
        columns = _sort_and_pad(read_columns(inputs, used), (size, len(signs)))
    packed = _pack_rules(rules, used, dtype, largest)
    found = move_thresholds(
        columns, signs, packed, num_examples=num_examples, platform=meshes.platform()
    )
    moved = np.asarray(found.moved)
    values = from_sort_keys(tuple(np.asarray(key) for key in found.keys), dtype)
    refined = []
    for i, (rule, change) in enumerate(zip(rules, found.change.tolist(), strict=False)):
        thresholds = rule.literals.thresholds.copy()
        some = np.flatnonzero(moved[i])
        thresholds[some] = values[i, some]
        literals = rule.literals._replace(thresholds=thresholds, gains=None)
        refined.append(rule._replace(literals=literals, errors=rule.errors + change))
    return refined


def _pack_rules(
    rules: Sequence[Candidate], used: np.ndarray, dtype: np.dtype, largest: int
) -> Rules:
    """The rules over columns of a float dtype, those of the inputs that are used, ascending."""
    packed = Rules(
        np.zeros((_RULES, largest), np.int32),
        tuple(np.zeros((key_words(dtype), _RULES, largest), np.uint32)),
        np.zeros((_RULES, largest), bool),
        np.zeros(_RULES, np.int32),
        np.zeros(_RULES, np.int32),
    )
    for i, rule in enumerate(rules):
        literals = rule.literals
        size = packed.sizes[i] = len(literals.inputs)
        packed.rows[i, :size] = np.searchsorted(used, literals.inputs)
        packed.negated[i, :size] = literals.negated
        packed.m[i] = rule.m
        words = keys_of_thresholds(literals.thresholds, dtype)
        for key, word in zip(packed.keys, words, strict=True):
            key[i, :size] = word
    return packed


def _sort_and_pad(columns: np.ndarray, shape: tuple[int, int]) -> Columns:
    """Columns [E, c], padded to this shape; an accelerator sorts them itself."""
    num_examples, count = columns.shape
    keys = sort_keys(columns)
    order = None
    if meshes.platform() == "cpu":
        order = np.tile(np.arange(shape[1], dtype=np.int32), (shape[0], 1))
        order[:count, :num_examples] = sort_columns(columns).order
        some = order[:count, :num_examples]
        keys = tuple(np.take_along_axis(key, some, axis=1) for key in keys)
    missing = (0, shape[0] - count), (0, shape[1] - num_examples)
    return Columns(tuple(np.pad(key, missing, constant_values=NO_KEY) for key in keys), order)

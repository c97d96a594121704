"""Exact search: of all rules of few literals, the provably best, for every M and N.

With S(A) the signed count (see `counting`) of the examples on which all the literals A hold, the
errors of every M-of-N rule over N literals are an integer combination of S over their subsets: of
three literals, AND has S3, "at least 2" has S2 + S2 + S2 - 2 S3, OR has S1 + S1 + S1 - S2 - S2 -
S2 + S3. The same sums give the rules with any literals negated. All sets are gone through in
blocks, some literals by some.

With few inputs every set of any size is scored: the examples collapse to counts by pattern of
literals, and one pass over the inputs turns counts by pattern into counts by set and number of
literals that hold.

Axis letters: E examples, N literals, M needed, n inputs, u units, W words of 32 examples.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax import checks
from mofn_jax.chunking import chunks
from mofn_jax.fronts import Candidate, RuleFront, non_dominated
from mofn_jax.literals import Literals, literal_truth
from mofn_jax.scoring import complexity
from mofn_jax.search.counting import pack_by_target, signed_counts

SIGNS = ("weights", "free")
_BLOCK = 16
_MOST_ASSIGNMENTS = 2**16  # all sets: 16 inputs, or 10 with free signs
_MOST_SETS = 2**20  # by default: 3 literals of 185 inputs, 2 of 1448
_LARGEST_SET = 4
_NO_SET = np.iinfo(np.int32).max


def exact(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    exact_literals: int | None = None,
    signs: str = "weights",
    max_literals: int | None = None,
    memory_budget: int = 2**29,
    progress: Callable[[int], None] | None = None,
) -> RuleFront:
    """The front of every unit among all rules of up to `exact_literals` literals.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      exact_literals: the largest N, at most 4 where there are too many inputs for all sets (more
        than 16, or 10 with free signs). None for all N where there are few inputs, and else for as
        many as make a million sets a unit: 3 for up to 185 inputs.
      signs: "weights" for the literals as given; "free" for each of them or its negation.
      max_literals: a limit on N, like `exact_literals`.
      memory_budget: bytes of working memory; never changes the result.
      progress: called with 1 for every unit done.

    Returns:
      The fronts of the u units. Its `proven_literals` is the largest N: no rule of as many literals
      or fewer is better. Of equally good sets the front holds the one of earlier literals.

    Raises:
      ValueError: exact_literals out of range, unknown signs.
    """
    proven = provable_literals(inputs.shape[1], exact_literals, signs, max_literals)
    units = []
    for unit, candidates in enumerate(
        best_sets(
            literals,
            inputs,
            targets,
            num_literals=proven,
            signs=signs,
            memory_budget=memory_budget,
        )
    ):
        units.append(non_dominated(constant_rules(targets[:, unit]) + candidates))
        if progress is not None:
            progress(1)
    return RuleFront(
        tuple(units), targets.sum(0), *inputs.shape, proven_literals=proven
    )


def provable_literals(
    num_inputs: int,
    exact_literals: int | None = None,
    signs: str = "weights",
    max_literals: int | None = None,
) -> int:
    """The largest N that `exact` goes through.

    Raises:
      ValueError: exact_literals out of range, unknown signs.

    Example:
      >>> [provable_literals(num_inputs) for num_inputs in (16, 128, 784)]
      [16, 3, 2]
    """
    checks.known("signs", signs, SIGNS)
    most = num_inputs if _all_sets_fit(num_inputs, signs) else min(num_inputs, _LARGEST_SET)
    if exact_literals is not None:
        checks.at_least("exact_literals", exact_literals, 1)
        if exact_literals > max(most, _LARGEST_SET):
            raise ValueError(
                f"exact_literals: expected at most {max(most, _LARGEST_SET)} for {num_inputs} "
                f"inputs and signs={signs!r}, got {exact_literals}"
            )
    elif most < num_inputs:
        exact_literals = max(
            size for size in (1, 2, 3) if size == 1 or math.comb(num_inputs, size) <= _MOST_SETS
        )
    return min(most, exact_literals or most, max_literals or most)


def constant_rules(target: np.ndarray) -> list[Candidate]:
    """The rules *true* and *false* for a target [E]."""
    nothing = Literals(np.zeros(0, np.int32), np.zeros(0), np.zeros(0, bool))
    on = int(target.sum())
    return [Candidate(0, nothing, len(target) - on, 0.0), Candidate(1, nothing, on, 0.0)]


def best_sets(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    num_literals: int,
    signs: str = "weights",
    memory_budget: int = 2**29,
) -> Iterator[list[Candidate]]:
    """Of every unit, the best rule for each N = 1..num_literals and M = 1..N, in this order.

    Args:
      literals: of each of u units.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      num_literals: the largest N. At most 4, unless all sets of the inputs can be gone through.
      signs: "weights" for the literals as given; "free" for each of them or its negation.
      memory_budget: bytes of working memory; never changes the result.

    Yields:
      Each unit's rules; N stops at its number of literals.
    """
    free = signs == "free"
    search = _search_all if _all_sets_fit(inputs.shape[1], signs) else _search_blocks
    found = search(literals, inputs, targets, num_literals, free, memory_budget)
    for unit_literals, unit_found in zip(literals, found, strict=True):
        yield [
            Candidate(
                m,
                Literals(
                    unit_literals.inputs[positions],
                    unit_literals.thresholds[positions],
                    unit_literals.negated[positions] ^ flipped,
                ),
                errors,
                float(complexity(m, len(positions), inputs.shape[1])),
            )
            for m, positions, flipped, errors in unit_found
        ]


def _all_sets_fit(num_inputs: int, signs: str) -> bool:
    return (3 if signs == "free" else 2) ** num_inputs <= _MOST_ASSIGNMENTS


# All sets of few inputs.


def _search_all(literals, inputs, targets, num_literals, free, memory_budget):
    """Yields of each unit a list of (m, positions [N], flipped [N], errors)."""
    num_inputs = inputs.shape[1]
    roles = _roles(num_inputs, 3 if free else 2)
    sizes = (roles != _ABSENT).sum(1)
    place_values = 2 ** np.arange(num_inputs - 1, -1, -1)
    at_once = max(1, memory_budget // (24 * len(roles) * (num_inputs + 1)))
    done = 0
    for units in chunks(targets.shape[1], at_once):
        histograms = np.zeros((units.stop - units.start, 2**num_inputs), np.int32)
        for histogram, some, target in zip(
            histograms, literals[units], targets.T[units], strict=True
        ):
            pattern = literal_truth(some, inputs) @ place_values[: len(some.inputs)]
            histogram[:] = np.bincount(
                pattern, np.where(target, -1, 1), minlength=2**num_inputs
            )
        counts = np.asarray(_count_assignments(histograms, free))
        for unit in range(done, units.stop):
            taken = (roles[:, len(literals[unit].inputs) :] == _ABSENT).all(1)
            found = []
            for size in range(1, min(num_literals, len(literals[unit].inputs)) + 1):
                (rows,) = np.nonzero(taken & (sizes == size))
                for m in range(1, size + 1):
                    row = rows[np.argmin(counts[unit - units.start, rows, m])]
                    (positions,) = np.nonzero(roles[row] != _ABSENT)
                    errors = targets[:, unit].sum() + counts[unit - units.start, row, m]
                    found.append((m, positions, roles[row, positions] == _FLIPPED, int(errors)))
            yield found
        done = units.stop

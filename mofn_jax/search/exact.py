"""Exact search: of all rules of few literals, the provably best, for every M and N.

With S(A) the signed count (see `counting`) of the examples on which all the literals A hold, the
errors of every M-of-N rule over N literals are an integer combination of S over their subsets: of
three literals, AND has S3, "at least 2" has S2 + S2 + S2 - 2 S3, OR has S1 + S1 + S1 - S2 - S2 -
S2 + S3. The same sums give the rules with any literals negated. All sets are gone through in
blocks, some literals by some.

With few inputs every set of any size is scored, see `all_sets`.

Axis letters: E examples, N literals, M needed, n inputs, u units, W words of 32 examples.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mofn_jax import checks, meshes
from mofn_jax.chunking import chunks
from mofn_jax.fronts import Candidate, RuleFront, non_dominated
from mofn_jax.literals import Literals
from mofn_jax.scoring import complexity
from mofn_jax.search.all_sets import all_sets_fit, best_of_all_sets
from mofn_jax.search.counting import all_examples, pack_units, signed_counts

SIGNS = ("weights", "free")
_BLOCK = 16
_MOST_SETS = 2**20  # by default: 3 literals of 185 inputs, 2 of 1448
MOST_EXACT = 4
NO_SET = np.iinfo(np.int32).max


def exact(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    exact_literals: int | None = None,
    signs: str = "weights",
    max_literals: int | None = None,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
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
      mesh: devices to divide the units among.
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
            mesh=mesh,
        )
    ):
        units.append(non_dominated(constant_rules(targets[:, unit]) + candidates))
        if progress is not None:
            progress(1)
    num_examples, num_inputs = inputs.shape
    return RuleFront(tuple(units), targets.sum(0), num_examples, num_inputs, proven)


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
    limit = num_inputs if max_literals is None else min(num_inputs, max_literals)
    all_sets = all_sets_fit(num_inputs, signs == "free")
    if exact_literals is not None:
        checks.at_least("exact_literals", exact_literals, 1)
        if exact_literals > MOST_EXACT and not all_sets:
            raise ValueError(
                f"exact_literals: expected at most {MOST_EXACT} for {num_inputs} inputs with "
                f"signs={signs!r}, got {exact_literals}"
            )
        return min(limit, exact_literals)
    if all_sets:
        return limit
    few = [size for size in (2, 3) if math.comb(num_inputs, size) <= _MOST_SETS]
    return min(limit, max(few, default=1))


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
    mesh: Mesh | None = None,
) -> Iterator[list[Candidate]]:
    """Of every unit, the best rule for each N = 1..num_literals and M = 1..N, in this order.

    Args:
      literals: of each of u units.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      num_literals: the largest N. At most 4, unless all sets of the inputs can be gone through.
      signs: "weights" for the literals as given; "free" for each of them or its negation.
      memory_budget: bytes of working memory; never changes the result.
      mesh: devices to divide the units among.

    Yields:
      Each unit's rules; N stops at its number of literals.
    """
    free = signs == "free"
    search = best_of_all_sets if all_sets_fit(inputs.shape[1], free) else _best_of_small_sets
    found = search(
        literals,
        inputs,
        targets,
        num_literals=num_literals,
        free=free,
        memory_budget=memory_budget,
        mesh=mesh,
    )
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


def _best_of_small_sets(literals, inputs, targets, *, num_literals, free, memory_budget, mesh):
    """As `best_of_all_sets`, for small sets of many inputs."""
    num_inputs = inputs.shape[1]
    num_blocks = -(-num_inputs // _BLOCK)
    ways = 2**num_literals * (1 + num_literals if free else 1)
    bytes_per_unit = num_inputs * len(inputs) + 4 * ways * _BLOCK**num_literals
    done = 0
    for units in chunks(
        targets.shape[1], meshes.full_rounds(memory_budget // bytes_per_unit, mesh)
    ):
        words, signs = pack_units(
            literals[units],
            inputs,
            targets[:, units],
            num_rows=num_blocks * _BLOCK,
            memory_budget=memory_budget // 4,
        )
        examples = np.stack([all_examples(target) for target in targets.T[units]])
        num_taken = np.array([len(unit.inputs) for unit in literals[units]], np.int32)
        best = []
        for size in range(1, num_literals + 1):
            blocks = np.array(
                list(itertools.combinations_with_replacement(range(num_blocks), size)), np.int32
            )
            found = meshes.divide(
                _best_in_blocks,
                (words, signs, examples, num_taken),
                (blocks, _coefficients(size, free)),
                mesh=mesh,
            )
            best.append((blocks, *found))
        for unit in range(done, units.stop):
            on = int(targets[:, unit].sum())
            yield [
                (m, positions, flipped, on + count)
                for blocks, counts, places in best
                for m, positions, flipped, count in _first_of_best(
                    blocks, counts[unit - units.start], places[unit - units.start], free
                )
            ]
        done = units.stop


def _coefficients(size: int, free: bool) -> np.ndarray:
    """What each subset's signed count counts for: [M, signs, subset] int32.

    A pattern p of literals that hold is met, exactly, by the sum over its supersets q of
    (-1)^(|q| - |p|) S(q). With signs s (bits of the literals negated) as many literals hold as p
    and s differ. Subsets, patterns and signs are numbers whose highest bit is the first literal.
    """
    numbers = np.arange(2**size)
    bits = np.bitwise_count(numbers).astype(np.int32)
    superset = (numbers[:, None] & ~numbers[None]) == 0  # [p, q]
    exactly = np.where(superset, 1 - 2 * ((bits[None] - bits[:, None]) % 2), 0)
    flips = numbers if free else numbers[:1]
    hold = np.bitwise_count(flips[:, None] ^ numbers[None])  # [signs, p]
    at_least = hold[None] >= np.arange(1, size + 1)[:, None, None]
    return (at_least @ exactly).astype(np.int32)


def best_in_block(
    blocks: jax.Array,
    signs: jax.Array,
    examples: jax.Array,
    starts: jax.Array,
    num_taken: jax.Array,
    coefficients: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The best sets with their first literal in the first block, their second in the second, ...

    Args:
      blocks: [N, B, W] uint32, blocks of literals packed by the target.
      signs: [W] int32, of the words.
      examples: [W] uint32, all the examples.
      starts: [N] int32, the position of each block's first literal.
      num_taken: int32 scalar, how many literals the unit has.
      coefficients: [N, 1 or 2^N, 2^N] int32, see `_coefficients`.

    Returns:
      For M = 1..N the least signed count, [N] int32, and the place [N] int32 of the first set that
      has it: of the literals in their blocks the digits, then of the signs. NO_SET if there is no
      set.
    """
    size, width = blocks.shape[:2]

    def conjunctions(axes: list[int]) -> jax.Array:  # [B^axes, W]
        words = examples[None]
        for axis in axes:
            words = (words[:, None] & blocks[axis][None]).reshape(-1, words.shape[1])
        return words

    totals = []
    for subset in itertools.product([False, True], repeat=size):
        axes = [axis for axis in range(size) if subset[axis]]
        rows, columns = conjunctions(axes[: len(axes) // 2]), conjunctions(axes[len(axes) // 2 :])
        shape = [width if taken else 1 for taken in subset]
        total = signed_counts(rows, columns, signs).reshape(shape)
        totals.append(jnp.broadcast_to(total, [width] * size).reshape(-1))
    counts = jnp.einsum("mfq,qs->msf", coefficients, jnp.stack(totals))

    positions = [starts[axis] + jnp.arange(width) for axis in range(size)]
    grid = jnp.stack(jnp.meshgrid(*positions, indexing="ij")).reshape(size, -1)
    legal = (grid[1:] > grid[:-1]).all(0) & (grid[-1] < num_taken)
    counts = jnp.where(legal[None, :, None], counts, NO_SET).reshape(size, -1)
    return counts.min(1), counts.argmin(1).astype(jnp.int32)


@jax.jit
def _best_in_blocks(words, signs, examples, num_taken, blocks, coefficients):
    """Of every unit and tuple of blocks [C, N] the best sets: two [u, C, N]."""

    def one_unit(words, signs, examples, num_taken):
        parts = words.reshape(-1, _BLOCK, words.shape[-1])
        return jax.lax.map(
            lambda block: best_in_block(
                parts[block], signs, examples, block * _BLOCK, num_taken, coefficients
            ),
            blocks,
        )

    return jax.vmap(one_unit)(words, signs, examples, num_taken)


def _first_of_best(blocks, counts, places, free):
    """Yields (m, positions, flipped, count) of the best of all blocks, of equals the first.

    Args:
      blocks: [C, N] int32, tuples of blocks.
      counts: [C, N] int32, at [tuple, M - 1].
      places: [C, N] int32, as `best_in_block` gives them.
      free: whether places include signs.
    """
    size = blocks.shape[1]
    shape = (_BLOCK,) * size + ((2,) * size if free else ())
    for m in range(1, size + 1):
        best = counts[:, m - 1].min()
        if best == NO_SET:
            return
        tied = np.flatnonzero(counts[:, m - 1] == best)
        digits = np.stack(np.unravel_index(places[tied, m - 1], shape), axis=1)
        positions = blocks[tied] * _BLOCK + digits[:, :size]
        first = np.lexsort(positions.T[::-1])[0]
        flipped = digits[first, size:].astype(bool) if free else np.zeros(size, bool)
        yield m, positions[first], flipped, int(best)

"""Exact search: of all rules of few literals, the provably best, for every M and N.

With S(A) the signed count (see `mofn_jax.bits`) of the examples on which all the literals A hold,
the errors of every M-of-N rule over N literals are an integer combination of S over their subsets:
of three literals, AND has S3, "at least 2" has S2 + S2 + S2 - 2 S3, OR has S1 + S1 + S1 - S2 - S2
- S2 + S3. The same sums give the rules with any literals negated. All sets are gone through in
blocks, some literals by some.

With few inputs every set of any size is scored, see `all_sets`.

Axis letters: E examples, N literals, M needed, n inputs, u units, W words of 32 examples.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mofn_jax import checks, meshes
from mofn_jax.bits import all_examples, literal_bits, pack_examples, pack_units, signed_counts
from mofn_jax.complexity import complexity
from mofn_jax.fronts import Candidate, RuleFront, constant_rules, non_dominated
from mofn_jax.literals import Literals, most_literals
from mofn_jax.meshes import DEFAULT_RESOURCES, Resources
from mofn_jax.search.all_sets import (
    BestSet,
    all_sets_bytes,
    all_sets_fit,
    best_of_all_sets,
    signed_patterns,
)

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
    resources: Resources = DEFAULT_RESOURCES,
    bits: np.ndarray | None = None,
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
      resources: what it may use; units are divided among devices.
      bits: [u, n, W] uint32, as `literal_bits` gives them, if they are known.

    Returns:
      The fronts of the u units. Its `proven_literals` is the largest N: no rule of as many literals
      or fewer is better. Of equally good sets the front holds the one of earlier literals.

    Raises:
      ValueError: exact_literals or max_literals out of range, unknown signs.
    """
    num_examples, num_inputs = inputs.shape
    proven = provable_literals(num_inputs, exact_literals, signs, max_literals)
    found = best_sets(
        literals,
        inputs,
        targets,
        num_literals=proven,
        signs=signs,
        resources=resources,
        bits=bits,
    )
    on_counts = targets.sum(0)
    units = tuple(
        non_dominated([*constant_rules(int(on), num_examples), *candidates])
        for on, candidates in zip(on_counts, found, strict=True)
    )
    return RuleFront(units, on_counts, num_examples, num_inputs, proven)


def provable_literals(
    num_inputs: int,
    exact_literals: int | None = None,
    signs: str = "weights",
    max_literals: int | None = None,
) -> int:
    """The largest N that `exact` goes through.

    Raises:
      ValueError: num_inputs below 1, exact_literals out of range, unknown signs.

    Examples:
      >>> [provable_literals(num_inputs) for num_inputs in (16, 128, 784)]
      [16, 3, 2]
    """
    num_inputs = checks.at_least("num_inputs", num_inputs, 1)
    checks.known("signs", signs, SIGNS)
    limit = most_literals(max_literals, num_inputs)
    all_sets = all_sets_fit(num_inputs, signs == "free")
    if exact_literals is not None:
        exact_literals = checks.at_least("exact_literals", exact_literals, 1)
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


def best_sets(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    num_literals: int,
    signs: str = "weights",
    resources: Resources = DEFAULT_RESOURCES,
    bits: np.ndarray | None = None,
) -> Iterator[list[Candidate]]:
    """Of every unit, the best rule for each N = 1..num_literals and M = 1..N, in this order.

    Args:
      literals: of each of u units.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      num_literals: the largest N. At most 4, unless all sets of the inputs can be gone through.
      signs: "weights" for the literals as given; "free" for each of them or its negation.
      resources: what it may use; units are divided among devices.
      bits: [u, n, W] uint32, as `literal_bits` gives them, if they are known.

    Yields:
      Each unit's rules; N stops at its number of literals.
    """
    num_examples, num_inputs = inputs.shape
    free = signs == "free"
    counts = np.array([len(unit.inputs) for unit in literals], np.int32)
    all_sets = all_sets_fit(num_inputs, free)
    best_of: Callable[..., list[list[BestSet]]]
    best_of = best_of_all_sets if all_sets else best_of_small_sets

    def prepare(units: slice) -> Any:
        some, some_targets = literals[units], targets[:, units]
        if all_sets:
            return signed_patterns(some, inputs, some_targets)
        if bits is None:
            some_bits = literal_bits(
                some, inputs, num_inputs, resources.memory_budget // 4, resources.held
            )
        else:
            some_bits = bits[units]
        return _pack(some_bits, counts[units], some_targets, num_literals, free)

    def search(units: slice, prepared: Any) -> list[list[BestSet]]:
        return best_of(
            prepared,
            counts[units],
            targets[:, units].sum(0).tolist(),
            num_literals=num_literals,
            free=free,
            mesh=resources.mesh,
        )

    if all_sets:
        bytes_per_unit = all_sets_bytes(num_inputs, free)
    else:
        ways = 2**num_literals * (1 + num_literals if free else 1)
        bytes_per_unit = num_inputs * num_examples + 4 * ways * _BLOCK**num_literals
    found = meshes.each_unit(
        search,
        len(literals),
        bytes_per_unit=bytes_per_unit,
        resources=resources,
        prepare=prepare,
        stage="exact",
    )
    for unit, best in zip(literals, found, strict=True):
        yield [
            Candidate(
                one.m,
                unit.take(one.positions).flip(one.flipped),
                one.errors,
                float(complexity(one.m, len(one.positions), num_inputs)),
            )
            for one in best
        ]


def best_single_literals(bits: np.ndarray, target: np.ndarray, free: bool) -> list[BestSet]:
    """The best rule of one literal, of equals the first literal.

    Args:
      bits: [N, W] uint32, where each literal of a unit holds.
      target: [E] booleans.
      free: whether literals may be negated.
    """
    if not len(bits):
        return []
    errors = np.bitwise_count(bits ^ pack_examples(target)).sum(1, dtype=np.int64)
    ways = np.stack([errors, len(target) - errors] if free else [errors], axis=1)
    position, flipped = np.divmod(int(ways.argmin()), ways.shape[1])
    return [BestSet(1, np.array([position]), np.array([flipped > 0]), int(ways.min()))]


class _Packed(NamedTuple):
    """What the search of small sets reads of some units."""

    single: list[list[BestSet]]  # the best rules of one literal
    words: np.ndarray | None  # [u, R, W] uint32, the literals of whole blocks; None if not needed
    signs: np.ndarray | None  # [u, W] int32, of the words
    examples: np.ndarray | None  # [u, W] uint32, all of them


def _pack(
    bits: np.ndarray, counts: np.ndarray, targets: np.ndarray, num_literals: int, free: bool
) -> _Packed:
    """Packs where the literals of u units hold, bits [u, n, W], for `best_of_small_sets`."""
    single = [
        best_single_literals(unit_bits[:count], target, free)
        for unit_bits, count, target in zip(bits, counts, targets.T, strict=True)
    ]
    if num_literals == 1:
        return _Packed(single, None, None, None)
    words, signs = pack_units(bits, targets)
    words = np.pad(words, ((0, 0), (0, -words.shape[1] % _BLOCK), (0, 0)))
    return _Packed(single, words, signs, np.stack([all_examples(target) for target in targets.T]))


def best_of_small_sets(
    packed: _Packed,
    counts: np.ndarray,
    on_counts: Sequence[int],
    *,
    num_literals: int,
    free: bool,
    mesh: Mesh | None,
) -> list[list[BestSet]]:
    """As `best_of_all_sets`, for small sets of many inputs.

    Args:
      packed: see `_Packed`.
      counts, on_counts, num_literals, free, mesh: as there.
    """
    best = [[*unit] for unit in packed.single]
    if packed.words is None:
        return best
    num_blocks = packed.words.shape[1] // _BLOCK
    for size in range(2, num_literals + 1):
        blocks = np.array(
            list(itertools.combinations_with_replacement(range(num_blocks), size)), np.int32
        )
        found = meshes.divide(
            _best_in_blocks,
            (*packed[1:], counts),
            (blocks, _coefficients(size, free)),
            mesh=mesh,
        )
        for unit, on, least, places in zip(best, on_counts, *found, strict=True):
            unit += _first_of_best(blocks, least, places, free, on)
    return best


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


def _first_of_best(blocks, counts, places, free, num_on) -> Iterator[BestSet]:
    """Of one size the best sets of all blocks, of equals the first, for M = 1..N.

    Args:
      blocks: [C, N] int32, tuples of blocks.
      counts: [C, N] int32, at [tuple, M - 1].
      places: [C, N] int32, as `best_in_block` gives them.
      free: whether places include signs.
      num_on: the number of examples with the unit on.
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
        yield BestSet(m, positions[first], flipped, num_on + int(best))

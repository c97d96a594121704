"""Beam search: good sets of many literals, for every M and N, where there are too many to try all.

A cell (N, M) keeps the best few sets of N literals found for "at least M hold". It takes in the
sets of the cells beside it, grown or shrunk by one literal, and swaps literals until nothing
improves. The cells are gone through from small N to large and back.

Of a unit of many inputs, a pool of the literals of largest weight and gain is searched.

Axis letters: E examples, N literals, M needed, K the largest N, B width of the beam, L literals of
the pool, R rows of literals and one empty row, n inputs, u units, W words of 32 examples.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy.special import xlogy

from mofn_jax import checks, meshes
from mofn_jax.chunking import chunks
from mofn_jax.fronts import Candidate, RuleFront, non_dominated
from mofn_jax.literals import Literals
from mofn_jax.scoring import complexity, literal_bits, pack_examples
from mofn_jax.search.beam_cells import Unit, search_units
from mofn_jax.search.counting import all_examples, pack_units
from mofn_jax.search.exact import MOST_EXACT, NO_SET, best_sets, provable_literals
from mofn_jax.search.weight_order import weight_order

_LEAST_INPUTS = 32  # all the literals of an exact search's rules are in the pool


def beam(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    beam_width: int = 4,
    beam_literals: int = 10,
    beam_inputs: int = 256,
    exact_literals: int | None = None,
    signs: str = "weights",
    max_literals: int | None = None,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
) -> RuleFront:
    """The front of every unit among what weight order, exact search and a beam search find.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      beam_width: B, how many sets are kept for each N and M.
      beam_literals: K, the largest N of the beam search; larger rules come from weight order.
      beam_inputs: L, at least 32: how many literals of each unit the beam search chooses from.
        They are those of the exact search's rules, then half of L in order, then those of largest
        information gain.
      exact_literals: the largest N of the exact search, as in `exact`.
      signs: "weights" for the literals as given; "free" for each of them or its negation.
      max_literals: a limit on N for all three.
      memory_budget: bytes of working memory; never changes the result.
      mesh: devices to divide the units among, and to score weight order on.
      progress: called with 1 for every unit done.

    Returns:
      The fronts of the u units; `proven_literals` is the largest N of the exact search.

    Raises:
      ValueError: beam_width, beam_literals, beam_inputs or exact_literals out of range, unknown
        signs.
    """
    num_inputs = inputs.shape[1]
    checks.at_least("beam_width", beam_width, 1)
    checks.at_least("beam_literals", beam_literals, 1)
    checks.at_least("beam_inputs", beam_inputs, _LEAST_INPUTS)
    proven = provable_literals(num_inputs, exact_literals, signs, max_literals)
    pool_size = min(beam_inputs, num_inputs)
    largest = min(beam_literals, pool_size, max_literals or num_inputs)
    by_weight = weight_order(
        literals,
        inputs,
        targets,
        max_literals=max_literals,
        memory_budget=memory_budget,
        mesh=mesh,
    )
    best = list(
        best_sets(
            literals,
            inputs,
            targets,
            num_literals=proven,
            signs=signs,
            memory_budget=memory_budget,
            mesh=mesh,
        )
    )
    found: Iterable[list[Candidate]] = best
    if largest > proven:
        pools = literals
        if pool_size < num_inputs:
            pools = _pools(literals, inputs, targets, best, pool_size, memory_budget)
        found = _beam_sets(
            pools, inputs, targets, best, largest, pool_size, beam_width, signs, memory_budget, mesh
        )
    units = []
    for unit, more in enumerate(found):
        units.append(non_dominated([*by_weight.units[unit], *best[unit], *more]))
        if progress is not None:
            progress(1)
    return by_weight._replace(units=tuple(units), proven_literals=proven)


def _pools(literals, inputs, targets, best, pool_size, memory_budget) -> list[Literals]:
    """Of each unit the literals to search among, L of them, in order."""
    num_examples, num_inputs = inputs.shape
    pools: list[Literals] = []
    for units in chunks(len(literals), max(1, memory_budget // (num_inputs * num_examples // 4))):
        bits = literal_bits(literals[units], inputs, num_inputs, memory_budget // 4)
        new = range(len(pools), units.stop)
        for unit in new:
            count = len(literals[unit].inputs)
            words, target = bits[unit - units.start, :count], targets[:, unit]
            on = np.bitwise_count(words & pack_examples(target)).sum(1, dtype=np.int64)
            off = np.bitwise_count(words).sum(1, dtype=np.int64) - on
            by_gain = np.argsort(-_gains(on, off, target), kind="stable")
            proven = [_positions(rule.literals, literals[unit]) for rule in best[unit]]
            ranked = np.concatenate([*proven, np.arange(min(pool_size // 2, count)), by_gain])
            pool = np.sort(list(dict.fromkeys(ranked.tolist()))[:pool_size]).astype(int)
            pools.append(Literals(*(field[pool] for field in literals[unit])))
    return pools


def _positions(some: Literals, literals: Literals) -> np.ndarray:
    """The positions of some literals' inputs among the literals."""
    positions = {i: position for position, i in enumerate(literals.inputs.tolist())}
    return np.array([positions[i] for i in some.inputs.tolist()], int)


def _beam_sets(
    literals, inputs, targets, best, largest, pool_size, beam_width, signs, memory_budget, mesh
):
    """Yields of each unit the best rule found in each cell: a list of Candidates."""
    num_examples, num_inputs = inputs.shape
    free = signs == "free"
    num_rows = (2 if free else 1) * pool_size + 1
    cells = np.array([(n, m) for n in range(1, largest + 1) for m in range(1, n + 1)], np.int32)
    bytes_per_unit = pool_size * num_examples + num_rows * num_examples // 8
    bytes_per_unit += beam_width * largest * (num_examples // 2 + 4 * largest * num_rows)
    done = 0
    for units in chunks(len(literals), meshes.full_rounds(memory_budget // bytes_per_unit, mesh)):
        words, word_signs = pack_units(
            literals[units],
            inputs,
            targets[:, units],
            num_rows=pool_size,
            memory_budget=memory_budget // 4,
        )
        packed = [
            _prepare(*unit, free, largest)
            for unit in zip(
                words, word_signs, targets.T[units], literals[units], best[units], strict=True
            )
        ]
        sets, counts = meshes.divide(
            search_units,
            (jax.tree.map(lambda *fields: jnp.stack(fields), *packed),),
            (cells,),
            mesh=mesh,
            beam_width=beam_width,
        )
        for unit in range(done, units.stop):
            on = int(targets[:, unit].sum())
            yield [
                Candidate(
                    m,
                    _literals_at(literals[unit], sets[unit - units.start, n, m, :n], pool_size),
                    on + int(counts[unit - units.start, n, m]),
                    float(complexity(m, n, num_inputs)),
                )
                for n, m in cells.tolist()
                if counts[unit - units.start, n, m] != NO_SET
            ]
        done = units.stop


def _literals_at(literals: Literals, rows: np.ndarray, pool_size: int) -> Literals:
    """The literals of these rows; those of the second L rows are negated."""
    flipped, positions = np.divmod(rows, pool_size)
    return Literals(
        literals.inputs[positions],
        literals.thresholds[positions],
        literals.negated[positions] ^ flipped.astype(bool),
    )


def _prepare(words, word_signs, target, literals, best, free, largest) -> Unit:
    """What the search of a unit reads, from its literals packed by its target [L, W]."""
    pool_size, count = len(words), len(literals.inputs)
    owners = np.where(np.arange(pool_size) < count, np.arange(pool_size), -1)
    on, off = (
        np.bitwise_count(words[:count, word_signs == sign]).sum(1, dtype=np.int64)
        for sign in (-1, 1)
    )
    by_gain = np.argsort(-_gains(on, off, target), kind="stable")
    if free:
        words = np.concatenate([words, words ^ all_examples(target)])
        owners = np.tile(owners, 2)
    num_rows = len(words)
    starts = np.full((largest + 1, 2 + MOST_EXACT, largest), num_rows, np.int32)
    for size in range(1, min(largest, count) + 1):
        starts[size, 0, :size] = np.arange(size)
        starts[size, 1, :size] = np.sort(by_gain[:size])
    for rule in best:
        taken = _positions(rule.literals, literals)
        flipped = rule.literals.negated ^ literals.negated[taken]
        size = len(taken)
        if size <= min(largest, MOST_EXACT):
            starts[size, 1 + rule.m, :size] = np.sort(taken + pool_size * flipped)
    return Unit(
        words=jnp.concatenate([words, np.zeros_like(words[:1])]),
        signs=jnp.asarray(word_signs),
        inputs=jnp.append(owners, -1).astype(jnp.int32),
        hashes=jnp.asarray(_hashes(num_rows + 1)),
        starts=jnp.asarray(starts),
    )


@lru_cache(maxsize=2)
def _hashes(count: int) -> np.ndarray:
    # NumPy's, as no setting of JAX changes them.
    return np.random.default_rng(0).integers(2**32, size=count, dtype=np.uint32)


def _gains(on: np.ndarray, off: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The information gain of literals about the target, times E: [N] float64.

    Args:
      on, off: [N] integers, on how many examples with the unit on, and off, each literal holds.
      target: [E] booleans.
    """
    num_on = target.sum()

    def size_times_entropy(on, off):
        return xlogy(on + off, on + off) - xlogy(on, on) - xlogy(off, off)

    num_off = len(target) - num_on
    false = size_times_entropy(num_on - on, num_off - off)
    return size_times_entropy(num_on, num_off) - size_times_entropy(on, off) - false

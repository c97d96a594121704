"""Beam search: good sets of many literals, for every M and N, where there are too many to try all.

A cell (N, M) keeps the best few sets of N literals found for "at least M hold". It takes in the
sets of the cells beside it, grown or shrunk by one literal, and swaps literals until nothing
improves. The cells are gone through from small N to large and back.

All changes of a set are scored at once. A literal k decides the rule exactly on those examples on
which M - 1 of the other literals hold: with X these examples and T those on which at least M of the
others hold, the errors with k are those of T plus the signed count (see `counting`) of X and k.

Axis letters: E examples, N literals, M needed, K the largest N, B width of the beam, R rows of
literals and one empty row, n inputs, u units, W words of 32 examples.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax import checks
from mofn_jax.chunking import chunks
from mofn_jax.fronts import Candidate, RuleFront, merge_fronts, non_dominated
from mofn_jax.literals import Literals
from mofn_jax.scoring import complexity
from mofn_jax.search.counting import pack_units, signed_count, signed_counts
from mofn_jax.search.exact import exact
from mofn_jax.search.weight_order import weight_order

_NO_SET = np.iinfo(np.int32).max
_MOST_ROUNDS = 8  # of swaps, at each visit of a cell


class Unit(NamedTuple):
    """What the search of one unit reads."""

    words: jax.Array  # [R, W] uint32, the examples on which each literal holds; the last row empty
    signs: jax.Array  # [W] int32, of the words
    inputs: jax.Array  # [R] int32, which literals exclude each other; -1 where there is none
    hashes: jax.Array  # [R] uint32, random: sets of equal sums are taken for equal
    starts: jax.Array  # [K + 1, S, K] int32, for each N some sets to start from


class Beam(NamedTuple):
    """The best few sets, in order; of one cell, or of all at [N, M]."""

    sets: jax.Array  # [..., B, K] int32, ascending rows of literals, then R - 1
    counts: jax.Array  # [..., B] int32, signed examples on which the rule holds; NO_SET if no set


def beam(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    beam_width: int = 4,
    beam_literals: int = 20,
    exact_literals: int | None = None,
    signs: str = "weights",
    max_literals: int | None = None,
    memory_budget: int = 2**29,
    progress: Callable[[int], None] | None = None,
) -> RuleFront:
    """The front of every unit among what weight order, exact search and a beam search find.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      beam_width: B, how many sets are kept for each N and M.
      beam_literals: K, the largest N of the beam search; larger rules come from weight order.
      exact_literals: the largest N of the exact search, as in `exact`.
      signs: "weights" for the literals as given; "free" for each of them or its negation.
      max_literals: a limit on N for all three.
      memory_budget: bytes of working memory; never changes the result.
      progress: called with 1 for every unit done.

    Returns:
      The fronts of the u units; `proven_literals` is the largest N of the exact search.

    Raises:
      ValueError: beam_width, beam_literals or exact_literals out of range, unknown signs.
    """
    checks.at_least("beam_width", beam_width, 1)
    checks.at_least("beam_literals", beam_literals, 1)
    num_inputs = inputs.shape[1]
    proven = provable_literals(num_inputs, exact_literals, signs, max_literals)
    largest = min(beam_literals, num_inputs, max_literals or num_inputs)
    by_weight = weight_order(
        literals, inputs, targets, max_literals=max_literals, memory_budget=memory_budget
    )
    best = list(
        best_sets(
            literals,
            inputs,
            targets,
            num_literals=proven,
            signs=signs,
            memory_budget=memory_budget,
        )
    )
    units = []
    for unit, found in enumerate(
        _beam_sets(literals, inputs, targets, best, largest, beam_width, signs, memory_budget)
        if largest > proven
        else best
    ):
        units.append(non_dominated([*by_weight.units[unit], *best[unit], *found]))
        if progress is not None:
            progress(1)
    return by_weight._replace(units=tuple(units), proven_literals=proven)


def _beam_sets(literals, inputs, targets, best, largest, beam_width, signs, memory_budget):
    """Yields of each unit the best rule found in each cell: a list of Candidates."""
    num_examples, num_inputs = inputs.shape
    free = signs == "free"
    num_rows = (2 if free else 1) * num_inputs + 1
    cells = np.array([(n, m) for n in range(1, largest + 1) for m in range(1, n + 1)], np.int32)
    bytes_per_unit = num_inputs * num_examples + num_rows * num_examples // 8
    bytes_per_unit += beam_width * largest * (num_examples // 2 + 4 * largest * num_rows)
    done = 0
    for units in chunks(len(literals), max(1, memory_budget // bytes_per_unit)):
        words, word_signs = pack_units(
            literals[units],
            inputs,
            targets[:, units],
            num_rows=num_inputs,
            memory_budget=memory_budget // 4,
        )
        packed = [
            _prepare(*unit, free, largest)
            for unit in zip(
                words, word_signs, targets.T[units], literals[units], best[units], strict=True
            )
        ]
        beams = _search_units(
            jax.tree.map(lambda *fields: np.stack(fields), *packed), cells, beam_width=beam_width
        )
        sets, counts = map(np.asarray, beams)
        for unit in range(done, units.stop):
            on = int(targets[:, unit].sum())
            yield [
                Candidate(
                    m,
                    _literals_at(literals[unit], sets[unit - units.start, n, m, 0, :n], num_inputs),
                    on + int(counts[unit - units.start, n, m, 0]),
                    float(complexity(m, n, num_inputs)),
                )
                for n, m in cells.tolist()
                if counts[unit - units.start, n, m, 0] != NO_SET
            ]
        done = units.stop


def _literals_at(literals: Literals, rows: np.ndarray, num_inputs: int) -> Literals:
    """The literals of these rows; those of the second n rows are negated."""
    flipped, positions = np.divmod(rows, num_inputs)
    return Literals(
        literals.inputs[positions],
        literals.thresholds[positions],
        literals.negated[positions] ^ flipped.astype(bool),
    )


def _prepare(words, word_signs, target, literals, best, free, largest) -> Unit:
    """What the search of a unit reads, from its literals packed by its target [n, W]."""
    num_inputs, count = len(words), len(literals.inputs)
    owners = np.where(np.arange(num_inputs) < count, np.arange(num_inputs), -1)
    gains = _gains(words[:count], word_signs, target)
    if free:
        words = np.concatenate([words, words ^ all_examples(target)])
        owners = np.tile(owners, 2)
    num_rows = len(words)
    starts = np.full((largest + 1, 2 + MOST_EXACT, largest), num_rows, np.int32)
    by_gain = np.argsort(-gains, kind="stable")
    for size in range(1, min(largest, count) + 1):
        starts[size, 0, :size] = np.arange(size)
        starts[size, 1, :size] = np.sort(by_gain[:size])
    positions = {i: position for position, i in enumerate(literals.inputs.tolist())}
    for rule in best:
        taken = np.array([positions[i] for i in rule.literals.inputs.tolist()])
        flipped = rule.literals.negated ^ literals.negated[taken]
        size = len(taken)
        if size <= min(largest, MOST_EXACT):
            starts[size, 1 + rule.m, :size] = np.sort(taken + num_inputs * flipped)
    return Unit(
        np.concatenate([words, np.zeros_like(words[:1])]),
        word_signs,
        np.append(owners, -1).astype(np.int32),
        np.random.default_rng(0).integers(2**32, size=num_rows + 1, dtype=np.uint32),
        starts,
    )


def _gains(words: np.ndarray, word_signs: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The information gain of each literal [N, W] about the target, times E: [N] float64."""

    num_on = target.sum()
    on = np.bitwise_count(words[:, word_signs < 0]).sum(1, dtype=np.int64)
    off = np.bitwise_count(words[:, word_signs > 0]).sum(1, dtype=np.int64)

    def size_times_entropy(on, off):
        return xlogy(on + off, on + off) - xlogy(on, on) - xlogy(off, off)

    num_off = len(target) - num_on
    false = size_times_entropy(num_on - on, num_off - off)
    return size_times_entropy(num_on, num_off) - size_times_entropy(on, off) - false


@partial(jax.jit, static_argnames="beam_width")
def _search_units(units: Unit, cells: jax.Array, *, beam_width: int) -> Beam:
    return jax.lax.map(
        partial(search_unit, cells=cells, beam_width=beam_width),
        units,
        batch_size=1 if jax.default_backend() == "cpu" else len(units.signs),
    )


def search_unit(unit: Unit, cells: jax.Array, *, beam_width: int) -> Beam:
    """The beams of all cells of one unit; composes with jit and vmap.

    Args:
      unit: see `Unit`.
      cells: [C, 2] int32, N and M of the cells, in order; they are gone through forth and back.
      beam_width: B.

    Returns:
      Sets [K + 2, K + 2, B, K] and counts [K + 2, K + 2, B], at [N, M].
    """
    largest = unit.starts.shape[2]
    nothing = len(unit.words) - 1
    shape = (largest + 2, largest + 2, beam_width)
    beams = Beam(jnp.full((*shape, largest), nothing), jnp.full(shape, NO_SET))
    beams = beams._replace(counts=beams.counts.at[0, :, 0].set(0))  # the set of no literals

    def visit(beams: Beam, cell: jax.Array) -> tuple[Beam, None]:
        size, m = cell
        improved = improve(unit, gather(unit, beams, size, m), size, m)
        return Beam(*(f.at[size, m].set(new) for f, new in zip(beams, improved))), None

    beams, _ = jax.lax.scan(visit, beams, jnp.concatenate([cells, cells[::-1]]))
    return beams


def gather(unit: Unit, beams: Beam, size: jax.Array, m: jax.Array) -> Beam:
    """The best of a cell's own sets, its starts, and the sets of cells beside it with one literal
    more or less."""
    beam_width, largest = beams.sets.shape[2:]

    def beside(n: jax.Array, *ms: jax.Array) -> Beam:
        return Beam(*(jnp.concatenate([field[n, m] for m in ms]) for field in beams))

    own = beside(size, m)
    smaller, larger = beside(size - 1, m - 1, m), beside(size + 1, m, m + 1)
    starts = unit.starts[size]
    start_counts = jax.vmap(lambda rows: signed_count(at_least(unit, rows)[m], unit.signs))(starts)
    is_start = (starts != len(unit.words) - 1).sum(1) == size
    grown = Openings(*(field[:, size - 1] for field in openings(unit, smaller, m)))
    shrunk = Openings(
        *(field.reshape(-1, *field.shape[2:]) for field in openings(unit, larger, m))
    )

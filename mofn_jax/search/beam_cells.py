"""The kernel of the beam search: the beams of every cell of a unit, grown, shrunk and improved.

All changes of a set are scored at once. A literal k decides the rule exactly on those examples on
which M - 1 of the other literals hold: with X these examples and T those on which at least M of the
others hold, the errors with k are those of T plus the signed count (see `counting`) of X and k.

Axis letters: N literals, M needed, K the largest N, B width of the beam, C cells or sets, P sets,
R rows of literals and one empty row, S starts, u units, W words of 32 examples.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mofn_jax.search.counting import signed_count, signed_counts
from mofn_jax.search.exact import NO_SET

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


@partial(jax.jit, static_argnames="beam_width")
def search_units(units: Unit, cells: jax.Array, *, beam_width: int) -> Beam:
    """The best set of every cell of every unit: sets [u, K + 2, K + 2, K], counts likewise."""

    def best(unit: Unit) -> Beam:
        return jax.tree.map(lambda f: f[:, :, 0], search_unit(unit, cells, beam_width=beam_width))

    # A CPU does best with one unit at a time in its cache, other devices with all of them.
    one_by_one = jax.default_backend() == "cpu"
    return jax.lax.map(best, units, batch_size=1 if one_by_one else len(units.signs))


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
    shape = (largest + 2, largest + 2, beam_width)
    sets = jnp.full((*shape, largest), len(unit.words) - 1, jnp.int32)
    counts = jnp.full(shape, NO_SET).at[0, :, 0].set(0)  # the set of no literals

    def visit(beams: Beam, cell: jax.Array) -> tuple[Beam, None]:
        size, m = cell
        beam = improve(unit, gather(unit, beams, size, m), m)
        beams = Beam(
            beams.sets.at[size, m].set(beam.sets), beams.counts.at[size, m].set(beam.counts)
        )
        return beams, None

    return jax.lax.scan(visit, Beam(sets, counts), jnp.concatenate([cells, cells[::-1]]))[0]


def gather(unit: Unit, beams: Beam, size: jax.Array, m: jax.Array) -> Beam:
    """The best of a cell's own sets, its starts, and the sets beside it grown or shrunk by one."""
    width = beams.sets.shape[2]

    def join(*cells: Beam) -> Beam:
        return Beam(*(jnp.concatenate(fields) for fields in zip(*cells, strict=True)))

    def cell(n: jax.Array, m: jax.Array) -> Beam:
        return Beam(beams.sets[n, m], beams.counts[n, m])

    starts = unit.starts[size]
    start_counts = signed_count(levels(unit, starts)[:, m], unit.signs)
    is_start = (starts < len(unit.words) - 1).sum(1) == size
    smaller = join(cell(size - 1, m - 1), cell(size - 1, m))
    larger = join(cell(size + 1, m), cell(size + 1, m + 1))
    shrunk = with_one_less(unit, larger, m)
    pool = join(
        cell(size, m),
        Beam(starts, jnp.where(is_start, start_counts, NO_SET)),
        fill(unit, with_room(unit, smaller, m), width),
        Beam(shrunk.others, shrunk.counts),
    )
    return best_distinct(unit, pool, width)


def improve(unit: Unit, beam: Beam, m: jax.Array) -> Beam:
    """Swaps one literal of the sets of a cell for another, the best swaps first, while it helps."""

    def swap(state: tuple[Beam, jax.Array, int]) -> tuple[Beam, jax.Array, int]:
        beam, _, rounds = state
        swapped = fill(unit, with_one_less(unit, beam, m), len(beam.counts))
        both = Beam(*(jnp.concatenate(fields) for fields in zip(beam, swapped, strict=True)))
        better = best_distinct(unit, both, len(beam.counts))
        return better, (better.counts < beam.counts).any(), rounds + 1

    def goes_on(state: tuple[Beam, jax.Array, int]) -> jax.Array:
        return state[1] & (state[2] < _MOST_ROUNDS)

    return jax.lax.while_loop(goes_on, swap, (beam, jnp.bool_(True), 0))[0]


class Openings(NamedTuple):
    """Sets with room for a literal, and what it would decide."""

    others: jax.Array  # [P, K] int32, ascending rows, the last R - 1
    pivotal: jax.Array  # [P, W] uint32, examples on which M - 1 of them hold
    counts: jax.Array  # [P] int32, signed examples on which M of them hold; NO_SET if no set


def with_room(unit: Unit, beam: Beam, m: jax.Array) -> Openings:
    """The sets of a beam, all of less than K literals, as they are."""
    hold = levels(unit, beam.sets)
    counts = jnp.where(beam.counts == NO_SET, NO_SET, signed_count(hold[:, m], unit.signs))
    return Openings(beam.sets, hold[:, m - 1] & ~hold[:, m], counts)


def with_one_less(unit: Unit, beam: Beam, m: jax.Array) -> Openings:
    """The sets of a beam [B], of each all the ways to take a literal out: P = B K."""
    nothing = len(unit.words) - 1
    hold, literals = levels(unit, beam.sets), unit.words[beam.sets]
    exactly, below = hold[:, m] & ~hold[:, m + 1], hold[:, m - 1] & ~hold[:, m]
    decided = literals & exactly[:, None]
    counts = signed_count(hold[:, m], unit.signs)[:, None] - signed_count(decided, unit.signs)
    legal = (beam.counts[:, None] != NO_SET) & (beam.sets != nothing)
    here = jnp.eye(beam.sets.shape[1], dtype=bool)
    openings = Openings(
        jnp.sort(jnp.where(here[None], nothing, beam.sets[:, None]), axis=-1),
        decided | (~literals & below[:, None]),
        jnp.where(legal, counts, NO_SET),
    )
    return jax.tree.map(lambda field: field.reshape(-1, *field.shape[2:]), openings)


def levels(unit: Unit, sets: jax.Array) -> jax.Array:
    """The examples on which at least 0, 1, ... K + 1 literals of each set hold.

    Sets [P, K] make [P, K + 2, W].
    """

    def take(hold: jax.Array, rows: jax.Array) -> tuple[jax.Array, None]:
        return hold.at[:, 1:].set(hold[:, 1:] | (hold[:, :-1] & unit.words[rows][:, None])), None

    nothing = jnp.zeros((len(sets), sets.shape[1] + 2, unit.words.shape[1]), jnp.uint32)
    return jax.lax.scan(take, nothing.at[:, 0].set(~nothing[:, 0]), sets.T)[0]


def fill(unit: Unit, openings: Openings, width: int) -> Beam:
    """The best sets of openings [P] with another literal in each."""
    decided = signed_counts(openings.pivotal, unit.words[:-1], unit.signs)
    # An opening has an empty row, of input -1: so have the rows of missing literals.
    taken = (unit.inputs[openings.others][:, :, None] == unit.inputs[None, None, :-1]).any(1)
    legal = ~taken & (openings.counts != NO_SET)[:, None]
    counts = jnp.where(legal, openings.counts[:, None] + decided, NO_SET)
    hashes = set_hashes(unit, openings.others)[:, None] + unit.hashes[None, :-1]
    places, counts = first_distinct(counts.reshape(-1), hashes.reshape(-1), width)
    place, literal = jnp.divmod(places, len(unit.words) - 1)
    sets = openings.others[place].at[:, -1].set(literal)
    return Beam(jnp.sort(sets, axis=-1), counts)


def best_distinct(unit: Unit, pool: Beam, width: int) -> Beam:
    """The best different sets of a pool [C], the best first, of equals the first in the pool."""
    places, counts = first_distinct(pool.counts, set_hashes(unit, pool.sets), width)
    return Beam(pool.sets[places], counts)


def set_hashes(unit: Unit, sets: jax.Array) -> jax.Array:
    """The hashes of sets [P, K]: [P] uint32."""
    return unit.hashes[sets].sum(1, dtype=jnp.uint32)


def first_distinct(counts: jax.Array, hashes: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """Places of the least counts [C] of different hashes [C], in order, and these counts."""

    def take(counts: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        place = jnp.argmin(counts)
        rest = jnp.where(hashes == hashes[place], NO_SET, counts)
        return rest, (place.astype(jnp.int32), counts[place])

    return jax.lax.scan(take, counts, length=width)[1]

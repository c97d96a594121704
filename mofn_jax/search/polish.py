"""Better small sets for the stepwise search: literals exchanged one by one, while errors fall.

Axis letters: S the largest N that is polished, the others as in `mofn_jax.search.steps`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from mofn_jax.search.exact import NO_SET
from mofn_jax.search.sets import (
    Found,
    Unit,
    best_m,
    can_take,
    count_rows,
    first_least,
    holds_of,
    move,
    row_bits,
    row_counts,
    rule_errors,
)

_NEAR = 2  # how far from the best M it looks


class _Set(NamedTuple):
    rows: jax.Array  # [S] int32, N rows, then S - N times R for none
    m: jax.Array  # int32
    errors: jax.Array  # int32; NO_SET if there is none


def polish_sizes(unit: Unit, found: Found, *, free: bool) -> Found:
    """Better sets of N = 1..S, from those found of N = 0..S, by exchanging literals.

    Of every size the set found and that of one literal less with another one are polished; then,
    from S down, that of one literal more without one of them. Of equals the first is kept.
    """
    largest, num_rows = len(found.errors) - 1, found.taken.shape[1]
    zero = jnp.int32(0)

    def met(sets: _Set, size: jax.Array) -> tuple[_Set, jax.Array]:
        rows = jnp.nonzero(found.taken[size], size=largest, fill_value=num_rows)[0]
        return _Set(rows.astype(jnp.int32), found.m[size], found.errors[size]), zero

    def one_more(sets: _Set, size: jax.Array) -> tuple[_Set, jax.Array]:
        smaller = at(sets, size - 1)  # its last row is none, and has the first turn
        return smaller._replace(errors=jnp.int32(NO_SET)), size - 1

    def one_less(sets: _Set, size: jax.Array) -> tuple[_Set, jax.Array]:
        return without_one(unit, at(sets, size + 1), size, free), zero

    def visit(sets: _Set, size_and_start: tuple[jax.Array, jax.Array]) -> tuple[_Set, None]:
        size, which = size_and_start
        start, place = jax.lax.switch(which, [met, one_more, one_less], sets, size)
        new, old = polish(unit, start, size, place, free), at(sets, size)
        best = jax.tree.map(partial(jnp.where, new.errors < old.errors), new, old)
        return jax.tree.map(lambda field, one: field.at[size].set(one), sets, best), None

    def at(sets: _Set, size: jax.Array) -> _Set:
        return jax.tree.map(lambda field: field[size], sets)

    visits = [(size, start) for size in range(1, largest + 1) for start in (0, 1)]
    visits += [(size, 2) for size in range(largest - 1, 0, -1)]
    sets = _Set(
        jnp.full((largest + 1, largest), num_rows, jnp.int32),
        jnp.zeros(largest + 1, jnp.int32),
        jnp.full(largest + 1, NO_SET, jnp.int32),
    )
    sets, _ = jax.lax.scan(visit, sets, tuple(jnp.array(visits, jnp.int32).T))
    sizes = jnp.arange(largest + 1, dtype=jnp.int32)[:, None]
    taken = jnp.zeros_like(found.taken).at[sizes, sets.rows].set(True, mode="drop")
    return Found(sets.errors, sets.m, taken)


class _Polish(NamedTuple):
    best: _Set
    hold: jax.Array  # [S + 2, W] uint32
    place: jax.Array  # whose turn it is
    stayed: jax.Array  # how many in a row could not be exchanged for better


def polish(unit: Unit, start: _Set, size: jax.Array, place: jax.Array, free: bool) -> _Set:
    """A set of N literals, each exchanged in turn for the best one, until none makes fewer errors.

    Args:
      unit: see `Unit`.
      start: the set; the row at the first place may be none.
      size: N.
      place: whose turn is the first.
      free: as in `search_unit`.
    """
    num_rows = count_rows(unit, free)

    def exchange(state: _Polish) -> _Polish:
        best, place = state.best, state.place
        row = best.rows[place]
        others = move(state.hold, row_bits(unit, row, free), jnp.bool_(True))
        errors = rule_errors(unit, others)
        m, _ = best_m(errors, size)
        m = jnp.clip(m + jnp.arange(-_NEAR, _NEAR + 1, dtype=jnp.int32), 1, size)
        pivotal = others[m - 1] & ~others[m]
        off_and_on = [pivotal & ~unit.target[None], pivotal & unit.target[None]]
        more, fewer = jnp.split(row_counts(unit, jnp.concatenate(off_and_on), free), 2)
        kept = best.rows.at[place].set(num_rows)
        taken = jnp.zeros(num_rows, bool).at[kept].set(True, mode="drop")
        legal = can_take(unit, taken, free)[None]
        new = first_least(jnp.where(legal, errors[m][:, None] + more - fewer, NO_SET))
        better = new.value < best.errors
        row = jnp.where(better, new.row, row)
        return _Polish(
            _Set(
                best.rows.at[place].set(row),
                jnp.where(better, m[new.column], best.m),
                jnp.where(better, new.value, best.errors),
            ),
            move(others, row_bits(unit, row, free), jnp.bool_(False)),
            place=(place + 1) % size,
            stayed=jnp.where(better, 1, state.stayed + 1),
        )

    state = _Polish(start, holds_of(unit, start.rows, free), place, jnp.int32(0))
    best = jax.lax.while_loop(lambda state: state.stayed < size, exchange, state).best
    whole = (best.rows < num_rows).sum() == size
    return best._replace(errors=jnp.where(whole, best.errors, NO_SET))


def without_one(unit: Unit, larger: _Set, size: jax.Array, free: bool) -> _Set:
    """The set of N of the N + 1 literals that makes the fewest errors, of equals the first."""
    hold, places = holds_of(unit, larger.rows, free), jnp.arange(len(larger.rows))

    def without(place: jax.Array) -> tuple[jax.Array, jax.Array]:
        row = row_bits(unit, larger.rows[place], free)
        return best_m(rule_errors(unit, move(hold, row, jnp.bool_(True))), size)

    m, errors = jax.lax.map(without, places)
    place = jnp.argmin(jnp.where(places <= size, errors, NO_SET))
    none = count_rows(unit, free)
    rows = larger.rows.at[place].set(larger.rows[size]).at[size].set(none)
    return _Set(rows, m[place], errors[place])

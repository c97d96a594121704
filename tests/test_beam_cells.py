"""The kernel of the beam search: it scores every change of a set exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_beam import NUM_INPUTS, layer

from mofn_jax.search import beam, beam_cells
from mofn_jax.search.exact import NO_SET


@pytest.mark.parametrize("m", [1, 2, 4])
def test_scores_of_all_swaps_are_exact(m):
    """The best swaps of a set, by plain counting over all of them."""
    (literals, *_), inputs, targets = layer("linear")
    target, chosen = targets[:, 0], [2, 5, 11, 17]
    on = target.sum()
    words, signs = beam.pack_units(
        [literals], inputs, targets[:, :1], num_rows=NUM_INPUTS, memory_budget=2**20
    )
    unit = beam._prepare(words[0], signs[0], target, literals, [], False, 6)
    expected = {}
    for out in chosen:
        for new in set(range(NUM_INPUTS)) - set(chosen):
            swapped = sorted({*chosen, new} - {out})
            says = inputs[:, swapped].sum(1) >= m
            expected[tuple(swapped)] = (says != target).sum() - on
    sets = jnp.array([[*chosen, NUM_INPUTS, NUM_INPUTS]], jnp.int32)
    start = beam_cells.Beam(sets, jnp.zeros(1, jnp.int32))
    found = jax.jit(lambda: beam_cells.fill(unit, beam_cells.with_one_less(unit, start, m), 100))()
    # A literal put back where it was is no swap, but a set like any other.
    count = int((inputs[:, chosen].sum(1) >= m).astype(int) @ np.where(target, -1, 1))
    expected[tuple(chosen)] = count
    assert {
        tuple(rows[:4]): c
        for rows, c in zip(found.sets.tolist(), found.counts.tolist(), strict=True)
        if c != NO_SET
    } == expected
    assert found.counts.tolist() == sorted(found.counts.tolist())

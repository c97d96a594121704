"""Every set of few inputs, of any size, scored at once.

The examples collapse to counts by pattern of true and false literals, [2^n], and one pass over the
inputs turns these into counts by number of literals that hold and set.

Axis letters: E examples, N literals, M needed, n inputs, u units.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from mofn_jax import meshes
from mofn_jax.chunking import row_slices
from mofn_jax.literals import Literals, truth_of

# What becomes of an input in an assignment.
_TAKEN, _ABSENT, _FLIPPED = 0, 1, 2

_MOST_ASSIGNMENTS = 2**16  # 16 inputs, or 10 with free signs


def all_sets_fit(num_inputs: int, free: bool) -> bool:
    """Whether there are few enough inputs for all their sets, signed or not."""
    return num_inputs < 64 and (3 if free else 2) ** num_inputs <= _MOST_ASSIGNMENTS


def all_sets_bytes(num_inputs: int, free: bool) -> int:
    """Bytes of working memory that a unit takes."""
    return 28 * (3 if free else 2) ** num_inputs * (num_inputs + 1)


class BestSet(NamedTuple):
    """The best set of its size for its M."""

    m: int
    positions: np.ndarray  # [N] of the literals
    flipped: np.ndarray  # [N] bool, which of them are negated
    errors: int


def best_of_all_sets(
    histograms: np.ndarray,
    counts: np.ndarray,
    on_counts: Sequence[int],
    *,
    num_literals: int,
    free: bool,
    mesh: Mesh | None = None,
) -> list[list[BestSet]]:
    """Of every unit, the best set for each N = 1..num_literals and M = 1..N, in this order.

    Args:
      histograms: [u, 2^n] int32, as `signed_patterns` gives them.
      counts: [u] int32, how many literals each unit has.
      on_counts: of each unit on how many examples it is on.
      num_literals: the largest N.
      free: whether inputs may be taken negated.
      mesh: devices to divide the units among.
    """
    num_inputs = histograms.shape[1].bit_length() - 1
    roles = np.indices((3 if free else 2,) * num_inputs).reshape(num_inputs, -1).T
    sizes = (roles != _ABSENT).sum(1)
    totals = meshes.divide(_count_units_assignments, (histograms,), (), mesh=mesh, free=free)
    best = []
    for count, on, unit_totals in zip(counts.tolist(), on_counts, totals, strict=True):
        legal = (roles[:, count:] == _ABSENT).all(1)
        of_unit: list[BestSet] = []
        best.append(of_unit)
        for size in range(1, min(num_literals, count) + 1):
            rows = np.flatnonzero(legal & (sizes == size))
            for m in range(1, size + 1):
                row = rows[np.argmin(unit_totals[m, rows])]
                positions = np.flatnonzero(roles[row] != _ABSENT)
                flipped = roles[row, positions] == _FLIPPED
                of_unit.append(BestSet(m, positions, flipped, on + int(unit_totals[m, row])))
    return best


def signed_patterns(
    literals: Sequence[Literals], inputs: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Of each pattern of true and false literals, its examples with the unit off minus on.

    Args:
      literals: of each of u units.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.

    Returns:
      [u, 2^n] int32; a unit's first literal is the highest bit of the pattern.
    """
    num_inputs = inputs.shape[1]
    histograms = np.zeros((len(literals), 2**num_inputs), np.int32)
    for histogram, unit, target in zip(histograms, literals, targets.T, strict=True):
        values = 2 ** np.arange(num_inputs - 1, -1, -1)[: len(unit.inputs)]
        for rows in row_slices(inputs):
            patterns = truth_of(unit, inputs[rows]) @ values
            signs = np.where(target[rows], -1, 1)
            histogram += np.bincount(patterns, signs, histogram.size).astype(np.int32)
    return histograms


def count_assignments(histogram: jax.Array, *, free: bool) -> jax.Array:
    """The signed examples on which at least M literals of each assignment hold.

    One input after the other changes from "its literal is false or true" to "it is taken, absent,
    or taken negated", while the number of literals that hold moves along the first axis. A half of
    the inputs is last meanwhile: an accelerator would fill up a short last axis to 128.

    Args:
      histogram: [2^n] int32 by pattern, the first input the highest bit.
      free: whether inputs may be taken negated.

    Returns:
      [n + 1, 2^n or 3^n] int32 at [M, assignment], the first input the highest digit.
    """
    num_inputs = len(histogram).bit_length() - 1

    def assign(counts: jax.Array) -> jax.Array:  # [n + 1, patterns, .] -> [n + 1, assignments, .]
        others = counts.shape[2]
        counts = counts[:, None]
        while counts.shape[2] > 1:
            false, true = jnp.split(counts, 2, axis=2)
            ways = [false + jnp.roll(true, 1, axis=0), false + true]
            if free:
                ways.append(jnp.roll(false, 1, axis=0) + true)
            counts = jnp.stack(ways, axis=2)
            counts = counts.reshape(num_inputs + 1, -1, false.shape[2], others)
        return counts[:, :, 0]

    counts = jnp.zeros((num_inputs + 1, len(histogram)), jnp.int32).at[0].set(histogram)
    counts = assign(counts.reshape(num_inputs + 1, 2 ** (num_inputs // 2), -1)).swapaxes(1, 2)
    counts = assign(counts).swapaxes(1, 2).reshape(num_inputs + 1, -1)
    return jax.lax.cumsum(counts, axis=0, reverse=True)


@partial(jax.jit, static_argnames="free")
def _count_units_assignments(histograms, *, free: bool):
    return jax.vmap(partial(count_assignments, free=free))(histograms)

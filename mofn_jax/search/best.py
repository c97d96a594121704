"""The default: all that the other searches find, with thresholds moved to their best places.

Axis letters: E examples, N literals, n inputs, u units.
"""

from collections.abc import Sequence

import numpy as np

from mofn_jax.fronts import RuleFront
from mofn_jax.literals import Literals
from mofn_jax.search.beam import beam
from mofn_jax.search.refine import refine_front


def best(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    memory_budget: int = 2**29,
    **options,
) -> RuleFront:
    """The front of every unit among weight order, exact and beam search, its rules refined.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      memory_budget: bytes of working memory; never changes the result.
      **options: of `beam`, such as `mesh`. Each process refines all the rules by itself.

    Returns:
      The fronts of the u units; see `beam` and `refine_front`.
    """
    front = beam(literals, inputs, targets, memory_budget=memory_budget, **options)
    return refine_front(front, inputs, targets, memory_budget=memory_budget)

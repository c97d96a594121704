"""The default: the most thorough search that the size of the layer leaves time for.

Axis letters: E examples, N literals, n inputs, u units.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mofn_jax.fronts import RuleFront, merge_fronts
from mofn_jax.literals import Literals
from mofn_jax.search.beam import beam
from mofn_jax.search.exact import exact
from mofn_jax.search.refine import refine_front
from mofn_jax.search.weight_order import weight_order

# Inputs x units x examples up to which a beam search takes some ten seconds on two CPU cores.
_MOST_FOR_BEAM = 20_000_000


def best(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    max_literals: int | None = None,
    memory_budget: int = 2**29,
    progress: Callable[[int], None] | None = None,
    **options,
) -> RuleFront:
    """The front of every unit among weight order, exact and, if the layer is small, beam search.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      max_literals: the largest N; None for n.
      memory_budget: bytes of working memory; never changes the result.
      progress: called with 1 for every unit done.
      **options: of `exact`, and of `beam` where the layer is small enough for it.

    Returns:
      The fronts of the u units; `proven_literals` is that of the exact search. Thresholds are
      refined where a rule makes fewer errors for it.
    """
    limits = {"max_literals": max_literals, "memory_budget": memory_budget}

"""The paper's search: for every N the N literals of largest weight, for every M.

Axis letters: E examples, N literals, n inputs, u units.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jax.sharding import Mesh

from mofn_jax.fronts import RuleFront, front_of_prefixes
from mofn_jax.literals import Literals
from mofn_jax.scoring import prefix_order, score_layer


def weight_order(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    max_literals: int | None = None,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
    progress: Callable[[int], None] | None = None,
) -> RuleFront:
    """The front of every unit among "at least M of its first N literals", for every N and M.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      max_literals: the largest N; None for n.
      memory_budget: bytes of working memory; never changes the result.
      mesh: devices to score units and examples on, as in `score_layer`.
      progress: called with 1 for every unit done.

    Returns:
      The fronts of the u units.
    """
    num_examples, num_inputs = inputs.shape
    num_literals = min(num_inputs, max_literals or num_inputs)
    order = prefix_order(num_literals)
    literals = [unit.first(num_literals) for unit in literals]
    scored = score_layer(literals, inputs, targets, order, memory_budget=memory_budget, mesh=mesh)
    units = []
    for unit_literals, least_ranks in zip(literals, scored, strict=True):
        units.append(front_of_prefixes(least_ranks, order, unit_literals, num_inputs))
        if progress is not None:
            progress(1)
    return RuleFront(tuple(units), targets.sum(0), num_examples, num_inputs)

"""The paper's search: for every N the N literals of largest weight, for every M.

Axis letters: E examples, N literals, n inputs, u units.
"""

from collections.abc import Sequence

import numpy as np

from mofn_jax import meshes
from mofn_jax.complexity import prefix_order
from mofn_jax.fronts import Candidate, RuleFront, front_of_prefixes, front_of_table, non_dominated
from mofn_jax.literals import Literals, most_literals
from mofn_jax.meshes import DEFAULT_RESOURCES, Resources
from mofn_jax.scoring import error_tables, least_ranks

_OF_EVERY_LENGTH = 128  # N up to which rules stay that a longer, less complex one is as true as


def weight_order(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    max_literals: int | None = None,
    resources: Resources = DEFAULT_RESOURCES,
    bits: np.ndarray | None = None,
) -> RuleFront:
    """The front of every unit among "at least M of its first N literals", for every N and M.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      max_literals: the largest N; None for n.
      resources: what it may use; units and examples are divided as in `score_layer`.
      bits: [u, n, W] uint32, as `literal_bits` gives them, if they are known.

    Returns:
      The fronts of the u units. Of rules of more than 128 literals they hold those that no rule
      beats in both error and complexity.

    Raises:
      ValueError: max_literals below 1.
    """
    num_examples, num_inputs = inputs.shape
    largest = most_literals(max_literals, num_inputs)
    tabled = min(largest, _OF_EVERY_LENGTH)
    literals = [unit.first(largest) for unit in literals]

    def search(units: slice) -> list[tuple[Candidate, ...]]:
        some, some_targets = literals[units], targets[:, units]
        known = None if bits is None else bits[units]
        quiet = resources.quiet()
        short = [unit.first(tabled) for unit in some]
        tables = error_tables(short, inputs, some_targets, tabled, resources=quiet, bits=known)
        fronts = [front_of_table(*unit, num_inputs) for unit in zip(tables, short, strict=True)]
        if largest == tabled:
            return fronts
        order = prefix_order(largest)
        ranks = least_ranks(some, inputs, some_targets, order, resources=quiet, bits=known)
        return [
            non_dominated([*front, *front_of_prefixes(unit_ranks, order, unit, num_inputs)])
            for front, unit_ranks, unit in zip(fronts, ranks, some, strict=True)
        ]

    units = meshes.each_unit(
        search,
        len(literals),
        bytes_per_unit=num_examples * (largest + tabled) // 2,
        resources=resources,
        stage="weight order",
    )
    return RuleFront(tuple(units), targets.sum(0), num_examples, num_inputs)

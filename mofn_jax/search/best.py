"""The default: all that the other searches find, with thresholds moved to their best places.

Axis letters: E examples, N literals, n inputs, u units.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mofn_jax import checks, meshes
from mofn_jax.bits import literal_bits
from mofn_jax.fronts import Candidate, RuleFront, merge_fronts
from mofn_jax.literals import Literals
from mofn_jax.meshes import DEFAULT_RESOURCES, Resources
from mofn_jax.search.exact import exact
from mofn_jax.search.refine import refine_units
from mofn_jax.search.stepwise import stepwise
from mofn_jax.search.weight_order import weight_order


def best(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    exact_literals: int | None = None,
    stepwise_literals: int = 60,
    stepwise_inputs: int = 768,
    thresholds_per_input: int = 4,
    polish_literals: int = 10,
    refine_literals: int = 60,
    signs: str = "weights",
    max_literals: int | None = None,
    resources: Resources = DEFAULT_RESOURCES,
) -> RuleFront:
    """The front of every unit among weight order, exact and stepwise search, its rules refined.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      exact_literals: as in `exact`.
      stepwise_literals, stepwise_inputs, thresholds_per_input, polish_literals: as in `stepwise`.
      refine_literals: the largest N of which thresholds are moved, as in `refine_front`.
      signs: "weights" for the literals as given; "free" for each of them or its negation, except in
        weight order.
      max_literals: a limit on N for all three.
      resources: what it may use. Each process refines all the rules by itself.

    Returns:
      The fronts of the u units.

    Raises:
      ValueError: an option out of range, unknown signs.
    """
    refine_literals = checks.at_least("refine_literals", refine_literals, 0)
    num_examples, num_inputs = inputs.shape
    # Half of the memory is for the bits that the searches share, half for each in its turn.
    memory_budget = resources.memory_budget // 2

    def others(literals: Sequence[Literals], targets: np.ndarray, **known: Any) -> list[RuleFront]:
        arguments = literals, inputs, targets
        known |= {"max_literals": max_literals, "signs": signs}
        return [
            exact(*arguments, exact_literals=exact_literals, **known),
            stepwise(
                *arguments,
                stepwise_literals=stepwise_literals,
                stepwise_inputs=stepwise_inputs,
                thresholds_per_input=thresholds_per_input,
                polish_literals=polish_literals,
                **known,
            ),
        ]

    none = merge_fronts(*others([], targets[:, :0]))  # checks the options, says what is proven
    # All units at once: it makes tables that are large where there are many inputs.
    ordered = weight_order(
        literals,
        inputs,
        targets,
        max_literals=max_literals,
        resources=resources._replace(progress=None),
    )

    def search(units: slice) -> list[tuple[Candidate, ...]]:
        some, some_targets = literals[units], targets[:, units]
        part = resources.for_units(units, len(literals), memory_budget)
        bits = literal_bits(some, inputs, num_inputs, memory_budget)
        first = ordered._replace(units=ordered.units[units], on_counts=ordered.on_counts[units])
        return refine_units(
            merge_fronts(first, *others(some, some_targets, resources=part, bits=bits)),
            inputs,
            some_targets,
            refine_literals=refine_literals,
            resources=part,
        )

    units = meshes.each_unit(
        search,
        len(literals),
        bytes_per_unit=num_inputs * num_examples // 4,
        resources=resources,
        in_small_pieces=False,
    )
    return none._replace(units=tuple(units), on_counts=targets.sum(0))

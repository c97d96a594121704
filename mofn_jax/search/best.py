"""The default: all that the other searches find, with thresholds moved to their best places.

Axis letters: E examples, N literals, n inputs, u units.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mofn_jax import checks, meshes
from mofn_jax.bits import literal_bits
from mofn_jax.chunking import one_behind
from mofn_jax.fronts import Candidate, RuleFront, merge_fronts
from mofn_jax.literals import Literals
from mofn_jax.meshes import DEFAULT_RESOURCES, Resources
from mofn_jax.search.exact import exact
from mofn_jax.search.pools import Quantiles
from mofn_jax.search.refine import refine_unit
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
    # Half of the memory is for the bits that the searches share, and those of the next units; the
    # other for each search in its turn, and a part of it for refining what they found before.
    memory_budget = resources.memory_budget // 2
    refining_budget = memory_budget // 4

    def others(
        literals: Sequence[Literals],
        targets: np.ndarray,
        quantiles: Quantiles | None = None,
        **known: Any,
    ) -> list[RuleFront]:
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
                quantiles=quantiles,
                **known,
            ),
        ]

    none = merge_fronts(*others([], targets[:, :0]))  # checks the options, says what is proven
    quantiles = Quantiles(inputs, thresholds_per_input, resources.held)
    # All units at once: it makes tables that are large where there are many inputs.
    ordered = weight_order(
        literals,
        inputs,
        targets,
        max_literals=max_literals,
        resources=resources._replace(progress=None),
    )

    def prepare(units: slice) -> np.ndarray:
        return literal_bits(literals[units], inputs, num_inputs, memory_budget, resources.held)

    def search(units: slice, bits: np.ndarray) -> Iterator[tuple[Sequence[Candidate], np.ndarray]]:
        some, some_targets = literals[units], targets[:, units]
        part = resources.for_units(units, len(literals), memory_budget - refining_budget)
        first = ordered._replace(units=ordered.units[units], on_counts=ordered.on_counts[units])
        known: dict[str, Any] = {"quantiles": quantiles, "resources": part, "bits": bits}
        found = merge_fronts(first, *others(some, some_targets, **known))
        return zip(found.units, some_targets.T, strict=True)

    def refine(unit: tuple[Sequence[Candidate], np.ndarray]) -> tuple[Candidate, ...]:
        rules, target = unit
        return refine_unit(
            rules,
            inputs,
            target,
            refine_literals=refine_literals,
            memory_budget=refining_budget,
            held=resources.held,
        )

    found = meshes.each_unit(
        search,
        len(literals),
        bytes_per_unit=num_inputs * num_examples // 2,
        resources=resources._replace(progress=None),
        prepare=prepare,
        in_small_pieces=False,
    )
    units: list[tuple[Candidate, ...]] = []
    for refined in one_behind(refine, found):
        resources.report("refine", len(units), len(literals))
        units.append(refined)
        if resources.progress is not None:
            resources.progress(1)
    resources.report("refine", len(units), len(literals))
    return none._replace(units=tuple(units), on_counts=targets.sum(0))

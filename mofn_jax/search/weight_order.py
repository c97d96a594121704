"""The paper's search: for every N the N literals of largest weight, for every M.

Axis letters: E examples, N literals, n inputs, u units.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mofn_jax import meshes
from mofn_jax.bits import literal_bits
from mofn_jax.chunking import one_ahead
from mofn_jax.complexity import ORDER_BYTES, PrefixOrder, prefix_order, prefix_order_from
from mofn_jax.fronts import (
    Candidate,
    RuleFront,
    front_of_prefixes,
    front_of_table,
    non_dominated,
    whatever_length,
)
from mofn_jax.literals import Literals, most_literals
from mofn_jax.meshes import DEFAULT_RESOURCES, Resources
from mofn_jax.scoring import (
    MOST_LITERALS_FOR_BITS,
    error_tables,
    least_ranks,
    walk,
    walk_start,
)

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
    walks = largest > MOST_LITERALS_FOR_BITS

    def prepare(units: slice) -> np.ndarray | None:
        if bits is not None:
            return bits[units]
        size = tabled if walks else largest
        some = [unit.first(size) for unit in literals[units]]
        return _bits_here(some, inputs, size, resources)

    def search(units: slice, some_bits: np.ndarray | None) -> list[tuple[Candidate, ...]]:
        known: dict[str, Any] = {"bits": some_bits, "resources": resources.quiet()}
        some, some_targets = literals[units], targets[:, units]
        short = [unit.first(tabled) for unit in some]
        tables = error_tables(short, inputs, some_targets, tabled, **known)
        fronts = [front_of_table(*unit, num_inputs) for unit in zip(tables, short, strict=True)]
        if largest == tabled or walks:
            return fronts
        order = prefix_order(largest)
        ranks = least_ranks(some, inputs, some_targets, order, **known)
        return [
            non_dominated([*front, *front_of_prefixes(unit_ranks, order, unit, num_inputs)])
            for front, unit_ranks, unit in zip(fronts, ranks, some, strict=True)
        ]

    units = meshes.each_unit(
        search,
        len(literals),
        bytes_per_unit=num_examples * (min(largest, MOST_LITERALS_FOR_BITS) + tabled) // 2,
        resources=resources._replace(progress=None) if walks else resources,
        prepare=prepare,
        stage="weight order",
    )
    fronts = tuple(units)
    if walks:
        longer = _walked(literals, inputs, targets, largest, resources)
        fronts = tuple(non_dominated([*a, *b]) for a, b in zip(fronts, longer, strict=True))
    return RuleFront(fronts, targets.sum(0), num_examples, num_inputs)


def _bits_here(
    literals: Sequence[Literals], inputs: np.ndarray, num_literals: int, resources: Resources
) -> np.ndarray | None:
    """Where the literals hold; None of a mesh: each process makes those of its own devices."""
    if resources.mesh is not None:
        return None
    memory_budget = resources.memory_budget // 4
    return literal_bits(literals, inputs, num_literals, memory_budget, resources.held)


def _walked(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    largest: int,
    resources: Resources,
) -> Iterator[list[Candidate]]:
    """Of each unit the rules over its first literals that none beats in error and complexity.

    The literals are taken by some at a time, as the order of all the rules takes much memory.
    """
    num_examples, num_inputs = inputs.shape
    memory_budget = resources.memory_budget // 4
    most = max(1, memory_budget // (ORDER_BYTES * (largest + 2)))
    size = -(-largest // -(-largest // most))
    quiet = resources.quiet()._replace(memory_budget=2 * memory_budget)

    def walk_units(units: slice) -> list[list[Candidate]]:
        some, some_targets = literals[units], targets[:, units]
        fronts: list[list[Candidate]] = [[] for _ in some]
        hold = walk_start(*some_targets.shape)
        resources.report("long weight order", units.start, len(literals))

        def piece(first: int) -> tuple[int, PrefixOrder, list[Literals], np.ndarray | None]:
            taken = [unit.take(slice(first, first + size)) for unit in some]
            bits = _bits_here(taken, inputs, size, resources)
            return first, prefix_order_from(first, first + size, largest), taken, bits

        for first, order, taken, bits in one_ahead(map(piece, range(0, largest, size))):
            found = [*walk(taken, inputs, some_targets, order, hold, bits=bits, resources=quiet)]
            for i, (ranks, _) in enumerate(found):
                rules = front_of_prefixes(ranks, order, some[i], num_inputs)
                fronts[i] = whatever_length([*fronts[i], *rules])
            hold = np.stack([held for _, held in found])
            done = units.start + len(some) * min(first + size, largest) // largest
            resources.report("long weight order", done, len(literals))
        return fronts

    return meshes.each_unit(
        walk_units,
        len(literals),
        bytes_per_unit=(32 + size // 4) * num_examples,  # `hold`; the bits of two pieces
        resources=resources,
        in_small_pieces=False,
    )

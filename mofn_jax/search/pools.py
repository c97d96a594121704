"""Pools: of each unit the literals that the stepwise search chooses from.

They are all of the unit's or, of many inputs, those of largest weight and those of largest
information gain; and, as many as there is room for, those that gain most at quantiles of their
inputs too: a rule may so tell apart more than two ranges of an input.

Axis letters: E examples, L literals to choose from, n inputs, u units, W words of 32 examples.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from mofn_jax.bits import literal_bits
from mofn_jax.chunking import chunks, read_columns
from mofn_jax.held_inputs import HeldInputs, holds, values_at
from mofn_jax.literals import Literals
from mofn_jax.meshes import Resources


class Quantiles:
    """Of inputs the values that part the examples evenly, found of those that are asked for."""

    def __init__(self, inputs: np.ndarray, per_input: int, held: HeldInputs | None = None):
        """Of inputs [E, n], as many values of each, the first the least value that it has."""
        self.inputs, self.per_input = inputs, per_input
        self._held = held if holds(held, inputs) else None
        self._values = np.empty((per_input, inputs.shape[1]), inputs.dtype)
        self._known = np.zeros(inputs.shape[1], bool)

    def of(self, which: np.ndarray, memory_budget: int) -> np.ndarray:
        """The values of some inputs, [per_input, .], in bytes of working memory."""
        num_examples = len(self.inputs)
        places = -(-num_examples * np.arange(self.per_input) // self.per_input)
        places = np.minimum(places, num_examples - 1)
        missing = np.unique(which[~self._known[which]])
        self._known[missing] = True
        if self._held is not None:
            self._values[:, missing] = values_at(places, missing, self._held)
            return self._values[:, which]
        at_once = max(1, memory_budget // (3 * self.inputs.itemsize * num_examples))
        for some in chunks(len(missing), at_once):
            columns = read_columns(self.inputs, missing[some])
            self._values[:, missing[some]] = np.partition(columns, places, axis=0)[places]
        return self._values[:, which]


def choose_pools(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    bits: np.ndarray | None,
    quantiles: Quantiles,
    *,
    pool_inputs: int,
    several: int,
    resources: Resources,
) -> tuple[list[Literals], np.ndarray]:
    """Of each unit the literals to choose from, and on which examples they hold.

    Args:
      literals: of u units, in order.
      inputs: [E, n] real numbers.
      bits: [u, n, W] uint32, where the literals hold; None if that is not known.
      quantiles: of these inputs.
      pool_inputs: how many of a unit's literals to choose from.
      several: how many of them to choose from at other thresholds too.
      resources: what it may use, of its memory a fourth.

    Returns:
      The pools, and word by word their bits: [u, W, L] uint32.
    """
    memory_budget = resources.memory_budget // 4
    positions = [choose_pool(unit, pool_inputs) for unit in literals]
    own = [unit.take(which) for unit, which in zip(literals, positions, strict=True)]
    own_bits: Iterable[np.ndarray]
    if bits is None:
        own_bits = literal_bits(own, inputs, pool_inputs, memory_budget, resources.held)
    else:
        own_bits = (unit[which] for unit, which in zip(bits, positions, strict=True))
    some = [unit.take(np.sort(_by_gain(unit)[:several])) for unit in own]
    others = other_thresholds(some, quantiles, memory_budget)
    num_others = several * (quantiles.per_input - 1)
    other_bits = literal_bits(others, inputs, num_others, memory_budget, resources.held)
    num_words = -(-len(inputs) // 32)
    pool_bits = np.zeros((len(literals), num_words, pool_inputs + num_others), np.uint32)
    pools = []
    for unit, *pair in zip(pool_bits, own, others, own_bits, other_bits, strict=True):
        first, second, first_bits, second_bits = pair
        pools.append(first.and_those(second))
        count, total = len(first.inputs), len(pools[-1].inputs)
        unit[:, :count] = first_bits[:count].T
        unit[:, count:total] = second_bits[: total - count].T
    return pools, pool_bits


def other_thresholds(
    literals: Sequence[Literals], quantiles: Quantiles, memory_budget: int
) -> list[Literals]:
    """Of each unit its literals at the quantiles of their inputs that part the examples evenly.

    Args:
      literals: of u units.
      quantiles: of the inputs that they name.
      memory_budget: bytes of working memory.

    Returns:
      Of each unit the literals at the lowest quantile, then at the next; without those that are
      there already, or hold on all examples or none.
    """

    def of_unit(unit: Literals) -> Literals:
        values = quantiles.of(unit.inputs, memory_budget)
        found = values[1:]
        is_new = found > values[:-1]  # than the next lower one; the first is the least value
        quantile, which = np.nonzero(is_new & (found != unit.thresholds))
        return unit.take(which)._replace(thresholds=found[quantile, which])

    # Of a file, or of rows, columns take long to read: this reads those of all units once.
    quantiles.of(np.concatenate([unit.inputs for unit in literals]), memory_budget)
    return [of_unit(unit) for unit in literals]


def choose_pool(literals: Literals, size: int) -> np.ndarray:
    """The positions of the literals that the search of a unit chooses from, ascending."""
    count = len(literals.inputs)
    if count <= size:
        return np.arange(count)
    ranked = np.concatenate([np.arange(size // 2), _by_gain(literals)])
    return np.sort(np.array(list(dict.fromkeys(ranked.tolist()))[:size]))


def _by_gain(literals: Literals) -> np.ndarray:
    """The positions of the literals, largest information gain first; in order if it is unknown."""
    if literals.gains is None:
        return np.arange(len(literals.inputs))
    return np.argsort(-literals.gains, kind="stable")

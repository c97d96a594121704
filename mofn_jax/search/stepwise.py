"""Stepwise search: rules of up to a hundred literals, found one literal at a time.

Of each unit the literals to choose from are all of them or, of many inputs, those of largest weight
and those of largest information gain. From no literals on, the search takes in the literal that
helps most, for M, one less or one more, and takes one out again where the smaller set is then the
best of its size so far; `mofn_jax.search.steps` says what helps. The best set of every size is
kept; of the small ones each literal is exchanged for the best other one, until that helps no more.

Axis letters: E examples, N literals, M needed, K the largest N, L literals to choose from,
n inputs, u units, W words of 32 examples.
"""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from mofn_jax import checks, meshes
from mofn_jax.bits import literal_bits, pack_examples
from mofn_jax.complexity import complexity
from mofn_jax.fronts import Candidate, RuleFront, constant_rules, non_dominated
from mofn_jax.literals import NO_LITERALS, Literals, most_literals
from mofn_jax.meshes import DEFAULT_RESOURCES, Resources
from mofn_jax.search.exact import NO_SET, SIGNS
from mofn_jax.search.steps import MOST_LITERALS, Found, Unit, search_unit


def stepwise(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    stepwise_literals: int = 60,
    stepwise_inputs: int = 1024,
    polish_literals: int = 10,
    signs: str = "weights",
    max_literals: int | None = None,
    resources: Resources = DEFAULT_RESOURCES,
    bits: np.ndarray | None = None,
) -> RuleFront:
    """The front of every unit among the best rule that is found of every length.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      stepwise_literals: K, the largest N, at most 256.
      stepwise_inputs: L, how many literals of each unit the search chooses from: half of them the
        first in order, the others those of largest information gain, if it is known.
      polish_literals: the largest N of which literals are exchanged in the end.
      signs: "weights" for the literals as given; "free" for each of them or its negation.
      max_literals: a limit on N, like `stepwise_literals`.
      resources: what it may use; units are divided among devices.
      bits: [u, n, W] uint32, as `literal_bits` gives them, if they are known.

    Returns:
      The fronts of the u units.

    Raises:
      ValueError: an option out of range, unknown signs.
    """
    num_examples, num_inputs = inputs.shape
    checks.known("signs", signs, SIGNS)
    checks.at_least("stepwise_inputs", stepwise_inputs, 1)
    checks.at_least("polish_literals", polish_literals, 0)
    if checks.at_least("stepwise_literals", stepwise_literals, 1) > MOST_LITERALS:
        raise ValueError(
            f"stepwise_literals: expected at most {MOST_LITERALS}, got {stepwise_literals}"
        )
    pool_size = min(stepwise_inputs, num_inputs)
    largest = min(stepwise_literals, pool_size, most_literals(max_literals, num_inputs))
    examples = pack_examples(np.ones(num_examples, bool))
    static = {
        "largest": largest,
        "polished": min(polish_literals, largest),
        "num_examples": num_examples,
        "free": signs == "free",
    }

    def search(units: slice) -> list[tuple[Candidate, ...]]:
        some = literals[units]
        positions = [choose_pool(unit, pool_size) for unit in some]
        pools = [unit.take(which) for unit, which in zip(some, positions, strict=True)]
        pool_bits = np.zeros((len(some), len(examples), pool_size), np.uint32)
        if bits is None:
            found = literal_bits(pools, inputs, pool_size, resources.memory_budget // 4)
            pool_bits[:] = found.swapaxes(1, 2)
        else:
            for unit, unit_bits, which in zip(pool_bits, bits[units], positions, strict=True):
                unit[:, : len(which)] = unit_bits[which].T
        counts = np.array([len(which) for which in positions], np.int32)
        best = meshes.divide(
            _search_units,
            (pool_bits, counts, pack_examples(targets[:, units].T)),
            (examples,),
            mesh=resources.mesh,
            one_by_one=True,
            **static,
        )
        return [
            non_dominated(
                [
                    *constant_rules(int(on), num_examples),
                    *_candidates(pool, pool_size, num_inputs, *found),
                ]
            )
            for pool, on, *found in zip(pools, targets[:, units].sum(0), *best, strict=True)
        ]

    rows = pool_size * (2 if signs == "free" else 1)
    found = meshes.each_unit(
        search,
        len(literals),
        bytes_per_unit=pool_size * num_examples // 4
        + largest * (num_examples // 4 + rows)
        + 128 * rows,
        resources=resources,
        stage="stepwise",
    )
    return RuleFront(tuple(found), targets.sum(0), num_examples, num_inputs)


def compile_ahead(num_examples: int, num_inputs: int, **options: Any) -> None:
    """Compiles what `stepwise` takes of a layer on a CPU: it looks for a rule of no literals.

    Args:
      num_examples: E.
      num_inputs: n.
      **options: those that `stepwise` has count.
    """
    known = inspect.signature(stepwise).parameters
    stepwise(
        [NO_LITERALS],
        np.broadcast_to(np.float32(0), (num_examples, num_inputs)),
        np.zeros((num_examples, 1), bool),
        bits=np.zeros((1, 0, -(-num_examples // 32)), np.uint32),
        **{name: value for name, value in options.items() if name in known},
    )


def choose_pool(literals: Literals, size: int) -> np.ndarray:
    """The positions of the literals that the search of a unit chooses from, ascending."""
    count = len(literals.inputs)
    if count <= size:
        return np.arange(count)
    first = np.arange(count)
    by_gain = first if literals.gains is None else np.argsort(-literals.gains, kind="stable")
    ranked = np.concatenate([first[: size // 2], by_gain])
    return np.sort(np.array(list(dict.fromkeys(ranked.tolist()))[:size]))


def _candidates(
    pool: Literals, pool_size: int, num_inputs: int, errors, m, taken
) -> list[Candidate]:
    """The rules of one unit, from what `search_unit` found."""
    candidates = []
    for size in np.flatnonzero(errors != NO_SET).tolist():
        flipped, positions = np.divmod(np.flatnonzero(taken[size]), pool_size)
        candidates.append(
            Candidate(
                int(m[size]),
                pool.take(positions).flip(flipped.astype(bool)),
                int(errors[size]),
                float(complexity(m[size], size, num_inputs)),
            )
        )
    return candidates


@partial(jax.jit, static_argnames=("largest", "polished", "num_examples", "free"))
def _search_units(literals, counts, targets, examples, **options) -> Found:
    def search(unit: tuple[jax.Array, jax.Array, jax.Array]) -> Found:
        literals, count, target = unit
        return search_unit(Unit(literals, count, target, examples), **options)

    return meshes.map_units(search, (literals, counts, targets))

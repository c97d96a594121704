"""Stepwise search: rules of up to a hundred literals, found one literal at a time.

`mofn_jax.search.pools` says which literals it chooses from. From no literals on, the search takes
in the literal that helps most, for M, one less or one more, and takes one out again where the
smaller set is then the best of its size so far; `mofn_jax.search.steps` says what helps. The best
set of every size is kept; of the small ones each literal is exchanged for the best other one, until
that helps no more.

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
from mofn_jax.bits import pack_examples
from mofn_jax.complexity import complexity
from mofn_jax.fronts import Candidate, RuleFront, constant_rules, non_dominated
from mofn_jax.literals import NO_LITERALS, Literals, most_literals
from mofn_jax.meshes import DEFAULT_RESOURCES, Resources
from mofn_jax.search.exact import NO_SET, SIGNS
from mofn_jax.search.pools import Quantiles, choose_pools
from mofn_jax.search.sets import Found, Unit, counts_by_products
from mofn_jax.search.steps import MOST_LITERALS, search_unit

_MOST_CHOICES = 1024  # literals to choose from, thresholds beside their inputs' own among them
_MOST_UNPACKED = 104 * 2**20  # bytes of unpacked literals: they fit the fast memory of a TPU


def stepwise(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    stepwise_literals: int = 60,
    stepwise_inputs: int = 768,
    thresholds_per_input: int = 4,
    polish_literals: int = 10,
    signs: str = "weights",
    max_literals: int | None = None,
    resources: Resources = DEFAULT_RESOURCES,
    bits: np.ndarray | None = None,
    quantiles: Quantiles | None = None,
) -> RuleFront:
    """The front of every unit among the best rule that is found of every length.

    Args:
      literals: of each of u units, in order.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      stepwise_literals: K, the largest N, at most 256.
      stepwise_inputs: how many of a unit's literals the search chooses from: half of them the first
        in order, the others those of largest information gain, if it is known.
      thresholds_per_input: the most thresholds of one input: beside a literal's own the quantiles
        that part the examples evenly, such as the quartiles; of all inputs or, as there are then at
        most 1,024 literals to choose from, of those of largest information gain.
      polish_literals: the largest N of which literals are exchanged in the end.
      signs: "weights" for the literals as given; "free" for each of them or its negation.
      max_literals: a limit on N, like `stepwise_literals`.
      resources: what it may use; units are divided among devices.
      bits: [u, n, W] uint32, as `literal_bits` gives them, if they are known.
      quantiles: of these inputs, `thresholds_per_input` of each, as far as they are known.

    Returns:
      The fronts of the u units.

    Raises:
      ValueError: an option out of range, unknown signs.
    """
    num_examples, num_inputs = inputs.shape
    checks.known("signs", signs, SIGNS)
    stepwise_inputs = checks.at_least("stepwise_inputs", stepwise_inputs, 1)
    polish_literals = checks.at_least("polish_literals", polish_literals, 0)
    thresholds_per_input = checks.at_least("thresholds_per_input", thresholds_per_input, 1)
    stepwise_literals = checks.at_least("stepwise_literals", stepwise_literals, 1)
    if stepwise_literals > MOST_LITERALS:
        raise ValueError(
            f"stepwise_literals: expected at most {MOST_LITERALS}, got {stepwise_literals}"
        )
    pool_inputs = min(stepwise_inputs, num_inputs)
    more = thresholds_per_input - 1
    several = min(pool_inputs, max(0, _MOST_CHOICES - pool_inputs) // max(1, more))
    pool_size = pool_inputs + several * more
    largest = min(stepwise_literals, pool_size, most_literals(max_literals, num_inputs))
    examples = pack_examples(np.ones(num_examples, bool))
    known_quantiles = quantiles or Quantiles(inputs, thresholds_per_input, resources.held)
    static = {
        "largest": largest,
        "polished": min(polish_literals, largest),
        "num_examples": num_examples,
        "free": signs == "free",
    }

    def prepare(units: slice) -> tuple[list[Literals], np.ndarray]:
        known = None if bits is None else bits[units]
        return choose_pools(
            literals[units],
            inputs,
            known,
            known_quantiles,
            pool_inputs=pool_inputs,
            several=several,
            resources=resources,
        )

    def search(
        units: slice, prepared: tuple[list[Literals], np.ndarray]
    ) -> list[tuple[Candidate, ...]]:
        pools, pool_bits = prepared
        counts = np.array([len(unit.inputs) for unit in pools], np.int32)
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
    bytes_per_unit = (
        num_examples * pool_size // 2 + largest * (num_examples // 4 + rows) + 128 * rows
    )
    pieces = resources
    if counts_by_products():  # of the device's memory, not of the host's
        unpacked = min(resources.memory_budget, _MOST_UNPACKED)
        devices = 1 if resources.mesh is None else resources.mesh.size
        most = bytes_per_unit * max(1, devices * unpacked // (pool_size * num_examples))
        pieces = resources._replace(memory_budget=min(resources.memory_budget, most))
    found = meshes.each_unit(
        search,
        len(literals),
        bytes_per_unit=bytes_per_unit,
        resources=pieces,
        prepare=prepare,
        stage="stepwise",
        one_by_one=True,
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

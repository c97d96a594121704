"""Error counts of every M-of-N rule over a unit's first N literals, for layers of units.

`mofn_jax.score_kernels` says how they are counted. Here the units are divided among pieces that
memory allows, and among devices.

Axis letters: E examples, N literals taken, M needed, n inputs, u units, W words of 32 examples.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from mofn_jax import checks, meshes
from mofn_jax.bits import literal_bits, pack_examples
from mofn_jax.complexity import PrefixOrder
from mofn_jax.literals import Literals, check_literals
from mofn_jax.meshes import EXAMPLES, UNITS, Resources
from mofn_jax.score_kernels import (
    Walked,
    errors_by_bits,
    least_ranks_by_bits,
    least_ranks_by_walk,
    useful_ranks_by_bits,
    useful_ranks_by_walk,
)

# With more literals than this, walking them is faster than the recurrence over bits.
MOST_LITERALS_FOR_BITS = 512


@partial(jax.jit, static_argnames=("kernel", "mesh"))
def _score_units(units, examples, *ranks, kernel: Callable, mesh: Mesh | None = None):
    """What a kernel makes of units: literals [u, N, W], targets [u, W], in walks hold [u, 32 W]."""

    def of_units(units, examples, *ranks, axis_name=None):
        return meshes.map_units(
            lambda unit: kernel(*unit, examples, *ranks, axis_name=axis_name), units
        )

    if mesh is None:
        return of_units(units, examples, *ranks)
    specs = (P(UNITS, None, EXAMPLES), *[P(UNITS, EXAMPLES)] * (len(units) - 1))
    of_units = jax.shard_map(
        partial(of_units, axis_name=EXAMPLES),
        mesh=mesh,
        in_specs=(specs, P(EXAMPLES), *[P()] * len(ranks)),
        out_specs=P(UNITS) if len(units) == 2 else Walked._make([P(UNITS), specs[1]]),
        check_vma=False,  # it asks that the loops' first states be marked as varying
    )
    return of_units(units, examples, *ranks)


def score_layer(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    order: PrefixOrder,
    *,
    memory_budget: int = 2**29,
    mesh: Mesh | None = None,
) -> Iterator[np.ndarray]:
    """Scores every unit's literals, some units at a time.

    On a mesh, units are divided along `units` and the examples of each along `examples`; each
    process compares only the inputs of those that its own devices score. Up to 512 literals the
    counts of a unit are summed across devices once, with more once for each literal: then prefer
    devices along `units`.

    Args:
      literals: of u units, at most N each; units with fewer are padded with literals that hold
        nowhere, whose rules are never better than the same without them.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      order: of the rules over N literals of n inputs.
      memory_budget: bytes of working memory; never changes the result.
      mesh: the devices, see `mofn_jax.meshes`; None for the default one.

    Yields:
      For each unit, [.] int32: the least rank of a rule with at most 0, 1, ... errors.

    Raises:
      ValueError: at once, where shapes disagree, inputs are not finite, targets are not boolean,
        literals are about other inputs or more than N, memory_budget is below 1, or as
        `with_both_axes` for the mesh.
    """
    inputs = checks.matrix("inputs", inputs, [None, None])
    targets = checks.booleans("targets", targets, [len(inputs), None])
    ranks = checks.matrix("order", checks.instance("order", order, PrefixOrder).ranks, [None, None])
    largest = len(ranks) - 1
    if ranks.dtype != np.int32 or ranks.shape[1] != largest + 2:
        raise ValueError("order: expected one that prefix_order makes")
    literals = checks.sequence("literals", literals)
    if len(literals) != targets.shape[1]:
        raise ValueError(
            f"literals: expected those of {targets.shape[1]} units, got {len(literals)}"
        )
    for i, unit in enumerate(literals):
        check_literals(f"literals[{i}]", unit, inputs.shape[1])
        if len(unit.inputs) > largest:
            raise ValueError(f"order: expected that of at least {len(unit.inputs)} literals")
    memory_budget = checks.at_least("memory_budget", memory_budget, 1)
    resources = Resources(memory_budget, meshes.with_both_axes(mesh))
    return least_ranks(literals, inputs, targets, order, resources=resources)


def least_ranks(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    order: PrefixOrder,
    *,
    resources: Resources,
    bits: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """As `score_layer`, of literals whose bits [u, N, W] may be known already."""
    num_literals = len(order.ranks) - 1
    if num_literals > MOST_LITERALS_FOR_BITS:
        hold = walk_start(*targets.shape)
        walked = walk(literals, inputs, targets, order, hold, resources=resources, bits=bits)
        return (least for least, _ in walked)
    return _score(
        literals,
        inputs,
        targets,
        num_literals,
        kernels=_kernels(useful_ranks_by_bits, least_ranks_by_bits),
        ranks=[order.ranks],
        table_bytes=order.ranks.nbytes,
        resources=resources,
        bits=bits,
    )


def walk_start(num_examples: int, num_units: int) -> np.ndarray:
    """How many literals hold on each example before any is taken: [u, 32 W] int32."""
    return np.zeros((num_units, 32 * -(-num_examples // 32)), np.int32)


def walk(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    order: PrefixOrder,
    hold: np.ndarray,
    *,
    resources: Resources,
    bits: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """As `score_layer`, of the rules over literals taken before and some of these.

    Args:
      literals: of u units, at most S each.
      inputs, targets: as in `score_layer`.
      order: of those rules, its ranks [S + 1, .].
      hold: [u, 32 W] int32, how many of the literals taken before hold on each example.
      resources, bits: as in `least_ranks`.

    Yields:
      For each unit the least ranks, and [32 W] how many of all the literals taken hold.
    """
    return _score(
        literals,
        inputs,
        targets,
        len(order.ranks) - 1,
        kernels=_kernels(useful_ranks_by_walk, least_ranks_by_walk),
        ranks=[order.ranks],
        table_bytes=0,
        resources=resources,
        bits=bits,
        hold=hold,
    )


def error_tables(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    num_literals: int,
    *,
    resources: Resources,
    bits: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Of each unit the errors of every rule over its first N literals, as `score_unit` gives them.

    Args:
      literals, inputs, targets: as in `score_layer`.
      num_literals: N.
      resources: what it may use.
      bits: [u, at least N, W] uint32, where the literals hold, if that is known already.

    Yields:
      [N + 1, N + 2] int32.
    """
    return _score(
        literals,
        inputs,
        targets,
        num_literals,
        kernels=[errors_by_bits],
        ranks=[],
        table_bytes=4 * (num_literals + 1) * (num_literals + 2),
        resources=resources,
        bits=bits,
    )


def _kernels(useful: Callable, least: Callable) -> list[Callable]:
    """What an accelerator is given, and then a CPU, or an accelerator that found more rules."""
    return [least] if meshes.platform() == "cpu" else [useful, least]


def _score(
    literals,
    inputs,
    targets,
    num_literals,
    *,
    kernels,
    ranks,
    table_bytes,
    resources,
    bits,
    hold=None,
) -> Iterator:
    """What a kernel makes of each unit; a walk goes on from `hold`.

    Of two kernels the second does units again that the first leaves out rules of.
    """
    num_examples, num_units = targets.shape
    mesh = resources.mesh
    if mesh is not None:
        ranks = [meshes.place_whole(array, mesh) for array in ranks]

    def prepare(units: slice) -> tuple:
        return _pack(
            literals[units],
            inputs,
            targets[:, units],
            num_literals,
            resources,
            None if bits is None else bits[units],
            None if hold is None else hold[units],
        )

    def score(units: slice, prepared: tuple) -> Iterable:
        packed, examples = prepared
        shared = (examples, *ranks)
        for kernel in kernels:
            if mesh is None:
                scored = meshes.divide(_score_units, [packed], shared, mesh=None, kernel=kernel)
            else:
                scored = _score_units(packed, *shared, kernel=kernel, mesh=mesh)
                scored = jax.tree.map(meshes.to_host, scored)
            if kernel is errors_by_bits:
                return scored[: units.stop - units.start]  # without the padding
            found = scored if hold is None else scored.ranks
            if found.whole.all():
                break
        least = np.minimum.accumulate(found.least[: units.stop - units.start], axis=1)
        if hold is None:
            return least
        return [*zip(least, scored.hold[:, : hold.shape[1]], strict=False)]

    words_per_unit = 3 * num_literals + (32 if hold is None else 128)
    bytes_per_unit = table_bytes + 4 * -(-num_examples // 32) * words_per_unit
    return meshes.each_unit(
        score,
        num_units,
        bytes_per_unit=bytes_per_unit,
        resources=resources,
        prepare=prepare,
        axes=[UNITS],
    )


def _pack(literals, inputs, targets, num_literals, resources, bits, hold):
    """What the kernels read of u units: literals, targets, walks, and all examples, as bits.

    On a mesh they are divided among the devices, padded with units without literals and with words
    without examples; each process makes the literals that its own devices work on.
    """
    mesh, memory_budget = resources.mesh, resources.memory_budget // 4
    packed_targets, examples = pack_examples(targets.T), pack_examples(np.ones(len(targets), bool))
    if mesh is None:
        if bits is None:
            bits = literal_bits(literals, inputs, num_literals, memory_budget, resources.held)
        shared = (bits[:, :num_literals], packed_targets)
        return shared if hold is None else (*shared, hold), examples
    missing_units = -len(literals) % mesh.shape[UNITS]
    missing_words = -len(examples) % mesh.shape[EXAMPLES]
    states = [np.pad(packed_targets, ((0, missing_units), (0, missing_words)))]
    if hold is not None:
        states.append(np.pad(hold, ((0, missing_units), (0, 32 * missing_words))))
    examples = np.pad(examples, (0, missing_words))
    shape = len(states[0]), num_literals, len(examples)

    def bits_inside(box: tuple[slice, ...]) -> np.ndarray:
        units, _, words = box
        if bits is None:
            some = inputs[32 * words.start : 32 * words.stop]
            found = literal_bits(literals[units], some, num_literals, memory_budget)
        else:
            found = bits[units, :num_literals, words]
        sizes = units.stop - units.start, num_literals, words.stop - words.start
        return np.pad(found, [(0, size - n) for size, n in zip(sizes, found.shape, strict=True)])

    placed = (
        meshes.place(shape, bits_inside, mesh, UNITS, None, EXAMPLES),
        *(meshes.place_whole(state, mesh, UNITS, EXAMPLES) for state in states),
    )
    return placed, meshes.place_whole(examples, mesh, EXAMPLES)

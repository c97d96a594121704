"""Error counts of every M-of-N rule over a unit's first N literals.

The examples on which at least M of the first N literals hold follow a recurrence over sets of
examples, kept as bits, 32 to a word:

    T_M(N) = T_M(N-1) | (T_{M-1}(N-1) & L_N)

An error is an example on which `T_M(N)` and the target differ: a population count of their
exclusive or. This costs N^2 E / 32. For N in the thousands it is cheaper to walk the literals, N E:
when literal N holds on an example where M - 1 held before, the rules that need M change their
answer there, and `errors(N, M)` differs from `errors(N-1, M)` by one, down if the unit is on.
Either way counts are exact integers.

Axis letters: E examples, N literals taken, M needed, n inputs, u units, W words of 32 examples.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from mofn_jax import checks, meshes
from mofn_jax.bits import literal_bits, pack_examples
from mofn_jax.complexity import NO_RULE, PrefixOrder
from mofn_jax.literals import Literals, check_literals
from mofn_jax.meshes import EXAMPLES, UNITS, Resources

# With more literals than this, walking them is faster than the recurrence over bits.
MOST_LITERALS_FOR_BITS = 512
# The recurrence needs no more rows of bits than literals so far: it is compiled for a few blocks of
# literals, each with more rows.
_MOST_BLOCKS, _LEAST_BLOCK = 4, 32


def score_unit(literals: jax.Array, target: jax.Array, examples: jax.Array) -> jax.Array:
    """Errors of every rule over the first literals of one unit; composes with jit and vmap.

    Args:
      literals: [N, W] uint32, the examples on which each literal holds.
      target: [W] uint32, the examples on which the unit is on.
      examples: [W] uint32, all the examples.

    Returns:
      [N + 1, N + 2] int32, at [taken, m] the number of examples on which "at least m of the first
      `taken` literals hold" differs from the target. Entries with m > taken + 1 repeat the
      constant rule *false*.

    Raises:
      ValueError: arrays of another dtype, or whose shapes disagree.

    Examples:
      >>> x0, x1, y = np.array([[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]], bool)
      >>> packed = pack_examples(np.stack([x0, x1])), pack_examples(y), pack_examples(y | True)
      >>> score_unit(*packed).tolist()
      [[3, 3, 3, 3], [3, 0, 3, 3], [3, 1, 0, 3]]
    """
    words = np.shape(literals)[-1:]
    arrays = {"literals": (literals, 2), "target": (target, 1), "examples": (examples, 1)}
    for name, (array, axes) in arrays.items():
        if (
            getattr(array, "dtype", None) != np.uint32
            or array.ndim != axes
            or array.shape[-1:] != words
        ):
            raise ValueError(
                f"{name}: expected uint32 as pack_examples makes it, {axes} axes and as many words "
                f"as the literals, got {getattr(array, 'dtype', None)} {list(np.shape(array))}"
            )
    num_literals, num_words = literals.shape

    def errors(at_least: jax.Array) -> jax.Array:  # [rows, W] -> [N + 2]
        counts = jax.lax.population_count(at_least ^ target[None]).astype(jnp.int32).sum(-1)
        false = jax.lax.population_count(target).astype(jnp.int32).sum()
        return jnp.full(num_literals + 2, false).at[: len(counts)].set(counts)

    def take(at_least: jax.Array, literal: jax.Array) -> tuple[jax.Array, jax.Array]:
        at_least = at_least.at[1:].set(at_least[1:] | (at_least[:-1] & literal[None]))
        return at_least, errors(at_least)

    at_least = examples[None]
    table = [errors(at_least)[None]]
    size = max(_LEAST_BLOCK, -(-num_literals // _MOST_BLOCKS))
    for start in range(0, num_literals, size):
        block = literals[start : start + size]
        at_least = jnp.concatenate([at_least, jnp.zeros((len(block), num_words), jnp.uint32)])
        at_least, block_errors = jax.lax.scan(take, at_least, block)
        table.append(block_errors)
    return jnp.concatenate(table)


def least_ranks_by_bits(
    literals: jax.Array,
    target: jax.Array,
    examples: jax.Array,
    ranks: jax.Array,
    *,
    axis_name: str | None = None,
) -> jax.Array:
    """Of one unit, for each number of errors the first of the rules that make as many.

    Args:
      literals, target, examples: as `score_unit`.
      ranks: [N + 1, N + 2] int32, see `PrefixOrder`.
      axis_name: of a mapped axis along which the words are divided; None if all are here.

    Returns:
      [32 W + 1] int32, W all words, the least rank of a rule with 0, 1, ... errors; NO_RULE where
      there is none.
    """
    errors = _total(score_unit(literals, target, examples), axis_name)
    return _no_rules(target, axis_name).at[errors].min(ranks)


def _total(counts: jax.Array, axis_name: str | None) -> jax.Array:
    """Counts over all examples, from those over the words that are here."""
    return counts if axis_name is None else jax.lax.psum(counts, axis_name)


def _no_rules(target: jax.Array, axis_name: str | None) -> jax.Array:
    """The least ranks of no rules, for every number of errors that all the words can make."""
    num_words = len(target) * (1 if axis_name is None else jax.lax.axis_size(axis_name))
    return jnp.full(32 * num_words + 1, NO_RULE)


def least_ranks_by_walk(
    literals: jax.Array,
    target: jax.Array,
    hold: jax.Array,
    examples: jax.Array,
    ranks: jax.Array,
    *,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array]:
    """As `least_ranks_by_bits`, for many literals: it walks them and keeps no table of errors.

    Where words are divided, errors are summed for every literal that is taken.

    Args:
      literals: [S, W] uint32, those to take.
      target, examples: as `score_unit`.
      hold: [32 W] int32, how many of the literals taken before hold on each example.
      ranks: [S + 1, N + 2] int32, of the rules over those taken before and 0..S of these.

    Returns:
      The least ranks, and how many of all the literals taken hold on each example.
    """
    bits = jnp.arange(8, dtype=jnp.uint8)[::-1]

    def unpack(words: jax.Array) -> jax.Array:  # [W] uint32 -> [32 W] int32, packed by NumPy
        as_bytes = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1, 1)
        return ((as_bytes >> bits[None]) & 1).astype(jnp.int32).reshape(-1)

    on, valid = unpack(target), unpack(examples)
    change = valid - 2 * on  # when a rule's answer turns to true; padding holds no literal
    answers = jnp.zeros(ranks.shape[1], jnp.int32).at[hold].add(change, mode="promise_in_bounds")
    errors = on.sum() + jnp.cumsum(answers[::-1])[::-1]

    def take(carry, literal_and_ranks):
        hold, errors, least = carry
        literal, ranks = literal_and_ranks
        holds = unpack(literal)
        hold = hold + holds
        errors = errors.at[hold].add(change * holds, mode="promise_in_bounds")
        return (hold, errors, rank(least, errors, ranks)), None

    def rank(least, errors, ranks):
        return least.at[_total(errors, axis_name)].min(ranks, mode="promise_in_bounds")

    least = rank(_no_rules(target, axis_name), errors, ranks[0])
    (hold, _, least), _ = jax.lax.scan(take, (hold, errors, least), (literals, ranks[1:]))
    return least, hold


def errors_by_bits(
    literals: jax.Array, target: jax.Array, examples: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
    """As `score_unit`, where words may be divided along a mapped axis."""
    return _total(score_unit(literals, target, examples), axis_name)


@partial(jax.jit, static_argnames=("kernel", "mesh"))
def _score_units(units, examples, *ranks, kernel: Callable, mesh: Mesh | None = None):
    """What the kernel makes of units: literals [u, N, W], targets [u, W], of a walk hold [u, 32 W].

    That is a result of each unit and, of a walk, what it starts from next.
    """

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
        out_specs=P(UNITS) if len(units) == 2 else (P(UNITS), specs[1]),
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
      For each unit, [.] int32: the least rank of a rule with 0, 1, ... errors.

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
        kernel=least_ranks_by_bits,
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
        kernel=least_ranks_by_walk,
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
        kernel=errors_by_bits,
        ranks=[],
        table_bytes=4 * (num_literals + 1) * (num_literals + 2),
        resources=resources,
        bits=bits,
    )


def _score(
    literals,
    inputs,
    targets,
    num_literals,
    *,
    kernel,
    ranks,
    table_bytes,
    resources,
    bits,
    hold=None,
) -> Iterator:
    """What a kernel makes of each unit; a walk goes on from `hold`."""
    num_examples, num_units = targets.shape
    mesh = resources.mesh
    if mesh is not None:
        ranks = [meshes.place_whole(array, mesh) for array in ranks]

    def score(units: slice) -> Iterable:
        packed, examples = _pack(
            literals[units],
            inputs,
            targets[:, units],
            num_literals,
            resources,
            None if bits is None else bits[units],
            None if hold is None else hold[units],
        )
        if mesh is None:
            shared = (examples, *ranks)
            scored = meshes.divide(_score_units, [packed], shared, mesh=None, kernel=kernel)
        else:
            scored = _score_units(packed, examples, *ranks, kernel=kernel, mesh=mesh)
            scored = jax.tree.map(meshes.to_host, scored)
        if hold is not None:
            least, held = scored
            scored = [*zip(least, held[:, : hold.shape[1]], strict=True)]
        return scored[: units.stop - units.start]  # without the padding

    words_per_unit = 3 * num_literals + (32 if hold is None else 128)
    bytes_per_unit = table_bytes + 4 * -(-num_examples // 32) * words_per_unit
    return meshes.each_unit(
        score, num_units, bytes_per_unit=bytes_per_unit, resources=resources, axes=[UNITS]
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
            bits = literal_bits(literals, inputs, num_literals, memory_budget)
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

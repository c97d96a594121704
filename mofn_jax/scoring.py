"""Error counts of every M-of-N rule over a unit's first N literals, and the rules' complexity.

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

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from scipy.special import gammaln

from mofn_jax import meshes
from mofn_jax.chunking import chunks, row_slices
from mofn_jax.literals import Literals
from mofn_jax.meshes import EXAMPLES, UNITS

# With more literals than this, walking them is faster than the recurrence over bits.
_MOST_LITERALS_FOR_BITS = 512
# The recurrence needs no more than as many rows of bits as literals so far, rounded up to this.
_BLOCK = 32


def complexity(m, num_literals, num_inputs: int) -> np.ndarray:
    """How long a rule is, as a DNF on a log scale, over the longest there is.

    `log(M * C(N, M)) / log(m * C(n, m))` with `m = ceil((n + 1) / 2)` (Odense and d'Avila Garcez,
    2020); 0 for the constant rules (M = 0, M > N) and where n = 1. Rules of equal length have
    equal complexity, bit for bit.

    Args:
      m: integers, how many literals must hold.
      num_literals: integers that broadcast with m, how many literals there are.
      num_inputs: n, all inputs of the layer, also those without a literal.

    Returns:
      float64, in 0..1.

    Raises:
      ValueError: more literals than inputs.

    Example:
      >>> complexity([1, 2, 2], [2, 2, 3], num_inputs=3).round(6).tolist()
      [0.386853, 0.386853, 1.0]
    """
    m, num_literals = np.broadcast_arrays(m, num_literals)
    if np.max(num_literals, initial=0) > num_inputs:
        raise ValueError(f"num_literals: expected at most {num_inputs}, got {num_literals.max()}")
    log_factorial = _log_factorials(num_inputs)
    longest = _log_length((num_inputs + 2) // 2, num_inputs, log_factorial)
    constant = (m <= 0) | (m > num_literals)
    m, num_literals = np.where(constant, 1, m), np.where(constant, 1, num_literals)
    length = _log_length(m, num_literals, log_factorial)
    return length / longest if longest > 0 else np.zeros_like(length)


def _log_factorials(largest: int) -> np.ndarray:
    """log 0!, log 1!, ... [largest + 1] float64."""
    return gammaln(np.arange(1, largest + 2))


def _log_length(m, num_literals, log_factorial: np.ndarray):
    """log(M * C(N, M)) = log N + log C(N-1, M-1), rounded so that equal lengths compare equal."""
    m = np.minimum(m, num_literals + 1 - m)  # these two too, which rounding can part
    binomial = (
        log_factorial[num_literals - 1] - log_factorial[m - 1] - log_factorial[num_literals - m]
    )
    return np.round(np.log(num_literals) + binomial, 10)


def pack_examples(truth: np.ndarray) -> np.ndarray:
    """Packs booleans [..., E] into words [..., W] uint32, W = ceil(E / 32); missing bits are 0."""
    missing = -truth.shape[-1] % 32
    padded = np.pad(truth, [(0, 0)] * (truth.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(np.packbits(padded, axis=-1)).view(np.uint32)


def score_unit(literals: jax.Array, target: jax.Array, examples: jax.Array) -> jax.Array:
    """Errors of every rule over the first literals of one unit; composes with jit and vmap.

    Args:
      literals: [N, W] uint32, the examples on which each literal holds.
      target: [W] uint32, the examples on which the unit is on.
      examples: [W] uint32, all the examples.

    Returns:
      [N + 1, N + 2] int32: at [taken, m] the number of examples on which "at least m of the first
      `taken` literals hold" differs from the target. Entries with m > taken + 1 repeat the
      constant rule *false*.

    Example:
      >>> x0, x1, y = np.array([[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]], bool)
      >>> packed = pack_examples(np.stack([x0, x1])), pack_examples(y), pack_examples(y | True)
      >>> score_unit(*packed).tolist()
      [[3, 3, 3, 3], [3, 0, 3, 3], [3, 1, 0, 3]]
    """
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
    for start in range(0, num_literals, _BLOCK):
        block = literals[start : start + _BLOCK]
        at_least = jnp.concatenate([at_least, jnp.zeros((len(block), num_words), jnp.uint32)])
        at_least, block_errors = jax.lax.scan(take, at_least, block)
        table.append(block_errors)
    return jnp.concatenate(table)


class PrefixOrder(NamedTuple):
    """The rules over a unit's first literals, least complex first, then by N, then by M."""

    ranks: np.ndarray  # [N + 1, N + 2] int32, ascending in that order; NO_RULE where not a rule
    taken: np.ndarray  # [C] int32, N of the rules of rank 2 c and 2 c + 1
    m: np.ndarray  # [C] int32, M of the rule of rank 2 c; that of rank 2 c + 1 is N + 1 - M

    def rules_at(self, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """N and M of the rules of these ranks."""
        taken, m = self.taken[ranks // 2], self.m[ranks // 2]
        return taken, np.where(ranks % 2, taken + 1 - m, m)


NO_RULE = np.iinfo(np.int32).max


@lru_cache(maxsize=2)
def prefix_order(num_literals: int) -> PrefixOrder:
    """The order of all rules over the first N = 0..num_literals literals.

    M and N + 1 - M of N literals make rules of equal length, so that only one of them is sorted.
    The constant rules, M = 0 and 1 of no literals, appear once.
    """
    log_factorial = _log_factorials(num_literals)
    sizes = np.append(1, (np.arange(1, num_literals + 1) + 1) // 2)
    stops = np.cumsum(sizes)
    lengths, m = np.zeros(stops[-1]), np.zeros(stops[-1], np.int32)
    for taken in range(1, num_literals + 1):  # by rows: there may be tens of millions of rules
        row = slice(stops[taken - 1], stops[taken])
        m[row] = np.arange(1, sizes[taken] + 1)
        lengths[row] = _log_length(m[row], taken, log_factorial)
    lengths[0] = -1  # the constant rules come before the single literals, which are as short
    order = np.argsort(lengths)
    lengths = lengths[order]
    tied = np.concatenate([[False], lengths[1:] == lengths[:-1], [False]])
    for start, stop in np.flatnonzero(np.diff(tied)).reshape(-1, 2):
        order[start : stop + 1].sort()
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order), dtype=np.int32)
    ranks = np.full((num_literals + 1, num_literals + 2), NO_RULE, np.int32)
    ranks[0, :2] = 0, 1
    for taken in range(1, num_literals + 1):
        row_ranks = 2 * places[stops[taken - 1] : stops[taken]]
        ranks[taken, taken : taken - len(row_ranks) : -1] = row_ranks + 1
        ranks[taken, 1 : len(row_ranks) + 1] = row_ranks
    taken_by_row = np.repeat(np.arange(num_literals + 1, dtype=np.int32), sizes)
    return PrefixOrder(ranks, taken_by_row[order], m[order])


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
    examples: jax.Array,
    ranks: jax.Array,
    *,
    axis_name: str | None = None,
) -> jax.Array:
    """As `least_ranks_by_bits`, for many literals: it walks them and keeps no table of errors.

    Where words are divided, errors are summed for every literal that is taken.
    """
    bits = jnp.arange(8, dtype=jnp.uint8)[::-1]

    def unpack(words: jax.Array) -> jax.Array:  # [W] uint32 -> [32 W] int32, packed by NumPy
        as_bytes = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1, 1)
        return ((as_bytes >> bits[None]) & 1).astype(jnp.int32).reshape(-1)

    on, valid = unpack(target), unpack(examples)
    errors = jnp.full(ranks.shape[1], on.sum()).at[0].set((valid - on).sum())
    change = valid - 2 * on  # when a rule's answer turns to true; padding holds no literal

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
    start = (jnp.zeros_like(on), errors, least)
    (_, _, least), _ = jax.lax.scan(take, start, (literals, ranks[1:]))
    return least


@partial(jax.jit, static_argnames=("by_bits", "mesh"))
def _least_ranks(literals, targets, examples, ranks, *, by_bits: bool, mesh: Mesh | None = None):
    """Of each unit (literals [u, N, W], targets [u, W]) the least ranks, [u, 32 W + 1]."""
    one = least_ranks_by_bits if by_bits else least_ranks_by_walk

    def of_units(literals, targets, examples, ranks, axis_name=None):
        # A CPU does best with one unit at a time in its cache, other devices with all of them.
        one_by_one = jax.default_backend() == "cpu"
        return jax.lax.map(
            lambda unit: one(unit[0], unit[1], examples, ranks, axis_name=axis_name),
            (literals, targets),
            batch_size=1 if one_by_one else len(targets),
        )

    if mesh is None:
        return of_units(literals, targets, examples, ranks)
    of_units = jax.shard_map(
        partial(of_units, axis_name=EXAMPLES),
        mesh=mesh,
        in_specs=(P(UNITS, None, EXAMPLES), P(UNITS, EXAMPLES), P(EXAMPLES), P()),
        out_specs=P(UNITS),
        check_vma=False,  # it asks that the loops' first states be marked as varying
    )
    return of_units(literals, targets, examples, ranks)


def literal_bits(
    literals: Sequence[Literals], inputs: np.ndarray, num_literals: int, memory_budget: int
) -> np.ndarray:
    """On which examples each unit's literals hold, compared in the inputs' own precision.

    Args:
      literals: of u units, at most N each.
      inputs: [E, n] real numbers, read once, a slice of examples at a time.
      num_literals: N.
      memory_budget: bytes of a slice.

    Returns:
      [u, N, W] uint32; missing literals hold nowhere.
    """
    bits = np.zeros((len(literals), num_literals, 4 * -(-len(inputs) // 32)), np.uint8)
    for rows in row_slices(inputs, memory_budget // 2):
        columns = np.ascontiguousarray(inputs[rows].T)
        truth = np.empty((num_literals, columns.shape[1]), bool)
        where = slice(rows.start // 8, -(-rows.stop // 8))
        for unit_bits, unit in zip(bits, literals, strict=True):
            for row, i, threshold, negated in zip(truth, *unit, strict=False):
                compare = np.less if negated else np.greater_equal
                compare(columns[i], threshold, out=row)
            count = len(unit.inputs)
            unit_bits[:count, where] = np.packbits(truth[:count], axis=1)
    return bits.view(np.uint32)


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
    """
    mesh = meshes.with_both_axes(mesh)
    num_examples, num_units = targets.shape
    num_literals = len(order.ranks) - 1
    by_bits = num_literals <= _MOST_LITERALS_FOR_BITS
    table = order.ranks.nbytes if by_bits else 0
    bytes_per_unit = table + 4 * -(-num_examples // 32) * (3 * num_literals + 32)
    at_once = meshes.full_rounds(memory_budget // bytes_per_unit, mesh, [UNITS])
    ranks = order.ranks if mesh is None else meshes.place_whole(order.ranks, mesh)
    done = 0
    for units in chunks(num_units, at_once):
        bits, packed_targets, examples = _packed(
            literals[units], inputs, targets[:, units], num_literals, memory_budget // 4, mesh
        )
        if mesh is None:
            least = meshes.divide(
                _least_ranks, (bits, packed_targets), (examples, ranks), mesh=None, by_bits=by_bits
            )
        else:
            least = meshes.to_host(
                _least_ranks(bits, packed_targets, examples, ranks, by_bits=by_bits, mesh=mesh)
            )
        yield from least[done - units.start : units.stop - units.start]
        done = units.stop


def _packed(literals, inputs, targets, num_literals, memory_budget, mesh):
    """What `_least_ranks` reads of u units: literals, targets and all examples, as bits.

    On a mesh they are divided among the devices, padded with units without literals and with words
    without examples; each process makes the literals that its own devices work on.
    """
    packed_targets, examples = pack_examples(targets.T), pack_examples(np.ones(len(targets), bool))
    if mesh is None:
        bits = literal_bits(literals, inputs, num_literals, memory_budget)
        return bits, packed_targets, examples
    missing_units = -len(literals) % mesh.shape[UNITS]
    missing_words = -len(examples) % mesh.shape[EXAMPLES]
    literals = [*literals, *[literals[0].first(0)] * missing_units]
    packed_targets = np.pad(packed_targets, ((0, missing_units), (0, missing_words)))
    examples = np.pad(examples, (0, missing_words))

    def bits_inside(box: tuple[slice, ...]) -> np.ndarray:
        units, _, words = box
        some = inputs[32 * words.start : 32 * words.stop]
        bits = literal_bits(literals[units], some, num_literals, memory_budget)
        return np.pad(bits, ((0, 0), (0, 0), (0, words.stop - words.start - bits.shape[2])))

    shape = len(literals), num_literals, len(examples)
    return (
        meshes.place(shape, bits_inside, mesh, UNITS, None, EXAMPLES),
        meshes.place_whole(packed_targets, mesh, UNITS, EXAMPLES),
        meshes.place_whole(examples, mesh, EXAMPLES),
    )

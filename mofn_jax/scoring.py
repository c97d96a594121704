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
from scipy.special import gammaln

from mofn_jax.chunking import chunks
from mofn_jax.literals import Literals

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

    Example:
      >>> complexity([1, 2, 2], [2, 2, 3], num_inputs=3).round(6).tolist()
      [0.386853, 0.386853, 1.0]
    """
    m, num_literals = np.broadcast_arrays(m, num_literals)
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
    literals: jax.Array, target: jax.Array, examples: jax.Array, ranks: jax.Array
) -> jax.Array:
    """Of one unit, for each number of errors the first of the rules that make as many.

    Args:
      literals, target, examples: as `score_unit`.
      ranks: [N + 1, N + 2] int32, see `PrefixOrder`.

    Returns:
      [32 W + 1] int32, the least rank of a rule with 0, 1, ... errors; NO_RULE where there is none.
    """
    least = jnp.full(32 * len(target) + 1, NO_RULE)
    return least.at[score_unit(literals, target, examples)].min(ranks)


def least_ranks_by_walk(
    literals: jax.Array, target: jax.Array, examples: jax.Array, ranks: jax.Array
) -> jax.Array:
    """As `least_ranks_by_bits`, for many literals: it walks them and keeps no table of errors."""
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
        return (hold, errors, least.at[errors].min(ranks, mode="promise_in_bounds")), None

    least = jnp.full(32 * len(target) + 1, NO_RULE).at[errors].min(ranks[0])
    start = (jnp.zeros_like(on), errors, least)
    (_, _, least), _ = jax.lax.scan(take, start, (literals, ranks[1:]))
    return least


@partial(jax.jit, static_argnames=("by_bits", "at_once"))
def _least_ranks(literals, targets, examples, ranks, *, by_bits: bool, at_once: int):
    """Of each unit (literals [u, N, W], targets [u, W]) the least ranks, [u, 32 W + 1]."""
    one = least_ranks_by_bits if by_bits else least_ranks_by_walk
    return jax.lax.map(
        lambda unit: one(unit[0], unit[1], examples, ranks), (literals, targets), batch_size=at_once
    )


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
    num_examples, num_inputs = inputs.shape
    bits = np.zeros((len(literals), num_literals, 4 * -(-num_examples // 32)), np.uint8)
    rows = max(1, memory_budget // (inputs.itemsize * num_inputs + num_literals) // 8) * 8
    for start in range(0, num_examples, rows):
        columns = np.ascontiguousarray(inputs[start : start + rows].T)
        truth = np.empty((num_literals, columns.shape[1]), bool)
        where = slice(start // 8, start // 8 + -(-columns.shape[1] // 8))
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
) -> Iterator[np.ndarray]:
    """Scores every unit's literals, some units at a time.

    Args:
      literals: of u units, at most N each; units with fewer are padded with literals that hold
        nowhere, whose rules are never better than the same without them.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      order: of the rules over N literals of n inputs.
      memory_budget: bytes of working memory; never changes the result.

    Yields:
      For each unit, [.] int32: the least rank of a rule with 0, 1, ... errors.
    """
    num_examples, num_units = targets.shape
    num_literals = len(order.ranks) - 1
    examples = pack_examples(np.ones(num_examples, bool))
    by_bits = num_literals <= _MOST_LITERALS_FOR_BITS
    table = order.ranks.nbytes if by_bits else 0
    bytes_per_unit = table + 4 * len(examples) * (3 * num_literals + 32)
    # A CPU does best with one unit at a time in its cache, other devices with all of them.
    one_by_one = jax.default_backend() == "cpu"
    done = 0
    for units in chunks(num_units, max(1, memory_budget // bytes_per_unit)):
        least = _least_ranks(
            literal_bits(literals[units], inputs, num_literals, memory_budget // 4),
            pack_examples(targets.T[units]),
            examples,
            order.ranks,
            by_bits=by_bits,
            at_once=1 if one_by_one else units.stop - units.start,
        )
        yield from np.asarray(least)[done - units.start :]
        done = units.stop

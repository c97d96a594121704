"""The kernels that count the errors of every M-of-N rule over a unit's first N literals.

The examples on which at least M of the first N literals hold follow a recurrence over sets of
examples, kept as bits, 32 to a word:

    T_M(N) = T_M(N-1) | (T_{M-1}(N-1) & L_N)

An error is an example on which `T_M(N)` and the target differ: a population count of their
exclusive or. This costs N^2 E / 32. For N in the thousands it is cheaper to walk the literals, N E:
when literal N holds on an example where M - 1 held before, the rules that need M change their
answer there, and `errors(N, M)` differs from `errors(N-1, M)` by one, down if the unit is on.
Either way counts are exact integers.

A rule is *useful* if none that comes before it in complexity makes as few errors. A CPU enters
every rule into a table of the least rank for each number of errors; accelerators take a hundred
times longer to enter a number than to compute one. They pass over most: rules of N literals and
M = j or N + 1 - j come after those of N' <= N and j' <= j, so that one is useful only if it makes
fewer errors than all of these, of which a running minimum for each j is kept. A row of the table
has one or two such rules, rarely more; the first 4 are entered. And a walk counts there by matrix
products of ones and zeros: of how many literals hold, in digits to the base 128.

Axis letters: E examples, N literals taken, M needed, S literals of a walk, J = ceil(N / 2) values
of j, W words of 32 examples.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax.complexity import NO_RULE

# The recurrence needs no more rows of bits than literals so far: it is compiled for a few blocks of
# literals, each with more rows.
_MOST_BLOCKS, _LEAST_BLOCK = 4, 32
_MOST_USEFUL = 4  # rules of a row
_DIGIT_BITS = 7
LANES = 128  # of a TPU's registers: whole ones make its products ten times faster


class Ranks(NamedTuple):
    """Of one unit, for each number of errors the first of the rules that make as many.

    Whether rules are among them that are not useful is left open.
    """

    least: jax.Array  # [32 W + 1] int32, W all words; NO_RULE where there is none
    whole: jax.Array  # bool, whether all rules took part; where it is false, nothing else counts


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
      >>> from mofn_jax.bits import pack_examples
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


def errors_by_bits(
    literals: jax.Array, target: jax.Array, examples: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
    """As `score_unit`, where words may be divided along a mapped axis."""
    return _total(score_unit(literals, target, examples), axis_name)


def least_ranks_by_bits(
    literals: jax.Array,
    target: jax.Array,
    examples: jax.Array,
    ranks: jax.Array,
    *,
    axis_name: str | None = None,
) -> Ranks:
    """The least ranks of one unit, for a CPU.

    Args:
      literals, target, examples: as `score_unit`.
      ranks: [N + 1, N + 2] int32, see `PrefixOrder`.
      axis_name: of a mapped axis along which the words are divided; None if all are here.
    """
    errors = errors_by_bits(literals, target, examples, axis_name=axis_name)
    least = _no_rules(target, axis_name).at[errors].min(ranks)
    return Ranks(least, jnp.bool_(True))


def useful_ranks_by_bits(
    literals: jax.Array,
    target: jax.Array,
    examples: jax.Array,
    ranks: jax.Array,
    *,
    axis_name: str | None = None,
) -> Ranks:
    """As `least_ranks_by_bits`, for accelerators."""
    errors = errors_by_bits(literals, target, examples, axis_name=axis_name)
    start = jnp.full((len(literals) + 1) // 2, errors[0, :2].min())

    def take(fewest: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, _Useful]:
        return _useful(*row, fewest)

    _, useful = jax.lax.scan(take, start, (errors[1:], _taken(ranks)))
    return _entered(_no_rules(target, axis_name), errors[0, :2], ranks, useful)


class Walked(NamedTuple):
    """What a walk over some literals of one unit finds."""

    ranks: Ranks
    hold: jax.Array  # [32 W] int32, how many of all the literals taken hold on each example


def least_ranks_by_walk(
    literals: jax.Array,
    target: jax.Array,
    hold: jax.Array,
    examples: jax.Array,
    ranks: jax.Array,
    *,
    axis_name: str | None = None,
) -> Walked:
    """As `least_ranks_by_bits`, for many literals: it walks them and keeps no table of errors.

    Where words are divided, errors are summed for every literal that is taken.

    Args:
      literals: [S, W] uint32, those to take.
      target, examples: as `score_unit`.
      hold: [32 W] int32, how many of the literals taken before hold on each example.
      ranks: [S + 1, N + 2] int32, of the rules over those taken before and 0..S of these.
      axis_name: as there.
    """
    bits = jnp.arange(8, dtype=jnp.uint8)[::-1]

    def unpack(words: jax.Array) -> jax.Array:  # [W] uint32 -> [32 W] int32, packed by NumPy
        as_bytes = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1, 1)
        return ((as_bytes >> bits[None]) & 1).astype(jnp.int32).reshape(-1)

    is_on, valid = unpack(target), unpack(examples)
    # When a rule's answer turns to true; padding holds no literal.
    on, change = is_on.sum(), valid - 2 * is_on
    answers = jnp.zeros(ranks.shape[1], jnp.int32).at[hold].add(change, mode="promise_in_bounds")
    errors = on + jnp.cumsum(answers[::-1])[::-1]

    def take(carry, literal_and_ranks):
        hold, errors, least = carry
        literal, ranks = literal_and_ranks
        holds = unpack(literal)
        hold = hold + holds
        errors = errors.at[hold].add(change * holds, mode="promise_in_bounds")
        return (hold, errors, enter(least, errors, ranks)), None

    def enter(least, errors, ranks):
        return least.at[_total(errors, axis_name)].min(ranks, mode="promise_in_bounds")

    least = enter(_no_rules(target, axis_name), errors, ranks[0])
    (hold, _, least), _ = jax.lax.scan(take, (hold, errors, least), (literals, ranks[1:]))
    return Walked(Ranks(least, jnp.bool_(True)), hold)


def useful_ranks_by_walk(
    literals: jax.Array,
    target: jax.Array,
    hold: jax.Array,
    examples: jax.Array,
    ranks: jax.Array,
    *,
    axis_name: str | None = None,
) -> Walked:
    """As `least_ranks_by_walk`, for accelerators; without rules that one before is as good as."""
    num_words, missing = len(target), -len(target) % LANES
    example = jnp.arange(32, dtype=jnp.uint32)[:, None]
    places = 8 * (example // 8) + 7 - example % 8  # of its bit in a word packed by NumPy

    def unpack(words: jax.Array) -> jax.Array:  # [W] uint32 -> [32, W'] int32
        return ((jnp.pad(words, (0, missing))[None] >> places) & 1).astype(jnp.int32)

    valid, is_on = unpack(examples), unpack(target)
    on, change = is_on.sum(), valid - 2 * is_on
    hold = jnp.pad(hold.reshape(-1, 32).T, ((0, 0), (0, missing)))
    answers = sums_by(hold, change, ranks.shape[1])
    errors = on + jnp.cumsum(answers[::-1])[::-1]
    first, taken = _total(errors, axis_name), _taken(ranks)
    constants = jnp.stack([first[0], _total(on, axis_name)])
    fewest = jnp.full((ranks.shape[1] - 1) // 2, constants.min())
    # The rules over the literals taken before are not entered here, but others may be useless.
    fewest, _ = _useful(first, taken[0] - 1, fewest)

    def take(carry, literal_and_taken):
        hold, errors, fewest = carry
        literal, taken = literal_and_taken
        holds = unpack(literal)
        hold = hold + holds
        errors = errors + sums_by(hold, change * holds, len(errors))
        fewest, useful = _useful(_total(errors, axis_name), taken, fewest)
        return (hold, errors, fewest), useful

    (hold, _, _), useful = jax.lax.scan(take, (hold, errors, fewest), (literals, taken))
    found = _entered(_no_rules(target, axis_name), constants, ranks, useful)
    return Walked(found, hold[:, :num_words].T.reshape(-1))


def _total(counts: jax.Array, axis_name: str | None) -> jax.Array:
    """Counts over all examples, from those over the words that are here."""
    return counts if axis_name is None else jax.lax.psum(counts, axis_name)


def _no_rules(target: jax.Array, axis_name: str | None) -> jax.Array:
    """The least ranks of no rules, for every number of errors that all the words can make."""
    num_words = len(target) * (1 if axis_name is None else jax.lax.axis_size(axis_name))
    return jnp.full(32 * num_words + 1, NO_RULE)


def sums_by(integers: jax.Array, values: jax.Array, length: int) -> jax.Array:
    """The sums of values -1, 0, 1 [.] by integers [.] from 0 to length - 1: [length] int32."""
    high, low = integers >> _DIGIT_BITS, integers & (2**_DIGIT_BITS - 1)
    axes = tuple(range(1, 1 + integers.ndim))
    highs = jnp.arange((length >> _DIGIT_BITS) + 1, dtype=jnp.int32)
    lows = jnp.arange(2**_DIGIT_BITS, dtype=jnp.int32)
    # Exact: of ones and zeros in bfloat16, summed in float32 up to 2^24.
    by_high = jnp.where(high[None] == jnp.expand_dims(highs, axes), values[None], 0)
    by_low = low[None] == jnp.expand_dims(lows, axes)
    sums = jax.lax.dot_general(
        by_high.astype(jnp.bfloat16),
        by_low.astype(jnp.bfloat16),
        ((axes, axes), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return sums.astype(jnp.int32).reshape(-1)[:length]


class _Useful(NamedTuple):
    """The first useful rules of a row of errors."""

    m: jax.Array  # [4] int32; 0 for none
    errors: jax.Array  # [4] int32
    total: jax.Array  # int32, how many there are


def _taken(ranks: jax.Array) -> jax.Array:
    """Of how many literals the rules of each row but the first are: [S] int32; 0 if it has none."""
    return (ranks[1:] != NO_RULE).sum(1, dtype=jnp.int32)


def _useful(errors: jax.Array, taken: jax.Array, fewest: jax.Array) -> tuple[jax.Array, _Useful]:
    """Which rules make fewer errors than those before them.

    Args:
      errors: [N + 2] int32, of the rules over some literals, by M.
      taken: int32, how many literals.
      fewest: [J] int32, of j the fewest errors of a rule of fewer literals and at most j.

    Returns:
      The fewest errors with these rules too, and the useful rules.
    """
    half = len(fewest)
    j = jnp.arange(1, half + 1, dtype=jnp.int32)
    # At [j - 1] the errors of M = taken + 1 - j.
    backward = jax.lax.dynamic_slice(
        jnp.pad(errors[::-1], (0, half)), (len(errors) - 1 - taken,), (half,)
    )
    one = jnp.where(2 * j <= taken + 1, errors[1 : half + 1], NO_RULE)
    other = jnp.where(2 * j < taken + 1, backward, NO_RULE)
    until = jax.lax.cummin(jnp.minimum(one, other))
    before = jnp.minimum(fewest, jnp.append(NO_RULE, until[:-1]))
    is_useful = jnp.concatenate([one < before, other < jnp.minimum(before, one)])
    errors = jnp.concatenate([one, other])
    places = jnp.arange(2 * half, dtype=jnp.int32)

    def following(last: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        place = jnp.where(is_useful & (places > last), places, 2 * half).min()
        return place, place

    _, place = jax.lax.scan(following, jnp.int32(-1), None, length=_MOST_USEFUL)
    found = errors[jnp.minimum(place, 2 * half - 1)]
    m = jnp.where(place < half, place + 1, taken + half - place)
    useful = _Useful(jnp.where(place < 2 * half, m, 0), found, is_useful.sum(dtype=jnp.int32))
    return jnp.minimum(fewest, until), useful


def _entered(least: jax.Array, constants: jax.Array, ranks: jax.Array, useful: _Useful) -> Ranks:
    """The least ranks with the constant rules, true and false, and those useful in each row."""
    found = jnp.take_along_axis(ranks[1:], useful.m, axis=1)
    least = least.at[constants].min(ranks[0, :2]).at[useful.errors].min(found)
    return Ranks(least, (useful.total <= _MOST_USEFUL).all())

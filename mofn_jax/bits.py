"""Counting, over all examples, where rules say "on": exact, on bits, 32 examples to a word.

The examples of a unit are packed so that each word holds only examples on which the unit is on, or
only others; such words carry the sign -1 and +1. The errors of a rule that says "on" on the
examples B are then the number of examples with the unit on, plus the signed count of B: no target
is needed beside the bits.

Axis letters: E examples, N literals, R rows, W words of 32 examples.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax import checks, meshes
from mofn_jax.chunking import read_columns, row_slices
from mofn_jax.held_inputs import HeldInputs, held_bits, holds
from mofn_jax.literals import NO_LITERALS, Literals

_TRUTH_BYTES = 2**20  # of comparisons before they are packed, in a CPU's cache


def pack_examples(truth: np.ndarray) -> np.ndarray:
    """Packs booleans [..., E] into words [..., W] uint32, W = ceil(E / 32); missing bits are 0.

    Raises:
      ValueError: not booleans, or a single one.
    """
    truth = checks.on_host("truth", truth)
    if truth.dtype != bool or truth.ndim == 0:
        raise ValueError(
            f"truth: expected booleans [..., E], got dtype {truth.dtype}, shape {list(truth.shape)}"
        )
    missing = -truth.shape[-1] % 32
    padded = np.pad(truth, [(0, 0)] * (truth.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(np.packbits(padded, axis=-1)).view(np.uint32)


def literal_bits(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    num_literals: int,
    memory_budget: int,
    held: HeldInputs | None = None,
) -> np.ndarray:
    """On which examples each unit's literals hold, compared in the inputs' own precision.

    Args:
      literals: of u units, at most N each.
      inputs: [E, n] real numbers; if their columns do not lie in one piece, those that literals
        name are read once, a slice of examples at a time.
      num_literals: N.
      memory_budget: bytes of a slice.
      held: what a device holds; if these inputs, it compares them there.

    Returns:
      [u, N, W] uint32; missing literals hold nowhere.
    """
    if holds(held, inputs):
        return held_bits(literals, held, num_literals)
    bits = np.zeros((len(literals), num_literals, 4 * -(-len(inputs) // 32)), np.uint8)
    named = np.unique(np.concatenate([NO_LITERALS.inputs, *(unit.inputs for unit in literals)]))
    if not len(named):
        return bits.view(np.uint32)
    in_columns = inputs.flags.f_contiguous
    slices = [slice(0, len(inputs))] if in_columns else row_slices(inputs, memory_budget // 2)
    which: slice | np.ndarray = slice(None)
    if not in_columns and len(named) < inputs.shape[1]:
        which = named
        literals = [unit._replace(inputs=np.searchsorted(named, unit.inputs)) for unit in literals]
    with ThreadPoolExecutor(meshes.cpu_count()) as pool:
        for rows in slices:
            compare = partial(
                _compare,
                columns=read_columns(inputs[rows], which).T,
                where=slice(rows.start // 8, -(-rows.stop // 8)),
            )
            list(pool.map(compare, bits, literals))
    return bits.view(np.uint32)


def _compare(bits: np.ndarray, literals: Literals, *, columns: np.ndarray, where: slice) -> None:
    """Fills in the bytes of one unit's literals for some examples, whose inputs are the columns."""
    num_examples = columns.shape[1]
    truth = np.empty((max(1, _TRUTH_BYTES // max(1, num_examples)), num_examples), bool)
    for start in range(0, len(literals.inputs), len(truth)):
        some = literals.take(slice(start, start + len(truth)))
        terms = zip(truth, some.inputs, some.thresholds, some.negated, strict=False)
        for row, i, threshold, negated in terms:
            holds = np.less if negated else np.greater_equal
            holds(columns[i], threshold, out=row)
        count = len(some.inputs)
        bits[start : start + count, where] = np.packbits(truth[:count], axis=1)


def pack_by_target(bits: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Packs examples anew, those with the unit on in words of their own.

    Args:
      bits: [N, ceil(E / 32)] uint32, packed as `literal_bits` does.
      target: [E] booleans, whether the unit is on.

    Returns:
      [N, W] uint32 with W = ceil(E / 32) + 1, bits that stand for no example 0; and the signs of
      the words, [W] int32: -1 where the unit is on, +1 elsewhere.
    """
    num_words = -(-len(target) // 32) + 1
    num_on = -(-np.count_nonzero(target) // 32)  # words
    words = np.zeros((len(bits), num_words), np.uint32)
    for rows in row_slices(bits, 2**19):  # unpacked they are eight times as large
        truth = np.unpackbits(bits[rows].view(np.uint8), axis=1, count=len(target)).view(bool)
        words[rows, :num_on] = pack_examples(truth[:, target])
        off = pack_examples(truth[:, ~target])
        words[rows, num_on : num_on + off.shape[1]] = off
    return words, np.where(np.arange(num_words) < num_on, -1, 1).astype(np.int32)


def pack_units(bits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The literals of u units [u, R, W'], packed by their targets [E, u].

    Returns:
      [u, R, W] uint32 and the signs of the words, [u, W] int32; see `pack_by_target`.
    """
    packed = [pack_by_target(*unit) for unit in zip(bits, targets.T, strict=True)]
    words, signs = zip(*packed, strict=True)
    return np.stack(words), np.stack(signs)


def all_examples(target: np.ndarray) -> np.ndarray:
    """All examples, packed by a target [E]: [W] uint32."""
    return pack_by_target(pack_examples(np.ones((1, len(target)), bool)), target)[0][0]


def unpack(words: jax.Array) -> jax.Array:
    """The bits of [R, W] uint32, one for each example: [R, 32, W] int8."""
    bits = words[:, None] >> jnp.arange(32, dtype=jnp.uint32)[None, :, None]
    return (bits & 1).astype(jnp.int8)


def count(words: jax.Array) -> jax.Array:
    """The number of examples in [..., W] uint32: [...] int32."""
    return jax.lax.population_count(words).astype(jnp.int32).sum(-1, dtype=jnp.int32)


def counts(rows: jax.Array, by_word: jax.Array) -> jax.Array:
    """The number of examples in every row [R, W] and every column of [W, N]: [R, N] int32.

    What is counted over and over is given word by word: to transpose it takes as long as to count.
    """
    return jax.lax.platform_dependent(rows, by_word, cpu=_scan_words, default=_all_at_once)


def _scan_words(rows: jax.Array, by_word: jax.Array) -> jax.Array:
    def add(total, word):
        row, column = word
        return total + jax.lax.population_count(row[:, None] & column[None]), None

    nothing = jnp.zeros((len(rows), by_word.shape[1]), jnp.uint32)
    return jax.lax.scan(add, nothing, (rows.T, by_word))[0].astype(jnp.int32)


def _all_at_once(rows: jax.Array, by_word: jax.Array) -> jax.Array:
    return count(rows[:, None] & by_word.T[None])


def signed_count(words: jax.Array, signs: jax.Array) -> jax.Array:
    """The signed number of examples in [..., W] uint32 under signs [W]: [...] int32."""
    return jax.lax.population_count(words).astype(jnp.int32) @ signs


def signed_counts(rows: jax.Array, columns: jax.Array, signs: jax.Array) -> jax.Array:
    """The signed number of examples in every row and every column at once.

    Args:
      rows: [R, W] uint32.
      columns: [N, W] uint32.
      signs: [W] int32.

    Returns:
      [R, N] int32.
    """
    # A CPU is 30 times faster word by word, the sums in its vector registers and cache, than with
    # XLA's reduction; an accelerator wants one large operation.
    return jax.lax.platform_dependent(
        rows, columns, signs, cpu=_counts_by_word, default=_counts_at_once
    )


def _counts_by_word(rows: jax.Array, columns: jax.Array, signs: jax.Array) -> jax.Array:
    def add(counts, word):
        row, column, sign = word
        both = jax.lax.population_count(row[:, None] & column[None])
        return counts + sign * both.astype(jnp.int32), None

    nothing = jnp.zeros((len(rows), len(columns)), jnp.int32)
    return jax.lax.scan(add, nothing, (rows.T, columns.T, signs))[0]


def _counts_at_once(rows: jax.Array, columns: jax.Array, signs: jax.Array) -> jax.Array:
    both = jax.lax.population_count(rows[:, None] & columns[None]).astype(jnp.int32)
    return (both * signs[None, None]).sum(-1, dtype=jnp.int32)

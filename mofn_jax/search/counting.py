"""Counting, over all examples, where rules say "on": exact, on bits, 32 examples to a word.

The examples of a unit are packed so that each word holds only examples on which the unit is on, or
only others; such words carry the sign -1 and +1. The errors of a rule that says "on" on the
examples B are then the number of examples with the unit on, plus the signed count of B: no target
is needed beside the bits.

Axis letters: E examples, N literals, R rows, W words of 32 examples.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax.chunking import row_slices
from mofn_jax.literals import Literals
from mofn_jax.scoring import literal_bits, pack_examples


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


def pack_units(
    literals: Sequence[Literals],
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    num_rows: int,
    memory_budget: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The literals of u units, packed by their targets.

    Args:
      literals: of each unit, at most `num_rows`.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans.
      num_rows: R.
      memory_budget: bytes, as in `literal_bits`.

    Returns:
      [u, R, W] uint32, a row for each literal, empty ones for those that are missing; and the signs
      of the words, [u, W] int32.
    """
    bits = literal_bits(literals, inputs, num_rows, memory_budget)
    packed = [pack_by_target(*unit) for unit in zip(bits, targets.T, strict=True)]
    words, signs = zip(*packed, strict=True)
    return np.stack(words), np.stack(signs)


def all_examples(target: np.ndarray) -> np.ndarray:
    """All examples, packed by a target [E]: [W] uint32."""
    return pack_by_target(pack_examples(np.ones((1, len(target)), bool)), target)[0][0]


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

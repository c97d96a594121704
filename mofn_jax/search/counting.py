"""Counting, over all examples, where rules say "on": exact, on bits, 32 examples to a word.

The examples of a unit are packed so that each word holds only examples on which the unit is on, or
only others; such words carry the sign -1 and +1. The errors of a rule that says "on" on the
examples B are then the number of examples with the unit on, plus the signed count of B: no target
is needed beside the bits.

Axis letters: E examples, N literals, R rows, W words of 32 examples.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mofn_jax.scoring import pack_examples


def pack_by_target(truth: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Packs truths on the examples, those with the unit on in words of their own.

    Args:
      truth: [E, N] booleans.
      target: [E] booleans, whether the unit is on.

    Returns:
      [N, W] uint32 with W = ceil(E / 32) + 1, bits that stand for no example 0; and the signs of
      the words, [W] int32: -1 where the unit is on, +1 elsewhere.
    """
    num_words = -(-len(target) // 32) + 1
    on, off = pack_examples(truth[target].T), pack_examples(truth[~target].T)
    words = np.zeros((truth.shape[1], num_words), np.uint32)
    words[:, : on.shape[1]] = on
    words[:, on.shape[1] : on.shape[1] + off.shape[1]] = off
    return words, np.where(np.arange(num_words) < on.shape[1], -1, 1).astype(np.int32)


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
    return (both * signs[None, None]).sum(-1)

"""A layer's inputs in the memory of an accelerator, for all that is done there column by column.

They lie there as unsigned integers in the order of the floats (see `mofn_jax.columns`), so that
float64 is compared exactly; of each column the examples in 32 rows, as bits lie in their words.

Axis letters: E examples, N literals, n inputs, u units, W words of 32 examples, W' of those held.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mofn_jax import meshes
from mofn_jax.chunking import read_columns
from mofn_jax.columns import (
    NO_KEY,
    float_dtype,
    from_sort_keys,
    key_words,
    keys_of_thresholds,
    less_than,
    sort_keys,
)
from mofn_jax.literals import Literals
from mofn_jax.score_kernels import LANES

_SHARE = 4  # of a device's memory a fourth may be held
_LEAST_MEMORY = 2**34  # bytes of a device that does not tell
_BLOCK_BYTES = 2**26  # of keys that literals are compared with at once
_COLUMNS = 128  # that are sorted at once


class HeldInputs(NamedTuple):
    """The inputs of a layer on a device."""

    inputs: np.ndarray  # [E, n], what they are
    keys: tuple[jax.Array, ...]  # each [n, 32, W'] uint32, of example 32 w + i at [., i, w]


def holds(held: HeldInputs | None, inputs: np.ndarray) -> TypeGuard[HeldInputs]:
    """Whether a device holds anything, and it is these inputs."""
    return held is not None and held.inputs is inputs


def hold(inputs: np.ndarray, memory_budget: int) -> HeldInputs | None:
    """Inputs [E, n] on the default device; None if that is a CPU, or has no room for them.

    Args:
      inputs: [E, n] real numbers.
      memory_budget: bytes of working memory on the host.
    """
    if meshes.platform() == "cpu":
        return None
    num_examples, num_inputs = inputs.shape
    num_words = LANES * (num_examples // (32 * LANES) + 1)
    column_bytes = 4 * key_words(float_dtype(inputs)) * 32 * num_words
    memory = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", _LEAST_MEMORY)
    if num_inputs * column_bytes > memory // _SHARE:
        return None
    most = max(1, memory_budget // (4 * column_bytes))
    parts = []
    for start in range(0, num_inputs, most):
        keys = sort_keys(read_columns(inputs, slice(start, start + most)))
        parts.append(_in_words(_padded(keys, 32 * num_words)))
    return HeldInputs(inputs, tuple(jnp.concatenate(keys) for keys in zip(*parts, strict=True)))


def _padded(keys: tuple[np.ndarray, ...], length: int) -> tuple[np.ndarray, ...]:
    missing = length - keys[0].shape[1]
    return tuple(np.pad(key, ((0, 0), (0, missing)), constant_values=NO_KEY) for key in keys)


@jax.jit
def _in_words(keys: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Of keys [c, 32 W'] in the order of the examples those that are held."""
    return tuple(key.reshape(len(key), -1, 32).swapaxes(1, 2) for key in keys)


def in_held_order(values: np.ndarray, held: HeldInputs) -> np.ndarray:
    """What is known of each example [E] in the order of those held, 0 for none: [32 W']."""
    _, rows, num_words = held.keys[0].shape
    padded = np.pad(values, (0, rows * num_words - len(values)))
    return np.ascontiguousarray(padded.reshape(num_words, rows).T).reshape(-1)


@jax.jit
def columns_of(keys: tuple[jax.Array, ...], which: jax.Array) -> tuple[jax.Array, ...]:
    """Some of the columns held [n, 32, W']: each [C, 32 W']."""
    return tuple(key[which].reshape(len(which), -1) for key in keys)


def values_at(places: np.ndarray, which: np.ndarray, held: HeldInputs) -> np.ndarray:
    """Of some inputs the values at places in their ascending order: [places, inputs]."""
    keys = np.empty((len(held.keys), len(which), len(places)), np.uint32)
    for start in range(0, len(which), _COLUMNS):
        some = which[start : start + _COLUMNS]
        found = _keys_at(held.keys, np.resize(some, _COLUMNS), places)
        keys[:, start : start + _COLUMNS] = [np.asarray(key)[: len(some)] for key in found]
    return from_sort_keys(tuple(keys), float_dtype(held.inputs)).T


@jax.jit
def _keys_at(keys: tuple[jax.Array, ...], which: jax.Array, places: jax.Array) -> list[jax.Array]:
    columns = columns_of(keys, which)
    ascending = lax.sort(columns, num_keys=len(columns), is_stable=False)
    return [key[:, places] for key in ascending]


def held_bits(literals: Sequence[Literals], held: HeldInputs, num_literals: int) -> np.ndarray:
    """As `mofn_jax.bits.literal_bits`, of inputs that are held: [u, N, W] uint32."""
    shape = len(literals), num_literals
    total = math.prod(shape)
    # As many as are compared at once, so that what is compiled is always the same.
    size = min(max(1, _BLOCK_BYTES // held.keys[0][:1].nbytes), 1 << max(0, total - 1).bit_length())
    which, negated = np.zeros(shape, np.int32), np.zeros(shape, bool)
    thresholds = np.full((len(held.keys), *shape), NO_KEY, np.uint32)  # none hold there
    dtype = float_dtype(held.inputs)
    for i, unit in enumerate(literals):
        count = len(unit.inputs)
        which[i, :count], negated[i, :count] = unit.inputs, unit.negated
        thresholds[:, i, :count] = keys_of_thresholds(unit.thresholds, dtype)
    flat = [which.reshape(-1), negated.reshape(-1), *thresholds.reshape(len(thresholds), -1)]
    flat = [np.pad(array, (0, -total % size)) for array in flat]
    num_examples = len(held.inputs)
    parts = [
        _compare(held.keys, *(array[i : i + size] for array in flat), num_examples=num_examples)
        for i in range(0, total, size)
    ]
    bits = np.empty((total, -(-num_examples // 32)), np.uint32)
    for i, part in enumerate(parts):
        rows = bits[i * size : (i + 1) * size]
        rows[:] = np.asarray(part)[: len(rows)]
    return bits.reshape(*shape, bits.shape[1])


@partial(jax.jit, static_argnames="num_examples")
def _compare(keys, which, negated, *thresholds, num_examples: int) -> jax.Array:
    """Where literals hold, [L, W] uint32.

    Args:
      keys: each [n, 32, W'] uint32.
      which: [L] int32, the literals' inputs.
      negated: [L] bool.
      *thresholds: each [L] uint32.
      num_examples: E.
    """
    row = jnp.arange(32, dtype=jnp.uint32)[:, None]
    word = jnp.arange(keys[0].shape[2])[None]
    bit = jnp.uint32(1) << (8 * (row // 8) + 7 - row % 8)  # as NumPy packs
    bit = jnp.where(32 * word + row < num_examples, bit, 0)
    others = [threshold[:, None, None] for threshold in thresholds]
    below = less_than([key[which] for key in keys], others)
    bits = jnp.where(below == negated[:, None, None], bit[None], 0).sum(1, dtype=jnp.uint32)
    return bits[:, : -(-num_examples // 32)]

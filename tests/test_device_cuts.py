"""Accelerators' thresholds are those of CPUs, to the last bit; run here on a CPU."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mofn_jax import cuts, device_cuts, meshes
from mofn_jax import thresholds as th


@pytest.fixture
def both_ways(monkeypatch):
    """A function's results as on a CPU and as on an accelerator, and how many columns it left."""

    def run(function, *arguments, **options):
        expected = function(*arguments, **options)
        left = []

        def of_sorted(columns, *others):
            left.append(columns.shape[1])
            return original(columns, *others)

        original = th._of_sorted
        with monkeypatch.context() as patched:
            patched.setattr(meshes, "platform", lambda: "tpu")
            patched.setattr(th, "_of_sorted", of_sorted)
            found = function(*arguments, **options)
        for a, b in zip(expected, found, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        return sum(left)

    return run


def layer(num_examples, dtype, num_inputs=12):
    """Inputs of several kinds and targets, frequent and rare, that they say something about."""
    rng = np.random.default_rng(num_examples)
    inputs = 3 * rng.standard_normal((num_examples, num_inputs))
    inputs[:, ::3] = np.maximum(inputs[:, ::3], 0)
    inputs[:, 1::4] = inputs[:, 1::4].round()
    inputs[:, 2] = 7
    sums = inputs @ rng.standard_normal((num_inputs, 35))
    targets = sums >= np.quantile(sums, rng.random(35) ** 0.2, axis=0).diagonal()
    targets[:, 0], targets[:, 1] = False, True
    return inputs.astype(dtype), targets


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, np.uint8, bool])
@pytest.mark.parametrize("num_examples", [1, 2, 3, 33, 1000])
def test_thresholds_are_the_same(both_ways, num_examples, dtype):
    inputs, targets = layer(num_examples, dtype)
    assert both_ways(th.best_thresholds, inputs, targets) == 0
    labels = targets[:, :5] @ (1 << np.arange(5))
    assert both_ways(th.unit_thresholds, inputs, labels, 40) == 0


@pytest.mark.parametrize("memory_budget", [1, 2**16, 2**29])
def test_of_any_memory(both_ways, memory_budget):
    inputs, targets = layer(200, np.float32)
    both_ways(th.best_thresholds, inputs, targets, memory_budget=memory_budget)
    both_ways(th.unit_thresholds, inputs, targets[:, 5] * 1, 2, memory_budget=memory_budget)


def test_of_many_examples_and_rare_targets(both_ways):
    inputs, _ = layer(60_000, np.float32, num_inputs=4)
    targets = np.arange(60_000)[:, None] == np.array([0, 17])
    targets = np.concatenate([targets, inputs[:, [0]] + inputs[:, [1]] > 12], axis=1)
    assert both_ways(th.best_thresholds, inputs, targets) <= 1  # of four columns


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(
    hnp.arrays(
        np.float64,
        (34, 2),
        elements=st.sampled_from([-2.0, -0.0, 0.0, 5e-324, 1e-40, 1.5, 1.5 + 1e-15, -1e300]),
    ),
    hnp.arrays(bool, (34, 2)),
)
def test_of_any_values(inputs, targets):
    with pytest.MonkeyPatch.context() as patched:
        expected = th.best_thresholds(inputs, targets)
        patched.setattr(meshes, "platform", lambda: "tpu")
        found = th.best_thresholds(inputs, targets)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_left_undecided_is_decided(both_ways, monkeypatch):
    monkeypatch.setattr(device_cuts, "_WINDOWS", 1)
    monkeypatch.setattr(device_cuts, "_ROUNDINGS", 2**20)
    jax.clear_caches()
    assert both_ways(th.best_thresholds, *layer(1000, np.float32)) > 0
    jax.clear_caches()


def test_with_more_examples_than_it_takes_the_host_sorts(both_ways, monkeypatch):
    monkeypatch.setattr(device_cuts, "MOST_EXAMPLES", 99)
    assert both_ways(th.best_thresholds, *layer(100, np.float32)) == 12


@pytest.mark.parametrize("num_examples", [1, 2, 3, 10, 1000, 60_000, device_cuts.MOST_EXAMPLES])
def test_the_computed_table_is_within_a_few_steps(num_examples):
    counts = jnp.arange(num_examples + 1, dtype=jnp.int32)
    computed = jax.jit(lambda x: device_cuts.x_log_x(x, num_examples))(counts)
    wrong = np.abs(np.asarray(computed, np.int64) - cuts.x_log_x(num_examples))
    assert wrong.max() <= (4 if num_examples < 100 else 2)

"""Inputs that an accelerator holds: the same bits and rules as on a CPU; run here on a CPU."""

import jax
import numpy as np
import pytest
from test_device_cuts import layer

import mofn_jax as mofn
from mofn_jax import held_inputs, meshes
from mofn_jax.bits import literal_bits
from mofn_jax.literals import Literals
from mofn_jax.search import pools


@pytest.fixture
def on_device(monkeypatch):
    """Holds inputs as an accelerator does."""

    def hold(inputs, memory_budget=2**20):
        with monkeypatch.context() as patched:
            patched.setattr(meshes, "platform", lambda: "tpu")
            return held_inputs.hold(inputs, memory_budget)

    return hold


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8, bool])
@pytest.mark.parametrize("num_examples", [1, 32, 33, 4095, 4096])
def test_literals_hold_where_they_do_on_a_cpu(on_device, num_examples, dtype):
    inputs, _ = layer(num_examples, dtype, 11)
    rng = np.random.default_rng(0)
    literals = []
    for size in (11, 0, 5):
        which = rng.permutation(11)[:size]
        thresholds = inputs[rng.integers(num_examples, size=size), which].astype(np.float64)
        # At values, between two of them, and beyond all of them.
        thresholds += rng.choice([0, 1e-9, -1e-9, 1e30, -1e30], size)
        literals.append(Literals(which, thresholds, rng.random(size) < 0.5))
    expected = literal_bits(literals, inputs, 11, 2**20)
    for memory_budget in (1, 5 * 2**16, 2**20):  # one column at a time, a few, all
        held = on_device(inputs, memory_budget)
        np.testing.assert_array_equal(literal_bits(literals, inputs, 11, 1, held), expected)
    # What is held is of other inputs: these are compared as on a CPU.
    others = 1 - inputs.astype(np.float64)
    expected = literal_bits(literals, others, 11, 2**20)
    np.testing.assert_array_equal(literal_bits(literals, others, 11, 2**20, held), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_quantiles_are_those_of_a_cpu(on_device, dtype):
    inputs, _ = layer(70, dtype, 300)
    which = np.random.default_rng(0).permutation(300)[:290]
    quantiles = pools.Quantiles(inputs, 5, on_device(inputs))
    expected = pools.Quantiles(inputs, 5).of(which, 2**20)
    for some in (slice(3), slice(290)):  # the first are known then
        found = quantiles.of(which[some], 2**20)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected[:, some])


def test_cpus_hold_nothing_and_devices_what_a_fourth_of_their_memory_takes(on_device, monkeypatch):
    inputs = np.zeros((100, 3), np.float64)
    assert held_inputs.hold(inputs, 2**20) is None
    num_bytes = sum(key.nbytes for key in on_device(inputs).keys)
    assert num_bytes == 2 * 4 * 3 * 32 * 128  # two words for each of 4,096 places
    monkeypatch.setattr(held_inputs, "_LEAST_MEMORY", 4 * num_bytes)
    assert on_device(inputs) is not None
    monkeypatch.setattr(held_inputs, "_LEAST_MEMORY", 4 * num_bytes - 1)
    assert on_device(inputs) is None


@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_accelerators_find_the_rules_of_cpus(monkeypatch, platform, is_held):
    inputs, targets = layer(90, np.float32)
    weights = np.random.default_rng(1).standard_normal((12, 3))
    weights, some = weights.astype(np.float32), targets[:, 2:5]
    options = {"stepwise_literals": 8, "polish_literals": 3}
    expected = mofn.extract_layer(weights, inputs, some, **options)
    monkeypatch.setattr(meshes, "platform", lambda: platform)
    if not is_held:
        monkeypatch.setattr(held_inputs, "_LEAST_MEMORY", 0)
    jax.clear_caches()  # or what is compiled for a CPU would be taken
    try:
        assert str(mofn.extract_layer(weights, inputs, some, **options)) == str(expected)
    finally:
        jax.clear_caches()

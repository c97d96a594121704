"""Every compiled function lowers for GPUs and TPUs, which are not here; with libtpu it compiles."""

import re
from importlib.util import find_spec

import jax
import numpy as np
import pytest

import mofn_jax as mofn
from experiments import kernels
from mofn_jax import data


def use_everything():
    """A small run of all that has functions compiled."""
    digits = mofn.load_dataset("digits")
    few = [data.Split(s.inputs[:64], s.labels[:64]) for s in (digits.train, digits.test)]
    digits = digits._replace(train=few[0], test=few[1])
    network = mofn.CNN(num_classes=10, activation="relu", conv_blocks=((3,),), dense=(20,))
    params = mofn.train(jax.random.key(0), network, digits, num_epochs=1).params
    *_, softmax = mofn.capture_layers(network, params, digits.train.inputs)
    mofn.binarize_targets(softmax.inputs, softmax.predictions, 10)
    targets = mofn.softmax_targets(softmax.predictions, 10)
    mofn.extract_layer(softmax.weights, softmax.inputs, targets)
    few_inputs = softmax.inputs[:, :5]
    mofn.extract_layer(softmax.weights[:5], few_inputs, targets, signs="free")
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((600, 2)).astype(np.float32)
    inputs = rng.standard_normal((70, 600)).astype(np.float32)
    for num_inputs in (600, 200):
        some, some_weights = inputs[:, :num_inputs], weights[:num_inputs]
        mofn.extract_layer(some_weights, some, some @ some_weights > 0, search="weight_order")
    mesh = mofn.make_mesh({"units": 1})
    mofn.best_thresholds(inputs[:, :3], inputs[:, :2] > 0, mesh=mesh)


def test_what_is_recorded_says_what_was_given():
    def answer(call):
        shape = len(call.arguments[0]), call.arguments[2].shape[1]
        return np.zeros(shape, np.int32), np.ones(shape, np.int32)

    inputs, targets = np.eye(3, 2, dtype=np.float32), np.eye(3, 1, dtype=bool)
    expected = mofn.best_thresholds(inputs, targets)
    with kernels.recorded("cpu", answer) as calls:
        found = mofn.best_thresholds(inputs, targets)
    assert {call.name for call in calls} == {"cuts.best_cuts_of_targets"}
    order, is_cut, *shared = calls[0].arguments
    assert (order.dtype, is_cut.dtype) == (np.int32, bool)
    assert [array.shape for array in shared] == [(3, 1), (4,)]
    assert found.values.tolist() == [[0.0], [0.0]]  # at the first place
    again = mofn.best_thresholds(inputs, targets)  # as before
    np.testing.assert_array_equal(again.values, expected.values)


def test_rounds_of_loops_are_counted_by_the_function_that_they_are_in():
    rng = np.random.default_rng(0)
    inputs, weights = rng.standard_normal((50, 5)), rng.standard_normal((5, 2))
    options = {"search": "stepwise", "stepwise_literals": 3, "thresholds_per_input": 1}
    with kernels.counted_rounds() as rounds:
        mofn.extract_layer(weights, inputs, inputs @ weights > 0, **options)
    # What is compiled ahead is of no literals; three are taken in, and then there is nothing to do.
    assert rounds["take_steps"] == [0, 4, 4]
    # Of 1 to 3 literals from two sets each, then of 2 and 1 from one.
    assert len(rounds["polish"]) == 3 * (2 * 3 + 2)
    assert min(rounds["polish"]) >= 1


@pytest.fixture(scope="module", params=["gpu", "tpu"])
def recorded(request):
    """The calls, as on this platform, each kernel once, while they can be traced."""
    with kernels.recorded(request.param) as calls:
        use_everything()
        yield request.param, {call.name: call for call in calls}


def test_all_that_is_compiled_is_called_and_lowers_without_float64(recorded):
    platform, calls = recorded
    # Of sorted columns, an accelerator is given those that it leaves undecided: there are none.
    undecided = {"cuts.best_cuts_of_targets", "cuts.best_cuts_of_classes"}
    assert {call.site for call in calls.values()} == kernels.jit_sites() - undecided
    for call in calls.values():
        lowered = call.traced().lower(lowering_platforms=("cuda" if platform == "gpu" else "tpu",))
        assert "f64" not in lowered.as_text(), call.name


def test_a_loop_is_named_where_it_is_lowered(recorded):
    call = recorded[1]["search.stepwise._search_units"]
    text = call.traced().lower().as_text(debug_info=True)
    names = map(kernels.loop_name, re.findall(r'"([^"]*while[^"]*)"', text))
    assert set(filter(None, names)) == {"take_steps", "polish"}


@pytest.mark.skipif(find_spec("libtpu") is None, reason="needs libtpu: the extra tpu-check")
def test_all_that_is_compiled_compiles_for_a_tpu(recorded):
    from experiments.compile_report import tpu

    platform, calls = recorded
    if platform != "tpu":
        pytest.skip("the compiler for TPUs")
    chip = jax.sharding.SingleDeviceSharding(tpu("v5e:2x2").devices[0])
    for call in calls.values():
        if call.site != "meshes._on_each_device":  # it is for the devices of a mesh
            compiled = call.traced(chip).lower().compile()
            assert compiled.memory_analysis().temp_size_in_bytes < 2**29, call.name

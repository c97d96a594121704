"""Meshes: the same rules on any devices of any processes, no second compilation, bad meshes."""

import json
import threading
import time
from types import SimpleNamespace

import jax
import mesh_job
import numpy as np
import processes
import pytest
from jax.sharding import AxisType, Mesh

import mofn_jax as mofn
from mofn_jax import meshes
from mofn_jax.compat import enable_x64


@pytest.fixture(scope="module")
def of_one_device():
    return json.loads(json.dumps(mesh_job.fronts()))


def assert_same(printed, jobs, of_one_device):
    lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    for fronts, (_, cases, _) in zip(lines, jobs, strict=True):
        assert fronts == {case: of_one_device[case] for case in cases}


def test_eight_devices_give_the_rules_of_one(of_one_device):
    jobs = [
        [{"units": 4, "examples": 2}, list(mesh_job.LAYERS), "cpu"],
        [{"units": 8}, ["bits"], "cpu"],
        [{"examples": 8}, ["bits", "walk"], "cpu"],
        [{"units": 3}, ["bits"], "cpu"],
        [{"units": 2, "examples": 4}, list(mesh_job.LAYERS), "tpu"],
    ]
    (printed,) = processes.run_side_by_side(["tests.mesh_job", json.dumps(jobs)], num_devices=8)
    assert_same(printed, jobs, of_one_device)


def test_two_processes_of_two_devices_give_the_rules_of_one(of_one_device):
    jobs = [
        [{"units": 2, "examples": 2}, list(mesh_job.LAYERS), "cpu"],
        [{"examples": 4}, ["bits", "walk"], "cpu"],  # counts are summed across the processes
    ]
    address = processes.free_address()
    for printed in processes.run_side_by_side(
        *(["tests.mesh_job", json.dumps(jobs), address, 2, process] for process in range(2)),
        num_devices=2,
    ):
        assert_same(printed, jobs, of_one_device)
        assert "weights: expected the same array in all processes" in printed


def test_a_second_layer_of_the_same_shape_compiles_nothing():
    (printed,) = processes.run_side_by_side(["tests.compile_job"], num_devices=4)
    first, second = map(int, printed.split())
    assert first > 0
    assert second == 0


@pytest.mark.parametrize("axes", [("units",), ("examples",), ("examples", "units")])
def test_an_axis_may_be_absent_and_their_order_is_free(axes, of_one_device):
    devices = np.reshape(jax.devices()[:1], (1,) * len(axes))
    mesh = Mesh(devices, axes, axis_types=(AxisType.Auto,) * len(axes))
    fronts = mesh_job.fronts(["bits"], mesh=mesh)
    assert json.loads(json.dumps(fronts)) == {"bits": of_one_device["bits"]}


def test_full_rounds_give_every_device_as_many():
    eight_devices = SimpleNamespace(shape={"units": 4, "examples": 2})
    counts = [0, 7, 8, 23, 24]
    assert [meshes.full_rounds(n, eight_devices) for n in counts] == [8, 8, 8, 16, 24]
    assert [meshes.full_rounds(n, eight_devices, ["units"]) for n in counts] == [4, 4, 8, 20, 24]
    assert [meshes.full_rounds(n, None) for n in counts] == [1, 7, 8, 23, 24]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"unit": 1}, r"mesh \(axis\): 'unit' is not known; expected one of \['units', 'examples'"),
        ({"units": 0}, r"mesh \(size of units\): expected an integer of at least 1, got 0"),
        ({"examples": 1000}, r"mesh: {'examples': 1000} takes 1000 devices, there are \d+"),
    ],
)
def test_bad_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        mofn.make_mesh(sizes)


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        ({"units": 1}, "mesh: expected a jax.sharding.Mesh, got dict"),
        (Mesh(jax.devices()[:1], ("batch",)), r"mesh \(axis\): 'batch' is not known"),
    ],
)
def test_bad_meshes(mesh, message):
    with pytest.raises(ValueError, match=message):
        mofn.extract_layer(*mesh_job.layer("bits"), mesh=mesh)
    with pytest.raises(ValueError, match=message):
        mofn.best_thresholds(*mesh_job.layer("bits")[1:], mesh=mesh)


@jax.jit
def squares(tree, numbers, offset):
    return {"of tree": tree["a"] ** 2 + offset}, numbers.sum(1)


@pytest.mark.parametrize("cores", [1, 2, 3, None])
@pytest.mark.parametrize("total", [1, 4, 7])
def test_without_a_mesh_the_cores_divide_the_work(cores, total, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    a, numbers = np.arange(total), np.arange(3 * total).reshape(total, 3)
    threads = {}

    def noted(tree, numbers, offset):
        threads.setdefault(threading.get_ident(), []).append(len(numbers))
        time.sleep(0.05)  # so that no thread takes two shares
        return squares(tree, numbers, offset)

    with enable_x64(True):  # holds in every thread
        tree, sums = meshes.divide(noted, ({"a": a}, numbers), (5,), mesh=None)
    share = -(-total // (cores or 1))
    assert list(threads.values()) == [[share]] * -(-total // share)
    np.testing.assert_array_equal(tree["of tree"], a**2 + 5)
    np.testing.assert_array_equal(sums, numbers.sum(1))
    assert sums.dtype == np.int64


def test_work_on_units_in_pieces_that_fit():
    stages, done, pieces = [], [], []
    resources = meshes.Resources(
        memory_budget=30, progress=done.append, on_stage=lambda *stage: stages.append(stage)
    )

    def work(units):
        pieces.append(units.stop - units.start)
        return [f"unit {unit}" for unit in range(units.start, units.stop)]

    options = {"bytes_per_unit": 10, "resources": resources}
    found = meshes.each_unit(work, 7, stage="working", **options)
    assert list(found) == [f"unit {unit}" for unit in range(7)]
    assert len(set(pieces)) == 1
    assert max(pieces) <= max(3, meshes.cpu_count())
    assert sum(done) == 7
    assert (stages[0], stages[-1]) == (("working", 0, 7), ("working", 7, 7))
    assert list(meshes.each_unit(work, 0, **options)) == []


def test_the_next_units_are_prepared_while_work_is_on_these():
    last_prepared, num_units = threading.Event(), 2 * meshes.cpu_count()
    resources = meshes.Resources(memory_budget=10)

    def prepare(units):
        if units.stop == num_units:
            last_prepared.set()
        return units.start

    def work(units, prepared):
        assert prepared == units.start
        assert last_prepared.wait(10)  # though these are the first
        return range(units.start, units.stop)

    found = meshes.each_unit(
        work, num_units, bytes_per_unit=10, resources=resources, prepare=prepare
    )
    assert list(found) == [*range(num_units)]


def test_what_is_told_of_some_units_is_of_all():
    told = []
    resources = meshes.Resources(on_stage=lambda *stage: told.append(stage), progress=told.append)
    part = resources.for_units(slice(4, 8), 10, memory_budget=7)
    list(meshes.each_unit(lambda units: range(4), 4, bytes_per_unit=1, resources=part, stage="s"))
    assert told[0] == ("s", 4, 10)
    assert told[-1] == ("s", 8, 10)
    assert part.memory_budget == 7
    meshes.DEFAULT_RESOURCES.report("nobody listens", 0, 1)


def test_the_platform_is_that_of_the_default_device(monkeypatch):
    assert meshes.platform() == jax.default_backend()
    with jax.default_device(jax.devices("cpu")[0]):
        monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
        assert meshes.platform() == "cpu"
    assert meshes.platform() == "tpu"


@pytest.mark.parametrize("count", [0, 1, 5])
def test_side_by_side_in_order_with_the_settings_of_the_caller(count):
    threads = set()

    def square(number):
        threads.add(threading.get_ident())
        return jax.numpy.float64(number).dtype.name, number**2

    with enable_x64(True):
        found = meshes.side_by_side(square, range(count))
    assert found == [("float64", number**2) for number in range(count)]
    assert len(threads) <= 1 + meshes.cpu_count()


def test_a_share_that_fails_keeps_nobody_waiting():
    def fail(numbers):
        raise FloatingPointError("of no use")

    with pytest.raises(FloatingPointError, match="of no use"):
        meshes.divide(fail, (np.arange(4),), (), mesh=None)

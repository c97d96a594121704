"""Many devices, of one process or of several: a mesh, and who works on what.

A mesh has an axis `units` and an axis `examples`. Work on single columns or single units is divided
among all of its devices. Scores divide the units along `units` and the examples along `examples`,
and their counts are summed across devices. Counts are integers: the rules are the same, bit for
bit, on every mesh.

Several processes (`jax.distributed`) run the same program on the same arrays, and each of them gets
all the results.
"""

import itertools
import math
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from mofn_jax import checks
from mofn_jax.chunking import chunks, one_ahead, row_slices
from mofn_jax.compat import config, enable_x64

UNITS, EXAMPLES = AXES = ("units", "examples")
_AXIS_TYPES = (AxisType.Auto, AxisType.Auto)

# What a core of a CPU is given at once: smaller pieces are as fast, and let progress be seen.
_CORE_BYTES = 2**26

# Of each kernel and what it is compiled for; held by the thread that compiles it.
_compiling: defaultdict[Any, Lock] = defaultdict(Lock)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def platform() -> str:
    """Of the device that JAX works on here: "cpu", "gpu", "tpu".

    In a kernel that is compiled for another device, `jax.lax.platform_dependent` knows.
    """
    device = config.jax_default_device
    return jax.default_backend() if device is None else getattr(device, "platform", device)


class Resources(NamedTuple):
    """What work may use, and whom it tells how far it is; neither changes a result."""

    memory_budget: int = 2**29  # bytes of working memory
    mesh: Mesh | None = None  # devices, with both axes; None for the default one
    progress: Callable[[int], None] | None = None  # called with the number of units done since
    on_stage: Callable[[str, int, int], None] | None = None  # stage, how much is done, of how much
    held: Any = None  # the inputs on the device, a `held_inputs.HeldInputs`; None if they are not

    def report(self, stage: str, done: int, total: int) -> None:
        """Tells how much of a stage is done: units, or inputs."""
        if self.on_stage is not None:
            self.on_stage(stage, done, total)

    def quiet(self) -> "Resources":
        """The same, told nothing."""
        return self._replace(progress=None, on_stage=None)

    def for_units(self, units: slice, num_units: int, memory_budget: int) -> "Resources":
        """For stages of the work on some of the units: what they tell is of all of them."""

        def on_stage(stage: str, done: int, _: int) -> None:
            self.report(stage, units.start + done, num_units)

        return self._replace(memory_budget=memory_budget, progress=None, on_stage=on_stage)


DEFAULT_RESOURCES = Resources()


def each_unit(
    work: Callable[..., Iterable[_Result]],
    num_units: int,
    *,
    bytes_per_unit: int,
    resources: Resources,
    prepare: Callable[[slice], Any] | None = None,
    stage: str | None = None,
    axes: Sequence[str] = AXES,
    in_small_pieces: bool = True,
    one_by_one: bool = False,
) -> Iterator[_Result]:
    """What work makes of each unit, as many units at a time as the memory budget allows.

    Args:
      work: makes a result of each of some units, a slice, which it may divide among devices.
      num_units: u.
      bytes_per_unit: of working memory.
      resources: told of the units that are done.
      prepare: makes on the host what work takes beside the slice: of the next units, while it works
        on these, so that what both hold counts twice.
      stage: what it is told that they are at; None if the work tells.
      axes: of the mesh, those along which units are divided.
      in_small_pieces: whether a CPU gets no more units at a time than it works on in about a
        second, so that progress is seen.
      one_by_one: whether the work is on one unit at a time of a core, and long: then two for each.
    """
    done = 0
    if stage is not None:
        resources.report(stage, 0, num_units)
    at_once = resources.memory_budget // max(1, bytes_per_unit)
    if resources.mesh is None and platform() == "cpu":
        if in_small_pieces:
            at_once = min(at_once, cpu_count() * _CORE_BYTES // max(1, bytes_per_unit))
        if one_by_one:
            at_once = min(at_once, 2 * cpu_count())
        at_once = max(1, at_once // cpu_count()) * cpu_count()
    at_once = full_rounds(at_once, resources.mesh, axes)
    pieces: Iterable[tuple[Any, ...]] = ((units,) for units in chunks(num_units, at_once))
    if prepare is not None:
        pieces = one_ahead((units, prepare(units)) for (units,) in pieces)
    for units, *prepared in pieces:
        yield from itertools.islice(work(units, *prepared), done - units.start, None)
        if stage is not None:
            resources.report(stage, units.stop, num_units)
        if resources.progress is not None:
            resources.progress(units.stop - done)
        done = units.stop


def map_units(function: Callable, units: Any) -> Any:
    """A jitted kernel's function of every unit, along the first axis of a tree of arrays.

    A CPU does best with one unit at a time in its cache, other devices with all of them.
    """
    if platform() == "cpu":
        return jax.lax.map(function, units)
    return jax.vmap(function)(units)


def cpu_count() -> int:
    """The CPU's cores."""
    return os.cpu_count() or 1


def make_mesh(sizes: Mapping[str, int]) -> Mesh:
    """A mesh of this many devices along each axis.

    Args:
      sizes: by axis, "units" and "examples"; one left out has size 1.

    Raises:
      ValueError: not sizes by axis, another axis, a size below 1, or more devices than there are.

    Examples:
      >>> dict(make_mesh({"units": 1}).shape)
      {'units': 1, 'examples': 1}
    """
    if not isinstance(sizes, Mapping):
        raise ValueError(f"sizes: expected sizes by axis, such as {{'units': 4}}, got {sizes!r}")
    for axis, size in sizes.items():
        checks.known("mesh (axis)", axis, AXES)
        checks.at_least(f"mesh (size of {axis})", size, 1)
    shape = sizes.get(UNITS, 1), sizes.get(EXAMPLES, 1)
    if math.prod(shape) > jax.device_count():
        raise ValueError(
            f"mesh: {dict(sizes)} takes {math.prod(shape)} devices, there are {jax.device_count()}"
        )
    return jax.make_mesh(shape, AXES, axis_types=_AXIS_TYPES)


def with_both_axes(mesh: Mesh | None) -> Mesh | None:
    """The mesh with an axis of size 1 for one that is absent.

    Raises:
      ValueError: not a mesh, other axes, or of several processes but not of all.
    """
    if mesh is None:
        return None
    if not isinstance(mesh, Mesh):
        raise ValueError(f"mesh: expected a jax.sharding.Mesh, got {type(mesh).__name__}")
    for axis in mesh.axis_names:
        checks.known("mesh (axis)", axis, AXES)
    if _processes(mesh) not in ([jax.process_index()], list(range(jax.process_count()))):
        raise ValueError(
            f"mesh: expected devices of this process or of all {jax.process_count()}, got devices "
            f"of processes {_processes(mesh)}"
        )
    order = [mesh.axis_names.index(axis) for axis in AXES if axis in mesh.axis_names]
    shape = [mesh.shape.get(axis, 1) for axis in AXES]
    return Mesh(mesh.devices.transpose(order).reshape(shape), AXES, axis_types=_AXIS_TYPES)


def _processes(mesh: Mesh) -> list[int]:
    return sorted({device.process_index for device in mesh.devices.flat})


def check_same(mesh: Mesh | None, **arrays: np.ndarray | None) -> None:
    """Compares checksums of arrays, or None, that all processes must have.

    Raises:
      ValueError: naming the first array that is not the same in all processes.
    """
    if mesh is None or len(_processes(mesh)) == 1:
        return
    sums = multihost_utils.process_allgather(
        np.array([_checksum(array) for array in arrays.values()], np.uint32)
    )
    for name, differ in zip(arrays, (sums != sums[0]).any(0), strict=True):
        if differ:
            raise ValueError(f"{name}: expected the same array in all processes")


def _checksum(array: np.ndarray | None) -> int:
    if array is None:
        return 0
    total = zlib.crc32(repr((array.shape, array.dtype)).encode())
    for rows in row_slices(array):
        total = zlib.crc32(array[rows].tobytes(), total)
    return total


def own_devices(mesh: Mesh | None) -> Mesh | None:
    """The mesh of this process's devices alone."""
    if mesh is None:
        return None
    own = [d for d in mesh.devices.flat if d.process_index == jax.process_index()]
    return Mesh(np.reshape(own, (-1, 1)), AXES, axis_types=_AXIS_TYPES)


def full_rounds(count: int, mesh: Mesh | None, axes: Sequence[str] = AXES) -> int:
    """About `count` elements to work on at once: each device along these axes has equally many.

    At least one for each, however small the memory budget that `count` comes from.
    """
    devices = 1 if mesh is None else int(np.prod([mesh.shape[axis] for axis in axes]))
    return max(1, count // devices) * devices


def own_share(total: int, mesh: Mesh | None) -> slice:
    """Which of `total` elements this process works on."""
    shares = _shares(total, mesh)
    return shares[jax.process_index()] if len(shares) > 1 else shares[0]


def _shares(total: int, mesh: Mesh | None) -> list[slice]:
    """Of each process its share; all of one size, so that late ones may overlap."""
    count = 1 if mesh is None else len(_processes(mesh))
    size = -(-total // count)
    starts = [min(process * size, total - size) for process in range(count)]
    return [slice(start, start + size) for start in starts]


def fill_in(array: np.ndarray, mesh: Mesh | None) -> None:
    """Fills in what the other processes have in their shares of the rows of an array [., .]."""
    shares = _shares(len(array), mesh)
    if len(shares) > 1:
        # As bytes: JAX would make a float64 a float32.
        own = np.ascontiguousarray(array[own_share(len(array), mesh)]).view(np.uint8)
        for share, rows in zip(shares, multihost_utils.process_allgather(own), strict=True):
            array[share] = rows.view(array.dtype)


def place(
    shape: tuple[int, ...], part: Callable[[tuple[slice, ...]], np.ndarray], mesh: Mesh, *spec: Any
) -> jax.Array:
    """An array divided among devices; each process makes the smallest box that holds its devices'.

    Args:
      shape: of the whole array.
      part: makes what is inside a box, a slice for each axis.
      mesh: the devices.
      *spec: as of a `PartitionSpec`: of each axis the mesh axes that divide it.
    """
    sharding = NamedSharding(mesh, P(*spec))

    def bounds(index: Any) -> list[tuple[int, int]]:
        return [axis.indices(size)[:2] for axis, size in zip(index, shape, strict=True)]

    own = np.array([*map(bounds, sharding.addressable_devices_indices_map(shape).values())])
    starts, stops = own[:, :, 0].min(0).tolist(), own[:, :, 1].max(0).tolist()
    box = part(tuple(map(slice, starts, stops)))

    def piece(index: Any) -> np.ndarray:
        inside = zip(bounds(index), starts, strict=True)
        return box[tuple(slice(first - start, last - start) for (first, last), start in inside)]

    return jax.make_array_from_callback(shape, sharding, piece)


def place_whole(array: np.ndarray, mesh: Mesh, *spec: Any) -> jax.Array:
    """As `place`, of an array that every process has."""
    return place(array.shape, array.__getitem__, mesh, *spec)


def to_host(array: jax.Array) -> np.ndarray:
    """The whole of an array, on every process."""
    if not array.is_fully_addressable:
        return multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)


def divide(
    function: Callable,
    divided: Sequence[Any],
    shared: Sequence[Any],
    *,
    mesh: Mesh | None,
    one_by_one: bool = False,
    **options,
) -> Any:
    """`function(*divided, *shared, **options)`, its elements divided among all devices.

    Without a mesh, on a CPU, among its cores: XLA runs a loop over elements on one of them.

    Args:
      function: jitted, of the same object at each call; works on each element, along the first
        axis of the divided arguments and of its results, by itself.
      divided: trees of arrays [C, ...].
      shared: arrays that all elements need.
      mesh: the devices; None for the default one.
      one_by_one: whether a core is given one element at a time: what is compiled for one is good
        for any number of them.
      **options: static arguments.

    Returns:
      The function's results, on the host.
    """
    if mesh is None:
        return _among_cores(function, tuple(divided), shared, options, one_by_one)
    total = len(jax.tree.leaves(divided)[0])
    missing = -total % mesh.size

    def place_divided(array) -> jax.Array:  # padded with elements that are as good as any
        array = np.asarray(array)
        array = np.pad(array, ((0, missing), *[(0, 0)] * (array.ndim - 1)), mode="edge")
        return place_whole(array, mesh, AXES)

    found = _on_each_device(
        jax.tree.map(place_divided, tuple(divided)),
        tuple(place_whole(np.asarray(array), mesh) for array in shared),
        function=function,
        mesh=mesh,
        options=tuple(sorted(options.items())),
    )
    return jax.tree.map(lambda array: to_host(array)[:total], found)


def _among_cores(
    function: Callable,
    divided: tuple[Any, ...],
    shared: Sequence[Any],
    options: Mapping[str, Any],
    one_by_one: bool,
) -> Any:
    """As `divide`, on the default device; if that is a CPU, each core works on some elements."""
    total = len(jax.tree.leaves(divided)[0])
    cores = cpu_count() if platform() == "cpu" else 1
    size = 1 if one_by_one and platform() == "cpu" else -(-total // cores)
    shares = list(chunks(total, size))

    def run(share: slice) -> Any:
        arguments = (*jax.tree.map(lambda array: array[share], divided), *shared)
        shapes = [(np.shape(a), getattr(a, "dtype", type(a))) for a in jax.tree.leaves(arguments)]
        # Or several threads would compile the same; it returns before it is computed.
        with _compiling[function, *sorted(options.items()), *shapes]:
            found = function(*arguments, **options)
        return jax.tree.map(np.asarray, found)

    def join(*parts: np.ndarray) -> np.ndarray:
        whole = np.empty((total, *parts[0].shape[1:]), parts[0].dtype)
        for share, part in zip(shares, parts, strict=True):
            whole[share] = part
        return whole

    with ThreadPoolExecutor(cores) as pool:
        return jax.tree.map(join, *pool.map(as_here(run), shares))


def side_by_side(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """The function of each item, on a CPU as many at a time as it has cores.

    The first one is alone, so that what it compiles is not compiled by others at the same time.
    """
    first = [function(item) for item in items[:1]]
    workers = cpu_count() if platform() == "cpu" else 1
    with ThreadPoolExecutor(workers) as pool:
        return [*first, *pool.map(as_here(function), items[1:])]


def as_here(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """The function for other threads: what is set in this one for JAX holds in them too."""
    device, x64 = config.jax_default_device, config.jax_enable_x64

    def run(*arguments: Any) -> _Result:
        with jax.default_device(device), enable_x64(x64):
            return function(*arguments)

    return run


@partial(jax.jit, static_argnames=("function", "mesh", "options"))
def _on_each_device(divided, shared, *, function, mesh, options):
    # Partitioned by the compiler, a loop over a divided axis would run on all devices in full.
    return jax.shard_map(
        lambda divided, shared: function(*divided, *shared, **dict(options)),
        mesh=mesh,
        in_specs=(P(AXES), P()),
        out_specs=P(AXES),
        check_vma=False,  # it asks that the loops' first states be marked as varying
    )(divided, shared)

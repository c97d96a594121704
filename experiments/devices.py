"""Which devices, of which processes, a script works on.

    python -m experiments.devices

says which devices JAX has found here and, of an accelerator that it does not use, how to mend that.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils
from jax.sharding import Mesh

import mofn_jax as mofn
from experiments import command_line


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_list(
        "mesh",
        None,
        "How the work is divided among devices, as units:4,examples:2; one device by default.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "coordinator",
        None,
        "Where the first of several processes is, HOST:PORT; each of them runs this command.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_processes", None, "How many processes run this command.", 1, flag_values=values
    )
    flags.DEFINE_integer(
        "process_id", None, "Which of the processes this is, from 0.", 0, flag_values=values
    )


def start(options: flags.FlagValues) -> Mesh | None:
    """Joins the other processes, if there are any, and makes the mesh that the flags describe.

    Raises:
      flags.Error: several processes not described in full, or a mesh that is none.
    """
    sizes = None if options.mesh is None else _sizes(options.mesh)
    several = (options.coordinator, options.num_processes, options.process_id)
    if any(flag is not None for flag in several):
        if None in (*several, options.mesh):
            raise flags.Error(
                "several processes need --coordinator, --num_processes, --process_id and --mesh"
            )
        host, _, port = options.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise flags.Error(f"coordinator: expected HOST:PORT, got {options.coordinator!r}")
        jax.distributed.initialize(*several)
    if sizes is None:
        return None
    try:
        return mofn.make_mesh(sizes)
    except ValueError as error:
        raise flags.Error(str(error)) from error


def _sizes(words: Sequence[str]) -> dict[str, int]:
    """The size of each axis, from words such as units:4."""
    sizes: dict[str, int] = {}
    for word in words:
        axis, _, size = word.partition(":")
        if not size.isdecimal() or axis in sizes:
            raise flags.Error(f"mesh: expected the like of units:4,examples:2, got {word!r}")
        sizes[axis] = int(size)
    return sizes


def is_first_process() -> bool:
    """Whether this is the process that shows progress and writes files."""
    return jax.process_index() == 0


def of_first_process(tree: Any) -> Any:
    """The first process's arrays, on the host: the others' may differ in their last bits."""
    if jax.process_count() > 1:
        tree = multihost_utils.broadcast_one_to_all(tree)
    return jax.tree.map(np.asarray, tree)


def main(argv: Sequence[str]) -> None:
    command_line.parse(lambda values: None, argv, __doc__)
    print(mofn.describe_devices())


if __name__ == "__main__":
    command_line.run(main)

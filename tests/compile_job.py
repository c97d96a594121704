"""How often XLA compiles for a layer on a mesh of 4 devices, then for another of its shape."""

import jax

import mofn_jax as mofn
from tests import mesh_job


def main():
    mesh = mofn.make_mesh({"units": 2, "examples": 2})
    compiled = []

    def listen(event, duration, **_):
        if "compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    for seed in range(2):
        mesh_job.fronts(["bits", "all sets"], seed, mesh)
        print(len(compiled))
        compiled.clear()


if __name__ == "__main__":
    main()

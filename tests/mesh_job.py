"""Rules of some layers on meshes: what test_meshes.py runs in processes of its own.

    python -m tests.mesh_job '[[{"units": 4, "examples": 2}, ["bits"], "cpu"]]' \
        [COORDINATOR NUM_PROCESSES PROCESS_ID]

Prints a JSON line for each mesh: the fronts by case, found as on this platform. Several processes
print at last what is said of arrays that are not the same in each of them.
"""

import json
import sys
from unittest import mock

import jax
import numpy as np

import mofn_jax as mofn
from mofn_jax import meshes

LAYERS = {  # examples, inputs, units: they divide by no number of devices, nor do words of examples
    "bits": (203, 13, 5),
    "walk": (77, 515, 1),  # more literals than are scored by bits
    "all sets": (99, 6, 3),
    "best": (150, 20, 5),
}
OPTIONS = {
    "bits": {"search": "weight_order", "memory_budget": 2**17},
    "walk": {"search": "weight_order"},
    "all sets": {"search": "exact", "signs": "free"},
    "best": {"exact_literals": 2, "stepwise_literals": 8, "polish_literals": 4},
}


def layer(name, seed=0):
    rng = np.random.default_rng(seed)
    num_examples, num_inputs, num_units = LAYERS[name]
    inputs = np.maximum(rng.standard_normal((num_examples, num_inputs)), 0).round(2)
    inputs[:, 1] = 0.5
    weights = rng.standard_normal((num_inputs, num_units)).round(1)
    return weights, inputs, inputs @ weights >= np.median(inputs @ weights, axis=0)


def fronts(cases=LAYERS, seed=0, mesh=None):
    """Of each case, unit and candidate: M, errors, complexity and literals."""
    found = {}
    for name in cases:
        front = mofn.extract_layer(*layer(name, seed), mesh=mesh, **OPTIONS[name])
        found[name] = [
            [
                [c.m, c.errors, c.complexity, *(field.tolist() for field in c.literals[:3])]
                for c in unit
            ]
            for unit in front.units
        ]
    return found


def main(jobs, *several):
    if several:
        coordinator, num_processes, process_id = several
        jax.distributed.initialize(coordinator, int(num_processes), int(process_id))
    for sizes, cases, platform in json.loads(jobs):
        mesh = mofn.make_mesh(sizes)
        with mock.patch.object(meshes, "platform", return_value=platform):
            found = fronts(cases, mesh=mesh)
        # A line of its own: collectives print too.
        print(f"\n{json.dumps(found)}", flush=True)
    if several:
        try:
            fronts(["bits"], seed=int(process_id), mesh=mesh)
        except ValueError as error:
            print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])

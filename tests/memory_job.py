"""By how many bytes the peak memory of a process grows that finds rules in a memory map.

    python -m tests.memory_job FILE SEARCH MAX_LITERALS MEMORY_BUDGET

The peak is that of resident memory, pages of the map included, over that of a small layer.
"""

import resource
import sys

import numpy as np

import mofn_jax as mofn


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def extract(inputs, search, max_literals, memory_budget):
    rng = np.random.default_rng(0)
    mofn.extract_layer(
        rng.standard_normal((inputs.shape[1], 2)),
        inputs,
        rng.random((len(inputs), 2)) < 0.3,
        search=search,
        max_literals=max_literals,
        memory_budget=memory_budget,
    )


def main(file, search, max_literals, memory_budget):
    inputs = np.load(file, mmap_mode="r")
    options = search, int(max_literals), int(memory_budget)
    extract(np.array(inputs[:64, :600]), *options)
    before = peak_bytes()
    extract(inputs, *options)
    print(peak_bytes() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The rules that every search finds in a table of integers: golden.txt, unless they change.

    python -m tests.golden > tests/golden.txt

Every version of JAX, every device and every change of a kernel must find the same. Each line is a
candidate of a front: search, unit, M, errors, and its literals as input, sign and threshold.
"""

import numpy as np
from sklearn.datasets import load_digits

import mofn_jax as mofn

NUM_UNITS = 3


def lines():
    """A line for each candidate of each search."""
    inputs, digits = load_digits(return_X_y=True)
    targets = mofn.softmax_targets(digits, 10)[:, :NUM_UNITS]
    # Integers: how much larger an input is, on average, where the unit is on.
    on = targets.sum(0)
    weights = len(inputs) * (inputs.T @ targets) - inputs.sum(0)[:, None] * on
    for search in mofn.SEARCHES:
        front = mofn.extract_layer(weights, inputs, targets, search=search)
        for unit, candidates in enumerate(front.units):
            for m, literals, errors, _ in candidates:
                signed = np.where(literals.negated, "<", ">=")
                terms = map("x{}{}{:g}".format, literals.inputs, signed, literals.thresholds)
                yield f"{search} {unit} {m} {errors} {' '.join(terms)}"


if __name__ == "__main__":
    print(*lines(), sep="\n")

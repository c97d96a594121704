"""What a network's inputs and classes are called, and in which units they are shown.

Axis letters: n inputs, C channels, k classes.
"""

from typing import Any, NamedTuple

import numpy as np

from mofn_jax import checks


class Names(NamedTuple):
    """What a network's inputs and classes are called; those of a dataset are `Dataset.names`."""

    features: tuple[str, ...] | None = None  # [n], of a table's columns; of images [C]
    classes: tuple[str, ...] | None = None  # [k]
    # [n, 2]: a value v of feature i is shown as scaling[i, 0] + scaling[i, 1] * v.
    scaling: np.ndarray | None = None


def check_names(names: Names | None, given: Any, num_features: int) -> Names:
    """The names, if they fit the inputs; by default the columns of a data frame.

    Args:
      names: what inputs and classes are called.
      given: the inputs as they were given, such as a data frame.
      num_features: the size of their last axis.

    Raises:
      ValueError: names that are no text, or of another number than the inputs; scaling that is not
        finite, not above 0 or of another shape.
    """
    if names is None:
        columns = getattr(given, "columns", None)
        names = Names() if columns is None else Names(tuple(map(str, columns)))
    features, classes, scaling = checks.instance("names", names, Names)
    if features is not None:
        features = checks.texts("names.features", features)
        if len(features) != num_features:
            raise ValueError(f"names.features: {len(features)} names of {num_features} inputs")
    if classes is not None:
        classes = checks.texts("names.classes", classes)
    if scaling is not None:
        scaling = checks.matrix("names.scaling", scaling, [num_features, 2])
        if scaling[:, 1].min() <= 0:
            raise ValueError("names.scaling: expected scales above 0")
    return Names(features, classes, scaling)


def class_names(kind: str, num_units: int, names: Names) -> tuple[str, ...] | None:
    """The classes that the units of a softmax layer stand for, if they have names.

    Raises:
      ValueError: names of another number.
    """
    if kind != "softmax" or names.classes is None:
        return None
    if len(names.classes) != max(2, num_units):
        raise ValueError(
            f"names.classes: {len(names.classes)} names of {max(2, num_units)} classes"
        )
    return names.classes[-num_units:]  # one unit is the second of two classes

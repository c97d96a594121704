"""How sure an error is that was counted on examples which rules have not seen.

Axis letters: E examples, u units.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from mofn_jax import checks

CONFIDENCE = 0.95


def error_bound(
    errors: ArrayLike, num_examples: int, *, num_units: int = 1, confidence: float = CONFIDENCE
) -> np.ndarray:
    """What the error is at most, on all examples like those on which errors were counted.

    The one-sided bound of Clopper and Pearson (1934), the quantile `1 - (1 - confidence) / u` of
    Beta(errors + 1, E - errors): with this confidence it holds for u units at once. It holds only
    if nothing, such as a beta or a number of literals, was chosen by looking at these errors.

    Args:
      errors: integers, of rules on the same examples.
      num_examples: E, drawn independently of each other and of the rules.
      num_units: u, for how many rules it shall hold at once.
      confidence: between 0 and 1.

    Returns:
      float64 in 0..1, shaped as errors.

    Raises:
      ValueError: errors that are no integers in 0..E, or another argument out of range.

    Examples:
      >>> error_bound([0, 83, 100], 10_000).round(4).tolist()
      [0.0003, 0.01, 0.0118]
    """
    num_examples = checks.at_least("num_examples", num_examples, 1)
    num_units = checks.at_least("num_units", num_units, 1)
    confidence = checks.number("confidence", confidence, 0, 1)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}")
    errors = checks.on_host("errors", errors)
    if errors.dtype.kind not in "iu" or (errors < 0).any() or (errors > num_examples).any():
        raise ValueError(f"errors: expected integers in 0..{num_examples}")
    right = np.maximum(num_examples - errors, 1)  # of none the quantile is 1
    bound = betaincinv(errors + 1, right, 1 - (1 - confidence) / num_units)
    return np.where(errors == num_examples, 1.0, bound)

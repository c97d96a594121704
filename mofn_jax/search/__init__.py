"""Strategies that look for rules: each takes literals and targets and returns a RuleFront."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mofn_jax.fronts import RuleFront
from mofn_jax.literals import Literals
from mofn_jax.search import best, exact, stepwise, weight_order

_NOT_OPTIONS = {"max_literals", "resources", "bits"}


class Search(Protocol):
    """What finds rules: any function of these arguments, ours or a user's.

    It is called with the keywords `max_literals`, the largest N or None, and `resources`, the
    `Resources` that it may use and tells of each unit done, and with the options that the user
    gives. It takes the literals of u units in order, inputs [E, n] and boolean targets [E, u], and
    returns the front of every unit.
    """

    def __call__(
        self,
        literals: Sequence[Literals],
        inputs: np.ndarray,
        targets: np.ndarray,
        *args: Any,
        **kwargs: Any,
    ) -> RuleFront: ...


SEARCHES: dict[str, Search] = {
    "best": best.best,
    "weight_order": weight_order.weight_order,
    "exact": exact.exact,
    "stepwise": stepwise.stepwise,
}


def check_options(search: Callable[..., RuleFront], options: Mapping[str, Any]) -> None:
    """Asks that a search has options of these names.

    Raises:
      ValueError: naming an option that it does not have, and those that it has.
    """
    try:
        parameters = inspect.signature(search).parameters.values()
    except (TypeError, ValueError) as error:
        raise ValueError(f"search: expected a Search, got {search!r}") from error
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    if not {"max_literals", "resources"} <= {p.name for p in parameters}:
        raise ValueError(
            f"search: expected a Search, which takes max_literals and resources, got {search!r}"
        )
    known = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - _NOT_OPTIONS
    for name in options:
        if name not in known:
            raise ValueError(f"{name}: the search has no such option; it has {sorted(known)}")

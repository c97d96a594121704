"""What was found in a layer: its front, and the rules chosen from it.

Axis letters: E examples, P positions, u units.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mofn_jax import checks
from mofn_jax.display import html_table, percent
from mofn_jax.fronts import RuleFront
from mofn_jax.layers import Layer
from mofn_jax.measures import evaluate_rules, mean_measures, measure_held_out
from mofn_jax.rules import Rule, Rules, select_rules
from mofn_jax.sites import (
    Batches,
    layer_targets,
    look_at_held_out,
    name_rules,
    runs_of_units,
    unit_inputs,
)


class Look(NamedTuple):
    """How a layer was looked at: what it takes to name rules about its units and measure them."""

    layer: Layer  # without examples
    places: np.ndarray | None  # of each unit its position, if it is explained at one
    thresholds: np.ndarray  # of the units' activations
    held_out: Batches | None  # read again where it is needed: it may be large
    positions: str
    seed: int

    def finished(
        self, choices: Sequence[Sequence[Rule]], held_out: Layer | None
    ) -> list[tuple[Rule, ...]]:
        """The rules of each choice with names and, on these examples, held-out errors."""
        named = [name_rules(rules, self.layer, self.places, self.thresholds) for rules in choices]
        if held_out is None:
            return named
        return measure_layer(named, held_out, self.places, self.thresholds)


class LayerRules(NamedTuple):
    """What was found in one layer."""

    name: str
    kind: str  # "dense", "conv" or "softmax"
    thresholds: np.ndarray  # [u], of the units' activations; NaN for a constant or softmax unit
    constant_units: int  # units that are always or never on
    front: RuleFront
    rules: dict[float, tuple[Rule, ...]]  # by beta, one rule for each unit
    by_length: dict[int, tuple[Rule, ...]]  # likewise, by the most literals
    note: str = ""  # what to know of where the layer ends, see `Layer`
    # Of a softmax layer, by beta or the most literals, the other one None: the share of examples,
    # held out if there are any, on which no class's rule says on, and on which several do.
    undecided: Mapping[tuple[float | None, int | None], tuple[float, float]] | None = None
    look: Look | None = None  # None: rules are those of the betas and lengths that were asked for

    @property
    def choices(self) -> tuple[tuple[Rule, ...], ...]:
        """The rules of each beta, then those of each length."""
        return (*self.rules.values(), *self.by_length.values())

    def __repr__(self) -> str:
        """What the rules of each beta and length amount to, a line for each."""
        lines = [
            f"{choice}: error {error}, {f'held-out error {held_out}, ' * bool(held_out)}"
            f"{literals} literals"
            for choice, error, held_out, literals in self._described()
        ]
        return "\n  ".join([self._about(), *lines])

    def _repr_html_(self) -> str:
        """A table for a notebook."""
        heads = ["rules", "error", "held-out error", "literals"]
        return html_table(self._about(), heads, self._described())

    def _about(self) -> str:
        constant = f", {self.constant_units} constant" * bool(self.constant_units)
        return (
            f"LayerRules({self.name}: {self.kind}, {self.front.num_inputs} inputs, "
            f"{len(self.front.units)} units{constant})"
        )

    def _described(self) -> list[tuple[str, str, str, str]]:
        """Of each beta and length what the rules amount to, as text."""
        named = [(f"beta {beta:g}", rules) for beta, rules in self.rules.items()]
        named += [(f"at most {n} literals", rules) for n, rules in self.by_length.items()]
        return [
            (
                name,
                percent(means["error"]),
                percent(means["held_out_error"]),
                f"{means['literals']:.1f}",
            )
            for name, rules in named
            for means in [mean_measures(rules)]
        ]

    def at(self, *, beta: float | None = None, max_literals: int | None = None) -> tuple[Rule, ...]:
        """The rules chosen at a beta, or by a number of literals.

        Of one that was not asked for before, they come from the front, without another search, and
        are measured on the held-out examples, on which the layer is captured once more.

        Raises:
          ValueError: not one of the two, or out of range.
        """
        if (beta is None) == (max_literals is None):
            raise ValueError("beta: expected either beta or max_literals")
        if beta is not None:
            beta = checks.non_negative("beta", beta)
            if beta in self.rules or self.look is None:
                return self.rules[checks.known("beta", beta, self.rules)]
        else:
            max_literals = checks.at_least("max_literals", max_literals, 1)
            if max_literals in self.by_length or self.look is None:
                return self.by_length[checks.known("max_literals", max_literals, self.by_length)]
        look, other = self.look, None
        if look.held_out is not None:
            other = look_at_held_out(look.held_out, look.positions, look.seed)
        rules = select_rules(self.front, beta, max_literals=max_literals)
        return look.finished([rules], other)[0]


def measure_layer(
    choices: Sequence[Sequence[Rule]],
    layer: Layer,
    positions: np.ndarray | None,
    thresholds: np.ndarray,
) -> list[tuple[Rule, ...]]:
    """The rules of each choice with their errors on the layer's examples as held-out errors."""
    targets, _ = layer_targets(layer, positions, thresholds)
    num_units = targets.shape[1]
    measured: list[tuple[Rule, ...]] = [()] * len(choices)
    for units in runs_of_units(layer, positions):
        inputs = unit_inputs(layer, positions, units)
        for i, rules in enumerate(choices):
            measured[i] += measure_held_out(
                rules[units], inputs, targets[:, units], num_units=num_units
            )
    return list(map(Rules, measured))


def undecided_shares(
    choices: Sequence[Sequence[Rule]], layer: Layer, positions: np.ndarray | None
) -> list[tuple[float, float]]:
    """On which share of a layer's examples none of the rules of a choice says on, or several do."""
    counts = np.zeros((len(choices), len(layer.inputs)), int)
    for units in runs_of_units(layer, positions):
        inputs = unit_inputs(layer, positions, units)
        for count, rules in zip(counts, choices, strict=True):
            count += evaluate_rules(rules[units], inputs).sum(1)
    return [(float((count == 0).mean()), float((count > 1).mean())) for count in counts]

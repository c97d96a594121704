"""Why rules say what they say of one example: each literal's value, and what would turn the answer.

Axis letters: n inputs.
"""

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import ArrayLike

from mofn_jax import checks
from mofn_jax.rules import Literal, Rule, check_rules, inputs_needed, named_literals, unit_of


class CheckedLiteral(NamedTuple):
    """A literal on an example."""

    literal: Literal
    value: float  # of its input, in the units in which it is shown
    holds: bool

    def __str__(self) -> str:
        return f"{self.literal}: it is {self.value:.4g}"


class CheckedRule(NamedTuple):
    """A rule on an example."""

    rule: Rule
    literals: tuple[CheckedLiteral, ...]

    @property
    def num_holding(self) -> int:
        """How many literals hold."""
        return sum(literal.holds for literal in self.literals)

    @property
    def says(self) -> bool:
        """Whether the rule says that the unit is on."""
        return self.num_holding >= self.rule.m

    @property
    def to_turn(self) -> int | None:
        """The fewest literals that would have to turn for the answer to; None if it never does."""
        if not 0 < self.rule.m <= len(self.literals):
            return None
        return abs(self.num_holding - self.rule.m) + self.says

    def __str__(self) -> str:
        """Whether it says on or off and why, and a line for each literal, those that hold first."""
        lines = [f"{unit_of(self.rule)}: {self._verdict()}"]
        ordered = sorted(self.literals, key=lambda literal: not literal.holds)
        lines += [f"  {'holds' if one.holds else 'fails'}  {one}" for one in ordered]
        return "\n".join(lines)

    def _verdict(self) -> str:
        text = "on" if self.says else "off"
        if self.to_turn is None:
            return f"{text}, always"
        turned = f"{self.to_turn} of those failed" if self.says else f"{self.to_turn} more held"
        return (
            f"{text}, {self.num_holding} of {len(self.literals)} hold, {self.rule.m} needed; it "
            f"would turn if {turned}"
        )


class ExampleExplanation(NamedTuple):
    """Rules on an example."""

    rules: tuple[CheckedRule, ...]

    @property
    def saying_on(self) -> tuple[CheckedRule, ...]:
        """Those that say on; of a softmax layer, the classes that the rules allow."""
        return tuple(one for one in self.rules if one.says)

    def __str__(self) -> str:
        return "\n".join([self._together(), *map(str, self.rules)])

    def _together(self) -> str:
        on = ", ".join(unit_of(one.rule) for one in self.saying_on)
        return f"{len(self.saying_on)} of {len(self.rules)} rules say on{': ' * bool(on)}{on}"

    def _repr_html_(self) -> str:
        """A table for a notebook."""
        rows = ["<tr><th>unit</th><th>says</th><th>literal</th><th>value</th><th>holds</th></tr>"]
        for one in self.rules:
            about = (unit_of(one.rule), one._verdict())
            span = f' rowspan="{max(1, len(one.literals))}"'
            heads = "".join(f"<td{span}>{html.escape(text)}</td>" for text in about)
            cells = [
                f"<td>{html.escape(str(c.literal))}</td><td>{c.value:.4g}</td>"
                f"<td>{'yes' if c.holds else 'no'}</td>"
                for c in one.literals
            ] or ["<td></td>" * 3]
            rows += [f"<tr>{heads}{cells[0]}</tr>", *(f"<tr>{cell}</tr>" for cell in cells[1:])]
        return f"<p>{html.escape(self._together())}</p><table>{''.join(rows)}</table>"


def explain_example(rules: Sequence[Rule], inputs: ArrayLike) -> ExampleExplanation:
    """Why rules say what they say of one example.

    Of a softmax layer, each rule is about one class and knows nothing of the others: on some
    examples several say on, or none does. Then they leave open what the network says;
    `answer_from_rules` makes one answer of how many literals of each hold.

    Args:
      rules: over the same inputs.
      inputs: [n] real numbers, of one example, in the network's units.

    Raises:
      ValueError: inputs not finite, or fewer than the rules name; rules that are none.

    Examples:
      >>> literals = (Literal(2, 0.5, False, name="age"), Literal(0, 0.1, True))
      >>> print(explain_example([Rule(3, 2, literals, 0.008, 0.1, 0.1)], [0.2, 0, 0.7]))
      0 of 1 rules say on
      unit 3: off, 1 of 2 hold, 2 needed; it would turn if 1 more held
        holds  age >= 0.5: it is 0.7
        fails  x0 < 0.1: it is 0.2
    """
    rules = check_rules(rules)
    inputs = checks.matrix("inputs", inputs, [None])
    if len(inputs) < inputs_needed(rules):
        raise ValueError(
            f"inputs: the rules need at least {inputs_needed(rules)}, got {len(inputs)}"
        )
    return ExampleExplanation(
        tuple(
            CheckedRule(
                rule,
                tuple(_checked(literal, inputs[literal.input]) for literal in named_literals(rule)),
            )
            for rule in rules
        )
    )


def _checked(literal: Literal, value: Any) -> CheckedLiteral:
    holds = bool((value >= literal.threshold) != literal.negated)
    return CheckedLiteral(literal, literal.shown(float(value)), holds)

"""Rules a person can read: chosen from a front, checked, printed.

Axis letters: E examples, n inputs, u units.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, SupportsIndex, overload

import numpy as np

from mofn_jax import checks
from mofn_jax.display import MOST_LINES, html_table, percent
from mofn_jax.fronts import RuleFront, select

_MOST_SHOWN = 6  # literals of a rule in a terminal


class Literal(NamedTuple):
    """An input against a threshold: `X >= threshold`, or `X < threshold` if negated."""

    input: int
    threshold: float
    negated: bool
    name: str | None = None  # of the input, see `Layer.input_names`; None: x17
    # A value v of the input, and the threshold, are shown as offset + scale * v.
    offset: float = 0.0
    scale: float = 1.0

    def shown(self, value: float) -> float:
        """A value of the input in the units that its users know."""
        return self.offset + self.scale * value

    def __str__(self) -> str:
        name = f"x{self.input}" if self.name is None else self.name
        return f"{name} {'<' if self.negated else '>='} {self.shown(self.threshold):.4g}"


def named(literal: Literal, name: str, scaling: np.ndarray | None) -> Literal:
    """The literal with the name of its input, and of that offset and scale, [2]."""
    offset, scale = (0.0, 1.0) if scaling is None else scaling.tolist()
    return literal._replace(name=name, offset=offset, scale=scale)


def name_input(
    i: int, first: int, window: Sequence[int] | None, names: Sequence[str] | None
) -> tuple[str, int]:
    """What an input of a unit is called, and which of its layer's inputs or channels it is.

    One of a convolution is named by its channel and how far it is from the centre of the patch:
    `conv_0[3][-1, +2]`, or without names `c3[-1, +2]`, is one row above and two columns right.

    Args:
      i: among those that the unit reads.
      first: of its layer's inputs or channels, the first that the unit reads.
      window: of a convolution [*K, C]; None of others.
      names: of the layer's inputs or channels, if they have any.
    """
    if window is None:
        i += first
        return f"x{i}" if names is None else names[i], i
    *place, channel = np.unravel_index(i, window)
    i = first + int(channel)
    centre = ((size - 1) // 2 for size in window)
    apart = (f"{index - middle:+d}" for index, middle in zip(place, centre, strict=False))
    return f"{f'c{i}' if names is None else names[i]}[{', '.join(apart)}]", i


class Rule(NamedTuple):
    """The unit is on when at least m of the literals hold."""

    unit: int
    m: int
    literals: tuple[Literal, ...]
    error: float  # share of the examples it was found on where rule and unit differ
    complexity: float  # 0..1, see `complexity`
    baseline_error: float  # error of the better constant rule on the same examples
    held_out_error: float | None = None  # the same two on other examples
    held_out_baseline_error: float | None = None
    beta: float | None = None  # the price of complexity it was chosen at
    max_literals: int | None = None  # the most literals it was allowed when it was chosen
    layer: str = ""
    unit_threshold: float | None = None  # "on" means an activation of at least this; None: softmax
    position: tuple[int, ...] | None = None  # where the unit is explained; of images row and column
    every_position: bool = False  # whether it is explained at every position of its layer
    kernel_shape: tuple[int, ...] | None = None  # of a convolution: rows, columns, channels
    unit_name: str = ""  # such as the class that a softmax unit stands for
    # What the held-out error is at most, for all units of the layer at once, see `error_bound`.
    held_out_bound: float | None = None

    @property
    def skill(self) -> float:
        """1 - error / baseline error; NaN where the constant rule is always right."""
        return skill(self.error, self.baseline_error)

    @property
    def held_out_skill(self) -> float | None:
        """The skill on the held-out examples, None where there are none."""
        if self.held_out_error is None or self.held_out_baseline_error is None:
            return None
        return skill(self.held_out_error, self.held_out_baseline_error)

    def __str__(self) -> str:
        return format_rule(self)

    def __repr__(self) -> str:
        """The rule on a line, of its literals the first few."""
        held_out = self.held_out_error
        measured = "" if held_out is None else f", held-out error {held_out:.1%}"
        return f"Rule({unit_of(self)} <=> {_short_body(self)}, error {self.error:.1%}{measured})"

    def _repr_html_(self) -> str:
        return Rules([self])._repr_html_()


class Rules(tuple[Rule, ...]):
    """Rules, such as those of a layer's units: a tuple that shows itself shortly."""

    __slots__ = ()

    @overload
    def __getitem__(self, which: SupportsIndex) -> Rule: ...

    @overload
    def __getitem__(self, which: slice) -> "Rules": ...

    def __getitem__(self, which: SupportsIndex | slice) -> "Rule | Rules":
        if isinstance(which, slice):
            return Rules(super().__getitem__(which))
        return super().__getitem__(which)

    def __repr__(self) -> str:
        lines = [f"{rule!r}" for rule in self[:MOST_LINES]]
        if len(self) > MOST_LINES:
            lines.append(f"... {len(self) - MOST_LINES} more")
        return "\n".join([f"{len(self)} rules", *lines])

    def _repr_html_(self) -> str:
        """A table for a notebook."""
        heads = [
            "unit",
            "rule",
            "error",
            "held-out error",
            "at most",
            "constant rule",
            "complexity",
        ]
        rows = [
            [
                unit_of(rule),
                format_body(rule),
                *map(percent, errors_of(rule)),
                f"{rule.complexity:.3f}",
            ]
            for rule in self
        ]
        return html_table(f"{len(self)} rules", heads, rows)


def errors_of(rule: Rule) -> tuple[float | None, ...]:
    """Error, held-out error, its bound, and the constant rule's error, held out if there is one."""
    held_out = rule.held_out_baseline_error
    baseline = rule.baseline_error if held_out is None else held_out
    return rule.error, rule.held_out_error, rule.held_out_bound, baseline


def skill(error: float, baseline_error: float) -> float:
    """1 - error / baseline error; NaN where that is 0 and there is nothing to explain."""
    return 1 - error / baseline_error if baseline_error else float("nan")


def select_rules(
    front: RuleFront,
    beta: float | None = None,
    *,
    max_literals: int | None = None,
    max_complexity: float | None = None,
) -> tuple[Rule, ...]:
    """Of each unit, the rule of least error or, with a beta, of least `error + beta * complexity`.

    The arguments, ties and errors are those of `select`, which returns candidates.

    Examples:
      >>> from mofn_jax.fronts import Candidate
      >>> from mofn_jax.literals import Literals
      >>> literals = Literals(np.array([0, 1]), np.array([0.5, 2.0]), np.array([False, True]))
      >>> candidates = Candidate(1, literals.first(1), 2, 0.0), Candidate(2, literals, 1, 0.4)
      >>> front = RuleFront((candidates,), np.array([5]), num_examples=10, num_inputs=3)
      >>> print(select_rules(front, max_literals=1)[0])
      unit 0 <=> 1 of {x0 >= 0.5}   (error 20.0%, baseline 50.0%, complexity 0.000)
    """
    chosen = select(front, beta, max_literals=max_literals, max_complexity=max_complexity)
    return Rules(
        Rule(
            unit=unit,
            m=candidate.m,
            literals=tuple(
                Literal(int(i), float(threshold), bool(negated))
                for i, threshold, negated in zip(*candidate.literals[:3], strict=True)
            ),
            error=candidate.errors / front.num_examples,
            complexity=candidate.complexity,
            baseline_error=min(on, front.num_examples - on) / front.num_examples,
            beta=None if beta is None else float(beta),
            max_literals=max_literals,
        )
        for unit, (candidate, on) in enumerate(zip(chosen, front.on_counts.tolist(), strict=True))
    )


def inputs_needed(rules: Sequence[Rule]) -> int:
    """How many inputs there must be for the literals of the rules to name some of them."""
    return 1 + max((literal.input for rule in rules for literal in rule.literals), default=-1)


def format_rule(rule: Rule, input_names: Sequence[str] | None = None) -> str:
    """The rule on one line.

    Args:
      rule: the rule.
      input_names: [n] names to use for the inputs, instead of those that its literals have.

    Raises:
      ValueError: not a rule, or fewer names than it needs.

    Examples:
      >>> literals = (Literal(17, 0.53, False), Literal(4, 0.1, True, name="age"))
      >>> print(format_rule(Rule(3, 1, literals, 0.008, 0.1, 0.1)))
      unit 3 <=> 1 of {x17 >= 0.53, age < 0.1}   (error 0.8%, baseline 10.0%, complexity 0.100)
    """
    rule = _checked("rule", rule)
    measures = f"error {rule.error:.1%}, baseline {rule.baseline_error:.1%}, "
    if rule.held_out_error is not None and rule.held_out_baseline_error is not None:
        bound = rule.held_out_bound
        at_most = "" if bound is None else f" (at most {bound:.1%})"
        measures += f"held-out error {rule.held_out_error:.1%}{at_most}, "
        measures += f"held-out baseline {rule.held_out_baseline_error:.1%}, "
    what = f"{unit_of(rule)} <=> {format_body(rule, input_names)}"
    return f"{what}   ({measures}complexity {rule.complexity:.3f})"


def unit_of(rule: Rule) -> str:
    """Which unit the rule is about, from where on it counts as on, and where it is looked at."""
    text = f"{rule.layer} " if rule.layer else ""
    text += f"class {rule.unit_name}" if rule.unit_name else f"unit {rule.unit}"
    if rule.unit_threshold is not None:
        text += f" >= {rule.unit_threshold:.4g}"
    if rule.every_position:
        text += " at every position"
    elif rule.position is not None and len(rule.position) == 2:
        text += f" at row {rule.position[0]}, column {rule.position[1]}"
    elif rule.position is not None:
        text += f" at position {', '.join(map(str, rule.position))}"
    return text


def format_body(rule: Rule, input_names: Sequence[str] | None = None) -> str:
    """What the rule asks for: "2 of {x3 >= 1, x5 < 0}", "true" or "false"."""
    if rule.m == 0:
        return "true"
    if rule.m > len(rule.literals):
        return "false"
    return f"{rule.m} of {{{', '.join(format_literals(rule, input_names))}}}"


def _short_body(rule: Rule) -> str:
    more = len(rule.literals) - _MOST_SHOWN
    if more < 2:
        return format_body(rule)
    # The needed number is that of all of them.
    shown = ", ".join(format_literals(rule._replace(literals=rule.literals[:_MOST_SHOWN], m=0)))
    return f"{rule.m} of {{{shown}, ... {more} more}}"


def format_literals(rule: Rule, input_names: Sequence[str] | None = None) -> list[str]:
    """The text of each of the rule's literals, as `format_rule` has them.

    Raises:
      ValueError: not a rule, or fewer names than it needs.

    Examples:
      >>> format_literals(Rule(3, 1, (Literal(4, 0.1, True),), 0.008, 0.1, 0.1))
      ['x4 < 0.1']
    """
    return list(map(str, named_literals(rule, input_names)))


def named_literals(rule: Rule, input_names: Sequence[str] | None = None) -> list[Literal]:
    """The rule's literals, all of them with names. The arguments and errors are those above."""
    rule = _checked("rule", rule)
    if input_names is not None:
        names = checks.texts("input_names", input_names)
        if len(names) < inputs_needed([rule]):
            raise ValueError(
                f"input_names: the rule needs at least {inputs_needed([rule])}, got {len(names)}"
            )
        return [literal._replace(name=names[literal.input]) for literal in rule.literals]
    return [
        literal._replace(name=name_input(literal.input, 0, rule.kernel_shape, None)[0])
        if literal.name is None
        else literal
        for literal in rule.literals
    ]


def check_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules, their fields of the kinds and within the limits that `Rule` gives them.

    Raises:
      ValueError: naming the first field that is not.
    """
    return Rules(
        _checked(f"rules[{i}]", rule) for i, rule in enumerate(checks.sequence("rules", rules))
    )


def _checked(name: str, rule: Rule) -> Rule:
    checks.instance(name, rule, Rule)
    literals = tuple(
        literal if _is_plain(literal) else _checked_literal(f"{name}.literals[{i}]", literal)
        for i, literal in enumerate(checks.sequence(f"{name}.literals", rule.literals))
    )
    rule = rule._replace(
        unit=checks.at_least(f"{name}.unit", rule.unit, 0),
        m=checks.at_least(f"{name}.m", rule.m, 0, largest=len(literals) + 1),
        literals=literals,
        error=_number(f"{name}.error", rule.error, 0, 1),
        complexity=_number(f"{name}.complexity", rule.complexity, 0, 1),
        baseline_error=_number(f"{name}.baseline_error", rule.baseline_error, 0, 0.5),
        layer=checks.text(f"{name}.layer", rule.layer),
        unit_name=checks.text(f"{name}.unit_name", rule.unit_name),
        every_position=_truth(f"{name}.every_position", rule.every_position),
        **{
            field: check(f"{name}.{field}", value)
            for field, check in _OPTIONAL.items()
            if (value := getattr(rule, field)) is not None
        },
    )
    if rule.max_literals is not None and len(literals) > rule.max_literals:
        raise ValueError(f"{name}.max_literals: {rule.max_literals}, but {len(literals)} literals")
    needed = inputs_needed([rule])
    if rule.kernel_shape is not None and needed > math.prod(rule.kernel_shape):
        raise ValueError(f"{name}.kernel_shape: has no input {needed - 1}, which a literal names")
    return rule


def _is_plain(literal: Literal) -> bool:
    """Whether there is nothing to check or change: a rule may have thousands of literals."""
    return (
        type(literal) is Literal
        and type(literal.input) is int
        and type(literal.threshold) is float
        and type(literal.negated) is bool
        and (literal.name is None or (type(literal.name) is str and literal.name.isascii()))
        and type(literal.offset) is type(literal.scale) is float
        and literal.input >= 0
        and literal.scale > 0
        and math.isfinite(literal.threshold + literal.offset + literal.scale)
    )


def _checked_literal(name: str, literal: Literal) -> Literal:
    checks.instance(name, literal, Literal)
    return Literal(
        checks.at_least(f"{name}.input", literal.input, 0),
        _number(f"{name}.threshold", literal.threshold),
        _truth(f"{name}.negated", literal.negated),
        None if literal.name is None else checks.text(f"{name}.name", literal.name),
        _number(f"{name}.offset", literal.offset),
        _above_0(f"{name}.scale", literal.scale),
    )


def _truth(name: str, value: Any) -> bool:
    return checks.instance(name, bool(value) if isinstance(value, np.bool) else value, bool)


def _number(name: str, value: Any, *limits: float) -> float:
    return float(checks.number(name, value, *limits))


def _above_0(name: str, value: Any) -> float:
    value = _number(name, value, 0)
    if value == 0:
        raise ValueError(f"{name}: expected a number above 0")
    return value


def _integers(name: str, values: Any, smallest: int) -> tuple[int, ...]:
    integers = [
        checks.at_least(name, value, smallest, largest=2**31)
        for value in checks.sequence(name, values)
    ]
    if not integers or math.prod(integers) > 2**62:
        raise ValueError(f"{name}: expected a few integers, got {integers}")
    return tuple(integers)


# Of the fields that may be None.
_OPTIONAL: dict[str, Callable[[str, Any], Any]] = {
    "held_out_error": lambda name, value: _number(name, value, 0, 1),
    "held_out_baseline_error": lambda name, value: _number(name, value, 0, 0.5),
    "held_out_bound": lambda name, value: _number(name, value, 0, 1),
    "beta": lambda name, value: _number(name, value, 0),
    "max_literals": lambda name, value: checks.at_least(name, value, 1),
    "unit_threshold": _number,
    "position": lambda name, value: _integers(name, value, 0),
    "kernel_shape": lambda name, value: _integers(name, value, 1),
}

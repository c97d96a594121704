"""Rules a person can read: chosen from a front, evaluated, measured, printed.

Axis letters: E examples, n inputs, u units.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from mofn_jax import checks
from mofn_jax.chunking import row_slices
from mofn_jax.fronts import RuleFront, select

_SLICE_BYTES = 2**26  # of inputs evaluated at a time


class Literal(NamedTuple):
    """An input against a threshold: `X >= threshold`, or `X < threshold` if negated."""

    input: int
    threshold: float
    negated: bool


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
    first_input: int = 0  # of its layer's inputs or channels, the first that the unit reads
    input_names: tuple[str, ...] | None = None  # of what the unit reads

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

    Example:
      >>> from mofn_jax.fronts import Candidate
      >>> from mofn_jax.literals import Literals
      >>> literals = Literals(np.array([0, 1]), np.array([0.5, 2.0]), np.array([False, True]))
      >>> candidates = Candidate(1, literals.first(1), 2, 0.0), Candidate(2, literals, 1, 0.4)
      >>> front = RuleFront((candidates,), np.array([5]), num_examples=10, num_inputs=3)
      >>> print(select_rules(front, max_literals=1)[0])
      unit 0 <=> 1 of {x0 >= 0.5}   (error 20.0%, baseline 50.0%, complexity 0.000)
    """
    chosen = select(front, beta, max_literals=max_literals, max_complexity=max_complexity)
    return tuple(
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


def evaluate_rules(rules: Sequence[Rule], inputs) -> np.ndarray:
    """What the rules say of each example.

    Args:
      rules: u rules over the same inputs.
      inputs: [E, n] real numbers; a literal compares in their own precision.

    Returns:
      [E, u] booleans.

    Raises:
      ValueError: inputs not finite, or fewer than the rules name; rules that are none.
    """
    rules = check_rules(rules)
    return _counts(rules, inputs) >= np.array([rule.m for rule in rules])


def count_literals(rules: Sequence[Rule], inputs) -> np.ndarray:
    """How many literals of each rule hold on each example.

    Args:
      rules: u rules over the same inputs.
      inputs: [E, n] real numbers; a literal compares in their own precision.

    Returns:
      [E, u] int32.

    Raises:
      ValueError: inputs not finite, or fewer than the rules name; rules that are none.
    """
    return _counts(check_rules(rules), inputs)


def _counts(rules: Sequence[Rule], inputs) -> np.ndarray:
    inputs = inputs_of_rules(rules, inputs)
    counts = np.zeros((len(inputs), len(rules)), np.int32)
    for rows in row_slices(inputs, _SLICE_BYTES):
        # Columns in one piece: rules may have thousands of literals, and each reads one.
        columns = np.ascontiguousarray(inputs[rows].T)
        for rule, count in zip(rules, counts[rows].T, strict=True):
            for literal in rule.literals:
                count += (columns[literal.input] >= literal.threshold) != literal.negated
    return counts


def inputs_of_rules(rules: Sequence[Rule], inputs) -> np.ndarray:
    """The inputs [E, n] on the host.

    Raises:
      ValueError: inputs not finite, or fewer than the rules name.
    """
    inputs = checks.matrix("inputs", inputs, [None, None])
    needed = inputs_needed(rules)
    if inputs.shape[1] < needed:
        raise ValueError(f"inputs: the rules need at least {needed} columns, got {inputs.shape[1]}")
    return inputs


def inputs_needed(rules: Sequence[Rule]) -> int:
    """How many inputs there must be for the literals of the rules to name some of them."""
    return 1 + max((literal.input for rule in rules for literal in rule.literals), default=-1)


def measure_held_out(rules: Sequence[Rule], inputs, targets) -> tuple[Rule, ...]:
    """The rules, with their error and baseline error on other examples.

    Args:
      rules: u rules over the same inputs.
      inputs: [E, n] real numbers.
      targets: [E, u] booleans, whether each unit is on.

    Returns:
      u rules.

    Raises:
      ValueError: shapes disagree, inputs not finite, targets not boolean, rules that are none.
    """
    rules = check_rules(rules)
    says = evaluate_rules(rules, inputs)
    targets = checks.booleans("targets", targets, says.shape)
    errors = (says != targets).mean(0).tolist()
    on = targets.sum(0)
    baselines = (np.minimum(on, len(targets) - on) / len(targets)).tolist()
    return tuple(
        rule._replace(held_out_error=error, held_out_baseline_error=baseline)
        for rule, error, baseline in zip(rules, errors, baselines, strict=True)
    )


def format_rule(rule: Rule, input_names: Sequence[str] | None = None) -> str:
    """The rule on one line.

    Args:
      rule: the rule.
      input_names: [n] names to use for the inputs. Without them input 17 is `x17`, and input of a
        convolution `c3[-1,+2]`: channel 3, one row above and two columns right of the centre of
        the patch.

    Raises:
      ValueError: not a rule, or fewer names than it needs.

    Example:
      >>> literals = (Literal(17, 0.53, False), Literal(4, 0.1, True))
      >>> print(format_rule(Rule(3, 1, literals, 0.008, 0.1, 0.1), input_names=None))
      unit 3 <=> 1 of {x17 >= 0.53, x4 < 0.1}   (error 0.8%, baseline 10.0%, complexity 0.100)
    """
    rule = _checked("rule", rule)
    if rule.m == 0:
        body = "true"
    elif rule.m > len(rule.literals):
        body = "false"
    else:
        body = f"{rule.m} of {{{', '.join(format_literals(rule, input_names))}}}"
    where = f"{rule.layer} " if rule.layer else ""
    where += f"unit {rule.unit}"
    if rule.unit_threshold is not None:
        where += f" >= {rule.unit_threshold:.4g}"
    if rule.every_position:
        where += " at every position"
    elif rule.position is not None and len(rule.position) == 2:
        where += f" at row {rule.position[0]}, column {rule.position[1]}"
    elif rule.position is not None:
        where += f" at position {', '.join(map(str, rule.position))}"
    measures = f"error {rule.error:.1%}, baseline {rule.baseline_error:.1%}, "
    if rule.held_out_error is not None and rule.held_out_baseline_error is not None:
        measures += f"held-out error {rule.held_out_error:.1%}, "
        measures += f"held-out baseline {rule.held_out_baseline_error:.1%}, "
    return f"{where} <=> {body}   ({measures}complexity {rule.complexity:.3f})"


def format_literals(rule: Rule, input_names: Sequence[str] | None = None) -> list[str]:
    """The text of each of the rule's literals, named as `format_rule` names them.

    Raises:
      ValueError: not a rule, or fewer names than it needs.

    Example:
      >>> format_literals(Rule(3, 1, (Literal(4, 0.1, True),), 0.008, 0.1, 0.1))
      ['x4 < 0.1']
    """
    rule = _checked("rule", rule)
    names = rule.input_names
    if input_names is not None:
        names = tuple(_text("input_names", n) for n in checks.sequence("input_names", input_names))
    if names is not None and len(names) < inputs_needed([rule]):
        raise ValueError(
            f"input_names: the rule needs at least {inputs_needed([rule])}, got {len(names)}"
        )

    def name(i: int) -> str:
        if names is not None:
            return names[i]
        if rule.kernel_shape is None:
            return f"x{rule.first_input + i}"
        *place, channel = np.unravel_index(i, rule.kernel_shape)
        middle = ((size - 1) // 2 for size in rule.kernel_shape)
        offsets = (f"{index - center:+d}" for index, center in zip(place, middle, strict=False))
        return f"c{rule.first_input + channel}[{','.join(offsets)}]"

    return [
        f"{name(literal.input)} {'<' if literal.negated else '>='} {literal.threshold:.4g}"
        for literal in rule.literals
    ]


def check_rules(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules, their fields of the kinds and within the limits that `Rule` gives them.

    Raises:
      ValueError: naming the first field that is not.
    """
    return tuple(
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
        layer=_text(f"{name}.layer", rule.layer),
        every_position=_truth(f"{name}.every_position", rule.every_position),
        first_input=checks.at_least(f"{name}.first_input", rule.first_input, 0),
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
    if rule.input_names is not None and needed > len(rule.input_names):
        raise ValueError(f"{name}.input_names: the literals need at least {needed}")
    return rule


def _is_plain(literal: Literal) -> bool:
    """Whether there is nothing to check or change: a rule may have thousands of literals."""
    return (
        type(literal) is Literal
        and type(literal.input) is int
        and type(literal.threshold) is float
        and type(literal.negated) is bool
        and literal.input >= 0
        and math.isfinite(literal.threshold)
    )


def _checked_literal(name: str, literal: Literal) -> Literal:
    checks.instance(name, literal, Literal)
    return Literal(
        checks.at_least(f"{name}.input", literal.input, 0),
        _number(f"{name}.threshold", literal.threshold),
        _truth(f"{name}.negated", literal.negated),
    )


def _text(name: str, value: Any) -> str:
    try:
        checks.instance(name, value, str).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: expected text, got {value!r}") from None
    return value


def _truth(name: str, value: Any) -> bool:
    return checks.instance(name, bool(value) if isinstance(value, np.bool) else value, bool)


def _number(name: str, value: Any, *limits: float) -> float:
    return float(checks.number(name, value, *limits))


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
    "beta": lambda name, value: _number(name, value, 0),
    "max_literals": lambda name, value: checks.at_least(name, value, 1),
    "unit_threshold": _number,
    "position": lambda name, value: _integers(name, value, 0),
    "kernel_shape": lambda name, value: _integers(name, value, 1),
    "input_names": lambda name, value: tuple(
        _text(name, one) for one in checks.sequence(name, value)
    ),
}

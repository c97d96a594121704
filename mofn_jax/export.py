"""Rules for other places: as a function of plain Python, and as a table in Markdown."""

import keyword
from collections.abc import Iterable

from mofn_jax import checks
from mofn_jax.rules import Rule, check_rules, errors_of, format_body, format_literals, unit_of


def rules_to_python(rules: Iterable[Rule], name: str = "says") -> str:
    """The source of a function that says what the rules say, and needs nothing but Python.

    It takes the inputs of one example, in the network's units as `evaluate_rules` does, and returns
    a tuple of booleans, one for each rule.

    Args:
      rules: over the same inputs.
      name: of the function.

    Raises:
      ValueError: rules that are none, or a name that Python does not take.

    Examples:
      >>> from mofn_jax.rules import Literal
      >>> literals = (Literal(2, 0.5, False, name="age"), Literal(0, 0.1, True))
      >>> source = rules_to_python([Rule(3, 1, literals, 0.008, 0.1, 0.1)])
      >>> print(source)
      def says(x):
          return (
              # unit 3 <=> 1 of {age >= 0.5, x0 < 0.1}
              sum((
                  x[2] >= 0.5,  # age >= 0.5
                  x[0] < 0.1,  # x0 < 0.1
              )) >= 1,
          )
      <BLANKLINE>
      >>> exec(source)
      >>> says([0.2, 0, 0.7])
      (True,)
    """
    checks.instance("name", name, str)
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"name: {name!r} is no name of a function")
    lines = [f"def {name}(x):", "    return ("]
    for rule in check_rules(rules):
        lines.append(f"        # {_one_line(f'{unit_of(rule)} <=> {format_body(rule)}')}")
        if 0 < rule.m <= len(rule.literals):
            lines.append("        sum((")
            for literal, text in zip(rule.literals, format_literals(rule), strict=True):
                test = (
                    f"x[{literal.input}] {'<' if literal.negated else '>='} {literal.threshold!r}"
                )
                lines.append(f"            {test},  # {_one_line(text)}")
            lines.append(f"        )) >= {rule.m},")
        else:
            lines.append(f"        {rule.m == 0},")
    return "\n".join([*lines, "    )", ""])


def rules_to_markdown(rules: Iterable[Rule]) -> str:
    """The rules as a table in Markdown, a line for each, errors in percent.

    Raises:
      ValueError: rules that are none.

    Examples:
      >>> print(rules_to_markdown([Rule(3, 1, (), 0.008, 0.1, 0.1, held_out_error=0.25)]))
      | unit | rule | error | held out | at most | constant rule | complexity |
      | --- | --- | ---: | ---: | ---: | ---: | ---: |
      | unit 3 | false | 0.8 | 25.0 |  | 10.0 | 0.100 |
    """
    lines = [
        "| unit | rule | error | held out | at most | constant rule | complexity |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for rule in check_rules(rules):
        cells = [_one_line(text).replace("|", "\\|") for text in (unit_of(rule), format_body(rule))]
        cells += ["" if error is None else f"{100 * error:.1f}" for error in errors_of(rule)]
        lines.append(f"| {' | '.join(cells)} | {rule.complexity:.3f} |")
    return "\n".join(lines)


def _one_line(text: str) -> str:
    """The text without what would end a line: names may hold anything."""
    return " ".join(text.split())

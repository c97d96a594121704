"""Rules as JSON, which other tools read too, and back."""

import json
from collections.abc import Iterable
from itertools import repeat
from typing import Any

from mofn_jax import checks
from mofn_jax.rules import Literal, Rule, check_rules, name_input, named

_FORMAT = 2  # of 1, a rule held the names of all inputs; now each literal has its own


def rules_to_json(rules: Iterable[Rule]) -> str:
    """The rules as JSON, from which `rules_from_json` makes equal rules.

    An object of "format", a number, and "rules", a list of objects with the fields of `Rule`.

    Raises:
      ValueError: rules that are none.
    """
    records = [
        {**rule._asdict(), "literals": [literal._asdict() for literal in rule.literals]}
        for rule in check_rules(rules)
    ]
    return json.dumps({"format": _FORMAT, "rules": records}, indent=1, allow_nan=False)


def rules_from_json(text: str) -> tuple[Rule, ...]:
    """The rules that `rules_to_json` saved, or before it had a format, a list of them.

    Raises:
      ValueError: the text is not JSON, of a newer format, or not rules: fields that are missing,
        unknown, of another kind or out of range.
    """
    try:
        saved = json.loads(text, object_pairs_hook=_object)
        if isinstance(saved, dict):
            number = checks.at_least("format", saved.pop("format", None), 1)
            if number > _FORMAT:
                raise ValueError(
                    f"format {number} is newer than this version of mofn_jax reads, {_FORMAT}"
                )
            saved = saved.pop("rules") if saved.keys() == {"rules"} else None
        else:
            number = 1
        if not isinstance(saved, list):
            raise ValueError(f'got neither [...] nor {{"format": {_FORMAT}, "rules": [...]}}')
        read = _from_record if number > 1 else _from_old_record
        return check_rules([read(f"rules[{i}]", one) for i, one in enumerate(saved)])
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"text: expected a JSON list of rules, or one with a format: {error}"
        ) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError(f"a field is there twice in {[name for name, _ in pairs]}")
    return fields


def _from_old_record(name: str, record: Any) -> Rule:
    """A rule of format 1, whose literals get the names that it would have been printed with."""
    fields = dict(checks.instance(name, record, dict))
    names, first = fields.pop("input_names", None), fields.pop("first_input", 0)
    first = checks.at_least(f"{name}.first_input", first, 0)
    (rule,) = check_rules([_from_record(name, fields)])
    if names is not None:
        names = ("",) * first + checks.texts(f"{name}.input_names", names)
    try:
        called = [
            name_input(literal.input, first, rule.kernel_shape, names)[0]
            for literal in rule.literals
        ]
    except IndexError:
        raise ValueError(f"{name}.input_names: fewer than its literals need") from None
    return rule._replace(literals=tuple(map(named, rule.literals, called, repeat(None))))


def _from_record(name: str, record: Any) -> Rule:
    fields = _fields(name, record, Rule)
    literals = checks.instance(f"{name}.literals", fields["literals"], list)
    fields["literals"] = tuple(
        Literal(**_fields(f"{name}.literals[{i}]", literal, Literal))
        for i, literal in enumerate(literals)
    )
    return Rule(**fields)


def _fields(name: str, record: Any, kind: type[Rule] | type[Literal]) -> dict[str, Any]:
    """A record, if it has the fields of a kind and no others."""
    fields = checks.instance(name, record, dict)
    for field in fields:
        checks.known(f"{name} (field)", field, kind._fields)
    for field in kind._fields:
        if field not in fields and field not in kind._field_defaults:
            raise ValueError(f"{name}.{field}: is missing")
    return fields

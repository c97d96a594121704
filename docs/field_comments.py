"""For the API pages: the fields of a NamedTuple with the comments beside, or above, them."""

import re

import griffe


class FieldComments(griffe.Extension):
    """Makes one section of a record's fields, instead of a heading for each of them."""

    def on_class(self, *, cls: griffe.Class, **_) -> None:
        if "NamedTuple" not in map(str, cls.bases):
            return
        lines = cls.parent.filepath.read_text(encoding="utf-8").splitlines()
        entries = []
        for name, field in list(cls.attributes.items()):
            if field.annotation is None or "property" in field.labels:
                continue
            entries.append(f"    {name} ({field.annotation}): {_comment(lines, field)}")
            cls.del_member(name)
        if entries and cls.docstring is not None:
            cls.docstring.value += "\n".join(["\n", "Attributes:", *entries])


def _comment(lines: list[str], field: griffe.Attribute) -> str:
    """The comment on a field's line, after what stands above it."""
    beside = re.search(r"(?<=  # ).*$", lines[field.endlineno - 1])
    above, place = [], field.lineno - 2
    while lines[place].lstrip().startswith("# "):
        above.insert(0, lines[place].strip().removeprefix("# "))
        place -= 1
    texts = [" ".join(above), beside.group() if beside else ""]
    return " ".join(filter(None, texts))

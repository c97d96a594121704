"""How records show themselves: short in a terminal, as a table in a notebook."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

MOST_LINES = 10  # of rules, in a terminal
MOST_ROWS = 200  # in a notebook


def html_table(about: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in HTML under a line about it; what it is made of may hold any text."""
    rows = list(rows)
    lines = [[html.escape(str(cell)) for cell in row] for row in rows[:MOST_ROWS]]
    cells = "".join(f"<tr><td>{'</td><td>'.join(line)}</td></tr>" for line in lines)
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    more = f"<p>... {len(rows) - MOST_ROWS} more</p>" if len(rows) > MOST_ROWS else ""
    return f"<p>{html.escape(about)}</p><table><tr>{head}</tr>{cells}</table>{more}"


def percent(share: float | None) -> str:
    """A share in percent; nothing where there is none."""
    return "" if share is None or share != share else f"{share:.1%}"

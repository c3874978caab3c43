"""Plain text and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["cell", "prose", "table"]


def prose(text: str) -> str:
    """A text whose only markup is code between backticks, so that it reads as it stands."""
    return _outside_code(text, {"<": "&lt;", "*": "\\*"})


def cell(text: str) -> str:
    """A text as a table's cell: on one line, its bars no borders."""
    return _outside_code(" ".join(text.split()), {"|": "\\|"})


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table. Cells come as they are to stand there."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines]


def _outside_code(text: str, spelled: Mapping[str, str]) -> str:
    """The text with characters spelled otherwise where they don't stand between backticks."""
    table = str.maketrans(dict(spelled))
    return "`".join(part if n % 2 else part.translate(table) for n, part in enumerate(text.split("`")))

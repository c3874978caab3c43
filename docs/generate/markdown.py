"""Plain text and tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["cell", "prose", "table"]


def prose(text: str) -> str:
    """A text whose only markup is code between backticks, so that it reads as it stands."""
    pieces = enumerate(text.split("`"))
    return "`".join(p if n % 2 else p.replace("<", "&lt;").replace("*", "\\*") for n, p in pieces)


def cell(text: str) -> str:
    """A text as a table's cell: on one line, its bars no borders."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table. Cells come as they are to stand there."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines]

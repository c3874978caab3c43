"""Lines of canonical length. The text of a line is canonical already: where it fits it stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

from trtn.dsl.syntax.breaking import INDENT, LINE_LENGTH, break_line
from trtn.dsl.syntax.lines import Piece
from trtn.dsl.syntax.tokens import TOKEN

__all__ = ["physical_lines"]


def physical_lines(text: str, depth: int) -> list[str]:
    """A logical line, indented by `depth` levels, broken as the formatter breaks it."""
    indent = INDENT * depth
    if len(indent) + len(text) <= LINE_LENGTH:
        return [indent + text]
    return break_line(list(_pieces(text)), indent)


def _pieces(text: str) -> Iterator[Piece]:
    for match in TOKEN.finditer(text):
        piece = Piece(match.group(), match.start(), match.end(), space=text[match.start() - 1 : match.start()] == " ")
        piece.is_number = match.lastgroup == "number"
        piece.brace = piece.text in ("{", "}")
        yield piece

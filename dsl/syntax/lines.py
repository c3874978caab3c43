"""From tokens to logical lines: one statement, field or brace each, whatever the line breaks of the source were."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from trtn.dsl.syntax.marks import Marks
from trtn.dsl.syntax.tokens import TOKEN

_PIECE = re.compile(
    rf"(?P<path>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]+\])+) | {TOKEN.pattern}", re.VERBOSE
)
"""A token, or a whole path: nothing comes between its parts."""

__all__ = ["Line", "Piece", "read_lines", "read_pieces"]


@dataclass(slots=True)
class Piece:
    """A token, a path or a comment, with what stands in front of it."""

    text: str
    start: int
    end: int
    is_comment: bool = False
    newlines: int = 0
    """Line ends in the source in front of it."""
    space: bool = False
    """Whether a blank stands in front of it, where it is not the first of its line."""
    brace: bool = False
    """A brace around a body, not around a set."""
    is_number: bool = False


@dataclass(slots=True)
class Line:
    """A logical line. Comments inside its pieces force line breaks; `comment` stands behind the line."""

    depth: int
    kind: str
    body: int
    """A number for the body, the pair of braces, that the line is in; 0 outside."""
    pieces: list[Piece] = field(default_factory=list)
    comment: str = ""
    blank_before: bool = False


def read_pieces(text: str, marks: Marks) -> list[Piece]:
    """All tokens and comments of a text, in order."""
    pieces: list[Piece] = []
    end = 0
    sets = 0
    for match in _PIECE.finditer(text):
        start = match.start()
        if start < end:
            continue  # inside a device, which is one piece
        newlines = text.count("\n", end, start) if start > end else 0
        end = marks.devices.get(start) or match.end()
        kind = match.lastgroup
        word = text[start:end]
        if kind == "comment":
            piece = Piece(word.rstrip(), start, end, True, newlines)
        else:
            piece = Piece(word, start, end, False, newlines, is_number=kind == "number")
        if word == "{":
            is_set = bool(pieces) and pieces[-1].text == "in"
            piece.brace, sets = not is_set, sets + is_set
        elif word == "}":
            piece.brace, sets = not sets, 0
        pieces.append(piece)
    return pieces


def read_lines(text: str, marks: Marks) -> list[Line]:
    """The logical lines of a text, with the blanks between their pieces decided."""
    return list(_LineReader(read_pieces(text, marks), marks).lines())


class _LineReader:
    def __init__(self, pieces: list[Piece], marks: Marks) -> None:
        self.pieces = pieces
        self.marks = marks
        self.bodies = [0]
        self.count = 0
        self.precisions = {start for start, _ in marks.precisions}
        self.in_precision = False

    def lines(self) -> Iterator[Line]:
        line: Line | None = None
        previous: Piece | None = None  # the last token, comments left aside
        before: Piece | None = None  # the last piece
        for at, piece in enumerate(self.pieces):
            if piece.is_comment:
                if line is not None and not self._ends_behind(at, previous):
                    line.pieces.append(piece)
                elif line is not None and not piece.newlines and not line.comment:
                    line.comment = piece.text
                else:
                    if line is not None:
                        yield line
                    line = self._open("comment", piece, before)
                    line.pieces.append(piece)
                    yield line
                    line = None
                before = piece
                continue
            kind = self._start(piece, previous, before)
            if kind is not None:
                if line is not None:
                    yield line
                if piece.brace and piece.text == "}":
                    self._close()
                line = self._open(kind, piece, before)
            elif piece.brace and piece.text == "}":
                self._close()
            assert line is not None
            if piece.text in _CLOSERS:
                _drop_last_comma(line.pieces)
            following = self.pieces[at + 1] if at + 1 < len(self.pieces) else None
            piece.space = previous is not None and self._space(previous, piece, following)
            line.pieces.append(piece)
            if piece.brace and piece.text == "{":
                self.count += 1
                self.bodies.append(self.count)
                self.in_precision = piece.start in self.precisions
            previous = before = piece
        if line is not None:
            yield line

    def _open(self, kind: str, piece: Piece, before: Piece | None) -> Line:
        closing = piece.brace and piece.text == "}"
        opened = before is not None and before.brace and before.text == "{"
        blank = before is not None and piece.newlines > 1 and not closing and not opened
        return Line(len(self.bodies) - 1, kind, self.bodies[-1], blank_before=blank)

    def _close(self) -> None:
        self.in_precision = False
        if len(self.bodies) > 1:
            self.bodies.pop()

    def _ends_behind(self, at: int, previous: Piece | None) -> bool:
        """Whether the logical line is complete at a comment: the next token starts one of its own."""
        following = at + 1
        while following < len(self.pieces) and self.pieces[following].is_comment:
            following += 1
        if following == len(self.pieces):
            return True
        return self._start(self.pieces[following], previous, self.pieces[at]) is not None

    def _start(self, piece: Piece, previous: Piece | None, before: Piece | None) -> str | None:
        """What kind of line the token starts, or None where it goes on with the current one."""
        kind = self.marks.starts.get(piece.start)
        if kind is not None or previous is None:
            return kind or "edition"
        if piece.brace and piece.text == "}":
            empty = before is previous and previous.brace and previous.text == "{"
            return None if empty else "close"
        if previous.brace and previous.text == "{":
            return "field" if self.in_precision else "statement"
        if self.in_precision and piece.text in ("default", "keep") and previous.text not in ("default", "[", ","):
            return "field"
        return None

    def _space(self, previous: Piece, piece: Piece, following: Piece | None) -> bool:
        marks = self.marks
        before, text = previous.text, piece.text
        if text in _CLOSE or before in _TIGHT or text in (".", "..") or before in (".", ".."):
            return False
        if previous.start in marks.prefixes or (text == "}" and (before == "{" or not piece.brace)):
            return False
        if before == "{" and not previous.brace:
            return False
        if text == "=":
            return previous.end not in marks.argument_names
        if before == "=":
            return previous.space
        if text == "(":
            return previous.end not in marks.callee_ends and piece.start not in marks.signatures
        if text == "[":
            return piece.start in marks.lists or before in ("for", ",")
        if text == ":":
            return following is not None and following.start in marks.stated_types
        return True


def _drop_last_comma(pieces: list[Piece]) -> None:
    """Takes away a comma in front of a closing bracket: where one belongs is decided when the line is broken."""
    for at in range(len(pieces) - 1, -1, -1):
        if not pieces[at].is_comment:
            if pieces[at].text == ",":
                del pieces[at]
            return


_CLOSE = frozenset({",", ")", "]"})
_CLOSERS = frozenset({")", "]", "}"})
_TIGHT = frozenset({"(", "["})

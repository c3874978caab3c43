"""Offsets in a text and the protocol's positions: lines from 0, columns in the units agreed with the client."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property

from lsprotocol import types as lsp

__all__ = ["Positions"]

_LINE_END = re.compile(r"\r\n|\n|\r")
_CODECS = {lsp.PositionEncodingKind.Utf8: ("utf-8", 1), lsp.PositionEncodingKind.Utf16: ("utf-16-le", 2)}
"""The encoding that counts a column's units, and the bytes of one unit. UTF-32 counts code points, as we do."""


class Positions:
    """One text's positions. Offsets count code points, as spans do."""

    def __init__(self, text: str, encoding: lsp.PositionEncodingKind | str | None) -> None:
        self.text = text
        self._codec = _CODECS.get(lsp.PositionEncodingKind(encoding or lsp.PositionEncodingKind.Utf16))

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(m.end() for m in _LINE_END.finditer(self.text))]

    def position(self, offset: int) -> lsp.Position:
        """The position of an offset; of the text's end for one behind it."""
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(self._starts, offset) - 1
        return lsp.Position(line, self._units(self.text[self._starts[line] : offset]))

    def offset(self, position: lsp.Position) -> int:
        """The offset of a position. A column behind its line's end means the end, as the protocol demands."""
        if position.line >= len(self._starts):
            return len(self.text)
        start = self._starts[position.line]
        end = self._starts[position.line + 1] if position.line + 1 < len(self._starts) else len(self.text)
        line = _LINE_END.sub("", self.text[start:end])
        if self._codec is None or line.isascii():
            return start + min(position.character, len(line))
        units = 0
        for at, character in enumerate(line):
            if units >= position.character:
                return start + at
            units += self._units(character)
        return start + len(line)

    def range(self, start: int, end: int) -> lsp.Range:
        return lsp.Range(self.position(start), self.position(end))

    def _units(self, text: str) -> int:
        if self._codec is None or text.isascii():
            return len(text)
        codec, size = self._codec
        return len(text.encode(codec, "surrogatepass")) // size

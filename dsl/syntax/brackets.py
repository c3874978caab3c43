"""Brackets without a partner: which one was never closed, and where it should have been.

The opening bracket is the culprit, not the place where the parser notices. Where the statement should have ended is
seen from the layout: a line that starts like a statement and is not indented deeper than the line of the open
bracket ends it; a line that starts a declaration, no deeper than everything that is open, ends it all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from trtn.dsl.diagnostics import Label
from trtn.dsl.syntax.layout import layout_events
from trtn.dsl.syntax.report import Report

__all__ = ["Repair", "repair_brackets"]

_CLOSER = {"(": ")", "[": "]", "{": "}"}
_INDENT = re.compile(r"[ \t]*")


@dataclass
class Repair:
    """What makes every bracket of a text have a partner."""

    closers: list[tuple[int, str]]
    """Closing brackets that are missing, in front of these offsets, in order."""
    strays: frozenset[int]
    """Offsets of closing brackets that close nothing; to be left out of account."""
    poisoned: list[tuple[int, int]]
    """Where errors of the parser follow from what is reported here."""


class _Open(NamedTuple):
    character: str
    offset: int
    indent: int
    """Of the line that the bracket stands on."""


def repair_brackets(text: str, report: Report) -> Repair:
    """Reports every bracket that is never closed (E0102)."""
    return _Repairer(text, report).run()


class _Repairer:
    def __init__(self, text: str, report: Report) -> None:
        self.text = text
        self.report = report
        self.stack: list[_Open] = []
        self.closers: list[tuple[int, str]] = []
        self.strays: set[int] = set()
        self.poisoned: list[tuple[int, int]] = []
        self.line_start = 0
        self.indent = 0

    def run(self) -> Repair:
        for offset, kind in layout_events(self.text):
            self._enter_line(offset)
            if kind == "declaration" and self.stack and self.indent <= self.stack[0].indent:
                self._close_all_but(0, offset)
            elif kind in ("declaration", "statement", "field"):
                self._close_all_but(self._count(lambda o: o.character != "{" and self.indent <= o.indent), offset)
            elif kind in "([":
                self.stack.append(_Open(kind, offset, self.indent))
            elif kind == "{":
                self._close_all_but(self._count(lambda o: o.character != "{"), offset)
                self.stack.append(_Open(kind, offset, self.indent))
            elif kind == "}":
                self._brace(offset)
            else:
                self._bracket(kind, offset)
        self._close_all_but(0, len(self.text))
        return Repair(self.closers, frozenset(self.strays), self.poisoned)

    def _enter_line(self, offset: int) -> None:
        start = self.text.rfind("\n", self.line_start, offset) + 1
        if start > self.line_start or offset == 0:
            self.line_start = start
        indent = _INDENT.match(self.text, self.line_start)
        self.indent = len(indent.group()) if indent is not None else 0

    def _count(self, unclosed: Callable[[_Open], bool]) -> int:
        """How many of the open brackets stay open, when the innermost ones for which this holds do not."""
        keep = len(self.stack)
        while keep and unclosed(self.stack[keep - 1]):
            keep -= 1
        return keep

    def _bracket(self, character: str, offset: int) -> None:
        keep = self._count(lambda o: o.character != "{" and _CLOSER[o.character] != character)
        if keep and _CLOSER[self.stack[keep - 1].character] == character:
            self._close_all_but(keep, offset)
            self.stack.pop()
        else:
            self.strays.add(offset)

    def _brace(self, offset: int) -> None:
        """A closing brace. One that stands further left than the line of its partner belongs to an outer one."""
        self._close_all_but(self._count(lambda o: o.character != "{"), offset)
        if not self.text[self.line_start : offset].strip():
            keep = self._count(lambda o: o.indent > self.indent)
            if keep and self.stack[keep - 1].indent == self.indent:
                self._close_all_but(keep, offset)
        if self.stack:
            self.stack.pop()
        else:
            self.strays.add(offset)

    def _close_all_but(self, keep: int, before: int) -> None:
        """Reports all but the first `keep` open brackets; they should have been closed in front of offset `before`."""
        if len(self.stack) <= keep:
            return
        closers = ""
        at_end = before == len(self.text)
        where = self.report.span(before, before + 1)
        for opened in reversed(self.stack[keep:]):
            closer = _CLOSER[opened.character]
            closers += closer
            labels = () if at_end else (Label(where, f"`{closer}` expected before this"),)
            message = f"`{opened.character}` is never closed"
            self.report.error("E0102", opened.offset, opened.offset + 1, message, labels=labels)
            if opened.character != "{":
                self.poisoned.append((opened.offset, before))
        del self.stack[keep:]
        self.poisoned.append((before, before))
        self.closers.append((before, closers))

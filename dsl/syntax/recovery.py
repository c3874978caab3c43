"""The parse of one text, error by error: say what was expected, go on at the next statement, invent no follow-up
errors.

Panic mode on the LALR stack. After an error the parser goes on at the next line that starts a statement or a
declaration (or at a closing brace) and that lies outside all parentheses; its stack is cut back to the start of a
statement in the body that this place belongs to, which the depth of braces tells.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from heapq import merge
from typing import Any, NamedTuple

from trtn.dsl.syntax.automaton import END, Automaton, Parse
from trtn.dsl.syntax.report import Report
from trtn.dsl.syntax.scan import Scan
from trtn.dsl.syntax.tokens import Token

__all__ = ["parse_text"]

_WORD = re.compile(r"[A-Za-z_]\w*")
_EDITION_SIZE = 2  # values on the stack for `trtn 1`

# What a header that can't be read is taken for, so that the errors in its body are found as well.
_HEADERS = {
    "NETWORK": "NAME", "TARGET": "NAME", "MANIFEST": "NAME", "PROFILE": "NAME FOR NAME",
    "BLOCK": "NAME LPAR RPAR ARROW TYPE", "PLUGIN": "NAME LPAR RPAR ARROW TYPE",
    "REPEAT": "NAME IN NUMBER RANGE NUMBER", "LOOP": "NAME IN NUMBER RANGE NUMBER",
    "SCAN": "CARRY NAME EQUAL NUMBER", "IF": "TRUE",
}  # fmt: skip
_STAND_INS = {"NAME": "_", "TYPE": "f32[]", "NUMBER": "0"}


class _Place(NamedTuple):
    """Where a parse can go on: an offset and the number of braces that are open there."""

    offset: int
    depth: int


def parse_text(automaton: Automaton, scan: Scan, report: Report, start: int) -> Any:
    """Parses from offset `start`, behind the edition. Returns what the grammar's start rule built, or None."""
    return _Recovering(automaton, scan, report, start).run()


class _Recovering:
    def __init__(self, automaton: Automaton, scan: Scan, report: Report, start: int) -> None:
        self.automaton = automaton
        self.scan = scan
        self.text = scan.text
        self.report = report
        self.parse = Parse(automaton, scan.text, scan.closers)
        self.parse.feed(Token.of("TRTN", "trtn", 0))
        self.parse.feed(Token.of("NUMBER", "1", 0))
        self.parse.go_to(start)
        self.places: list[_Place] | None = None
        self.openings: list[int] = []
        self.resumed = -1

    def run(self) -> Any:
        while (failure := self.parse.run()) is not None:
            token = failure.token
            self.parse.previous_end = failure.previous_end
            if not self._take_as_name(token) and not self._recover(token):
                self._finish()
                break
        return self.parse.result

    def _take_as_name(self, token: Token) -> bool:
        """Keywords are names wherever the grammar has no use for them; the lexer, which sees one state only, can't
        know.
        """
        if token.type not in self.automaton.texts or token not in self.automaton.keywords:
            return False
        for terminal in ("PATH", "NAME"):
            if self.parse.feed(Token.of(terminal, str(token), token.start_pos)):
                self.parse.previous_end = token.end_pos
                return True
        return False

    def _recover(self, token: Token) -> bool:
        """Reports the error and goes on behind it. False where nothing is left to go on with."""
        offset = token.start_pos
        size, begin = self._statement_start(offset)
        place = self._place_between(begin, offset)
        self._report(token, begin, place)
        if self.report.full:
            return False
        if place is not None:
            self.parse.cut(size)
            if self._resume(place):
                return True
        elif self._enter_body(offset):
            return True
        places = self._all_places()
        first = offset if begin < offset else offset + 1
        at = bisect_left(places, (max(first, self.resumed + 1), 0))
        return any(self._resume(place) for place in places[at:])

    def _finish(self) -> None:
        """Ends the parse with what is whole at the top level."""
        for size in range(len(self.parse.values), _EDITION_SIZE - 1, -1):
            if self.automaton.accepts(self.parse.states[: size + 1], END):
                self.parse.cut(size)
                self.parse.feed(Token.of(END, "", len(self.text)))
                return

    # --- where to go on --------------------------------------------------------------------------------------------

    def _resume(self, place: _Place) -> bool:
        """Cuts the stack back to the start of a statement at the place's depth, if the parser can go on there."""
        states = self.parse.states
        terminals = self._terminals_at(place.offset)
        depths = self._depths()
        for size in range(len(depths) - 1, _EDITION_SIZE - 1, -1):
            if depths[size] < place.depth:
                return False
            if depths[size] > place.depth:
                continue
            stack = states[: size + 1]
            if self._at_boundary(stack) and any(self.automaton.accepts(stack, t) for t in terminals):
                self.parse.cut(size)
                self.parse.go_to(place.offset)
                self.resumed = place.offset
                return True
        return False

    def _depths(self) -> list[int]:
        """For each size of the stack how many braces are open. A body that is read but not built yet has both of its
        braces there.
        """
        depths = [0]
        for value in self.parse.values:
            kind = value.type if type(value) is Token else ""
            depths.append(depths[-1] + (kind == "LBRACE") - (kind == "RBRACE"))
        return depths

    def _enter_body(self, offset: int) -> bool:
        """After an error between a header's first word and its brace: goes on in the body, the header made whole."""
        places = self._all_places()
        at = bisect_left(self.openings, offset)
        next_place = bisect_left(places, (offset + 1, 0))
        if at == len(self.openings) or (next_place < len(places) and places[next_place].offset < self.openings[at]):
            return False
        values = self.parse.values
        for size in range(len(values), _EDITION_SIZE, -1):
            value = values[size - 1]
            kind = value.type if type(value) is Token else ""
            if kind in ("LBRACE", "RBRACE") or hasattr(value, "statements"):
                return False
            if kind in _HEADERS:
                self.parse.cut(size)
                for terminal in _HEADERS[kind].split():
                    self.parse.feed(Token.of(terminal, _STAND_INS.get(terminal, ""), value.start_pos))
                self.parse.go_to(self.openings[at])
                self.resumed = self.openings[at]
                return True
        return False

    def _at_boundary(self, states: list[int]) -> bool:
        """Whether a statement, a field or a declaration may start here: only there may a body, or the file, also
        end.
        """
        return any(self.automaton.accepts(states, terminal) for terminal in ("RBRACE", END, "MANIFEST"))

    def _is_fresh(self, state: int) -> bool:
        """Whether nothing of a statement, a field or a declaration is read yet."""
        actions = self.automaton.actions[state]
        return any(isinstance(actions.get(terminal), int) for terminal in ("RBRACE", "NETWORK", "MANIFEST"))

    def _terminals_at(self, offset: int) -> list[str]:
        first = self.text[offset]
        if first == "}":
            return ["RBRACE"]
        if first == "@":
            return ["ANNOTATION"]
        word = _WORD.match(self.text, offset)
        keyword = self.automaton.keywords.get(word.group()) if word is not None else None
        return [keyword, "PATH"] if keyword is not None else ["PATH"]

    def _statement_start(self, offset: int) -> tuple[int, int]:
        """The statement in which the parser is: how many values lie below it on the stack, and where it begins."""
        values, states = self.parse.values, self.parse.states
        if type(values[-1]) is Token and values[-1].type == "RBRACE":
            return len(values), offset
        for size in range(len(values), _EDITION_SIZE - 1, -1):
            if self._is_fresh(states[size]):
                starts = (_start_of(value) for value in values[size:])
                return size, next((start for start in starts if start is not None), offset)
        return len(values), offset

    def _place_between(self, begin: int, offset: int) -> _Place | None:
        """A line behind `begin` that looks like a new statement: the statement in front of it was never finished."""
        places = self._all_places()
        at = bisect_left(places, (max(begin, self.resumed) + 1, 0))
        if at < len(places) and places[at].offset <= offset and self.text[places[at].offset] != "}":
            return places[at]
        return None

    def _all_places(self) -> list[_Place]:
        """Where statements, fields and declarations seem to start, and all closing braces. Found once, on the first
        error.
        """
        if self.places is None:
            from trtn.dsl.syntax.layout import layout_events

            self.places = []
            missing = ((offset, f"missing {bracket}") for offset, all_ in self.scan.closers for bracket in all_)
            depth, opened = 0, ""
            for offset, kind in merge(missing, layout_events(self.text), key=lambda event: event[0]):
                bracket = kind[-1]
                if bracket == kind and offset in self.scan.strays:
                    continue
                if bracket in "([":
                    opened += bracket
                elif bracket in ")]":
                    opened = opened[: max(0, opened.rfind("(" if bracket == ")" else "["))]
                elif bracket == "{":
                    self.openings.append(offset)
                    depth, opened = depth + 1, ""
                else:
                    if not opened and kind != "missing }":
                        self.places.append(_Place(offset, depth))
                    if bracket == "}":
                        depth, opened = depth - 1, ""
        return self.places

    # --- what to say -----------------------------------------------------------------------------------------------

    def _report(self, token: Token, begin: int, place: _Place | None) -> None:
        offset = token.start_pos
        if self._is_consequence(min(self.parse.previous_end, offset), offset):
            return
        from trtn.dsl.syntax.expected import describe_expected, describe_found

        found, end = describe_found(self.text, offset)
        if offset in self.scan.strays:
            self.report.error("E0101", offset, end, f"{found} closes nothing")
            return
        if place is not None and place.offset < offset:
            last = len(self.text[: place.offset].rstrip())
            line = self.report.source.position(place.offset)[0]
            self.report.error("E0101", last - 1, last, f"statement not finished: line {line} starts another one")
            return
        help_ = self._help(begin, offset, end)
        expected = describe_expected(self._expected(), self.automaton.texts)
        self.report.error("E0101", offset, end, f"expected {expected}, found {found}", help=help_)

    def _help(self, begin: int, offset: int, end: int) -> str:
        word = self.text[offset:end]
        if word == "(" and self.text[begin : self.parse.previous_end].strip().isidentifier():
            return "a result needs a name: `y = ...`"
        if word == "manifest" and word not in self.automaton.keywords:
            return 'this is a weight manifest; a spec names it: `weights w = "file"`'
        if word in ("network", "block", "import") and "manifest" in self.automaton.keywords:
            return "this is a spec, not a weight manifest"
        return ""

    def _expected(self) -> set[str]:
        states = self.parse.states
        return {t for t in self.automaton.actions[states[-1]] if self.automaton.accepts(states, t)}

    def _is_consequence(self, start: int, end: int) -> bool:
        """Whether the error follows from something that the first look at the text has reported."""
        return any(low <= end and start <= high for low, high in self.scan.poisoned)


def _start_of(value: Any) -> int | None:
    if type(value) is Token:
        return value.start_pos
    children = getattr(value, "children", value if isinstance(value, list | tuple) else None)
    if children is not None:
        return next((start for start in map(_start_of, children) if start is not None), None)
    start = getattr(value, "start", None)
    return start if isinstance(start, int) else None

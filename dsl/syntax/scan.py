"""The first look at a text: one linear pass that finds comments, checks characters and counts brackets.

What is wrong at this level is reported here, in the user's words, and replaced by text of the same length that is
right, so that the parser meets no character without a token, and every offset still holds.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from trtn.dsl.syntax.report import Report

__all__ = ["NESTING_LIMIT", "Scan", "scan"]

NESTING_LIMIT = 100
"""Levels of brackets and braces. The readers of the tree recurse; this keeps them far from the interpreter's own
limit.
"""

_QUOTED = r'"(?:[^"\\\n]++|\\[^\n])*+"|`[^`\n]++`'
_SOUND = re.compile(rf"(?:[A-Za-z0-9_ \t\r\n,.:=+\-*/%@<>()\[\]{{}}]++|{_QUOTED}|\#[^\n]*+|!=)*+")
"""A text in which every character has its place and every string its end."""
_COMMENT = re.compile(rf"(?:[^\"`#]++|{_QUOTED})*+(?:(\#[^\n]*+)|\Z)")
_NO_CODE = re.compile(rf"{_QUOTED}|\#[^\n]*+")
_NO_BRACKETS = bytes(set(range(256)) - set(b"()[]{}"))
_PAIR = re.compile(r"\(\)|\[\]|\{\}")
_TOKEN = re.compile(
    r'"(?:[^"\\\n]|\\[^\n])*+(?P<quote>"?)'
    r"|`[^`\n]*+(?P<tick>`?)"
    r"|\#[^\n]*+"
    r"|[()\[\]{}]"
    r"|(?:[^A-Za-z0-9_\s\"`#()\[\]{},.:=+\-*/%@<>!]|!(?!=))++"
    r"|[^\S \t\r\n]++"
)
# Control characters, and those that make a text look different from what it says.
_HIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+")
_PRINTED = bytes({*b"\t\n\r", *range(0x20, 0x7F)})
_CLOSES = {")": "(", "]": "[", "}": "{"}
_HELP = {
    ";": "statements need no separator",
    "'": "strings are written with double quotes",
    "?": "every dim has a name",
    "&": "conditions are tensors: use `logical_and`",
    "|": "conditions are tensors: use `logical_or`",
    "!": "conditions are tensors: use `logical_not`",
    "$": "foreign names go in backticks",
}


@dataclass
class Scan:
    """A text that can be parsed. `fatal`: it can't, and the reason is reported."""

    text: str
    comments: list[tuple[int, int]] = field(default_factory=list)
    poisoned: list[tuple[int, int]] = field(default_factory=list)
    """Places that were reported and repaired: errors that the parser meets there follow from that."""
    closers: list[tuple[int, str]] = field(default_factory=list)
    """Closing brackets that are missing, in front of these offsets."""
    strays: frozenset[int] = frozenset()
    """Offsets of closing brackets that close nothing."""
    depth: int = 0
    fatal: bool = False


def scan(text: str, report: Report) -> Scan:
    """Checks the text's characters, strings and brackets; reports E0102, E0105, E0107 (nesting) and E0109."""
    return _Scanner(text, report).run()


class _Scanner:
    def __init__(self, text: str, report: Report) -> None:
        self.text = text
        self.report = report
        self.result = Scan(text)
        self.edits: list[tuple[int, str]] = []

    def run(self) -> Scan:
        if _has_hidden(self.text):
            self.text = _HIDDEN.sub(self._hidden, self.text)
        balanced = self._tokens()
        result = self.result
        if result.fatal:
            return result
        result.text = _apply(self.text, self.edits)
        if not balanced:
            from trtn.dsl.syntax.brackets import repair_brackets

            repair = repair_brackets(result.text, self.report)
            result.closers, result.strays = repair.closers, repair.strays
            result.poisoned += repair.poisoned
        result.poisoned.sort()
        return result

    def _tokens(self) -> bool:
        """Walks over everything that is not plain code. Returns whether the brackets pair up."""
        if _SOUND.fullmatch(self.text) and (depth := _nesting(self.text)) is not None:
            if "#" in self.text:
                self.result.comments = [m.span(1) for m in _COMMENT.finditer(self.text) if m.lastindex]
            self.result.depth = depth
            return True
        stack: list[str] = []
        deepest = 0
        balanced = True
        comments = self.result.comments
        resume = 0
        for match in _TOKEN.finditer(self.text):
            start = match.start()
            if start < resume:
                continue
            token = match.group()
            first = token[0]
            if first in "([{":
                stack.append(first)
                if len(stack) > deepest:
                    deepest = len(stack)
                    if deepest > NESTING_LIMIT:
                        self.report.error(
                            "E0107", start, start + 1, f"brackets nest deeper than {NESTING_LIMIT} levels"
                        )
                        self.result.fatal = True
                        return False
            elif first in ")]}":
                if stack and stack[-1] == _CLOSES[first]:
                    stack.pop()
                else:
                    balanced = False
            elif first == "#":
                comments.append((start, match.end()))
            elif first == '"':
                if not match["quote"]:
                    resume = self._unclosed(start, "string")
            elif first == "`":
                if not match["tick"]:
                    resume = self._unclosed(start, "name in backticks")
                elif len(token) == 2:
                    self._replace(start, start + 2, "xx")
                    self.report.error("E0105", start, start + 2, "empty name in backticks")
            else:
                self._bad(start, match.end(), token)
                if self.report.full:
                    self.result.fatal = True
                    return False
        self.result.depth = deepest
        return balanced and not stack

    def _hidden(self, match: re.Match[str]) -> str:
        start, end = match.span()
        character = match.group()[0]
        name = unicodedata.name(character, "a control character").lower()
        self.report.error(
            "E0105", start, end, f"character U+{ord(character):04X} ({name}), which can't be seen",
            help=f"inside a string write \\u{{{ord(character):x}}}",
        )  # fmt: skip
        if not self.report.full:
            self._poison_line(start)
        return " " * (end - start)

    def _bad(self, start: int, end: int, token: str) -> None:
        first = token[0]
        shown = token if len(token) <= 20 else f"{token[:17]}..."
        help_ = _HELP.get(first, "foreign names go in backticks" if first.isalnum() else "")
        if first.isspace():
            shown, help_ = f"U+{ord(first):04X}", "use plain blanks"
        self.report.error("E0105", start, end, f"`{shown}` begins no token", help=help_)
        # A name in its place keeps what is around it in one piece; a separator can go.
        self._replace(start, end, (" " if first == ";" else "_") * (end - start))

    def _unclosed(self, start: int, what: str) -> int:
        """Ends a string with its line, in front of the brackets that close there. Returns where the line ends."""
        line_end = self.text.find("\n", start)
        line_end = len(self.text) if line_end < 0 else line_end
        content = self.text[start:line_end].rstrip("\r")
        self.report.error("E0109", start, start + len(content), f"{what} not closed on its line")
        size = max(1, len(content.rstrip(")]}{, \t")))
        if size >= 2 and what == "string":
            self._replace(start, start + size, f'"{"x" * (size - 2)}"')
        else:
            self._replace(start, start + size, "x" * size)
        return start + size

    def _replace(self, start: int, end: int, text: str) -> None:
        assert len(text) == end - start
        self.edits.append((start, text))
        self._poison_line(start)

    def _poison_line(self, offset: int) -> None:
        end = self.text.find("\n", offset)
        start = self.text.rfind("\n", 0, offset) + 1
        if not self.result.poisoned or self.result.poisoned[-1][0] != start:
            self.result.poisoned.append((start, len(self.text) if end < 0 else end))


def _has_hidden(text: str) -> bool:
    if text.isascii():  # to delete all that may be there takes a tenth of the time of a search
        return bool(text.encode().translate(None, _PRINTED))
    return _HIDDEN.search(text) is not None


def _nesting(text: str) -> int | None:
    """How deep the brackets of a sound text nest; None where they don't pair up or nest too deep."""
    brackets = _NO_CODE.sub("", text).encode().translate(None, _NO_BRACKETS).decode()
    for depth in range(NESTING_LIMIT + 1):
        if not brackets:
            return depth
        inner = brackets
        brackets = _PAIR.sub("", inner)
        if len(brackets) == len(inner):
            return None
    return None


def _apply(text: str, edits: list[tuple[int, str]]) -> str:
    """The text with pieces of the same length put in; edits come in order and don't overlap."""
    if not edits:
        return text
    pieces = []
    at = 0
    for start, piece in edits:
        pieces += [text[at:start], piece]
        at = start + len(piece)
    return "".join([*pieces, text[at:]])

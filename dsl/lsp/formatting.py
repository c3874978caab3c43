"""Format a document: the one canonical format, as one edit of the lines that differ."""

from __future__ import annotations

from itertools import takewhile

from lsprotocol import types as lsp

from trtn.dsl.errors import SpecError
from trtn.dsl.lsp.view import View
from trtn.dsl.syntax import format_source

__all__ = ["format_document"]


def format_document(view: View) -> list[lsp.TextEdit]:
    """No edits where the text is formatted, or can't be parsed: its diagnostics say why."""
    text = view.source.text
    try:
        formatted = format_source(view.source)
    except SpecError:
        return []
    if formatted == text:
        return []
    old, new = text.split("\n"), formatted.split("\n")
    head = _same(old, new)
    tail = _same(old[head:][::-1], new[head:][::-1])
    start = sum(len(line) + 1 for line in old[:head])
    end = len(text) - sum(len(line) + 1 for line in old[len(old) - tail :])
    changed = "\n".join(new[head : len(new) - tail])
    if head == len(old) - tail:  # lines are only put in: they end where the next one starts
        return [lsp.TextEdit(view.positions.range(start, start), changed + "\n")]
    if head == len(new) - tail:  # lines are only taken out, with their ends
        return [lsp.TextEdit(view.positions.range(start, min(end + 1, len(text))), "")]
    return [lsp.TextEdit(view.positions.range(start, max(start, end)), changed)]


def _same(left: list[str], right: list[str]) -> int:
    """How many lines both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))

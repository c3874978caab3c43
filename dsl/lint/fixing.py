"""Put the edits of findings into a text."""

from __future__ import annotations

from collections.abc import Iterable

from trtn.dsl.lint.base import Edit

__all__ = ["fixed"]


def fixed(text: str, edits: Iterable[Edit]) -> str:
    """The text with the edits made. Of edits that overlap, the one that starts first is made; the others may be
    found again in the result."""
    pieces = []
    at = 0
    for edit in sorted(set(edits)):
        if edit.start >= at:
            pieces += [text[at : edit.start], edit.text]
            at = edit.end
    return "".join(pieces) + text[at:]

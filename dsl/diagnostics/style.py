"""ANSI colours by role, or none."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

__all__ = ["Style"]

_CODES = {
    "error": "1;31",
    "warning": "1;33",
    "note": "1;36",
    "help": "1;32",
    "gutter": "1;34",
    "secondary": "1;34",
    "strong": "1",
}


class Style:
    """Called with a role and a text: the text in the role's colour, or as it is where colour is off."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, role: str, text: str) -> str:
        if not self.color or not text or role not in _CODES:
            return text
        return f"\x1b[{_CODES[role]}m{text}\x1b[0m"

    def runs(self, chars: Iterable[tuple[str, str]]) -> str:
        """Characters with a role each, neighbours of one role coloured together."""
        return "".join(
            self(role, "".join(char for char, _ in run)) for role, run in groupby(chars, key=lambda pair: pair[1])
        )

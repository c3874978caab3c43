"""What may reach a terminal: text without control characters, the columns it takes, paths as the reader
knows them.
"""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache

__all__ = ["cells", "clean", "clean_line", "display_path", "shown"]

_TAB = "    "
# Controls, invisible format marks (bidi overrides make text read other than it is), lone surrogates.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@lru_cache(maxsize=4096)
def shown(char: str) -> str:
    """The printable form of one character: tabs as four spaces, controls as pictures, others `<U+202E>`."""
    if char == "\t":
        return _TAB
    if unicodedata.category(char) not in _HIDDEN:
        return char
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"


@lru_cache(maxsize=4096)
def cells(char: str) -> int:
    """Terminal columns that `shown(char)` takes: 2 for East Asian wide characters, 0 for combining marks."""
    text = shown(char)
    if len(text) > 1:
        return len(text)
    if unicodedata.category(text) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(text) in "WF" else 1


def clean(text: str) -> str:
    """Text of one or several lines, each character in its printable form."""
    if text.isprintable():
        return text
    return "\n".join("".join(map(shown, line)) for line in text.split("\n"))


def clean_line(text: str) -> str:
    """The same on one line: line ends become spaces."""
    return clean(text.replace("\r\n", " ").replace("\n", " "))


def display_path(path: str) -> str:
    """The path relative to the working directory where it lies under it, else as it was given."""
    if not os.path.isabs(path):
        return path
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the working directory is gone; NUL or another drive
        return path
    return path if relative == os.pardir or relative.startswith(os.pardir + os.sep) else relative

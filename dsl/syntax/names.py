"""Names and strings as the text writes them: paths, backticks, escapes, and the words that need backticks."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = [
    "NAME_PATTERN", "PATH", "PATH_PATTERN", "RESERVED",
    "is_plain_name", "is_plain_path", "quote_name", "quote_string", "split_path", "type_words", "unescape",
    "unquote_path",
]  # fmt: skip

RESERVED: frozenset[str] = frozenset({"if", "scan", "loop", "true", "false", "inf", "nan", "none", "step"})
"""The words that a tensor's name needs backticks for. Every other keyword of the language is also a plain name."""

NAME_PATTERN = r"(?:[A-Za-z_][A-Za-z0-9_]*|`[^`\n]+`)"
PATH_PATTERN = rf"{NAME_PATTERN}(?:\.{NAME_PATTERN}|\[[0-9]+\])*"
PATH = re.compile(PATH_PATTERN)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*|\[(?:0|[1-9][0-9]{0,17})\])*")
_WORD = re.compile(r"[A-Za-z0-9_]+")
_PART = re.compile(r"`([^`\n]+)`|([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]+)\]")
_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|(.?))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_WRITTEN = {"\n": "\\n", "\t": "\\t", "\\": "\\\\"}
# Control characters, and the ones that make text look different from what it says (bidirectional controls, line
# separators).
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\\]")


def is_plain_name(text: str) -> bool:
    """Whether the text is one identifier: no dots, no index, no backticks."""
    return _PLAIN_NAME.fullmatch(text) is not None


def is_plain_path(text: str) -> bool:
    """Whether the text of a path is its canonical text too: no backticks, indexes without zeros in front."""
    return _PLAIN_PATH.fullmatch(text) is not None


def unescape(text: str) -> tuple[str, list[tuple[int, int]]]:
    r"""The text with its escapes (`\n \t \" \\ \u{1F600}`) resolved, and where unknown ones stand (offset, length)."""
    if "\\" not in text:
        return text, []
    bad: list[tuple[int, int]] = []

    def resolve(match: re.Match[str]) -> str:
        digits, letter = match.groups()
        if digits is not None:
            code = int(digits, 16)
            if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
                return chr(code)
        elif letter in _ESCAPED:
            return _ESCAPED[letter]
        bad.append((match.start(), match.end() - match.start()))
        return match.group()

    return _ESCAPE.sub(resolve, text), bad


def _escape(text: str, quote: str) -> str:
    def write(match: re.Match[str]) -> str:
        character = match.group()
        return _WRITTEN.get(character) or f"\\u{{{ord(character):x}}}"

    return _UNSAFE.sub(write, text).replace(quote, '\\"' if quote == '"' else "\\u{60}")


def quote_string(text: str) -> str:
    """The string literal that reads as `text`. Surrogates can't be read back: no text holds them."""
    return f'"{_escape(text, chr(34))}"'


def quote_name(path: str) -> str:
    """The text for a tensor path: as it stands where the grammar reads it so, in backticks where it does not.

    `layers[0].attn.out` stays, `/stem/Conv_output_0` and `step` get backticks. The parser is the inverse.
    """
    if is_plain_path(path) and path not in RESERVED and path != "_":
        return path
    return f"`{_escape(path, '`')}`"


def split_path(text: str) -> list[tuple[int, int, str | int, bool]]:
    """The parts of a written path: start, end, the name (escapes resolved) or the index, and whether it had
    backticks.
    """
    parts: list[tuple[int, int, str | int, bool]] = []
    for match in _PART.finditer(text):
        quoted, name, index = match.groups()
        if index is not None:
            # An index of more digits than this is reported by the caller; the value does not matter then.
            parts.append((match.start(3), match.end(3), int(index[:40]), False))
        elif quoted is not None:
            parts.append((match.start(), match.end(), unescape(quoted)[0], True))
        else:
            parts.append((match.start(), match.end(), name, False))
    return parts


def unquote_path(text: str) -> str:
    """The canonical text of a written path: backticks off, escapes resolved."""
    if "`" not in text:
        return str(text)
    canonical = ""
    for _, _, part, _ in split_path(text):
        if isinstance(part, int):
            canonical += f"[{part}]"
        else:
            canonical += f".{part}" if canonical else part
    return canonical


@lru_cache(maxsize=4096)
def type_words(text: str) -> tuple[tuple[int, int, str], ...]:
    """The words of a plain type such as `f32[N, 3]`, each with its start and end: the dtype, then the dims."""
    return tuple((m.start(), m.end(), m.group()) for m in _WORD.finditer(text))

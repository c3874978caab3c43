"""JSON with one spelling: UTF-8, sorted keys, no spaces.

Parsing takes any bytes: memory, time and stack stay bounded.
"""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn

__all__ = ["MAX_DEPTH", "MAX_VALUES", "dump", "parse"]

MAX_DEPTH: Final = 64
MAX_VALUES: Final = 4_000_000  # each takes some hundred bytes once parsed

# possessive, and with an optional end: linear in time for any bytes
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def dump(value: object) -> bytes:
    """The canonical text. ValueError or TypeError for what JSON can't say: NaN, infinities, other types."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def parse(raw: bytes) -> object:
    """The value of a canonical text; ValueError says what is wrong.

    A text in another spelling is refused; with it go keys given twice, huge floats and lone surrogates.
    """
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_VALUES:
        raise ValueError(f"it may have more than {MAX_VALUES} values")
    if _is_deep(raw):
        raise ValueError(f"brackets do not match, or nest deeper than {MAX_DEPTH} levels")
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse_constant)
        canonical = dump(value)
    except UnicodeError:
        raise ValueError("it is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if canonical != raw:
        raise ValueError("it is not canonical JSON (a key given twice, keys out of order, spaces)")
    return value


def _is_deep(raw: bytes) -> bool:
    """Whether brackets outside strings nest deeper than the limit: each round removes the innermost level."""
    brackets = _STRING.sub(b"", raw).translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")

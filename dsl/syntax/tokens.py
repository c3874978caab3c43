"""Tokens: what the parser hands to the tree builder, and the finer ones that the formatter and the messages work on."""

from __future__ import annotations

import re

__all__ = ["TOKEN", "Token"]


class Token(str):
    """The text of one terminal of the grammar, with its place."""

    __slots__ = ("end_pos", "start_pos", "type")
    type: str
    start_pos: int
    end_pos: int

    @classmethod
    def of(cls, kind: str, text: str, start: int) -> Token:
        token = cls(text)
        token.type, token.start_pos, token.end_pos = kind, start, start + len(text)
        return token


TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    | (?P<string>"(?:[^"\\\n]|\\[^\n])*+")
    | (?P<digest>sha256:[0-9a-fA-F]+)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*|`[^`\n]+`)
    | (?P<number>[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?[A-Za-z0-9_]*)
    | (?P<symbol>->|\.\.|\*\*|//|==|!=|<=|>=|[-+*/%@<>=(){}\[\],.:])
    """,
    re.VERBOSE,
)
"""The smallest pieces of a text without lexical errors: a dot, a bracket, a name are one each. Comments are pieces
too.
"""

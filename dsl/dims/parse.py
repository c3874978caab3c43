"""Reads the text of a dim expression, even a hostile one: length, depth and numbers are limited."""

from __future__ import annotations

import re
from typing import NoReturn

from trtn.dsl.dims.expr import Dim, DimError, ceildiv, dim_max, dim_min, floordiv, modulo, symbol
from trtn.dsl.dims.text import FUNCTIONS, IDENTIFIER

__all__ = ["parse_dim"]

_MAX_LENGTH = 16_384
_MAX_DEPTH = 64
_MAX_DIGITS = 80
_MAX_BITS = 512
_TOKEN = re.compile(
    rf"\s*(?:(?P<number>[0-9]+)|(?P<name>{IDENTIFIER.pattern})|`(?P<quoted>[^`]+)`|(?P<mark>//|[-+*%(),]))"
)


def parse_dim(text: str) -> Dim:
    """The dim that `text` states with integers, names (foreign ones in backticks), `+ - * // %`, parentheses
    and the functions `ceildiv(a, b)`, `min(a, ..)`, `max(a, ..)`. Raises DimError, a ValueError, for anything
    else.
    """
    if len(text) > _MAX_LENGTH:
        raise DimError(f"a dim expression of {len(text)} characters; the limit is {_MAX_LENGTH}")
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.end = len(text.rstrip())
        self.position = 0
        self.depth = 0
        self.token: re.Match[str] | None = None
        self.advance()

    def parse(self) -> Dim:
        dim = self.sum()
        if self.token is not None:
            self.fail("expected an operator")
        return dim

    def advance(self) -> None:
        self.token = _TOKEN.match(self.text, self.position, self.end)
        if self.token is None and self.position < self.end:
            self.fail("unexpected character")
        self.position = self.token.end() if self.token else self.end

    def fail(self, problem: str) -> NoReturn:
        at = self.token.start(self.token.lastgroup or 0) if self.token else self.position
        rest = self.text[at : self.end].lstrip()[:20]
        raise DimError(
            f"{problem} at {rest!r} in a dim expression" if rest else f"{problem} at the end of a dim expression"
        )

    def take(self, *marks: str) -> str | None:
        """The mark that the text goes on with, consumed, if it is one of `marks`."""
        mark = self.token["mark"] if self.token else None
        if mark not in marks:
            return None
        self.advance()
        return mark

    def sum(self) -> Dim:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            self.fail(f"more than {_MAX_DEPTH} levels of parentheses")
        total = self.term()
        while mark := self.take("+", "-"):
            right = self.term()
            total = self.limit(total + right if mark == "+" else total - right)
        self.depth -= 1
        return total

    def term(self) -> Dim:
        result = self.factor()
        while mark := self.take("*", "//", "%"):
            right = self.factor()
            if mark == "*":
                result = self.limit(result * right)
            else:
                result = floordiv(result, right) if mark == "//" else modulo(result, right)
        return result

    def factor(self) -> Dim:
        negative = False
        while self.take("-"):
            negative = not negative
        value = self.primary()
        return -value if negative else value

    def primary(self) -> Dim:
        if self.take("("):
            (inner,) = self.arguments(single=True)
            return inner
        token = self.token
        if token is None or token["mark"]:
            self.fail("expected a dim")
        if token["number"] and len(token["number"]) > _MAX_DIGITS:
            self.fail(f"a number of more than {_MAX_DIGITS} digits")
        self.advance()
        if token["number"]:
            return int(token["number"])
        if token["name"] and self.take("("):
            return self.call(token["name"])
        return symbol(token["name"] or token["quoted"])

    def call(self, name: str) -> Dim:
        if name not in FUNCTIONS:
            raise DimError(f"`{name}` is not a function of dims: those are ceildiv, min and max")
        args = self.arguments()
        if name != "ceildiv":
            return dim_min(*args) if name == "min" else dim_max(*args)
        if len(args) != 2:
            raise DimError(f"ceildiv takes 2 dims, not {len(args)}")
        return ceildiv(*args)

    def arguments(self, single: bool = False) -> list[Dim]:
        """What stands between an opening parenthesis, already consumed, and its closing one."""
        args = [self.sum()]
        while not single and self.take(","):
            args.append(self.sum())
        if not self.take(")"):
            self.fail("expected `)`")
        return args

    def limit(self, dim: Dim) -> Dim:
        if isinstance(dim, int) and dim.bit_length() > _MAX_BITS:
            self.fail(f"a number of more than {_MAX_BITS} bits")
        return dim

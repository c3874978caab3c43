"""What the text of single tokens means: names, paths, numbers, strings, plain types, lists of integers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

from trtn.dsl.syntax import ast
from trtn.dsl.syntax.names import PATH, is_plain_name, is_plain_path, split_path, type_words, unescape, unquote_path
from trtn.dsl.syntax.tokens import Token

__all__ = ["INT_DIGITS_LIMIT", "Problem", "Reader", "join_path"]

INT_DIGITS_LIMIT = 40
_FLOAT = re.compile(r"[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?")
_SIZE = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)([kMGT]?B|[KMGT]iB)")
_UNITS = {
    "B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4,
}  # fmt: skip
_LITERALS: dict[str, Callable[[int], ast.Expr]] = {
    "true": lambda at: ast.BoolLit(at, at + 4, True),
    "false": lambda at: ast.BoolLit(at, at + 5, False),
    "inf": lambda at: ast.FloatLit(at, at + 3, float("inf"), "inf"),
    "nan": lambda at: ast.FloatLit(at, at + 3, float("nan"), "nan"),
}
"""Literals that look like names, by where they begin."""
_INT = re.compile(r"-?[0-9]+")


class Problem(NamedTuple):
    """A finding of the tree builder, before it is known where in the run it belongs."""

    code: str
    start: int
    end: int
    message: str
    help: str = ""
    scope: int | None = None
    """If the text has an error between here and `end`, then this follows from it and is not reported."""


def join_path(parts: Iterable[str | ast.Expr]) -> str | None:
    """The canonical text of a path; None where an index is an expression."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += f".{part}" if text else part
        elif isinstance(part, ast.IntLit):
            text += f"[{part.value}]"
        else:
            return None
    return text


@lru_cache(maxsize=4096)
def _is_plain_type(text: str) -> bool:
    """Whether the dims of a type without expressions are names, and integers that can be read as they stand."""
    dims = (word for _, _, word in type_words(text)[1:])
    return all(not word[0].isdigit() or (word.isdigit() and len(word) <= INT_DIGITS_LIMIT) for word in dims)


class Reader:
    """Reads tokens. Values that are wrong are reported in `problems` and replaced by a harmless one."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.longest_chain = 0
        """Operators in the longest chain so far."""

    def reset(self) -> None:
        self.problems = []
        self.longest_chain = 0

    def problem(
        self,
        code: str,
        start: int,
        end: int,
        message: str,
        *,
        help: str = "",  # noqa: A002
        scope: int | None = None,
    ) -> None:
        self.problems.append(Problem(code, start, end, message, help, scope))

    # --- names -----------------------------------------------------------------------------------------------------

    def read_ref(self, token: Token) -> ast.Ref:
        return self.read_path(token.start_pos, str(token))

    def read_path(self, start: int, text: str) -> ast.Ref:
        """The reference that `text`, which stands at offset `start`, writes."""
        if is_plain_path(text):
            return ast.Ref(start, start + len(text), text)
        parts, quoted = self.read_parts(start, text)
        return ast.Ref(start, start + len(text), join_path(parts), parts, quoted)

    def read_parts(self, start: int, text: str) -> tuple[tuple[str | ast.Expr, ...], tuple[int, ...]]:
        """The parts of a path, which may begin with a dot, and which of them have backticks."""
        parts: list[str | ast.Expr] = []
        quoted = []
        for begin, end, part, has_backticks in split_path(text):
            if isinstance(part, int):
                self._check_digits(start + begin, start + end)
                parts.append(ast.IntLit(start + begin, start + end, part))
                continue
            if has_backticks:
                self._check_escapes(start + begin, text[begin:end])
                quoted.append(len(parts))
            parts.append(part)
        return tuple(parts), tuple(quoted)

    def read_paths(self, token: Token) -> list[ast.Expr]:
        """`h, p.fc1.weight`: each name a reference, but for the words that are literals."""
        start = token.start_pos
        refs: list[ast.Expr] = []
        for match in PATH.finditer(token):
            begin, name = start + match.start(), match.group()
            literal = _LITERALS.get(name)
            refs.append(self.read_path(begin, name) if literal is None else literal(begin))
        return refs

    def read_plain(self, text: str, start: int) -> ast.Expr:
        """As `read_paths`, of one name that needs no backticks."""
        literal = _LITERALS.get(text)
        return ast.Ref(start, start + len(text), text) if literal is None else literal(start)

    def read_literal(self, text: str, start: int) -> ast.Expr:
        """An attribute's value: a number, perhaps negative, a list of integers, a string or a name."""
        first, end = text[0], start + len(text)
        if first == "[":
            return self.read_ints(text, start)
        if first == '"':
            return ast.StrLit(start, end, self.read_text(text[1:-1], start + 1))
        if first == "-":
            return ast.Unary(start, end, "-", self.read_number(text[1:], start + 1))
        return self.read_number(text, start) if first.isdigit() else self.read_plain(text, start)

    def read_target(self, token: Token) -> ast.TargetName:
        start, end = token.start_pos, token.end_pos
        if is_plain_path(token):
            return ast.TargetName(start, end, str(token))
        self.read_parts(start, token)
        return ast.TargetName(start, end, unquote_path(token), "`" in token)

    def require_plain(self, token: Token, what: str) -> None:
        if not is_plain_name(token) and not (token.startswith("`") and token.endswith("`")):
            self.problem("E0101", token.start_pos, token.end_pos, f"{what} is a plain name, not the path `{token}`")

    # --- values ----------------------------------------------------------------------------------------------------

    def read_number(self, text: str, start: int) -> ast.IntLit | ast.FloatLit | ast.SizeLit:
        end = start + len(text)
        if text.isdigit() and len(text) <= INT_DIGITS_LIMIT:
            return ast.IntLit(start, end, int(text))
        if text.replace("_", "").isdigit():
            if not self._check_digits(start, end):
                return ast.IntLit(start, end, 0)
            return ast.IntLit(start, end, int(text.replace("_", "")))
        if _FLOAT.fullmatch(text):
            if not self._check_digits(start, end, 10 * INT_DIGITS_LIMIT):
                return ast.FloatLit(start, end, 0.0, "0.0")
            value = float(text.replace("_", ""))
            if value == float("inf"):
                self.problem("E0107", start, end, f"`{text}` is over the largest float", help="write `inf`")
            return ast.FloatLit(start, end, value, text)
        size = _SIZE.fullmatch(text)
        if size is not None:
            return self._read_size(start, end, text, size[1], _UNITS[size[2]])
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        self.problem("E0105", start, end, f"`{shown}` is not a number", help=self._number_help(text))
        return ast.IntLit(start, end, 0)

    def _read_size(self, start: int, end: int, text: str, digits: str, unit: int) -> ast.SizeLit:
        if not self._check_digits(start, end):
            return ast.SizeLit(start, end, 0, "0B")
        whole, _, fraction = digits.replace("_", "").partition(".")
        scale = 10 ** len(fraction)
        value, rest = divmod(int(whole + fraction) * unit, scale)
        if rest:
            self.problem("E0101", start, end, f"`{text}` is not a whole number of bytes")
        return ast.SizeLit(start, end, value, text)

    @staticmethod
    def _number_help(text: str) -> str:
        if text[:2].lower() in ("0x", "0b", "0o"):
            return "integers are written in decimal"
        letters = text.lstrip("0123456789._")
        if letters.lower().endswith("b"):
            return "sizes end in B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"
        return "names do not begin with a digit; foreign names go in backticks"

    def read_int(self, token: Token) -> int:
        value = self.read_number(str(token), token.start_pos)
        if isinstance(value, ast.IntLit):
            return value.value
        self.problem("E0101", value.start, value.end, f"expected an integer, found `{token}`")
        return 0

    def read_string(self, token: Token) -> str:
        return self.read_text(token[1:-1], token.start_pos + 1)

    def read_text(self, quoted: str, start: int) -> str:
        """What stands between quotes, with its escapes resolved."""
        if "\\" not in quoted:
            return quoted
        text, bad = unescape(quoted)
        for offset, length in bad:
            self._bad_escape(start + offset, quoted[offset : offset + length])
        return text

    def read_plain_type(self, text: str, start: int) -> ast.TypeExpr:
        dtype = text.partition("[")[0]
        if _is_plain_type(text):
            return ast.TypeExpr(start, start + len(text), dtype, (), text)
        dims = []
        for begin, end, word in type_words(text)[1:]:
            at = start + begin
            value = self.read_number(word, at) if word[0].isdigit() else self.read_path(at, word)
            dims.append(ast.DimType(start + begin, start + end, value))
        return ast.TypeExpr(start, start + len(text), dtype, tuple(dims))

    def read_ints(self, text: str, start: int) -> ast.ListLit:
        items: list[ast.Expr] = []
        for match in _INT.finditer(text):
            item, begin, end = match.group(), start + match.start(), start + match.end()
            digits = item.lstrip("-")
            fits = len(digits) <= INT_DIGITS_LIMIT or self._check_digits(begin, end)
            literal = ast.IntLit(end - len(digits), end, int(digits) if fits else 0)
            items.append(ast.Unary(begin, end, "-", literal) if item[0] == "-" else literal)
        return ast.ListLit(start, start + len(text), tuple(items))

    # --- findings --------------------------------------------------------------------------------------------------

    def _check_digits(self, start: int, end: int, limit: int = INT_DIGITS_LIMIT) -> bool:
        if end - start <= limit:
            return True
        self.problem("E0107", start, end, f"number of {end - start} characters (the limit is {limit})")
        return False

    def _check_escapes(self, start: int, quoted: str) -> None:
        for offset, length in unescape(quoted)[1]:
            self._bad_escape(start + offset, quoted[offset : offset + length])

    def _bad_escape(self, start: int, escape: str) -> None:
        self.problem(
            "E0105", start, start + len(escape), f"unknown escape `{escape}`",
            help='known are \\n, \\t, \\", \\\\ and \\u{1F600}',
        )  # fmt: skip

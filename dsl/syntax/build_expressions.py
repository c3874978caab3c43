"""Types and expressions: see `build`."""

from __future__ import annotations

from typing import Any, TypeAlias

from trtn.dsl.syntax import ast
from trtn.dsl.syntax.literals import Reader, join_path
from trtn.dsl.syntax.names import unquote_path
from trtn.dsl.syntax.operators import combine
from trtn.dsl.syntax.tokens import Token

__all__ = ["ExpressionBuilder", "Items"]

Items: TypeAlias = list[Any]
"""What a rule matched: tokens, and what the methods made of the rules inside it."""


class ExpressionBuilder(Reader):
    """The rules of `common.lark`."""

    # --- types -----------------------------------------------------------------------------------------------------

    def plain_type(self, items: Items) -> ast.TypeExpr:
        token: Token = items[0]
        return self.read_plain_type(str(token), token.start_pos)

    def full_type(self, items: Items) -> ast.TypeExpr:
        dims = tuple(d if type(d) is ast.DimType else ast.DimType(d.start, d.end, d) for d in items[1:-1])
        return ast.TypeExpr(items[0].start_pos, items[-1].end_pos, unquote_path(items[0]), dims)

    def bounded_dim(self, items: Items) -> ast.DimType:
        name, _, low, high = items
        self.require_plain(name, "the name of a bounded dim")
        return ast.DimType(name.start_pos, high.end, self.read_ref(name), low, high)

    # --- expressions -----------------------------------------------------------------------------------------------

    def leaf(self, items: Items) -> ast.Expr:
        """A name or a literal."""
        token = items[0]
        kind = token.type
        if kind == "PATH":
            return self.read_ref(token)
        if kind == "NUMBER":
            return self.read_number(str(token), token.start_pos)
        if kind == "INTS":
            return self.read_ints(str(token), token.start_pos)
        start, end = token.start_pos, token.end_pos
        if kind == "STRING":
            return ast.StrLit(start, end, self.read_string(token))
        if kind == "TRUE" or kind == "FALSE":
            return ast.BoolLit(start, end, kind == "TRUE")
        return ast.FloatLit(start, end, float(token), str(token))

    def indexed_ref(self, items: Items) -> ast.Ref:
        head = self.read_ref(items[0])
        parts, quoted, end = list(head.parts), list(head.quoted), head.end
        for item in items[1:]:
            if type(item) is tuple:
                value, end = item
                parts.append(value)
            else:
                tail, ticked = self.read_parts(item.start_pos, item)
                quoted.extend(len(parts) + at for at in ticked)
                parts.extend(tail)
                end = item.end_pos
        return ast.Ref(head.start, end, join_path(parts), tuple(parts), tuple(quoted))

    def subscript(self, items: Items) -> tuple[ast.Expr, int]:
        return items[0], items[1].end_pos

    def list_(self, items: Items) -> ast.ListLit:
        return ast.ListLit(items[0].start_pos, items[-1].end_pos, tuple(items[1:-1]))

    def parens(self, items: Items) -> ast.Expr:
        inner: ast.Expr = items[0]
        return inner

    def call(self, items: Items) -> ast.Call:
        opening = items[0]
        args: list[ast.Expr] = []
        kwargs: list[ast.Kwarg] = []
        for item in items[1:-1]:
            kind = type(item)
            if kind is ast.Kwarg:
                kwargs.append(item)
                continue
            if kwargs:
                start = item.start_pos if kind is Token else item.start
                end = item.end_pos if kind is Token else item.end
                self.problem("E0101", start, end, "positional argument after a keyword argument")
            if kind is Token:
                args.extend(self.read_paths(item))
            else:
                args.append(item)
        callee = self.read_path(opening.start_pos, opening[:-1].rstrip(" \t"))
        return ast.Call(opening.start_pos, items[-1].end_pos, callee, tuple(args), tuple(kwargs))

    def kwarg(self, items: Items) -> ast.Kwarg:
        name, value = items
        self.require_plain(name, "the name of an argument")
        return ast.Kwarg(name.start_pos, value.end, unquote_path(name), value, name.end_pos)

    def chain(self, items: Items) -> ast.Expr:
        return combine(items, self)

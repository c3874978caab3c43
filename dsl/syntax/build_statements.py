"""Statements and their bodies: see `build`."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from trtn.dsl.syntax import ast
from trtn.dsl.syntax.build_expressions import ExpressionBuilder, Items
from trtn.dsl.syntax.names import unquote_path
from trtn.dsl.syntax.tokens import Token

__all__ = ["StatementBuilder"]


_NAME = re.compile(r"[^\s,]+")
_ATTRIBUTE = re.compile(r",\s+(\w+)=(\[[^\]]*\]|\"(?:[^\"\\]|\\.)*\"|[^\s,]+)")
"""Inside of a LAYER: a tensor's name; an attribute's name and value."""


class _Body(NamedTuple):
    statements: tuple[ast.Statement, ...]
    end: int


class _Maximum(NamedTuple):
    value: ast.Expr


class _While(NamedTuple):
    name: str
    start: int


class _Axis(NamedTuple):
    value: int


class StatementBuilder(ExpressionBuilder):
    """The statements of `trtn.lark`."""

    def annotation(self, items: Items) -> ast.Annotation:
        name, *args = items
        end = args.pop().end_pos if args else name.end_pos
        return ast.Annotation(name.start_pos, end, name[1:], tuple(args))

    def annotated(self, items: Items) -> ast.Assign | ast.Repeat:
        statement: ast.Assign | ast.Repeat = items[-1]
        statement.annotations = tuple(items[:-1])
        return statement

    def assign(self, items: Items) -> ast.Assign:
        count = 1
        while type(items[count]) is Token:
            count += 1
        targets = tuple([self.read_target(token) for token in items[:count]])
        last = items[-1]
        return ast.Assign(targets[0].start, last.end, targets, items[count], tuple(items[count + 1 :]))

    def layer(self, items: Items) -> ast.Assign:
        token: Token = items[0]
        start, end = token.start_pos, token.end_pos
        equals = token.index(" = ")
        opening, closing = token.index("(", equals), token.rindex(")")
        attribute = token.find("=", opening, closing)
        names_end = closing if attribute < 0 else token.rindex(",", opening, attribute)
        names = _NAME.finditer(token, opening + 1, names_end)
        args = [self.read_plain(name[0], start + name.start()) for name in names]
        kwargs = []
        for part in _ATTRIBUTE.finditer(token, names_end, closing):
            value = self.read_literal(part[2], start + part.start(2))
            kwargs.append(ast.Kwarg(start + part.start(1), value.end, part[1], value, start + part.end(1)))
        callee = ast.Ref(start + equals + 3, start + opening, token[equals + 3 : opening])
        call = ast.Call(callee.start, start + closing + 1, callee, tuple(args), tuple(kwargs))
        types = (self.read_plain_type(token[closing + 4 :], start + closing + 4),) if token[-1] == "]" else ()
        return ast.Assign(start, end, (ast.TargetName(start, start + equals, token[:equals]),), call, types)

    def repeat(self, items: Items) -> ast.Repeat:
        keyword, variable, _, low, high, *rest = items
        body: _Body = rest.pop()
        carry = rest.pop(0) if rest and type(rest[0]) is tuple else ()
        label = unquote_path(rest[1]) if rest else None
        self.check_body(body.statements, None, "a `repeat`")
        return ast.Repeat(keyword.start_pos, body.end, unquote_path(variable), low, high, carry, label, body.statements)

    def carried(self, items: Items) -> tuple[ast.TargetName, ...]:
        return tuple(self.read_target(token) for token in items[1:])

    def let(self, items: Items) -> ast.Let:
        keyword, name, value = items
        return ast.Let(keyword.start_pos, value.end, unquote_path(name), value)

    def assert_(self, items: Items) -> ast.Assert:
        keyword, relation, *message = items
        text = self.read_string(message[0]) if message else None
        end = message[0].end_pos if message else relation.end
        return ast.Assert(keyword.start_pos, end, relation, text)

    def yield_(self, items: Items) -> ast.Yield:
        return ast.Yield(items[0].start_pos, items[-1].end, tuple(items[1:]))

    def return_(self, items: Items) -> ast.Return:
        return ast.Return(items[0].start_pos, items[-1].end, tuple(items[1:]))

    def if_(self, items: Items) -> ast.If:
        keyword, condition, then, _, otherwise = items
        self.check_body(then.statements, ast.Yield, "an `if`")
        self.check_body(otherwise.statements, ast.Yield, "an `else`")
        return ast.If(keyword.start_pos, otherwise.end, condition, then.statements, otherwise.statements)

    def scan(self, items: Items) -> ast.Scan:
        keyword, *lists, body = items
        inputs = next((x for x in lists if type(x[0]) is ast.ScanInput), ())
        carry = next((x for x in lists if type(x[0]) is ast.Carry), ())
        self.check_body(body.statements, ast.Yield, "a `scan`")
        return ast.Scan(keyword.start_pos, body.end, inputs, carry, body.statements)

    def over(self, items: Items) -> tuple[ast.ScanInput, ...]:
        return tuple(items[1:])

    def scan_input(self, items: Items) -> ast.ScanInput:
        name, tensor, *rest = items
        axis = rest.pop(0).value if rest and type(rest[0]) is _Axis else 0
        end = rest[0].end_pos if rest else tensor.end
        return ast.ScanInput(name.start_pos, end, unquote_path(name), tensor, axis, bool(rest))

    def axis(self, items: Items) -> _Axis:
        value = self.read_int(items[-1])
        return _Axis(-value if len(items) == 3 else value)

    def loop(self, items: Items) -> ast.Loop:
        keyword, variable, _, low, limit, *rest, body = items
        if type(low) is not ast.IntLit or low.value != 0:
            self.problem("E0101", low.start, low.end, "a `loop` counts from 0", help="write `0..limit`")
        maximum = next((x.value for x in rest if type(x) is _Maximum), None)
        carry = next((x for x in rest if type(x) is tuple), ())
        condition = next((x for x in rest if type(x) is _While), _While("", 0))
        self.check_body(body.statements, ast.Yield, "a `loop`")
        return ast.Loop(
            keyword.start_pos, body.end, unquote_path(variable), limit, maximum, carry,
            condition.name or None, body.statements, condition.start,
        )  # fmt: skip

    def maximum(self, items: Items) -> _Maximum:
        return _Maximum(items[1])

    def while_(self, items: Items) -> _While:
        return _While(unquote_path(items[1]), items[1].start_pos)

    def carries(self, items: Items) -> tuple[ast.Carry, ...]:
        return tuple(items[1:])

    def carry(self, items: Items) -> ast.Carry:
        name, initial = items
        return ast.Carry(name.start_pos, initial.end, unquote_path(name), initial)

    def body(self, items: Items) -> _Body:
        return _Body(tuple(items[1:-1]), items[-1].end_pos)

    # --- checks ----------------------------------------------------------------------------------------------------

    def check_body(self, body: Any, final: type[ast.Return] | type[ast.Yield] | None, where: str) -> None:
        """`return` and `yield` stand last, in the bodies that they belong to."""
        last = len(body) - 1
        for at, statement in enumerate(body):
            kind = type(statement)
            if kind is ast.Return or kind is ast.Yield:
                word = "return" if kind is ast.Return else "yield"
                if kind is not final:
                    message = f"`{word}` has no place in {where}"
                elif at != last:
                    message = f"`{word}` is not the last statement of {where}"
                else:
                    continue
                self.problem("E0213", statement.start, statement.end, message)

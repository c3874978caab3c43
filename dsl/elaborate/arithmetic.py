"""Compile-time arithmetic: what operators and functions make of numbers, dims, strings and bools."""

from __future__ import annotations

import math
from typing import Any

from trtn.dsl.dims import Dim, Expr, Relation, ceildiv, dim_max, dim_min
from trtn.dsl.elaborate.context import Context
from trtn.dsl.elaborate.values import POISON, Value, describe, is_number
from trtn.dsl.syntax import ast

__all__ = ["COMPARISONS", "FUNCTIONS", "apply_function", "compute", "is_static"]

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_DIM_FUNCTIONS = {"min": dim_min, "max": dim_max, "ceildiv": ceildiv}
FUNCTIONS = frozenset({*_DIM_FUNCTIONS, "sqrt"})
_INT_LIMIT = 2**63


def is_static(value: Value) -> bool:
    """Whether an operator computes with a value here, and makes no layer of it."""
    return is_number(value) or isinstance(value, bool | str)


def compute(ctx: Context, node: ast.Binary, left: Any, right: Any) -> Value:
    """The value of an operator between two static values."""
    op = node.op
    if op in COMPARISONS:
        if isinstance(left, Expr) or isinstance(right, Expr):
            if isinstance(left, float | str) or isinstance(right, float | str):
                ctx.error(
                    "E0306",
                    f"a dim can't be compared with {describe(right if isinstance(left, Expr) else left)}",
                    ctx.span(node),
                )
                return POISON
            return Relation(op, left, right)
        return _compare(ctx, node, left, right)
    if not (is_number(left) and is_number(right)) or op == "@":
        odd = left if not is_number(left) else right
        ctx.error("E0306", f"`{op}` takes numbers or tensors, not {describe(odd)}", ctx.span(node))
        return POISON
    symbolic = isinstance(left, Expr) or isinstance(right, Expr)
    if symbolic and (isinstance(left, float) or isinstance(right, float)):
        ctx.error("E0306", "a dim and a float can't be combined: dims are integers", ctx.span(node))
        return POISON
    value: Value
    try:
        value = _arithmetic(op, left, right)
    except ZeroDivisionError:
        ctx.error("E0306", f"division by zero: {left} {op} {right}", ctx.span(node))
        return POISON
    except (TypeError, ValueError, OverflowError) as e:
        ctx.error("E0306", f"`{op}` can't be computed: {e}", ctx.span(node))
        return POISON
    if isinstance(value, int) and abs(value) >= _INT_LIMIT:
        ctx.error("E0418", f"the result of `{op}` is beyond 2^63", ctx.span(node))
        return POISON
    return value


def _compare(ctx: Context, node: ast.Binary, left: Any, right: Any) -> Value:
    try:
        result = {
            "==": lambda: left == right, "!=": lambda: left != right, "<": lambda: left < right,
            "<=": lambda: left <= right, ">": lambda: left > right, ">=": lambda: left >= right,
        }[node.op]()  # fmt: skip
    except TypeError:
        ctx.error("E0306", f"{describe(left)} and {describe(right)} can't be compared", ctx.span(node))
        return POISON
    return bool(result)


def _arithmetic(op: str, left: Any, right: Any) -> Any:
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "//":
            return left // right
        case "%":
            return left % right
        case "/":
            if isinstance(left, Expr) or isinstance(right, Expr):
                raise TypeError("dims divide by `//` (down) or `ceildiv` (up)")
            return left / right
        case "**":
            return _power(left, right)
    raise TypeError(f"`{op}` is not known here")


def _power(left: Any, right: Any) -> Any:
    if isinstance(right, Expr):
        raise TypeError("a dim can't be an exponent")
    if isinstance(left, Expr):
        if not isinstance(right, int) or not 0 <= right <= 8:
            raise TypeError("a dim is raised to integers from 0 to 8")
        result: Any = 1
        for _ in range(right):
            result = result * left
        return result
    if isinstance(left, int) and isinstance(right, int) and abs(right) * max(1, abs(left).bit_length()) > 4096:
        raise ValueError("the power is too large")
    value = left**right
    if isinstance(value, complex):
        raise ValueError("a root of a negative number")
    return value


def apply_function(ctx: Context, call: ast.Call, function: str, values: list[Any]) -> Value:
    """`min`, `max`, `ceildiv` or `sqrt` of numbers."""
    try:
        takes = {"sqrt": 1, "ceildiv": 2}.get(function, len(values))
        if len(values) != takes:
            raise TypeError(f"it takes {takes} number{'s' * (takes > 1)}, not {len(values)}")
        if function == "sqrt":
            (x,) = values
            if isinstance(x, Expr):
                raise TypeError("the root of a dim is no integer")
            return math.sqrt(x)
        if any(isinstance(v, float) for v in values):
            if any(isinstance(v, Expr) for v in values) or function == "ceildiv":
                raise TypeError("dims and floats can't be combined")
            number: float = min(values) if function == "min" else max(values)
            return number
        dim: Dim = _DIM_FUNCTIONS[function](*values)  # type: ignore[operator]
        return dim
    except (TypeError, ValueError, ZeroDivisionError) as e:
        ctx.error("E0306", f"`{function}` can't be computed: {e}", ctx.span(call))
        return POISON

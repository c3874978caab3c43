"""Operators: from a flat chain (`a + b * -c`) to nested nodes, by the table of precedences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtn.dsl.syntax import ast

if TYPE_CHECKING:
    from trtn.dsl.syntax.literals import Reader

__all__ = ["CHAIN_LIMIT", "combine"]

CHAIN_LIMIT = 100
"""Operators in one chain; more of them nest deeper than the tree's readers can follow."""

_COMPARISON, _SUM, _PRODUCT, _SIGN, _POWER = range(5)
_PRECEDENCE = {
    "==": _COMPARISON, "!=": _COMPARISON, "<": _COMPARISON, "<=": _COMPARISON, ">": _COMPARISON, ">=": _COMPARISON,
    "+": _SUM, "-": _SUM,
    "*": _PRODUCT, "/": _PRODUCT, "//": _PRODUCT, "%": _PRODUCT, "@": _PRODUCT,
    "**": _POWER,
}  # fmt: skip


def combine(items: list[Any], reader: Reader) -> ast.Expr:
    """The expression of a chain: operands (nodes) with operators and signs (tokens) between and before them."""
    if len(items) > CHAIN_LIMIT and sum(isinstance(item, str) for item in items) > CHAIN_LIMIT:
        first = next(item for item in items if isinstance(item, ast.Node))
        reader.problem(
            "E0107", first.start, items[-1].end, f"expression of more than {CHAIN_LIMIT} operators",
            help="name its parts in statements of their own",
        )  # fmt: skip
        return first  # type: ignore[return-value]
    reader.longest_chain = max(reader.longest_chain, len(items))
    return _Climber(items, reader).climb(_COMPARISON)


class _Climber:
    """Precedence climbing. The sign binds tighter than products and looser than `**`, whose right side may have one."""

    def __init__(self, items: list[Any], reader: Reader) -> None:
        self.items = items
        self.at = 0
        self.reader = reader

    def climb(self, lowest: int) -> ast.Expr:
        left = self.operand()
        compared = False
        while self.at < len(self.items):
            operator = self.items[self.at]
            precedence = _PRECEDENCE[operator]
            if precedence < lowest:
                break
            self.at += 1
            # Left-associative: the right side takes only what binds tighter. `**` takes its like as well.
            right = self.climb(precedence if precedence == _POWER else precedence + 1)
            if precedence == _COMPARISON:
                if compared:
                    self.reader.problem(
                        "E0101", operator.start_pos, operator.end_pos, "comparisons can't be chained",
                        help="state each comparison by itself",
                    )  # fmt: skip
                compared = True
            left = ast.Binary(left.start, right.end, str(operator), left, right)
        return left

    def operand(self) -> ast.Expr:
        item = self.items[self.at]
        self.at += 1
        if isinstance(item, str):
            inner = self.climb(_POWER)
            return ast.Unary(item.start_pos, inner.end, "-", inner)  # type: ignore[attr-defined]
        operand: ast.Expr = item
        return operand

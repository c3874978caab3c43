"""Inlay hints: the type of each value behind the statement that binds it, where none is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lsprotocol import types as lsp

from trtn.dsl.lsp.symbols import Space
from trtn.dsl.lsp.view import View
from trtn.dsl.syntax import ast

__all__ = ["inlay_hints"]


def inlay_hints(view: View, start: int, end: int) -> list[lsp.InlayHint]:
    """Hints for the statements that end between two offsets."""
    if view.analysis.unit is None:
        return []
    found: list[lsp.InlayHint] = []
    for item in view.analysis.module.items:
        if isinstance(item, ast.NetworkDecl | ast.Block) and item.start < end and start < item.end:
            once = isinstance(item, ast.NetworkDecl)
            members = item.members if isinstance(item, ast.NetworkDecl) else item.body
            for statement, single in _assignments(members, once):
                if start <= statement.end <= end and not statement.types:
                    found += _hint(view, statement, writable=single)
    return found


def _assignments(members: Iterable[ast.Node], once: bool) -> Iterator[tuple[ast.Assign, bool]]:
    """Every assignment, and whether it is elaborated once, so that a type can stand there."""
    for member in members:
        match member:
            case ast.Assign():
                yield member, once
                match member.value:
                    case ast.If() as node:
                        yield from _assignments((*node.then, *node.otherwise), once)
                    case ast.Scan() | ast.Loop() as node:
                        yield from _assignments(node.body, once)
            case ast.Repeat():
                yield from _assignments(member.body, False)


def _hint(view: View, statement: ast.Assign, *, writable: bool) -> Iterator[lsp.InlayHint]:
    table = view.analysis.table
    types: list[str] = []
    for target in statement.targets:
        occurrence = table.at(target.start)
        if occurrence is None or occurrence.symbol.space is not Space.VALUE:
            return
        found = {str(t.type) for t in view.types.of(occurrence.symbol, occurrence)}
        if len(found) != 1:  # another one in each call of the block, in each round
            return
        types += found
    text = f": {', '.join(types)}"
    at = view.positions.position(statement.end)
    edits = [lsp.TextEdit(lsp.Range(at, at), f" {text}")] if writable else None
    yield lsp.InlayHint(at, text, lsp.InlayHintKind.Type, text_edits=edits, padding_left=True)

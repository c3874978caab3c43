"""Document symbols: the declarations of a file and what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lsprotocol import types as lsp

from trtn.dsl.lsp.view import View
from trtn.dsl.syntax import ast

__all__ = ["outline"]

_KINDS = {
    ast.Import: lsp.SymbolKind.Module, ast.WeightsDecl: lsp.SymbolKind.File, ast.Block: lsp.SymbolKind.Function,
    ast.Plugin: lsp.SymbolKind.Interface, ast.NetworkDecl: lsp.SymbolKind.Class, ast.Profile: lsp.SymbolKind.Struct,
    ast.Target: lsp.SymbolKind.Object, ast.Manifest: lsp.SymbolKind.Package, ast.DimDecl: lsp.SymbolKind.TypeParameter,
    ast.Input: lsp.SymbolKind.Field, ast.Output: lsp.SymbolKind.Field, ast.Let: lsp.SymbolKind.Constant,
    ast.TensorEntry: lsp.SymbolKind.Field, ast.WeightFile: lsp.SymbolKind.File,
    ast.ProfileEntry: lsp.SymbolKind.Property, ast.Field: lsp.SymbolKind.Property,
}  # fmt: skip


def outline(view: View) -> list[lsp.DocumentSymbol]:
    return [symbol for item in view.analysis.module.items for symbol in _symbols(view, item)]


def _symbols(view: View, node: ast.Node) -> Iterator[lsp.DocumentSymbol]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if target.name != "_":
                yield _symbol(view, target.name, lsp.SymbolKind.Variable, node, target.start, target.end)
    elif isinstance(node, ast.Repeat):
        label = node.label or f"repeat {node.variable}"
        yield _symbol(view, label, lsp.SymbolKind.Array, node, node.start, node.start, node.body)
    elif (kind := _KINDS.get(type(node))) is not None:
        name = str(getattr(node, "alias", "") or getattr(node, "name", ""))
        start = getattr(node, "name_start", 0) or node.start
        end = max(start, getattr(node, "name_end", 0))
        yield _symbol(view, name, kind, node, start, end, _members(node))


def _members(node: ast.Node) -> tuple[ast.Node, ...]:
    match node:
        case ast.Block():
            return node.body
        case ast.NetworkDecl():
            return node.members
        case ast.Profile():
            return node.entries
        case ast.Target():
            return node.fields
        case ast.Manifest():
            return (*node.files, *node.tensors)
    return ()


def _symbol(
    view: View, name: str, kind: lsp.SymbolKind, node: ast.Node, start: int, end: int, members: Iterable[ast.Node] = ()
) -> lsp.DocumentSymbol:
    at = view.positions.range
    inner = [symbol for member in members for symbol in _symbols(view, member)]
    return lsp.DocumentSymbol(name or "_", kind, at(node.start, node.end), at(start, end), children=inner)

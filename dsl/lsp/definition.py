"""Go to definition: names, blocks in this and in imported files, weights in their manifests, files that are named."""

from __future__ import annotations

from lsprotocol import types as lsp

from trtn.dsl.diagnostics import Sink, Span
from trtn.dsl.lsp.cursor import path_at
from trtn.dsl.lsp.hover import weights_at
from trtn.dsl.lsp.view import View
from trtn.dsl.syntax import ast

__all__ = ["definition", "references"]


def definition(view: View, offset: int) -> list[lsp.Location]:
    """Where what is at an offset is defined. Several places where a path stands for several tensors."""
    occurrence = view.analysis.table.at(offset)
    for node in reversed(path_at(view.analysis.module, offset)):
        match node:
            case ast.Import() | ast.WeightsDecl() if node.path_start <= offset <= node.path_end:
                return _file(view, node.path)
            case ast.Ref() if occurrence is None or occurrence.end <= offset <= node.end:  # behind a path's first name
                spans = [w.span for w in weights_at(view, node) if w.span is not None] or _imported(view, node)
                if spans:
                    return [view.location(span) for span in sorted(spans, key=lambda s: (s.source.path, s.start))]
    if occurrence is None:
        return []
    found = occurrence.symbol.definition
    return [view.location(view.source.span(found.start, found.end))]


def references(view: View, offset: int) -> list[lsp.Range]:
    """Every place of this file that has the name at an offset."""
    occurrence = view.analysis.table.at(offset)
    found = occurrence.symbol.occurrences if occurrence is not None else []
    return [view.positions.range(o.start, o.end) for o in sorted(found, key=lambda o: o.start)]


def _file(view: View, path: str) -> list[lsp.Location]:
    unit = view.analysis.unit
    source = view.buffers.read(unit.folder / path, Sink()) if unit is not None else None
    return [view.location(Span(source, 0, 0))] if source is not None else []


def _imported(view: View, ref: ast.Ref) -> list[Span]:
    """The block of an imported file that `alias.block` calls."""
    alias, _, rest = (ref.name or "").partition(".")
    unit = view.analysis.unit.imports.get(alias) if view.analysis.unit is not None else None
    block = unit.blocks.get(rest) if unit is not None else None
    return [unit.source.span(block.name_start, block.name_end)] if unit is not None and block is not None else []

"""An analysed text as the questions see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from lsprotocol import types as lsp

from trtn.dsl.diagnostics import Source, Span
from trtn.dsl.lsp.analysis import Analysis, Hint
from trtn.dsl.lsp.buffers import Buffers
from trtn.dsl.lsp.positions import Positions
from trtn.dsl.lsp.types import Types

__all__ = ["View"]


@dataclass(eq=False)
class View:
    """`hints` are there once the lint rules have run."""

    analysis: Analysis
    buffers: Buffers
    encoding: lsp.PositionEncodingKind | str | None
    hints: list[Hint] = field(default_factory=list)
    version: int | None = None
    """The number that the editor gave to this text."""

    @property
    def source(self) -> Source:
        return self.analysis.source

    @cached_property
    def positions(self) -> Positions:
        return Positions(self.source.text, self.encoding)

    @cached_property
    def types(self) -> Types:
        return Types(self.analysis)

    def prepare(self) -> None:
        """Find out what most questions ask for, before somebody waits for it."""
        if self.analysis.unit is not None:
            _ = self.analysis.table, self.types

    def location(self, span: Span) -> lsp.Location:
        """A place in this or another file."""
        own = span.source.text is self.source.text
        positions = self.positions if own else Positions(span.source.text, self.encoding)
        return lsp.Location(self.buffers.uri(span.source.path), positions.range(span.start, span.end))

"""What is known of one open file: its tree and names, the findings, the networks that it says.

Findings come first, since somebody waits for them; everything else is found out when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trtn.dsl.diagnostics import Diagnostic, Sink, Source
from trtn.dsl.elaborate import Unit
from trtn.dsl.lint import RULES, Edit, Subject
from trtn.dsl.lint.base import Finding
from trtn.dsl.load import check_unit, is_manifest
from trtn.dsl.lsp.buffers import BufferLoader, Buffers, Token
from trtn.dsl.lsp.table import Table
from trtn.dsl.lsp.understood import understood
from trtn.dsl.network import Network
from trtn.dsl.review.allow import is_allowed
from trtn.dsl.syntax import ast, parse_manifest
from trtn.dsl.syntax.collecting import no_collections

__all__ = ["Analysis", "Hint", "analyse", "hints"]


@dataclass(frozen=True, slots=True)
class Hint:
    """A lint rule's finding, with the edits that cure it."""

    code: str
    name: str
    finding: Finding

    @property
    def edits(self) -> tuple[Edit, ...]:
        return self.finding.edits


@dataclass(eq=False)
class Analysis:
    """One text's. `networks` are those without errors; `files` are the others that were read for it."""

    source: Source
    module: ast.Module
    findings: tuple[Diagnostic, ...]
    files: frozenset[str] = frozenset()
    unit: Unit | None = None
    """None for a manifest."""
    networks: tuple[Network, ...] = ()
    tables: dict[int, Table] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        return any(d.severity == "error" for d in self.findings)

    @cached_property
    def table(self) -> Table:
        return Table(self.module)

    def table_of(self, unit: Unit) -> Table:
        """The names of an imported file."""
        if unit is self.unit:
            return self.table
        if id(unit) not in self.tables:
            self.tables[id(unit)] = Table(unit.module)
        return self.tables[id(unit)]

    @cached_property
    def known(self) -> tuple[Network, ...]:
        """All networks as far as they could be understood: where one has errors, without the layers that hang on them."""
        if self.unit is None:
            return ()
        found = {n.name: n for n in self.networks}
        rest = [name for name in self.unit.networks if name not in found]
        found |= {n.name: n for n in understood(self.unit, rest, self.findings)}
        return tuple(found.values())


def analyse(source: Source, buffers: Buffers, token: Token, *, allow_outside: bool = False) -> Analysis:
    """Read and check a text with all that it names. Raises Cancelled where the token says so."""
    with no_collections():
        return _analyse(source, buffers, token, allow_outside)


def _analyse(source: Source, buffers: Buffers, token: Token, allow_outside: bool) -> Analysis:
    sink = Sink()
    if is_manifest(source):
        module = parse_manifest(source, Sink())
        buffers.table(source, sink, allow_outside)
        return Analysis(source, module, tuple(sink.diagnostics))
    loader = BufferLoader(buffers, sink, token, allow_outside=allow_outside)
    unit = loader.unit(source)
    readable = not sink.has_errors
    token.check()
    declared = dict(unit.networks)
    unit.networks = {n: _watched(d, token) for n, d in declared.items()}
    networks = check_unit(unit, sink, history=buffers.history(source))
    unit.networks = declared
    kept = tuple(networks) if readable else ()
    return Analysis(unit.source, unit.module, tuple(sink.diagnostics), frozenset(loader.files), unit, kept)


class _Watched(tuple[Any, ...]):
    """A network's members. The elaborator walks them one by one: there work that nobody waits for ends."""

    token: Token

    def __iter__(self) -> Iterator[Any]:
        for member in super().__iter__():
            self.token.check()
            yield member


def _watched(decl: ast.NetworkDecl, token: Token) -> ast.NetworkDecl:
    members = _Watched(decl.members)
    members.token = token
    return ast.NetworkDecl(decl.start, decl.end, decl.name, members, decl.name_start, decl.name_end)


def hints(analysis: Analysis, token: Token) -> list[Hint]:
    """What the lint rules find in a spec without errors. Raises Cancelled."""
    if analysis.unit is None or analysis.broken:
        return []
    subject = Subject(analysis.source, analysis.module, {n.name: n for n in analysis.networks})
    return [hint for code, rule in sorted(RULES.items()) for hint in _hints(subject, code, rule.name, token)]


def _hints(subject: Subject, code: str, name: str, token: Token) -> Sequence[Hint]:
    token.check()
    found = RULES[code].check(subject)
    return [Hint(code, name, f) for f in found if not is_allowed(code, f.span) and not is_allowed(name, f.span)]

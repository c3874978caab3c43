"""A first look at what was typed: only the statements that differ from the last text without errors.

What they read from elsewhere stands in as inputs of the types that it had there. So the findings about the statement
that somebody is writing come at once, however long the network is; the check of the whole text then takes their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from trtn.dsl.check import check_network
from trtn.dsl.diagnostics import Diagnostic, Sink, Source, Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.elaborate import elaborate_network
from trtn.dsl.lsp.analysis import Hint
from trtn.dsl.lsp.symbols import Kind, Space
from trtn.dsl.lsp.view import View
from trtn.dsl.syntax import ast, parse, quote_name
from trtn.dsl.syntax.edits import Change
from trtn.dsl.syntax.walk import nodes

__all__ = ["glance"]

MOST = 40
"""Statements that are looked at; where more differ, the whole check has to do."""
_STATEMENTS = (ast.Assign, ast.Repeat)
_HEAD = "trtn 1 network n {"
_NAME = re.compile(r"`([^`]+)`")


def glance(before: View, source: Source) -> View | None:
    """A text's findings as far as they can be told at once, from a view without errors of an earlier text.

    None where more has changed than a few statements of one network.
    """
    change = Change.between(before.source, source)
    start, end, shift = change.start, change.end, change.growth
    found: list[Diagnostic] = []
    if before.source.text != source.text:
        network = next((n for n in _networks(before) if n.start < start and end < n.end), None)
        part = _part(network, start, end) if network is not None else None
        if network is None or part is None:
            return None
        start, end = part
        found = list(_look(before, network, source, start, end + shift))
    kept = [_moved(d, source, start, end, shift) for d in before.analysis.findings]
    analysis = replace(before.analysis, source=source, findings=(*found, *(d for d in kept if d is not None)))
    return View(analysis, before.buffers, before.encoding, list(_hints(before, source, start, end, shift)))


def _networks(view: View) -> Iterator[ast.NetworkDecl]:
    return (n for n in view.analysis.module.items if isinstance(n, ast.NetworkDecl))


def _part(network: ast.NetworkDecl, start: int, end: int) -> tuple[int, int] | None:
    """The room between the members of a network that a change leaves alone; None where it is not about statements.

    The neighbours of what has changed are looked at too: new text may go on with the one or belong to the other.
    """
    members = sorted(network.members, key=lambda m: m.start)
    first = sum(m.end < start for m in members)
    last = len(members) - sum(m.start > end for m in members)
    if any(not isinstance(m, _STATEMENTS) for m in members[first:last]) or not first or last - first > MOST:
        return None
    if first > 1 and isinstance(members[first - 1], _STATEMENTS):
        first -= 1
    if last < len(members) and isinstance(members[last], _STATEMENTS):
        last += 1
    return members[first - 1].end, members[last].start if last < len(members) else network.end - 1


def _look(before: View, network: ast.NetworkDecl, source: Source, start: int, end: int) -> Iterator[Diagnostic]:
    """The findings about the text between two offsets, which stands among a network's statements."""
    sink = Sink()
    # The same offsets as in the text: what is in front is left blank.
    chunk = _HEAD + " " * (start - len(_HEAD)) + source.text[start:end] + "}"
    parsed = parse(Source(source.path, chunk), sink)
    declared = [n for n in parsed.items if isinstance(n, ast.NetworkDecl)]
    if not sink.has_errors and declared and before.analysis.unit is not None:
        members = declared[0].members
        around = [m for m in network.members if isinstance(m, ast.DimDecl | ast.Let | ast.Assert | ast.Input)]
        decl = replace(network, members=(*around, *_stand_ins(before, network, members, start), *members))
        unit = replace(before.analysis.unit, source=source, broken=True, profiles=[], targets=[])
        elaborated = elaborate_network(unit, decl, sink)
        if elaborated is not None:
            check_network(elaborated.network, elaborated.requirements, sink, elaborated.spans, complete=False)
    for d in sink.diagnostics:
        if d.span is not None and d.span.source.path == source.path and start <= d.span.start <= end:
            labels = tuple(x for x in d.labels if x.span.source.path != source.path)
            yield replace(d, span=_span(source, d.span, 0), labels=labels, help=d.help or _near(before, d, start))


def _stand_ins(before: View, network: ast.NetworkDecl, members: Sequence[ast.Node], start: int) -> list[ast.Input]:
    """Inputs for the values that statements read and don't bind, if they have one type."""
    scope = before.analysis.table.network_scope(network.name)
    bound = {t.name for m in nodes(members) if isinstance(m, ast.Assign) for t in m.targets}
    read = {n.name or n.root for n in nodes(members) if isinstance(n, ast.Ref)}
    read |= {t.name for m in nodes(members) if isinstance(m, ast.Repeat) for t in m.carry}
    lines = []
    for name in sorted(read - bound):
        symbol = scope.symbols.get((Space.VALUE, name)) if scope is not None else None
        if symbol is not None and symbol.kind is Kind.VALUE and symbol.definition.start < start:
            types = {str(t.type) for t in before.types.of(symbol)}
            lines += [f"input {quote_name(name)}: {types.pop()}"] if len(types) == 1 else []
    parsed = parse(Source("-", f"{_HEAD} {' '.join(lines)} }}"), Sink())
    return [m for n in parsed.items if isinstance(n, ast.NetworkDecl) for m in n.members if isinstance(m, ast.Input)]


def _near(before: View, diagnostic: Diagnostic, start: int) -> str:
    """The name that was probably meant, among all that are known there."""
    wrong = _NAME.search(diagnostic.message)
    if diagnostic.code != "E0201" or wrong is None:
        return ""
    visible = before.analysis.table.visible(start, Space.VALUE)
    return did_you_mean(wrong[1], [n for n, s in visible.items() if s.definition.start < start])


def _moved(diagnostic: Diagnostic, source: Source, start: int, end: int, shift: int) -> Diagnostic | None:
    """A finding about a place outside of what has changed, where it is now."""
    span = diagnostic.span
    if span is None or span.source.path != source.path:
        return diagnostic
    place = _place(span, source, start, end, shift)
    return replace(diagnostic, span=place, labels=()) if place is not None else None


def _hints(before: View, source: Source, start: int, end: int, shift: int) -> Iterator[Hint]:
    """The lint rules' findings that still have a place. Their fixes are offered when the whole text is checked."""
    for hint in before.hints:
        span = hint.finding.span
        place = _place(span, source, start, end, shift) if span is not None else None
        if place is not None:
            yield replace(hint, finding=replace(hint.finding, span=place, edits=()))


def _place(span: Span, source: Source, start: int, end: int, shift: int) -> Span | None:
    if span.end <= start:
        return _span(source, span, 0)
    return _span(source, span, shift) if span.start >= end else None


def _span(source: Source, span: Span, shift: int) -> Span:
    return source.span(span.start + shift, span.end + shift)

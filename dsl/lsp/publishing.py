"""Findings as the protocol has them, and the quick fixes that go with them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lsprotocol import types as lsp

from trtn.dsl.diagnostics import Diagnostic, Severity, Span
from trtn.dsl.lint import Edit
from trtn.dsl.lsp.view import View

__all__ = ["Board", "code_actions"]

_SEVERITIES = {
    Severity.ERROR: lsp.DiagnosticSeverity.Error,
    Severity.WARNING: lsp.DiagnosticSeverity.Warning,
    Severity.NOTE: lsp.DiagnosticSeverity.Information,
}
_UNNECESSARY = ("L0101", "L0102", "L0103", "L0104")
_MEANT = re.compile(r"did you mean `([^`]+)`\?")
_NAMED = re.compile(r"`([^`]+)`")


class Board:
    """What is shown where. A file may have findings of its own, and others from files that import it."""

    def __init__(self) -> None:
        self._by_root: dict[str, dict[str, list[lsp.Diagnostic]]] = {}

    def put(self, uri: str, view: View | None) -> dict[str, list[lsp.Diagnostic]]:
        """Take up what a file's view found (None: it was closed); gives the files whose lists have to be shown anew."""
        before = self._by_root.pop(uri, {})
        after = {} if view is None else _diagnostics(view, uri)
        if view is not None:
            self._by_root[uri] = after
        return {changed: self._shown(changed) for changed in {**before, **after, uri: ()}}

    def _shown(self, uri: str) -> list[lsp.Diagnostic]:
        shown: dict[tuple[object, ...], lsp.Diagnostic] = {}
        for found in self._by_root.values():
            for d in found.get(uri, ()):
                place = d.range.start.line, d.range.start.character, d.range.end.line, d.range.end.character
                shown.setdefault((*place, d.code, d.message), d)
        return list(shown.values())


def _diagnostics(view: View, uri: str) -> dict[str, list[lsp.Diagnostic]]:
    found: dict[str, list[lsp.Diagnostic]] = {uri: []}
    for diagnostic in view.analysis.findings:
        place = view.location(diagnostic.span) if diagnostic.span is not None else _top(uri)
        found.setdefault(place.uri, []).append(_diagnostic(view, diagnostic, place.range))
    for hint in view.hints:
        span, message = hint.finding.span, _message(hint.finding.message, (), hint.finding.help)
        place = view.location(span) if span is not None else _top(uri)
        tags = [lsp.DiagnosticTag.Unnecessary] if hint.code in _UNNECESSARY else None
        found.setdefault(place.uri, []).append(
            lsp.Diagnostic(place.range, message, lsp.DiagnosticSeverity.Hint, hint.code, source="trtn lint", tags=tags)
        )
    return found


def _top(uri: str) -> lsp.Location:
    start = lsp.Position(0, 0)
    return lsp.Location(uri, lsp.Range(start, start))


def _diagnostic(view: View, diagnostic: Diagnostic, where: lsp.Range) -> lsp.Diagnostic:
    related = [
        lsp.DiagnosticRelatedInformation(view.location(label.span), label.text or "this has a part in it")
        for label in diagnostic.labels
    ]
    message = _message(diagnostic.message, diagnostic.notes, diagnostic.help)
    severity = _SEVERITIES[diagnostic.severity]
    return lsp.Diagnostic(where, message, severity, diagnostic.code, source="trtn", related_information=related)


def _message(message: str, notes: tuple[str, ...], help_: str) -> str:
    return "\n".join([message, *notes, *([f"help: {help_}"] if help_ else [])])


def code_actions(view: View, uri: str, start: int, end: int) -> list[lsp.CodeAction]:
    """The quick fixes of what is found between two offsets: a lint rule's edits, a name that was probably meant."""
    actions = []
    for hint in view.hints:
        if hint.edits and _touches(hint.finding.span, view, start, end):
            title = f"{hint.code}: {hint.finding.help or hint.finding.message}"
            actions.append(_action(view, uri, title, hint.edits, hint.code))
    for diagnostic in view.analysis.findings:
        if _touches(diagnostic.span, view, start, end):
            actions += [_action(view, uri, t, (e,), diagnostic.code) for t, e in _meant(diagnostic)]
    return actions


def _touches(span: Span | None, view: View, start: int, end: int) -> bool:
    own = span is not None and span.source.path == view.source.path
    return own and span is not None and span.start <= end and start <= span.end


def _meant(diagnostic: Diagnostic) -> Iterator[tuple[str, Edit]]:
    """Put the near name in the place of the one that is not known."""
    meant, wrong, span = _MEANT.search(diagnostic.help), _NAMED.search(diagnostic.message), diagnostic.span
    if meant is not None and wrong is not None and span is not None and span.text.count(wrong[1]) == 1:
        at = span.start + span.text.index(wrong[1])
        yield f"write `{meant[1]}`", Edit(at, at + len(wrong[1]), meant[1])


def _action(view: View, uri: str, title: str, edits: tuple[Edit, ...], code: str) -> lsp.CodeAction:
    changes = [lsp.TextEdit(view.positions.range(e.start, e.end), e.text) for e in edits]
    shown = [d for d in _diagnostics(view, uri).get(uri, ()) if d.code == code]
    return lsp.CodeAction(
        title, lsp.CodeActionKind.QuickFix, diagnostics=shown[:1], edit=lsp.WorkspaceEdit({uri: changes})
    )

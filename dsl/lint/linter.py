"""Run the rules over a spec; lines may allow some: `# trtn: allow(L0101)`."""

from __future__ import annotations

from collections.abc import Collection

from trtn.dsl.diagnostics import Diagnostic, Severity, Sink, Source
from trtn.dsl.lint import names, numbers, profiles, steps  # noqa: F401 - each declares its rules
from trtn.dsl.lint.base import RULES, Edit, Finding, Subject
from trtn.dsl.review.allow import is_allowed

__all__ = ["lint", "read_subject"]


def lint(subject: Subject, *, ignore: Collection[str] = ()) -> tuple[list[Diagnostic], list[Edit]]:
    """The findings in the order of the text, as warnings, and the edits that cure those that can be cured safely.

    ignore: codes or names of rules that are left out.
    """
    found: list[tuple[str, Finding]] = []
    for code, each in sorted(RULES.items()):
        if code in ignore or each.name in ignore:
            continue
        findings = each.check(subject)
        found += [(code, f) for f in findings if not is_allowed(code, f.span) and not is_allowed(each.name, f.span)]
    found.sort(key=lambda pair: (pair[1].span.start if pair[1].span is not None else 0, pair[0]))
    diagnostics = [
        Diagnostic(code, f.message, f.span, Severity.WARNING, notes=(RULES[code].name,), help=_help(f))
        for code, f in found
    ]
    return diagnostics, [edit for _, f in found for edit in f.edits]


def read_subject(source: Source, sink: Sink, *, allow_outside: bool = False) -> Subject | None:
    """A spec to be linted; None where it has errors, which the sink gets."""
    from trtn.dsl.load import check_source
    from trtn.dsl.syntax import parse

    errors = sink.error_count
    networks = {n.name: n for n in check_source(source, sink, allow_outside=allow_outside)}
    return Subject(source, parse(source, Sink()), networks) if sink.error_count == errors else None


def _help(finding: Finding) -> str:
    return f"{finding.help} (`--fix` does it)" if finding.edits and finding.help else finding.help

"""`# trtn: allow(RULE, ..)`: what a line of a spec is allowed, of rules that can be suppressed."""

from __future__ import annotations

import re

from trtn.dsl.diagnostics import Source, Span

__all__ = ["allowed", "is_allowed"]

_ALLOW = re.compile(r"#\s*trtn:\s*allow\(([^)]*)\)")


def allowed(source: Source, line: int) -> frozenset[str]:
    """The rules that a line allows, by its own comment or by one that stands alone on the line before."""
    found = set(_rules(source.line(line)))
    if line > 1 and source.line(line - 1).lstrip().startswith("#"):
        found |= set(_rules(source.line(line - 1)))
    return frozenset(found)


def is_allowed(rule: str, span: Span | None) -> bool:
    """Whether the line at which a finding starts allows it."""
    return span is not None and rule in allowed(span.source, span.line)


def _rules(text: str) -> list[str]:
    match = _ALLOW.search(text)
    return [word.strip() for word in match[1].split(",")] if match else []

"""Text to syntax tree: `parse` for specs, `parse_manifest` for weight manifests, `read_source` for files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.syntax.ast import Module
from trtn.dsl.syntax.report import Report
from trtn.dsl.syntax.scan import NESTING_LIMIT, Scan, scan
from trtn.dsl.syntax.walk import too_deep

if TYPE_CHECKING:
    from trtn.dsl.syntax.machine import Machine
    from trtn.grammar import GrammarName

__all__ = ["EDITION", "is_manifest", "parse", "parse_manifest"]

EDITION = 1
"""The edition of the language that this version reads."""

_FIRST_TOKEN = re.compile(r"(?:\s|#[^\n]*)*+")
_EDITION_LINE = re.compile(r"trtn\b[ \t]*([^\s#]*)")
_MANIFEST = re.compile(rf"{_FIRST_TOKEN.pattern}(?:trtn\b[^\n#]*)?{_FIRST_TOKEN.pattern}manifest\b")
_DECLARATION = re.compile(r"(?:import|weights|manifest|network|block|plugin|profile|target)\b")


def parse(source: Source, sink: Sink) -> Module:
    """The tree of a spec. All errors go to the sink (E0101 to E0109, E0213); what could be read is returned."""
    return _parse(source, sink, "trtn")


def parse_manifest(source: Source, sink: Sink) -> Module:
    """The tree of a weight manifest: one `Manifest` in `items`, or none where it could not be read."""
    return _parse(source, sink, "weights")


def is_manifest(text: str) -> bool:
    """Whether the text, if it can be read at all, is a weight manifest and not a spec: its first declaration tells."""
    return _MANIFEST.match(text) is not None


def _parse(source: Source, sink: Sink, grammar: GrammarName) -> Module:
    report = Report(source, sink)
    module = Module(0, len(source.text), source, EDITION, ())
    start = _read_edition(source.text, report)
    if start is not None:
        scanned = scan(source.text, report)
        module.comments = tuple(scanned.comments)
        if not scanned.fatal:
            from trtn.dsl.syntax.machine import lend_machine

            with lend_machine(grammar) as machine:
                _read_items(module, machine, scanned, report, start)
    report.flush()
    return module


def _read_edition(text: str, report: Report) -> int | None:
    """Checks the first line; returns where the text goes on behind it, or None where the rest can't be read."""
    first = _FIRST_TOKEN.match(text)
    start = first.end() if first is not None else 0
    line = _EDITION_LINE.match(text, start)
    if line is None:
        end = min(len(text), start + 1)
        help_ = f"begin the file with `trtn {EDITION}`"
        report.error("E0103", start, end, "the file does not begin with its edition", help=help_)
        return start if _DECLARATION.match(text, start) else None
    if line[1] == str(EDITION):
        return line.end()
    if not line[1].isdigit():
        found = f"`{line[1]}`" if line[1] else "nothing"
        help_ = f"begin the file with `trtn {EDITION}`"
        report.error("E0103", start, line.end(), f"expected the edition's number, found {found}", help=help_)
        return None
    message = f"edition {line[1][:20]} is not known to this trtn, which reads edition {EDITION}"
    report.error("E0104", line.start(1), line.end(1), message)
    return None


def _read_items(module: Module, machine: Machine, scanned: Scan, report: Report, start: int) -> None:
    from trtn.dsl.syntax.recovery import parse_text

    module.items = parse_text(machine.automaton, scanned, report, start) or ()
    builder = machine.builder
    for problem in builder.problems:
        if problem.scope is not None and report.has_error_in(problem.scope, problem.end):
            continue
        report.error(problem.code, problem.start, problem.end, problem.message, help=problem.help)
    # No expression is deeper than this bound; nearly always it is so small that nobody need measure.
    if (scanned.depth + 1) * (builder.longest_chain + 2) > NESTING_LIMIT:
        deep = too_deep(module.items, NESTING_LIMIT)
        if deep is not None:
            message = f"expression nests deeper than {NESTING_LIMIT} levels"
            report.error("E0107", deep.start, deep.end, message, help="name its parts in statements of their own")
            module.items = ()

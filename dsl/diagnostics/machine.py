"""Diagnostics for programs: one line each, JSON, SARIF 2.1.0, and GitHub's workflow commands.

The JSON document (`format_version` "1.0"; a new field raises the minor number, any other change the major):

    {"format_version": "1.0", "valid": true where there is no error, "error_count": n, "warning_count": n,
     "diagnostics": [{"code", "severity": "error" | "warning" | "note", "message",
                      "span": SPAN or null, "label", "labels": [{"span": SPAN, "text"}],
                      "notes": [text], "help", "values": {dim: size}, the witness of what fails, where there is one,
                      "rendered": the human form}]}
    SPAN: {"file", "start", "end": offsets in code points, end exclusive,
           "line", "column", "end_line", "end_column": from 1, columns in code points, end exclusive}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from trtn.dsl.diagnostics.codes import CODES
from trtn.dsl.diagnostics.display import clean, clean_line, display_path
from trtn.dsl.diagnostics.human import render_one
from trtn.dsl.diagnostics.model import Diagnostic, Label, Severity
from trtn.dsl.diagnostics.source import Span

__all__ = ["render_concise", "render_github", "render_json", "render_sarif"]

_Json = dict[str, Any]


def render_concise(diagnostics: Sequence[Diagnostic]) -> str:
    """`path:line:column: error[E0312]: message`, one line each."""
    return "\n".join(_concise(diagnostic) for diagnostic in diagnostics)


def _concise(diagnostic: Diagnostic) -> str:
    finding = f"{diagnostic.severity}[{diagnostic.code}]: {clean_line(diagnostic.message)}"
    if diagnostic.span is None:
        return finding
    at = _span(diagnostic.span)
    return f"{clean_line(at['file'])}:{at['line']}:{at['column']}: {finding}"


def _span(span: Span) -> _Json:
    """A span with its offsets inside the text, as the JSON document has it."""
    source = span.source
    start = min(max(span.start, 0), len(source.text))
    end = min(max(span.end, start), len(source.text))
    line, column = source.position(start)
    end_line, end_column = source.position(end)
    return {
        "file": display_path(source.path),
        "start": start,
        "end": end,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


# --- JSON ------------------------------------------------------------------------------------------------


def render_json(diagnostics: Sequence[Diagnostic], *, width: int | None = None) -> str:
    """The document that this module's docstring describes, in ASCII."""
    import json

    severities = [diagnostic.severity for diagnostic in diagnostics]
    errors = severities.count(Severity.ERROR)
    document = {
        "format_version": "1.0",
        "valid": errors == 0,
        "error_count": errors,
        "warning_count": severities.count(Severity.WARNING),
        "diagnostics": [_json(diagnostic, width) for diagnostic in diagnostics],
    }
    return json.dumps(document, indent=2)


def _json(diagnostic: Diagnostic, width: int | None) -> _Json:
    return {
        "code": diagnostic.code,
        "severity": str(diagnostic.severity),
        "message": diagnostic.message,
        "span": _span(diagnostic.span) if diagnostic.span is not None else None,
        "label": diagnostic.label,
        "labels": [{"span": _span(label.span), "text": label.text} for label in diagnostic.labels],
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
        "values": dict(diagnostic.values),
        "rendered": render_one(diagnostic, width=width),
    }


# --- SARIF -----------------------------------------------------------------------------------------------


def render_sarif(diagnostics: Sequence[Diagnostic]) -> str:
    """A SARIF 2.1.0 log of one run; the rules are the codes that occur."""
    import json

    rules = sorted({diagnostic.code for diagnostic in diagnostics})
    driver: _Json = {"name": "trtn", "rules": [_sarif_rule(code) for code in rules]}
    if version := _version():
        driver["version"] = version
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(diagnostic, rules.index(diagnostic.code)) for diagnostic in diagnostics],
    }
    document = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(document, indent=2)


def _version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("trtn")
    except PackageNotFoundError:  # run from a bare checkout
        return None


def _sarif_rule(code: str) -> _Json:
    page = CODES[code]
    return {
        "id": code,
        "shortDescription": {"text": page.title},
        "fullDescription": {"text": page.cause},
        "help": {"text": page.cure},
    }


def _sarif_result(diagnostic: Diagnostic, rule: int) -> _Json:
    result: _Json = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": str(diagnostic.severity),
        "message": {"text": "\n".join([diagnostic.message, *_asides(diagnostic)])},
    }
    if diagnostic.span is not None:
        result["locations"] = [_sarif_location(diagnostic.span)]
    if diagnostic.labels:
        result["relatedLocations"] = [_sarif_related(at, label) for at, label in enumerate(diagnostic.labels)]
    return result


def _asides(diagnostic: Diagnostic) -> list[str]:
    """Label, notes and help as lines, for formats that have one text a finding."""
    lines = [diagnostic.label] if diagnostic.label else []
    lines += [f"note: {note}" for note in diagnostic.notes]
    return [*lines, f"help: {diagnostic.help}"] if diagnostic.help else lines


def _sarif_related(number: int, label: Label) -> _Json:
    return {"id": number, **_sarif_location(label.span), "message": {"text": label.text or "see here"}}


def _sarif_location(span: Span) -> _Json:
    at = _span(span)
    region = {
        "startLine": at["line"],
        "startColumn": at["column"],
        "endLine": at["end_line"],
        "endColumn": at["end_column"],
        "charOffset": at["start"],
        "charLength": at["end"] - at["start"],
    }
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(at["file"])}, "region": region}}


def _uri(path: str) -> str:
    """A relative reference for a relative path, `file://` for an absolute one."""
    from urllib.parse import quote

    # A lone surrogate is a byte of a file name that is not UTF-8; os.fsencode gives that byte back.
    quoted = quote(os.fsencode(path.replace(os.sep, "/")))
    return f"file://{quoted}" if os.path.isabs(path) else quoted


# --- GitHub ----------------------------------------------------------------------------------------------


def render_github(diagnostics: Sequence[Diagnostic]) -> str:
    """Workflow commands, which GitHub shows as annotations on the lines of a pull request."""
    return "\n".join(_github(diagnostic) for diagnostic in diagnostics)


def _github(diagnostic: Diagnostic) -> str:
    command = "notice" if diagnostic.severity is Severity.NOTE else str(diagnostic.severity)
    properties: _Json = {}
    if diagnostic.span is not None:
        at = _span(diagnostic.span)
        properties = {"file": at["file"], "line": at["line"]}
        # Columns may only be given where the annotation is within one line.
        if at["line"] == at["end_line"]:
            properties |= {"col": at["column"], "endColumn": at["end_column"]}
        else:
            properties |= {"endLine": at["end_line"]}
    properties["title"] = f"{diagnostic.code}: {CODES[diagnostic.code].title}"
    listed = ",".join(f"{key}={_github_property(str(value))}" for key, value in properties.items())
    text = "\n".join([diagnostic.message, *_asides(diagnostic)])
    return f"::{command} {listed}::{_github_data(text)}"


def _github_data(text: str) -> str:
    lines = clean(text.replace("\r\n", "\n"))
    return lines.replace("%", "%25").replace("\n", "%0A")


def _github_property(text: str) -> str:
    return _github_data(clean_line(text)).replace(":", "%3A").replace(",", "%2C")

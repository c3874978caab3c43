"""Diagnostics for people: the message, the lines with marks under them, notes, help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trtn.dsl.diagnostics.display import clean, clean_line, display_path
from trtn.dsl.diagnostics.model import Diagnostic
from trtn.dsl.diagnostics.snippet import Mark, marks_of, snippet
from trtn.dsl.diagnostics.source import Source, Span
from trtn.dsl.diagnostics.style import Style

__all__ = ["render_human", "render_one"]

_WIDTH = 140
_LEAST_ROOM = 20
_CODES_IN_HINT = 6


def render_human(diagnostics: Sequence[Diagnostic], *, color: bool = False, width: int | None = None) -> str:
    """All diagnostics, a blank line between them, and at the end how to learn more. `width` in columns."""
    if not diagnostics:
        return ""
    blocks = [render_one(diagnostic, color=color, width=width) for diagnostic in diagnostics]
    return "\n\n".join([*blocks, _hint(diagnostics)])


def render_one(diagnostic: Diagnostic, *, color: bool = False, width: int | None = None) -> str:
    """One diagnostic, without the hint."""
    return "\n".join(_lines(diagnostic, Style(color), width or _WIDTH))


def _lines(diagnostic: Diagnostic, style: Style, width: int) -> Iterator[str]:
    severity = str(diagnostic.severity)
    head = style(severity, f"{severity}[{diagnostic.code}]")
    yield head + style("strong", f": {clean_line(diagnostic.message)}")

    files = _by_file(diagnostic)
    gutter = max((len(str(mark.line)) for _, marks in files for mark in marks), default=1)
    room = max(width - gutter - 3, _LEAST_ROOM)
    arrow = "-->"
    for span, marks in files:
        if arrow == ":::":
            yield style("gutter", " " * gutter + " |")
        line, column = _position(span)
        path = clean_line(display_path(span.source.path))
        yield f"{' ' * gutter}{style('gutter', arrow)} {path}:{line}:{column}"
        yield from snippet(span.source, marks, gutter, room, style)
        arrow = ":::"

    lead = " " * gutter + " "
    for note in diagnostic.notes:
        yield from _aside(lead, "note", note, style)
    if diagnostic.help:
        yield from _aside(lead, "help", diagnostic.help, style)


def _by_file(diagnostic: Diagnostic) -> list[tuple[Span, list[Mark]]]:
    """The marks of each file, with the span that its heading names; the primary span's file comes first."""
    files: dict[tuple[str, str], tuple[Span, list[Mark]]] = {}

    def add(span: Span, marks: list[Mark]) -> None:
        source: Source = span.source
        files.setdefault((source.path, source.text), (span, []))[1].extend(marks)

    if diagnostic.span is not None:
        role = str(diagnostic.severity)
        add(diagnostic.span, marks_of(diagnostic.span, role, diagnostic.label, primary=True))
    for label in diagnostic.labels:
        add(label.span, marks_of(label.span, "secondary", label.text))
    return list(files.values())


def _position(span: Span) -> tuple[int, int]:
    return span.source.position(min(max(span.start, 0), len(span.source.text)))


def _aside(lead: str, word: str, text: str, style: Style) -> Iterator[str]:
    """`= note: ..`; further lines of the text stand under its first."""
    first, *rest = clean(text.replace("\r\n", "\n")).split("\n")
    yield f"{lead}{style('gutter', '=')} {style(word, word)}: {first}"
    indent = " " * (len(lead) + len(word) + 4)
    for line in rest:
        yield (indent + line).rstrip()


def _hint(diagnostics: Sequence[Diagnostic]) -> str:
    codes = list(dict.fromkeys(diagnostic.code for diagnostic in diagnostics))
    if len(codes) == 1:
        return f"For more, run `trtn explain {codes[0]}`."
    named = ", ".join(codes[:_CODES_IN_HINT])
    more = f" and {len(codes) - _CODES_IN_HINT} more" if len(codes) > _CODES_IN_HINT else ""
    return f"For more on {named}{more}, run `trtn explain CODE`."

"""The canonical format of specs and manifests. No options; comments and single blank lines are kept.

The text is rebuilt from its own tokens, so nothing can be lost or invented; that and idempotence are checked on
every call.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise

from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.errors import SpecError
from trtn.dsl.syntax.breaking import INDENT, LINE_LENGTH, break_line, flat
from trtn.dsl.syntax.collecting import no_collections
from trtn.dsl.syntax.lines import Line, Piece, read_lines
from trtn.dsl.syntax.marks import mark
from trtn.dsl.syntax.parser import is_manifest, parse, parse_manifest
from trtn.dsl.syntax.tokens import TOKEN

__all__ = ["format_source"]

_TOKEN = re.compile(re.sub(r"\?P<\w+>", "?:", TOKEN.pattern), re.VERBOSE)
"""As `TOKEN`, without groups: `findall` gives the texts."""


def format_source(source: Source) -> str:
    """The text in canonical format. Raises SpecError, with all diagnostics, where it can't be parsed."""
    with no_collections():
        return _format_and_check(source)


def _format_and_check(source: Source) -> str:
    formatted, comments = _format(source)
    if formatted == source.text:
        return formatted
    if _tokens(formatted) != _tokens(source.text):
        raise RuntimeError(f"formatting {source.path} would change its tokens: this is a bug in trtn")
    again, kept = _format(Source(source.path, formatted))
    if kept != comments:
        raise RuntimeError(f"formatting {source.path} would change its comments: this is a bug in trtn")
    if again != formatted:
        raise RuntimeError(f"formatting {source.path} twice gives another text: this is a bug in trtn")
    return formatted


def _tokens(text: str) -> list[str]:
    """All tokens but comments and the commas in front of closing brackets, which mean nothing."""
    tokens = [token for token in _TOKEN.findall(text) if token[0] != "#"]
    return [token for token, after in pairwise([*tokens, "}"]) if token != "," or after not in (")", "]", "}")]


def _format(source: Source) -> tuple[str, list[str]]:
    """The text in canonical format, and the comments of the source."""
    sink = Sink()
    module = (parse_manifest if is_manifest(source.text) else parse)(source, sink)
    if sink.has_errors:
        raise SpecError(f"{source.path} can't be formatted: it has errors", sink.diagnostics)
    lines = read_lines(source.text, mark(module))
    _separate_declarations(lines)
    columns = _align(lines)
    text: list[str] = []
    for at, line in enumerate(lines):
        if line.blank_before and text:
            text.append("")
        physical = columns.get(at) or break_line(
            line.pieces, INDENT * line.depth, None if line.kind == "row" else LINE_LENGTH
        )
        if line.comment:
            physical[-1] += f"  {line.comment}"
        text += physical
    comments = [source.text[start:end].rstrip() for start, end in module.comments]
    return "\n".join(text) + "\n" if text else "", comments


def _separate_declarations(lines: list[Line]) -> None:
    """A blank line around every declaration with a body; the comments right above it belong to it."""
    last: str | None = None
    for at, line in enumerate(lines):
        if line.depth or line.kind == "close":
            continue
        if line.kind == "declaration" or (last == "declaration" and line.kind == "import"):
            first = at
            while first and lines[first - 1].kind == "comment" and not lines[first].blank_before:
                first -= 1
            if first:
                lines[first].blank_before = True
        if line.kind != "comment":
            last = line.kind


def _align(lines: list[Line]) -> dict[int, list[str]]:
    """The lines of fields and of profile entries, in columns that reach over their body."""
    bodies: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
    for at, line in enumerate(lines):
        if line.kind in ("field", "entry") and not any(p.is_comment or p.brace for p in line.pieces):
            bodies[line.body, line.kind].append(at)
    result: dict[int, list[str]] = {}
    for (_, kind), members in bodies.items():
        rows = [_cells(lines[at].pieces, kind) for at in members]
        fitting = [row for row in rows if sum(map(len, row)) <= LINE_LENGTH]
        widths = [max(len(row[column]) for row in fitting) for column in range(len(rows[0]))] if fitting else []
        for at, row in zip(members, rows, strict=True):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            text = INDENT * lines[at].depth + " ".join(cells).rstrip()
            if len(text) <= LINE_LENGTH:
                result[at] = [text]
    return result


def _cells(pieces: list[Piece], kind: str) -> list[str]:
    """A field's name and value; a profile entry's name, min, opt and max."""
    if kind == "field":
        name = 1
        while name < len(pieces) and not pieces[name].space:
            name += 1
        return [flat(pieces[:name]), flat(pieces[name:])]
    cells: list[list[Piece]] = [[]]
    depth = 0
    for piece in pieces:
        cells[-1].append(piece)
        depth += piece.text in ("(", "[")
        depth -= piece.text in (")", "]")
        if not depth and (piece.text == "," or (piece.text == ":" and len(cells) == 1)):
            cells.append([])
    return [flat(cell) for cell in cells]

"""Source lines with marks under them: what stands below the `-->` of a finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from trtn.dsl.diagnostics.display import cells, clean_line, shown
from trtn.dsl.diagnostics.source import Source, Span
from trtn.dsl.diagnostics.style import Style

__all__ = ["Mark", "marks_of", "snippet"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Characters `start` to `end` of one line, the role they are drawn in, and the words beside them.

    An empty mark stands between two characters and is drawn one column wide.
    """

    line: int
    start: int
    end: int
    role: str
    text: str = ""
    primary: bool = False


def marks_of(span: Span, role: str, text: str, *, primary: bool = False) -> list[Mark]:
    """One mark, or for a span over several lines two: on its first line and on its last."""
    source = span.source
    start = min(max(span.start, 0), len(source.text))
    end = min(max(span.end, start), len(source.text))
    first, column = source.position(start)
    last, end_column = source.position(end)
    if last > first and end_column == 1:  # the line's end is the last character of the span
        last -= 1
        end_column = len(source.line(last)) + 1
    head, tail = source.line(first), source.line(last)
    begin = min(column - 1, len(head))
    stop = min(end_column - 1, len(tail))
    if first == last:
        return [Mark(first, begin, stop, role, text, primary)]
    indent = min(len(tail) - len(tail.lstrip()), stop)
    return [
        Mark(first, begin, len(head), role, "", primary),
        Mark(last, indent, stop, role, text, primary),
    ]


def snippet(source: Source, marks: Iterable[Mark], gutter: int, room: int, style: Style) -> Iterator[str]:
    """The marked lines in order, with `...` for what lies between.

    `gutter` is the width of a line number, `room` the columns that source text may take.
    """
    by_line: dict[int, list[Mark]] = {}
    for mark in marks:
        by_line.setdefault(mark.line, []).append(mark)
    bar = style("gutter", " " * gutter + " |")
    yield bar
    previous = 0
    for number in sorted(by_line):
        if previous and number == previous + 2:  # `...` would be no shorter than the line itself
            between = _fit(source.line(number - 1), (0, 0), room)
            yield _numbered(number - 1, between.text, gutter, style)
        elif previous and number > previous + 2:
            yield style("gutter", "...")
        here = by_line[number]
        focus = next((mark for mark in here if mark.primary), here[0])
        window = _fit(source.line(number), (focus.start, focus.end), room)
        yield _numbered(number, window.text, gutter, style)
        for row in _mark_rows([_Placed.on(window, mark) for mark in here], style):
            yield f"{bar} {row}"
        previous = number


def _numbered(number: int, text: str, gutter: int, style: Style) -> str:
    return f"{style('gutter', f'{number:>{gutter}} |')} {text}".rstrip()


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of a line that is shown, `…` for what is cut off, and the columns of its characters."""

    text: str
    low: int
    columns: tuple[int, ...]
    """The column of each character from offset `low` on, and of the place after the last."""

    def column(self, offset: int) -> int:
        """The column of an offset; one that is cut off is at the `…`."""
        if offset < self.low:
            return 0
        return self.columns[min(offset - self.low, len(self.columns) - 1)]


def _fit(line: str, focus: tuple[int, int], room: int) -> _Window:
    """As much of the line around `focus` as goes into `room` columns.

    Only as many characters as the room has are looked at: a file of megabytes may be one line.
    """
    low, high = 0, len(line)
    if high > room or sum(map(cells, line)) > room:
        low, high = _around(line, focus, room - 2)
    lead = "…" if low > 0 else ""
    trail = "…" if high < len(line) else ""
    columns = [len(lead)]
    for char in line[low:high]:
        columns.append(columns[-1] + cells(char))
    return _Window(lead + "".join(map(shown, line[low:high])) + trail, low, tuple(columns))


def _around(line: str, focus: tuple[int, int], room: int) -> tuple[int, int]:
    """Offsets of the shown part: the focus from its start, then what is right and left of it in turn."""
    low = high = focus[0]
    # A combining mark takes no column but counts as one: a line may have nothing else.
    while high < focus[1] and (cost := max(1, cells(line[high]))) <= room:
        room -= cost
        high += 1
    grown = True
    while grown:
        grown = False
        if high < len(line) and (cost := max(1, cells(line[high]))) <= room:
            room -= cost
            high += 1
            grown = True
        if low > 0 and (cost := max(1, cells(line[low - 1]))) <= room:
            room -= cost
            low -= 1
            grown = True
    return low, high


@dataclass(frozen=True, slots=True)
class _Placed:
    """A mark in screen columns."""

    start: int
    end: int
    role: str
    text: str
    primary: bool

    @classmethod
    def on(cls, window: _Window, mark: Mark) -> _Placed:
        start = window.column(mark.start)
        end = max(window.column(mark.end), start + 1)
        return cls(start, end, mark.role, clean_line(mark.text), mark.primary)


def _mark_rows(marks: Sequence[_Placed], style: Style) -> Iterator[str]:
    """The carets and dashes, the rightmost mark's words at their end, the others' words below."""
    row = [(" ", "")] * max(mark.end for mark in marks)
    for mark in sorted(marks, key=lambda mark: mark.primary):  # carets over dashes
        row[mark.start : mark.end] = [("^" if mark.primary else "-", mark.role)] * (mark.end - mark.start)
    rightmost = max(marks, key=lambda mark: (mark.end, mark.start))
    words = f" {style(rightmost.role, rightmost.text)}" if rightmost.text else ""
    yield style.runs(row) + words

    below = sorted((m for m in marks if m.text and m is not rightmost), key=lambda m: m.start, reverse=True)
    if below:
        yield _connectors(below, style)
    for at, mark in enumerate(below):
        left = [other for other in below[at + 1 :] if other.start < mark.start]
        bars = _connectors(left, style)
        gap = mark.start - max((other.start + 1 for other in left), default=0)
        yield bars + " " * gap + style(mark.role, mark.text)


def _connectors(marks: Sequence[_Placed], style: Style) -> str:
    row = [(" ", "")] * max((mark.start + 1 for mark in marks), default=0)
    for mark in marks:
        row[mark.start] = ("|", mark.role)
    return style.runs(row)

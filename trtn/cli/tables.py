"""Aligned columns and numbers with units, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["bytes_text", "duration", "number", "plural", "rows"]

_GAP = "  "


def rows(table: Iterable[Sequence[str]], *, right: Iterable[int] = (), indent: str = "  ") -> list[str]:
    """Lines with their cells in columns; the columns in `right` are flush right. Rows may have fewer cells than
    others.
    """
    from trtn.dsl.diagnostics.display import clean_line

    lines = [[clean_line(cell) for cell in row] for row in table]
    widths = [0] * max(map(len, lines), default=0)
    for line in lines:
        for n, cell in enumerate(line):
            widths[n] = max(widths[n], _width(cell))
    flush_right = set(right)
    return [
        (indent + _GAP.join(_pad(cell, widths[n], n in flush_right) for n, cell in enumerate(line))).rstrip()
        for line in lines
    ]


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from trtn.dsl.diagnostics.display import cells

    return sum(map(cells, text))


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def bytes_text(count: int) -> str:
    """`97.5 MiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def duration(seconds: float) -> str:
    """`12.34 ms`: four digits or so, in the unit that suits."""
    for limit, scale, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (100.0, 1.0, "s")):
        if seconds < limit:
            value = seconds * scale
            return f"{value:.{2 if value < 100 else 1}f} {unit}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def number(value: float) -> str:
    """A value of a tensor: `0.01234`, `-3`, `1.2e+10`, `nan`."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plural(count: int, word: str, many: str = "") -> str:
    """`1 layer`, `1,024 layers`."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"

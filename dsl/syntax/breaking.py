"""From one logical line to physical ones: flat where it fits and holds no comment, else broken at one bracket,
recursively.
"""

from __future__ import annotations

from trtn.dsl.syntax.lines import Piece

__all__ = ["INDENT", "LINE_LENGTH", "break_line", "flat"]

LINE_LENGTH = 100
INDENT = "  "
_PAIRS = {"(": ")", "[": "]", "{": "}"}


def flat(pieces: list[Piece]) -> str:
    """The pieces on one line."""
    return "".join(f" {p.text}" if p.space and at else p.text for at, p in enumerate(pieces))


def break_line(pieces: list[Piece], indent: str, limit: int | None = LINE_LENGTH) -> list[str]:
    """The physical lines of a logical one, indented. Without a limit only comments break it."""
    has_comments = any(p.is_comment for p in pieces)
    if not has_comments:
        line = indent + flat(pieces)
        if limit is None or len(line) <= limit:
            return [line]
    groups = _groups(pieces)
    if has_comments:
        comment = next((at for at, p in enumerate(pieces) if p.is_comment and not _inside(at, groups)), None)
        if comment is not None:
            return _break_at_comment(pieces, comment, indent, limit)
        groups = [g for g in groups if any(p.is_comment for p in pieces[g[0] : g[1]])]
    groups = [(start, end) for start, end in groups if end > start + 1 and not _is_index(pieces[start + 1 : end])]
    if not groups:
        return [indent + flat(pieces)]
    start, end = _innermost_only(pieces, *max(groups, key=lambda g: (len(flat(pieces[g[0] : g[1] + 1])), g)))
    lines = break_line(pieces[: start + 1], indent, limit)
    lines = _add_items(lines, pieces[start + 1 : end], indent + INDENT, limit)
    return lines + break_line(pieces[end:], indent, limit)


def _groups(pieces: list[Piece]) -> list[tuple[int, int]]:
    """The outermost pairs of brackets: positions of opening and closing one. A bracket whose partner is elsewhere
    is none.
    """
    groups: list[tuple[int, int]] = []
    stack: list[int] = []
    for at, piece in enumerate(pieces):
        if piece.is_comment or piece.brace:
            continue
        if piece.text in _PAIRS:
            stack.append(at)
        elif stack and piece.text == _PAIRS[pieces[stack[-1]].text]:
            start = stack.pop()
            while groups and groups[-1][0] > start:
                groups.pop()
            groups.append((start, at))
    return groups


def _innermost_only(pieces: list[Piece], start: int, end: int) -> tuple[int, int]:
    """`constant([..])`: brackets that hold nothing but a pair of brackets are broken as one."""
    while end > start + 3:
        inner = _groups(pieces[start + 1 : end])
        if inner != [(0, end - start - 2)]:
            break
        start, end = start + 1, end - 1
    return start, end


def _inside(at: int, groups: list[tuple[int, int]]) -> bool:
    return any(start < at < end for start, end in groups)


def _break_at_comment(pieces: list[Piece], at: int, indent: str, limit: int | None) -> list[str]:
    """A comment between the parts of a line that is in no brackets: what follows goes on, indented, on the next
    line.
    """
    comment = pieces[at]
    lines = break_line(pieces[:at], indent, limit) if at else []
    if comment.newlines or not lines:
        lines.append((indent + INDENT if at else indent) + comment.text)
    else:
        lines[-1] += f"  {comment.text}"
    rest = pieces[at + 1 :]
    if rest:
        lines += break_line(rest, indent + INDENT if at else indent, limit)
    return lines


def _add_items(lines: list[str], pieces: list[Piece], indent: str, limit: int | None) -> list[str]:
    """Adds what stands between two brackets, one item a line; numbers share lines as long as they fit.

    Two items or more get a comma behind the last one, so that adding another changes one line.
    """
    items = _items(pieces)
    if any(item[-1].text == "," for item in items):
        last = next(at for at in range(len(pieces) - 1, -1, -1) if not pieces[at].is_comment)
        comma = Piece(",", pieces[last].end, pieces[last].end)
        items = _items([*pieces[: last + 1], comma, *pieces[last + 1 :]])
    if limit is not None and all(_is_plain_number(item) for item in items):
        return lines + _fill([flat(item) for item in items], indent, limit)
    for item in items:
        if item[0].is_comment:
            if item[0].newlines:
                lines.append(indent + item[0].text)
            else:
                lines[-1] += f"  {item[0].text}"
        else:
            lines += break_line(item, indent, limit)
    return lines


def _items(pieces: list[Piece]) -> list[list[Piece]]:
    """The items between commas, each with its comma; comments between items stand alone."""
    items: list[list[Piece]] = []
    current: list[Piece] = []
    depth = 0
    for piece in pieces:
        if piece.is_comment:
            if current:
                current.append(piece)
            else:
                items.append([piece])
            continue
        current.append(piece)
        if piece.text in _PAIRS:
            depth += 1
        elif piece.text in (")", "]", "}"):
            depth -= 1
        elif piece.text == "," and not depth:
            items.append(current)
            current = []
    if current:
        items.append(current)
    return items


def _is_index(pieces: list[Piece]) -> bool:
    """One integer between brackets: in the path of a name it can't stand on a line of its own, elsewhere it need
    not."""
    return len(pieces) == 1 and pieces[0].is_number


def _is_plain_number(item: list[Piece]) -> bool:
    values = [p for p in item if p.text not in (",", "-")]
    return len(values) == 1 and values[0].is_number


def _fill(items: list[str], indent: str, limit: int) -> list[str]:
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + 1 + len(item) <= limit:
            lines[-1] += f" {item}"
        else:
            lines.append(indent + item)
    return lines

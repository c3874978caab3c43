"""A comparison as text: for a terminal, and as Markdown for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trtn.dsl.review.changes import Change, Comparison

__all__ = ["human", "markdown"]

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "renamed": ">"}
_ORDER = ("network", "dim", "assert", "input", "output", "layer", "weight", "profile", "target")
_COLORS = {"+": "\x1b[32m", "-": "\x1b[31m", "~": "\x1b[33m", ">": "\x1b[36m"}
_PLURALS = {s: f"{s}s" for s in _ORDER} | {"network": "network"}


def human(comparisons: Sequence[Comparison], *, color: bool = False) -> str:
    """A change a line, by subject: a sign, the name, what it was and what it is. Of several pairs, those without a
    change share a line."""
    shown, unchanged = _with_changes(comparisons)
    pieces = [_human(c, color) for c in shown]
    if unchanged:
        pieces.append(f"no change: {', '.join(c.after for c in unchanged)}")
    return "\n\n".join(pieces)


def markdown(comparisons: Sequence[Comparison]) -> str:
    """For each pair a heading with the verdict, then a table a subject; long ones are folded."""
    shown, unchanged = _with_changes(comparisons)
    pieces = [_markdown(c) for c in shown]
    if unchanged:
        pieces.append(f"**no change:** {', '.join(_code(c.after) for c in unchanged)}")
    return "\n\n".join(pieces)


def _with_changes(comparisons: Sequence[Comparison]) -> tuple[Sequence[Comparison], Sequence[Comparison]]:
    """The pairs to be shown one by one, and the rest: of one pair, that nothing changed is the news."""
    if len(comparisons) == 1:
        return comparisons, ()
    return [c for c in comparisons if c.changes], [c for c in comparisons if not c.changes]


def _human(comparison: Comparison, color: bool) -> str:
    lines = [f"{comparison.before} -> {comparison.after}: {_verdict(comparison)}"]
    for subject in _ORDER:
        changes = comparison.of(subject)
        if changes:
            lines += ["", f"{_PLURALS[subject]}{_unchanged(comparison, subject)}"]
            lines += [_line(c, color) for c in changes]
    return "\n".join(lines)


def _markdown(comparison: Comparison) -> str:
    lines = [f"### `{comparison.before}` → `{comparison.after}`", "", f"**{_verdict(comparison)}**"]
    for subject in _ORDER:
        changes = comparison.of(subject)
        if not changes:
            continue
        title = f"{_PLURALS[subject]}{_unchanged(comparison, subject)}"
        table = [f"| | {subject} | before | after |", "|---|---|---|---|", *map(_row, changes)]
        if len(changes) > 20:
            lines += ["", f"<details><summary>{title}</summary>", "", *table, "", "</details>"]
        else:
            lines += ["", f"#### {title}", "", *table]
    return "\n".join(lines)


def _verdict(comparison: Comparison) -> str:
    if not comparison.changes:
        return "no change"
    if comparison.is_same:
        return "the same network, other inner names"
    count = sum(c.count for c in comparison.changes if c.is_semantic)
    return f"{count:,} change{'s' if count != 1 else ''}"


def _unchanged(comparison: Comparison, subject: str) -> str:
    count = comparison.same.get(subject)
    return f" ({count:,} unchanged)" if count else ""


def _line(change: Change, color: bool) -> str:
    sign = _SIGNS[change.verb]
    start, end = (_COLORS[sign], "\x1b[0m") if color else ("", "")
    where = f"    {change.line}" if change.line else ""
    return f"  {start}{sign} {' '.join(_words(change))}{end}{where}"


def _words(change: Change) -> Iterator[str]:
    if change.verb == "renamed":
        yield f"{change.before} -> {change.after}"
    else:
        yield change.name
        if change.what:
            yield f"{change.what}:"
        if change.verb == "changed":
            if change.before or change.after:
                yield f"{change.before or 'none'} -> {change.after or 'none'}"
            else:
                yield "others"
            if change.amount is not None:
                yield _amount(change)
        elif change.before or change.after:
            yield f"= {change.before or change.after}" if change.subject == "layer" else change.before or change.after
    if change.count > 1:
        yield f"({change.count} times)"


def _amount(change: Change) -> str:
    assert change.amount is not None
    return f"(max change {change.amount[0]:.2g}, mean {change.amount[1]:.2g})"


def _row(change: Change) -> str:
    times = f" ({change.count}×)" if change.count > 1 else ""
    what = f" {change.what}" if change.what else ""
    amount = f" {_amount(change)}" if change.amount is not None else ""
    name = f"{_code(change.name)}{what}{times}{amount}"
    return f"| {change.verb} | {name} | {_code(change.before)} | {_code(change.after)} |"


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""

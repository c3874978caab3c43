"""What changed between two texts, and the tree of the new one made from that of the old: only the statements around
the change are read anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trtn.dsl.diagnostics import Sink, Source, Span
from trtn.dsl.syntax import ast
from trtn.dsl.syntax.moving import moved
from trtn.dsl.syntax.parser import parse

__all__ = ["Change", "begin", "reparsed"]

_HEAD = "trtn 1 network n {"


@dataclass(frozen=True, slots=True)
class Change:
    """The characters from `start` to `end` of the old text gave way to `growth` more; all others are as they were."""

    old: Source
    new: Source
    start: int
    end: int
    growth: int

    @classmethod
    def between(cls, old: Source, new: Source) -> Change:
        start = _common_start(old.text, new.text)
        tail = _common_start(old.text[start:][::-1], new.text[start:][::-1])
        return cls(old, new, start, len(old.text) - tail, len(new.text) - len(old.text))

    def was(self, start: int, end: int) -> int | None:
        """Where a part of the new text began in the old one; None for a part that changed."""
        if end <= self.start:
            return start
        return start - self.growth if start >= self.end + self.growth else None

    def span(self, span: Span) -> Span | None:
        """A span of the old text in the new one (one of another text is what it was); None where the text changed."""
        if span.source is not self.old or self.old is self.new:
            return span
        if span.end <= self.start:
            return Span(self.new, span.start, span.end)
        if span.start >= self.end:
            return Span(self.new, span.start + self.growth, span.end + self.growth)
        return None


def begin(node: ast.Node) -> int:
    """Where a statement begins, its annotations included."""
    notes: tuple[ast.Annotation, ...] = getattr(node, "annotations", ())
    return notes[0].start if notes else node.start


def _common_start(left: str, right: str) -> int:
    """How many characters both begin with."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def reparsed(before: ast.Module, source: Source) -> ast.Module | None:
    """The tree of a text, made from that of an earlier one, which had no errors. None where `parse` has to look at the
    whole: more changed than members of one network, or there is an error.
    """
    change = Change.between(before.source, source)
    items = list(before.items)
    at = next((n for n, item in enumerate(items) if item.start < change.start and change.end < item.end), -1)
    network = items[at] if at >= 0 else None
    read = _read_members(network, change) if isinstance(network, ast.NetworkDecl) else None
    if read is None or not isinstance(network, ast.NetworkDecl):
        return None
    members, start, end, comments = read
    items[at] = replace(network, end=network.end + change.growth, members=members)
    items[at + 1 :] = [moved(item, change.growth) for item in items[at + 1 :]]
    earlier = [c for c in before.comments if c[1] <= start]
    later = [(a + change.growth, b + change.growth) for a, b in before.comments if a >= end]
    return replace(
        before, source=source, end=len(source.text), items=tuple(items), comments=(*earlier, *comments, *later)
    )


_Members = tuple[ast.Doc | ast.DimDecl | ast.Input | ast.Output | ast.Statement, ...]
_Comments = tuple[tuple[int, int], ...]


def _read_members(network: ast.NetworkDecl, change: Change) -> tuple[_Members, int, int, _Comments] | None:
    """A network's members, from where to where of the old text they were read anew, and the comments there.

    The neighbours of what changed are read too: new text may go on with the one before, or take in the one after.
    """
    old = network.members
    first = sum(m.end < change.start for m in old) - 1
    last = len(old) - sum(begin(m) > change.end for m in old)
    if first < 0:
        return None
    follower = old[last] if last < len(old) else None
    if follower is not None:
        last += 1
    start, end = begin(old[first]), begin(old[last]) if last < len(old) else network.end - 1
    # The same offsets as in the text: what is in front is left blank.
    text = _HEAD + " " * (start - len(_HEAD)) + change.new.text[start : end + change.growth] + "}"
    sink = Sink()
    module = parse(Source(change.new.path, text), sink)
    if sink.diagnostics or len(module.items) != 1:
        return None
    (read,) = module.items
    if not isinstance(read, ast.NetworkDecl) or read.end != len(text):
        return None
    if follower is not None:
        found = read.members[-1] if read.members else None
        if found is None or (found.start - change.growth, found.end - change.growth) != (follower.start, follower.end):
            return None
    rest = old[last:] if not change.growth else tuple(moved(m, change.growth) for m in old[last:])
    return (*old[:first], *read.members, *rest), start, end, module.comments

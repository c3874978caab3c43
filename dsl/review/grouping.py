"""Changes that differ in nothing but an index are one change to a reader: `layer[0..11].act`, 12 times."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from trtn.dsl.review.changes import Change

__all__ = ["grouped"]

_INDEX = re.compile(r"(?<=\[)\d+(?=\])")
_TYPE = re.compile(r"\b(?:bool|[fiu]\d\w*|bf16)\[[^\]]*\]")
"""A type has brackets too, and its sizes are no indexes."""


def grouped(changes: Iterable[Change]) -> Iterator[Change]:
    """The changes, where those that are the same but for the indexes in their texts are joined to the first of them."""
    together: dict[tuple[object, ...], list[Change]] = defaultdict(list)
    for change in changes:
        own = change.what == "contents"  # each weight has its own hash
        texts = (change.name, change.what, *(() if own else (change.before, change.after)))
        together[change.subject, change.verb, *map(_pattern, texts)].append(change)
    for same in together.values():
        if len(same) == 1:
            yield same[0]
        else:
            name, before, after = (_joined([getattr(c, k) for c in same]) for k in ("name", "before", "after"))
            places = tuple(c.name for c in same)
            yield replace(same[0], name=name, before=before, after=after, places=places, amount=_largest(same))


def _largest(changes: list[Change]) -> tuple[float, float] | None:
    """The largest change of all, and the mean of their means."""
    amounts = [c.amount for c in changes if c.amount is not None]
    return (max(a for a, _ in amounts), sum(m for _, m in amounts) / len(amounts)) if amounts else None


def _pattern(text: str) -> str:
    """A text with `*` for each index in it."""
    return "*".join(_pieces(text)[0])


def _pieces(text: str) -> tuple[list[str], list[int]]:
    """What stands between the indexes of a text, and these."""
    types = [m.span() for m in _TYPE.finditer(text)]
    found = [m for m in _INDEX.finditer(text) if not any(a <= m.start() < b for a, b in types)]
    edges = [0, *(e for m in found for e in m.span()), len(text)]
    return [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)], [int(m.group()) for m in found]


def _joined(texts: list[str]) -> str:
    """`layer[0..11].act` of `layer[0].act`, `layer[1].act`, ..; an index that is the same everywhere stays. Nothing
    of texts that differ in more than that."""
    if len({_pattern(t) for t in texts}) > 1:
        return ""
    pieces, _ = _pieces(texts[0])
    columns = zip(*(_pieces(t)[1] for t in texts), strict=True)
    return pieces[0] + "".join(
        _span(sorted(set(column))) + rest for column, rest in zip(columns, pieces[1:], strict=True)
    )


def _span(indexes: list[int]) -> str:
    if len(indexes) > 1 and indexes == list(range(indexes[0], indexes[-1] + 1)):
        return f"{indexes[0]}..{indexes[-1]}"
    return ", ".join(map(str, indexes))

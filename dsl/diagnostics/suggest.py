"""The name that was probably meant."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]

_LONGEST_NAME = 120
_MOST_COMPARED = 200
_CUTOFF = 0.6


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A help line, ``did you mean `conv`?``, or an empty text where nothing is near."""
    found = nearest(name, candidates)
    return f"did you mean `{found}`?" if found is not None else ""


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that is nearest to the name, or None where none is near, whatever the candidates' order.

    difflib compares at most 200 of them, those that share the longest beginning and end with the name: a
    manifest may have a hundred thousand tensors.
    """
    if not name or len(name) > _LONGEST_NAME:
        return None
    others = {other for other in candidates if other != name and len(other) <= _LONGEST_NAME}
    folded = _fold(name)
    if same := [other for other in others if _fold(other) == folded]:
        return min(same)
    # A ratio of r needs lengths within a factor of r / (2 - r).
    least = len(name) * _CUTOFF / (2 - _CUTOFF)
    most = len(name) * (2 - _CUTOFF) / _CUTOFF
    near = [other for other in others if least <= len(other) <= most]
    if len(near) > _MOST_COMPARED:
        reversed_near = _neighbours(name[::-1], [other[::-1] for other in near])
        near = _neighbours(name, near) + [other[::-1] for other in reversed_near]
    from difflib import get_close_matches  # only failures need it

    found = get_close_matches(name, near, n=1, cutoff=_CUTOFF)
    return found[0] if found else None


def _fold(name: str) -> str:
    """A name without what differs between habits: `MaxPool`, `max_pool`, `max-pool`."""
    return name.lower().replace("_", "").replace("-", "")


def _neighbours(name: str, others: list[str]) -> list[str]:
    """What would stand next to the name in sorted order: those with the longest common beginning."""
    ordered = sorted(others)
    at = bisect_left(ordered, name)
    half = _MOST_COMPARED // 4
    return ordered[max(at - half, 0) : at + half]

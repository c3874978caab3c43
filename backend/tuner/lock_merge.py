"""Merging lock files: a fact a line, so that a merge is one of sets, decided problem by problem."""

from __future__ import annotations

from trtn.backend.tuner.lock import FIRST, HEAD

__all__ = ["is_lock", "merge_locks"]


def is_lock(text: str) -> bool:
    """Whether a text is a lock of this format; an empty one (a file that is new on both sides) may become one."""
    return not text or text.startswith(FIRST)


def merge_locks(base: str, ours: str, theirs: str) -> tuple[str, int]:
    """The merged text, and how many problems both sides decided differently: these stand between conflict markers."""
    old, left, right = map(_lines, (base, ours, theirs))
    merged: list[str] = []
    conflicts = 0
    for key in sorted(left.keys() | right.keys()):
        was, a, b = old.get(key), left.get(key), right.get(key)
        if a == b or b == was:
            merged += [a] if a is not None else []
        elif a == was:
            merged += [b] if b is not None else []
        else:
            conflicts += 1
            merged += ["<<<<<<< ours", *([a] if a else []), "=======", *([b] if b else []), ">>>>>>> theirs"]
    return HEAD + "".join(f"{line}\n" for line in merged), conflicts


def _lines(text: str) -> dict[tuple[str, str], str]:
    """A lock's lines by kind and problem."""
    rows = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {(fields[0], fields[1]): row for row in rows if len(fields := row.split(maxsplit=2)) > 1}

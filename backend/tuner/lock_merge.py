"""Merging lock files: a fact a line, so that a merge is one of sets, decided fact by fact."""

from __future__ import annotations

from trtn.backend.tuner.lock import FIRST, HEAD, HEADS, fields_of

__all__ = ["is_lock", "merge_locks"]


def is_lock(text: str) -> bool:
    """Whether a text is a lock of this format; an empty one (a file that is new on both sides) may become one."""
    return not text or text.startswith(FIRST)


def merge_locks(base: str, ours: str, theirs: str) -> tuple[str, int]:
    """The merged text, and how many facts both sides state differently: these stand between conflict markers."""
    old, left, right = map(_lines, (base, ours, theirs))
    merged: list[str] = []
    conflicts = 0
    for head in sorted(left.keys() | right.keys()):
        was, a, b = old.get(head), left.get(head), right.get(head)
        if a == b or b == was:
            merged += [a] if a is not None else []
        elif a == was:
            merged += [b] if b is not None else []
        else:
            conflicts += 1
            merged += ["<<<<<<< ours", *([a] if a else []), "=======", *([b] if b else []), ">>>>>>> theirs"]
    return HEAD + "".join(f"{line}\n" for line in merged), conflicts


def _lines(text: str) -> dict[tuple[str, ...], str]:
    """A lock's lines by what they are about."""
    rows = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    parsed = ((fields_of(row)[0], row) for row in rows)
    return {fields[: HEADS.get(fields[0], len(fields))]: row for fields, row in parsed}

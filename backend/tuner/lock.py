"""The lock file: which tactic each distinct group runs with, as text to be committed, reviewed and merged.

    # trtn lock 1
    # Maintained by `trtn build`. One group a line, sorted; a merge keeps both sides' lines.
    conv 4f0c..e1 reference 1 eval # conv+relu f32[N, 64, 56, 56]

A line is: kind, digest of the group's signature, provider, its version, tactic, and a comment for the reader.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trtn.backend.fusion.signature import signature
from trtn.backend.group import Group
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError

__all__ = ["Entry", "Lock", "group_key", "read_lock", "write_lock"]

HEAD = "# trtn lock 1\n# Maintained by `trtn build`. One group a line, sorted; a merge keeps both sides' lines.\n"
KEY_LENGTH = 24
_KEY = re.compile(f"[0-9a-f]{{{KEY_LENGTH}}}")


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    kind: str
    key: str
    provider: str
    version: str
    tactic: str
    comment: str = ""

    def __str__(self) -> str:
        line = f"{self.kind} {self.key} {self.provider} {self.version} {self.tactic}"
        return f"{line} # {self.comment}" if self.comment else line


Lock = Mapping[str, Entry]
"""Entries by group key."""


def group_key(group: Group) -> str:
    """A short, stable id of what a group computes: the digest of its signature."""
    return hashlib.sha256(signature(group).encode()).hexdigest()[:KEY_LENGTH]


def describe(group: Group) -> str:
    """The ops and the result, for the reader of a lock."""
    ops = "+".join(layer.op.name for layer in group.layers[:6]) + ("+.." if len(group.layers) > 6 else "")
    return f"{ops} {group.outputs[-1].type}" if group.outputs else ops


def read_lock(path: str | Path) -> Lock:
    """The entries of a lock file. Raises BuildError with the line where it is malformed or can't be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as e:  # bytes that are not UTF-8, a NUL in the path
        raise _error(f"lock file {path} can't be read: {e}") from None
    if not text.startswith("# trtn lock 1\n"):
        raise _error(f"{path}:1: not a lock file of this version of trtn")
    entries: dict[str, Entry] = {}
    for number, line in enumerate(text.split("\n"), 1):
        body, _, comment = line.partition(" # ")
        if line.startswith("#") or not line.strip():
            continue
        fields = body.split()
        if len(fields) != 5:
            raise _error(
                f"{path}:{number}: a line has five fields, this one {len(fields)}",
                "resolve the merge, or delete the file and build it anew",
            )
        kind, key, provider, version, tactic = fields
        if not _KEY.fullmatch(key):
            raise _error(f"{path}:{number}: `{key}` is not the digest of a group", "delete the line, or the file")
        entries[key] = Entry(kind, key, provider, version, tactic, comment)
    return entries


def write_lock(path: str | Path, entries: Iterable[Entry]) -> None:
    """Write a lock file, sorted; complete or not at all. Raises BuildError."""
    from trtn.dsl.weights.atomic import replacing

    text = HEAD + "".join(f"{e}\n" for e in sorted(set(entries)))
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and target.read_text(encoding="utf-8") == text:
            return
        with replacing(target) as file:
            file.write(text.encode())
    except (OSError, ValueError) as e:
        raise _error(f"lock file {path} can't be written: {getattr(e, 'strerror', None) or e}") from None


def _error(message: str, cure: str = "") -> BuildError:
    return BuildError(message, [Diagnostic("E0708", message, help=cure)])

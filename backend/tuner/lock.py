"""The lock file: which tactic each distinct problem runs with, as text to be committed, reviewed and merged.

    # trtn lock 2
    # Maintained by `trtn build`. One problem a line, sorted; a merge keeps both sides' lines.
    conv 4f0c..e1 reference 1 eval # conv+relu f32[8, 64, 56, 56]

A line is: kind, the problem's key, provider, the version of its library and of its own part, tactic, and a comment for
the reader.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtn.backend.problem import KEY_LENGTH, Problem
from trtn.dsl.diagnostics import Diagnostic, Severity
from trtn.dsl.errors import BuildError

__all__ = [
    "HEAD",
    "Entry",
    "Lock",
    "describe",
    "lock_digest",
    "missing_entries",
    "read_lock",
    "stale_entries",
    "write_lock",
]

FIRST = "# trtn lock 2\n"
HEAD = FIRST + "# Maintained by `trtn build`. One problem a line, sorted; a merge keeps both sides' lines.\n"
NOTES = 50
"""Missing problems that are listed; the others are counted."""
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
"""Entries by problem key."""


def describe(problem: Problem) -> str:
    """The ops and the result, for the reader of a lock."""
    group = problem.group
    ops = "+".join(layer.op.name for layer in group.layers[:6]) + ("+.." if len(group.layers) > 6 else "")
    return f"{ops} {problem.outputs[-1].dtype}{list(problem.outputs[-1].shape)}" if problem.outputs else ops


def read_lock(path: str | Path) -> Lock:
    """The entries of a lock file. Raises BuildError with the line where it is malformed or can't be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as e:  # bytes that are not UTF-8, a NUL in the path
        raise _error(f"lock file {path} can't be read: {_reason(e)}") from None
    if not text.startswith(FIRST):
        raise _error(f"{path}:1: not a lock file of this version of trtn", "delete it, and build without `--locked`")
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
            raise _error(f"{path}:{number}: `{key}` is not the key of a problem", "delete the line, or the file")
        entries[key] = Entry(kind, key, provider, version, tactic, comment)
    return entries


def lock_digest(path: str | Path) -> str:
    """`sha256:` and 64 hex digits, of the file's bytes. Raises BuildError."""
    try:
        return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
    except OSError as e:
        raise _error(f"lock file {path} can't be read: {_reason(e)}") from None


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
        raise _error(f"lock file {path} can't be written: {_reason(e)}") from None


def missing_entries(problems: Sequence[Problem], total: int, lock: Lock, versions: Mapping[str, str]) -> BuildError:
    """The error of a locked build: which of `total` problems have no entry, or one that is of no use here."""
    message = f"the lock file has no valid entry for {len(problems)} of {total} problems"
    notes = [
        f"`{p.group.name}` ({describe(p)}), key {p.key}{_why_not(lock.get(p.key), versions)}" for p in problems[:NOTES]
    ]
    if len(problems) > NOTES:
        notes.append(f"and {len(problems) - NOTES} more")
    help_ = "build without `--locked` and commit the lock"
    return BuildError(message, [Diagnostic("E0708", message, notes=tuple(notes), help=help_)])


def stale_entries(entries: Sequence[Entry], versions: Mapping[str, str]) -> list[Diagnostic]:
    """A warning for each version of a provider that entries were locked with and that is not here."""
    counts: dict[tuple[str, str], int] = {}
    for e in entries:
        if versions.get(e.provider) != e.version:
            counts[e.provider, e.version] = counts.get((e.provider, e.version), 0) + 1
    return [
        Diagnostic(
            "W0701",
            f"the lock was written with {provider} {version}; {_here(provider, versions)}",
            severity=Severity.WARNING,
            notes=(f"{count} tactic{'s' if count > 1 else ''} of it {'were' if count > 1 else 'was'} decided anew",),
            help="commit the lock that this build writes, or build with the library that the lock names",
        )
        for (provider, version), count in sorted(counts.items())
    ]


def _why_not(entry: Entry | None, versions: Mapping[str, str]) -> str:
    if entry is None:
        return ""
    if versions.get(entry.provider) != entry.version:
        return f": locked with {entry.provider} {entry.version}, {_here(entry.provider, versions)}"
    return f": {entry.provider} has no tactic `{entry.tactic}` for it"


def _here(provider: str, versions: Mapping[str, str]) -> str:
    return f"here is {versions[provider]}" if provider in versions else "which is not here"


def _error(message: str, cure: str = "") -> BuildError:
    return BuildError(message, [Diagnostic("E0708", message, help=cure)])


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

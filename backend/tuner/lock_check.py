"""Whether a lock is up to date: what it misses, what is stale in it, why, and what to run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from trtn.backend.problem import Problem
from trtn.backend.tuner.lock import Entries, Entry, Lock, describe
from trtn.dsl.dependencies import Dependency
from trtn.dsl.diagnostics import Diagnostic, Severity
from trtn.dsl.errors import BuildError

__all__ = [
    "changed_dependencies",
    "changed_versions",
    "dead_sections",
    "missing_entries",
    "require_dependencies",
    "stale_entries",
    "unused_entries",
]

NOTES = 50
"""Problems that are listed; the others are counted."""
CURE = "write the lock anew (`trtn lock`, or a build without `--locked`), review what changed in it, and commit it"


def changed_dependencies(lock: Lock, dependencies: Sequence[Dependency] | None) -> list[Diagnostic]:
    """An error for each file that the lock states otherwise, that it lacks, or that the spec no longer names; none for
    a network that was not read from a spec."""
    if dependencies is None:
        return []
    found: list[Diagnostic] = []
    here = {(d.kind, d.name): d for d in dependencies}
    for head, dependency in here.items():
        kind, name = head
        locked, now = lock.dependencies.get(head), dependency.state()
        if locked is None:
            found.append(_differs(lock, head, f"{kind} `{name}` is not in the lock", (f"here: {_words(now)}",)))
        elif locked != now:
            found.append(_differs(lock, head, f"{kind} `{name}` differs from the lock", (f"here: {_words(now)}",)))
    for head in sorted(lock.dependencies.keys() - here.keys()):
        kind, name = head
        found.append(_differs(lock, head, f"the lock has {kind} `{name}`, which the spec does not name", ()))
    return found


def require_dependencies(lock: Lock, dependencies: Sequence[Dependency] | None) -> None:
    """Raises BuildError where `changed_dependencies` finds something: a locked build is of the files that were locked."""
    if changed := changed_dependencies(lock, dependencies):
        raise BuildError("the spec's files differ from the lock's", changed)


def missing_entries(
    problems: Sequence[Problem], total: int, entries: Entries, versions: Mapping[str, str]
) -> BuildError:
    """The error of a locked build: which of `total` problems have no entry, or one that is of no use here."""
    message = f"the lock file has no valid entry for {len(problems)} of {total} problems"
    notes = [
        f"`{p.group.name}` ({describe(p)}), key {p.key}{_why_not(entries.get(p.key), versions)}"
        for p in problems[:NOTES]
    ]
    if len(problems) > NOTES:
        notes.append(f"and {len(problems) - NOTES} more")
    return BuildError(message, [Diagnostic("E0708", message, notes=tuple(notes), help=CURE)])


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


def changed_versions(lock: Lock, name: str, versions: Mapping[str, str]) -> Iterator[Diagnostic]:
    """A warning for each tool and library of a section whose version is another one here. Those of `versions` that the
    lock does not know count, too: they may have a faster tactic."""
    locked = lock.section(name).versions
    for library, version in sorted(versions.items()):
        if locked.get(library) != version:
            was = f"with {library} {locked[library]}" if library in locked else f"without {library}"
            yield Diagnostic(
                "W0701",
                f"`{name}` was locked {was}; here is {version}",
                lock.places.get(("version", name, library)),
                Severity.WARNING,
                notes=("its tactics may be faster, and what a build makes may differ in its bytes",),
                help=CURE,
            )


def unused_entries(lock: Lock, name: str, asked_for: frozenset[str]) -> Iterator[Diagnostic]:
    """A warning that counts the entries of a section that no problem asks for."""
    unused = [e for key, e in lock.section(name).entries.items() if key not in asked_for]
    if unused:
        notes = [f"{e.kind} {e.key} ({e.comment})" for e in unused[:NOTES]]
        if len(unused) > NOTES:
            notes.append(f"and {len(unused) - NOTES} more")
        yield Diagnostic(
            "W0702",
            f"{len(unused)} tactic{'s' if len(unused) > 1 else ''} of `{name}` in the lock that nothing asks for",
            lock.places.get(("tactic", name, unused[0].kind, unused[0].key)),
            Severity.WARNING,
            notes=tuple(notes),
            help=CURE,
        )


def dead_sections(lock: Lock, targets: Iterable[str]) -> Iterator[tuple[str, Diagnostic]]:
    """The sections of targets that the spec no longer has, each with a warning. A section that is named after its
    device is of builds without a target, and stays."""
    for name in sorted(lock.sections.keys() - set(targets)):
        if name != lock.sections[name].device:
            message = f"the lock has target `{name}`, which the spec does not name"
            place = lock.places.get(("target", name))
            yield name, Diagnostic("W0702", message, place, Severity.WARNING, help=CURE)


def _differs(lock: Lock, head: tuple[str, str], message: str, notes: tuple[str, ...]) -> Diagnostic:
    return Diagnostic("E0711", message, lock.places.get(head), notes=notes, help=CURE)


def _words(state: tuple[str, ...]) -> str:
    return " ".join(state)


def _why_not(entry: Entry | None, versions: Mapping[str, str]) -> str:
    if entry is None:
        return ""
    if versions.get(entry.provider) != entry.version:
        return f": locked with {entry.provider} {entry.version}, {_here(entry.provider, versions)}"
    return f": {entry.provider} has no tactic `{entry.tactic}` for it"


def _here(provider: str, versions: Mapping[str, str]) -> str:
    return f"here is {versions[provider]}" if provider in versions else "which is not here"

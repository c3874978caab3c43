"""The lock file: what a build depends on and which tactics it takes, as text to be committed, reviewed and merged.

    # trtn lock 3
    # Maintained by `trtn lock` and `trtn build`. One fact a line, sorted; a merge keeps both sides' lines.
    import ops/attention.trtn sha256:5d8b..
    manifest bert.weights.trtn sha256:77aa..
    tactic h200 conv 4f0c..e1 cudnn 9.1-2 eng17 # conv+relu f16[8, 64, 56, 56]
    target h200 cuda:sm_90
    version h200 cudnn 9.1-2

A line is a kind of fact, what it is about, and what holds for it; a comment for the reader may follow. `HEADS` says how
many fields tell what it is about: no two lines of a lock agree in those.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote

from trtn.backend.problem import KEY_LENGTH, Problem
from trtn.dsl.dependencies import Dependency
from trtn.dsl.diagnostics import Diagnostic, Source, Span
from trtn.dsl.errors import BuildError

__all__ = [
    "HEAD",
    "HEADS",
    "Entries",
    "Entry",
    "Lock",
    "Section",
    "describe",
    "fields_of",
    "lock_digest",
    "lock_error",
    "read_lock",
    "write_lock",
]

FIRST = "# trtn lock 3\n"
HEAD = (
    f"{FIRST}# Maintained by `trtn lock` and `trtn build`. One fact a line, sorted; a merge keeps both sides' lines.\n"
)
HEADS = {"import": 2, "manifest": 2, "plugin": 2, "tactic": 4, "target": 2, "version": 3}
"""How many fields, the kind among them, tell what a line is about."""
LENGTHS = {"import": 3, "manifest": 3, "plugin": 4, "tactic": 7, "target": 3, "version": 4}
"""How many fields a line has."""
_KEY = re.compile(f"[0-9a-f]{{{KEY_LENGTH}}}")
_ESCAPED = re.compile(r"[\s%#]")


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """The tactic of a problem. `version`: of the provider's library and of its own part."""

    kind: str
    key: str
    provider: str
    version: str
    tactic: str
    comment: str = ""


Entries = Mapping[str, Entry]
"""By problem key."""


@dataclass(frozen=True, slots=True)
class Section:
    """What is locked for a target, or for a device where no target is named. `versions`: of trtn and of the providers
    that took part."""

    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    entries: Entries = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lock:
    """`dependencies`: what is stated of each, by kind and name. `places`: the line of each fact, by its head."""

    dependencies: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    sections: Mapping[str, Section] = field(default_factory=dict)
    places: Mapping[tuple[str, ...], Span] = field(default_factory=dict, compare=False)

    def section(self, name: str) -> Section:
        """What is locked under a name; under `cuda` for the only GPU that the lock knows by its device."""
        found = self.sections.get(name)
        if found is None and name == "cuda":
            gpus = [s for n, s in self.sections.items() if n == s.device and n.startswith("cuda:")]
            found = gpus[0] if len(gpus) == 1 else None
        return found or Section()

    def with_section(self, name: str, section: Section) -> Lock:
        return replace(self, sections={**self.sections, name: section})

    def without_sections(self, names: Iterable[str]) -> Lock:
        return replace(self, sections={n: s for n, s in self.sections.items() if n not in set(names)})

    def with_dependencies(self, dependencies: Iterable[Dependency] | None) -> Lock:
        """With these; with None, those of a network that was not read from a spec, as it is."""
        if dependencies is None:
            return self
        return replace(self, dependencies={(d.kind, d.name): d.state() for d in dependencies})

    def lines(self) -> list[str]:
        """The facts, sorted."""
        found = [_line(*head, *state) for head, state in self.dependencies.items()]
        for name, section in self.sections.items():
            found.append(_line("target", name, section.device))
            found += [_line("version", name, library, version) for library, version in section.versions.items()]
            for e in section.entries.values():
                line = _line("tactic", name, e.kind, e.key, e.provider, e.version, e.tactic)
                found.append(f"{line} # {e.comment}" if e.comment else line)
        return sorted(found)


def describe(problem: Problem) -> str:
    """The ops and the result, for the reader of a lock."""
    group = problem.group
    ops = "+".join(layer.op.name for layer in group.layers[:6]) + ("+.." if len(group.layers) > 6 else "")
    return f"{ops} {problem.outputs[-1].dtype}{list(problem.outputs[-1].shape)}" if problem.outputs else ops


def fields_of(line: str) -> tuple[tuple[str, ...], str]:
    """A line's fields, and its comment."""
    body, _, comment = line.partition(" # ")
    return tuple(map(unquote, body.split())), comment


def read_lock(path: str | Path) -> Lock:
    """A lock file. Raises BuildError with the line where it is malformed or can't be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as e:  # bytes that are not UTF-8, a NUL in the path
        raise lock_error(f"lock file {path} can't be read: {_reason(e)}") from None
    if not text.startswith(FIRST):
        raise lock_error(
            f"{path}:1: not a lock file of this version of trtn", "delete it, and write it with `trtn lock`"
        )
    source = Source(str(path), text)
    dependencies: dict[tuple[str, str], tuple[str, ...]] = {}
    devices: dict[str, str] = {}
    versions: dict[str, dict[str, str]] = {}
    entries: dict[str, dict[str, Entry]] = {}
    places: dict[tuple[str, ...], Span] = {}
    for number, start in enumerate(source.line_starts, 1):
        line = source.line(number)
        if line.startswith("#") or not line.strip():
            continue
        fields, comment = fields_of(line)
        kind, *rest = fields
        wrong = _fault(fields)
        if wrong:
            cure = "resolve the merge, or delete the file and write it with `trtn lock`"
            raise lock_error(f"{path}:{number}: {wrong}", cure)
        places[fields[: HEADS[kind]]] = source.span(start, start + len(line))
        if kind == "target":
            devices[rest[0]] = rest[1]
        elif kind == "version":
            versions.setdefault(rest[0], {})[rest[1]] = rest[2]
        elif kind == "tactic":
            name, group, key, *how = rest
            provider, version, tactic = how
            entries.setdefault(name, {})[key] = Entry(group, key, provider, version, tactic, comment)
        else:
            dependencies[kind, rest[0]] = tuple(rest[1:])
    names = [*devices, *versions, *entries]
    sections = {n: Section(devices.get(n, ""), versions.get(n, {}), entries.get(n, {})) for n in names}
    return Lock(dependencies, sections, places)


def lock_digest(path: str | Path) -> str:
    """`sha256:` and 64 hex digits, of the file's bytes. Raises BuildError."""
    try:
        return f"sha256:{hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
    except OSError as e:
        raise lock_error(f"lock file {path} can't be read: {_reason(e)}") from None


def write_lock(path: str | Path, lock: Lock) -> bool:
    """Write a lock file, complete or not at all; whether it was another before. Raises BuildError."""
    from trtn.dsl.weights.atomic import replacing

    text = HEAD + "".join(f"{line}\n" for line in lock.lines())
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_file() and target.read_text(encoding="utf-8") == text:
            return False
        with replacing(target) as file:
            file.write(text.encode())
    except (OSError, ValueError) as e:
        raise lock_error(f"lock file {path} can't be written: {_reason(e)}") from None
    return True


def lock_error(message: str, cure: str = "") -> BuildError:
    return BuildError(message, [Diagnostic("E0708", message, help=cure)])


def _fault(fields: tuple[str, ...]) -> str:
    """What is wrong with a line; "" where nothing is."""
    kind = fields[0]
    if kind not in LENGTHS:
        return f"`{kind}` is not a kind of fact"
    if len(fields) != LENGTHS[kind]:
        return f"a line of `{kind}` has {LENGTHS[kind]} fields, this one {len(fields)}"
    if kind == "tactic" and not _KEY.fullmatch(fields[3]):
        return f"`{fields[3]}` is not the key of a problem"
    return ""


def _line(*fields: str) -> str:
    return " ".join(_ESCAPED.sub(lambda match: quote(match[0]), text) for text in fields)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

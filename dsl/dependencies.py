"""What a spec is made of beside itself: the specs that it imports, its weight manifests, its plugins' sources. Each has
a state that tells whether it is still the same; no weight file is opened for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol

from trtn.dsl.records import record

if TYPE_CHECKING:
    from trtn.dsl.diagnostics import Source
    from trtn.dsl.elaborate import Unit
    from trtn.dsl.syntax import ast
    from trtn.dsl.weights.table import WeightTable

__all__ = ["Dependency", "Import", "Manifest", "PluginSource", "dependencies_of"]


class Dependency(Protocol):
    """Known by its kind and its name: a path relative to the spec's folder, or a plugin's name."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    def state(self) -> tuple[str, ...]:
        """What changes with it: a digest, `sha256:` and 64 hex digits. A plugin's version stands in front."""


@record()
class Import:
    """A spec that is imported, directly or not. Its digest is that of its text as `trtn fmt` writes it."""

    name: str
    source: Source
    kind = "import"

    def state(self) -> tuple[str, ...]:
        from trtn.dsl.syntax import format_source

        return (_sha256(format_source(self.source).encode()),)


@record()
class Manifest:
    """A weight manifest. Its digest is the root over those of its tensors: where they are stored doesn't count."""

    name: str
    table: WeightTable
    kind = "manifest"

    def state(self) -> tuple[str, ...]:
        from trtn.dsl.network import format_type
        from trtn.dsl.weights.hashing import combine

        root = combine(
            # A tensor without a hash stands for what its line says.
            (w.name, w.digest or _sha256(f"{format_type(w.dtype, w.shape)} = {w.source}\n".encode()))
            for w in self.table.values()
        )
        return (root,)


@record()
class PluginSource:
    """A plugin and its source, a path from `folder` that must lie under `root`. Its digest is that of the file's
    bytes."""

    name: str
    version: str
    root: Path
    folder: Path
    path: str
    kind = "plugin"

    def state(self) -> tuple[str, ...]:
        return (self.version or "-", self._digest())

    def _digest(self) -> str:
        try:
            path = (self.folder / self.path).resolve()
            return _sha256(path.read_bytes()) if path.is_relative_to(self.root.resolve()) else "outside"
        except (OSError, ValueError):  # it is not there, it is a folder, it has a NUL in its name
            return "missing"


def dependencies_of(unit: Unit) -> tuple[Dependency, ...]:
    """All that a spec depends on, each once, in the order of first mention."""
    found: dict[tuple[str, str], Dependency] = {}
    for dependency in _walk(unit, unit.folder, set()):
        found.setdefault((dependency.kind, dependency.name), dependency)
    return tuple(found.values())


def _walk(unit: Unit, root: Path, seen: set[int]) -> Iterator[Dependency]:
    for table in unit.weights.values():
        if table is not None and table.source is not None:
            yield Manifest(_relative(table.source.path, root), table)
    home = f"{_relative(unit.source.path, root)}:" if seen else ""
    for plugin in unit.plugins.values():
        name = f"{home}{plugin.name}"
        yield PluginSource(name, _text(plugin, "version"), root, unit.folder, _text(plugin, "source"))
    seen.add(id(unit))
    for imported in unit.imports.values():
        if imported is not None and id(imported) not in seen:
            yield Import(_relative(imported.source.path, root), imported.source)
            yield from _walk(imported, root, seen)


def _text(plugin: ast.Plugin, field: str) -> str:
    """A field's string; "" where there is none."""
    value = next((f.value for f in plugin.fields if f.name == field), None)
    return str(getattr(value, "value", ""))


def _relative(path: str, root: Path) -> str:
    return PurePath(os.path.relpath(path, root)).as_posix()


def _sha256(octets: bytes) -> str:
    return f"sha256:{hashlib.sha256(octets).hexdigest()}"

"""What the editor has open, and files through it: an open buffer counts before the file on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pygls.uris import from_fs_path, to_fs_path

from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.elaborate import Loader, Unit
from trtn.dsl.elaborate.replay import Past
from trtn.dsl.syntax import ast, parse, read_source
from trtn.dsl.syntax.edits import reparsed
from trtn.dsl.weights.manifest import load_manifest
from trtn.dsl.weights.table import WeightTable

__all__ = ["BufferLoader", "Buffers", "Cancelled", "Token", "path_of", "uri_of"]


class Cancelled(Exception):
    """The text has changed: what was being found out about it is of no use any more."""


@dataclass(slots=True)
class Token:
    """Tells work in another thread that nobody waits for it."""

    cancelled: bool = False

    def check(self) -> None:
        """Raises Cancelled where that is so."""
        if self.cancelled:
            raise Cancelled


def path_of(uri: str) -> str:
    """The file's path; the URI itself for a buffer that is no file yet."""
    return to_fs_path(uri) or uri


def uri_of(path: str) -> str:
    return from_fs_path(str(Path(path).resolve())) or path


class Buffers:
    """The open texts by path, and what the last readings of each file came to, for the next to start from."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, Source]] = {}
        self._tables: dict[str, tuple[str, WeightTable, Sink]] = {}
        self._trees: dict[str, ast.Module] = {}
        """Of texts without errors."""
        self._histories: dict[str, dict[str, Past]] = {}

    @staticmethod
    def key(path: str | Path) -> str:
        """What a file is known by, however it is written."""
        return str(Path(path).resolve())

    def forget(self) -> None:
        """Files on the disk may have changed."""
        self._tables.clear()

    def put(self, uri: str, text: str) -> Source:
        """Keep an open text, as it is now."""
        source = Source(path_of(uri), text)
        self._open[self.key(source.path)] = (uri, source)
        return source

    def close(self, uri: str) -> None:
        self._open.pop(self.key(path_of(uri)), None)
        self._histories.pop(path_of(uri), None)

    def history(self, source: Source) -> dict[str, Past]:
        """What the networks of a file came to when it was checked last."""
        return self._histories.setdefault(source.path, {})

    def source(self, uri: str) -> Source | None:
        found = self._open.get(self.key(path_of(uri)))
        return found[1] if found is not None else None

    def uris(self) -> list[str]:
        return [uri for uri, _ in self._open.values()]

    def uri(self, path: str) -> str:
        """A file's URI: as the client writes it where the file is open."""
        found = self._open.get(self.key(path))
        return found[0] if found is not None else uri_of(path)

    def read(self, path: str | Path, sink: Sink) -> Source | None:
        found = self._open.get(self.key(path))
        # Messages and spans have the path as this spec writes it.
        return Source(str(path), found[1].text) if found is not None else read_source(str(path), sink)

    def tree(self, source: Source, sink: Sink) -> ast.Module:
        """A text's tree: that of the last reading where the text is the same, or else what has changed of it."""
        known = self._trees.get(source.path)
        if known is not None:
            same = known if known.source.text == source.text else reparsed(known, source)
            if same is not None:
                self._trees[source.path] = same
                return same
        found = Sink()
        tree = parse(source, found)
        for diagnostic in found.diagnostics:
            sink.add(diagnostic)
        if not found.diagnostics:
            self._trees[source.path] = tree
        return tree

    def table(self, source: Source, sink: Sink, allow_outside: bool) -> WeightTable:
        """A manifest's weights, from the last reading where the text is the same."""
        known = self._tables.get(source.path)
        if known is None or known[0] != source.text:
            found = Sink()
            table = load_manifest(source, found, allow_outside=allow_outside)
            known = self._tables[source.path] = (source.text, table, found)
        for diagnostic in known[2].diagnostics:
            sink.add(diagnostic)
        return known[1]


class BufferLoader(Loader):
    """Reads a spec and all that it names, open buffers first. `files` are the paths that it has looked at."""

    def __init__(self, buffers: Buffers, sink: Sink, token: Token, *, allow_outside: bool = False) -> None:
        super().__init__(sink, allow_outside=allow_outside)
        self.buffers = buffers
        self.token = token
        self.files: set[str] = set()
        self._read: dict[Path, WeightTable | None] = {}

    def load(self, path: str | Path) -> Unit | None:
        self.token.check()
        self.files.add(self.buffers.key(path))
        source = self.buffers.read(path, self.sink)
        return self.unit(source) if source is not None else None

    def _parse(self, source: Source) -> ast.Module:
        return self.buffers.tree(source, self.sink)

    def _manifest(self, unit: Unit, item: ast.WeightsDecl) -> WeightTable | None:
        self.token.check()
        path = self._resolve(unit, item.path, unit.source.span(item.path_start, item.path_end), "E0504")
        if path is None:
            return None
        key = path.resolve()
        if key not in self._read:
            self.files.add(str(key))
            source = self.buffers.read(path, self.sink)
            table = self.buffers.table(source, self.sink, self.allow_outside) if source is not None else None
            self._read[key] = table
        return self._read[key]

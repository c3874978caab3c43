"""Files and what they declare: imports are followed, manifests read, names of blocks, networks, profiles and targets
collected."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtn.dsl.diagnostics import Label, Sink, Source, Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.syntax import ast

if TYPE_CHECKING:
    from trtn.dsl.weights.table import WeightTable

__all__ = ["Loader", "Unit"]

_LEFT_SIDE = re.compile(r"[^=:({#]*")
"""Of a line that defines a name, the part that has it."""
_WORD = re.compile(r"\w+")
IMPORT_LIMIT = 1000
"""How many files one spec may import, directly or not."""
IMPORT_DEPTH_LIMIT = 64
"""How deep files may import files."""


@dataclass(slots=True)
class Unit:
    """A parsed file with its names resolved. `weights` holds None for a manifest that could not be read."""

    source: Source
    module: ast.Module
    blocks: dict[str, ast.Block] = field(default_factory=dict)
    plugins: dict[str, ast.Plugin] = field(default_factory=dict)
    networks: dict[str, ast.NetworkDecl] = field(default_factory=dict)
    profiles: list[ast.Profile] = field(default_factory=list)
    targets: list[ast.Target] = field(default_factory=list)
    imports: dict[str, Unit | None] = field(default_factory=dict)
    weights: dict[str, WeightTable | None] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    broken: bool = False
    """Whether a part of the text could not be read."""
    _left_sides: frozenset[str] | None = None

    def may_have_lost(self, name: str) -> bool:
        """Whether a name that is not defined may have been, in a part of the text that could not be read."""
        if not self.broken:
            return False
        if self._left_sides is None:
            starts = (_LEFT_SIDE.match(line) for line in self.source.text.splitlines())
            self._left_sides = frozenset(word for m in starts if m for word in _WORD.findall(m[0]))
        first = _WORD.search(name)
        return first is not None and first[0] in self._left_sides

    @property
    def folder(self) -> Path:
        return Path(self.source.path).parent if self.source.path != "-" else Path()


class Loader:
    """Reads a spec and all that it names. Every file is read once; a file outside the first one's folder is an
    error."""

    def __init__(self, sink: Sink, *, allow_outside: bool = False) -> None:
        self.sink = sink
        self.allow_outside = allow_outside
        self._units: dict[Path, Unit | None] = {}
        self._open: list[Path] = []
        self._tables: dict[Path, WeightTable | None] = {}
        self._root: Path | None = None

    def load(self, path: str | Path) -> Unit | None:
        """A spec from a file (`-` is standard input), or None where it can't be read."""
        from trtn.dsl.syntax import read_source

        source = read_source(str(path), self.sink)
        return self.unit(source) if source is not None else None

    def unit(self, source: Source) -> Unit:
        """A spec from text that is at hand; what it names lies relative to its path's folder."""
        errors = self.sink.error_count
        module = self._parse(source)
        unit = Unit(module.source, module, broken=self.sink.error_count > errors)
        if self._root is None:
            self._root = unit.folder.resolve()
        here = Path(source.path).resolve()
        self._open.append(here)
        for item in unit.module.items:
            self._declare(unit, item)
        self._open.pop()
        return unit

    def _parse(self, source: Source) -> ast.Module:
        from trtn.dsl.syntax import parse

        return parse(source, self.sink)

    def _declare(self, unit: Unit, item: object) -> None:
        match item:
            case ast.Import():
                if self._claim(unit, item.alias, item):
                    unit.imports[item.alias] = self._import(unit, item)
            case ast.WeightsDecl():
                if self._claim(unit, item.alias, item):
                    unit.weights[item.alias] = self._manifest(unit, item)
            case ast.Block():
                if self._claim(unit, item.name, item):
                    unit.blocks[item.name] = item
            case ast.Plugin():
                if self._claim(unit, item.name, item):
                    unit.plugins[item.name] = item
                    self._check_plugin(unit, item)
            case ast.NetworkDecl():
                if self._claim(unit, item.name, item, kind="network "):
                    unit.networks[item.name] = item
            case ast.Profile():
                if self._claim(unit, item.name, item, kind="profile "):
                    unit.profiles.append(item)
            case ast.Target():
                if self._claim(unit, item.name, item, kind="target "):
                    unit.targets.append(item)

    def _check_plugin(self, unit: Unit, plugin: ast.Plugin) -> None:
        """A lock holds a plugin by its version and its source's hash; its dtype variables have a range."""
        stated = {f.name for f in plugin.fields if isinstance(f.value, ast.StrLit)}
        lacks = [f"`{field}`" for field in ("source", "version") if field not in stated]
        types = [*(p.type for p in plugin.sig.tensors if p.type is not None), *plugin.sig.results]
        ranged = {w.variable for w in plugin.where} | {a.name for a in plugin.sig.attrs}
        variables = dict.fromkeys(t.dtype for t in types if t.dtype not in BY_NAME and t.dtype not in ranged)
        lacks += [f"`where {v} in {{..}}`" for v in variables]
        if lacks:
            span = Span(unit.source, plugin.name_start, plugin.name_end)
            message = (
                f"plugin `{plugin.name}` does not state {', '.join(lacks[:-1])}{' and ' * (len(lacks) > 1)}{lacks[-1]}"
            )
            self.sink.error("E0601", message, span)

    def _claim(self, unit: Unit, name: str, item: ast.Node, kind: str = "") -> bool:
        """Networks, profiles and targets have name spaces of their own; blocks, plugins and aliases share one."""
        start, end = getattr(item, "name_start", 0), getattr(item, "name_end", 0)
        span = Span(unit.source, start, end) if end else unit.module.span(item)
        earlier = unit.spans.get(kind + name)
        if earlier is not None:
            self.sink.error("E0202", f"{kind}`{name}` is defined twice", span, labels=(Label(earlier, "first here"),))
            return False
        unit.spans[kind + name] = span
        return True

    def _resolve(self, unit: Unit, text: str, span: Span, code: str) -> Path | None:
        """A path that a file names, which must lie under the first spec's folder."""
        if "\0" in text or not text:
            self.sink.error(code, "not a file's path", span)
            return None
        path = unit.folder / text
        resolved = path.resolve()
        root = self._root or unit.folder.resolve()
        if not self.allow_outside and not resolved.is_relative_to(root):
            self.sink.error(
                "E0209",
                f'"{text}" lies outside the spec\'s folder',
                span,
                notes=(f"the folder is {root}",),
                help="move the file, or allow it with `--allow-outside`",
            )
            return None
        if not path.is_file():
            near = (
                did_you_mean(path.name, [p.name for p in path.parent.glob("*.trtn")][:1000])
                if path.parent.is_dir()
                else ""
            )
            self.sink.error(code, f'no file "{text}"', span, notes=(f"looked for {path}",), help=near)
            return None
        return path

    def _import(self, unit: Unit, item: ast.Import) -> Unit | None:
        span = Span(unit.source, item.path_start, item.path_end)
        path = self._resolve(unit, item.path, span, "E0205")
        if path is None:
            return None
        key = path.resolve()
        if key in self._open:
            chain = " -> ".join(p.name for p in [*self._open[self._open.index(key) :], key])
            self.sink.error("E0206", f"imports run in a circle: {chain}", span)
            return None
        if key not in self._units:
            if len(self._units) >= IMPORT_LIMIT:
                self.sink.error("E0107", f"more than {IMPORT_LIMIT} files are imported", span)
                return None
            if len(self._open) >= IMPORT_DEPTH_LIMIT:
                self.sink.error("E0107", f"imports nest deeper than {IMPORT_DEPTH_LIMIT} files", span)
                return None
            self._units[key] = self.load(path)
        return self._units[key]

    def _manifest(self, unit: Unit, item: ast.WeightsDecl) -> WeightTable | None:
        from trtn.dsl.syntax import read_source
        from trtn.dsl.weights.manifest import load_manifest

        span = Span(unit.source, item.path_start, item.path_end)
        path = self._resolve(unit, item.path, span, "E0504")
        if path is None:
            return None
        key = path.resolve()
        if key not in self._tables:
            source = read_source(str(path), self.sink)
            self._tables[key] = (
                None if source is None else load_manifest(source, self.sink, allow_outside=self.allow_outside)
            )
        return self._tables[key]

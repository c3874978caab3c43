"""A manifest's text to a table of weights. No weight file is opened: `trtn check` works without them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trtn.dsl.diagnostics import Label, Sink, Source, Span
from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Weight
from trtn.dsl.syntax import ast, parse_manifest
from trtn.dsl.weights.generators import Generator, Misuse, Value
from trtn.dsl.weights.hashing import is_digest
from trtn.dsl.weights.mapped import StorageError
from trtn.dsl.weights.sources import FileEntry, GeneratedSource, Spans, StoredSource
from trtn.dsl.weights.storage import Place
from trtn.dsl.weights.storages import FileTable
from trtn.dsl.weights.table import WeightTable

__all__ = ["load_manifest", "resolve_manifest", "size_rounding"]

_LARGEST = 1 << 62
_HIGHEST_RANK = 64  # NumPy's
_ROUNDED = re.compile(r"([0-9][0-9_]*)(?:\.([0-9]+))?([A-Za-z]+)")


def load_manifest(source: Source, sink: Sink, *, root: Path | None = None, allow_outside: bool = False) -> WeightTable:
    """The weights that a manifest declares.

    Findings go to `sink`; the table then holds the tensors that could be understood. `root` is the folder
    that the files' paths start from and must stay in (unless `allow_outside`): by default the folder of
    `source.path`.
    """
    errors = sink.error_count
    module = parse_manifest(source, sink)
    broken = sink.error_count > errors
    return resolve_manifest(module, sink, root=root, allow_outside=allow_outside, broken=broken)


def resolve_manifest(
    module: ast.Module,
    sink: Sink,
    *,
    root: Path | None = None,
    allow_outside: bool = False,
    stated: bool = True,
    broken: bool = False,
) -> WeightTable:
    """As `load_manifest`, of a parsed file; `broken` says whether parts of it could not be read. A file in which no
    manifest could be read gives an empty table.

    Where `stated` is false, the sizes and hashes in the text are not looked at: who writes them anew reads
    the files that are there.
    """
    manifest = next((item for item in module.items if isinstance(item, ast.Manifest)), None)
    if manifest is None:
        return WeightTable("", {}, {}, module.source, broken=broken)
    folder = root if root is not None else Path(module.source.path).parent
    return _Resolver(module, sink, folder, allow_outside, stated, broken).resolve(manifest)


class _Resolver:
    def __init__(
        self, module: ast.Module, sink: Sink, root: Path, allow_outside: bool, stated: bool, broken: bool
    ) -> None:
        self.module = module
        self.sink = sink
        self.root = root
        self.allow_outside = allow_outside
        self.stated = stated
        self.broken = broken
        self.unknown_files: dict[str, list[ast.TensorEntry]] = {}
        """Aliases that no line declares, with the tensors that are said to be there."""
        self.table = FileTable(allow_outside=allow_outside)
        self.types: dict[str, tuple[DType, tuple[int, ...]]] = {}
        """Plain types that were understood, by their text: most of a manifest's lines share a few."""

    def span(self, start: int, end: int) -> Span:
        return Span(self.module.source, start, end)

    def resolve(self, manifest: ast.Manifest) -> WeightTable:
        files: dict[str, FileEntry] = {}
        for node in manifest.files:
            if node.name in files:
                self._twice(f"file `{node.name}`", self.module.span(node), files[node.name].span)
            else:
                files[node.name] = self._file(node)
        weights: dict[str, Weight] = {}
        refused: set[str] = set()
        used: set[str] = set()
        for entry in manifest.tensors:
            if entry.file is not None:
                used.add(entry.file)
            if entry.name in weights:
                self._twice(f"tensor `{entry.name}`", self._name_span(entry), weights[entry.name].span)
            elif (weight := self._tensor(entry, files)) is not None:
                weights[entry.name] = weight
            else:
                refused.add(entry.name)
        for alias, entries in self.unknown_files.items():
            self._unknown_file(alias, entries, files)
        # What could not be read may use a file; so may those that name it wrongly.
        unclear = self.broken or self.unknown_files
        for node in manifest.files:
            if node.name not in used and not unclear:
                self.sink.error(
                    "E0508",
                    f"no tensor is in file `{node.name}`",
                    self.module.span(node),
                    help="remove the line",
                )
        return WeightTable(manifest.name, weights, files, self.module.source, refused, broken=self.broken)

    def _twice(self, what: str, span: Span, first: Span | None) -> None:
        labels = (Label(first, "first here"),) if first is not None else ()
        self.sink.error("E0202", f"{what} is declared twice", span, labels=labels)

    # --- files ----------------------------------------------------------------------------------------------

    def _file(self, node: ast.WeightFile) -> FileEntry:
        digest = self._digest(node)
        entry = FileEntry(
            alias=node.name,
            path=node.path,
            root=self.root,
            table=self.table,
            allow_outside=self.allow_outside,
            size=node.size.value if node.size is not None and self.stated else None,
            tolerance=size_rounding(node.size),
            digest=digest,
            span=self.span(node.path_start, node.path_end),
            size_span=self.module.span(node.size) if node.size is not None else None,
            digest_span=self.span(node.digest_start, node.digest_end) if node.digest else None,
        )
        try:
            entry.locate()
        except StorageError as error:
            self.sink.error(error.code, error.message, entry.span, notes=error.notes, help=error.help)
        return entry

    def _digest(self, node: ast.WeightFile | ast.TensorEntry) -> str | None:
        if node.digest is None or not self.stated:
            return None
        digest = node.digest.lower()
        if is_digest(digest):
            return digest
        digits = len(digest.partition(":")[2])
        self.sink.error(
            "E0511",
            f"hash of {digits} digits; sha256 has 64",
            self.span(node.digest_start, node.digest_end),
            help="`trtn weights hash` fills in hashes",
        )
        return None

    # --- tensors --------------------------------------------------------------------------------------------

    def _name_span(self, entry: ast.TensorEntry) -> Span:
        return self.span(entry.start, entry.name_end or entry.end)

    def _tensor(self, entry: ast.TensorEntry, files: dict[str, FileEntry]) -> Weight | None:
        dtype, shape = self._type(entry.type)
        digest = self._digest(entry)
        source: GeneratedSource | StoredSource | None
        if entry.generator is not None:
            source = self._generated(entry, dtype, shape)
        else:
            source = self._stored(entry, dtype, shape, files)
        if dtype is None or shape is None or source is None:
            return None
        return Weight(entry.name, dtype, shape, source, digest, self._name_span(entry))

    def _type(self, node: ast.TypeExpr) -> tuple[DType | None, tuple[int, ...] | None]:
        known = self.types.get(node.plain)
        if known is not None:
            return known
        span = self.module.span(node)
        dtype = BY_NAME.get(node.dtype)
        if dtype is None:
            hint = did_you_mean(node.dtype, BY_NAME) or f"dtypes are {', '.join(BY_NAME)}"
            self.sink.error("E0301", f"no dtype `{node.dtype}`", span, help=hint)
        shape: list[int] = []
        for dim in node.dims:
            if not isinstance(dim.value, ast.IntLit) or dim.low is not None:
                message = "a weight's dims are integers"
                self.sink.error("E0306", f"{message}, not `{self.module.span(dim).text}`", self.module.span(dim))
                return dtype, None
            shape.append(dim.value.value)
        if len(shape) > _HIGHEST_RANK:
            self.sink.error("E0303", f"rank {len(shape)} is over the limit of {_HIGHEST_RANK}", span)
            return dtype, None
        # Sizes count even where another one is 0: NumPy multiplies them too.
        if math.prod(max(1, d) for d in shape) * 8 > _LARGEST:
            self.sink.error("E0418", "the tensor has more than 2^62 bytes", span)
            return dtype, None
        if dtype is not None and node.plain:
            self.types[node.plain] = dtype, tuple(shape)
        return dtype, tuple(shape)

    def _stored(
        self,
        entry: ast.TensorEntry,
        dtype: DType | None,
        shape: tuple[int, ...] | None,
        files: dict[str, FileEntry],
    ) -> StoredSource | None:
        alias = entry.file or ""
        file = files.get(alias)
        if file is None:
            self.unknown_files.setdefault(alias, []).append(entry)
        if entry.transpose and shape is not None and len(shape) < 2:
            span = self.span(entry.source_start, entry.source_end)
            self.sink.error("E0303", f"`transpose` swaps the last two axes; `{entry.name}` has rank {len(shape)}", span)
            return None
        if file is None or dtype is None or shape is None:
            return None
        spans = Spans(self.module.source, entry)
        return StoredSource(file, Place(entry.name, entry.key, entry.offset), dtype, shape, entry.transpose, spans)

    def _unknown_file(self, alias: str, entries: Sequence[ast.TensorEntry], files: Mapping[str, FileEntry]) -> None:
        """One finding, however many tensors are there; none where the file's own line may be the one with errors."""
        declared = re.compile(rf"^(?!\s*tensor\b).*\b{re.escape(alias)}\b", re.MULTILINE)
        if self.broken and declared.search(self.module.source.text):
            return
        known = f"files of this manifest are {', '.join(f'`{name}`' for name in files)}" if files else ""
        others = len(entries) - 1
        notes = (f"{others} more tensor{'s are' if others > 1 else ' is'} said to be there",) if others else ()
        span = self.span(entries[0].source_start, entries[0].source_end)
        hint = did_you_mean(alias, files) or known
        self.sink.error("E0508", f"no file `{alias}` in this manifest", span, notes=notes, help=hint)

    def _generated(
        self, entry: ast.TensorEntry, dtype: DType | None, shape: tuple[int, ...] | None
    ) -> GeneratedSource | None:
        span = self.span(entry.source_start, entry.source_end)
        try:
            generator = Generator(entry.generator or "", tuple(map(self._value, entry.args)))
            if dtype is None or shape is None:
                return None
            generator.check(dtype, shape)
        except Misuse as error:
            self.sink.error("E0507", str(error), span, help=error.help)
            return None
        return GeneratedSource(generator, dtype, shape)

    def _value(self, node: ast.Expr) -> Value:
        match node:
            case ast.IntLit() | ast.FloatLit() | ast.BoolLit():
                return node.value
            case ast.Unary(op="-", operand=ast.IntLit() | ast.FloatLit() as operand):
                return -operand.value
            case ast.ListLit():
                return tuple(map(self._value, node.items))
        raise Misuse(f"a generator's arguments are numbers and lists of numbers, not `{self.module.span(node).text}`")


def size_rounding(size: ast.SizeLit | ast.IntLit | None) -> int:
    """Half of the last digit that a size with a unit shows: 438MB stands for all from 437.5 to 438.5."""
    if not isinstance(size, ast.SizeLit):
        return 0
    parts = _ROUNDED.fullmatch(size.text)
    if parts is None or size.value == 0:
        return 0
    whole, fraction, unit = int(parts[1].replace("_", "")), parts[2] or "", parts[3]
    if unit == "B":
        return 0
    digits = int(f"{whole}{fraction}")
    return size.value // digits // 2 if digits else 0

"""A manifest as rows, and with its hashes filled in: what the command line prints and writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.dtypes import DType
from trtn.dsl.errors import TrtnError
from trtn.dsl.syntax import ast, parse_manifest
from trtn.dsl.weights.manifest import load_manifest, resolve_manifest, size_rounding
from trtn.dsl.weights.mapped import StorageError
from trtn.dsl.weights.sources import FileEntry, GeneratedSource
from trtn.dsl.weights.table import WeightTable
from trtn.dsl.weights.verify import Progress, digests, file_digest

__all__ = ["Row", "hash_manifest", "list_manifest"]


@dataclass(frozen=True, slots=True)
class Row:
    """A tensor of a manifest. `source` is as the manifest writes it, with the file's path for its alias."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    nbytes: int
    source: str
    digest: str | None
    state: Literal["stated", "generated", "missing"]
    """`generated`: has no hash and needs none, for it comes from the text alone."""


def list_manifest(
    source: Source, sink: Sink, *, root: Path | None = None, allow_outside: bool = False
) -> tuple[Row, ...]:
    """The tensors in the order of the manifest's lines. No weight file is opened."""
    rows = []
    for weight in load_manifest(source, sink, root=root, allow_outside=allow_outside).values():
        state: Literal["stated", "generated", "missing"] = "missing"
        if weight.digest is not None:
            state = "stated"
        elif isinstance(weight.source, GeneratedSource):
            state = "generated"
        rows.append(
            Row(
                weight.name,
                weight.dtype,
                weight.shape,
                weight.nbytes,
                str(weight.source),
                weight.digest,
                state,
            )
        )
    return tuple(rows)


def hash_manifest(
    source: Source,
    sink: Sink,
    *,
    root: Path | None = None,
    allow_outside: bool = False,
    progress: Progress | None = None,
) -> str:
    """The manifest's text with the hash of every stored tensor; all other text is as it was, byte for byte.

    Generators' hashes, files' hashes and files' sizes are brought up to date where the text has them, and not
    added. A line whose tensor can't be read stays as it is, with the reason in `sink`; so does the whole text
    where it can't be parsed.
    """
    module = parse_manifest(source, sink)
    table = resolve_manifest(module, sink, root=root, allow_outside=allow_outside, stated=False)
    manifest = next((item for item in module.items if isinstance(item, ast.Manifest)), None)
    if manifest is None:
        return source.text
    edits = [*_file_edits(manifest, table, sink), *_tensor_edits(manifest, table, sink, progress)]
    text = source.text
    for start, end, words in sorted(edits, reverse=True):
        text = text[:start] + words + text[end:]
    return text


_Edit = tuple[int, int, str]


def _file_edits(manifest: ast.Manifest, table: WeightTable, sink: Sink) -> list[_Edit]:
    edits: list[_Edit] = []
    for node in manifest.files:
        file = table.files[node.name]
        try:
            if node.size is not None:
                edits += _size_edit(node.size, file)
            if node.digest is not None:
                edits.append((node.digest_start, node.digest_end, file_digest(file)))
        except StorageError as error:
            sink.error(error.code, error.message, file.span, notes=error.notes, help=error.help)
    return edits


def _size_edit(node: ast.SizeLit | ast.IntLit, file: FileEntry) -> list[_Edit]:
    size = len(file.table.map(file.locate()))
    return [] if abs(size - node.value) <= size_rounding(node) else [(node.start, node.end, str(size))]


def _tensor_edits(manifest: ast.Manifest, table: WeightTable, sink: Sink, progress: Progress | None) -> list[_Edit]:
    entries = {
        entry.name: entry for entry in reversed(manifest.tensors)
    }  # of two with one name the table has the first
    wanted = [w for w in table.values() if entries[w.name].digest or not isinstance(w.source, GeneratedSource)]
    edits: list[_Edit] = []
    for weight, found in digests(wanted, progress):
        entry = entries[weight.name]
        if isinstance(found, TrtnError):
            for diagnostic in found.diagnostics:
                sink.add(diagnostic)
        elif entry.digest is not None:
            edits.append((entry.digest_start, entry.digest_end, found))
        else:
            edits.append((entry.end, entry.end, f" {found}"))
    return edits

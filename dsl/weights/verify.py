"""Weights and their files against the hashes that the manifest states."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trtn.dsl.diagnostics import Label, Sink, Source
from trtn.dsl.errors import TrtnError
from trtn.dsl.network import Weight
from trtn.dsl.weights.hashing import SCHEME, chunks, combine, digest, short
from trtn.dsl.weights.manifest import load_manifest
from trtn.dsl.weights.mapped import StorageError
from trtn.dsl.weights.sources import FileEntry, StoredSource, view
from trtn.dsl.weights.table import WeightTable

__all__ = [
    "Progress",
    "digests",
    "file_digest",
    "root_digest",
    "verify_files",
    "verify_manifest",
    "verify_weights",
]

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all."""

_WORKERS = 4  # each may hold one tensor that can't be mapped


def digests(weights: Iterable[Weight], progress: Progress | None = None) -> Iterator[tuple[Weight, str | TrtnError]]:
    """Each weight, in order, with the hash of what it loads, or with the error that loading it raised."""
    todo = list(weights)
    total, done = sum(w.nbytes for w in todo), 0

    def one(weight: Weight) -> str | TrtnError:
        try:
            return digest(view(weight))
        except TrtnError as error:
            return error

    pool = ThreadPoolExecutor(min(_WORKERS, os.cpu_count() or 1))
    try:
        for weight, found in zip(todo, pool.map(one, todo), strict=True):
            done += weight.nbytes
            if progress is not None:
                progress(done, total)
            yield weight, found
    finally:  # also where the caller stops early or is interrupted
        pool.shutdown(cancel_futures=True)


def root_digest(weights: Iterable[Weight]) -> str:
    """One hash over the names and hashes of all weights; hashes that the manifest doesn't state are computed.

    Independent of order, files and storage formats. Raises BuildError where a weight can't be read.
    """
    named: list[tuple[str, str]] = []
    unknown: list[Weight] = []
    for weight in weights:
        if weight.digest is not None:
            named.append((weight.name, weight.digest))
        else:
            unknown.append(weight)
    for weight, found in digests(unknown):
        if isinstance(found, TrtnError):
            raise found
        named.append((weight.name, found))
    return combine(named)


def verify_weights(
    weights: Iterable[Weight], sink: Sink, progress: Progress | None = None, *, require_hashes: bool = False
) -> None:
    """Reads every weight that has a hash and compares; E0502 where one differs.

    A stored weight without one is compared in dtype and shape only: W0501, or E0510 where `require_hashes`. A
    file that can't be read is reported once (E0504, E0506, E0509), its tensors not at all.
    """
    usable: dict[int, bool] = {}
    hashed: list[Weight] = []
    for weight in weights:
        source = weight.source
        if isinstance(source, StoredSource):
            file = source.file
            if id(file) not in usable:
                usable[id(file)] = _file_opens(file, sink)
            if not usable[id(file)]:
                continue
            if weight.digest is None:
                _without_hash(weight, sink, require_hashes)
                continue
        if weight.digest is not None:
            hashed.append(weight)
    for weight, found in digests(hashed, progress):
        if isinstance(found, TrtnError):
            _report(found, sink)
        elif found != weight.digest:
            _hash_differs(weight, found, sink)


def _without_hash(weight: Weight, sink: Sink, require_hashes: bool) -> None:
    try:
        view(weight)
    except TrtnError as error:
        _report(error, sink)
        return
    message, advice = f"`{weight.name}` has no hash", "`trtn weights hash` fills in hashes"
    if require_hashes:
        sink.error("E0510", message, weight.span, help=advice)
    else:
        sink.warning("W0501", message, weight.span, help=advice)


def _hash_differs(weight: Weight, found: str, sink: Sink) -> None:
    span = weight.span
    labels: tuple[Label, ...] = ()
    if isinstance(weight.source, StoredSource):
        spans = weight.source.spans
        span = (spans.digest if spans else None) or span
        if weight.source.file.span is not None:
            labels = (Label(weight.source.file.span, "read from here"),)
    sink.error(
        "E0502",
        f"`{weight.name}` hashes to {short(found)}, the manifest says {short(weight.digest or '')}",
        span,
        labels=labels,
        notes=(f"its hash is {found}",),
        help="where the weights were meant to change, `trtn weights hash` writes the new hashes",
    )


def _report(error: TrtnError, sink: Sink) -> None:
    for found in error.diagnostics:
        sink.add(found)


# --- files --------------------------------------------------------------------------------------------------


def file_digest(file: FileEntry) -> str:
    """The SHA-256 of a file's bytes. Raises StorageError: E0504, E0506."""
    state = hashlib.sha256()
    for chunk in chunks(file.table.map(file.locate())):
        state.update(chunk)
    return SCHEME + state.hexdigest()


def _file_opens(file: FileEntry, sink: Sink) -> bool:
    try:
        error = file.size_error()
        if error is None:
            file.table.open(file.locate(), Path(file.path).suffix)
    except StorageError as raised:
        error = raised
    if error is not None:
        span = file.size_span if error.code == "E0509" else file.span
        sink.error(error.code, error.message, span, notes=error.notes, help=error.help)
    return error is None


def verify_files(files: Mapping[str, FileEntry], sink: Sink) -> None:
    """Compares the files' sizes and hashes with those stated: E0509; unreadable files: E0504, E0506."""
    for file in files.values():
        if _file_opens(file, sink) and file.digest is not None and (found := file_digest(file)) != file.digest:
            sink.error(
                "E0509",
                f"weight file `{file.path}` hashes to {short(found)}, the manifest says {short(file.digest)}",
                file.digest_span,
                notes=(f"its hash is {found}",),
            )


def verify_manifest(
    source: Source,
    sink: Sink,
    *,
    root: Path | None = None,
    allow_outside: bool = False,
    require_hashes: bool = False,
    progress: Progress | None = None,
) -> WeightTable:
    """Everything that a manifest claims, compared with the files that it names. Findings go to `sink`."""
    table = load_manifest(source, sink, root=root, allow_outside=allow_outside)
    verify_files(table.files, sink)
    verify_weights(table.values(), sink, progress, require_hashes=require_hashes)
    return table

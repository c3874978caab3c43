"""The engine file as bytes: a fixed prefix, a JSON header, then aligned sections. No knowledge of networks.

    0   magic           b"TRTNENG\\0"
    8   format version  u32, little-endian as all that follows
    12  flags           u32, none defined
    16  header length   u64
    24  file length     u64
    32  header sha256   32 bytes
    64  header          canonical JSON, then zeros up to a multiple of 64
        sections        each at the next multiple of 64 (`weights`: of 4096), zeros between, none after

The header lists the sections with their offsets, sizes and hashes under the key "sections": every byte of a
file is a fixed value, a length that must agree with another, hashed, or a zero. Nothing that a file says is
used before it has been checked. Equal input gives equal bytes.

A section has a sha256 for each block of 16 MiB, so that several threads can check it. Their number and length are
known before a section is read: the writer leaves room for the header, streams the sections once, hashing as it goes,
and then fills in the front.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import stat
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, NoReturn, TypeVar

from trtn.backend.engine import canonical_json
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import EngineError
from trtn.dsl.records import record
from trtn.dsl.weights.atomic import PendingFile

__all__ = ["FORMAT_VERSION", "Container", "Section", "read_container", "read_from", "write_container"]

FORMAT_VERSION: Final = 2

_MAGIC = b"TRTNENG\0"
_PREFIX = struct.Struct("<8sIIQQ32s")
_ALIGN = 64
_ALIGN_WEIGHTS = 4096  # a page: mapped weights can be given to a device or to another process as they are
_MAX_HEADER = 256 << 20  # bytes
_MAX_SECTIONS = 4096
_MAX_NAME = 255
_MAX_OFFSET = 1 << 63
_BLOCK = 16 << 20  # bytes that a hash is over
_HASHED_ASIDE = 1 << 20  # bytes from which a thread that hashes is worth its start
_HASH = re.compile("[0-9a-f]{64}")

Chunks = Callable[[], Iterable[bytes | memoryview]]
T = TypeVar("T")


@record()
class Section:
    """A section to write. `chunks()` gives its `nbytes` bytes in pieces; it is never in memory as a whole."""

    name: str
    nbytes: int
    chunks: Chunks


@record()
class _Entry:
    """A section's line in the header."""

    name: str
    offset: int
    nbytes: int
    sha256: tuple[str, ...]
    """One for each block that it begins."""

    @property
    def end(self) -> int:
        return self.offset + self.nbytes


# writing


def write_container(path: str | os.PathLike[str], header: Mapping[str, object], sections: Iterable[Section]) -> None:
    """Writes an engine file; the old file stays until the new one is complete, whatever happens in between.

    `header` holds JSON values; the key "sections" is the container's own. Raises ValueError or TypeError for
    input that could not be read back (no JSON, NaN, too large or deep, a section named twice, chunks that do
    not have `nbytes` bytes), EngineError where the file can't be written. What `chunks` raise passes through.
    """
    sections = tuple(sections)
    if "sections" in header:
        raise ValueError('the header key "sections" is the container\'s own')
    entries = _lay_out(header, sections)
    raw = _encode(header, entries)
    length = _decode(raw).end
    try:
        target = os.path.realpath(path)
    except ValueError as error:  # a NUL byte
        _refuse(_name_of(path), f"can't be written: {error}", "E0710")
    if os.path.exists(target) and not os.path.isfile(target):
        _refuse(_name_of(path), "can't be written: it exists and is no regular file", "E0710")
    with _writing(path):
        new = PendingFile(Path(target))
    try:
        hashes = [_write_section(path, new.file, *pair) for pair in zip(entries, sections, strict=True)]
        with _writing(path):
            raw = _encode(header, [replace(e, sha256=tuple(h)) for e, h in zip(entries, hashes, strict=True)])
            new.file.truncate(length)
            new.file.seek(0)
            digest = hashlib.sha256(raw).digest()
            new.file.write(_PREFIX.pack(_MAGIC, FORMAT_VERSION, 0, len(raw), length, digest) + raw)
            new.commit()
    finally:
        new.discard()
    _sync_folder(os.path.dirname(target))


def _lay_out(header: Mapping[str, object], sections: Sequence[Section]) -> list[_Entry]:
    """The sections' places. They depend on the header's length, and that on the digits of the places."""
    length = 0
    while True:
        end, entries = _up(_PREFIX.size + length, _ALIGN), []
        for section in sections:
            offset = _up(end, _alignment(section.name))
            entries.append(_Entry(section.name, offset, section.nbytes, ("0" * 64,) * _blocks(section.nbytes)))
            end = offset + section.nbytes
        needed = len(_encode(header, entries))
        if needed == length:
            return entries
        length = needed  # no less than before, as larger offsets have no fewer digits: this ends


def _write_section(path: str | os.PathLike[str], file: BinaryIO, entry: _Entry, section: Section) -> list[str]:
    """The hashes of the section's blocks."""
    with _writing(path):
        file.seek(entry.offset)
    digests, written = [hashlib.sha256() for _ in entry.sha256], 0
    for chunk in section.chunks():
        piece = memoryview(chunk).cast("B")
        if written + piece.nbytes > entry.nbytes:
            written += piece.nbytes
            break
        with _writing(path):
            file.write(piece)
        while piece.nbytes:
            part = piece[: _BLOCK - written % _BLOCK]
            digests[written // _BLOCK].update(part)
            written += part.nbytes
            piece = piece[part.nbytes :]
    if written != entry.nbytes:
        raise ValueError(f"section `{entry.name}` has {entry.nbytes} bytes, but its chunks {written} or more")
    return [digest.hexdigest() for digest in digests]


def _blocks(nbytes: int) -> int:
    return -(-nbytes // _BLOCK)


def _encode(header: Mapping[str, object], entries: Sequence[_Entry]) -> bytes:
    return canonical_json.dump({**header, "sections": [asdict(entry) for entry in entries]})


@contextmanager
def _writing(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _refuse(_name_of(path), f"can't be written: {error.strerror or error}", "E0710")


def _sync_folder(folder: str) -> None:
    """Makes the rename durable, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# reading


class Container:
    """An open engine file: its header, and its sections as read-only views of the file. Thread-safe.

    `header` is as it was given to the writer; `names` are the sections in file order.
    """

    def __init__(self, name: str, view: memoryview, mapping: mmap.mmap | None) -> None:
        contents = _open(name, view)
        self.header: dict[str, Any] = contents.header
        self.names: tuple[str, ...] = tuple(entry.name for entry in contents.entries)
        self._name = name
        self._view = view
        self._mapping = mapping
        self._entries = {entry.name: entry for entry in contents.entries}
        self._closed = False

    @property
    def nbytes(self) -> int:
        """Of all sections."""
        return sum(entry.nbytes for entry in self._entries.values())

    def section(self, name: str) -> memoryview:
        """The section's bytes, not copied; the view outlives `close`. EngineError if there is none."""
        if self._closed:
            raise ValueError(f"`{self._name}` is closed")
        entry = self._entries.get(name)
        if entry is None:
            _refuse(self._name, f"has no section `{name}`")
        return self._view[entry.offset : entry.end]

    def sha256(self, name: str) -> tuple[str, ...]:
        """The hashes that the header gives for the blocks of a section that is there, 64 hex digits each."""
        return self._entries[name].sha256

    def verify(self, *names: str) -> None:
        """Compares sections with their hashes, all of them by default; EngineError names one that differs."""
        for name in names or self.names:
            for block in range(len(self.sha256(name))):
                self.verify_block(name, block)

    def verify_block(self, name: str, block: int) -> None:
        """Compares a block of a section with its hash. What was read of a file does not stay the process's memory."""
        entry, start = self._entries[name], block * _BLOCK
        piece = self.section(name)[start : start + _BLOCK]
        digest = hashlib.sha256(piece)
        self._forget(entry.offset + start, piece.nbytes)
        if digest.hexdigest() != entry.sha256[block]:
            _refuse(self._name, f"section `{name}` is damaged: sha256 differs")

    def _forget(self, start: int, nbytes: int) -> None:
        """Give the pages back that a part of the mapped file takes."""
        if self._mapping is not None:
            first = start - start % mmap.PAGESIZE
            self._mapping.madvise(mmap.MADV_DONTNEED, first, start + nbytes - first)

    def close(self) -> None:
        """Gives the file back: at once, or when the last view of a section is gone."""
        self._closed = True
        with suppress(BufferError):
            self._view.release()
            if self._mapping is not None:
                self._mapping.close()
        self._view, self._mapping = memoryview(b""), None

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_container(
    path_or_bytes: str | os.PathLike[str] | bytes | bytearray | memoryview, *, verify: bool = True
) -> Container:
    """Opens an engine file (mapped, not read) or one in memory, and checks all of it.

    Without `verify` the sections are not hashed; `Container.verify` does that later. Raises EngineError for
    anything but an intact file of this format version. A file must not be changed in place while it is open:
    writers replace files, as `write_container` does.
    """
    return read_from(path_or_bytes, lambda container: container, verify=verify)


def read_from(
    path_or_bytes: str | os.PathLike[str] | bytes | bytearray | memoryview,
    read: Callable[[Container], T],
    *,
    verify: bool = True,
) -> T:
    """What `read` makes of a container, opened as by `read_container`. It is called while the sections are hashed in
    another thread, so it may meet damaged ones; if so its result, or what it raises, gives way to the EngineError.
    """
    if isinstance(path_or_bytes, (bytes, bytearray, memoryview)):
        return _verified(Container("<bytes>", memoryview(path_or_bytes).toreadonly().cast("B"), None), read, verify)
    name = _name_of(path_or_bytes)
    try:
        # without O_NONBLOCK, opening a named pipe would wait for its writer
        descriptor = os.open(path_or_bytes, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        _refuse(name, f"can't be read: {getattr(error, 'strerror', None) or error}", "E0108")
    try:
        before, mapping = _map(name, descriptor)
        result = _verified(Container(name, memoryview(mapping), mapping), read, verify)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        _refuse(name, "changed while it was read")
    return result


def _map(name: str, descriptor: int) -> tuple[os.stat_result, mmap.mmap]:
    """A file's status, and its bytes."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            _refuse(name, f"can't be read: it is {kind}", "E0108")
        if status.st_size == 0:
            _refuse(name, "is empty")
        return status, mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ)
    except OSError as error:
        _refuse(name, f"can't be read: {error.strerror or error}", "E0108")


def _verified(container: Container, read: Callable[[Container], T], verify: bool) -> T:
    if not verify:
        return read(container)
    if container.nbytes < _HASHED_ASIDE:
        container.verify()
        return read(container)
    failures: list[Exception] = []
    left = deque((name, block) for name in container.names for block in range(len(container.sha256(name))))

    def hash_blocks() -> None:
        try:
            while not failures:
                container.verify_block(*left.popleft())
        except IndexError:  # none is left
            return
        except Exception as error:  # raised below, in the thread that asked
            failures.append(error)

    hashing = threading.Thread(target=hash_blocks, name="trtn-hash", daemon=True)
    hashing.start()
    try:
        result = read(container)
    finally:
        hash_blocks()
        hashing.join()
        if failures:
            raise failures[0] from None
    return result


@record()
class _Contents:
    """What a header says: the caller's part, the sections, and where the file must end."""

    header: dict[str, Any]
    entries: tuple[_Entry, ...]
    end: int


class _DamageError(ValueError):
    """What is wrong with a header, without the file's name."""


def _open(name: str, view: memoryview) -> _Contents:
    """Checks everything but the sections' hashes."""
    if view.nbytes < _PREFIX.size:
        _refuse(name, f"is no engine file: {view.nbytes} bytes are too few for one")
    magic, version, flags, header_length, length, digest = _PREFIX.unpack_from(view)
    if magic != _MAGIC:
        _refuse(name, "is no engine file: it starts with other bytes")
    if version != FORMAT_VERSION or flags != 0:
        found = f"{version}" if not flags else f"{version} with flags {flags:#x}"
        _refuse(name, f"has format version {found}; this trtn reads version {FORMAT_VERSION}", "E0704")
    if length != view.nbytes:
        fault = "cut short" if length > view.nbytes else "appended to"
        _refuse(name, f"is damaged: it has {view.nbytes} bytes and not {length}, so it was {fault}")
    if header_length > min(_MAX_HEADER, length - _PREFIX.size):
        _refuse(name, f"is damaged: a header of {header_length} bytes is too long")
    raw = bytes(view[_PREFIX.size : _PREFIX.size + header_length])
    if hashlib.sha256(raw).digest() != digest:
        _refuse(name, "is damaged: the header's sha256 differs")
    try:
        contents = _decode(raw)
    except _DamageError as error:
        _refuse(name, f"is damaged: {error}")
    if contents.end != length:
        _refuse(name, f"is damaged: its sections end at {contents.end}, the file at {length}")
    end = _PREFIX.size + header_length
    for entry in (*contents.entries, _Entry("", length, 0, ())):
        if bytes(view[end : entry.offset]).strip(b"\0"):
            _refuse(name, f"is damaged: bytes {end} to {entry.offset} are not zero")
        end = entry.end
    return contents


def _decode(raw: bytes) -> _Contents:
    """A header's contents, or _DamageError. Any bytes may come: memory, time and stack stay bounded."""
    if len(raw) > _MAX_HEADER:
        raise _DamageError(f"a header of {len(raw)} bytes is over the limit of {_MAX_HEADER}")
    try:
        header = canonical_json.parse(raw)
    except ValueError as error:
        raise _DamageError(f"the header is unreadable: {error}") from None
    if not isinstance(header, dict):
        raise _DamageError("the header is no JSON object")
    rows = header.pop("sections", None)
    if not isinstance(rows, list) or len(rows) > _MAX_SECTIONS:
        raise _DamageError(f"the header has no list of at most {_MAX_SECTIONS} sections")
    entries: list[_Entry] = []
    names: set[str] = set()
    end = _up(_PREFIX.size + len(raw), _ALIGN)
    for index, row in enumerate(rows):
        entry = _entry(index, row)
        _check_place(entry, end)
        if entry.name in names:
            raise _DamageError(f"section `{entry.name}` is listed twice")
        names.add(entry.name)
        entries.append(entry)
        end = entry.end
    return _Contents(header, tuple(entries), end)


def _entry(index: int, row: object) -> _Entry:
    """A row of the section list with every field checked for itself."""
    if not isinstance(row, dict) or row.keys() != {"name", "nbytes", "offset", "sha256"}:
        raise _DamageError(f"section {index} has not the fields name, nbytes, offset and sha256")
    name, offset, nbytes, sha256 = row["name"], row["offset"], row["nbytes"], row["sha256"]
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME or not name.isprintable():
        raise _DamageError(f"section {index} has no proper name")
    for field, value in (("offset", offset), ("nbytes", nbytes)):
        if type(value) is not int or not 0 <= value < _MAX_OFFSET:
            raise _DamageError(f"section `{name}` has no proper {field}")
    if not isinstance(sha256, list) or len(sha256) != _blocks(nbytes):
        raise _DamageError(f"section `{name}` has not one sha256 for each block")
    if not all(isinstance(text, str) and _HASH.fullmatch(text) for text in sha256):
        raise _DamageError(f"section `{name}` has no proper sha256")
    return _Entry(name, offset, nbytes, tuple(sha256))


def _check_place(entry: _Entry, end: int) -> None:
    """Sections lie in order, each at the first aligned offset: none other is right."""
    alignment = _alignment(entry.name)
    if entry.offset % alignment:
        raise _DamageError(f"section `{entry.name}` at {entry.offset} is not aligned to {alignment}")
    if entry.offset < end:
        raise _DamageError(f"section `{entry.name}` at {entry.offset} overlaps what is before it, up to {end}")
    if entry.offset != _up(end, alignment):
        raise _DamageError(f"section `{entry.name}` at {entry.offset} leaves a gap after {end}")


def _alignment(name: str) -> int:
    return _ALIGN_WEIGHTS if name == "weights" else _ALIGN


def _up(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _name_of(path: str | os.PathLike[str]) -> str:
    return os.fsdecode(path)


def _refuse(name: str, message: str, code: str = "E0703") -> NoReturn:
    helps = {
        "E0703": "copy the file again, or build the engine again",
        "E0704": "build the engine again with this version of trtn",
    }
    diagnostic = Diagnostic(code, f"engine file `{name}`: {message}", help=helps.get(code, ""))
    raise EngineError(str(diagnostic), [diagnostic])

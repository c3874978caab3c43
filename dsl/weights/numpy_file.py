"""NumPy's .npy and .npz: an array, or a zip archive of arrays. Never unpickled."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from trtn.dsl.dtypes import ALL, BY_NAME, DType, from_numpy
from trtn.dsl.weights.mapped import Bytes, StorageError, damaged
from trtn.dsl.weights.storage import Entry, KeyedStorage, Place, Reader, Storage, read_entry

__all__ = ["NpyFile", "open_npz"]

_LOCAL_HEADER = struct.Struct("<4s22sHH")
_LONGEST_HEADER = 10_000  # what NumPy itself reads unless told more
_BY_BYTES = {"i8": ("i4", "i2"), "u8": ("u4", "u2")}
# NumPy's format has no word for ml_dtypes' types: they are saved as opaque bytes of the same size.
_BY_VOID = {size: tuple(d.name for d in ALL if d.is_narrow and d.is_float and d.itemsize == size) for size in (1, 2)}


class NpyFile(Storage):
    """One array without a name."""

    def __init__(self, path: Path, octets: Bytes) -> None:
        super().__init__(path)
        self._entry = _mapped_entry(path, octets, 0, len(octets))

    def read(self, place: Place, dtype: DType, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        self.refuse_offset(place)
        if place.key is not None:
            raise StorageError(
                "E0505",
                f"`{self.path.name}` holds one array and no names: it has no `{place.key}`",
                help="write the file's alias without a key",
            )
        return read_entry(self._entry, place.name, self.path, dtype, shape)


def open_npz(path: Path, octets: Bytes) -> KeyedStorage:
    """The arrays of a mapped archive by name. Stored members are mapped, compressed ones are unpacked when
    they are read.

    Opening reads each member's header. Raises StorageError (E0504) where the archive or a header is damaged.
    """
    try:
        archive = zipfile.ZipFile(_MappedFile(octets))
        members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
        raise damaged(path, str(error)) from None
    entries: dict[str, Entry] = {}
    for member in members:
        if not member.filename.endswith(".npy"):
            continue
        key = member.filename.removesuffix(".npy")
        if key in entries:
            raise damaged(path, f"two members are named `{member.filename}`")
        if member.compress_type == zipfile.ZIP_STORED and not member.flag_bits & 1:
            start = _member_start(path, octets, member)
            entries[key] = _mapped_entry(path, octets, start, start + member.file_size)
        else:
            entries[key] = _packed_entry(path, archive, member)
    return KeyedStorage(path, entries)


class _MappedFile(io.RawIOBase):
    """A mapped file as zipfile wants it, which seeks and reads under a lock: threads may share it."""

    def __init__(self, octets: Bytes) -> None:
        self._view = octets.data
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = (0, self._at, len(self._view))[whence]
        if origin + offset < 0:
            raise OSError("seek before the start")
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        piece = self._view[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _member_start(path: Path, octets: Bytes, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes start: after its local header, which may differ from the directory."""
    at = member.header_offset
    start = at + 30
    if at >= 0 and start <= len(octets):
        magic, _, name, extra = _LOCAL_HEADER.unpack(octets[at:start].tobytes())
        start += int(name) + int(extra)
        if magic == b"PK\x03\x04" and start + member.file_size <= len(octets):
            return start
    raise damaged(path, f"member `{member.filename}` lies outside the file")


def _read_header(path: Path, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype, from the header that starts here. NumPy evaluates literals only."""
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream, _LONGEST_HEADER)
        if version == (2, 0):
            return np.lib.format.read_array_header_2_0(stream, _LONGEST_HEADER)
        raise ValueError(f"format version {version[0]}.{version[1]}")
    # On bad text NumPy falls back to a tokenizer, which raises errors of its own and of Python's parser.
    except Exception as error:
        raise damaged(path, " ".join(str(error).split())[:200] or "no array header") from None


def _mapped_entry(path: Path, octets: Bytes, start: int, end: int) -> Entry:
    head = io.BytesIO(octets[start : min(end, start + _LONGEST_HEADER + 100)].tobytes())
    shape, fortran, dtype = _read_header(path, head)
    at = start + head.tell()
    size = _data_size(path, shape, dtype)
    if at + size > end:
        raise damaged(path, f"array of {size} bytes in {end - at}")
    return _entry(shape, fortran, dtype, lambda: octets[at : at + size])


def _packed_entry(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    def opened() -> IO[bytes]:
        try:
            return archive.open(member)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError) as error:
            raise damaged(path, f"member `{member.filename}`: {error}") from None

    def unpack() -> npt.NDArray[Any]:
        # Allocates what the header declares, which is what the manifest expects: a bomb finds no room.
        with opened() as stream:
            _read_header(path, stream)
            octets = np.empty(size, np.uint8)
            filled = 0
            view = octets.data
            while filled < size and (piece := stream.read(min(1 << 20, size - filled))):
                view[filled : filled + len(piece)] = piece
                filled += len(piece)
        if filled != size:
            raise damaged(path, f"member `{member.filename}` ends after {filled} of {size} bytes")
        return octets

    def read() -> npt.NDArray[Any]:
        try:
            return unpack()
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise damaged(path, f"member `{member.filename}`: {error}") from None

    try:
        with opened() as stream:
            shape, fortran, dtype = _read_header(path, stream)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise damaged(path, f"member `{member.filename}`: {error}") from None
    size = _data_size(path, shape, dtype)
    return _entry(shape, fortran, dtype, read)


def _data_size(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    if any(d < 0 for d in shape):
        raise damaged(path, f"shape {shape}")
    return math.prod(shape) * dtype.itemsize


def _entry(shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any], octets: Reader) -> Entry:
    """The entry for an array whose elements are the bytes that `octets()` gives."""
    void = dtype.kind == "V" and dtype.names is None and dtype.subdtype is None
    ours: DType | str | None = from_numpy(dtype) if dtype.kind in "biuf" else None
    if dtype.hasobject:
        ours = "a pickled object"
    alternatives = _BY_VOID.get(dtype.itemsize, ()) if void else _BY_BYTES.get(str(ours), ())
    if dtype.hasobject or (ours is None and not alternatives):
        return Entry(ours or str(dtype), shape, octets)

    def read() -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = octets().view(f"u{dtype.itemsize}" if void else dtype)
        array = array.reshape(shape[::-1]).transpose() if fortran else array.reshape(shape)
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))

    return Entry(ours or f"{dtype.itemsize}-byte elements", shape, read, tuple(BY_NAME[name] for name in alternatives))

"""What a weight file offers: tensors by key, each with a stored dtype and shape, read one at a time.

Each format is a subclass that lists its entries when the file is opened and maps an entry's bytes when it is
read.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from trtn.dsl.diagnostics.suggest import did_you_mean
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.records import record
from trtn.dsl.syntax.names import quote_string
from trtn.dsl.weights.mapped import Bytes, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

__all__ = ["Entry", "KeyedStorage", "Place", "RawFile", "Reader", "Storage", "read_entry", "view_as"]

Shape = tuple[int, ...]
Reader: TypeAlias = "Callable[[], npt.NDArray[Any]]"


@record()
class Place:
    """Where a weight lies: under `key` or, where that is None, its own name; in a raw file at `offset`."""

    name: str
    key: str | None = None
    offset: int | None = None

    @property
    def wanted(self) -> str:
        return self.name if self.key is None else self.key

    def source_text(self, transpose: bool) -> str:
        """What a manifest writes after the file's alias: `["key"] transpose offset 4096`."""
        key = f"[{quote_string(self.key)}]" if self.key is not None else ""
        offset = f" offset {self.offset}" if self.offset is not None else ""
        return f"{key}{' transpose' if transpose else ''}{offset}"


class Storage(ABC):
    """An open weight file. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def read(self, place: Place, dtype: DType, shape: Shape) -> npt.NDArray[Any]:
        """The tensor stored at a place.

        `dtype` and `shape` are those that the file must hold. The array is read-only and may be a strided or
        unaligned view of the mapped file. Raises StorageError: E0503 (another dtype or shape), E0504
        (damaged), E0505 (no such place).
        """

    def refuse_offset(self, place: Place) -> None:
        """Raises StorageError where the place has an offset, in a file that says itself where tensors lie."""
        if place.offset is not None:
            raise StorageError(
                "E0505",
                f"`{self.path.name}` is not a raw file: it has no offsets",
                help="name the tensor by its key, or use its own name",
            )


@record()
class Entry:
    """A stored tensor. `dtype` is the language's type, or the file's word for one that the language lacks.

    `alternatives` are types that the same bytes may be declared as: formats without 4-bit integers or small
    floats store them as bytes of another name.
    """

    dtype: DType | str
    shape: Shape
    read: Reader
    alternatives: tuple[DType, ...] = ()

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


class KeyedStorage(Storage):
    """A file that names its tensors."""

    def __init__(self, path: Path, entries: Mapping[str, Entry]) -> None:
        super().__init__(path)
        self.entries = entries

    def read(self, place: Place, dtype: DType, shape: Shape) -> npt.NDArray[Any]:
        self.refuse_offset(place)
        wanted = place.wanted
        entry = self.entries.get(wanted)
        if entry is None:
            hint = did_you_mean(wanted, self.entries)
            raise StorageError(
                "E0505",
                f"no tensor `{wanted}` in `{self.path.name}`",
                notes=(f"the file holds {_listed(list(self.entries))}",),
                help=hint,
            )
        return read_entry(entry, wanted, self.path, dtype, shape)


def read_entry(entry: Entry, key: str, path: Path, dtype: DType, shape: Shape) -> npt.NDArray[Any]:
    """The entry's array, of dtype `dtype`, after its type was compared with the declared one."""
    if (entry.dtype != dtype and dtype not in entry.alternatives) or entry.shape != shape:
        raise StorageError("E0503", f"`{path.name}` holds `{key}` as {entry}", help=_type_help(entry, shape))
    return _checked(entry.read(), dtype, key, path)


def _type_help(entry: Entry, shape: Shape) -> str:
    if isinstance(entry.dtype, str):
        return "the language has no such dtype; convert the tensor"
    if len(shape) >= 2 and entry.shape == (*shape[:-2], shape[-1], shape[-2]):
        return "`transpose` after the source swaps the last two axes of what is stored"
    return f"declare what is stored, {entry}"


def _checked(array: npt.NDArray[Any], dtype: DType, key: str, path: Path) -> npt.NDArray[Any]:
    """The array with the declared dtype.

    Bytes that no value of it has are refused: NumPy takes any byte for a bool, and ml_dtypes cuts.
    """
    if dtype.name == "bool" and array.size and array.view("u1").max() > 1:
        raise StorageError("E0503", f"`{path.name}`: `{key}` is bool but holds bytes other than 0 and 1")
    if dtype.is_integer and dtype.bits < 8 and array.dtype != dtype.numpy:
        low = 0 if dtype.kind == "u" else -(1 << (dtype.bits - 1))
        high = low + (1 << dtype.bits) - 1
        if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
            raise StorageError("E0503", f"`{path.name}`: `{key}` is {dtype} but holds values outside {low}..{high}")
        return array.astype(dtype.numpy)
    return array if array.dtype == dtype.numpy else array.view(dtype.numpy)


def _listed(keys: list[str], most: int = 5) -> str:
    if not keys:
        return "no tensors"
    shown = ", ".join(f"`{key}`" for key in keys[:most])
    return shown if len(keys) <= most else f"{shown} and {len(keys) - most} more"


def view_as(octets: Bytes, offset: int, dtype: DType, shape: Shape) -> npt.NDArray[Any]:
    """A view of the mapped bytes from `offset` on as an array; the caller has checked the bounds."""
    size = math.prod(shape) * dtype.itemsize
    return octets[offset : offset + size].view(dtype.numpy).reshape(shape)


class RawFile(Storage):
    """Bytes without a header: little-endian elements in C order. 4-bit integers take one byte each."""

    def __init__(self, path: Path, octets: Bytes) -> None:
        super().__init__(path)
        self._octets = octets

    def read(self, place: Place, dtype: DType, shape: Shape) -> npt.NDArray[Any]:
        if place.key is not None:
            raise StorageError(
                "E0505",
                f"`{self.path.name}` is a raw file: it has no `{place.key}`",
                help="say where the tensor starts, `f0 offset 4096`",
            )
        offset = place.offset or 0
        stored = BY_NAME[f"{dtype.kind}8"] if dtype.is_integer and dtype.bits < 8 else dtype
        end = offset + math.prod(shape) * stored.itemsize
        if end > len(self._octets):
            raise StorageError(
                "E0503", f"`{self.path.name}` has {len(self._octets)} bytes, the tensor ends at byte {end}"
            )
        return _checked(view_as(self._octets, offset, stored, shape), dtype, place.name, self.path)

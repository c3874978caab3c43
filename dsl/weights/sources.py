"""What a `Weight` loads from: a tensor in a file, a generator, an array in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from trtn.dsl.diagnostics import Diagnostic, Label, Source, Span
from trtn.dsl.dtypes import DType, from_numpy
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Weight
from trtn.dsl.records import record
from trtn.dsl.weights.generators import Generator
from trtn.dsl.weights.mapped import StorageError
from trtn.dsl.weights.storage import Place
from trtn.dsl.weights.storages import FileTable, locate

if TYPE_CHECKING:
    import numpy.typing as npt

    from trtn.dsl.syntax.ast import TensorEntry

__all__ = [
    "ArraySource", "FileEntry", "ForeignSource", "GeneratedSource", "Spans", "StoredSource", "array_weight",
    "generated_weight", "stored_weight", "view",
]  # fmt: skip

Shape = tuple[int, ...]


@record(eq=False)
class FileEntry:
    """A weight file as a manifest declares it: `path` is relative to `root`, the manifest's folder."""

    alias: str
    path: str
    root: Path
    table: FileTable
    allow_outside: bool = False
    size: int | None = None
    tolerance: int = 0
    """How far the file's size may be from `size`, which may be rounded (`438MB`)."""
    digest: str | None = None
    span: Span | None = None
    size_span: Span | None = None
    digest_span: Span | None = None

    def locate(self) -> Path:
        """The file's real path. Raises StorageError: E0504, E0506."""
        return locate(self.root, self.path, allow_outside=self.allow_outside)

    def size_error(self) -> StorageError | None:
        """E0509 where the file's size isn't the declared one. Raises StorageError: E0504, E0506."""
        size = len(self.table.map(self.locate()))
        if self.size is None or abs(size - self.size) <= self.tolerance:
            return None
        about = "about " if self.tolerance else ""
        return StorageError(
            "E0509",
            f"weight file `{self.path}` has {size} bytes, the manifest says {about}{self.size}",
            help="`trtn weights hash` writes the sizes and hashes of the files that are there",
        )


@record()
class Spans:
    """The parts of a manifest's line that findings point at: spans are made when one does."""

    text: Source
    line: TensorEntry

    @property
    def entry(self) -> Span:
        return Span(self.text, self.line.start, self.line.name_end or self.line.end)

    @property
    def type(self) -> Span:
        return Span(self.text, self.line.type.start, self.line.type.end)

    @property
    def source(self) -> Span:
        return Span(self.text, self.line.source_start, self.line.source_end)

    @property
    def digest(self) -> Span | None:
        return Span(self.text, self.line.digest_start, self.line.digest_end) if self.line.digest else None


@record(eq=False)
class StoredSource:
    """A tensor in a weight file. Where `transpose`, the file holds it with its last two axes swapped."""

    file: FileEntry
    place: Place
    dtype: DType
    shape: Shape
    transpose: bool = False
    spans: Spans | None = None
    """None where no manifest says so."""

    def load(self) -> npt.NDArray[Any]:
        """A read-only array in C order: mapped where the file holds it so, otherwise a copy of this tensor.

        Raises BuildError with a diagnostic: E0503 (another dtype or shape), E0504 (file missing, damaged,
        unreadable), E0505 (no such tensor), E0506 (outside the folder), E0509 (file of another size).
        """
        return _settled(self.view())

    def view(self) -> npt.NDArray[Any]:
        """As `load`, of any strides and alignment: never a copy of a tensor that can be mapped."""
        try:
            if (error := self.file.size_error()) is not None:
                raise error
            storage = self.file.table.open(self.file.locate(), Path(self.file.path).suffix)
            array = storage.read(self.place, self.dtype, self._stored_shape())
        except StorageError as error:
            raise self._failure(error) from None
        return array.swapaxes(-1, -2) if self.transpose else array

    def _stored_shape(self) -> Shape:
        return (*self.shape[:-2], self.shape[-1], self.shape[-2]) if self.transpose else self.shape

    def _failure(self, error: StorageError) -> BuildError:
        spans, file = self.spans, self.file
        labels: tuple[Label, ...] = ()
        span, label = spans.source if spans else None, ""
        if error.code == "E0503":
            span = spans.type if spans else None
            label = f"`{self.place.name}` is declared {self.dtype}[{', '.join(map(str, self.shape))}] here"
        if error.code in ("E0509", "E0506"):
            span = file.size_span if error.code == "E0509" else file.span
        elif file.span is not None:
            labels = (Label(file.span, f"`{file.alias}` is this file"),)
        if error.code in ("E0504", "E0505") and spans is not None:
            label = f"needed for `{self.place.name}`"
        found = Diagnostic(
            error.code,
            error.message,
            span or (spans.entry if spans else None),
            label=label,
            labels=labels,
            notes=error.notes,
            help=error.help,
        )
        return BuildError(str(found), [found])

    def __str__(self) -> str:
        """As a manifest writes it, with the file's path for its alias."""
        return f"{self.file.path}{self.place.source_text(self.transpose)}"


@record(eq=False)
class GeneratedSource:
    """A tensor that is made anew each time it is loaded."""

    generator: Generator
    dtype: DType
    shape: Shape

    def load(self) -> npt.NDArray[Any]:
        return _frozen(self.generator.generate(self.dtype, self.shape))

    def __str__(self) -> str:
        return str(self.generator)


@record(eq=False)
class ArraySource:
    """A tensor in memory."""

    array: npt.NDArray[Any]

    def load(self) -> npt.NDArray[Any]:
        return self.array

    def __str__(self) -> str:
        return "memory"


@runtime_checkable
class ForeignSource(Protocol):
    """What an importer's weights load from."""

    def view(self) -> npt.NDArray[Any]:
        """As `load`, of any strides: no copy of a tensor that can be mapped."""

    def stored(self, weight: Weight) -> StoredSource | None:
        """The same tensor as a manifest would refer to it, or None where no reader of weight files finds it."""


def view(weight: Weight) -> npt.NDArray[Any]:
    """The weight's values in any memory layout: hashing and writing need no copy of a transposed tensor."""
    source = weight.source
    return source.view() if isinstance(source, StoredSource | ForeignSource) else weight.load()


def array_weight(name: str, array: npt.NDArray[Any], *, digest: str | None = None) -> Weight:
    """A weight that holds a NumPy array: a read-only view, or a copy in C order and native byte order.

    Raises TypeError where the language has no such dtype.
    """
    dtype = from_numpy(array.dtype)
    if dtype is None:
        raise TypeError(f"no dtype of the language is {array.dtype}")
    own = _settled(array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")))
    return Weight(name, dtype, own.shape, ArraySource(own), digest)


def generated_weight(name: str, generator: Generator, dtype: DType, shape: Shape) -> Weight:
    """A weight that a generator makes. Raises Misuse where it can't."""
    generator.check(dtype, shape)
    return Weight(name, dtype, shape, GeneratedSource(generator, dtype, shape))


def stored_weight(
    name: str,
    dtype: DType,
    shape: Shape,
    file: Path,
    table: FileTable,
    *,
    key: str | None = None,
    offset: int | None = None,
) -> Weight:
    """A weight in a file without a manifest, such as an ONNX initialiser. Loading opens the file."""
    entry = FileEntry(file.stem, file.name, file.parent, table)
    return Weight(name, dtype, shape, StoredSource(entry, Place(name, key, offset), dtype, shape))


def _settled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In C order, aligned and read-only; a copy only where the array isn't that already."""
    settled = array.flags.c_contiguous and array.flags.aligned
    return _frozen(array if settled else array.copy(order="C"))


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array = array.view()
    array.flags.writeable = False
    return array

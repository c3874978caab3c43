"""Tensors to a manifest and a safetensors file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dtypes import DType
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Weight, format_type
from trtn.dsl.syntax.names import is_plain_name, quote_name, quote_string
from trtn.dsl.weights.atomic import NewFile, replacing, replacing_all
from trtn.dsl.weights.generators import Generator, Misuse, Value
from trtn.dsl.weights.hashing import SCHEME, chunks, digest, hasher, short
from trtn.dsl.weights.safetensors_file import DTYPES, PACKED_AS
from trtn.dsl.weights.sources import ForeignSource, GeneratedSource, StoredSource, array_weight, view
from trtn.dsl.weights.table import natural_key

__all__ = ["FileLine", "TensorLine", "format_manifest", "save_weights", "write_safetensors"]

_LARGEST_INLINE = 16


@dataclass(frozen=True, slots=True)
class FileLine:
    """A manifest's line for a file; `size` in bytes."""

    alias: str
    path: str
    size: int | None = None
    digest: str | None = None

    def __str__(self) -> str:
        size = f" size {self.size}" if self.size is not None else ""
        return f"file {quote_name(self.alias)} = {quote_string(self.path)}{size}{_hash(self.digest)}"


@dataclass(frozen=True, slots=True)
class TensorLine:
    """A manifest's line for a tensor. `source` is text: `f0["key"] transpose`, `normal(7, 0.02)`."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    source: str
    digest: str | None = None

    def __str__(self) -> str:
        shown = format_type(self.dtype, self.shape)
        return f"tensor {quote_name(self.name)}: {shown} = {self.source}{_hash(self.digest)}"


def _hash(text: str | None) -> str:
    return f" {text}" if text is not None else ""


def format_manifest(name: str, files: Sequence[FileLine], tensors: Iterable[TensorLine]) -> str:
    """The manifest's text: files in the given order, one tensor a line in natural order of their paths."""
    ordered = sorted(tensors, key=lambda line: natural_key(line.name))
    if not is_plain_name(name):  # `a.b` is a plain path, but a manifest's name is no path
        name = quote_name(name) if quote_name(name) != name else f"`{name}`"
    return "\n".join(["trtn 1", "", f"manifest {name} {{", *(f"  {line}" for line in (*files, *ordered)), "}", ""])


def save_weights(
    stem: Path,
    tensors: Iterable[tuple[str, Weight | npt.NDArray[Any]]],
    *,
    name: str | None = None,
    keep_files: bool = False,
    new: NewFile | None = None,
) -> str:
    """Writes `<stem>.weights.trtn` and, where it has tensors to hold, `<stem>.safetensors`; returns the
    manifest's text.

    Generated weights stay generators; tensors that hold one value or at most 16 elements become generators
    where that gives the same bits. With `keep_files`, weights that lie in a file below the manifest's folder
    stay there, and the manifest points at them. The manifest is called `name`, by default the stem's last
    part. The same tensors always give the same bytes. Both files take their places when both are done; with
    `new`, when the caller's others are.

    Raises BuildError where a weight can't be read or isn't what its hash says, OSError where a file can't be
    written, ValueError for two tensors of one name.
    """
    weights: dict[str, Weight] = {}
    for path, value in tensors:
        if path in weights:
            raise ValueError(f"two tensors are named `{path}`")
        weights[path] = value if isinstance(value, Weight) else array_weight(path, value)

    if new is None:
        with replacing_all() as new:
            return _save(stem, weights, name, keep_files, new)
    return _save(stem, weights, name, keep_files, new)


def _save(stem: Path, weights: Mapping[str, Weight], name: str | None, keep_files: bool, new: NewFile) -> str:
    own = stem.with_name(f"{stem.name}.safetensors")
    files: dict[str, FileLine] = {}
    lines: list[TensorLine] = []
    stored: dict[str, Weight] = {}
    for path, weight in sorted(weights.items(), key=lambda item: natural_key(item[0])):
        if keep_files and (kept := _kept(path, weight, own, files)) is not None:
            lines.append(kept)
        elif (generator := _generator(weight)) is not None:
            lines.append(TensorLine(path, weight.dtype, weight.shape, str(generator), weight.digest))
        else:
            stored[path] = weight
    if stored:
        file = new(own)
        hashes = _write_tensors(file, stored)
        line = FileLine(f"f{len(files)}", own.name, file.tell())
        files[own.name] = line
        lines += [TensorLine(path, w.dtype, w.shape, line.alias, hashes[path]) for path, w in stored.items()]
    text = format_manifest(name if name is not None else stem.name, tuple(files.values()), lines)
    new(stem.with_name(f"{stem.name}.weights.trtn")).write(text.encode())
    return text


def _kept(path: str, weight: Weight, own: Path, files: dict[str, FileLine]) -> TensorLine | None:
    """The line for a weight that stays in its file, or None where that isn't below the folder, or is `own`."""
    given = weight.source
    source = given.stored(weight) if isinstance(given, ForeignSource) else given
    if not isinstance(source, StoredSource):
        return None
    relative = os.path.relpath(source.file.root / source.file.path, own.parent)
    if relative.startswith(os.pardir) or relative == own.name:
        return None
    array = view(weight)  # a file that is missing or damaged is found here
    found = weight.digest or digest(array)
    if relative not in files:
        size = len(source.file.table.map(source.file.locate()))
        files[relative] = FileLine(f"f{len(files)}", relative, size)
    place = source.place
    if place.key is None and place.offset is None and path != place.name:
        place = replace(place, key=place.name)  # it lay under the name that it had
    shown = f"{files[relative].alias}{place.source_text(source.transpose)}"
    return TensorLine(path, weight.dtype, weight.shape, shown, found)


# --- generators ---------------------------------------------------------------------------------------------


def _generator(weight: Weight) -> Generator | None:
    """The generator that gives the weight's bits, where there is one that a person would write."""
    if isinstance(weight.source, GeneratedSource):
        return weight.source.generator
    array = view(weight)
    if array.size == 0:
        return Generator("zeros")
    sample, shape = array, array.shape
    candidates: list[Generator] = []
    if _is_constant(array):
        sample, shape = array[(slice(0, 1),) * array.ndim], (1,) * array.ndim
        spelled = _spellings(sample.reshape(-1)[0], weight.dtype)
        candidates = [Generator("zeros"), Generator("ones"), *(Generator("full", (x,)) for x in spelled)]
    elif array.size <= _LARGEST_INLINE:
        rows = [_spellings(element, weight.dtype) for element in array.reshape(-1)]
        for column in zip(*rows, strict=True):
            candidates.append(Generator("inline", (_nested(iter(column), shape),)))
    wanted = digest(sample) if candidates else ""
    for candidate in candidates:
        try:
            if digest(candidate.generate(weight.dtype, shape)) == wanted:
                return candidate
        except Misuse:
            continue
    return None


def _is_constant(array: npt.NDArray[Any]) -> bool:
    first = None
    for chunk in chunks(array):
        bits = np.frombuffer(chunk, f"u{array.dtype.itemsize}")
        first = bits[0] if first is None else first
        if not (bits == first).all():
            return False
    return True


def _spellings(element: Any, dtype: DType) -> tuple[Value, Value]:
    """How a person would write an element, and how it is written for sure."""
    if dtype.name == "bool":
        return bool(element), bool(element)
    if dtype.is_integer:
        return int(element), int(element)
    exact = float(element)
    return float(str(element)), math.nan if math.isnan(exact) else exact  # the text has no NaN with a sign


def _nested(flat: Any, shape: tuple[int, ...]) -> Value:
    return tuple(_nested(flat, shape[1:]) for _ in range(shape[0])) if shape else next(flat)


# --- safetensors --------------------------------------------------------------------------------------------

_WORDS = {dtype.name: word for word, dtype in DTYPES.items()}
_WORDS |= {dtype.name: word for word, packed in PACKED_AS.items() for dtype in packed}


def write_safetensors(path: Path, weights: dict[str, Weight]) -> dict[str, str]:
    """Writes the tensors under their names, one at a time, and returns their hashes.

    Wide elements come first, so that each tensor is aligned to its element; names are in natural order within
    a width. 4-bit integers take a byte each. Raises BuildError where a weight can't be read or isn't what its
    hash says, OSError.
    """
    with replacing(path) as file:
        return _write_tensors(file, weights)


def _write_tensors(file: BinaryIO, weights: Mapping[str, Weight]) -> dict[str, str]:
    order = sorted(weights, key=lambda name: (-weights[name].dtype.itemsize, natural_key(name)))
    header: dict[str, Any] = {}
    at = 0
    for name in order:
        weight = weights[name]
        header[name] = {
            "dtype": _WORDS[weight.dtype.name],
            "shape": list(weight.shape),
            "data_offsets": [at, at + weight.nbytes],
        }
        at += weight.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    hashes: dict[str, str] = {}
    with _written_behind(file) as write:
        write(len(text).to_bytes(8, "little"))
        write(text)
        for name in order:
            weight = weights[name]
            state = hasher(weight.dtype, weight.shape)
            for chunk in chunks(view(weight)):
                state.update(chunk)
                write(chunk)
            hashes[name] = SCHEME + state.hexdigest()
            if weight.digest not in (None, hashes[name]):
                raise _changed(name, weight, hashes[name])
    return hashes


@contextmanager
def _written_behind(file: IO[bytes]) -> Iterator[Callable[[bytes | memoryview], None]]:
    """A function that writes a piece while its caller hashes the next one. OSError may come with a later call, or at the
    end.
    """
    with ThreadPoolExecutor(1, "trtn-write") as pool:
        pending: list[Future[int]] = []

        def write(piece: bytes | memoryview) -> None:
            if pending:
                pending.pop().result()
            pending.append(pool.submit(file.write, piece))

        yield write
        if pending:
            pending.pop().result()


def _changed(name: str, weight: Weight, found: str) -> BuildError:
    diagnostic = Diagnostic(
        "E0502",
        f"`{name}` hashes to {short(found)}, the manifest says {short(weight.digest or '')}",
        weight.span,
    )
    return BuildError(str(diagnostic), [diagnostic])

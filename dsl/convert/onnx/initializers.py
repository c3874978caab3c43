"""Weights over a model's initialisers: nothing is copied, external data is mapped when somebody loads it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from trtn.dsl.convert.onnx.registry import refuse
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.weights.packing import packed_size, unpack
from trtn.dsl.weights.sources import FileEntry, ForeignSource, StoredSource
from trtn.dsl.weights.storage import Place

if TYPE_CHECKING:
    from trtn.dsl.network import Weight, WeightSource

__all__ = [
    "ExternalSource",
    "InitializerSource",
    "TransposedSource",
    "dtype_of",
    "dtype_word",
    "tensor_source",
]

_DTYPES = {
    "FLOAT": "f32", "DOUBLE": "f64", "FLOAT16": "f16", "BFLOAT16": "bf16",
    "FLOAT8E4M3FN": "f8e4m3", "FLOAT8E5M2": "f8e5m2", "FLOAT8E4M3FNUZ": "f8e4m3fnuz", "FLOAT8E5M2FNUZ": "f8e5m2fnuz",
    "FLOAT8E8M0": "f8e8m0", "FLOAT4E2M1": "f4e2m1",
    "INT64": "i64", "INT32": "i32", "INT16": "i16", "INT8": "i8", "INT4": "i4", "INT2": "i2",
    "UINT64": "u64", "UINT32": "u32", "UINT16": "u16", "UINT8": "u8", "UINT4": "u4", "UINT2": "u2", "BOOL": "bool",
}  # fmt: skip


def dtype_word(elem: int) -> str:
    """ONNX's own word for an element type, for messages."""
    try:
        return str(onnx.TensorProto.DataType.Name(elem))
    except ValueError:
        return f"type {elem}"


def dtype_of(elem: int) -> DType:
    """The dtype of an ONNX element type. Raises Unsupported for those that the language has no twin of."""
    word = dtype_word(elem)
    if word not in _DTYPES:
        refuse(f"elements of type {word} are not supported")
    return BY_NAME[_DTYPES[word]]


@dataclass(frozen=True, slots=True, eq=False)
class InitializerSource:
    """A tensor that the model's file holds itself."""

    proto: Any
    file: FileEntry | None = None
    """The model's file, where the tensor can be found in it by its name."""

    def load(self) -> np.ndarray[Any, Any]:
        array: np.ndarray[Any, Any] = numpy_helper.to_array(self.proto)
        array.flags.writeable = False
        return array

    def view(self) -> np.ndarray[Any, Any]:
        return self.load()

    def stored(self, weight: Weight) -> StoredSource | None:
        return _stored(self.file, self.proto.name, weight)


@dataclass(frozen=True, slots=True, eq=False)
class ExternalSource:
    """A tensor in a file beside the model, at `offset`. Mapped read-only; the map lives as long as the array."""

    path: Path
    offset: int
    dtype: DType
    shape: tuple[int, ...]
    name: str = ""
    file: FileEntry | None = None

    def load(self) -> np.ndarray[Any, Any]:
        count = prod(self.shape)
        if count == 0:
            return np.empty(self.shape, self.dtype.numpy)
        if self.dtype.bits < 8:
            size = packed_size(self.shape, self.dtype)
            return unpack(np.memmap(self.path, np.uint8, "r", self.offset, (size,)), self.dtype, self.shape)
        return np.memmap(self.path, self.dtype.numpy, "r", self.offset, self.shape)

    def view(self) -> np.ndarray[Any, Any]:
        return self.load()

    def stored(self, weight: Weight) -> StoredSource | None:
        below = self.file is not None and self.path.is_relative_to(self.file.root.resolve())
        return _stored(self.file, self.name, weight) if below else None


@dataclass(frozen=True, slots=True, eq=False)
class TransposedSource:
    """A matrix whose file holds it the other way round: a manifest says `transpose`."""

    source: WeightSource

    def load(self) -> np.ndarray[Any, Any]:
        return np.ascontiguousarray(self.view())

    def view(self) -> np.ndarray[Any, Any]:
        return self.source.load().T

    def stored(self, weight: Weight) -> StoredSource | None:
        straight = replace(weight, shape=weight.shape[::-1])
        inner = self.source.stored(straight) if isinstance(self.source, ForeignSource) else None
        return None if inner is None else replace(inner, shape=weight.shape, transpose=True)


def _stored(file: FileEntry | None, name: str, weight: Weight) -> StoredSource | None:
    return None if file is None else StoredSource(file, Place(name), weight.dtype, weight.shape)


def tensor_source(
    proto: Any, folder: Path | None, allow_outside: bool, file: FileEntry | None = None
) -> tuple[DType, tuple[int, ...], WeightSource]:
    """Dtype, shape and source of a TensorProto. `file` is the model's, where readers find the tensor in it by its name.

    Raises Unsupported where its data is missing, outside of the folder, or of a wrong size.
    """
    dtype = dtype_of(proto.data_type)
    shape = tuple(int(d) for d in proto.dims)
    if any(d < 0 for d in shape):
        refuse(f"initialiser `{proto.name}` has a negative dim: {list(shape)}")
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return dtype, shape, replace(_external(proto, dtype, shape, folder, allow_outside), file=file)
    count = prod(shape)
    if proto.HasField("raw_data"):
        wanted = packed_size(shape, dtype)
        if len(proto.raw_data) != wanted:
            refuse(
                f"initialiser `{proto.name}` has {len(proto.raw_data)} bytes, but {dtype}{list(shape)} takes {wanted}"
            )
    else:
        stored = len(getattr(proto, onnx.helper.tensor_dtype_to_field(proto.data_type)))
        wanted = packed_size(shape, dtype) if dtype.bits < 8 else count
        if stored != wanted:
            refuse(f"initialiser `{proto.name}` has {stored} stored elements, but {dtype}{list(shape)} takes {wanted}")
    return dtype, shape, InitializerSource(proto, file)


def _external(
    proto: Any, dtype: DType, shape: tuple[int, ...], folder: Path | None, allow_outside: bool
) -> ExternalSource:
    entries = {e.key: e.value for e in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        refuse(f"initialiser `{proto.name}` lies in `{location}`, but the model was not read from a file")
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
    except ValueError:
        refuse(f"initialiser `{proto.name}` has an offset or a length that is no number")
    path = (folder / location).resolve()
    if not allow_outside and not path.is_relative_to(folder.resolve()):
        refuse(f"initialiser `{proto.name}` lies in `{location}`, outside the model's folder")
    if not path.is_file():
        refuse(f"initialiser `{proto.name}`: no file `{location}` beside the model")
    wanted = packed_size(shape, dtype)
    if length not in (-1, wanted):
        refuse(
            f"initialiser `{proto.name}` has {length} bytes in `{location}`, but {dtype}{list(shape)} takes {wanted}"
        )
    if offset < 0 or offset + wanted > path.stat().st_size:
        refuse(f"`{location}` ends before initialiser `{proto.name}` (bytes {offset} to {offset + wanted})")
    return ExternalSource(path, offset, dtype, shape, proto.name)

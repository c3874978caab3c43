"""The constant tensors of an ONNX model, by name, mapped where they lie: in the model or in its external data
files.

The model is never parsed whole: its bytes are walked once for the ranges of the tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.weights.mapped import Bytes, StorageError, damaged
from trtn.dsl.weights.packing import packed_size, unpack
from trtn.dsl.weights.paths import OutsideFolder, confine
from trtn.dsl.weights.protobuf import Malformed, Message, varints
from trtn.dsl.weights.storage import Entry, KeyedStorage, view_as

__all__ = ["open_onnx"]

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_OUTPUT, _NODE_OP_TYPE, _NODE_ATTRIBUTE = 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_TENSOR = 1, 5
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 8, 9, 13, 14
_EXTERNAL = 1

_DTYPES: dict[int, DType] = {
    theirs: BY_NAME[ours]
    for theirs, ours in {
        1: "f32", 2: "u8", 3: "i8", 4: "u16", 5: "i16", 6: "i32", 7: "i64", 9: "bool", 10: "f16", 11: "f64",
        12: "u32", 13: "u64", 16: "bf16", 17: "f8e4m3", 18: "f8e4m3fnuz", 19: "f8e5m2",
        20: "f8e5m2fnuz", 21: "u4", 22: "i4", 23: "f4e2m1", 24: "f8e8m0", 25: "u2", 26: "i2",
    }.items()
}  # fmt: skip

MapFile = Callable[[Path], Bytes]


def open_onnx(path: Path, octets: Bytes, map_file: MapFile, *, allow_outside: bool = False) -> KeyedStorage:
    """The initialisers of the main graph, and its `Constant` nodes' tensors by the name of their output.

    External data files are opened through `map_file` when a tensor in them is read, and must lie below the
    model's folder unless `allow_outside`. Raises StorageError (E0504) where the model is damaged.
    """
    model = _Model(path, octets, map_file, allow_outside)
    entries: dict[str, Entry] = {}
    try:
        for name, message in _tensors(Message(octets.data, 0, len(octets))):
            tensor = _Tensor.parse(message)
            name = name if name is not None else tensor.name
            if name in entries:
                raise damaged(path, f"two tensors are named `{name}`")
            entries[name] = model.entry(name, tensor)
    except Malformed as error:
        raise damaged(path, str(error)) from None
    if not entries:
        raise damaged(path, "no graph, or none with tensors")
    return KeyedStorage(path, entries)


def _tensors(model: Message) -> Iterator[tuple[str | None, Message]]:
    """Every TensorProto of the main graph, with its name where that isn't its own."""
    for field, graph in model.fields():
        if field != _MODEL_GRAPH or isinstance(graph, int):
            continue
        for number, value in graph.fields():
            if isinstance(value, int):
                continue
            if number == _GRAPH_INITIALIZER:
                yield None, value
            elif number == _GRAPH_NODE:
                yield from _constant(value)


def _constant(node: Message) -> Iterator[tuple[str, Message]]:
    """A `Constant` node's output and tensor, where it has one."""
    output, attributes, constant = "", [], False
    for number, value in node.fields():
        if isinstance(value, int):
            continue
        if number == _NODE_OUTPUT:
            output = value.text()
        elif number == _NODE_OP_TYPE:
            constant = value.bytes() == b"Constant"
        elif number == _NODE_ATTRIBUTE:
            attributes.append(value)
    if not constant:
        return
    for attribute in attributes:
        fields = {number: value for number, value in attribute.fields() if isinstance(value, Message)}
        name, tensor = fields.get(_ATTRIBUTE_NAME), fields.get(_ATTRIBUTE_TENSOR)
        if name is not None and tensor is not None and name.bytes() == b"value":
            yield output, tensor


@dataclass(slots=True)
class _Tensor:
    """What a TensorProto says about itself."""

    message: Message
    name: str = ""
    shape: tuple[int, ...] = ()
    data_type: int = 0
    raw: Message | None = None
    external: dict[str, str] | None = None

    @classmethod
    def parse(cls, message: Message) -> _Tensor:
        tensor = cls(message)
        external: dict[str, str] = {}
        for number, value in message.fields():
            if number == _DIMS:
                tensor.shape += tuple(varints(value))
            elif number == _DATA_TYPE and isinstance(value, int):
                tensor.data_type = value
            elif number == _DATA_LOCATION and value == _EXTERNAL:
                tensor.external = external
            elif isinstance(value, Message):
                if number == _NAME:
                    tensor.name = value.text()
                elif number == _RAW_DATA:
                    tensor.raw = value
                elif number == _EXTERNAL_DATA:
                    pair = {key: text for key, text in value.fields() if isinstance(text, Message)}
                    if 1 in pair and 2 in pair:
                        external[pair[1].text()] = pair[2].text()
        if any(d >= 1 << 63 for d in tensor.shape):
            raise Malformed(f"tensor `{tensor.name}` has a negative size")
        return tensor


@dataclass(frozen=True, slots=True)
class _Model:
    path: Path
    octets: Bytes
    map_file: MapFile
    allow_outside: bool

    def entry(self, name: str, tensor: _Tensor) -> Entry:
        dtype = _DTYPES.get(tensor.data_type)
        if dtype is None:
            return Entry(f"ONNX type {tensor.data_type}", tensor.shape, lambda: self.octets[:0])
        return Entry(dtype, tensor.shape, lambda: self._read(name, tensor, dtype))

    def _read(self, name: str, tensor: _Tensor, dtype: DType) -> npt.NDArray[Any]:
        size = packed_size(tensor.shape, dtype)
        if tensor.external is not None:
            octets = self._external(name, tensor.external, size)
        elif tensor.raw is not None:
            octets = self.octets[tensor.raw.start : tensor.raw.end]
        else:
            return self._typed(name, tensor)
        if len(octets) != size:
            raise damaged(self.path, f"`{name}` of {dtype}{list(tensor.shape)} has {len(octets)} bytes")
        if dtype.bits < 8:
            return unpack(octets, dtype, tensor.shape)
        return view_as(octets, 0, dtype, tensor.shape)

    def _external(self, name: str, place: dict[str, str], size: int) -> Bytes:
        try:
            path = confine(self.path.parent, place.get("location", ""), allow_outside=self.allow_outside)
        except OutsideFolder as error:
            raise StorageError(
                "E0506",
                f"`{self.path.name}` keeps `{name}` in `{error.path}`, outside the model's folder",
                help="move the file below the model's folder, or allow files outside of it (`--allow-outside`)",
            ) from None
        except ValueError as error:
            raise damaged(self.path, f"external data of `{name}`: {error}") from None
        try:
            start = int(place.get("offset", "0"))
            length = int(place.get("length", size))
        except ValueError:
            raise damaged(self.path, f"external data of `{name}` has no valid offset") from None
        octets = self.map_file(path)
        if not 0 <= start <= start + length <= len(octets):
            raise damaged(path, f"`{name}` lies at bytes {start}..{start + length} of {len(octets)}")
        return octets[start : start + length]

    def _typed(self, name: str, tensor: _Tensor) -> npt.NDArray[Any]:
        """The tensor of a message that keeps its elements as numbers (float_data, int32_data..)."""
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

        try:
            proto = onnx.TensorProto.FromString(tensor.message.bytes())
            array: npt.NDArray[Any] = onnx.numpy_helper.to_array(proto)
            return array.reshape(tensor.shape)
        except (DecodeError, ValueError, TypeError, OverflowError) as error:
            raise damaged(self.path, f"`{name}`: {error}") from None

"""The weights of a network as initialisers: inside the model, or as places in a file beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from onnx import TensorProto

from trtn.dsl.convert.export.values import Value, elem_type, raw_buffer
from trtn.dsl.convert.export.writer import Writer
from trtn.dsl.network import Weight

__all__ = ["ALIGNMENT", "EMBEDDED_LIMIT", "StoredTensor", "Weights"]

ALIGNMENT = 4096
"""Places in the file are multiples of this: it can be mapped."""
EMBEDDED_LIMIT: Final = 1_900_000_000
"""Bytes of weights that a model's file can hold; protobuf ends at 2 GiB."""
_STORED = 4096
"""Weights of fewer bytes are inside the model in any case."""
_READ = 64
"""Inline constants of up to this many elements are known by value to those who write nodes."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A weight of the file beside the model: where it begins and how long it is."""

    weight: Weight
    offset: int
    length: int


class Weights:
    """One initialiser for each weight, under its path in the manifest."""

    def __init__(self, writer: Writer, external: str | None) -> None:
        self.protos: list[Any] = []
        self.stored: list[StoredTensor] = []
        self._writer = writer
        self._external = external
        self._values: dict[tuple[str, int], Value] = {}
        self._weights: list[Weight] = []

    def value(self, weight: Weight) -> Value:
        """The value of a weight. Raises Unexportable where the opset lacks its dtype."""
        key = (weight.name, id(weight.source))
        if key not in self._values:
            self._weights.append(weight)  # keeps the source, and with it the key, alive
            self._values[key] = self._make(weight)
        return self._values[key]

    def _make(self, weight: Weight) -> Value:
        self._writer.check_dtype(weight.dtype)
        if not weight.name:
            array = weight.load()
            if array.size <= _READ:
                return self._writer.constant(array)
        name = self._writer.names.unique(weight.name or f"{weight.dtype}[{'x'.join(map(str, weight.shape))}]")
        proto = TensorProto(name=name, data_type=elem_type(weight.dtype), dims=weight.shape)
        length = _stored_bytes(weight)
        if self._external is None or length < _STORED:
            proto.raw_data = raw_buffer(weight.load(), weight.dtype).tobytes()
        else:
            offset = (
                -(-(self.stored[-1].offset + self.stored[-1].length) // ALIGNMENT) * ALIGNMENT if self.stored else 0
            )
            self.stored.append(StoredTensor(weight, offset, length))
            _point(proto, [("location", self._external), ("offset", str(offset)), ("length", str(length))])
        self.protos.append(proto)
        return Value(name, weight.dtype)


def _stored_bytes(weight: Weight) -> int:
    count = 1
    for d in weight.shape:
        count *= d
    return (count * weight.dtype.bits + 7) // 8


def _point(proto: Any, entries: Sequence[tuple[str, str]]) -> None:
    proto.data_location = TensorProto.EXTERNAL
    for key, value in entries:
        entry = proto.external_data.add()
        entry.key, entry.value = key, value

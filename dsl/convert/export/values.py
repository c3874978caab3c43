"""Values of the model being written, their ONNX types, and names that are still free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BY_NAME, DType
from trtn.dsl.network import Shape, Tensor

__all__ = ["I64", "Names", "Value", "elem_type", "raw_buffer", "type_proto", "type_string", "value_info"]

I64 = BY_NAME["i64"]

_ELEMS = {
    "f64": "DOUBLE", "f32": "FLOAT", "f16": "FLOAT16", "bf16": "BFLOAT16",
    "f8e4m3": "FLOAT8E4M3FN", "f8e5m2": "FLOAT8E5M2", "f8e4m3fnuz": "FLOAT8E4M3FNUZ", "f8e5m2fnuz": "FLOAT8E5M2FNUZ",
    "f8e8m0": "FLOAT8E8M0", "f4e2m1": "FLOAT4E2M1",
    "i64": "INT64", "i32": "INT32", "i16": "INT16", "i8": "INT8", "i4": "INT4", "i2": "INT2",
    "u64": "UINT64", "u32": "UINT32", "u16": "UINT16", "u8": "UINT8", "u4": "UINT4", "u2": "UINT2", "bool": "BOOL",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A value of the model: its name, its dtype, and its elements where it is a small constant."""

    name: str
    dtype: DType
    array: np.ndarray[Any, Any] | None = None


class Names:
    """The names of the model's values, each given once."""

    def __init__(self, reserved: Iterable[str]) -> None:
        self._taken = set(reserved)

    def unique(self, wish: str) -> str:
        """`wish`, or with a number where it is taken."""
        name, number = wish, 2
        while name in self._taken:
            name, number = f"{wish}_{number}", number + 1
        self._taken.add(name)
        return name


def elem_type(dtype: DType) -> int:
    """ONNX's number for a dtype."""
    return int(getattr(onnx.TensorProto, _ELEMS[dtype.name]))


def type_string(dtype: DType) -> str:
    """A dtype as ONNX's op definitions write it: `tensor(float)`."""
    return f"tensor({_ELEMS[dtype.name].lower()})"


def type_proto(dtype: DType, shape: Shape) -> Any:
    """A tensor type; an open dim is a dim_param: its name, or its expression's text."""
    return helper.make_tensor_type_proto(elem_type(dtype), [_dim(d) for d in shape])


def value_info(name: str, tensor: Tensor) -> Any:
    return helper.make_value_info(name, type_proto(tensor.dtype, tensor.shape))


def _dim(dim: Dim) -> int | str:
    if isinstance(dim, int):
        return dim
    atom = dim.lone_atom()
    return atom.name if atom is not None and atom.op == "symbol" else str(dim)


def raw_buffer(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Elements as ONNX stores them: little-endian, in C order, those below 8 bits packed, the first in the low bits."""
    flat = np.ascontiguousarray(array).reshape(-1)
    octets = flat.astype(flat.dtype.newbyteorder("<"), copy=False).view(np.uint8)
    if dtype.bits >= 8:
        return octets
    each = 8 // dtype.bits
    parts = np.append(octets & ((1 << dtype.bits) - 1), np.zeros(-octets.size % each, np.uint8)).reshape(-1, each)
    packed: np.ndarray[tuple[int], np.dtype[np.uint8]] = np.zeros(len(parts), np.uint8)
    for n in range(each):
        packed |= parts[:, n] << (n * dtype.bits)
    return packed

"""Which dtypes an ONNX op takes, and the wider one to compute in where it doesn't take a tensor's own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import onnx

from trtn.dsl.convert.export.registry import refuse
from trtn.dsl.convert.export.values import type_string
from trtn.dsl.dtypes import ALL, BY_NAME, DType

__all__ = ["Signature", "signature_of", "working_dtype"]

_RARE: Final[Mapping[str, str]] = {
    "ArgMax": "i16 u16 u32", "ArgMin": "i16 u16 u32", "BitShift": "u16", "Clip": "i16 u16",
    "Col2Im": "i8 i16 u8 u16", "CumProd": "i8 i16 u8 u16", "CumSum": "u32", "Einsum": "i8 i16 u8 u16 u32",
    "Max": "i16 u16", "Min": "i16 u16", "Pad": "i16 u16", "Pow": "i8 i16 u8 u16 u32", "ReduceL1": "u32",
    "ReduceMax": "u32", "ReduceMean": "u32", "ReduceMin": "u32", "ReduceProd": "u32", "ReduceSum": "u32",
    "ReduceSumSquare": "u32", "Resize": "i16 u16 bool", "TopK": "u16 u32", "Trilu": "i8 i16 u8 u16 u32",
    "Unique": "bool i16 i32 u8 u16 u32", "Where": "bool i16 u16",
}  # fmt: skip
"""Dtypes that ONNX defines an op for and ONNX Runtime has no kernel for: a wider one gives the same numbers."""

_WIDER: Final[Mapping[str, tuple[str, ...]]] = {
    "f": ("f32", "f64"),
    "i": ("i32", "i64", "f32", "f64"),
    "u": ("u8", "i32", "u32", "i64", "f32", "f64"),
    "b": ("u8", "i32", "f32"),
}
_EXACT_BITS: Final[Mapping[str, int]] = {"f32": 24, "f64": 53}
"""The integers up to 2 to this power are all numbers of a float dtype."""


class Signature:
    """An op's definition at an opset: the type variable of each input and result, and what the variables may be."""

    def __init__(self, schema: Any) -> None:
        self.inputs: tuple[str, ...] = tuple(p.type_str for p in schema.inputs)
        self.outputs: tuple[str, ...] = tuple(p.type_str for p in schema.outputs)
        self.attributes: frozenset[str] = frozenset(schema.attributes)
        self._variables = {c.type_param_str: frozenset(c.allowed_type_strs) for c in schema.type_constraints}
        rare = {type_string(BY_NAME[n]) for n in _RARE.get(schema.name, "").split()}
        self._common = {name: allowed - rare or allowed for name, allowed in self._variables.items()}

    def input(self, index: int) -> str:
        """The type variable (or the type) of an input; the last one stands for those of a list."""
        return self.inputs[min(index, len(self.inputs) - 1)]

    def output(self, index: int) -> str:
        return self.outputs[min(index, len(self.outputs) - 1)]

    def takes(self, variable: str, dtype: DType) -> bool:
        return type_string(dtype) in self._common.get(variable, {variable})

    def fixed(self, variable: str) -> DType | None:
        """The dtype of a result that has always the same one."""
        allowed = self._variables.get(variable, frozenset({variable}))
        return next((d for d in ALL if allowed == {type_string(d)}), None)


@lru_cache(maxsize=1024)
def signature_of(op: str, opset: int) -> Signature | None:
    """An op's definition at an opset of ONNX's own domain, or None where it has none."""
    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else Signature(schema)


def working_dtype(op: str, signature: Signature, variable: str, dtype: DType, opset: int) -> DType:
    """`dtype` where the op takes it, else the nearest one that holds all its numbers and is taken."""
    if signature.takes(variable, dtype):
        return dtype
    for name in _WIDER[dtype.kind]:
        wide = BY_NAME[name]
        if _holds(wide, dtype) and signature.takes(variable, wide):
            return wide
    refuse(f"{op} of opset {opset} takes neither {dtype} nor a dtype that holds its numbers")


def _holds(wide: DType, narrow: DType) -> bool:
    if narrow.kind == "b":
        return True
    if wide.is_float:
        return wide.bits > narrow.bits and (narrow.is_float or narrow.bits <= _EXACT_BITS[wide.name])
    if wide.kind == "u":
        return narrow.kind == "u" and wide.bits >= narrow.bits
    return wide.bits > narrow.bits

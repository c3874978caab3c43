"""Sorts the suite's models by what is special about them."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

__all__ = ["CATEGORIES", "category"]

_BY_TYPES = (
    ("string", {"STRING"}),
    ("float8", {"FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"}),
    ("4 and 2 bits, e8m0", {"INT4", "UINT4", "INT2", "UINT2", "FLOAT4E2M1", "FLOAT8E8M0"}),
    ("bfloat16", {"BFLOAT16"}),
    ("float16", {"FLOAT16"}),
    ("double", {"DOUBLE"}),
    ("other integers", {"INT8", "UINT8", "INT16", "UINT16", "UINT32", "UINT64"}),
    ("float32", {"FLOAT", "COMPLEX64", "COMPLEX128"}),
)
_QUANTISED = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
    "MatMulInteger",
}  # fmt: skip
CATEGORIES = (
    "float32", "int32, int64, bool", "other integers", "double", "float16", "bfloat16", "float8", "4 and 2 bits, e8m0",
    "quantised", "sequence, optional", "string", "ai.onnx.ml", "preview", "training",
)  # fmt: skip


def category(model: onnx.ModelProto) -> str:
    """The first that fits: a special domain, lists, strings, the narrowest type that the model names, then the rest."""
    domains = {node.domain for node in model.graph.node}
    for word, name in (("training", "training"), ("preview", "preview"), ("ai.onnx.ml", "ai.onnx.ml")):
        if any(word in domain for domain in domains):
            return name
    values = [v.type for v in (*model.graph.input, *model.graph.output)]
    if any(v.WhichOneof("value") != "tensor_type" for v in values):
        return "sequence, optional"
    types = {TensorProto.DataType.Name(e) for v in values for e in _elements(v)}
    found = next((name for name, members in _BY_TYPES if types & members), "int32, int64, bool")
    if found in ("float32", "other integers") and any(n.op_type in _QUANTISED for n in model.graph.node):
        return "quantised"
    return found


def _elements(value: onnx.TypeProto) -> Iterator[int]:
    yield value.tensor_type.elem_type

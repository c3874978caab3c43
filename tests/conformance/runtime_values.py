"""Runs ONNX Runtime on dtypes that its Python API doesn't take as arrays (bf16, 8-bit and smaller ones): by memory."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

__all__ = ["run"]

_PLAIN = {
    "float", "double", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
}  # fmt: skip
"""The elements that it takes and gives as arrays."""


def run(session: onnxruntime.InferenceSession, feeds: Mapping[str, Any]) -> list[Any]:
    """All outputs, in ONNX's dtypes as `onnx` has them in NumPy."""
    types = [v.type for v in (*session.get_inputs(), *session.get_outputs())]
    elements = {t.removeprefix("tensor(").removesuffix(")") for t in types}
    if elements <= _PLAIN or any("(" in e for e in elements):  # a list or an optional goes as it is
        return list(session.run(None, dict(feeds)))
    values = {name: _value(np.asarray(array)) for name, array in feeds.items()}
    names = [v.name for v in session.get_outputs()]
    return [_array(v) for v in session.run_with_ort_values(names, values)]


def _value(array: np.ndarray[Any, Any]) -> onnxruntime.OrtValue:
    elem = helper.np_dtype_to_tensor_dtype(array.dtype)
    value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(array.shape), elem, "cpu")
    data = numpy_helper.from_array(array).raw_data
    ctypes.memmove(value.data_ptr(), data, len(data))
    return value


def _array(value: onnxruntime.OrtValue) -> np.ndarray[Any, Any]:
    elem, shape = value.element_type(), value.shape()
    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return numpy_helper.to_array(TensorProto(data_type=elem, dims=shape, raw_data=data))

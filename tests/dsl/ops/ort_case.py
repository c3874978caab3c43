"""One op at a time: through our declaration, and through ONNX Runtime as a model of one node.

With `TRTN_TEST_XP=cupy` in the environment our side is evaluated on CuPy: the same tests, on a GPU.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, ValueInfoProto, helper

from trtn.dsl.dims import Dim, symbol
from trtn.dsl.dtypes import BY_NAME, DType, from_numpy
from trtn.dsl.network import Tensor
from trtn.dsl.ops.base import Op, find_op
from trtn.dsl.ops.infer import Inferred, infer_layer

__all__ = ["Array", "infer", "run_ort", "run_ours", "tensor"]

Array = np.ndarray[Any, Any]
IR_VERSION = 10


def run_ort(
    op_type: str,
    inputs: Sequence[Array | None],
    attrs: Mapping[str, Any],
    opset: int = 21,
    domain: str = "",
    *,
    outputs: int = 1,
) -> list[Array]:
    """The first `outputs` results of an ONNX node on ONNX Runtime's CPU provider. An absent input is None."""
    names = [f"x{n}" if a is not None else "" for n, a in enumerate(inputs)]
    results = [f"y{n}" for n in range(outputs)]
    given = {
        name: np.ascontiguousarray(a).reshape(a.shape) for name, a in zip(names, inputs, strict=True) if a is not None
    }
    graph = helper.make_graph(
        [helper.make_node(op_type, names, results, domain=domain, **attrs)],
        "case",
        [helper.make_tensor_value_info(name, _onnx_dtype(a), a.shape) for name, a in given.items()],
        [ValueInfoProto(name=name) for name in results],
    )
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(results, given)]


def run_ours(name: str, /, *arrays: Any, known: Sequence[int] = (), **attrs: Any) -> tuple[Array, ...]:
    """The results of an op of ours: inferred, evaluated on NumPy, each held against what was inferred.

    Absent inputs are None. Inputs whose numbers are in `known` are told to the inference as known values.
    """
    op = _op(name)
    given = [None if a is None else np.asarray(a) for a in arrays]
    inferred = infer(name, *(None if a is None else tensor(a, known=n in known) for n, a in enumerate(given)), **attrs)
    given += [None] * (0 if op.spec.inputs and op.spec.inputs[-1].variadic else len(op.spec.inputs) - len(given))
    narrow = [a is not None and not op.native_low_precision for a in given]
    originals = [None if a is None else a.copy() for a in given]
    xp = _namespace()
    operands = [_widen(a) if n and a is not None else a for n, a in zip(narrow, given, strict=True)]
    operands = [None if a is None else xp.asarray(a) for a in operands]
    with np.errstate(all="ignore"):
        raw = op.evaluate(xp, *operands, **inferred.attrs)
    results = raw if isinstance(raw, tuple) else (raw,)
    if xp is not np:
        assert all(isinstance(y, xp.ndarray) for y in results), f"{name} gave {[type(y) for y in results]}"
        results = tuple(xp.asnumpy(y) for y in results)
    assert len(results) == len(inferred.types)
    for before, after in zip(originals, given, strict=True):
        if before is not None and after is not None:
            assert before.tobytes() == after.tobytes(), f"{name} wrote to its input"
    checked = tuple(_check(name, y, t.dtype, t.shape, op) for y, t in zip(results, inferred.types, strict=True))
    if inferred.value is not None and all(isinstance(v, int) for v in inferred.value):
        assert [int(v) for v in checked[0].reshape(-1)] == list(inferred.value), (
            f"{name}: value() differs from evaluate()"
        )
    return checked


def infer(name: str, /, *tensors: Tensor | None, wanted: int | None = None, **attrs: Any) -> Inferred:
    """What an op infers for inputs, with names d0, d1, .. for the sizes that only the data decides."""
    numbers: Iterator[int] = count()

    def fresh(low: Dim, high: Dim) -> Dim:
        return symbol(f"d{next(numbers)}")

    return infer_layer(_op(name), tensors, attrs, fresh=fresh, wanted=wanted)


def tensor(
    like: Array | str, *shape: Dim, name: str = "x", known: bool = False, value: tuple[Dim, ...] | None = None
) -> Tensor:
    """A tensor of an array's type (`known`: and of its elements), or of a dtype's name and a shape."""
    if isinstance(like, str):
        return Tensor(name, BY_NAME[like], shape, value=value)
    dtype = from_numpy(like.dtype)
    assert dtype is not None, like.dtype
    elements = tuple(int(v) for v in like.reshape(-1)) if known else None
    return Tensor(name, dtype, like.shape, value=elements)


def _namespace() -> Any:
    return importlib.import_module(os.environ.get("TRTN_TEST_XP", "numpy"))


def _op(name: str) -> Op:
    op = find_op(name)
    assert op is not None, f"no op {name}"
    return op


def _onnx_dtype(array: Array) -> int:
    extra = {
        "bfloat16": TensorProto.BFLOAT16,
        "float8_e4m3fn": TensorProto.FLOAT8E4M3FN,
        "int4": TensorProto.INT4,
    }
    return int(extra[array.dtype.name] if array.dtype.name in extra else helper.np_dtype_to_tensor_dtype(array.dtype))


def _is_narrow(dtype: DType) -> bool:
    return dtype.is_narrow


def _widen(array: Array) -> Array:
    """What the runtime does for an op that does not take bf16, f8 or 4-bit arrays as they are."""
    dtype = from_numpy(array.dtype)
    assert dtype is not None
    return array.astype(np.float32 if dtype.is_float else np.int32) if _is_narrow(dtype) else array


def _check(name: str, result: Any, dtype: DType, shape: tuple[Dim, ...], op: Op) -> Array:
    assert isinstance(result, np.ndarray), f"{name} gave a {type(result)}"
    if _is_narrow(dtype) and not op.native_low_precision:
        assert result.dtype == (np.float32 if dtype.is_float else np.int32), f"{name}: {result.dtype} for {dtype}"
        result = np.asarray(result.astype(dtype.numpy))
    assert result.dtype == dtype.numpy, f"{name}: {result.dtype} is not {dtype}"
    assert len(result.shape) == len(shape), f"{name}: {result.shape} is not {shape}"
    for actual, inferred in zip(result.shape, shape, strict=True):
        assert not isinstance(inferred, int) or actual == inferred, f"{name}: {result.shape} is not {shape}"
    checked: Array = result
    return checked

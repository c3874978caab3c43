from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops.infer import InferFailure

B, C = symbol("B"), symbol("C")
X = np.random.default_rng(9).standard_normal((3, 4, 6), dtype=np.float32) * 40


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_both_ways_match_onnxruntime(dtype: Any, axis: int | None) -> None:
    count = 1 if axis is None else X.shape[axis]
    scale = np.linspace(0.1, 0.7, count, dtype=np.float32)
    zero = np.arange(count).astype(dtype) + dtype(3)
    if axis is None:
        scale, zero = scale.reshape(()), zero.reshape(())
    attrs = {} if axis is None else {"axis": axis}
    expected = run_ort("QuantizeLinear", [X, scale, zero], attrs)[0]
    (quantized,) = run_ours("quantize_linear", X, scale, zero, **attrs)
    np.testing.assert_array_equal(quantized, expected)
    back = run_ort("DequantizeLinear", [expected, scale, zero], attrs)[0]
    np.testing.assert_allclose(run_ours("dequantize_linear", expected, scale, zero, **attrs)[0], back, rtol=1e-6)


@pytest.mark.parametrize("block", [2, 4])
def test_blocks_match_onnxruntime(block: int) -> None:
    scale = np.linspace(0.1, 0.9, 3 * 4 * -(-6 // block), dtype=np.float32).reshape(3, 4, -1)
    zero = (np.arange(scale.size) % 7).astype(np.int8).reshape(scale.shape)
    levels = run_ours("quantize_linear", X, scale, zero, axis=-1, block=block)[0]
    np.testing.assert_array_equal(
        levels, run_ort("QuantizeLinear", [X, scale, zero], {"axis": 2, "block_size": block})[0]
    )
    expected = run_ort("DequantizeLinear", [levels, scale, zero], {"axis": 2, "block_size": block})[0]
    np.testing.assert_allclose(
        run_ours("dequantize_linear", levels, scale, zero, axis=2, block=block)[0], expected, rtol=1e-6
    )


def test_halves_round_to_even() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 300, -300], np.float32)
    (y,) = run_ours("quantize_linear", x, np.float32(1), dtype="i8")
    assert y.tolist() == [0, 2, 2, 0, -2, 127, -128]
    (y,) = run_ours("quantize_linear", x, np.float32(1), dtype="u4")
    assert y.dtype == ml_dtypes.uint4 and y.astype(int).tolist() == [0, 2, 2, 0, 0, 15, 0]
    (y,) = run_ours("quantize_linear", x, np.float32(1), np.array(-1).astype(ml_dtypes.int4))
    assert y.astype(int).tolist() == [-1, 1, 1, -1, -3, 7, -8]


def test_eight_bit_floats() -> None:
    x = np.array([1.0, 1.1, 1000.0, -1e6, 17.0], np.float32)
    (y,) = run_ours("quantize_linear", x, np.float32(1), dtype="f8e4m3")
    assert y.astype(np.float32).tolist() == [1.0, 1.125, 448.0, -448.0, 16.0]
    (y,) = run_ours("quantize_linear", x, np.float32(1), dtype="f8e4m3", saturate=False)
    assert np.isnan(y.astype(np.float32)).tolist() == [False, False, True, True, False]
    (y,) = run_ours("quantize_linear", x * 100, np.float32(1), dtype="f8e5m2", saturate=False)
    assert np.isinf(y.astype(np.float32)).tolist() == [False, False, True, True, False]
    (back,) = run_ours("dequantize_linear", y[:1], np.float16(0.5))
    assert back.dtype == np.float16


def test_integers_stay_exact() -> None:
    x = np.array([2**30 + 1, -(2**30)], np.int32)
    (y,) = run_ours("dequantize_linear", x, np.float32(1), np.array(2**30, np.int32))
    assert y.tolist() == [1.0, -(2.0**31)]
    (narrow,) = run_ours(
        "dequantize_linear", x.astype(ml_dtypes.int4), np.float32(2), np.array(3).astype(ml_dtypes.int4)
    )
    assert narrow.dtype == np.float32


@pytest.mark.parametrize("x", [X, np.abs(X) + 1, -np.abs(X) - 1, np.zeros((3,), np.float32)])
def test_dynamic_quantization_matches_onnxruntime(x: Any) -> None:
    expected = run_ort("DynamicQuantizeLinear", [x], {}, outputs=3)
    for ours, theirs in zip(run_ours("dynamic_quantize_linear", x), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_shapes_and_refusals() -> None:
    inferred = infer("quantize_linear", tensor("f32", B, C, 4), tensor("f32", C), tensor("i8", C), axis=-2)
    assert str(inferred.types[0]) == f"i8[{B}, {C}, 4]" and inferred.attrs["axis"] == 1
    x = tensor("f32", 3, 4)
    for name, tensors, attrs, code in (
        ("quantize_linear", (x, tensor("f32", 3)), {}, "E0312"),
        ("quantize_linear", (x, tensor("f32", 2, 2)), {}, "E0303"),
        ("quantize_linear", (x, tensor("f32")), {"dtype": "f32"}, "E0302"),
        ("quantize_linear", (x, tensor("f32"), tensor("i8")), {"dtype": "i16"}, "E0302"),
        ("quantize_linear", (x, tensor("f32"), tensor("i8", 4)), {}, "E0303"),
        ("quantize_linear", (x, tensor("f32", 3, 2)), {"block": -2}, "E0304"),
        ("quantize_linear", (x, tensor("f32", 3, 3)), {"block": 2}, "E0312"),
        ("dequantize_linear", (x, tensor("f32")), {}, "E0302"),
        ("dequantize_linear", (tensor("i8", 3), tensor("f32"), tensor("u8")), {}, "E0302"),
    ):
        with pytest.raises(InferFailure) as failure:
            infer(name, *tensors, **attrs)
        assert failure.value.code == code, (name, attrs)

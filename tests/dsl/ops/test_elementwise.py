"""Functions of one tensor and casts, against f64 formulas and ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.dsl.ops.ort_case import Array, infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.ops.infer import InferFailure

ERF = np.vectorize(math.erf, otypes=[np.float64])
WIDE = np.concatenate([np.linspace(-6, 6, 241), [-1e-3, 0.0, 1e-3, 40.0, -40.0]])
UNIT = np.linspace(-1, 1, 101)
POSITIVE = np.concatenate([np.linspace(0.01, 5, 100), [1e-6, 1e4]])
ABOVE_ONE = np.linspace(1, 50, 100)

# our name, ONNX's name ("" for none), the formula in f64, the arguments
UNARY: list[tuple[str, str, Callable[..., Any], Array]] = [
    ("neg", "Neg", np.negative, WIDE),
    ("abs", "Abs", np.abs, WIDE),
    ("sign", "Sign", np.sign, WIDE),
    ("exp", "Exp", np.exp, np.linspace(-9, 9, 100)),
    ("log", "Log", np.log, POSITIVE),
    ("sqrt", "Sqrt", np.sqrt, POSITIVE),
    ("rsqrt", "", lambda x: 1 / np.sqrt(x), POSITIVE),
    ("reciprocal", "Reciprocal", np.reciprocal, POSITIVE),
    ("floor", "Floor", np.floor, WIDE),
    ("ceil", "Ceil", np.ceil, WIDE),
    ("round", "Round", np.rint, np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, 2.6])),
    ("sin", "Sin", np.sin, WIDE),
    ("cos", "Cos", np.cos, WIDE),
    ("tan", "Tan", np.tan, UNIT),
    ("asin", "Asin", np.arcsin, UNIT),
    ("acos", "Acos", np.arccos, UNIT),
    ("atan", "Atan", np.arctan, WIDE),
    ("sinh", "Sinh", np.sinh, UNIT),
    ("cosh", "Cosh", np.cosh, UNIT),
    ("tanh", "Tanh", np.tanh, WIDE),
    ("asinh", "Asinh", np.arcsinh, WIDE),
    ("acosh", "Acosh", np.arccosh, ABOVE_ONE),
    ("atanh", "Atanh", np.arctanh, np.linspace(-0.9, 0.9, 50)),
    ("erf", "Erf", ERF, WIDE),
]
TOLERANCE = {"float64": 1e-14, "float32": 6e-7, "float16": 1e-3}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize(("name", "formula", "x"), [(u[0], u[2], u[3]) for u in UNARY], ids=[u[0] for u in UNARY])
def test_unary_formula(name: str, formula: Callable[..., Any], x: Array, dtype: str) -> None:
    x = x.astype(dtype)
    (y,) = run_ours(name, x)
    tolerance = TOLERANCE[dtype]
    with np.errstate(all="ignore"):
        expected = formula(x.astype(np.float64)).astype(dtype)
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize(("name", "onnx"), [(u[0], u[1]) for u in UNARY if u[1]])
def test_unary_like_ort(name: str, onnx: str) -> None:
    x = next(u[3] for u in UNARY if u[0] == name).astype(np.float32)
    (y,) = run_ours(name, x)
    (expected,) = run_ort(onnx, [x], {})
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [u[0] for u in UNARY])
def test_unary_keeps_rank_0_empty_and_bf16(name: str) -> None:
    for x in (np.array(1.0, np.float32), np.zeros((0, 3), np.float32), np.array([1.0], ml_dtypes.bfloat16)):
        (y,) = run_ours(name, x)
        assert y.shape == x.shape


def test_erf_is_accurate_in_its_dtype() -> None:
    x = np.concatenate([np.linspace(-7, 7, 20_001), [np.inf, -np.inf, np.nan, 1e-300]])
    expected = ERF(x)
    np.testing.assert_allclose(run_ours("erf", x)[0], expected, rtol=2e-15)
    (y,) = run_ours("erf", x.astype(np.float32))
    np.testing.assert_allclose(y, ERF(x.astype(np.float32).astype(np.float64)), rtol=4.5e-7, atol=0)
    assert np.all(np.abs(y[np.abs(x) > 3.95]) == 1)


def test_large_arrays_are_the_same_as_small_ones() -> None:
    x = np.random.default_rng(0).standard_normal((5, 9_000)).astype(np.float32)
    (y,) = run_ours("erf", x)
    np.testing.assert_array_equal(y[3], run_ours("erf", x[3])[0])
    np.testing.assert_array_equal(run_ours("erf", x.T)[0], y.T)


def test_integers_and_truth_values() -> None:
    x = np.array([-3, 0, 7], np.int32)
    assert run_ours("neg", x)[0].tolist() == [3, 0, -7]
    assert run_ours("abs", x)[0].tolist() == [3, 0, 7]
    assert run_ours("sign", x)[0].tolist() == [-1, 0, 1]
    assert run_ours("bitwise_not", np.array([0, 5], np.uint8))[0].tolist() == [255, 250]
    assert run_ours("not", np.array([True, False]))[0].tolist() == [False, True]
    assert run_ours("not", np.array(True))[0].shape == ()


def test_isnan_and_isinf() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert run_ours("isnan", x)[0].tolist() == [True, False, False, False]
    assert run_ours("isinf", x)[0].tolist() == [False, True, True, False]
    assert run_ours("isinf", x, negative=False)[0].tolist() == [False, True, False, False]
    assert run_ours("isinf", x, positive=False)[0].tolist() == [False, False, True, False]
    assert run_ours("isinf", x, positive=False, negative=False)[0].tolist() == [False] * 4


# --- cast ---

ONNX_TYPE = {"f32": 1, "u8": 2, "i8": 3, "i32": 6, "i64": 7, "bool": 9, "f16": 10, "f64": 11, "u64": 13}


@pytest.mark.parametrize("to", list(ONNX_TYPE))
@pytest.mark.parametrize("source", ["f32", "f64", "f16", "i32", "i64", "u8", "bool"])
def test_cast_like_ort(source: str, to: str) -> None:
    x = np.array([0, 1, 2.7, 3.5, 100.9, 17], BY_NAME[source].numpy)
    (expected,) = run_ort("Cast", [x], {"to": ONNX_TYPE[to]})
    (y,) = run_ours("cast", x, to=to)
    np.testing.assert_array_equal(y, expected)


def test_cast_truncates_and_wraps() -> None:
    assert run_ours("cast", np.array([-1.9, 1.9], np.float32), to="i32")[0].tolist() == [-1, 1]
    assert run_ours("cast", np.array([300, -1], np.int32), to="u8")[0].tolist() == [44, 255]
    assert run_ours("cast", np.array([np.nan, 0.5, -0.0], np.float32), to="bool")[0].tolist() == [
        True,
        True,
        False,
    ]
    assert run_ours("cast", np.array([3.9, -3.9, 9.0], np.float32), to="i4")[0].tolist() == [3, -3, -7]


@pytest.mark.parametrize(("to", "largest"), [("f8e4m3", 448.0), ("f8e5m2", 57344.0)])
def test_cast_to_f8(to: str, largest: float) -> None:
    x = np.array([1.0, 1e9, -np.inf, np.nan], np.float32)
    (y,) = run_ours("cast", x, to=to)
    np.testing.assert_array_equal(y.astype(np.float32), [1.0, largest, -largest, np.nan])
    (y,) = run_ours("cast", x, to=to, saturate=False)
    assert not np.isfinite(y.astype(np.float32)[1:]).any()


def test_cast_from_and_to_bf16() -> None:
    x = np.array([1.0, 3.1415927, 1e30], np.float32)
    (y,) = run_ours("cast", x, to="bf16")
    assert y.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(run_ours("cast", y, to="f32")[0], x.astype(ml_dtypes.bfloat16).astype(np.float32))


# --- inference ---


def test_shapes_stay_symbolic() -> None:
    shape = (symbol("B"), 3, symbol("S") * 2)
    for name in ("exp", "relu", "isnan", "identity", "gelu"):
        assert infer(name, tensor("f32", *shape)).types[0].shape == shape
    assert str(infer("cast", tensor("f32", *shape), to="i64").types[0]) == "i64[B, 3, 2*S]"


def test_known_values_pass_through() -> None:
    s = symbol("S")
    x = tensor("i64", 3, value=(2, s, s + 1))
    assert infer("identity", x).value == (2, s, s + 1)
    assert infer("neg", x).value == (-2, -s, -s - 1)
    assert infer("abs", x).value == (2, s, s + 1)
    assert infer("cast", x, to="i32").value == (2, s, s + 1)
    assert infer("cast", x, to="i8").value is None
    assert infer("cast", tensor("i64", 1, value=(5,)), to="bool").value == (1,)
    assert infer("cast", tensor("i64", 1, value=(300,)), to="u8").value is None
    assert infer("cast", x, to="f32").value is None
    assert infer("not", tensor("bool", 2, value=(1, 0))).value == (0, 1)


@pytest.mark.parametrize(
    ("name", "dtype", "attrs", "code"),
    [
        ("exp", "i32", {}, "E0302"),
        ("neg", "u8", {}, "E0302"),
        ("not", "f32", {}, "E0302"),
        ("cast", "f32", {}, "E0212"),
        ("cast", "f32", {"to": "float"}, "E0304"),
        ("sqrt", "f32", {"eps": 1.0}, "E0204"),
    ],
)
def test_failures(name: str, dtype: str, attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer(name, tensor(dtype, 2), **attrs)
    assert failure.value.code == code

"""Arithmetic on two tensors, against NumPy, ONNX Runtime, and dims."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.dsl.ops.ort_case import Array, infer, run_ort, run_ours, tensor
from trtn.dsl.dims import Dim, dim_max, dim_min, evaluate, symbol
from trtn.dsl.ops.infer import InferFailure

B, S = symbol("B"), symbol("S")
RNG = np.random.default_rng(7)


def sample(dtype: str, *shape: int) -> Array:
    values: Array = RNG.uniform(1, 9, shape) * RNG.choice([-1, 1], shape)
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64"])
@pytest.mark.parametrize(
    ("name", "onnx"),
    [("add", "Add"), ("sub", "Sub"), ("mul", "Mul"), ("div", "Div"), ("max", "Max"), ("min", "Min")],
)
def test_like_ort(name: str, onnx: str, dtype: str) -> None:
    x, y = sample(dtype, 4, 1, 5), sample(dtype, 3, 5)
    (ours,) = run_ours(name, x, y)
    (theirs,) = run_ort(onnx, [x, y], {})
    np.testing.assert_allclose(ours, theirs, rtol=1e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "floor_div", "mod", "pow", "max", "min"])
def test_rank_0_and_empty(name: str) -> None:
    assert run_ours(name, np.float32(5), np.float32(2))[0].shape == ()
    assert run_ours(name, np.int64(5), np.int64(2))[0].shape == ()
    assert run_ours(name, np.zeros((0, 3), np.float32), np.ones(3, np.float32))[0].shape == (0, 3)


def test_integer_division_truncates_and_floor_div_does_not() -> None:
    x, y = np.array([7, -7, 7, -7, 6, -6]), np.array([2, 2, -2, -2, 3, 3])
    assert run_ours("div", x, y)[0].tolist() == [3, -3, -3, 3, 2, -2]
    assert run_ours("floor_div", x, y)[0].tolist() == [3, -4, -4, 3, 2, -2]
    assert run_ours("div", np.array([200], np.uint8), np.array([7], np.uint8))[0].tolist() == [28]


@pytest.mark.parametrize("fmod", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "int64", "int8"])
def test_mod_like_ort(dtype: str, fmod: bool) -> None:
    x, y = np.array([7, -7, 7, -7, 6], dtype), np.array([3, 3, -3, -3, -3], dtype)
    (expected,) = run_ort("Mod", [x, y], {"fmod": int(fmod)})
    np.testing.assert_array_equal(run_ours("mod", x, y, fmod=fmod)[0], expected)


def test_float_fmod_like_ort() -> None:
    x, y = sample("float32", 50), sample("float32", 50)
    np.testing.assert_array_equal(run_ours("mod", x, y, fmod=True)[0], run_ort("Mod", [x, y], {"fmod": 1})[0])


def test_nan_wins_in_max_and_min() -> None:
    x, y = np.array([np.nan, 1, 2], np.float32), np.array([1, np.nan, 3], np.float32)
    for name, last in (("max", 3), ("min", 2)):
        np.testing.assert_array_equal(run_ours(name, x, y)[0], np.array([np.nan, np.nan, last], np.float32))


def test_max_of_one_and_of_many() -> None:
    x, y, z = sample("float32", 3, 1), sample("float32", 4), sample("float32", 2, 1, 1)
    np.testing.assert_array_equal(run_ours("max", x)[0], x)
    np.testing.assert_array_equal(run_ours("max", x, y, z)[0], np.maximum(np.maximum(x, y), z))


@pytest.mark.parametrize(
    ("base", "exponent"),
    [
        ("float32", "float32"),
        ("int64", "int64"),
        ("int32", "float32"),
        ("float32", "int64"),
        ("float32", "float64"),
        ("int64", "int32"),
    ],
)
def test_pow_has_the_dtype_of_the_base(base: str, exponent: str) -> None:
    x, y = np.array([1, 2, 3, 4], base), np.array([3, 2, 3, 1.5], exponent)
    np.testing.assert_allclose(run_ours("pow", x, y)[0], run_ort("Pow", [x, y], {})[0], rtol=1e-6)


@pytest.mark.parametrize("exponent", [2.0, 3.0, 0.5, -1.0])
def test_pow_by_a_scalar(exponent: float) -> None:
    x = np.abs(sample("float64", 20))
    np.testing.assert_allclose(run_ours("pow", x, np.float64(exponent))[0], x**exponent, rtol=1e-15)
    np.testing.assert_allclose(run_ours("pow", x, np.array([[exponent]]))[0], [x**exponent], rtol=1e-15)


def test_atan2_and_bf16() -> None:
    y, x = sample("float32", 20), sample("float32", 20)
    np.testing.assert_allclose(run_ours("atan2", y, x)[0], np.arctan2(y, x))
    a = np.array([1.0, 2.5], ml_dtypes.bfloat16)
    assert run_ours("add", a, a)[0].dtype == ml_dtypes.bfloat16


# --- inference ---


def test_shapes_broadcast_symbolically() -> None:
    assert infer("add", tensor("f32", B, 1, S), tensor("f32", 7, 1)).types[0].shape == (B, 7, S)
    assert infer("max", tensor("f32", B, 1), tensor("f32", S), tensor("f32")).types[0].shape == (B, S)
    (requirement,) = infer("add", tensor("f32", B), tensor("f32", S)).requirements
    assert str(requirement.relation) in ("B == S", "S == B")
    assert requirement.code == "E0311"


def test_failures() -> None:
    with pytest.raises(InferFailure, match="do not broadcast") as failure:
        infer("add", tensor("f32", 2, 3), tensor("f32", 2, 4))
    assert failure.value.code == "E0311"
    with pytest.raises(InferFailure, match="f32 and f16") as failure:
        infer("mul", tensor("f32", 2), tensor("f16", 2))
    assert failure.value.code == "E0302"
    assert failure.value.inputs == (0, 1)
    with pytest.raises(InferFailure) as failure:
        infer("add", tensor("f32", 2))
    assert failure.value.code == "E0207"


def known(name: str, x: Dim, y: Dim, **attrs: Any) -> Dim | None:
    value = infer(name, tensor("i64", value=(x,)), tensor("i64", value=(y,)), **attrs).value
    return None if value is None else value[0]


def test_known_values() -> None:
    assert known("add", B, S) == B + S
    assert known("sub", S, 1) == S - 1
    assert known("mul", 2, S) == 2 * S
    assert known("div", S, 2) == S // 2
    assert known("div", -7, 2) == -3
    assert known("div", 7, -2) == -3
    assert known("div", S, 0) is None
    assert known("floor_div", -7, 2) == -4
    assert known("mod", S, 8) == S % 8
    assert known("mod", -7, 3) == 2
    assert known("mod", 7, -3) == -2
    assert known("mod", -7, 3, fmod=True) == -1
    assert known("max", S, 3) == dim_max(S, 3)
    assert known("min", S, B) == dim_min(S, B)
    x, y = tensor("i64", 3, value=(S, 2, 3)), tensor("i64", 1, value=(2,))
    assert infer("mul", x, y).value == (2 * S, 4, 6)
    assert infer("mul", x, tensor("i64", 1)).value is None


@pytest.mark.parametrize("s", [0, 1, 2, 9])
def test_known_quotients_truncate_for_every_size(s: int) -> None:
    for x in (S - 5, 5 - S, -S, S * S - 3 * S):
        quotient = known("div", x, 3)
        remainder = known("mod", x, 3, fmod=True)
        assert quotient is not None
        assert remainder is not None
        number = evaluate(x, {"S": s})
        assert evaluate(quotient, {"S": s}) == int(number / 3)
        assert evaluate(remainder, {"S": s}) == number - 3 * int(number / 3)


def test_values_and_results_agree() -> None:
    x, y = np.array([9, -9, 4]), np.array([4, 4, -3])
    for name in ("add", "sub", "mul", "div", "floor_div", "mod", "max", "min"):
        run_ours(name, x, y, known=[0, 1])
    run_ours("mod", x, y, known=[0, 1], fmod=True)

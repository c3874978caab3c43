"""Comparisons, truth values, bits, choices."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tests.dsl.ops.ort_case import Array, infer, run_ort, run_ours, tensor
from trtn.dsl.dims import Dim, symbol
from trtn.dsl.ops.infer import InferFailure

B, S = symbol("B"), symbol("S")


@pytest.mark.parametrize(
    ("name", "onnx"),
    [
        ("equal", "Equal"),
        ("less", "Less"),
        ("less_equal", "LessOrEqual"),
        ("greater", "Greater"),
        ("greater_equal", "GreaterOrEqual"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "int64", "int32"])
def test_comparisons_like_ort(name: str, onnx: str, dtype: str) -> None:
    x, y = np.array([[1], [2], [3]], dtype), np.array([1, 2, 3], dtype)
    np.testing.assert_array_equal(run_ours(name, x, y)[0], run_ort(onnx, [x, y], {})[0])


def test_nan_differs_from_itself() -> None:
    x = np.array([np.nan, 1], np.float32)
    assert run_ours("equal", x, x)[0].tolist() == [False, True]
    assert run_ours("not_equal", x, x)[0].tolist() == [True, False]
    assert run_ours("equal", np.array(True), np.array(False))[0].shape == ()


@pytest.mark.parametrize(("name", "expected"), [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("xor", [0, 1, 1, 0])])
def test_truth_tables(name: str, expected: list[int]) -> None:
    x, y = np.array([False, False, True, True]), np.array([False, True, False, True])
    assert run_ours(name, x, y, known=[0, 1])[0].tolist() == expected


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "bitwise_xor"])
def test_bits(name: str) -> None:
    x, y = np.array([0b1100, -1, 7], np.int32), np.array([0b1010, 5, 0], np.int32)
    np.testing.assert_array_equal(run_ours(name, x, y)[0], getattr(np, name)(x, y))


def test_shifts() -> None:
    x, y = np.array([1, 200, 255, 255], np.uint8), np.array([3, 1, 7, 9], np.uint8)
    assert run_ours("shift_left", x, y)[0].tolist() == [8, 144, 128, 0]
    assert run_ours("shift_right", x, y)[0].tolist() == [0, 100, 1, 0]
    assert run_ours("shift_right", np.array([-8], np.int32), np.array([1], np.int32))[0].tolist() == [-4]


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_where_like_ort(dtype: str) -> None:
    condition = np.array([[True], [False]])
    x, y = np.array([1, 0, 3], dtype), np.array(1, dtype)
    np.testing.assert_array_equal(run_ours("where", condition, x, y)[0], run_ort("Where", [condition, x, y], {})[0])


def test_where_takes_low_precision_and_rank_0() -> None:
    x = np.array([1, 2], ml_dtypes.bfloat16)
    (y,) = run_ours("where", np.array([True, False]), x, x + x)
    assert y.astype(np.float32).tolist() == [1.0, 4.0]
    scalars: list[Array] = [np.array(False), np.array(1.0, np.float32), np.array(2.0, np.float32)]
    assert run_ours("where", *scalars)[0].tolist() == 2.0


def decided(name: str, x: Dim, y: Dim) -> Dim | None:
    value = infer(name, tensor("i64", value=(x,)), tensor("i64", value=(y,))).value
    return None if value is None else value[0]


def test_comparisons_of_dims_are_known_where_sizes_do_not_matter() -> None:
    assert decided("equal", 3, 3) == 1
    assert decided("equal", S, S) == 1
    assert decided("equal", S, S + 1) == 0
    assert decided("equal", S, -1) == 0
    assert decided("equal", S, 1) is None
    assert decided("equal", B, S) is None
    assert decided("not_equal", S, -1) == 1
    assert decided("not_equal", S, S) == 0
    assert decided("less", S, S + 1) == 1
    assert decided("less", S, 0) == 0
    assert decided("less", S, 9) is None
    assert decided("less_equal", 0, S) == 1
    assert decided("greater", S + B, -1) == 1
    assert decided("greater_equal", S, 0) == 1
    assert decided("greater_equal", S, 1) is None


def test_where_chooses_known_values() -> None:
    condition = tensor("bool", 2, value=(1, 0))
    x, y = tensor("i64", 2, value=(S, 4)), tensor("i64", 1, value=(B,))
    assert infer("where", condition, x, y).value == (S, B)
    assert infer("where", tensor("bool", 2), x, y).value is None


def test_failures() -> None:
    with pytest.raises(InferFailure) as failure:
        infer("where", tensor("f32", 2), tensor("f32", 2), tensor("f32", 2))
    assert failure.value.code == "E0302"
    with pytest.raises(InferFailure) as failure:
        infer("bitwise_and", tensor("f32", 2), tensor("f32", 2))
    assert failure.value.code == "E0302"
    with pytest.raises(InferFailure) as failure:
        infer("less", tensor("f32", 2, 3), tensor("f32", 2))
    assert failure.value.code == "E0311"

"""Reductions, against NumPy in f64, ONNX Runtime, and dims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.dsl.ops.ort_case import Array, infer, run_ort, run_ours, tensor
from trtn.dsl.dims import dim_max, dim_min, symbol
from trtn.dsl.ops.infer import InferFailure

RNG = np.random.default_rng(3)
B, S = symbol("B"), symbol("S")

Formula = Callable[..., Any]
REDUCTIONS: dict[str, tuple[str, Formula]] = {
    "reduce_sum": ("ReduceSum", np.sum),
    "reduce_mean": ("ReduceMean", np.mean),
    "reduce_max": ("ReduceMax", np.max),
    "reduce_min": ("ReduceMin", np.min),
    "reduce_prod": ("ReduceProd", np.prod),
    "reduce_l1": ("ReduceL1", lambda x, axis, keepdims: np.abs(x).sum(axis, keepdims=keepdims)),
    "reduce_l2": ("ReduceL2", lambda x, axis, keepdims: np.sqrt((x**2).sum(axis, keepdims=keepdims))),
    "reduce_log_sum": ("ReduceLogSum", lambda x, axis, keepdims: np.log(x.sum(axis, keepdims=keepdims))),
    "reduce_log_sum_exp": (
        "ReduceLogSumExp",
        lambda x, axis, keepdims: np.log(np.exp(x).sum(axis, keepdims=keepdims)),
    ),
    "reduce_sum_square": ("ReduceSumSquare", lambda x, axis, keepdims: (x**2).sum(axis, keepdims=keepdims)),
}
TOLERANCE = {"float64": 1e-13, "float32": 2e-6, "float16": 1e-3}


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("axes", [None, (0,), (-1,), (2, 0), (0, 1, 2)])
@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_formula(name: str, axes: tuple[int, ...] | None, dtype: str) -> None:
    x = RNG.uniform(0.5, 1.5, (3, 4, 5)).astype(dtype)
    for keepdims in (False, True):
        (y,) = run_ours(name, x, axes=axes, keepdims=keepdims)
        expected = REDUCTIONS[name][1](x.astype(np.float64), axis=axes, keepdims=keepdims)
        np.testing.assert_allclose(y, expected, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("name", "dtype"),
    # ONNX Runtime rounds within its integer log-sum-exp: nothing to hold on to
    [(n, d) for n in REDUCTIONS for d in ("float32", "int32", "int64") if n != "reduce_log_sum_exp" or d[0] == "f"],
)
def test_like_ort(name: str, dtype: str) -> None:
    x = RNG.integers(1, 4, (3, 4, 5)).astype(dtype)
    (expected,) = run_ort(REDUCTIONS[name][0], [x, np.array([0, 2])], {"keepdims": 1})
    np.testing.assert_allclose(run_ours(name, x, axes=[0, 2], keepdims=True)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_of_nothing_like_ort(name: str) -> None:
    x = np.zeros((2, 0, 3), np.float32)
    (y,) = run_ours(name, x, axes=1)
    assert y.shape == (2, 3)
    if name == "reduce_mean":
        assert np.isnan(y).all()
    else:
        np.testing.assert_array_equal(y, run_ort(REDUCTIONS[name][0], [x, np.array([1])], {"keepdims": 0})[0])


@pytest.mark.parametrize("name", list(REDUCTIONS))
def test_rank_0_and_bf16(name: str) -> None:
    assert run_ours(name, np.float32(2))[0].shape == ()
    assert run_ours(name, np.ones(3, ml_dtypes.bfloat16))[0].dtype == ml_dtypes.bfloat16


def test_f16_is_accumulated_in_f32() -> None:
    x = np.full(5000, 1.0, np.float16)
    assert run_ours("reduce_sum", x)[0] == 5000
    assert run_ours("reduce_mean", np.full(70_000, 3.0, np.float16))[0] == 3
    assert run_ours("reduce_l2", np.full(4, 300.0, np.float16))[0] == 600


def test_integer_mean_truncates_and_sums_wrap() -> None:
    assert run_ours("reduce_mean", np.array([-3, 0], np.int32))[0] == -1
    assert run_ours("reduce_mean", np.full(3, 2**31 - 1, np.int32))[0] == 2**31 - 1
    assert run_ours("reduce_sum", np.array([200, 100], np.uint8))[0] == 44


def test_extremes_of_nan_truth_values_and_empty_integers() -> None:
    x = np.array([[1, np.nan], [2, 3]], np.float32)
    np.testing.assert_array_equal(run_ours("reduce_max", x, axes=1)[0], np.array([np.nan, 3], np.float32))
    assert run_ours("reduce_max", np.array([False, True]))[0].tolist() is True
    assert run_ours("reduce_min", np.array([False, True]))[0].tolist() is False
    assert run_ours("reduce_min", np.zeros(0, np.int8))[0] == 127


def test_log_sum_exp_of_large_and_infinite_numbers() -> None:
    x = np.array([[1e4, 1e4], [-np.inf, -np.inf], [np.inf, 0]], np.float32)
    expected = np.array([1e4 + np.log(2), -np.inf, np.inf], np.float32)
    np.testing.assert_allclose(run_ours("reduce_log_sum_exp", x, axes=1)[0], expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_cumsum_like_ort(axis: int, exclusive: bool, reverse: bool) -> None:
    x = RNG.standard_normal((3, 4, 5)).astype(np.float32)
    (expected,) = run_ort("CumSum", [x, np.array(axis)], {"exclusive": int(exclusive), "reverse": int(reverse)})
    (y,) = run_ours("cumsum", x, axis=axis, exclusive=exclusive, reverse=reverse)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_cumsum_keeps_the_dtype() -> None:
    assert run_ours("cumsum", np.array([100, 100, 100], np.int8), axis=0)[0].tolist() == [100, -56, 44]
    assert run_ours("cumsum", np.ones(3000, np.float16), axis=0)[0][-1] == 3000


def test_masked_mean() -> None:
    x = RNG.standard_normal((2, 4, 3)).astype(np.float32)
    x[0, 3] = np.nan
    mask = np.array([[True, True, False, False], [False] * 4])
    (y,) = run_ours("masked_mean", x, mask, axis=1)
    np.testing.assert_allclose(y[0], x[0, :2].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(y[1], np.zeros(3, np.float32))
    (y,) = run_ours("masked_mean", np.array([1, 2, 6], np.float16), np.array([True, False, True]), axis=0)
    assert y.tolist() == 3.5


# --- inference ---


def test_symbolic_shapes() -> None:
    x = tensor("f32", B, 3, S)
    assert infer("reduce_sum", x).types[0].shape == ()
    assert infer("reduce_sum", x, axes=-1).types[0].shape == (B, 3)
    kept = infer("reduce_max", x, axes=[2, 0], keepdims=True)
    assert kept.types[0].shape == (1, 3, 1)
    assert kept.attrs["axes"] == (0, 2)
    assert infer("reduce_mean", x, axes=[]).types[0].shape == (B, 3, S)
    assert infer("masked_mean", x, tensor("bool", B, 3), axis=1).types[0].shape == (B, S)


def test_known_values() -> None:
    x = tensor("i64", 3, value=(S, 2, B))
    assert infer("reduce_prod", x).value == (2 * B * S,)
    assert infer("reduce_sum", x, keepdims=True).value == (S + B + 2,)
    assert infer("reduce_max", x).value == (dim_max(S, 2, B),)
    assert infer("reduce_min", x).value == (dim_min(S, 2, B),)
    assert infer("reduce_mean", x).value is None
    assert infer("reduce_sum_square", tensor("i64", 1, value=(3,)), axes=[]).value is None
    for name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
        run_ours(name, np.array([2, 5, 3]), known=[0])


@pytest.mark.parametrize(
    ("name", "shape", "attrs", "code"),
    [
        ("reduce_sum", (2, 3), {"axes": [2]}, "E0304"),
        ("reduce_sum", (2, 3), {"axes": [0, -2]}, "E0304"),
        ("cumsum", (), {"axis": 0}, "E0303"),
        ("cumsum", (2,), {"axis": 1}, "E0304"),
        ("cumsum", (2,), {}, "E0207"),
    ],
)
def test_failures(name: str, shape: tuple[int, ...], attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer(name, tensor("f32", *shape), **attrs)
    assert failure.value.code == code


def test_masked_mean_failures() -> None:
    for mask, code in (((2, 4), "E0312"), ((2,), "E0303")):
        with pytest.raises(InferFailure) as failure:
            infer("masked_mean", tensor("f32", 2, 3, 4), tensor("bool", *mask), axis=1)
        assert failure.value.code == code


def test_inputs_may_be_views() -> None:
    x: Array = RNG.standard_normal((4, 6)).astype(np.float32)
    np.testing.assert_allclose(run_ours("reduce_sum", x.T[::2], axes=0)[0], x.T[::2].sum(0), rtol=1e-5)

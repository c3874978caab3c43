from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import dim_max, evaluate, symbol
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.ops.infer import InferFailure

B, S = symbol("B"), symbol("S")


def test_dims() -> None:
    inferred = infer("dims", values=[B, 2 * S, 3])
    assert str(inferred.types[0]) == "i64[3]" and inferred.value == (B, 2 * S, 3)
    assert infer("dims", values=[B], scalar=True).types[0].shape == ()
    np.testing.assert_array_equal(run_ours("dims", values=[4, 5], dtype="i32")[0], np.array([4, 5], np.int32))
    for attrs in ({"values": [1, 2], "scalar": True}, {"values": [1], "dtype": "f32"}):
        with pytest.raises(InferFailure) as failure:
            infer("dims", **attrs)
        assert failure.value.code == "E0304"


@pytest.mark.parametrize(
    "bounds", [(0, 5, 1), (2, 11, 3), (10, 1, -4), (3, 3, 1), (5, 2, 1), (0.5, 3.2, 0.7), (1.0, -1.0, -0.5)]
)
def test_range_matches_onnxruntime(bounds: tuple[Any, ...]) -> None:
    dtype = np.float32 if isinstance(bounds[0], float) else np.int64
    arrays = [np.array(b, dtype) for b in bounds]
    expected = run_ort("Range", arrays, {})[0]
    np.testing.assert_allclose(run_ours("range", *arrays)[0], expected, rtol=1e-6)
    if dtype is np.int64:
        np.testing.assert_array_equal(run_ours("range", *arrays, known=[0, 1, 2])[0], expected)
        np.testing.assert_array_equal(run_ours("range", first=bounds[0], end=bounds[1], step=bounds[2])[0], expected)


def test_range_of_dims() -> None:
    assert infer("range", end=S).types[0].shape == (S,)
    assert infer("range", first=S, end=S + 3).value == (S, S + 1, S + 2)
    assert infer("range", first=2, end=S).types[0].shape == (dim_max(S - 2, 0),)
    assert str(infer("range", end=4, dtype="f32").types[0]) == "f32[4]"
    for attrs, code in (({}, "E0207"), ({"end": 3, "step": 0}, "E0304")):
        with pytest.raises(InferFailure) as failure:
            infer("range", **attrs)
        assert failure.value.code == code


@settings(max_examples=100, deadline=None)
@given(first=st.integers(0, 9), end=st.integers(0, 9), step=st.sampled_from([1, 2, 3, -1, -3]))
def test_range_lengths(first: int, end: int, step: int) -> None:
    length = infer("range", first=B, end=S, step=step).types[0].shape[0]
    assert evaluate(length, {"B": first, "S": end}) == len(range(first, end, step))


def test_fill() -> None:
    (y,) = run_ours("fill", shape=[2, 3], value=7, dtype="i32")
    np.testing.assert_array_equal(y, np.full((2, 3), 7, np.int32))
    assert run_ours("fill", shape=[2], value=1.5, dtype="bf16")[0].dtype == ml_dtypes.bfloat16
    assert run_ours("fill", np.array([2, 3]))[0].shape == (2, 3)
    assert infer("fill", tensor("i64", 2, value=(B, S))).types[0].shape == (B, S)
    assert infer("fill", shape=[3], value=2, dtype="i64").value == (2, 2, 2)
    with pytest.raises(InferFailure) as failure:
        infer("fill", shape=[-1])
    assert failure.value.code == "E0313"


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot_matches_onnxruntime(axis: int) -> None:
    indices, values = np.array([[0, 2, -1], [5, 1, -4]]), np.array([0.5, 2], np.float32)
    depth = np.array(4)
    expected = run_ort("OneHot", [indices, depth, values], {"axis": axis})[0]
    np.testing.assert_array_equal(run_ours("one_hot", indices, depth, values, axis=axis)[0], expected)
    np.testing.assert_array_equal(run_ours("one_hot", indices, None, values, axis=axis, size=4)[0], expected)
    assert infer("one_hot", tensor("i64", B), None, tensor(values), size=S).types[0].shape == (B, S)
    with pytest.raises(InferFailure) as failure:
        infer("one_hot", tensor("i64", B), None, tensor(values))
    assert failure.value.code == "E0207"


@pytest.mark.parametrize("k", [-1, 0, 2])
def test_trilu_and_eye_like_match_onnxruntime(k: int) -> None:
    x = np.arange(1, 25, dtype=np.float32).reshape(2, 3, 4)
    for upper in (True, False):
        expected = run_ort("Trilu", [x, np.array(k)], {"upper": int(upper)})[0]
        np.testing.assert_array_equal(run_ours("trilu", x, upper=upper, k=k)[0], expected)
    np.testing.assert_array_equal(run_ours("eye_like", x[0], k=k)[0], run_ort("EyeLike", [x[0]], {"k": k})[0])
    assert infer("eye_like", tensor("f32", B, S), dtype="bool").types[0].dtype is BY_NAME["bool"]


def test_nonzero_matches_onnxruntime() -> None:
    x = np.array([[1, 0, 2], [0, 0, 3]], np.float32)
    np.testing.assert_array_equal(run_ours("nonzero", x)[0], run_ort("NonZero", [x], {})[0])
    assert str(infer("nonzero", tensor("bool", B, S)).types[0]) == "i64[2, d0]"

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.dsl.ops.ort_case import infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops.infer import InferFailure

B, S, V = symbol("B"), symbol("S"), symbol("V")
X = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [np.array(1), np.array([0, -1, 2], np.int32), np.array([[0, 1], [-2, 2]])])
def test_gather_matches_onnxruntime(axis: int, indices: Any) -> None:
    np.testing.assert_array_equal(
        run_ours("gather", X, indices, axis=axis)[0], run_ort("Gather", [X, indices], {"axis": axis})[0]
    )


def test_gather_of_known_elements() -> None:
    shape = tensor("i64", 3, value=(B, S, 768))
    assert infer("gather", shape, tensor("i64", value=(1,))).value == (S,)
    assert infer("gather", shape, tensor("i64", 2, value=(-1, 0))).value == (768, B)
    assert infer("gather", shape, tensor("i64")).value is None
    assert infer("gather", tensor("f32", V, 8), tensor("i64", B, S)).types[0].shape == (B, S, 8)
    with pytest.raises(InferFailure) as failure:
        infer("gather", shape, tensor("i64", value=(3,)))
    assert failure.value.code == "E0313"


def test_embedding() -> None:
    ids = np.array([[0, 3], [1, 1]], np.int32)
    np.testing.assert_array_equal(run_ours("embedding", ids, X[0])[0], X[0][ids])
    assert infer("embedding", tensor("i32", B, S), tensor("f16", V, 768)).types[0].shape == (B, S, 768)
    with pytest.raises(InferFailure) as failure:
        infer("embedding", tensor("i32", B, S), tensor("f16", V))
    assert failure.value.code == "E0303"
    with pytest.raises(InferFailure) as failure:
        infer("embedding", tensor("f32", B, S), tensor("f16", V, 8))
    assert failure.value.code == "E0302"


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements_matches_onnxruntime(axis: int) -> None:
    indices = np.random.default_rng(0).integers(-3, 3, (2, 3, 4))
    expected = run_ort("GatherElements", [X, indices], {"axis": axis})[0]
    np.testing.assert_array_equal(run_ours("gather_elements", X, indices, axis=axis)[0], expected)
    with pytest.raises(InferFailure) as failure:
        infer("gather_elements", tensor(X), tensor("i64", 4, 4, 6), axis=0)
    assert failure.value.code == "E0313"


@pytest.mark.parametrize(
    ("indices", "batch"),
    [
        ([[0, 1], [2, -1]], 0),
        ([[[0], [1]], [[2], [2]]], 0),
        ([[0], [1], [3]], 1),
        ([[[0, 1]], [[3, 4]], [[2, -2]]], 1),
    ],
)
def test_gather_nd_matches_onnxruntime(indices: Any, batch: int) -> None:
    at = np.array(indices)
    expected = run_ort("GatherND", [X, at], {"batch_dims": batch})[0]
    np.testing.assert_array_equal(run_ours("gather_nd", X, at, batch_dims=batch)[0], expected)


def test_gather_nd_shapes() -> None:
    assert infer("gather_nd", tensor("f32", B, S, 8), tensor("i64", B, 5, 1), batch_dims=1).types[0].shape == (B, 5, 8)
    for tensors, attrs, code in (
        ((tensor("f32", 2, 3), tensor("i64", 4, 3)), {}, "E0303"),
        ((tensor("f32", 2, 3), tensor("i64", 4, S)), {}, "E0303"),
        ((tensor("f32", 2, 3), tensor("i64", 4, 1)), {"batch_dims": 1}, "E0312"),
    ):
        with pytest.raises(InferFailure) as failure:
            infer("gather_nd", *tensors, **attrs)
        assert failure.value.code == code


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_compress_matches_onnxruntime(axis: int | None) -> None:
    condition = np.array([True, False, True])
    expected = run_ort("Compress", [X, condition], {} if axis is None else {"axis": axis})[0]
    np.testing.assert_array_equal(run_ours("compress", X, condition, axis=axis)[0], expected)
    np.testing.assert_array_equal(run_ours("compress", X, condition, axis=axis, known=[1])[0], expected)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters_match_onnxruntime(reduction: str) -> None:
    updates = np.random.default_rng(1).standard_normal((2, 4, 5)).astype(np.float32)
    # Places that repeat are only defined with a reduction.
    indices = (
        np.random.default_rng(2).integers(-3, 3, (2, 4, 5))
        if reduction != "none"
        else np.array([[[1]], [[2]]]) + np.zeros((2, 4, 5), int)
    )
    expected = run_ort("ScatterElements", [X, indices, updates], {"reduction": reduction}, opset=18)[0]
    np.testing.assert_allclose(
        run_ours("scatter_elements", X, indices, updates, reduction=reduction)[0], expected, rtol=1e-5
    )
    at = np.array([[0, 1], [2, -1]])
    rows = updates[0, :2]
    expected = run_ort("ScatterND", [X, at, rows], {"reduction": reduction}, opset=18)[0]
    np.testing.assert_allclose(run_ours("scatter_nd", X, at, rows, reduction=reduction)[0], expected, rtol=1e-5)


def test_scatter_shapes() -> None:
    shape = tensor("i64", 3, value=(B, S, 768))
    assert infer("scatter_elements", shape, tensor("i64", 1, value=(-1,)), tensor("i64", 1, value=(7,))).value == (
        B,
        S,
        7,
    )
    assert infer("scatter_nd", tensor("f32", S, 8), tensor("i64", B, 1), tensor("f32", B, 8)).types[0].shape == (S, 8)
    for name, tensors, code in (
        ("scatter_nd", (tensor(X), tensor("i64", 2, 1), tensor("f32", 2, 4, 6)), "E0312"),
        ("scatter_nd", (tensor(X), tensor("i64", 2, 1), tensor("f32", 2)), "E0303"),
        ("scatter_elements", (tensor(X), tensor("i64", 3, 4, 5), tensor("f32", 3, 4, 4)), "E0312"),
        ("scatter_elements", (tensor(X), tensor("i64", 1, 5, 5), tensor("f32", 1, 5, 5)), "E0313"),
    ):
        with pytest.raises(InferFailure) as failure:
            infer(name, *tensors)
        assert failure.value.code == code

"""Attention, against the formula in f64 and ONNX Runtime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.dsl.ops.ort_case import Array, infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops.infer import InferFailure

RNG = np.random.default_rng(17)
B, G, H, L, S = (symbol(name) for name in "BGHLS")
TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3}


def normal(*shape: int, dtype: str = "float32") -> Array:
    return RNG.standard_normal(shape).astype(dtype)


def formula(
    q: Array, k: Array, v: Array, mask: Array | None, *, scale: float | None = None, causal: bool = False
) -> Array:
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    k, v = (x.repeat(q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        queries, keys = scores.shape[-2:]
        scores = np.where(np.arange(keys) <= np.arange(queries)[:, None] + keys - queries, scores, -np.inf)
    e = np.exp(scores - scores.max(-1, keepdims=True))
    result: Array = e / e.sum(-1, keepdims=True) @ v
    return result


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("q", "k", "v"),
    [
        ((2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 3)),
        ((2, 6, 5, 8), (2, 2, 5, 8), (2, 2, 5, 8)),  # grouped heads
        ((6, 1, 8), (2, 9, 8), (2, 9, 8)),  # no batch, one query against a cache
        ((2, 3, 4, 5, 8), (2, 3, 1, 6, 8), (2, 3, 1, 6, 4)),
    ],
)
def test_formula(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], causal: bool, dtype: str) -> None:
    arrays = [normal(*s, dtype=dtype) for s in (q, k, v)]
    tolerance = TOLERANCE[dtype]
    for mask in (None, normal(q[-2], k[-2], dtype=dtype), np.arange(k[-2]) != k[-2] - 2):
        (y,) = run_ours("attention", *arrays, mask, causal=causal, scale=0.3)
        expected = formula(arrays[0], arrays[1], arrays[2], mask, causal=causal, scale=0.3)
        np.testing.assert_allclose(y, expected, rtol=tolerance, atol=tolerance)
    (y,) = run_ours("attention", *arrays)
    np.testing.assert_allclose(y, formula(arrays[0], arrays[1], arrays[2], None), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("causal", [False, True])
def test_like_ort(causal: bool) -> None:
    q, k, v = normal(2, 4, 6, 8), normal(2, 2, 6, 8), normal(2, 2, 6, 8)
    mask = RNG.random((6, 6)) < 0.7
    np.fill_diagonal(mask, True)
    for given in (None, mask):
        inputs = [q, k, v, *([] if given is None else [given])]
        (expected,) = run_ort("Attention", inputs, {"is_causal": int(causal)}, opset=23)
        (y,) = run_ours("attention", q, k, v, given, causal=causal)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_masks_broadcast_over_batch_and_heads() -> None:
    q, k, v = normal(2, 4, 5, 8), normal(2, 4, 7, 8), normal(2, 4, 7, 8)
    for shape in ((7,), (5, 1), (2, 1, 1, 7), (1, 4, 5, 7)):
        mask = RNG.random(shape) < 0.6
        mask[..., 0] = True
        (y,) = run_ours("attention", q, k, v, mask)
        np.testing.assert_allclose(y, formula(q, k, v, mask), rtol=1e-5, atol=1e-6)


def test_queries_without_keys_give_zeros() -> None:
    q, k, v = normal(1, 1, 4, 8), normal(1, 1, 2, 8), normal(1, 1, 2, 8)
    (y,) = run_ours("attention", q, k, v, np.array([[True], [False], [True], [True]]))
    assert (y[0, 0, 1] == 0).all()
    assert (y[0, 0, 0] != 0).all()
    (y,) = run_ours("attention", q, k, v, causal=True)
    assert (y[0, 0, :2] == 0).all()
    np.testing.assert_allclose(y[0, 0, 2], v[0, 0, 0], rtol=1e-6)
    assert (run_ours("attention", q, k[:, :, :0], v[:, :, :0])[0] == 0).all()
    assert run_ours("attention", q[:, :, :0], k, v)[0].shape == (1, 1, 0, 8)


def test_bf16_is_computed_in_f32() -> None:
    q = normal(1, 2, 3, 4).astype(ml_dtypes.bfloat16)
    (y,) = run_ours("attention", q, q, q)
    assert y.dtype == ml_dtypes.bfloat16
    wide = q.astype(np.float32)
    np.testing.assert_allclose(y.astype(np.float32), formula(wide, wide, wide, None), rtol=1e-2)


def test_symbolic_shapes() -> None:
    q, k, v = tensor("f32", B, H, S, 64), tensor("f32", B, G, L, 64), tensor("f32", B, G, L, 32)
    inferred = infer("attention", q, k, v, tensor("bool", B, 1, 1, L))
    assert inferred.types[0].shape == (B, H, S, 32)
    assert [r.code for r in inferred.requirements] == ["E0313"]
    assert not infer("attention", q, tensor("f32", B, H, L, 64), tensor("f32", B, H, L, 32)).requirements


@pytest.mark.parametrize(
    ("shapes", "mask", "code"),
    [
        ([(2, 4, 5, 8), (2, 4, 7, 9), (2, 4, 7, 8)], None, "E0312"),
        ([(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 6, 8)], None, "E0312"),
        ([(2, 4, 5, 8), (3, 4, 7, 8), (3, 4, 7, 8)], None, "E0312"),
        ([(2, 4, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8)], None, "E0313"),
        ([(2, 4, 5, 8), (2, 0, 7, 8), (2, 0, 7, 8)], None, "E0313"),
        ([(2, 4, 5, 8), (4, 7, 8), (4, 7, 8)], None, "E0303"),
        ([(5, 8), (7, 8), (7, 8)], None, "E0303"),
        ([(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8)], ("bool", 5, 5), "E0311"),
        ([(2, 4, 5, 8), (2, 4, 7, 8), (2, 4, 7, 8)], ("f16", 5, 7), "E0302"),
    ],
)
def test_failures(shapes: list[tuple[int, ...]], mask: Any, code: str) -> None:
    tensors = [tensor("f32", *s) for s in shapes]
    with pytest.raises(InferFailure) as failure:
        infer("attention", *tensors, *([] if mask is None else [tensor(*mask)]))
    assert failure.value.code == code

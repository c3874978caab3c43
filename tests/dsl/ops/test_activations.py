"""Activations, against f64 formulas and ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.dsl.ops.ort_case import Array, infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops.infer import InferFailure

X = np.concatenate([np.linspace(-8, 8, 401), [-100.0, -20.0, 20.0, 100.0]])
ERF = np.vectorize(math.erf, otypes=[np.float64])
SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


def sigmoid(x: Array) -> Array:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def softplus(x: Array) -> Array:
    return np.logaddexp(x, 0)


def elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


Case = tuple[str, dict[str, Any], Callable[[Array], Array], str, dict[str, Any]]
CASES: list[Case] = [
    ("relu", {}, lambda x: np.maximum(x, 0), "Relu", {}),
    ("sigmoid", {}, sigmoid, "Sigmoid", {}),
    ("silu", {}, lambda x: x * sigmoid(x), "", {}),
    ("swish", {"alpha": 1.5}, lambda x: x * sigmoid(1.5 * x), "", {}),
    ("gelu", {}, lambda x: x * (1 + ERF(x / np.sqrt(2))) / 2, "Gelu", {}),
    (
        "gelu",
        {"approximate": "tanh"},
        lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "Gelu",
        {"approximate": "tanh"},
    ),
    ("softplus", {}, softplus, "Softplus", {}),
    ("softsign", {}, lambda x: x / (1 + np.abs(x)), "Softsign", {}),
    ("hard_sigmoid", {}, lambda x: np.clip(0.2 * x + 0.5, 0, 1), "HardSigmoid", {}),
    (
        "hard_sigmoid",
        {"alpha": 0.3, "beta": 0.4},
        lambda x: np.clip(0.3 * x + 0.4, 0, 1),
        "HardSigmoid",
        {"alpha": 0.3, "beta": 0.4},
    ),
    ("hard_swish", {}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1), "HardSwish", {}),
    ("mish", {}, lambda x: x * np.tanh(softplus(x)), "Mish", {}),
    ("elu", {"alpha": 0.7}, lambda x: elu(x, 0.7), "Elu", {"alpha": 0.7}),
    ("selu", {}, lambda x: SELU_GAMMA * elu(x, SELU_ALPHA), "Selu", {}),
    ("celu", {"alpha": 2.0}, lambda x: 2 * elu(x / 2), "Celu", {"alpha": 2.0}),
    ("leaky_relu", {}, lambda x: np.where(x < 0, 0.01 * x, x), "LeakyRelu", {}),
    ("leaky_relu", {"alpha": -2.0}, lambda x: np.where(x < 0, -2 * x, x), "LeakyRelu", {"alpha": -2.0}),
    ("thresholded_relu", {}, lambda x: np.where(x > 1, x, 0), "ThresholdedRelu", {}),
    (
        "shrink",
        {"lambd": 1.5, "bias": 0.25},
        lambda x: np.where(x < -1.5, x + 0.25, np.where(x > 1.5, x - 0.25, 0)),
        "Shrink",
        {"lambd": 1.5, "bias": 0.25},
    ),
]
IDS = [f"{c[0]}{n}" for n, c in enumerate(CASES)]
TOLERANCE = {"float64": 1e-13, "float32": 2e-6, "float16": 1.1e-3}


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_formula(case: Case, dtype: str) -> None:
    name, attrs, formula, _, _ = case
    x = X.astype(dtype)
    (y,) = run_ours(name, x, **attrs)
    tolerance = TOLERANCE[dtype]
    np.testing.assert_allclose(y, formula(x.astype(np.float64)), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", [c for c in CASES if c[3]], ids=[i for i, c in zip(IDS, CASES, strict=True) if c[3]])
def test_like_ort(case: Case) -> None:
    name, attrs, _, onnx, onnx_attrs = case
    x = X.astype(np.float32)
    (expected,) = run_ort(onnx, [x], onnx_attrs)
    np.testing.assert_allclose(run_ours(name, x, **attrs)[0], expected, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_rank_0_empty_blocks_and_bf16(case: Case) -> None:
    name, attrs = case[:2]
    assert run_ours(name, np.float32(0.5), **attrs)[0].shape == ()
    assert run_ours(name, np.zeros((2, 0), np.float32), **attrs)[0].shape == (2, 0)
    assert run_ours(name, np.array([0.5], ml_dtypes.bfloat16), **attrs)[0].dtype == ml_dtypes.bfloat16
    large = np.tile(X.astype(np.float16), (60, 1))
    (y,) = run_ours(name, large, **attrs)
    np.testing.assert_array_equal(y[41], run_ours(name, large[0], **attrs)[0])


@pytest.mark.parametrize("name", ["relu", "sigmoid", "softplus", "gelu", "mish", "elu", "leaky_relu", "hard_swish"])
def test_nan_and_infinity(name: str) -> None:
    (y,) = run_ours(name, np.array([np.nan, np.inf], np.float32))
    assert np.isnan(y[0])
    assert y[1] == (1 if name == "sigmoid" else np.inf)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int8", "uint8", "int64", "float16"])
@pytest.mark.parametrize(("low", "high"), [(2.0, 5.0), (None, 3.0), (3.0, None), (None, None), (6.0, 4.0)])
def test_clip_like_ort(dtype: str, low: float | None, high: float | None) -> None:
    x = np.arange(9).astype(dtype)
    limits = [None if v is None else np.array(v, dtype) for v in (low, high)]
    (y,) = run_ours("clip", x, min=low, max=high)
    np.testing.assert_array_equal(y, run_ort("Clip", [x, *limits], {})[0])


def test_clip_keeps_integers_within_their_dtype() -> None:
    x = np.array([0, 7, 255], np.uint8)
    assert run_ours("clip", x, min=-3, max=1e9)[0].tolist() == [0, 7, 255]
    assert run_ours("clip", x, min=6.5, max=float("inf"))[0].tolist() == [7, 7, 255]
    assert run_ours("clip", np.array([np.nan, 3], np.float32), max=1)[0].tolist()[1] == 1


@pytest.mark.parametrize("slope", [(1,), (4, 1), (3, 4, 5), ()])
def test_prelu_like_ort(slope: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, s = rng.standard_normal((3, 4, 5)).astype(np.float32), rng.standard_normal(slope).astype(np.float32)
    np.testing.assert_array_equal(run_ours("prelu", x, s)[0], run_ort("PRelu", [x, s], {})[0])


def test_integer_relu_prelu_and_shrink() -> None:
    x = np.array([-4, 0, 4], np.int32)
    assert run_ours("relu", x)[0].tolist() == [0, 0, 4]
    assert run_ours("prelu", x, np.array([2], np.int32))[0].tolist() == [-8, 0, 4]
    assert run_ours("shrink", x, lambd=1.0, bias=1.0)[0].tolist() == [-3, 0, 3]


def test_shapes_and_failures() -> None:
    b, c = symbol("B"), symbol("C")
    assert infer("prelu", tensor("f32", b, c, 8), tensor("f32", c, 1)).types[0].shape == (b, c, 8)
    with pytest.raises(InferFailure, match="does not broadcast") as failure:
        infer("prelu", tensor("f32", b, 4), tensor("f32", 3))
    assert failure.value.code == "E0311"
    with pytest.raises(InferFailure) as failure:
        infer("prelu", tensor("f32", 4), tensor("f32", 1, 4))
    assert failure.value.code == "E0303"
    with pytest.raises(InferFailure) as failure:
        infer("gelu", tensor("f32", 4), approximate="fast")
    assert failure.value.code == "E0304"
    with pytest.raises(InferFailure) as failure:
        infer("celu", tensor("f32", 4), alpha=0.0)
    assert failure.value.code == "E0304"

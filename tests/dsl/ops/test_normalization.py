"""Softmax and its kin, normalisation, against f64 formulas and ONNX Runtime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.dsl.ops.ort_case import Array, infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.ops.infer import InferFailure

RNG = np.random.default_rng(11)
B, C, S = symbol("B"), symbol("C"), symbol("S")
TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "float16": 1.5e-3}
DTYPES = list(TOLERANCE)


def normal(*shape: int, dtype: str = "float32") -> Array:
    return (RNG.standard_normal(shape) * 2 + 0.5).astype(dtype)


def close(actual: Array, expected: Array, *, times: float = 1) -> None:
    tolerance = TOLERANCE[actual.dtype.name] * times
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def standardise(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    x = x.astype(np.float64)
    result: Array = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return result


# --- softmax ---


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_formula(dtype: str, axis: int) -> None:
    x = normal(3, 4, 5, dtype=dtype) * 5
    wide = x.astype(np.float64)
    e = np.exp(wide - wide.max(axis, keepdims=True))
    probabilities = e / e.sum(axis, keepdims=True)
    close(run_ours("softmax", x, axis=axis)[0], probabilities)
    close(run_ours("log_softmax", x, axis=axis)[0], np.log(probabilities), times=3)


@pytest.mark.parametrize(
    ("name", "onnx"), [("softmax", "Softmax"), ("log_softmax", "LogSoftmax"), ("hardmax", "Hardmax")]
)
def test_softmaxes_like_ort(name: str, onnx: str) -> None:
    x = RNG.integers(0, 4, (3, 4, 5)).astype(np.float32)
    for axis in (0, 1, -1):
        close(run_ours(name, x, axis=axis)[0], run_ort(onnx, [x], {"axis": axis})[0])


def test_softmax_of_large_numbers_and_infinities() -> None:
    x = np.array([[1e4, 1e4, -np.inf], [-np.inf, -np.inf, -np.inf]], np.float32)
    (y,) = run_ours("softmax", x)
    np.testing.assert_array_equal(y, np.array([[0.5, 0.5, 0], [np.nan] * 3], np.float32))


def test_hardmax_takes_the_first() -> None:
    assert run_ours("hardmax", np.array([1, 3, 3], np.float32))[0].tolist() == [0, 1, 0]


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "hardmax", "lp_norm", "layer_norm", "rms_norm"])
def test_of_nothing_and_of_bf16(name: str) -> None:
    for shape in ((0, 3), (3, 0)):
        assert run_ours(name, np.zeros(shape, np.float32))[0].shape == shape
    assert run_ours(name, np.ones((2, 3), ml_dtypes.bfloat16))[0].dtype == ml_dtypes.bfloat16


@pytest.mark.parametrize("p", [1, 2])
def test_lp_norm(p: int) -> None:
    x = normal(3, 4, 5)
    for axis in (1, -1):
        (expected,) = run_ort("LpNormalization", [x], {"axis": axis, "p": p})
        close(run_ours("lp_norm", x, axis=axis, p=p)[0], expected)
    assert run_ours("lp_norm", np.zeros(3, np.float32), p=p)[0].tolist() == [0, 0, 0]


# --- mean and variance ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (2, 6, 4, 3)])
def test_batch_norm_formula(shape: tuple[int, ...], dtype: str) -> None:
    x, scale, bias, mean = (normal(*s, dtype=dtype) for s in (shape, (6,), (6,), (6,)))
    variance = np.abs(normal(6, dtype=dtype)) + np.asarray(0.5, dtype)
    lift = (6,) + (1,) * (len(shape) - 2)
    wide = [p.astype(np.float64).reshape(lift) for p in (scale, bias, mean, variance)]
    expected = (x.astype(np.float64) - wide[2]) / np.sqrt(wide[3] + 1e-3) * wide[0] + wide[1]
    close(run_ours("batch_norm", x, scale, bias, mean, variance, eps=1e-3)[0], expected, times=4)


def test_batch_norm_like_ort() -> None:
    x, scale, bias, mean = normal(2, 6, 4, 3), normal(6), normal(6), normal(6)
    variance = np.abs(normal(6)) + 0.1
    (expected,) = run_ort("BatchNormalization", [x, scale, bias, mean, variance], {"epsilon": 1e-4})
    close(run_ours("batch_norm", x, scale, bias, mean, variance, eps=1e-4)[0], expected, times=4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_instance_and_group_norm_formulas(dtype: str) -> None:
    x, scale, bias = normal(2, 6, 4, 3, dtype=dtype), normal(6, dtype=dtype), normal(6, dtype=dtype)
    slope, offset = (p.astype(np.float64).reshape(6, 1, 1) for p in (scale, bias))
    expected = standardise(x, (2, 3), 1e-5) * slope + offset
    close(run_ours("instance_norm", x, scale, bias)[0], expected, times=4)
    groups = standardise(x.reshape(2, 3, 2, 4, 3), (2, 3, 4), 1e-3).reshape(x.shape)
    close(run_ours("group_norm", x, scale, bias, groups=3, eps=1e-3)[0], groups * slope + offset, times=4)


def test_instance_and_group_norm_like_ort() -> None:
    x, scale, bias = normal(2, 6, 5), normal(6), normal(6)
    (expected,) = run_ort("InstanceNormalization", [x, scale, bias], {})
    close(run_ours("instance_norm", x, scale, bias)[0], expected, times=4)
    (expected,) = run_ort("GroupNormalization", [x, scale, bias], {"num_groups": 2})
    close(run_ours("group_norm", x, scale, bias, groups=2)[0], expected, times=4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_layer_norm_formula(axis: int, dtype: str) -> None:
    x = normal(3, 4, 5, dtype=dtype)
    inner = x.shape[axis:]
    scale, bias = normal(*inner, dtype=dtype), normal(*inner, dtype=dtype)
    y = standardise(x, tuple(range(axis % 3, 3)), 1e-5)
    close(run_ours("layer_norm", x, axis=axis)[0], y, times=4)
    close(run_ours("layer_norm", x, scale, axis=axis)[0], y * scale, times=4)
    close(run_ours("layer_norm", x, scale, bias, axis=axis)[0], y * scale + bias, times=4)


def test_layer_norm_like_ort() -> None:
    x, scale, bias = normal(3, 4, 64), normal(64), normal(64)
    (expected,) = run_ort("LayerNormalization", [x, scale, bias], {"axis": -1, "epsilon": 1e-3})
    close(run_ours("layer_norm", x, scale, bias, eps=1e-3)[0], expected, times=4)


def test_layer_norm_of_a_large_mean() -> None:
    x = normal(2, 256) + np.float32(1000)
    close(run_ours("layer_norm", x)[0], standardise(x, (1,), 1e-5), times=50)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rms_norm_formula(dtype: str) -> None:
    x, scale = normal(3, 4, 5, dtype=dtype), normal(5, dtype=dtype)
    wide = x.astype(np.float64)
    y = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-6)
    close(run_ours("rms_norm", x)[0], y)
    close(run_ours("rms_norm", x, scale)[0], y * scale, times=2)
    y = wide / np.sqrt((wide**2).mean((1, 2), keepdims=True) + 1e-3)
    close(run_ours("rms_norm", x, axis=1, eps=1e-3)[0], y)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn_like_ort(size: int) -> None:
    x = normal(2, 7, 3, 3)
    attrs: dict[str, Any] = {"size": size, "alpha": 0.1, "beta": 0.6, "bias": 1.5}
    close(run_ours("lrn", x, **attrs)[0], run_ort("LRN", [x], attrs)[0])


def test_lrn_of_an_even_size_and_more_than_the_channels() -> None:
    x = np.arange(1, 4, dtype=np.float64).reshape(1, 3, 1)
    for size, sums in ((2, [1 + 4, 4 + 9, 9]), (9, [14, 14, 14])):
        (y,) = run_ours("lrn", x, size=size, alpha=1.0, beta=1.0, bias=2.0)
        np.testing.assert_allclose(y[0, :, 0], [v / (2 + s / size) for v, s in zip((1, 2, 3), sums, strict=True)])


# --- inference ---


def test_symbolic_shapes() -> None:
    x = tensor("f32", B, C, S)
    assert infer("softmax", x, axis=-2).attrs["axis"] == 1
    assert infer("batch_norm", x, *(tensor("f32", C) for _ in range(4))).types[0].shape == (B, C, S)
    assert infer("layer_norm", x, tensor("f32", S)).types[0].shape == (B, C, S)
    assert infer("layer_norm", x, None, tensor("f32", 1, S), axis=1).types[0].shape == (B, C, S)
    (requirement,) = infer("group_norm", x, tensor("f32", C), tensor("f32", C), groups=4).requirements
    assert str(requirement.relation) == "C%4 == 0" or str(requirement.relation) == "C % 4 == 0"


@pytest.mark.parametrize(
    ("name", "shapes", "attrs", "code"),
    [
        ("softmax", [()], {}, "E0303"),
        ("softmax", [(2, 3)], {"axis": 2}, "E0304"),
        ("lp_norm", [(2, 3)], {"p": 3}, "E0304"),
        ("batch_norm", [(2, 3, 4), (3,), (3,), (4,), (3,)], {}, "E0312"),
        ("batch_norm", [(2, 3, 4), (3,), (3,), (3, 1), (3,)], {}, "E0303"),
        ("instance_norm", [(2, 3), (3,), (3,)], {}, "E0303"),
        ("group_norm", [(2, 6, 4), (6,), (6,)], {"groups": 4}, "E0313"),
        ("group_norm", [(2, 6, 4), (6,), (6,)], {"groups": 0}, "E0304"),
        ("layer_norm", [(2, 3, 4), (3,)], {}, "E0311"),
        ("layer_norm", [(2, 3, 4), (3, 4)], {}, "E0303"),
        ("rms_norm", [(2, 3, 4), (5,)], {}, "E0311"),
        ("lrn", [(2, 3)], {"size": 0}, "E0304"),
    ],
)
def test_failures(name: str, shapes: list[tuple[int, ...]], attrs: dict[str, Any], code: str) -> None:
    with pytest.raises(InferFailure) as failure:
        infer(name, *(tensor("f32", *s) for s in shapes), **attrs)
    assert failure.value.code == code

"""Matrix products, against NumPy in f64 and ONNX Runtime."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.dsl.ops.ort_case import Array, infer, run_ort, run_ours, tensor
from trtn.dsl.dims import symbol
from trtn.dsl.network import Shape
from trtn.dsl.ops.infer import InferFailure

RNG = np.random.default_rng(13)
B, D, S = symbol("B"), symbol("D"), symbol("S")
SHAPES: list[tuple[Shape, Shape, Shape]] = [
    ((3, 4), (4, 5), (3, 5)),
    ((2, 3, 4), (4, 5), (2, 3, 5)),
    ((2, 3, 4), (2, 4, 5), (2, 3, 5)),
    ((7, 1, 3, 4), (2, 4, 5), (7, 2, 3, 5)),
    ((3, 4), (2, 4, 5), (2, 3, 5)),
    ((4,), (4,), ()),
    ((4,), (4, 5), (5,)),
    ((3, 4), (4,), (3,)),
    ((4,), (2, 4, 5), (2, 5)),
    ((2, 3, 4), (4,), (2, 3)),
    ((2, 0, 4), (4, 5), (2, 0, 5)),
    ((2, 3, 0), (0, 5), (2, 3, 5)),
]


def normal(*shape: Any, dtype: str = "float32") -> Array:
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(("a", "b", "shape"), SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-5), ("float16", 5e-3)])
def test_matmul(a: Shape, b: Shape, shape: Shape, dtype: str, tolerance: float) -> None:
    x, y = normal(*a, dtype=dtype), normal(*b, dtype=dtype)
    (z,) = run_ours("matmul", x, y)
    assert z.shape == shape
    np.testing.assert_allclose(z, x.astype(np.float64) @ y.astype(np.float64), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_matmul_like_ort(dtype: str) -> None:
    a, b = (normal(2, 3, 4) * 5).astype(dtype), (normal(4, 5) * 5).astype(dtype)
    np.testing.assert_allclose(run_ours("matmul", a, b)[0], run_ort("MatMul", [a, b], {})[0], rtol=1e-5, atol=1e-5)


def test_f16_is_accumulated_in_f32() -> None:
    a = np.ones((1, 4000), np.float16)
    assert run_ours("matmul", a, a.T)[0].tolist() == [[4000.0]]
    odd = np.ones((1, 4001), np.float16)
    assert run_ours("linear", odd, odd.T, np.array([-4000], np.float16))[0].tolist() == [[1.0]]
    assert run_ours("matmul", a.astype(ml_dtypes.bfloat16), a.T.astype(ml_dtypes.bfloat16))[0].tolist() == [[4000.0]]


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_linear(shape: Shape) -> None:
    x, weight, bias = normal(*shape), normal(4, 5), normal(5)
    np.testing.assert_allclose(run_ours("linear", x, weight, bias)[0], x @ weight + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run_ours("linear", x, weight)[0], x @ weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("terms", [256, 257, 700])
def test_sums_of_the_largest_levels_are_exact(terms: int) -> None:
    """Odd sums, the last beyond 2^24, where f32 has only even ones."""
    a, b = np.full((2, terms), 255, np.uint8), np.full((terms, 3), 255, np.uint8)
    b[0] = 254 + terms % 2
    np.testing.assert_array_equal(run_ours("matmul_integer", a, b)[0], a.astype(np.int64) @ b)


@pytest.mark.parametrize("types", [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8"), ("int8", "uint8")])
@pytest.mark.parametrize("inner", [3, 300])
def test_matmul_integer_is_exact(types: tuple[str, str], inner: int) -> None:
    limits = [np.iinfo(t) for t in types]
    a = RNG.integers(limits[0].min, limits[0].max, (2, 4, inner), endpoint=True).astype(types[0])
    b = RNG.integers(limits[1].min, limits[1].max, (inner, 5), endpoint=True).astype(types[1])
    a_zero, b_zero = np.array(limits[0].max, types[0]), np.array(limits[1].min, types[1])
    wide = a.astype(np.int64), b.astype(np.int64)
    np.testing.assert_array_equal(run_ours("matmul_integer", a, b)[0], wide[0] @ wide[1])
    (y,) = run_ours("matmul_integer", a, b, a_zero, b_zero)
    np.testing.assert_array_equal(y, (wide[0] - int(a_zero)) @ (wide[1] - int(b_zero)))
    columns = RNG.integers(0, 100, 5).astype(types[1])
    (y,) = run_ours("matmul_integer", a, b, None, columns)
    np.testing.assert_array_equal(y, wide[0] @ (wide[1] - columns.astype(np.int64)))
    rows = RNG.integers(0, 100, 4).astype(types[0])
    (y,) = run_ours("matmul_integer", a, b, rows)
    np.testing.assert_array_equal(y, (wide[0] - rows.astype(np.int64)[:, None]) @ wide[1])
    np.testing.assert_array_equal(run_ours("matmul_integer", a, b, rows.reshape(1, 4, 1).repeat(2, 0))[0], y)


@pytest.mark.parametrize("zero", [(), (1,), (5,)])
def test_matmul_integer_like_ort(zero: tuple[int, ...]) -> None:
    # below 128, where ONNX Runtime's pairs of products fit i16 on every processor
    a, b = RNG.integers(0, 128, (3, 40)).astype(np.uint8), RNG.integers(-128, 127, (40, 5)).astype(np.int8)
    zeros = [np.array(7, np.uint8), RNG.integers(-9, 9, zero).astype(np.int8)]
    expected = run_ort("MatMulInteger", [a, b, *zeros], {})
    np.testing.assert_array_equal(run_ours("matmul_integer", a, b, *zeros)[0], expected[0])


# --- inference ---


def test_symbolic_shapes() -> None:
    assert infer("matmul", tensor("f32", B, S, D), tensor("f32", D, 8)).types[0].shape == (B, S, 8)
    assert infer("matmul", tensor("f32", B, 1, S, D), tensor("f32", 12, D, S)).types[0].shape == (B, 12, S, S)
    inferred = infer("linear", tensor("f32", B, S, 768), tensor("f32", D, 8))
    assert str(inferred.requirements[0].relation) == "768 == D"
    zero = tensor("u8", S)
    inferred = infer("matmul_integer", tensor("u8", B, S, 8), tensor("i8", 8, D), zero, tensor("i8", D))
    assert str(inferred.types[0]) == "i32[B, S, D]"
    assert not inferred.requirements


def test_inner_dims_that_differ_are_named() -> None:
    with pytest.raises(InferFailure, match="inner dims of `matmul` differ: 768 and 512") as failure:
        infer("matmul", tensor("f32", B, 768), tensor("f32", 512, 8))
    assert failure.value.code == "E0312"
    assert failure.value.inputs == (0, 1)


@pytest.mark.parametrize(
    ("name", "types", "code"),
    [
        ("matmul", ["f32 3 4", "f32"], "E0303"),
        ("matmul", ["f32 2 3 4", "f32 3 4 5"], "E0311"),
        ("matmul", ["f32 3 4", "f16 4 5"], "E0302"),
        ("linear", ["f32 3 4", "f32 4 5", "f32 4"], "E0312"),
        ("linear", ["f32 3 4", "f32 4 5", "f32 1 5"], "E0303"),
        ("linear", ["f32 3 4", "f32 2 4 5"], "E0303"),
        ("linear", ["i32 3 4", "i32 4 5"], "E0302"),
        ("matmul_integer", ["i16 3 4", "i8 4 5"], "E0302"),
        ("matmul_integer", ["u8 3 4", "i8 4 5", "i8"], "E0302"),
        ("matmul_integer", ["u8 3 4", "i8 4 5", "u8 5"], "E0312"),
        ("matmul_integer", ["u8 3 4", "i8 4 5", "u8 1 3 1"], "E0303"),
        ("matmul_integer", ["u8 3 4", "i8 4 5", "u8 3 4"], "E0312"),
    ],
)
def test_failures(name: str, types: list[str], code: str) -> None:
    tensors = [tensor(t.split()[0], *map(int, t.split()[1:])) for t in types]
    with pytest.raises(InferFailure) as failure:
        infer(name, *tensors)
    assert failure.value.code == code

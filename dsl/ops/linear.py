"""Matrix products. f16 is multiplied and accumulated in f32 and rounded at the end; integers wrap."""

from __future__ import annotations

from math import prod
from typing import Any

from trtn.dsl.dtypes import FLOATS, NUMBERS
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.normalization import widened

__all__ = ["exact_product", "matrix_product"]

_EXACT_TERMS = 256
"""So many products of differences of 8-bit levels, each below 2^16, have an exact sum in f32 (2^24)."""


def matrix_product(xp: Any, a: Any, b: Any) -> Any:
    """`a @ b` of arrays of one dtype, as an array. One matrix on the right multiplies all rows at once."""
    if a.ndim > 2 and b.ndim == 2:
        rows = xp.matmul(a.reshape(prod(a.shape[:-1]), a.shape[-1]), b)
        return rows.reshape(*a.shape[:-1], b.shape[1])
    return xp.asarray(xp.matmul(a, b))


def exact_product(xp: Any, a: Any, b: Any) -> Any:
    """`a @ b` of f32 arrays whose elements are whole numbers of at most 255 in size, without rounding: as one product
    in f32 as long as that holds the sums, else as several, added up in f64."""
    terms = a.shape[-1]
    if terms <= _EXACT_TERMS:
        return matrix_product(xp, a, b)
    total: Any = 0.0
    for start in range(0, terms, _EXACT_TERMS):
        some = slice(start, start + _EXACT_TERMS)
        total += matrix_product(xp, a[..., some], b[(..., some, slice(None)) if b.ndim > 1 else some]).astype("float64")
    return total


def _product_shape(i: Infer, left: int, right: int) -> Shape:
    """The shape of the product of two inputs by NumPy's rules, which the inputs are held to."""
    i.rank(left, at_least=1)
    i.rank(right, at_least=1)
    a, b = i.shape(left), i.shape(right)
    inner = b[-2] if len(b) > 1 else b[0]
    i.equal(a[-1], inner, f"inner dims of `{i.op.name}` differ", inputs=[left, right])
    batch = i.broadcast_shapes(a[:-2], b[:-2], inputs=[left, right])
    return batch + a[-2:-1] + (b[-1:] if len(b) > 1 else ())


class MatMul(Op):
    """The matrix product over the last two dims, a[.., M, K] @ b[.., K, N] -> [.., M, N].

    Leading dims broadcast. A rank-1 tensor is a row on the left and a column on the right, and leaves no dim.
    """

    signature = "matmul(a: T, b: T) -> T"
    where = {"T": NUMBERS}

    def infer(self, i: Infer) -> Shape:
        return _product_shape(i, 0, 1)

    def evaluate(self, xp: Any, a: Any, b: Any) -> Any:
        return matrix_product(xp, widened(xp, a), widened(xp, b)).astype(a.dtype, copy=False)


class Linear(Op):
    """x @ weight + bias: x[.., in], weight[in, out], bias[out] -> [.., out]."""

    signature = "linear(x: T, weight: T, bias: T?) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, at_least=1)
        i.rank(1, 2)
        shape = _product_shape(i, 0, 1)
        if i.has(2):
            i.rank(2, 1)
            i.equal(
                i.shape(1)[1],
                i.shape(2)[0],
                "outer dims of `weight` and `bias` of `linear` differ",
                inputs=[1, 2],
            )
        return shape

    def evaluate(self, xp: Any, x: Any, weight: Any, bias: Any) -> Any:
        y = matrix_product(xp, widened(xp, x), widened(xp, weight))
        if bias is not None:
            y += bias
        return y.astype(x.dtype, copy=False)


class MatMulInteger(Op):
    """The matrix product of 8-bit integers less their zero points, in i32: (a - a_zero) @ (b - b_zero).

    A zero point is a scalar, or one number for each row of a (each column of b): of shape [M] ([N]), or of
    the operand's rank with 1 for the inner dim. It has the dtype of its operand.
    """

    signature = "matmul_integer(a: i8|u8, b: i8|u8, a_zero: any?, b_zero: any?) -> i32"

    def infer(self, i: Infer) -> Shape:
        for index in (2, 3):
            if i.has(index):
                _check_zero_point(i, index - 2, index)
        return _product_shape(i, 0, 1)

    def evaluate(self, xp: Any, a: Any, b: Any, a_zero: Any, b_zero: Any) -> Any:
        # Exact float products are much faster than integer ones.
        a, b = a.astype(xp.float32), b.astype(xp.float32)
        if a_zero is not None:
            a -= a_zero.reshape(-1, 1) if a_zero.ndim == 1 and a_zero.size > 1 else a_zero
        if b_zero is not None:
            b -= b_zero
        return exact_product(xp, a, b).astype(xp.int64).astype(xp.int32)


def _check_zero_point(i: Infer, operand: int, index: int) -> None:
    name, other = i.input_name(index), i.input_name(operand)
    if i.dtype(index) is not i.dtype(operand):
        i.fail(
            "E0302",
            f"`{name}` of `{i.op.name}` is {i.dtype(index)} and must be {i.dtype(operand)}, as `{other}` is",
            inputs=[operand, index],
        )
    shape, zero = i.shape(operand), i.shape(index)
    outer = -2 if operand == 0 else -1
    if len(zero) == 0 or zero == (1,):
        return
    message = f"`{name}` of `{i.op.name}` does not fit `{other}`"
    if len(zero) == 1 and len(shape) > 1:
        i.equal(zero[0], shape[outer], message, inputs=[operand, index])
        return
    if len(zero) != len(shape):
        i.fail("E0303", f"{message}: its rank is {len(zero)}, not 0, 1 or {len(shape)}", inputs=[operand, index])
    for n, (a, b) in enumerate(zip(zero, shape, strict=True), -len(shape)):
        i.equal(a, 1 if n in (-1, -2) and n != outer else b, message, inputs=[operand, index])

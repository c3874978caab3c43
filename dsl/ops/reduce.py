"""Reductions over axes: sums, means, extremes, norms. f16 is accumulated in f32, integer means in i64."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from trtn.dsl.dims import Dim, dim_max, dim_min, product
from trtn.dsl.dtypes import BOOL
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op, find_op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.pointwise import FLOATS, NUMBERS
from trtn.dsl.ops.sizes import list_length, one_way

__all__ = ["reduced_shape"]


def reduced_shape(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    """`shape` without `axes`, or with 1 in their place."""
    if keepdims:
        return tuple(1 if n in axes else d for n, d in enumerate(shape))
    return tuple(d for n, d in enumerate(shape) if n not in axes)


class Reduction(Op):
    """One value for all elements along `axes` (all axes where none are given)."""

    where = {"T": NUMBERS}

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        return reduced_shape(shape, i.axes(len(shape)), i["keepdims"])

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        known = i.value(0)
        if known is None or i["axes"] != (0,):
            return None
        result = self.known(known)
        return None if result is None else (result,)

    def known(self, elements: tuple[Dim, ...]) -> Dim | None:
        """The result for known elements, where it is a dim expression."""
        return None

    def evaluate(self, xp: Any, x: Any, *, axes: tuple[int, ...], keepdims: bool) -> Any:
        # Rank 0 is computed as rank 1: NumPy's functions turn rank 0 into scalars.
        operand = xp.atleast_1d(x)
        y = xp.asarray(self.compute(xp, operand, axes, keepdims)).astype(x.dtype, copy=False)
        return y if x.ndim else y.reshape(())

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        """The result, in any dtype that the declared one is then rounded from."""
        raise NotImplementedError(self.name)


def _sum(xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The sum in x's dtype, in f32 for f16."""
    return xp.sum(x, axis=axes, dtype=xp.float32 if x.dtype == xp.float16 else x.dtype, keepdims=keepdims)


def _real(xp: Any, x: Any) -> Any:
    """x in the float dtype that norms and logarithms of it are computed in."""
    if x.dtype.kind != "f":
        return x.astype(xp.float64)
    return x.astype(xp.float32) if x.dtype == xp.float16 else x


class ReduceSum(Reduction):
    """The sum; 0 of nothing. Integers wrap."""

    signature = "reduce_sum(x: T, *, axes: ints?, keepdims: bool = false) -> T"

    def known(self, elements: tuple[Dim, ...]) -> Dim:
        total: Dim = 0
        for element in elements:
            total = total + element
        return total

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        return _sum(xp, x, axes, keepdims)


class ReduceMean(Reduction):
    """The arithmetic mean; NaN of nothing. Integers: its fraction cut off."""

    signature = "reduce_mean(x: T, *, axes: ints?, keepdims: bool = false) -> T"

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        count = prod(x.shape[a] for a in axes)
        if x.dtype.kind == "f":
            total = _sum(xp, x, axes, keepdims)
            return total / xp.asarray(count, total.dtype)
        wide = xp.uint64 if x.dtype.kind == "u" else xp.int64
        total = xp.sum(x, axis=axes, dtype=wide, keepdims=keepdims)
        quotient = xp.abs(total) // xp.asarray(max(count, 1), total.dtype)
        return xp.where(total < 0, -quotient, quotient) if x.dtype.kind == "i" else quotient


class Extreme(Reduction):
    """The greatest or the least element."""

    where = {"T": (*NUMBERS, BOOL)}
    function: ClassVar[str]

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        if all(x.shape[a] for a in axes):
            return getattr(xp, self.function)(x, axis=axes, keepdims=keepdims)
        shape = reduced_shape(x.shape, axes, keepdims)
        return xp.full(shape, _of_nothing(xp, x.dtype, self.function), x.dtype)


def _of_nothing(xp: Any, dtype: Any, function: str) -> Any:
    """The value that no element of a dtype is beyond."""
    greatest = function == "min"
    if dtype.kind == "f":
        return float("inf") if greatest else float("-inf")
    if dtype.kind == "b":
        return greatest
    return xp.iinfo(dtype).max if greatest else xp.iinfo(dtype).min


class ReduceMax(Extreme):
    """The greatest element; of nothing the least value of the dtype. NaN wins."""

    signature = "reduce_max(x: T, *, axes: ints?, keepdims: bool = false) -> T"
    function = "max"

    def known(self, elements: tuple[Dim, ...]) -> Dim | None:
        return dim_max(*elements) if elements else None


class ReduceMin(Extreme):
    """The least element; of nothing the greatest value of the dtype. NaN wins."""

    signature = "reduce_min(x: T, *, axes: ints?, keepdims: bool = false) -> T"
    function = "min"

    def known(self, elements: tuple[Dim, ...]) -> Dim | None:
        return dim_min(*elements) if elements else None


class ReduceProd(Reduction):
    """The product; 1 of nothing. Integers wrap."""

    signature = "reduce_prod(x: T, *, axes: ints?, keepdims: bool = false) -> T"

    def known(self, elements: tuple[Dim, ...]) -> Dim:
        return product(elements)

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        dtype = xp.float32 if x.dtype == xp.float16 else x.dtype
        return xp.prod(x, axis=axes, dtype=dtype, keepdims=keepdims)


class ReduceL1(Reduction):
    """The sum of the absolute values."""

    signature = "reduce_l1(x: T, *, axes: ints?, keepdims: bool = false) -> T"

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        return _sum(xp, xp.abs(x), axes, keepdims)


class ReduceL2(Reduction):
    """The square root of the sum of the squares."""

    signature = "reduce_l2(x: T, *, axes: ints?, keepdims: bool = false) -> T"

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        return xp.sqrt(_sum(xp, xp.square(_real(xp, x)), axes, keepdims))


class ReduceSumSquare(Reduction):
    """The sum of the squares."""

    signature = "reduce_sum_square(x: T, *, axes: ints?, keepdims: bool = false) -> T"

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        return _sum(xp, xp.square(x if x.dtype.kind != "f" else _real(xp, x)), axes, keepdims)


class ReduceLogSum(Reduction):
    """The logarithm of the sum; -inf of nothing."""

    signature = "reduce_log_sum(x: T, *, axes: ints?, keepdims: bool = false) -> T"

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        return xp.log(_sum(xp, _real(xp, x), axes, keepdims))


class ReduceLogSumExp(Reduction):
    """The logarithm of the sum of the exponentials: m + log(sum(exp(x - m))) with m the greatest element.

    -inf of nothing.
    """

    signature = "reduce_log_sum_exp(x: T, *, axes: ints?, keepdims: bool = false) -> T"

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        x = _real(xp, x)
        if not all(x.shape[a] for a in axes):
            return xp.full(reduced_shape(x.shape, axes, keepdims), float("-inf"), x.dtype)
        greatest = xp.max(x, axis=axes, keepdims=True)
        greatest[~xp.isfinite(greatest)] = 0  # inf - inf is NaN
        t = xp.subtract(x, greatest)
        xp.exp(t, out=t)
        total = xp.log(xp.sum(t, axis=axes, keepdims=True)) + greatest
        return total.reshape(reduced_shape(x.shape, axes, keepdims))


class ReduceBy(Op):
    """A reduction over axes that are computed: `axes` lists them, each once, and only their number is known before.

    "sum" is `reduce_sum`, and so on; over no axes at all it is that of each element alone.
    """

    signature = (
        'reduce_by(x: T, axes: i32|i64, *, function: "sum" | "mean" | "max" | "min" | "prod" | "l1" | "l2" | "log_sum"'
        ' | "log_sum_exp" | "sum_square", keepdims: bool = false) -> T'
    )
    where = {"T": (*NUMBERS, BOOL)}

    def infer(self, i: Infer) -> Shape:
        shape, count = i.shape(0), list_length(i, 1)
        rank = len(shape)
        function = self._function(i["function"])
        if i.dtype(0) not in function.dtypes("T"):
            i.fail("E0302", f"`x` of `{function.name}` can't be {i.dtype(0)}", inputs=[0])
        if count > rank:
            i.fail("E0304", f"`axes` of `reduce_by` are {count}, but the rank is {rank}", inputs=[1])
        known = i.value(1)
        if known is not None and all(isinstance(a, int) for a in known):
            axes = tuple(i.axis(rank, "axes", value=a) for a in known if isinstance(a, int))
            return reduced_shape(shape, axes, i["keepdims"])
        if i["keepdims"]:
            return tuple(1 if count == rank else self._between(i, (1, d)) for d in shape)
        return tuple(self._between(i, shape[n : n + count + 1]) for n in range(rank - count))

    def _function(self, name: str) -> Reduction:
        found = find_op(f"reduce_{name}")
        assert isinstance(found, Reduction), name
        return found

    def _between(self, i: Infer, dims: Shape) -> Dim:
        """A dim that is one of several."""
        return dims[0] if len(set(dims)) == 1 else i.fresh(dim_min(*dims), dim_max(*dims))

    def evaluate(self, xp: Any, x: Any, axes: Any, *, function: str, keepdims: bool) -> Any:
        places = tuple(int(a) % x.ndim for a in axes)
        return self._function(function).evaluate(xp, x, axes=places, keepdims=keepdims)


class Running(Op):
    """The reduction of the elements up to and including each one along `axis`, or along the axis in `along`."""

    where = {"T": NUMBERS}
    function: ClassVar[str]
    start: ClassVar[int]

    def infer(self, i: Infer) -> Shape:
        rank = i.rank(0, at_least=1)
        if one_way(i, 1, "axis"):
            i.axis(rank)
        else:
            i.require("==", product(i.shape(1)), 1, f"`along` of `{self.name}` has one element", inputs=[1])
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, along: Any, *, axis: int | None, exclusive: bool, reverse: bool) -> Any:
        axis = int(along.reshape(())) % x.ndim if axis is None else axis
        if reverse:
            x = xp.flip(x, axis)
        total = getattr(xp, self.function)(x, axis=axis, dtype=xp.float32 if x.dtype == xp.float16 else x.dtype)
        y = total.astype(x.dtype, copy=False)
        if exclusive:
            lead = (slice(None),) * axis
            shifted = xp.full_like(y, self.start)
            shifted[(*lead, slice(1, None))] = y[(*lead, slice(None, -1))]
            y = shifted
        return xp.flip(y, axis) if reverse else y


class CumSum(Running):
    """The sum of the elements up to and including each one along `axis`, or along the axis in the scalar `along`.

    `exclusive`: not including it, so the first is 0. `reverse`: from the end. f16 is accumulated in f32.
    """

    signature = "cumsum(x: T, along: i32|i64?, *, axis: int?, exclusive: bool = false, reverse: bool = false) -> T"
    function = "cumsum"
    start = 0


class CumProd(Running):
    """The product of the elements up to and including each one along `axis`, or along the axis in the scalar `along`.

    `exclusive`: not including it, so the first is 1. `reverse`: from the end. f16 is accumulated in f32.
    """

    signature = "cumprod(x: T, along: i32|i64?, *, axis: int?, exclusive: bool = false, reverse: bool = false) -> T"
    function = "cumprod"
    start = 1


class MaskedMean(Op):
    """The mean along `axis` over the positions where the mask is true; 0 where it is true nowhere.

    x: T[.., S, ..] with S at `axis`, mask: bool[.., S], the dims of x up to and including `axis`. What x
    holds where the mask is false has no influence, NaN included. f16 is accumulated in f32.
    """

    signature = "masked_mean(x: T, mask: bool, *, axis: int) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        axis = i.axis(i.rank(0, at_least=1))
        i.rank(1, axis + 1)
        for n, (a, b) in enumerate(zip(shape, i.shape(1), strict=False)):
            i.equal(a, b, f"dim {n} of `x` and `mask` of `masked_mean` differ", inputs=[0, 1])
        return reduced_shape(shape, (axis,), keepdims=False)

    def evaluate(self, xp: Any, x: Any, mask: Any, *, axis: int) -> Any:
        work = xp.float32 if x.dtype == xp.float16 else x.dtype
        trailing = (1,) * (x.ndim - mask.ndim)
        kept = xp.where(mask.reshape(mask.shape + trailing), x, xp.zeros((), x.dtype))
        count = xp.maximum(xp.sum(mask, axis=axis, dtype=xp.int64), 1).astype(work)
        mean = xp.sum(kept, axis=axis, dtype=work) / count.reshape(count.shape + trailing)
        return xp.asarray(mean).astype(x.dtype, copy=False)

"""Ops that make tensors from sizes, positions or conditions: dims, range, fill, one_hot, eye_like, trilu,
nonzero.
"""

from __future__ import annotations

from math import ceil, isfinite
from typing import Any

from trtn.dsl.dims import Dim, ceildiv, dim_max, product
from trtn.dsl.dtypes import INTS, NUMBERS, DType
from trtn.dsl.network import Shape, TensorType
from trtn.dsl.ops.arrays import filled
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.sizes import UNBOUNDED, list_length, not_negative, sign_of, told

__all__ = ["Dims", "EyeLike", "Fill", "Nonzero", "OneHot", "Range", "Trilu"]


class Dims(Op):
    """Dim expressions as a tensor of rank 1 (rank 0 with one value where `scalar`): what ONNX computes with
    Shape, Gather, Mul..
    """

    signature = "dims(*, values: dims, dtype: dtype = i64, scalar: bool = false) -> dtype"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        values = i["values"]
        if i["dtype"] not in INTS:
            i.fail("E0304", f"`dtype` of `dims` is an integer type, not {i['dtype']}", attr="dtype")
        if i["scalar"] and len(values) != 1:
            i.fail("E0304", f"a scalar of `dims` has one value, not {len(values)}", attr="values")
        return () if i["scalar"] else (len(values),)

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return tuple(i["values"])

    def evaluate(self, xp: Any, *, values: Any, dtype: DType, scalar: bool) -> Any:
        return xp.asarray(values[0] if scalar else values, dtype=dtype.numpy)


class Range(Op):
    """first, first + step, .. up to but without `end`: max(0, ceil((end - first) / step)) elements.

    From dims (`first`, `end`, `step`, as `dtype`), or from three scalar tensors, whose dtype the result then
    has (ONNX Range).
    """

    signature = (
        "range(start: T?, limit: T?, delta: T?, *,"
        " first: dim = 0, end: dim?, step: dim = 1, dtype: dtype = i64) -> dtype"
    )
    where = {"T": NUMBERS}
    native_low_precision = True

    def infer(self, i: Infer) -> list[Shape | TensorType]:
        tensors = [n for n in range(3) if i.has(n)]
        if tensors and len(tensors) < 3:
            i.fail("E0207", "`range` takes all of `start`, `limit` and `delta`, or none", inputs=tensors)
        if bool(tensors) == (i["end"] is not None):
            i.fail(
                "E0207",
                "`range` takes either `end` or the tensors `start`, `limit` and `delta`",
                inputs=tensors,
            )
        for n in tensors:
            if product(i.shape(n)) != 1:
                i.fail("E0303", f"`{i.input_name(n)}` of `range` is a scalar, not {i.tensor(n).type}", inputs=[n])
        if tensors:
            i.attrs["dtype"] = i.dtype(0)
        bounds = self._bounds(i)
        return [TensorType(i["dtype"], (i.fresh(0, UNBOUNDED) if bounds is None else self._length(i, *bounds),))]

    def _bounds(self, i: Infer) -> tuple[Dim, Dim, Dim] | None:
        if not i.has(0):
            return i["first"], i["end"], i["step"]
        known = [i.value(n) for n in range(3)]
        start, limit, delta = (k[0] if k else None for k in known)
        return None if start is None or limit is None or delta is None else (start, limit, delta)

    def _length(self, i: Infer, first: Dim, end: Dim, step: Dim) -> Dim:
        if not isinstance(step, int):
            i.require(">", step, 0, "a symbolic step of `range` is not positive")
        elif step == 0:
            i.fail(
                "E0304",
                "the step of `range` is 0",
                attr=None if i.has(0) else "step",
                inputs=[2] if i.has(0) else [],
            )
        forward = not isinstance(step, int) or step > 0
        span = end - first if forward else first - end
        if sign_of(span) <= 0:
            span = dim_max(span, 0)
        return ceildiv(span, step if forward else -step)

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        bounds = self._bounds(i)
        if bounds is None:
            return None
        first, end, step = bounds
        span = end - first
        if not isinstance(span, int) or not isinstance(step, int):
            return None
        return tuple(first + offset for offset in range(0, span, step))

    def evaluate(
        self,
        xp: Any,
        start: Any,
        limit: Any,
        delta: Any,
        *,
        first: int,
        end: int | None,
        step: int,
        dtype: DType,
    ) -> Any:
        if start is None:
            return xp.arange(first, end, step).astype(dtype.numpy)
        begin, stop, by = (x.reshape(()).item() for x in (start, limit, delta))
        count = -((begin - stop) // by) if isinstance(by, int) else ceil((stop - begin) / by)
        return (begin + xp.arange(max(0, count)) * by).astype(dtype.numpy)


class Fill(Op):
    """A tensor of one `value` everywhere, of the given `shape` (or that of the rank-1 tensor `to`). ONNX
    ConstantOfShape.
    """

    signature = "fill(to: i64?, *, shape: dims?, value: float = 0.0, dtype: dtype = f32) -> dtype"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        if not i["dtype"].is_float and not isfinite(i["value"]):
            i.fail("E0304", f"no {i['dtype']} is {i['value']}", attr="value")
        sizes = told(i, 0, "shape")
        if sizes is None:
            return tuple(i.fresh(0, UNBOUNDED) for _ in range(list_length(i, 0)))
        not_negative(i, sizes)
        return sizes

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        sizes = i["shape"] if i["shape"] is not None else i.value(0)
        count = product(sizes or ())
        return (int(i["value"]),) * count if sizes is not None and isinstance(count, int) else None

    def evaluate(self, xp: Any, to: Any, *, shape: Any, value: float, dtype: DType) -> Any:
        sizes = tuple(int(d) for d in (shape if to is None else to))
        return filled(xp, sizes, value if dtype.is_float else int(value), dtype.numpy)


class OneHot(Op):
    """values[1] where the new axis's position is the index, values[0] elsewhere. The new axis has `size`
    positions (or `depth`'s).

    Indices in [-size, -1] count from the end; those outside [-size, size - 1] give rows of values[0]. ONNX
    OneHot.
    """

    signature = "one_hot(indices: U, depth: V?, values: T, *, size: dim?, axis: int = -1) -> T"
    where = {"U": NUMBERS, "V": NUMBERS}

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        axis = i.axis(len(shape) + 1)
        if i.shape(2) != (2,):
            i.fail("E0303", f"`values` of `one_hot` are two, off and on, not {i.tensor(2).type}", inputs=[2])
        if (i["size"] is not None) == i.has(1):
            i.fail("E0207", "`one_hot` takes either `size` or the tensor `depth`", inputs=[1] if i.has(1) else [])
        if i["size"] is not None:
            size = i["size"]
        else:
            known = i.value(1)
            size = known[0] if known else i.fresh(0, UNBOUNDED)
        not_negative(i, [size])
        return (*shape[:axis], size, *shape[axis:])

    def evaluate(self, xp: Any, indices: Any, depth: Any, values: Any, *, size: int | None, axis: int) -> Any:
        count = int(depth.reshape(()).item()) if size is None else size
        places = indices.astype("int64")
        places = xp.expand_dims(xp.where(places < 0, places + count, places), axis)
        along = xp.arange(count).reshape((count,) + (1,) * (indices.ndim - axis))
        return xp.where(places == along, values[1], values[0])


class Trilu(Op):
    """The upper (or lower) triangle of the matrices in the last two axes; the rest is 0. `k` moves the
    diagonal (np.triu, np.tril).
    """

    signature = "trilu(x: T, *, upper: bool = true, k: int = 0) -> T"

    def infer(self, i: Infer) -> Shape:
        i.rank(0, at_least=2)
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, *, upper: bool, k: int) -> Any:
        return (xp.triu if upper else xp.tril)(x, k)


class EyeLike(Op):
    """Ones on the k-th diagonal of a matrix of the shape of x, zeros elsewhere; of x's dtype unless `dtype`
    is given.
    """

    signature = "eye_like(x: T, *, k: int = 0, dtype: dtype?) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> list[Shape | TensorType]:
        i.rank(0, 2)
        return [TensorType(i["dtype"] or i.dtype(0), i.shape(0))]

    def evaluate(self, xp: Any, x: Any, *, k: int, dtype: DType | None) -> Any:
        return xp.eye(*x.shape, k=k, dtype=x.dtype if dtype is None else dtype.numpy)


class Nonzero(Op):
    """The positions of the elements that are not 0 (not false): i64[rank, K] with K data-dependent, in
    row-major order.
    """

    signature = "nonzero(x: T) -> i64"

    def infer(self, i: Infer) -> Shape:
        rank = i.rank(0, at_least=1)
        return rank, i.fresh(0, product(i.shape(0)))

    def evaluate(self, xp: Any, x: Any) -> Any:
        return xp.stack(xp.nonzero(x)).astype("int64", copy=False)

"""Ranking along an axis: where the extremes are, and the first k in order."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

from trtn.dsl.dims import Dim, product
from trtn.dsl.network import Shape, TensorType
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.pointwise import NUMBERS
from trtn.dsl.ops.reduce import reduced_shape

__all__: list[str] = []


class ArgExtreme(Op):
    """The index of an extreme along `axis`."""

    where = {"T": NUMBERS}
    function: ClassVar[str]

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        axis = i.axis(i.rank(0, at_least=1))
        i.require(">=", shape[axis], 1, f"dim {axis} of `x` of `{self.name}` may not be empty", inputs=[0])
        return reduced_shape(shape, (axis,), i["keepdims"])

    def evaluate(self, xp: Any, x: Any, *, axis: int, keepdims: bool, last: bool) -> Any:
        operand = xp.flip(x, axis) if last else x
        index = xp.asarray(getattr(xp, self.function)(operand, axis=axis)).astype(xp.int64, copy=False)
        if last:
            index = xp.asarray(x.shape[axis] - 1 - index)
        return xp.expand_dims(index, axis) if keepdims else index


class ArgMax(ArgExtreme):
    """The index of the greatest element along `axis`: of several the first, with `last` the last."""

    signature = "arg_max(x: T, *, axis: int = 0, keepdims: bool = false, last: bool = false) -> i64"
    function = "argmax"


class ArgMin(ArgExtreme):
    """The index of the least element along `axis`: of several the first, with `last` the last."""

    signature = "arg_min(x: T, *, axis: int = 0, keepdims: bool = false, last: bool = false) -> i64"
    function = "argmin"


class TopK(Op):
    """The k greatest elements along `axis` (least, where `largest` is false), in order, and their indices.

    k is the attribute, or the one element of `count`; it must not be above the dim. Among equal elements the
    one with the lower index comes first. The results are in order without `sorted`, too.
    """

    signature = (
        "top_k(x: T, count: i64?, *, k: dim?, axis: int = -1, largest: bool = true, sorted: bool = true)"
        " -> (values: T, indices: i64)"
    )
    where = {"T": NUMBERS}

    def infer(self, i: Infer) -> list[Shape | TensorType]:
        shape = list(i.shape(0))
        axis = i.axis(i.rank(0, at_least=1))
        if i.has(1) == (i["k"] is not None):
            i.fail("E0304", "`top_k` takes either `k` or the tensor `count`", attr="k" if i.has(1) else None)
        k: Dim | None = i["k"]
        if i.has(1):
            known = i.value(1)
            i.rank(1, 0, 1)
            i.require("==", product(i.shape(1)), 1, "`count` of `top_k` has one element", inputs=[1])
            k = known[0] if known else None
        if k is None:
            k = i.fresh(0, shape[axis])
        else:
            i.require("<=", k, shape[axis], f"`k` of `top_k` and dim {axis} of `x`", inputs=[0])
            i.require(">=", k, 0, "`k` of `top_k`")
        shape[axis] = k
        return [tuple(shape), tuple(shape)]

    def evaluate(
        self,
        xp: Any,
        x: Any,
        count: Any,
        *,
        k: int | None,
        axis: int,
        largest: bool,
        sorted: bool,  # noqa: A002
    ) -> tuple[Any, Any]:
        k = int(count.reshape(())) if k is None else k
        rows = xp.moveaxis(x, axis, -1)
        indices = _best(xp, rows, k, largest)
        values = xp.take_along_axis(rows, indices, -1)
        return xp.moveaxis(values, -1, axis), xp.moveaxis(indices, -1, axis).astype(xp.int64, copy=False)


def _best(xp: Any, rows: Any, k: int, largest: bool) -> Any:
    """Indices of the k best elements along the last axis, the best first."""
    n = rows.shape[-1]
    if k == 0 or rows.size == 0:
        return xp.zeros((*rows.shape[:-1], k), xp.int64)
    if 8 * k <= n:
        candidates = _candidates(xp, rows, k, largest)
        if candidates is not None:
            order = _order(xp, xp.take_along_axis(rows, candidates, -1), largest)
            return xp.take_along_axis(candidates, order, -1)
    return _order(xp, rows, largest)[..., :k]


def _order(xp: Any, rows: Any, largest: bool) -> Any:
    """Indices that sort along the last axis, stable."""
    if not largest:
        return xp.argsort(rows, axis=-1, kind="stable")
    return rows.shape[-1] - 1 - xp.argsort(rows[..., ::-1], axis=-1, kind="stable")[..., ::-1]


def _candidates(xp: Any, rows: Any, k: int, largest: bool) -> Any:
    """Indices of the k best elements along the last axis, rising; None where NaN spoils the comparison.

    One pass finds the worst of the k: what is better is in, and of what equals it the first, up to k in all.
    """
    at = rows.shape[-1] - k if largest else k - 1
    edge = xp.partition(rows, at, axis=-1)[..., at : at + 1]
    chosen = ~(rows <= edge) if largest else rows < edge  # NaN is the greatest
    equal = rows == edge
    missing = k - xp.count_nonzero(chosen, axis=-1)[..., None]
    equal &= xp.cumsum(equal, axis=-1) <= missing
    chosen |= equal
    columns = xp.nonzero(chosen.reshape(-1, rows.shape[-1]))[1]
    lead = rows.shape[:-1]
    return columns.reshape(*lead, k) if columns.size == prod(lead) * k else None

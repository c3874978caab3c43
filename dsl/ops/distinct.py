"""The distinct elements of a tensor."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import dim_min, product
from trtn.dsl.dtypes import BOOL, NUMBERS
from trtn.dsl.network import Shape, TensorType
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer

__all__: list[str] = []


class Unique(Op):
    """The distinct elements of x (slices along `axis`, where it is given), once each.

    They come sorted, or with `sorted` false in the order of their first places. `first` are those places, `inverse`
    says for each element of x which one of y it is, `counts` how often each one is there. ONNX Unique.
    """

    signature = "unique(x: T, *, axis: int?, sorted: bool = true) -> (y: T, first: i64, inverse: i64, counts: i64)"
    where = {"T": (*NUMBERS, BOOL)}

    def infer(self, i: Infer) -> list[Shape | TensorType]:
        shape = i.shape(0)
        if i["axis"] is None:
            count = product(shape)
            kept = i.fresh(dim_min(count, 1), count)
            return [(kept,), (kept,), (count,), (kept,)]
        axis = i.axis(i.rank(0, at_least=1))
        kept = i.fresh(dim_min(shape[axis], 1), shape[axis])
        return [(*shape[:axis], kept, *shape[axis + 1 :]), (kept,), (shape[axis],), (kept,)]

    def evaluate(self, xp: Any, x: Any, *, axis: int | None, sorted: bool) -> tuple[Any, ...]:  # noqa: A002
        y, first, inverse, counts = xp.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
        inverse = inverse.reshape(-1)
        if not sorted:
            order = xp.argsort(first, kind="stable")
            y = xp.take(y, order, axis=axis or 0)
            first, counts, inverse = first[order], counts[order], xp.argsort(order)[inverse]
        return y, first.astype("int64"), inverse.astype("int64"), counts.astype("int64")

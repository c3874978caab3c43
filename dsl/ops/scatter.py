"""Ops that write elements by index into a copy: scatter_elements, scatter_nd."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.gather import batch_index, index_depth
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.sizes import sign_of

__all__ = ["ScatterElements", "ScatterNd"]

_UFUNCS = {"add": "add", "mul": "multiply", "max": "maximum", "min": "minimum"}


def _combine(xp: Any, x: Any, index: tuple[Any, ...], updates: Any, reduction: str) -> Any:
    """A copy of x with the updates put in or reduced in, each in turn where several go to one place."""
    y = x.copy()
    if reduction == "none":
        y[index] = updates
    else:
        getattr(xp, _UFUNCS[reduction]).at(y, index, updates)
    return y


class ScatterElements(Op):
    """A copy of x with y[.., indices[.., j, ..], ..] = updates[.., j, ..], the index on `axis`; or
    `reduction` of old and new.

    `indices` and `updates` have one shape, of the rank of x. Where places repeat without a reduction, one of
    the updates wins. ONNX ScatterElements.
    """

    signature = (
        "scatter_elements(x: T, indices: i32|i64, updates: T, *, axis: int = 0,"
        ' reduction: "none" | "add" | "mul" | "max" | "min" = "none") -> T'
    )

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        rank = i.rank(0, at_least=1)
        i.rank(1, rank)
        axis = i.axis(rank)
        for n, part in enumerate(i.same_shape(1, 2)):
            if n != axis and sign_of(shape[n] - part) <= 0:
                i.require(
                    "<=",
                    part,
                    shape[n],
                    f"`indices` of `scatter_elements` are larger than x in dim {n}",
                    inputs=[0, 1],
                )
        return shape

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return _scattered(i)

    def evaluate(self, xp: Any, x: Any, indices: Any, updates: Any, *, axis: int, reduction: str) -> Any:
        rank = x.ndim
        grid: list[Any] = [xp.arange(d).reshape((d,) + (1,) * (rank - n - 1)) for n, d in enumerate(indices.shape)]
        grid[axis] = indices
        return _combine(xp, x, tuple(grid), updates, reduction)


class ScatterNd(Op):
    """A copy of x with the slices at the positions that the last axis of `indices` spells out replaced by (or
    reduced with) updates.

    indices [.., M], updates indices.shape[:-1] + x.shape[M:]. ONNX ScatterND.
    """

    signature = (
        "scatter_nd(x: T, indices: i32|i64, updates: T, *,"
        ' reduction: "none" | "add" | "mul" | "max" | "min" = "none") -> T'
    )

    def infer(self, i: Infer) -> Shape:
        shape, at, updates = i.shape(0), i.shape(1), i.shape(2)
        depth = index_depth(i, len(shape))
        wanted = (*at[:-1], *shape[depth:])
        i.rank(2, len(wanted))
        for n, (a, b) in enumerate(zip(wanted, updates, strict=True)):
            i.equal(a, b, f"`updates` of `scatter_nd` don't fit x and `indices` in dim {n}", inputs=[2, 0, 1])
        return shape

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return _scattered(i)

    def evaluate(self, xp: Any, x: Any, indices: Any, updates: Any, *, reduction: str) -> Any:
        return _combine(xp, x, batch_index(xp, indices), updates, reduction)


def _scattered(i: Infer) -> tuple[Dim, ...] | None:
    """Known elements of a rank-1 x, replaced at known places (their indices and updates are followed up to
    rank 1).
    """
    known, places, updates = i.value(0), i.value(1), i.value(2)
    if known is None or places is None or updates is None or i["reduction"] != "none" or len(places) != len(updates):
        return None
    out = list(known)
    for place, update in zip(places, updates, strict=True):
        if not isinstance(place, int) or not -len(out) <= place < len(out):
            return None
        out[place] = update
    return tuple(out)

"""Ops that pick elements by index: gather, embedding, gather_elements, gather_nd, compress."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim, dim_min, product
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.sizes import sign_of

__all__ = [
    "Compress",
    "Embedding",
    "Gather",
    "GatherElements",
    "GatherNd",
    "batch_index",
    "index_depth",
    "match_prefix",
]


class Gather(Op):
    """Slices of x along `axis`, picked by `indices`: x.shape[:axis] + indices.shape + x.shape[axis + 1:].
    ONNX Gather.

    Negative indices count from the end; indices outside [-d, d - 1] are an error when run.
    """

    signature = "gather(x: T, indices: i32|i64, *, axis: int = 0) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        axis = i.axis(i.rank(0, at_least=1))
        _known_in_range(i, shape[axis])
        return (*shape[:axis], *i.shape(1), *shape[axis + 1 :])

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        known, picks = i.value(0), i.value(1)
        if known is None or picks is None or not all(isinstance(p, int) for p in picks):
            return None
        return tuple(known[p] for p in picks if isinstance(p, int))

    def evaluate(self, xp: Any, x: Any, indices: Any, *, axis: int) -> Any:
        return xp.take(x, indices, axis=axis)


def _known_in_range(i: Infer, size: Dim) -> None:
    """Demand that constant indices don't miss the axis."""
    picks = [pick for pick in i.value(1) or () if isinstance(pick, int)]
    farthest = max(picks, key=_least_size, default=None)
    if farthest is None:
        return
    if not isinstance(size, int):
        message = f"index {farthest} of `{i.op.name}` is outside its axis"
        i.require(">=", size, _least_size(farthest), message, inputs=[1, 0])
    elif size < _least_size(farthest):
        message = f"index {farthest} of `{i.op.name}` is outside the {size} elements of its axis"
        i.fail("E0313", message, inputs=[1, 0])


def _least_size(index: int) -> int:
    """The size from which on an axis has this index."""
    return index + 1 if index >= 0 else -index


class Embedding(Op):
    """Rows of a table [V, D], one for each id: ids.shape + [D]. Ids outside [-V, V - 1] are an error when
    run.
    """

    signature = "embedding(ids: i32|i64, table: T) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        i.rank(1, 2)
        return (*i.shape(0), i.shape(1)[1])

    def evaluate(self, xp: Any, ids: Any, table: Any) -> Any:
        return xp.take(table, ids, axis=0)


class GatherElements(Op):
    """y[.., j, ..] = x[.., indices[.., j, ..], ..] with the index on `axis`; the result has the shape of
    `indices`.

    x and `indices` have the same rank; off the axis, `indices` is at most as large as x. ONNX GatherElements.
    """

    signature = "gather_elements(x: T, indices: i32|i64, *, axis: int = 0) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        shape, picked = i.shape(0), i.shape(1)
        rank = i.rank(0, at_least=1)
        i.rank(1, rank)
        axis = i.axis(rank)
        _known_in_range(i, shape[axis])
        for n, (whole, part) in enumerate(zip(shape, picked, strict=True)):
            if n != axis and sign_of(whole - part) <= 0:
                i.require(
                    "<=",
                    part,
                    whole,
                    f"`indices` of `gather_elements` are larger than x in dim {n}",
                    inputs=[0, 1],
                )
        return picked

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        known, picks = i.value(0), i.value(1)
        if known is None or picks is None or not all(isinstance(p, int) for p in picks):
            return None
        return tuple(known[p] for p in picks if isinstance(p, int))

    def evaluate(self, xp: Any, x: Any, indices: Any, *, axis: int) -> Any:
        cut = tuple(slice(None) if n == axis else slice(d) for n, d in enumerate(indices.shape))
        return xp.take_along_axis(x[cut], indices, axis=axis)


class GatherNd(Op):
    """Slices of x at the positions that the last axis of `indices` spells out; the first `batch_dims` axes
    are walked together.

    indices [.., M] -> indices.shape[:-1] + x.shape[batch_dims + M:]. ONNX GatherND.
    """

    signature = "gather_nd(x: T, indices: i32|i64, *, batch_dims: int = 0) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        shape, at = i.shape(0), i.shape(1)
        batch = i["batch_dims"]
        depth = index_depth(i, len(shape) - batch)
        if not 0 <= batch < len(at):
            i.fail(
                "E0304",
                f"`batch_dims` of `gather_nd` is {batch}, but `indices` have rank {len(at)}",
                attr="batch_dims",
            )
        return (*match_prefix(i, shape, at, batch), *at[batch:-1], *shape[batch + depth :])

    def evaluate(self, xp: Any, x: Any, indices: Any, *, batch_dims: int) -> Any:
        return x[batch_index(xp, indices, batch_dims)]


class Compress(Op):
    """The slices of x along `axis` (the elements in row-major order, without it) where `condition` [at most
    d] is true. ONNX Compress.
    """

    signature = "compress(x: T, condition: bool, *, axis: int?) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        i.rank(1, 1)
        if i["axis"] is None:
            shape, axis = (product(shape),), 0
        else:
            axis = i.axis(i.rank(0, at_least=1))
        length = i.shape(1)[0]
        if sign_of(shape[axis] - length) <= 0:
            i.require("<=", length, shape[axis], "`condition` of `compress` is longer than the axis", inputs=[0, 1])
        known = i.value(1)
        if known is not None and all(isinstance(k, int) for k in known):
            kept: Dim = sum(1 for k in known if k)
        else:
            kept = i.fresh(0, dim_min(length, shape[axis]))
        return (*shape[:axis], kept, *shape[axis + 1 :])

    def evaluate(self, xp: Any, x: Any, condition: Any, *, axis: int | None) -> Any:
        if axis is None:
            x, axis = x.reshape(-1), 0
        return xp.take(x, xp.nonzero(condition)[0], axis=axis)


def index_depth(i: Infer, most: int) -> int:
    """How many axes the last axis of `indices` (input 1) spells out: a constant from 1 to `most`."""
    i.rank(1, at_least=1)
    depth = i.shape(1)[-1]
    if not isinstance(depth, int) or not 1 <= depth <= most:
        i.fail(
            "E0303",
            f"the last dim of `indices` of `{i.op.name}` is {depth}, not a constant from 1 to {most}",
            inputs=[1, 0],
        )
    return depth


def match_prefix(i: Infer, a: Shape, b: Shape, count: int) -> Shape:
    """The first `count` dims, which two shapes must share."""
    what = f"x and `indices` of `{i.op.name}` differ in batch dim"
    return tuple(i.equal(a[n], b[n], f"{what} {n}", inputs=[0, 1]) for n in range(count))


def batch_index(xp: Any, indices: Any, batch_dims: int = 0) -> tuple[Any, ...]:
    """The subscript that reads (or writes) the positions in the last axis of `indices`."""
    lead = indices.shape[:-1]
    rows = []
    for n in range(batch_dims):
        shape = [1] * len(lead)
        shape[n] = lead[n]
        rows.append(xp.arange(lead[n]).reshape(shape))
    return (*rows, *(indices[..., m] for m in range(indices.shape[-1])))

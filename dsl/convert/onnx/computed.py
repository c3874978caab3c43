"""Ops whose axes, bounds or piece sizes the model computes, spelled with layers that take such numbers as tensors.

What is not known at import are the numbers only, never how many there are: ranks are known throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.registry import refuse
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

__all__ = ["pad_by", "scattered", "slice_by", "split_by", "squeeze_by", "trilu_by", "unsqueeze_by"]

_I64 = BY_NAME["i64"]
_FAR = 2**31 - 1
"""A bound beyond every axis."""


def squeeze_by(n: Call, x: Tensor, axes: Tensor) -> Tensor:
    """x without computed axes: reshaped to the sizes of the others."""
    rank, count = x.rank, _count(axes)
    if count > rank:
        refuse(f"{count} axes of {x.type}")
    kept = _others(n, axes, rank, rank - count)
    to = n.emit("gather", n.dims(x.shape, _I64, part="sizes"), kept, part="shape")
    return n.emit("reshape", x, to)


def unsqueeze_by(n: Call, x: Tensor, axes: Tensor) -> Tensor:
    """x with computed axes of size 1: reshaped to its sizes with ones among them."""
    rank = x.rank + _count(axes)
    kept = _others(n, axes, rank, x.rank)
    sizes = n.dims(x.shape, _I64, part="sizes")
    to = n.emit("scatter_elements", n.constant(np.ones(rank, np.int64)), kept, sizes, part="shape")
    return n.emit("reshape", x, to)


def slice_by(n: Call, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor | None) -> Tensor:
    """x sliced along computed axes: along all, with bounds that take everything of those that are not named."""
    places = _places(n, axes, x.rank)
    whole = {"starts": (starts, 0), "ends": (ends, _FAR), "steps": (steps, 1)}
    bounds = [
        t
        if t is None
        else n.emit(
            "scatter_elements",
            n.constant(np.full(x.rank, rest, np.int64)),
            places,
            n.cast(t, _I64, f"{word}_wide"),
            part=word,
        )
        for word, (t, rest) in whole.items()
    ]
    return n.emit("slice", x, *bounds)


def pad_by(n: Call, x: Tensor, amounts: Tensor, axes: Tensor) -> Tensor:
    """The amounts of padding for all axes of x, from those for computed ones."""
    begins = _places(n, axes, x.rank)
    ends = n.emit("add", begins, n.like(x.rank, begins), part="ends")
    places = n.emit("concat", begins, ends, part="both_ends", axis=0)
    return n.emit("scatter_elements", n.constant(np.zeros(2 * x.rank, np.int64)), places, amounts, part="amounts")


def split_by(n: Call, x: Tensor, sizes: Tensor, axis: int, results: Sequence[str]) -> list[Tensor]:
    """Pieces of x of computed sizes, one after another, by the names in `results`."""
    ends = n.emit("cumsum", sizes, part="ends", axis=0)
    starts = n.emit("sub", ends, sizes, part="starts")
    pieces: list[Tensor] = []
    for number, result in enumerate(results):
        bounds = [
            n.emit("slice", t, part=f"{word}{number}", start=(number,), end=(number + 1,), axes=(0,))
            for word, t in (("start", starts), ("end", ends))
        ]
        pieces += n.builder.layer("slice", x, *bounds, name=result, axes=(axis,))
    return pieces


def trilu_by(n: Call, x: Tensor, diagonal: Tensor, upper: bool) -> Tensor:
    """A triangle of x with a computed diagonal: where the column is far enough from the row."""
    if x.rank < 2:
        refuse(f"{x.type} has no triangles")
    rows = n.emit("range", part="rows", end=x.shape[-2], dtype=_I64)
    columns = n.emit("range", part="columns", end=x.shape[-1], dtype=_I64)
    offsets = n.emit("sub", columns, n.emit("unsqueeze", rows, part="row_column", axes=(1,)), part="offsets")
    kept = n.emit("greater_equal" if upper else "less_equal", offsets, n.reshape(diagonal, (), "diagonal"), part="kept")
    return n.emit("where", kept, x, n.like(0, x))


def scattered(n: Call, whole: Tensor, axes: tuple[int, ...], values: Tensor, part: str) -> Tensor:
    """A list with one number for each axis, with those of some axes replaced."""
    (rank,) = whole.shape
    if not isinstance(rank, int) or any(not -rank <= a < rank for a in axes):
        refuse(f"axes {list(axes)} of rank {rank}")
    if axes == tuple(range(rank)):
        return values
    return n.emit("scatter_elements", whole, n.constant(np.asarray(axes, np.int64) % rank), values, part=part)


def _count(axes: Tensor) -> int:
    count = axes.shape[0] if axes.rank == 1 else None
    if not isinstance(count, int):
        refuse(f"the number of axes is not known: {axes.type}")
    return count


def _places(n: Call, axes: Tensor, rank: int) -> Tensor:
    """Axes counted from the front."""
    _count(axes)
    axes = n.cast(axes, _I64, "axes")
    return n.emit("mod", axes, n.like(rank, axes), part="places")


def _others(n: Call, axes: Tensor, rank: int, count: int) -> Tensor:
    """The axes of a rank that are not among the computed ones, in order. There are `count` of them."""
    ones = n.constant(np.ones(_count(axes), np.int64))
    taken = n.emit("scatter_elements", n.constant(np.zeros(rank, np.int64)), _places(n, axes, rank), ones, part="taken")
    # Of equal elements the one with the lower index comes first.
    path = f"{n.path}.least"
    return n.builder.layer("top_k", taken, name=path, results=(path, f"{n.path}.kept"), k=count, largest=False)[1]

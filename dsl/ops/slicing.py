"""Ops that cut tensors apart and put them together: slice, split, concat."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from trtn.dsl.dims import Dim, ceildiv, dim_max, dim_min
from trtn.dsl.network import Shape
from trtn.dsl.ops.arrays import along
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.signature import show
from trtn.dsl.ops.sizes import list_length, not_negative, sign_of

__all__ = ["Concat", "Slice", "Split"]

_Bound = Dim | None
"""A bound of a slice; None is the beginning or the end of the axis."""
MAX_PARTS = 65_536
_FAR = 2**31 - 1
"""ONNX writes "to the end" as a bound from here up, "to the beginning" as one from the negative of it down.
"""


class Concat(Op):
    """The tensors one after another along `axis`; their other dims are the same."""

    signature = "concat(xs: T..., *, axis: int) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        rank = i.rank(0, at_least=1)
        axis = i.axis(rank)
        shape = list(i.shape(0))
        for n in range(1, len(i)):
            other = i.shape(n)
            if len(other) != rank:
                i.fail("E0303", f"tensors of `concat` differ in rank: {rank} and {len(other)}", inputs=[0, n])
            for d in range(rank):
                if d == axis:
                    shape[d] = shape[d] + other[d]
                else:
                    shape[d] = i.equal(
                        shape[d], other[d], f"tensors 0 and {n} of `concat` differ in dim {d}", inputs=[0, n]
                    )
        return tuple(shape)

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        elements: list[Dim] = []
        for n in range(len(i)):
            known = i.value(n)
            if known is None:
                return None
            elements += known
        return tuple(elements)

    def evaluate(self, xp: Any, *xs: Any, axis: int) -> Any:
        return xp.concatenate(xs, axis=axis)


class Split(Op):
    """x cut along `axis` into pieces of the given `sizes`, or into `parts` pieces.

    Pieces of `parts` are equally long; where the dim does not divide evenly the last one is shorter (ONNX's
    num_outputs).
    """

    signature = "split(x: T, *, axis: int = 0, sizes: dims?, parts: int?) -> T..."
    view = "always"
    native_low_precision = True

    def infer(self, i: Infer) -> list[Any]:
        shape = i.shape(0)
        axis = i.axis(i.rank(0, at_least=1))
        whole = shape[axis]
        sizes, parts = i["sizes"], i["parts"]
        if sizes is not None and parts is not None:
            i.fail("E0304", "`split` takes `sizes` or `parts`, not both", attr="parts")
        if sizes is None:
            parts = i.wanted if parts is None else parts
            if parts is None or not 1 <= parts <= MAX_PARTS:
                i.fail(
                    "E0304",
                    f"`split` needs `sizes`, or `parts` from 1 to {MAX_PARTS}, not {parts}",
                    attr="parts" if parts else None,
                )
            sizes = _even_pieces(i, whole, parts)
        if any(isinstance(s, int) and s < 0 for s in sizes):
            i.fail("E0304", f"`sizes` of `split` are at least 0, not {show(sizes)}", attr="sizes")
        not_negative(i, sizes)
        total: Dim = 0
        for s in sizes:
            total = total + s
        i.equal(total, whole, f"`sizes` of `split` do not add up to dim {axis} of {i.tensor(0).type}", inputs=[0])
        i.attrs.update(sizes=tuple(sizes), parts=None)
        return [(*shape[:axis], s, *shape[axis + 1 :]) for s in sizes]

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        known, first = i.value(0), i["sizes"][0]
        # Whether there are so many elements may be open: it can depend on the sizes of the other pieces.
        return known[:first] if known is not None and isinstance(first, int) and first <= len(known) else None

    def evaluate(self, xp: Any, x: Any, *, axis: int, sizes: Sequence[int], parts: int | None) -> tuple[Any, ...]:
        ends = accumulate(sizes)
        return tuple(x[along(axis, slice(end - size, end))] for size, end in zip(sizes, ends, strict=True))


def _even_pieces(i: Infer, whole: Dim, parts: int) -> tuple[Dim, ...]:
    piece = whole // parts
    if piece * parts != whole:
        piece = ceildiv(whole, parts)
        last = whole - piece * (parts - 1)
        i.require(">=", last, 0, f"{whole} can't be split into {parts} parts", inputs=[0])
        return (*(piece,) * (parts - 1), last)
    return (piece,) * parts


class Slice(Op):
    """x[start:end:step] along each of `axes`, with Python's rules: negative bounds count from the end, all
    bounds are clamped.

    Without `end` slices run to the end of the axis (with a negative step: to its beginning), and so they do
    for an `end` of 2^31 - 1 or more; without `start` they begin at the axis's beginning. Without `axes`: the
    first axes. Bounds that are tensors (ONNX's) take the place of the attributes. A symbolic bound counts
    from the beginning unless it is negative for all dims.
    """

    signature = (
        "slice(x: T, starts: i32|i64?, ends: i32|i64?, steps: i32|i64?, *,"
        " start: dims?, end: dims?, axes: ints?, step: ints = 1) -> T"
    )
    view = "always"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        shape = list(i.shape(0))
        counts = [list_length(i, n) for n in (1, 2, 3) if i.has(n)]
        counts += [len(i[name]) for name in ("start", "end", "axes") if i[name] is not None]
        count = counts[0] if counts else len(i["step"])
        if len(set(counts)) > 1 or count > len(shape):
            i.fail(
                "E0304",
                f"bounds, axes and steps of `slice` differ in number, or are more than the rank {len(shape)}",
            )
        given = range(count) if i["axes"] is None else i["axes"]
        axes = tuple(i.axis(len(shape), "axes", value=a) for a in given)
        if len(set(axes)) != count:
            i.fail("E0304", f"`axes` of `slice` names an axis twice: {show(i['axes'])}", attr="axes")
        i.attrs["axes"] = axes
        i.ints("step", count)
        bounds = _bounds(i, count)
        for n, axis in enumerate(axes):
            shape[axis] = i.fresh(0, shape[axis]) if bounds is None else _length(i, shape[axis], *bounds[n])
        return tuple(shape)

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        known, bounds = i.value(0), _bounds(i, len(i["axes"]))
        if known is None or bounds is None or not bounds:
            return known
        start, end, step = bounds[0]
        if isinstance(start, int | None) and isinstance(end, int | None):
            return known[start:end:step]
        return None

    def evaluate(
        self,
        xp: Any,
        x: Any,
        starts: Any,
        ends: Any,
        steps: Any,
        *,
        start: Any,
        end: Any,
        axes: tuple[int, ...],
        step: Any,
    ) -> Any:
        none = (None,) * len(axes)
        firsts = starts.tolist() if starts is not None else start or none
        lasts = ends.tolist() if ends is not None else end or none
        strides = steps.tolist() if steps is not None else step
        index = [slice(None)] * x.ndim
        for axis, *bounds in zip(axes, firsts, lasts, strides, strict=True):
            index[axis] = slice(*bounds)
        return x[tuple(index)]


def _bounds(i: Infer, count: int) -> list[tuple[_Bound, _Bound, int]] | None:
    """(start, end, step) of each sliced axis, or None where a tensor tells them and its elements are not
    known.
    """
    columns: list[Sequence[Any]] = []
    for index, name in ((1, "start"), (2, "end"), (3, "step")):
        if not i.has(index):
            columns.append((None,) * count if i[name] is None else i[name])
            continue
        if name != "step" and i[name] is not None:
            i.fail(
                "E0207",
                f"`slice` takes the attribute `{name}` or the tensor `{i.input_name(index)}`, not both",
                attr=name,
            )
        known = i.value(index)
        if known is None or (name == "step" and not all(isinstance(s, int) for s in known)):
            return None
        columns.append(known)
    if 0 in columns[2]:
        i.fail(
            "E0304",
            "a step of `slice` is 0",
            attr=None if i.has(3) else "step",
            inputs=[3] if i.has(3) else [],
        )
    return list(zip(*columns, strict=True))


def _length(i: Infer, size: Dim, start: _Bound, end: _Bound, step: int) -> Dim:
    """How many elements `[start:end:step]` takes of `size`. Demands what makes the simple formula right,
    where it is not plain.
    """
    if isinstance(size, int) and isinstance(start, int | None) and isinstance(end, int | None):
        return len(range(*slice(start, end, step).indices(size)))
    if step > 0:
        if isinstance(start, int) and -_FAR < start < 0 and _is_end(i, end, size):
            return ceildiv(dim_min(size, -start), step)  # the last few
        first = _from_start(i, start, size)
        stop = size if _is_end(i, end, size) else _clamp(i, end, size)
        span = stop - first
    else:
        first = size - 1 if start is None or _is_far(start) else _place_backward(i, start, size)
        stop = -1 if end is None else _place_backward(i, end, size)
        span = first - stop
    sign = sign_of(span)
    if sign < 0:
        return 0
    if sign == 0:
        i.require(">=", span, 0, f"slice of dim {size} of `x` ends before it starts", inputs=[0])
    return ceildiv(span, abs(step))


def _is_far(bound: Dim) -> bool:
    return isinstance(bound, int) and bound >= _FAR


def _is_end(i: Infer, bound: _Bound, size: Dim) -> bool:
    return bound is None or _is_far(bound) or (sign_of(bound - size) > 0)


def _from_start(i: Infer, start: _Bound, size: Dim) -> Dim:
    """The first position of a slice that runs forward. It is not clamped from above: the length is demanded
    to be at least 0.
    """
    if start is None or (isinstance(start, int) and start <= -_FAR):
        return 0
    if isinstance(start, int):
        return start if start >= 0 else dim_max(size + start, 0)
    return size + start if _counts_back(i, start) else start


def _clamp(i: Infer, end: _Bound, size: Dim) -> Dim:
    """The end of a slice that runs forward, as a position from the beginning."""
    assert end is not None
    if _counts_back(i, end):
        return size + end  # below the beginning the slice ends before it starts, which is demanded not to be
    return end if sign_of(size - end) > 0 else dim_min(size, end)


def _place_backward(i: Infer, bound: Dim, size: Dim) -> Dim:
    """A bound of a slice that runs backward, as a position from -1 (before the first element) to the last."""
    if isinstance(bound, int) and bound <= -_FAR:
        return -1
    if bound == -1:
        return size - 1
    return dim_max(size + bound, -1) if _counts_back(i, bound) else dim_min(size - 1, bound)


def _counts_back(i: Infer, bound: Dim) -> bool:
    """Whether a bound counts from the end. Where that depends on the dims, it is demanded not to."""
    if sign_of(bound) > 0:
        return False
    if sign_of(bound, least=1) < 0:
        return True
    i.require(">=", bound, 0, "a symbolic bound of `slice` is negative")
    return False

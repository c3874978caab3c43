"""Ops that look at the same elements under another shape. Most are views: they cost nothing where the backend
allows it.
"""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim, product
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.signature import show
from trtn.dsl.ops.sizes import UNBOUNDED, list_length, not_negative, told

__all__ = ["Expand", "Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"]


class _Relabel(Op):
    """The elements stay as they are, in their order: a known value stays known."""

    native_low_precision = True

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return i.value(0)


class Reshape(_Relabel):
    """The elements of x, in row-major order, under another shape.

    `shape` (or the rank-1 tensor `to`) lists the new dims; one entry may be -1: it takes what is left, and
    the elements must divide evenly. 0 is an axis without elements, not ONNX's "copy". The number of elements
    stays the same.
    """

    signature = "reshape(x: T, to: i32|i64?, *, shape: dims?) -> T"
    view = "contiguous"

    def infer(self, i: Infer) -> Shape:
        source = i.shape(0)
        sizes = told(i, 1, "shape")
        if sizes is None:
            total = product(source)
            most = UNBOUNDED if total == 0 else total  # next to a 0, the other sizes may be anything
            return tuple(i.fresh(0, most) for _ in range(list_length(i, 1)))
        where: dict[str, Any] = {"attr": "shape"} if i["shape"] is not None else {"inputs": [1]}
        open_axes = [n for n, d in enumerate(sizes) if isinstance(d, int) and d == -1]
        if len(open_axes) > 1 or any(isinstance(d, int) and d < -1 for d in sizes):
            i.fail("E0304", f"sizes of `reshape` are at least 0, and one may be -1; not {show(sizes)}", **where)
        if open_axes:
            at = open_axes[0]
            rest = sizes[:at] + sizes[at + 1 :]
            sizes = (*sizes[:at], _left_over(i, source, rest, where), *sizes[at + 1 :])
        else:
            i.equal(
                product(source),
                product(sizes),
                f"`reshape` of {i.tensor(0).type} to {show(sizes)} changes the number of elements",
            )
        not_negative(i, sizes)
        if i["shape"] is not None:
            i.attrs["shape"] = sizes
        return sizes

    def evaluate(self, xp: Any, x: Any, to: Any, *, shape: Any) -> Any:
        return x.reshape(tuple(shape) if to is None else tuple(int(d) for d in to))


def _left_over(i: Infer, source: Shape, rest: Shape, where: dict[str, Any]) -> Dim:
    """The size that -1 stands for. Equal factors are cancelled first, so that common reshapes give plain
    dims.
    """
    if 0 in rest:
        i.fail("E0304", f"-1 in the sizes of `reshape` is undecided next to 0: {show(rest)}", **where)
    above, below = list(source), []
    for d in rest:
        if d in above:
            above.remove(d)
        else:
            below.append(d)
    elements, divisor = product(above), product(below)
    quotient = elements // divisor
    if quotient * divisor != elements:
        message = f"elements of {i.tensor(0).type} do not divide evenly over [{', '.join(map(str, rest))}]"
        if isinstance(elements, int) and isinstance(divisor, int):
            i.fail("E0313", f"{message}: {elements} over {divisor}", inputs=[0])
        i.require("==", elements % divisor, 0, message, inputs=[0])
    return quotient


class Flatten(_Relabel):
    """x as a matrix: the dims before `axis` make the rows, the others the columns (ONNX Flatten). `axis` may
    equal the rank.
    """

    signature = "flatten(x: T, *, axis: int = 1) -> T"
    view = "contiguous"

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        rank, axis = len(shape), i["axis"]
        if not -rank <= axis <= rank:
            i.fail("E0304", f"`axis` of `flatten` is {axis}, but the rank is {rank}", attr="axis")
        axis = axis + rank if axis < 0 else axis
        i.attrs["axis"] = axis
        return product(shape[:axis]), product(shape[axis:])

    def evaluate(self, xp: Any, x: Any, *, axis: int) -> Any:
        rows = columns = 1
        for d in x.shape[:axis]:
            rows *= d
        for d in x.shape[axis:]:
            columns *= d
        return x.reshape(rows, columns)


class Squeeze(_Relabel):
    """x without the axes of size 1 that `axes` names; without `axes`, without every axis whose size is the
    constant 1.
    """

    signature = "squeeze(x: T, *, axes: ints?) -> T"
    view = "always"

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        if i["axes"] is None:
            i.attrs["axes"] = tuple(n for n, d in enumerate(shape) if d == 1)
        axes = i.axes(len(shape))
        for n in axes:
            i.require(
                "==",
                shape[n],
                1,
                f"axis {n} of {i.tensor(0).type} can't be squeezed",
                code="E0312",
                inputs=[0],
            )
        return tuple(d for n, d in enumerate(shape) if n not in axes)

    def evaluate(self, xp: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
        return xp.squeeze(x, axis=axes)


class Unsqueeze(_Relabel):
    """x with axes of size 1 put in: `axes` are their places in the result."""

    signature = "unsqueeze(x: T, *, axes: ints) -> T"
    view = "always"

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        rank = len(shape) + len(i["axes"])
        axes = i.axes(rank)
        rest = iter(shape)
        return tuple(1 if n in axes else next(rest) for n in range(rank))

    def evaluate(self, xp: Any, x: Any, *, axes: tuple[int, ...]) -> Any:
        return xp.expand_dims(x, axes)


class Transpose(_Relabel):
    """x with its axes permuted: axis n of the result is axis perm[n] of x. Without `perm` the axes are
    reversed.
    """

    signature = "transpose(x: T, *, perm: ints?) -> T"
    view = "always"

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        rank = len(shape)
        given = i["perm"]
        perm = tuple(reversed(range(rank))) if given is None else tuple(p + rank if p < 0 else p for p in given)
        if sorted(perm) != list(range(rank)):
            i.fail(
                "E0304",
                f"`perm` of `transpose` is {show(given)}, not a permutation of the {rank} axes",
                attr="perm",
            )
        i.attrs["perm"] = perm
        return tuple(shape[p] for p in perm)

    def evaluate(self, xp: Any, x: Any, *, perm: tuple[int, ...]) -> Any:
        return x.transpose(perm)


class Expand(Op):
    """x broadcast against `shape` (or the rank-1 tensor `to`) by NumPy's rule, both ways: a 1 in `shape`
    keeps the dim of x.

    ONNX Expand. The result is a view whose repeated axes have stride 0.
    """

    signature = "expand(x: T, to: i32|i64?, *, shape: dims?) -> T"
    view = "always"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        source = i.shape(0)
        sizes = told(i, 1, "shape")
        if sizes is not None:
            if any(isinstance(d, int) and d < 0 for d in sizes):
                i.fail(
                    "E0304",
                    f"sizes of `expand` are at least 0, not {show(sizes)}",
                    attr="shape" if i["shape"] is not None else None,
                )
            not_negative(i, sizes)
            return i.broadcast_shapes(source, sizes, inputs=[0])
        rank = max(len(source), list_length(i, 1))
        padded = (1,) * (rank - len(source)) + source
        return tuple(i.fresh(0, UNBOUNDED) if d == 1 else d for d in padded)

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        known = i.value(0)
        sizes = i["shape"] if i["shape"] is not None else i.value(1)
        if known is None or sizes is None:
            return None
        count = product(sizes)
        return known * count if len(known) == 1 and isinstance(count, int) else known

    def evaluate(self, xp: Any, x: Any, to: Any, *, shape: Any) -> Any:
        sizes = tuple(shape) if to is None else tuple(int(d) for d in to)
        rank = max(x.ndim, len(sizes))
        ours, theirs = (1,) * (rank - x.ndim) + x.shape, (1,) * (rank - len(sizes)) + sizes
        return xp.broadcast_to(x, tuple(a if b == 1 else b for a, b in zip(ours, theirs, strict=True)))

"""Ops that add elements around a tensor or repeat it: pad, tile."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim, dim_min
from trtn.dsl.network import Shape
from trtn.dsl.ops.arrays import filled
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.signature import show
from trtn.dsl.ops.sizes import UNBOUNDED, sign_of, told

__all__ = ["Pad", "Tile"]


class Pad(Op):
    """x with elements added before and after along `axes` (all, where absent): `fill`, mirrored, repeated or
    wrapped ones.

    `pads` (or the tensor `amounts`) lists the numbers before each axis, then those after each; one entry
    stands for all. Negative numbers take elements away. "reflect" mirrors without repeating the edge, "edge"
    repeats it, "wrap" goes on at the other end. `value` is a scalar tensor in place of `fill`. ONNX Pad.
    """

    signature = (
        "pad(x: T, amounts: i64?, value: T?, *, pads: dims?,"
        ' mode: "constant" | "reflect" | "edge" | "wrap" = "constant", fill: float = 0.0, axes: ints?) -> T'
    )
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        shape = list(i.shape(0))
        given = range(len(shape)) if i["axes"] is None else i["axes"]
        axes = tuple(i.axis(len(shape), "axes", value=a) for a in given)
        if len(set(axes)) != len(axes):
            i.fail("E0304", f"`axes` of `pad` names an axis twice: {show(i['axes'])}", attr="axes")
        i.attrs["axes"] = axes
        if i.has(2) and i.shape(2) not in ((), (1,)):
            i.fail("E0303", f"`value` of `pad` is a scalar, not {i.tensor(2).type}", inputs=[2])
        pads = told(i, 1, "pads")
        if pads is None:
            for axis in axes:
                shape[axis] = i.fresh(0, UNBOUNDED)
            return tuple(shape)
        if len(pads) == 1 and i["pads"] is not None:
            pads = pads * (2 * len(axes))
        if len(pads) != 2 * len(axes):
            i.fail(
                "E0304",
                f"`pad` takes {2 * len(axes)} amounts, not {len(pads)}",
                attr=None if i.has(1) else "pads",
            )
        if i["pads"] is not None:
            i.attrs["pads"] = pads
        for axis, before, after in zip(axes, pads, pads[len(axes) :], strict=False):
            self._demand(i, shape[axis], before, after)
            shape[axis] = shape[axis] + before + after
        return tuple(shape)

    def _demand(self, i: Infer, size: Dim, before: Dim, after: Dim) -> None:
        """Enough elements to take away, to mirror or to repeat."""
        left = size
        for amount in (before, after):
            if sign_of(amount) <= 0:
                left = left + dim_min(amount, 0)
        if sign_of(left) <= 0:
            i.require(">=", left, 0, "`pad` takes more elements away than there are", inputs=[0])
        for amount in (before, after):
            if i["mode"] == "constant" or (isinstance(amount, int) and amount <= 0):
                continue
            if i["mode"] != "reflect":
                i.require(">", left, 0, "`pad` has nothing to repeat", inputs=[0])
            elif sign_of(left - 1 - amount) <= 0:
                i.require(">", left, amount, "`pad` can't mirror more elements than there are", inputs=[0])

    def evaluate(
        self,
        xp: Any,
        x: Any,
        amounts: Any,
        value: Any,
        *,
        pads: Any,
        mode: str,
        fill: float,
        axes: tuple[int, ...],
    ) -> Any:
        flat = [int(p) for p in (pads if amounts is None else amounts)]
        widths = [(0, 0)] * x.ndim
        for axis, before, after in zip(axes, flat, flat[len(axes) :], strict=False):
            widths[axis] = (before, after)
        x = x[tuple(slice(max(0, -b), n - max(0, -a)) for n, (b, a) in zip(x.shape, widths, strict=True))]
        widths = [(max(0, b), max(0, a)) for b, a in widths]
        if mode != "constant":
            return xp.pad(x, widths, mode=mode)
        shape = tuple(n + b + a for n, (b, a) in zip(x.shape, widths, strict=True))
        out = filled(xp, shape, fill, x.dtype) if value is None else xp.empty(shape, dtype=x.dtype)
        if value is not None:
            out[...] = value.reshape(())
        out[tuple(slice(b, b + n) for n, (b, _) in zip(x.shape, widths, strict=True))] = x
        return out


class Tile(Op):
    """x repeated `times` along each axis (or as often as the rank-1 tensor `repeats` says). ONNX Tile."""

    signature = "tile(x: T, repeats: i64?, *, times: dims?) -> T"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        times = told(i, 1, "times")
        if times is None:
            return tuple(i.fresh(0, UNBOUNDED) for _ in shape)
        if len(times) != len(shape):
            i.fail(
                "E0304",
                f"`tile` takes {len(shape)} numbers, not {len(times)}",
                attr=None if i.has(1) else "times",
            )
        for t in times:
            if sign_of(t) <= 0:
                i.require(">=", t, 0, "`tile` repeats a negative number of times")
        return tuple(d * t for d, t in zip(shape, times, strict=True))

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        known = i.value(0)
        times = i["times"] if i["times"] is not None else i.value(1)
        return known * times[0] if known is not None and times and isinstance(times[0], int) else None

    def evaluate(self, xp: Any, x: Any, repeats: Any, *, times: Any) -> Any:
        return xp.tile(x, tuple(int(t) for t in (times if repeats is None else repeats)))

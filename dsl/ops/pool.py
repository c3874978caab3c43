"""Pooling over sliding windows and over whole feature maps. Arrays are [N, C, *spatial] with 1 to 3 spatial
axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from trtn.dsl.dtypes import FLOATS, NUMBERS
from trtn.dsl.network import Shape
from trtn.dsl.ops.arrays import along, wide
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.signature import show
from trtn.dsl.ops.windows import AUTO_PAD, actual_pads, canonical_window, pad_spatial, taps, window_dims

__all__ = ["AvgPool", "GlobalAvgPool", "GlobalMaxPool", "LpPool", "MaxPool", "MaxPoolWithIndices"]

_WINDOW = f"kernel: ints, strides: ints = 1, pads: ints = 0, dilations: ints = 1, ceil_mode: bool = false, {AUTO_PAD}"


class _Pool(Op):
    """Windows that slide over each channel by itself: out = (in + pads - dilation * (kernel - 1) - 1) /
    stride + 1, rounded down, or up in `ceil_mode`, where a window may hang over the end but must start inside
    of x or the padding before it.
    """

    def infer(self, i: Infer) -> Any:
        return self._shape(i)

    def _shape(self, i: Infer) -> Shape:
        shape = i.shape(0)
        count = i.rank(0, 3, 4, 5) - 2
        if any(k < 1 for k in i.ints("kernel", count)):
            i.fail("E0304", f"`kernel` of `{self.name}` is at least 1, not {show(i['kernel'])}", attr="kernel")
        canonical_window(i, count)
        for n, pad in enumerate(i["pads"]):
            extent = i["dilations"][n % count] * (i["kernel"][n % count] - 1) + 1
            if pad >= extent:
                i.fail(
                    "E0304",
                    f"padding of `{self.name}` must be less than the window's {extent}, not {pad}",
                    attr="pads",
                )
        return (*shape[:2], *window_dims(i, shape[2:], i["kernel"], ceil_mode=i["ceil_mode"]))


class _Plan:
    """Where the windows of one call are: output dims, padding at the begins and, so that every window is
    whole, at the ends.
    """

    def __init__(
        self,
        spatial: tuple[int, ...],
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int],
        ceil_mode: bool,
        auto_pad: str,
    ) -> None:
        self.spatial, self.kernel, self.strides, self.dilations = spatial, kernel, strides, dilations
        self.declared = actual_pads(spatial, kernel, strides, pads, dilations, auto_pad)
        self.out: list[int] = []
        count = len(spatial)
        ends = []
        for n, (d, k, s, dilation) in enumerate(zip(spatial, kernel, strides, dilations, strict=True)):
            before, after = self.declared[n], self.declared[count + n]
            extent = dilation * (k - 1) + 1
            room = d + before + after - extent
            places = room // s + 1
            if ceil_mode and s > 1 and auto_pad == "none":
                places = min(-(-room // s) + 1, -(-(d + before) // s))
            self.out.append(places)
            ends.append(max(0, (places - 1) * s + extent - d - before))
        self.whole = (*self.declared[:count], *ends)

    def taps(self) -> Any:
        return taps(self.kernel, self.out, self.strides, self.dilations)

    def reduce(self, xp: Any, x: Any, fill: float, combine: Any) -> Any:
        """Combine each window of x by a ufunc: axis by axis, since a window is a box."""
        y = pad_spatial(xp, x, self.whole, fill)
        for axis in reversed(range(len(self.out))):
            n, k, s, d = self.out[axis], self.kernel[axis], self.strides[axis], self.dilations[axis]
            if k == 1 and s == 1 and n == y.shape[2 + axis]:
                continue
            cuts = [y[along(2 + axis, slice(t * d, t * d + (n - 1) * s + 1, s))] for t in range(k)]
            y = combine(cuts[0], cuts[1]) if k > 1 else cuts[0]
            for cut in cuts[2:]:
                combine(y, cut, out=y)
        return y.copy() if y.base is not None or y is x else y

    def counts(self, xp: Any, include_pad: bool, dtype: Any) -> Any:
        """How many elements each window has: those of x, with the declared padding where `include_pad`.
        Broadcasts over [N, C].
        """
        count = len(self.out)
        total: Any = 1
        for n, (d, k, s, dilation) in enumerate(
            zip(self.spatial, self.kernel, self.strides, self.dilations, strict=True)
        ):
            before, after = self.declared[n], self.declared[count + n]
            low, high = (0, before + d + after) if include_pad else (before, before + d)
            places = xp.arange(self.out[n])[:, None] * s + xp.arange(k) * dilation
            inside = ((places >= low) & (places < high)).sum(axis=1).astype(dtype)
            total = total * inside.reshape((-1,) + (1,) * (count - n - 1))
        return total


def _lowest(xp: Any, dtype: Any) -> Any:
    return -xp.inf if dtype.kind == "f" else xp.iinfo(dtype).min


class MaxPool(_Pool):
    """The greatest element of each window; padding never wins. ONNX MaxPool."""

    signature = f"max_pool(x: T, *, {_WINDOW}) -> T"
    where = {"T": NUMBERS}

    def evaluate(self, xp: Any, x: Any, **window: Any) -> Any:
        return _Plan(x.shape[2:], **window).reduce(xp, x, _lowest(xp, x.dtype), xp.maximum)


class MaxPoolWithIndices(_Pool):
    """max_pool, and where each maximum was: its position in the flattened x (row-major, over all axes), the
    first of equal ones.
    """

    signature = f"max_pool_with_indices(x: T, *, {_WINDOW}) -> (y: T, indices: i64)"
    where = {"T": NUMBERS}

    def infer(self, i: Infer) -> list[Any]:
        shape = self._shape(i)
        return [shape, shape]

    def evaluate(self, xp: Any, x: Any, **window: Any) -> tuple[Any, Any]:
        plan = _Plan(x.shape[2:], **window)
        padded = pad_spatial(xp, x, plan.whole, _lowest(xp, x.dtype))
        flat = pad_spatial(xp, xp.arange(x.size, dtype="int64").reshape(x.shape), plan.whole, -1)
        moves = [(slice(None), slice(None), *where) for _, where in plan.taps()]
        best, places = padded[moves[0]].copy(), flat[moves[0]].copy()
        for where in moves[1:]:
            better = (padded[where] > best) | ((places < 0) & (flat[where] >= 0))
            xp.copyto(best, padded[where], where=better)
            xp.copyto(places, flat[where], where=better)
        return best, places


class AvgPool(_Pool):
    """The mean of each window, over the elements of x in it, or over the padding too where
    `count_include_pad`. ONNX AveragePool.
    """

    signature = f"avg_pool(x: T, *, {_WINDOW}, count_include_pad: bool = false) -> T"
    where = {"T": FLOATS}

    def evaluate(self, xp: Any, x: Any, *, count_include_pad: bool, **window: Any) -> Any:
        plan = _Plan(x.shape[2:], **window)
        y = plan.reduce(xp, wide(x), 0, xp.add)
        y /= plan.counts(xp, count_include_pad, y.dtype) if any(plan.whole) else prod(plan.kernel)
        return y.astype(x.dtype, copy=False)


class LpPool(_Pool):
    """The p-norm of each window: (sum of |x|^p)^(1/p). ONNX LpPool."""

    signature = f"lp_pool(x: T, *, {_WINDOW}, p: int = 2) -> T"
    where = {"T": FLOATS}

    def evaluate(self, xp: Any, x: Any, *, p: int, **window: Any) -> Any:
        powers = xp.abs(wide(x)) ** p
        return (_Plan(x.shape[2:], **window).reduce(xp, powers, 0, xp.add) ** (1 / p)).astype(x.dtype, copy=False)


class _Global(Op):
    """One number a channel: x [N, C, *spatial] -> [N, C, 1, ..]."""

    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        rank = i.rank(0, at_least=2)
        return (*shape[:2], *(1,) * (rank - 2))


class GlobalAvgPool(_Global):
    """The mean over the spatial axes: [N, C, *spatial] -> [N, C, 1, ..]. ONNX GlobalAveragePool."""

    signature = "global_avg_pool(x: T) -> T"

    def evaluate(self, xp: Any, x: Any) -> Any:
        return xp.mean(wide(x), axis=tuple(range(2, x.ndim)), keepdims=True).astype(x.dtype, copy=False)


class GlobalMaxPool(_Global):
    """The greatest element over all spatial axes, kept as 1s: [N, C, *spatial] -> [N, C, 1, ..]. ONNX
    GlobalMaxPool.
    """

    signature = "global_max_pool(x: T) -> T"

    def evaluate(self, xp: Any, x: Any) -> Any:
        return xp.max(x, axis=tuple(range(2, x.ndim)), keepdims=True)

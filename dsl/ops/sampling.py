"""Reading between the elements: grid_sample, affine_grid, deform_conv, roi_align."""

from __future__ import annotations

from itertools import product as each
from math import ceil, prod
from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import FLOATS
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.sizes import UNBOUNDED, list_length, told

__all__: list[str] = []


class GridSample(Op):
    """x [N, C, *S] read at the places of a grid [N, *out, R], R the number of axes in S: [N, C, *out].

    A place has one coordinate for each axis, the last axis first, from -1 to 1 over the axis: between the middles of
    the first and the last element with `align_corners`, between their outer edges otherwise. What lies outside is 0,
    the nearest edge, or mirrored at the edge. "nearest" rounds half to even; "cubic" takes -0.75 for its coefficient.
    ONNX GridSample.
    """

    signature = (
        'grid_sample(x: T, grid: U, *, mode: "linear" | "nearest" | "cubic" = "linear",'
        ' padding: "zeros" | "border" | "reflection" = "zeros", align_corners: bool = false) -> T'
    )
    where = {"T": FLOATS, "U": FLOATS}

    def infer(self, i: Infer) -> Shape:
        rank = i.rank(0, at_least=3)
        i.rank(1, rank)
        x, grid = i.shape(0), i.shape(1)
        batch = i.equal(x[0], grid[0], "batches of `x` and `grid` of `grid_sample` differ", inputs=[0, 1])
        i.require("==", grid[-1], rank - 2, "`grid` of `grid_sample` has one coordinate for each axis", inputs=[1])
        return (batch, x[1], *grid[1:-1])

    def evaluate(self, xp: Any, x: Any, grid: Any, *, mode: str, padding: str, align_corners: bool) -> Any:
        batch, channels, *sizes = x.shape
        places = grid.astype("float32", copy=False).reshape(batch, -1, len(sizes))
        index, weights = [], []
        for axis, size in enumerate(sizes):
            at = places[..., len(sizes) - 1 - axis]
            low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
            at = (at + 1) * ((high - low) / 2) + low
            at = xp.rint(at) if mode == "nearest" else at
            if padding == "border" and mode != "cubic":  # whose kernel reaches beyond the edge
                at = xp.clip(at, 0, size - 1)
            elif padding == "reflection":
                at = _mirrored(xp, at, low, high)
            taps, shares = _taps(xp, at, mode)
            if padding == "reflection":
                taps = _mirrored(xp, taps, low, high)
            elif padding == "zeros":
                shares = xp.where((taps >= 0) & (taps < size), shares, 0)
            index.append(xp.clip(taps, 0, size - 1).astype("int64"))
            weights.append(shares)
        y = _mixed(xp, x.reshape(batch, channels, -1), sizes, index, weights)
        return y.reshape(batch, channels, *grid.shape[1:-1]).astype(x.dtype, copy=False)


def _mirrored(xp: Any, at: Any, low: float, high: float) -> Any:
    """Positions thrown back at both ends until they are within."""
    span = high - low
    if span <= 0:
        return xp.zeros_like(at)
    rest = xp.remainder(at - low, 2 * span)
    return xp.where((at < low) | (at > high), low + xp.minimum(rest, 2 * span - rest), at)


def _taps(xp: Any, at: Any, mode: str) -> tuple[Any, Any]:
    """The positions [.., taps] that each place mixes, whole but still as floats, and their weights."""
    if mode == "nearest":
        return at[..., None], xp.ones((*at.shape, 1), at.dtype)
    offsets = xp.arange(0, 2) if mode == "linear" else xp.arange(-1, 3)
    taps = xp.floor(at)[..., None] + offsets.astype(at.dtype)
    distance = xp.abs(at[..., None] - taps)
    if mode == "linear":
        return taps, 1 - distance
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return taps, xp.where(distance <= 1, near, far)


def _mixed(xp: Any, flat: Any, sizes: list[int], index: list[Any], weights: list[Any]) -> Any:
    """Sums over all combinations of taps: flat [N, C, prod(sizes)], index and weights [N, P, taps] an axis."""
    total: Any = 0
    for combination in each(*(range(t.shape[-1]) for t in index)):
        place: Any = 0
        weight: Any = 1
        for axis, tap in enumerate(combination):
            place = place * sizes[axis] + index[axis][..., tap]
            weight = weight * weights[axis][..., tap]
        found = xp.take_along_axis(flat, place[:, None, :], axis=2)
        total = total + found * weight[:, None, :].astype(_wide(flat), copy=False)
    return total


def _wide(x: Any) -> str:
    return "float64" if x.dtype.name == "float64" else "float32"


class AffineGrid(Op):
    """A grid for `grid_sample` from affine maps theta [N, R, R + 1]: [N, *S, R] for `shape` (or `size`) [N, C, *S].

    ONNX AffineGrid.
    """

    signature = "affine_grid(theta: T, size: i64?, *, shape: dims?, align_corners: bool = false) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, 3)
        batch, rows, columns = i.shape(0)
        sizes = told(i, 1, "shape")
        count = list_length(i, 1) if i.has(1) else len(i["shape"])
        i.require("==", rows, count - 2, "`theta` of `affine_grid` has one row for each axis", inputs=[0])
        i.require(
            "==", columns, count - 1, "`theta` of `affine_grid` has one column for each axis, and one", inputs=[0]
        )
        if sizes is None:
            return (batch, *(i.fresh(0, UNBOUNDED) for _ in range(count - 2)), count - 2)
        i.equal(batch, sizes[0], "batches of `theta` and the size of `affine_grid` differ", inputs=[0])
        return (batch, *sizes[2:], count - 2)

    def evaluate(self, xp: Any, theta: Any, size: Any, *, shape: Any, align_corners: bool) -> Any:
        spatial = [int(d) for d in (shape if size is None else size)][2:]
        axes = []
        for d in spatial:
            steps = xp.arange(d, dtype=theta.dtype)
            axes.append(steps * (2 / max(1, d - 1)) - 1 if align_corners else (steps + 0.5) * (2 / max(1, d)) - 1)
        grid = xp.meshgrid(*axes, indexing="ij")
        places = xp.stack([*reversed(grid), xp.ones_like(grid[0])], axis=-1).reshape(-1, len(spatial) + 1)
        y = xp.matmul(places, xp.swapaxes(theta, 1, 2))
        return y.reshape(theta.shape[0], *spatial, len(spatial))


class DeformConv(Op):
    """A convolution whose kernel elements are moved by `offset`, and weighted by `mask`, at each place of the result.

    x [N, C, H, W], weight [O, C / groups, h, w], offset [N, offset_groups * h * w * 2, *out] with the row's offset
    before the column's, bias [O], mask [N, offset_groups * h * w, *out] -> [N, O, *out]. Between elements x is linear,
    outside 0. ONNX DeformConv.
    """

    signature = (
        "deform_conv(x: T, weight: T, offset: T, bias: T?, mask: T?, *, strides: ints = 1, pads: ints = 0,"
        " dilations: ints = 1, groups: int = 1, offset_groups: int = 1) -> T"
    )
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        for index in (0, 1, 2):
            i.rank(index, 4)
        x, weight, offset = i.shape(0), i.shape(1), i.shape(2)
        i.ints("strides", 2)
        i.ints("dilations", 2)
        i.ints("pads", 4)
        batch = i.equal(x[0], offset[0], "batches of `x` and `offset` of `deform_conv` differ", inputs=[0, 2])
        i.equal(x[1], weight[1] * i["groups"], "channels of `x` and `weight` of `deform_conv` differ", inputs=[0, 1])
        elements = weight[2] * weight[3] * i["offset_groups"]
        i.equal(offset[1], elements * 2, "`offset` of `deform_conv` has two numbers for each element", inputs=[2])
        out = tuple(self._places(i, axis) for axis in (0, 1))
        for axis, (d, given) in enumerate(zip(out, offset[2:], strict=True)):
            i.equal(d, given, f"dim {axis + 2} of `offset` of `deform_conv`", inputs=[0, 2])
        if i.has(3):
            i.rank(3, 1)
            i.equal(i.shape(3)[0], weight[0], "`bias` of `deform_conv` has one number for each channel", inputs=[3])
        if i.has(4):
            i.rank(4, 4)
            i.equal(i.shape(4)[1], elements, "`mask` of `deform_conv` has one number for each element", inputs=[4])
        return (batch, weight[0], *offset[2:])

    def _places(self, i: Infer, axis: int) -> Dim:
        extent: Dim = i["dilations"][axis] * (i.shape(1)[2 + axis] - 1) + 1
        room = i.shape(0)[2 + axis] + (i["pads"][axis] + i["pads"][axis + 2]) - extent
        stride: int = i["strides"][axis]
        places: Dim = room // stride + 1
        return places

    def evaluate(
        self,
        xp: Any,
        x: Any,
        weight: Any,
        offset: Any,
        bias: Any,
        mask: Any,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        offset_groups: int,
    ) -> Any:
        batch, channels, *sizes = x.shape
        kernel, out = weight.shape[2:], offset.shape[2:]
        moved = offset.reshape(batch * offset_groups, *kernel, 2, *out)
        index, weights = [], []
        for axis in (0, 1):
            element = xp.arange(kernel[axis]) * dilations[axis] - pads[axis]
            start = xp.arange(out[axis]) * strides[axis]
            shape = [1, 1, 1, 1, 1]
            shape[1 + axis], shape[3 + axis] = kernel[axis], out[axis]
            at = moved[:, :, :, axis] + xp.add.outer(element, start).reshape(shape)
            taps, shares = _taps(xp, at.reshape(batch * offset_groups, -1), "linear")
            weights.append(xp.where((taps >= 0) & (taps < sizes[axis]), shares, 0))
            index.append(xp.clip(taps, 0, sizes[axis] - 1).astype("int64"))
        flat = x.reshape(batch * offset_groups, channels // offset_groups, -1)
        columns = _mixed(xp, flat, sizes, index, weights)
        if mask is not None:
            columns = columns * mask.reshape(batch * offset_groups, 1, -1)
        columns = columns.reshape(batch, groups, -1, prod(out))  # [N, G, C / G * h * w, out]
        y = xp.matmul(weight.reshape(groups, weight.shape[0] // groups, -1), columns)
        y = y.reshape(batch, weight.shape[0], *out)
        return (y if bias is None else y + bias.reshape(-1, 1, 1)).astype(x.dtype, copy=False)


class RoiAlign(Op):
    """Rectangles of x [N, C, H, W] resampled to one size: rois [K, 4] as (x1, y1, x2, y2), of the images `batch` [K].

    Each cell of the result is the mean (or the maximum) of `sampling` x `sampling` places in it, as many as it has
    elements where that is 0; the maximum is of the weighted corners of each place. `scale` maps the coordinates of
    rois to x's, `half_pixel` then moves them by half an element. ONNX RoiAlign.
    """

    signature = (
        "roi_align(x: T, rois: T, batch: i64, *, height: int = 1, width: int = 1, sampling: int = 0,"
        ' scale: float = 1.0, mode: "mean" | "max" = "mean", half_pixel: bool = true) -> T'
    )
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        for index, rank in ((0, 4), (1, 2), (2, 1)):
            i.rank(index, rank)
        count, numbers = i.shape(1)
        i.require("==", numbers, 4, "`rois` of `roi_align` have four numbers each", inputs=[1])
        i.equal(count, i.shape(2)[0], "`rois` and `batch` of `roi_align` differ in number", inputs=[1, 2])
        return count, i.shape(0)[1], i["height"], i["width"]

    def evaluate(
        self,
        xp: Any,
        x: Any,
        rois: Any,
        batch: Any,
        *,
        height: int,
        width: int,
        sampling: int,
        scale: float,
        mode: str,
        half_pixel: bool,
    ) -> Any:
        y = xp.zeros((rois.shape[0], x.shape[1], height, width), x.dtype)
        corners = rois.astype(_wide(x)) * scale - (0.5 if half_pixel else 0.0)
        for number, (image, corner) in enumerate(zip(batch.tolist(), corners.tolist(), strict=True)):
            index, weights = [], []
            for axis, cells in ((0, height), (1, width)):
                begin, end = corner[1 - axis], corner[3 - axis]
                length = end - begin if half_pixel else max(end - begin, 1.0)
                samples = sampling if sampling > 0 else max(0, ceil(length / cells))
                at = (xp.arange(cells * samples) + 0.5) * (length / cells / max(1, samples)) + begin
                near, share = _border_taps(xp, at, x.shape[2 + axis])
                index.append(near.reshape(cells, samples, 2))
                weights.append(share.reshape(cells, samples, 2).astype(_wide(x)))
            y[number] = _pooled(xp, x[image], index, weights, mode)
        return y


def _border_taps(xp: Any, at: Any, size: int) -> tuple[Any, Any]:
    """Two elements for each place, with weights; none for places more than one element outside."""
    inside = (at >= -1) & (at <= size)
    held = xp.clip(at, 0, size - 1)
    low = xp.floor(held)
    share = held - low
    taps = xp.stack([low, xp.minimum(low + 1, size - 1)], axis=-1).astype("int64")
    return taps, xp.stack([1 - share, share], axis=-1) * inside[:, None]


def _pooled(xp: Any, x: Any, index: list[Any], weights: list[Any], mode: str) -> Any:
    """x [C, H, W] at the places of one rectangle: index and weights [cells, samples, 2] for rows and for columns."""
    rows, columns = index
    corners = x[:, rows[:, None, :, None, :, None], columns[None, :, None, :, None, :]]
    share = weights[0][:, None, :, None, :, None] * weights[1][None, :, None, :, None, :]
    weighted = corners * share  # [C, height, width, samples, samples, 2, 2]
    if not weighted.shape[3] * weighted.shape[4]:
        return xp.zeros(weighted.shape[:3], x.dtype)
    if mode == "max":
        return weighted.max(axis=(3, 4, 5, 6))
    return weighted.sum(axis=(3, 4, 5, 6)) / (weighted.shape[3] * weighted.shape[4])

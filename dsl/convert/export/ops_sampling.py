"""Reading between the elements, and the way back from windows."""

from __future__ import annotations

from typing import Any

from trtn.dsl.convert.export.registry import refuse, writes
from trtn.dsl.convert.export.site import Site
from trtn.dsl.convert.export.values import Value
from trtn.dsl.dims import product

__all__: list[str] = []

_OLD_MODES = {"linear": "bilinear", "nearest": "nearest", "cubic": "bicubic"}


@writes("grid_sample")
def _grid_sample(s: Site) -> None:
    mode = s["mode"]
    if s.opset < 20:
        if s.rank(0) != 4:
            refuse(f"before opset 20 there are only grids for images, and x has rank {s.rank(0)}")
        mode = _OLD_MODES[mode]
    grid = s.cast(s.x(1), s.dtype(0), "grid")
    s.emit("GridSample", s.x(0), grid, mode=mode, padding_mode=s["padding"], align_corners=int(s["align_corners"]))


@writes("affine_grid")
def _affine_grid(s: Site) -> None:
    """Before opset 20 the places of a grid are put together axis by axis and multiplied with the maps."""
    size = s.x(1) if s.given(1) else s.sizes.vector(s["shape"])
    if s.has("AffineGrid"):
        s.emit("AffineGrid", s.x(0), size, align_corners=int(s["align_corners"]))
        return
    theta = s.x(0)
    count = len(s.out.shape) - 2
    spatial = s.slice(size, s.ints([2]), s.ints([2 + count]), [0], [1], part="sizes")
    columns = [_coordinates(s, theta, spatial, axis, count) for axis in reversed(range(count))]
    whole = s.emit("Concat", spatial, s.ints([1]), part="grid_sizes", axis=0)
    grids = [s.emit("Expand", c, whole, part="grid") for c in columns]
    ones = s.emit("Expand", s.like(theta, 1), whole, part="ones")
    places = s.emit("Concat", *grids, ones, part="places", axis=-1)
    rows = s.emit("Reshape", places, s.ints([-1, count + 1]), part="rows")
    mapped = s.emit("MatMul", rows, s.transpose(theta, (0, 2, 1), part="maps"), part="mapped")
    end = s.emit("Concat", s.ints([0]), spatial, s.ints([count]), part="result_sizes", axis=0)
    s.emit("Reshape", mapped, end)


def _coordinates(s: Site, theta: Value, spatial: Value, axis: int, count: int) -> Value:
    """The coordinates along one axis, from -1 to 1, as a tensor of rank count + 1 that broadcasts."""
    size = s.emit("Gather", spatial, s.sizes.scalar(axis), part=f"size{axis}", axis=0)
    numbers = s.emit("Range", s.sizes.scalar(0), size, s.sizes.scalar(1), part=f"numbers{axis}")
    steps = s.cast(numbers, theta.dtype, f"steps{axis}")
    total = s.cast(size, theta.dtype, f"total{axis}")
    if s["align_corners"]:
        total = s.emit("Max", s.emit("Sub", total, s.like(total, 1), part="less"), s.like(total, 1), part="gaps")
    else:
        steps = s.emit("Add", steps, s.like(steps, 0.5), part="middles")
    doubled = s.emit("Div", s.emit("Mul", steps, s.like(steps, 2), part="twice"), total, part="share")
    line = s.emit("Sub", doubled, s.like(steps, 1), part=f"line{axis}")
    others = tuple(n for n in range(count + 1) if n != axis)
    return s.fold_axes(line, others, "Unsqueeze", part=f"axis{axis}")


@writes("deform_conv")
def _deform_conv(s: Site) -> None:
    if not s.has("DeformConv"):
        refuse("DeformConv is of opset 19 and later")
    kernel = [d for d in s.shape(1)[2:] if isinstance(d, int)]
    s.emit(
        "DeformConv",
        *s.xs(),
        kernel_shape=kernel if len(kernel) == 2 else None,
        strides=list(s["strides"]),
        pads=list(s["pads"]),
        dilations=list(s["dilations"]),
        group=s["groups"],
        offset_group=s["offset_groups"],
    )


@writes("roi_align")
def _roi_align(s: Site) -> None:
    s.emit(
        "RoiAlign",
        s.x(0),
        s.x(1),
        s.x(2),
        output_height=s["height"],
        output_width=s["width"],
        sampling_ratio=s["sampling"],
        spatial_scale=s["scale"],
        mode="avg" if s["mode"] == "mean" else "max",
        coordinate_transformation_mode="half_pixel" if s["half_pixel"] else "output_half_pixel",
    )


@writes("non_max_suppression")
def _non_max_suppression(s: Site) -> None:
    s.emit("NonMaxSuppression", *s.xs(), center_point_box=int(s["center"]))


@writes("col2im")
def _col2im(s: Site) -> None:
    if not s.has("Col2Im"):
        refuse("Col2Im is of opset 18 and later")
    image = s.x(1) if s.given(1) else s.sizes.vector(s["image"])
    block = s.x(2) if s.given(2) else s.sizes.vector(s["block"])
    attrs: dict[str, Any] = {name: list(s[name]) for name in ("strides", "pads", "dilations")}
    s.emit("Col2Im", s.x(0), image, block, **attrs)


@writes("max_unpool")
def _max_unpool(s: Site) -> None:
    """A shape of its own is left to no runtime: the places are counted in the plain result, zeros are put after it."""
    x, places = s.x(0), s.x(1)
    attrs = {name: list(s[name]) for name in ("kernel", "strides", "pads")}
    given = s.given(2) or s["shape"] is not None
    if not given and x.dtype.is_float:
        s.emit("MaxUnpool", x, places, kernel_shape=attrs["kernel"], strides=attrs["strides"], pads=attrs["pads"])
        return
    spatial, count = s.shape(0)[2:], s.rank(0) - 2
    own = [
        (d - 1) * s["strides"][n] + (s["kernel"][n] - s["pads"][n] - s["pads"][n + count])
        for n, d in enumerate(spatial)
    ]
    plain = (*s.shape(0)[:2], *own)
    zeros = s.emit("Expand", s.like(x, 0), s.sizes.vector([product(plain)]), part="zeros")
    flat = s.emit("Reshape", x, s.ints([-1]), part="flat")
    at = s.emit("Reshape", places, s.ints([-1]), part="places")
    put = s.emit("ScatterElements", zeros, at, flat, part="put", axis=0)
    if not given:
        s.reshape(put, (product(plain),), plain)
        return
    image = s.reshape(put, (product(plain),), plain, part="image")
    wanted = s.x(2) if s.given(2) else s.sizes.vector(s["shape"])
    more = s.emit("Sub", wanted, s.sizes.vector(plain), part="more")
    s.emit("Pad", image, s.emit("Concat", s.ints([0] * len(plain)), more, part="amounts", axis=0), mode="constant")

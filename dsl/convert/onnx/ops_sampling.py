"""Ops that read between elements, and those on boxes."""

from __future__ import annotations

from typing import Any

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.ops_window import window
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse

__all__: list[str] = []

_MODES = {"bilinear": "linear", "bicubic": "cubic"}


@onnx_op("GridSample", since=16)
def _grid_sample(n: Call) -> Results:
    mode = n.text("mode", "linear")
    attrs = {"mode": _MODES.get(mode, mode), "padding": n.text("padding_mode", "zeros")}
    return n.emit("grid_sample", n.tensor(0), n.tensor(1), align_corners=n.flag("align_corners"), **attrs)


@onnx_op("AffineGrid", since=20)
def _affine_grid(n: Call) -> Results:
    sizes, align = n.known(1), n.flag("align_corners")
    size = None if sizes is not None else n.tensor(1)
    return n.emit("affine_grid", n.tensor(0), size, shape=sizes, align_corners=align)


@onnx_op("DeformConv", since=19)
def _deform_conv(n: Call) -> Results:
    attrs: dict[str, Any] = {"groups": n.integer("group", 1), "offset_groups": n.integer("offset_group", 1)}
    attrs |= window(n)
    return n.emit("deform_conv", *(n.tensor(i) for i in range(3)), n.maybe(3), n.maybe(4), **attrs)


@onnx_op("RoiAlign", since=10)
def _roi_align(n: Call) -> Results:
    if n.has("coordinate_transformation_mode") or n.opset >= 16:
        half_pixel = n.text("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    else:
        half_pixel = False
    modes = {"avg": "mean", "max": "max"}
    if n.text("mode", "avg") not in modes:
        refuse(f"its mode is `{n.text('mode')}`")
    return n.emit(
        "roi_align",
        *(n.tensor(i) for i in range(3)),
        height=n.integer("output_height", 1),
        width=n.integer("output_width", 1),
        sampling=n.integer("sampling_ratio", 0),
        scale=tidy(n.number("spatial_scale", 1.0)),
        mode=modes[n.text("mode", "avg")],
        half_pixel=half_pixel,
    )


@onnx_op("NonMaxSuppression", since=10)
def _non_max_suppression(n: Call) -> Results:
    limits = (n.maybe(i) for i in range(2, 5))
    return n.emit("non_max_suppression", n.tensor(0), n.tensor(1), *limits, center=n.flag("center_point_box"))

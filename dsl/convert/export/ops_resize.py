"""Resampling. ONNX takes sizes or scales; where a layer has both, the sizes are cut out of a larger result."""

from __future__ import annotations

from typing import Any

from trtn.dsl.convert.export.registry import refuse, writes
from trtn.dsl.convert.export.site import F32, I64, Site
from trtn.dsl.convert.export.values import Value

__all__: list[str] = []


@writes("resize")
def _resize(s: Site) -> None:
    sized = s["sizes"] is not None or s.given(1)
    scaled = s["scales"] is not None or s.given(2)
    attrs = _manner(s)
    if s["coordinates"] == "crop":
        sizes = _sizes(s) if sized else _sizes_of_scales(s)
        s.emit("Resize", s.x(0), s.x(3), None, sizes, extrapolation_value=s["extrapolation"], **attrs)
    elif not scaled or (sized and s["coordinates"] == "align_corners"):  # corners don't look at the scales
        s.emit("Resize", s.x(0), None, None, _sizes(s), **attrs)
    elif not sized:
        s.emit("Resize", s.x(0), None, _scales(s), **attrs)
    else:
        _cut_out(s, attrs)


def _manner(s: Site) -> dict[str, Any]:
    """The attributes but for the sizes."""
    coordinates = s["coordinates"]
    if s["antialias"] and s.opset < 18:
        refuse("`antialias` is of opset 18 and later")
    if coordinates == "half_pixel_symmetric" and s.opset < 19:
        if s.given(2) or (s["scales"] is not None and any(scale % 1 for scale in s["scales"])):
            refuse('`coordinates="half_pixel_symmetric"` is of opset 19 and later')
        coordinates = "half_pixel"  # the same where the sizes are exact multiples
    attrs: dict[str, Any] = {
        "mode": s["mode"],
        "coordinate_transformation_mode": "tf_crop_and_resize" if coordinates == "crop" else coordinates,
        "exclude_outside": int(s["exclude_outside"]) or None,
        "antialias": int(s["antialias"]) or None,
    }
    if s["mode"] == "nearest":
        attrs["nearest_mode"] = s["nearest"]
    if s["mode"] == "cubic":
        attrs["cubic_coeff_a"] = s["cubic_a"]
    return attrs


def _sizes(s: Site) -> Value:
    return s.x(1) if s.given(1) else s.sizes.vector(s["sizes"])


def _scales(s: Site) -> Value:
    return s.x(2) if s.given(2) else s.constant(s["scales"], F32)


def _sizes_of_scales(s: Site) -> Value:
    if s["scales"] is not None:
        return s.sizes.vector(s.out.shape)
    own = s.cast(s.sizes.vector(s.shape(0)), F32, "own_sizes")
    return s.cast(s.emit("Floor", s.emit("Mul", own, s.x(2), part="exact"), part="whole"), I64, "sizes")


def _cut_out(s: Site, attrs: dict[str, Any]) -> None:
    """By the scales, from an x whose edges are repeated far enough, and of the result as much as the sizes say."""
    if s["exclude_outside"] or s["coordinates"] == "half_pixel_symmetric":
        refuse("sizes beside scales can't be had with `exclude_outside` or symmetric coordinates")
    scales, rank = _scales(s), s.rank(0)
    reach = s.emit("Ceil", s.emit("Reciprocal", scales, part="step"), part="reach")
    changed = s.cast(
        s.emit("Not", s.emit("Equal", scales, s.like(scales, 1), part="kept"), part="changed"), I64, "more"
    )
    after = s.emit("Mul", s.cast(reach, I64, "reach_whole"), changed, part="after")
    amounts = s.emit("Concat", s.ints([0] * rank), after, part="amounts", axis=0)
    wide = s.emit("Pad", s.x(0), amounts, part="wide", mode="edge")
    whole = s.emit("Resize", wide, None, scales, part="whole", **attrs)
    s.slice(whole, s.ints([0] * rank), _sizes(s), tuple(range(rank)), [1] * rank)

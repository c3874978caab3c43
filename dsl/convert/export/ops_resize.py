"""Resampling."""

from __future__ import annotations

from typing import Any

from trtn.dsl.convert.export.registry import refuse, writes
from trtn.dsl.convert.export.site import F32, Site

__all__: list[str] = []


@writes("resize")
def _resize(s: Site) -> None:
    scales = s["scales"]
    coordinates, antialias = s["coordinates"], s["antialias"]
    if antialias and s.opset < 18:
        refuse("`antialias` is of opset 18 and later")
    if coordinates == "half_pixel_symmetric" and s.opset < 19:
        if scales is not None and any(scale % 1 for scale in scales):
            refuse('`coordinates="half_pixel_symmetric"` is of opset 19 and later')
        coordinates = "half_pixel"  # the same where the sizes are exact multiples
    attrs: dict[str, Any] = {"mode": s["mode"], "coordinate_transformation_mode": coordinates}
    if s["mode"] == "nearest":
        attrs["nearest_mode"] = s["nearest"]
    if s["mode"] == "cubic":
        attrs["cubic_coeff_a"] = s["cubic_a"]
    attrs["exclude_outside"] = int(s["exclude_outside"]) or None
    attrs["antialias"] = int(antialias) or None
    if scales is not None:
        s.emit("Resize", s.x(0), None, s.constant(scales, F32), **attrs)
        return
    sizes = s.x(1) if s.given(1) else s.sizes.vector(s["sizes"])
    s.emit("Resize", s.x(0), None, None, sizes, **attrs)

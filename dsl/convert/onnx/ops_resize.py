"""Resizing: Upsample, and Resize of all opsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.computed import scattered
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

__all__: list[str] = []

_F32, _I64 = BY_NAME["f32"], BY_NAME["i64"]
_MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}
_COORDINATES = {
    name: name for name in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
} | {"tf_crop_and_resize": "crop"}
_POLICIES = {"not_larger": "min", "not_smaller": "max"}


@onnx_op("Upsample", since=7)
def _upsample_by_attribute(n: Call) -> Results:
    """Before opset 11 a position is divided by the scale and rounded down."""
    scales = n.floats("scales")
    if scales is None:
        refuse("it has no scales")
    return _resized_as_first(n, scales=tuple(tidy(s) for s in scales))


@onnx_op("Upsample", since=9)
@onnx_op("Resize", since=10)
def _upsample(n: Call) -> Results:
    scales = _constant_scales(n, 1)
    return _resized_as_first(n, None, n.tensor(1)) if scales is None else _resized_as_first(n, scales=scales)


def _resized_as_first(n: Call, *inputs: Tensor | None, **sizes: Any) -> Tensor:
    return n.emit("resize", n.tensor(0), *inputs, mode=_mode(n), coordinates="asymmetric", nearest="floor", **sizes)


def _mode(n: Call) -> str:
    mode = n.text("mode", "nearest")
    if mode not in _MODES:
        refuse(f"its mode is `{mode}`")
    return _MODES[mode]


def _constant_scales(n: Call, index: int) -> tuple[float, ...] | None:
    array = n.array(index)
    return tuple(tidy(float(s)) for s in array.reshape(-1)) if array is not None and array.size else None


@onnx_op("Resize", since=11)
def _resize(n: Call) -> Results:
    x = n.tensor(0)
    axes = tuple(a % max(1, x.rank) for a in n.ints("axes") or range(x.rank))
    attrs = _manner(n)
    region = _region(n, x, axes) if attrs["coordinates"] == "crop" else None
    if n.maybe(2) is not None and n.tensor(2).shape != (0,):
        scales = _constant_scales(n, 2)
        if scales is not None:
            return n.emit("resize", x, None, None, region, scales=_spread(axes, scales, (1.0,) * x.rank), **attrs)
        ones = n.constant(np.ones(x.rank, np.float32))
        return n.emit("resize", x, None, scattered(n, ones, axes, n.tensor(2), "scales"), region, **attrs)
    if n.maybe(3) is None:
        refuse("it has neither scales nor sizes")
    policy = n.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        return n.emit("resize", x, *_in_proportion(n, x, axes, policy), region, **attrs)
    sizes = n.known(3)
    if sizes is not None:
        return n.emit("resize", x, None, None, region, sizes=_spread(axes, sizes, x.shape), **attrs)
    to = scattered(n, n.dims(x.shape, _I64, part="all_sizes"), axes, n.tensor(3), "sizes")
    return n.emit("resize", x, to, None, region, **attrs)


def _manner(n: Call) -> dict[str, Any]:
    """Everything but how large the result is."""
    coordinates = n.text("coordinate_transformation_mode", "half_pixel")
    nearest = n.text("nearest_mode", "round_prefer_floor")
    if coordinates == "tf_half_pixel_for_nn":  # opset 11 only, for nearest: the floor of the position plus a half
        coordinates, nearest = "half_pixel", "round_prefer_ceil"
    if coordinates not in _COORDINATES:
        refuse(f"coordinates by `{coordinates}` are not supported")
    attrs: dict[str, Any] = {"mode": _mode(n), "coordinates": _COORDINATES[coordinates]}
    if attrs["mode"] == "nearest":
        attrs["nearest"] = nearest
    if attrs["mode"] == "cubic":
        attrs["cubic_a"] = tidy(n.number("cubic_coeff_a", -0.75))
    if n.flag("exclude_outside"):
        attrs["exclude_outside"] = True
    if n.flag("antialias"):
        attrs["antialias"] = True
    if attrs["coordinates"] == "crop":
        attrs["extrapolation"] = tidy(n.number("extrapolation_value", 0.0))
    return attrs


def _spread(axes: Sequence[int], values: Sequence[Any], whole: Sequence[Any]) -> tuple[Any, ...]:
    """One entry for each axis, those that are named replaced."""
    if len(values) != len(axes):
        refuse(f"{len(values)} sizes or scales for {len(axes)} axes")
    named = dict(zip(axes, values, strict=True))
    return tuple(named.get(axis, rest) for axis, rest in enumerate(whole))


def _region(n: Call, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    whole = n.constant(np.repeat(np.asarray([0, 1], np.float32), x.rank))
    both = (*axes, *(a + x.rank for a in axes))
    return scattered(n, whole, both, n.cast(n.tensor(1), _F32, "region"), "region_of_all")


def _in_proportion(n: Call, x: Tensor, axes: tuple[int, ...], policy: str) -> tuple[Tensor, Tensor]:
    """Sizes and factors that scale all of the named axes alike, so that none is beyond (or none below) its size."""
    if policy not in _POLICIES:
        refuse(f"its policy is `{policy}`")
    own: tuple[Dim, ...] = tuple(x.shape[a] for a in axes)
    before = n.cast(n.dims(own, _I64, part="own_sizes"), _F32, "own_wide")
    quotients = n.emit("div", n.cast(n.tensor(3), _F32, "wanted"), before, part="quotients")
    scale = n.emit(f"reduce_{_POLICIES[policy]}", quotients, part="scale", keepdims=True)
    exact = n.emit("mul", before, scale, part="exact")
    rounded = n.emit("floor", n.emit("add", exact, n.like(0.5, exact), part="shifted"), part="rounded")
    sizes = n.cast(rounded, _I64, "sizes")
    to = scattered(n, n.dims(x.shape, _I64, part="all_sizes"), axes, sizes, "to")
    wide = n.emit("expand", scale, part="scales", shape=(len(axes),))
    return to, scattered(n, n.constant(np.ones(x.rank, np.float32)), axes, wide, "factors")

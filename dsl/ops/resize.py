"""Resampling: resize in all of ONNX's modes. Separable: one pass an axis, by index vectors or by a few
weighted taps.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor, inf, prod
from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import NUMBERS
from trtn.dsl.network import Shape
from trtn.dsl.ops.arrays import along
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.sizes import UNBOUNDED, list_length, not_negative, told

__all__ = ["Resize"]

_DENSE = 96
"""Up to this size an axis is resampled by a matrix product; above, tap by tap."""


class Resize(Op):
    """x resampled to other sizes: to `sizes` (or the tensor `to`), or by `scales` (or the tensor `factors`):
    floor(d * scale). All of them cover every axis. Where both are given the scales only say where to look.

    `coordinates` says which place of x an output position looks at, `nearest` how "nearest" rounds it.
    "cubic" uses the kernel with coefficient `cubic_a`; `exclude_outside` leaves out what lies beyond the edge
    (else the edge is repeated); `antialias` widens the kernel where the result is smaller. With `scales` the
    coordinates use the scale as given, not the ratio of sizes. "crop" looks at the part of x from `region`'s
    first half to its second, in fractions of the axes; beyond x lies `extrapolation`. ONNX Resize.
    """

    signature = (
        "resize(x: T, to: i64?, factors: f32?, region: f32?, *, sizes: dims?, scales: floats?,"
        ' mode: "nearest" | "linear" | "cubic" = "nearest",'
        ' coordinates: "half_pixel" | "asymmetric" | "align_corners" | "pytorch_half_pixel"'
        ' | "half_pixel_symmetric" | "crop" = "half_pixel",'
        ' nearest: "round_prefer_floor" | "round_prefer_ceil" | "floor" | "ceil" = "round_prefer_floor",'
        " cubic_a: float = -0.75, exclude_outside: bool = false, antialias: bool = false,"
        " extrapolation: float = 0.0) -> T"
    )
    where = {"T": NUMBERS}

    def infer(self, i: Infer) -> Shape:
        shape = i.shape(0)
        told_by = {"sizes": i["sizes"] is not None, "to": i.has(1)}
        scaled_by = {"scales": i["scales"] is not None, "factors": i.has(2)}
        given = [name for name, there in (*told_by.items(), *scaled_by.items()) if there]
        if not given or all(told_by.values()) or all(scaled_by.values()):
            words = " and ".join(given) or "none"
            i.fail("E0207", f"`resize` takes `sizes` or the tensor `to`, `scales` or the tensor `factors`, not {words}")
        for name, index in ("sizes", 0), ("scales", 0), ("to", 1), ("factors", 2), ("region", 3):
            if i.has(index) if index else i[name] is not None:
                self._check_length(i, name, index, len(shape) * (2 if name == "region" else 1))
        if i.has(3) != (i["coordinates"] == "crop"):
            i.fail("E0207", '`resize` takes a `region` with `coordinates` "crop", and only then', inputs=[3] * i.has(3))
        if scaled_by["scales"] and not all(0 < s < inf for s in i["scales"]):
            i.fail("E0304", "`scales` of `resize` are greater than 0, and finite", attr="scales")
        if not any(told_by.values()):
            if i["scales"] is None:
                return tuple(i.fresh(0, UNBOUNDED) for _ in shape)
            return tuple(_scaled(d, s) for d, s in zip(shape, i["scales"], strict=True))
        sizes = told(i, 1, "sizes")
        if sizes is None:
            return tuple(i.fresh(0, UNBOUNDED) for _ in shape)
        not_negative(i, sizes)
        return sizes

    def _check_length(self, i: Infer, name: str, index: int, wanted: int) -> None:
        """One entry for each axis; of a region two."""
        count = list_length(i, index) if index else len(i[name])
        if count != wanted:
            message = f"`{name}` of `resize` has {count} entries, but the rank is {len(i.shape(0))}"
            i.fail("E0304", message, attr=None if index else name, inputs=[index] * (index > 0))

    def evaluate(
        self,
        xp: Any,
        x: Any,
        to: Any,
        factors: Any,
        region: Any,
        *,
        sizes: Any,
        scales: tuple[float, ...] | None,
        mode: str,
        coordinates: str,
        nearest: str,
        cubic_a: float,
        exclude_outside: bool,
        antialias: bool,
        extrapolation: float,
    ) -> Any:
        if factors is not None:
            scales = tuple(float(f) for f in factors)
        if to is not None or sizes is not None:
            out = [int(d) for d in (sizes if to is None else to)]
        else:
            assert scales is not None
            out = [int(_scaled(d, s)) for d, s in zip(x.shape, scales, strict=True)]  # type: ignore[arg-type]
        ratios = list(scales or (o / max(1, d) for o, d in zip(out, x.shape, strict=True)))
        ends = [None] * x.ndim if region is None else [(float(a), float(b)) for a, b in region.reshape(2, -1).T]
        if 0 in out:
            return xp.zeros(tuple(out), dtype=x.dtype)
        y = x if mode == "nearest" else x.astype("float64" if x.dtype.name == "float64" else "float32", copy=False)
        for axis, (size, target, ratio) in enumerate(zip(x.shape, out, ratios, strict=True)):
            part = ends[axis]
            if size == target and ratio == 1 and part in (None, (0.0, 1.0)):
                continue
            places = _places(xp, size, target, ratio, coordinates) if part is None else _cropped(xp, size, target, part)
            if mode == "nearest":
                y = xp.take(y, xp.clip(_rounded(xp, places, nearest), 0, size - 1), axis=axis)
            else:
                narrow = min(1.0, ratio) if antialias else 1.0
                index, weights = _filter(xp, places, size, mode, cubic_a, narrow, exclude_outside)
                y = _resample(xp, y, axis, index, weights.astype(y.dtype))
            if part is not None:
                y[along(axis, (places < 0) | (places > size - 1))] = extrapolation
        return y.copy() if y is x else y.astype(x.dtype, copy=False)


def _scaled(d: Dim, scale: float) -> Dim:
    """floor(d * scale), with the scale as the fraction that its decimals (or its f32) stand for, so that dims
    stay simple.
    """
    exact = Fraction(scale)
    simple = exact.limit_denominator(1000)
    ratio = simple if abs(simple - exact) <= exact * Fraction(1, 1 << 23) else exact
    return d * ratio.numerator // ratio.denominator


def _places(xp: Any, size: int, target: int, scale: float, coordinates: str) -> Any:
    """Where in the input each output position looks, in f32 as ONNX Runtime computes it."""
    at = xp.arange(target, dtype="float32")
    ratio = xp.asarray(scale, dtype="float32")
    if coordinates == "asymmetric":
        return at / ratio
    if coordinates == "align_corners":
        return (
            at * xp.asarray(size - 1, dtype="float32") / xp.asarray(target - 1, dtype="float32")
            if target > 1
            else at * 0
        )
    if coordinates == "pytorch_half_pixel" and target == 1:
        return at * 0
    places = (at + 0.5) / ratio
    if coordinates == "half_pixel_symmetric":
        length, result = (xp.asarray(d, dtype="float32") for d in (size, target))
        places += length / 2 * (1 - result / (ratio * length))
    places -= 0.5
    return places


def _cropped(xp: Any, size: int, target: int, part: tuple[float, float]) -> Any:
    """The same for a part of the axis, whose ends are the first and the last position."""
    begin, end = (p * (size - 1) for p in part)
    if target == 1:
        return xp.asarray([begin + (end - begin) / 2], dtype="float32")
    return xp.arange(target, dtype="float32") * ((end - begin) / (target - 1)) + begin


def _rounded(xp: Any, places: Any, how: str) -> Any:
    if how == "floor":
        return xp.floor(places).astype("int64")
    if how == "ceil":
        return xp.ceil(places).astype("int64")
    return (xp.ceil(places - 0.5) if how == "round_prefer_floor" else xp.floor(places + 0.5)).astype("int64")


def _filter(
    xp: Any, places: Any, size: int, mode: str, cubic_a: float, narrow: float, exclude_outside: bool
) -> tuple[Any, Any]:
    """For each output position the inputs that it mixes, and with which weights: both [out, taps]."""
    support = 1 if mode == "linear" else 2
    base = xp.ceil(places) - 1
    ratio = (places - base).astype("float64")[:, None]  # in (0, 1]
    first = floor(-support / narrow) + 1
    offsets = xp.arange(first, 2 - first)
    distance = xp.abs((offsets - ratio) * narrow)
    if mode == "linear":
        weights = xp.maximum(0, 1 - distance)
    else:
        near = ((cubic_a + 2) * distance - (cubic_a + 3)) * distance * distance + 1
        far = ((distance - 5) * distance + 8) * distance * cubic_a - 4 * cubic_a
        weights = xp.where(distance <= 1, near, xp.where(distance < 2, far, 0))
    index = base.astype("int64")[:, None] + offsets
    if exclude_outside:
        weights = xp.where((index >= 0) & (index < size), weights, 0)
    if exclude_outside or narrow < 1:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return xp.clip(index, 0, size - 1), weights


def _resample(xp: Any, x: Any, axis: int, index: Any, weights: Any) -> Any:
    """The weighted sums along one axis."""
    size, target = x.shape[axis], index.shape[0]
    shape = (*x.shape[:axis], target, *x.shape[axis + 1 :])
    after = prod(x.shape[axis + 1 :])
    if size <= _DENSE:
        matrix = xp.sum((index[:, :, None] == xp.arange(size)) * weights[:, :, None], axis=1)
        if after == 1:
            return xp.matmul(x.reshape(-1, size), matrix.T).reshape(shape)
        return xp.matmul(matrix, x.reshape(-1, size, after)).reshape(shape)
    scale = weights.reshape(target, -1, *(1,) * (x.ndim - axis - 1))
    y = xp.take(x, index[:, 0], axis=axis)
    y *= scale[:, 0]
    for tap in range(1, index.shape[1]):
        term = xp.take(x, index[:, tap], axis=axis)
        term *= scale[:, tap]
        y += term
    return y

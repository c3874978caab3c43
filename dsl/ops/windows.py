"""The geometry of sliding windows, shared by convolutions and pooling: symbolic output dims, padding, views
of taps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as each
from typing import Any

from trtn.dsl.dims import Dim, ceildiv, dim_min
from trtn.dsl.network import Shape
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.signature import show
from trtn.dsl.ops.sizes import sign_of

__all__ = [
    "AUTO_PAD",
    "actual_pads",
    "canonical_window",
    "pad_spatial",
    "taps",
    "window_dims",
]

AUTO_PAD = 'auto_pad: "none" | "same_upper" | "same_lower" = "none"'


def canonical_window(i: Infer, count: int) -> None:
    """Bring `strides` and `dilations` to `count` entries of at least 1, `pads` to 2 * count of at least 0."""
    for name in ("strides", "dilations"):
        if any(v < 1 for v in i.ints(name, count)):
            i.fail("E0304", f"`{name}` of `{i.op.name}` are at least 1, not {show(i[name])}", attr=name)
    _canonical_pads(i, count)


def _canonical_pads(i: Infer, count: int) -> None:
    """One entry stands for all; `count` entries stand for both ends; else the begins, then the ends."""
    given = tuple(i["pads"])
    if len(given) not in (1, count, 2 * count):
        takes = " or ".join(map(str, sorted({1, count, 2 * count})))
        i.fail("E0304", f"`pads` of `{i.op.name}` takes {takes} entries, not {len(given)}", attr="pads")
    if any(p < 0 for p in given):
        i.fail("E0304", f"`pads` of `{i.op.name}` are at least 0, not {show(given)}", attr="pads")
    i.attrs["pads"] = given * (2 * count // len(given))


def window_dims(i: Infer, spatial: Shape, kernel: Shape, *, ceil_mode: bool = False) -> Shape:
    """How many places a window has along each axis: (d + pads - dilation * (k - 1) - 1) // stride + 1.

    "same" padding gives ceildiv(d, stride); it becomes plain `pads` where these follow from what is known. In
    `ceil_mode` a window may hang over the end, but must start inside of x or of the padding before it.
    Demands that the kernel fits.
    """
    count = len(spatial)
    for n, k in enumerate(kernel):
        if sign_of(k - 1) <= 0:
            i.require(">=", k, 1, f"window of `{i.op.name}` is empty in dim {n + 2}")
    if i["auto_pad"] != "none":
        _settle_auto_pad(i, spatial, kernel)
        return tuple(ceildiv(d, s) for d, s in zip(spatial, i["strides"], strict=True))
    out = []
    for n, (d, k) in enumerate(zip(spatial, kernel, strict=True)):
        stride, dilation = i["strides"][n], i["dilations"][n]
        before, after = i["pads"][n], i["pads"][count + n]
        extent = dilation * (k - 1) + 1
        room = d + (before + after) - extent
        hangs = stride - 1 if ceil_mode else 0
        # Where nothing fits because the axis is empty, the result is empty too.
        if sign_of(room + hangs + 1) <= 0 or (isinstance(room, int) and room + hangs < 0 and d != 0):
            message = f"window of `{i.op.name}` ({extent}) does not fit into dim {n + 2} of {i.tensor(0).type}"
            i.require(">=", d + (before + after), extent - hangs, message, inputs=[0])
        places = room // stride + 1
        if ceil_mode and stride > 1:
            places = _ceil_places(d, room, stride, before)
        out.append(places)
    return tuple(out)


def _ceil_places(d: Dim, room: Dim, stride: int, before: int) -> Dim:
    places = ceildiv(room, stride) + 1
    inside = ceildiv(d + before, stride)  # windows that start before the end of x
    return places if sign_of(inside - places) > 0 else dim_min(places, inside)


def _settle_auto_pad(i: Infer, spatial: Shape, kernel: Shape) -> None:
    upper = i["auto_pad"] == "same_upper"
    begins, ends = [], []
    for d, k, stride, dilation in zip(spatial, kernel, i["strides"], i["dilations"], strict=True):
        if not isinstance(k, int) or (not isinstance(d, int) and stride > 1):
            return
        extent = dilation * (k - 1) + 1
        total = extent - 1 if stride == 1 or not isinstance(d, int) else _same_total(d, extent, stride)
        begins.append(total // 2 if upper else total - total // 2)
        ends.append(total - begins[-1])
    i.attrs.update(pads=(*begins, *ends), auto_pad="none")


def _same_total(size: int, extent: int, stride: int) -> int:
    return max(0, (-(-size // stride) - 1) * stride + extent - size)


def actual_pads(
    spatial: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    auto_pad: str,
) -> tuple[int, ...]:
    """The padding in elements, begins then ends."""
    if auto_pad == "none":
        return tuple(pads)
    totals = [
        _same_total(n, d * (k - 1) + 1, s) for n, k, s, d in zip(spatial, kernel, strides, dilations, strict=True)
    ]
    begins = [t // 2 if auto_pad == "same_upper" else t - t // 2 for t in totals]
    return (*begins, *(t - b for t, b in zip(totals, begins, strict=True)))


def pad_spatial(xp: Any, x: Any, pads: Sequence[int], fill: float = 0.0) -> Any:
    """x [N, C, *spatial] with `fill` around it; x itself where there is nothing to add."""
    if not any(pads):
        return x
    count = x.ndim - 2
    spatial = tuple(b + d + a for b, d, a in zip(pads[:count], x.shape[2:], pads[count:], strict=True))
    y = (
        xp.full((*x.shape[:2], *spatial), fill, dtype=x.dtype)
        if fill
        else xp.zeros((*x.shape[:2], *spatial), dtype=x.dtype)
    )
    y[(..., *(slice(b, b + d) for b, d in zip(pads[:count], x.shape[2:], strict=True)))] = x
    return y


def taps(kernel: Sequence[int], out: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Any:
    """For each element of the kernel its index and the slices (of the padded spatial axes) that it meets as
    the window moves.
    """
    for at in each(*(range(k) for k in kernel)):
        yield (
            at,
            tuple(
                slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in zip(at, out, strides, dilations, strict=True)
            ),
        )

"""Convolutions and pooling."""

from __future__ import annotations

from itertools import product as each
from typing import Any

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import F32, Site
from trtn.dsl.convert.export.values import Value
from trtn.dsl.dims import Dim, dim_max
from trtn.dsl.dtypes import BY_NAME, DType

__all__: list[str] = []

_AUTO_PAD = {"same_upper": "SAME_UPPER", "same_lower": "SAME_LOWER"}


def _window(s: Site) -> dict[str, Any]:
    """The attributes that all windows have. What is a default is left out."""
    attrs: dict[str, Any] = {"strides": list(s["strides"])}
    if any(d != 1 for d in s["dilations"]):
        attrs["dilations"] = list(s["dilations"])
    if s["auto_pad"] != "none":
        attrs["auto_pad"] = _AUTO_PAD[s["auto_pad"]]
    elif any(s["pads"]):
        attrs["pads"] = list(s["pads"])
    return attrs


def _kernel_of(s: Site) -> list[int] | None:
    """The kernel of a convolution, where the weight's dims are constants."""
    sizes = s.shape(1)[2:]
    return [d for d in sizes if isinstance(d, int)] if all(isinstance(d, int) for d in sizes) else None


@writes("conv")
def _conv(s: Site) -> None:
    s.emit("Conv", *s.xs(), kernel_shape=_kernel_of(s), group=_groups(s), **_window(s))


def _groups(s: Site) -> int | None:
    return int(s["groups"]) if s["groups"] != 1 else None


@writes("deconv")
def _deconv(s: Site) -> None:
    attrs = _window(s)
    if s["output_shape"] is not None:
        attrs.pop("pads", None)
        attrs["output_shape"] = list(s["output_shape"])
    if any(s["output_pads"]):
        attrs["output_padding"] = list(s["output_pads"])
    s.emit("ConvTranspose", *s.xs(), kernel_shape=_kernel_of(s), group=_groups(s), **attrs)


@writes("conv_integer")
def _conv_integer(s: Site) -> None:
    attrs = {"kernel_shape": _kernel_of(s), "group": _groups(s), **_window(s)}
    zero = s.maybe(2)
    if zero is not None and s.rank(2):
        zero = s.emit("Reshape", zero, s.ints([]), part="x_zero")
    if not s.given(3) or s.shape(3) in ((), (1,)):
        weight_zero = s.maybe(3)
        if weight_zero is not None and s.rank(3):
            weight_zero = s.emit("Reshape", weight_zero, s.ints([]), part="w_zero")
        s.emit("ConvInteger", s.x(0), s.x(1), zero, weight_zero, **attrs)
        return
    # A zero point for each output channel is subtracted first; i64's and f32's products don't fit, f64's do.
    wide = BY_NAME["f64"] if _terms(s) >= 1 << 8 else F32
    x, weight = s.cast(s.x(0), wide, "x_wide"), s.cast(s.x(1), wide, "weight_wide")
    if zero is not None:
        x = s.emit("Sub", x, s.cast(zero, wide, "x_zero_wide"), part="x")
    column = s.fold_axes(s.x(3), tuple(range(1, s.rank(1))), "Unsqueeze", part="w_zeros")
    weight = s.emit("Sub", weight, s.cast(column, wide, "w_zero_wide"), part="weight")
    s.cast_out(s.emit("Conv", x, weight, part="sums", **attrs))


def _terms(s: Site) -> int:
    """How many products a sum has; many where that is open."""
    count = 1
    for d in s.shape(1)[1:]:
        count *= d if isinstance(d, int) else 1 << 8
    return count


# --- pooling ---


@writes("max_pool", "max_pool_with_indices")
def _max_pool(s: Site) -> None:
    x, attrs = s.x(0), {"kernel_shape": list(s["kernel"]), **_window(s), "ceil_mode": int(s["ceil_mode"]) or None}
    if s.layer.op.name == "max_pool_with_indices":
        s.emit_all("MaxPool", x, results=(0, 1), **attrs)
    elif x.dtype.is_float or x.dtype.bits == 8:
        s.emit("MaxPool", x, **attrs)
    else:  # ONNX has none for wider integers
        _fold_taps(s, "Max", x, _lowest(x.dtype), result=True)


def _lowest(dtype: DType) -> int:
    return -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0


@writes("avg_pool")
def _avg_pool(s: Site) -> None:
    x, padded = s.x(0), s["count_include_pad"]
    dilated = any(d != 1 for d in s["dilations"])
    if not dilated and not s["ceil_mode"]:
        attrs = {**_window(s), "count_include_pad": int(padded) or None}
        s.emit("AveragePool", x, kernel_shape=list(s["kernel"]), **attrs)
        return
    # Opsets and runtimes differ in what they count in windows that hang over the end, and older ones have no dilations.
    total = _fold_taps(s, "Add", x, 0)
    one = s.fold_axes(s.like(x, 1), tuple(range(s.rank(0))), "Unsqueeze", part="one")
    ones = s.emit("Expand", one, s.sizes.vector((1, 1, *s.shape(0)[2:])), part="ones")
    count = _fold_taps(s, "Add", ones, 0, counted=padded, word="count")
    s.emit("Div", total, count)


@writes("lp_pool")
def _lp_pool(s: Site) -> None:
    attrs = {"kernel_shape": list(s["kernel"]), "p": s["p"], **_window(s)}
    plain = all(d == 1 for d in s["dilations"]) and not s["ceil_mode"]
    if plain:
        s.emit("LpPool", s.x(0), **attrs)
        return
    power = s.emit("Pow", s.emit("Abs", s.x(0), part="abs"), s.like(s.x(0), s["p"]), part="powers")
    s.emit("Pow", _fold_taps(s, "Add", power, 0), s.like(s.x(0), 1 / s["p"]))


def _fold_taps(
    s: Site, op: str, x: Value, fill: float, *, result: bool = False, counted: bool = False, word: str = "window"
) -> Value:
    """Each window's elements combined by `op`: one strided slice of the padded x for each element of the kernel.

    counted: the declared padding counts as ones, as in means that include it.
    """
    kernel, strides, dilations = s["kernel"], s["strides"], s["dilations"]
    count = len(kernel)
    axes = tuple(range(2, 2 + count))
    spatial, out = s.shape(0)[2:], s.out.shape[2:]
    before, after = _declared(s)
    reach: list[Dim] = [
        (o - 1) * stride + d * (k - 1) + 1 for o, stride, d, k in zip(out, strides, dilations, kernel, strict=True)
    ]
    over = [dim_max(0, r - b - n - a) for r, b, n, a in zip(reach, before, spatial, after, strict=True)]
    if counted:
        x = _padded(s, x, (*before, *after), 1, f"{word}_declared")
        x = _padded(s, x, (*(0,) * count, *over), 0, f"{word}_padded")
    else:
        ends = tuple(a + o for a, o in zip(after, over, strict=True))
        x = _padded(s, x, (*before, *ends), fill, f"{word}_padded")
    cuts = []
    for at in each(*(range(k) for k in kernel)):
        starts = [t * d for t, d in zip(at, dilations, strict=True)]
        ends = tuple(b + (o - 1) * stride + 1 for b, o, stride in zip(starts, out, strides, strict=True))
        cuts.append(
            s.slice(x, s.ints(starts), s.sizes.vector(ends), axes, strides, part=f"{word}_{'_'.join(map(str, at))}")
        )
    if op == "Max":
        return s.emit("Max", *cuts, part="" if result else word)
    total = cuts[0]
    for cut in cuts[1:]:
        total = s.emit(op, total, cut, part=word)
    return total


def _declared(s: Site) -> tuple[list[Dim], list[Dim]]:
    """The padding before and after each axis; of "same" padding that depends on the dims, as expressions."""
    count = len(s["kernel"])
    if s["auto_pad"] == "none":
        return list(s["pads"][:count]), list(s["pads"][count:])
    before: list[Dim] = []
    after: list[Dim] = []
    for n, size in enumerate(s.shape(0)[2:]):
        extent = s["dilations"][n] * (s["kernel"][n] - 1) + 1
        total = dim_max(0, (s.out.shape[2 + n] - 1) * s["strides"][n] + extent - size)
        half = total // 2
        before.append(half if s["auto_pad"] == "same_upper" else total - half)
        after.append(total - before[-1])
    return before, after


def _padded(s: Site, x: Value, pads: tuple[Dim, ...], fill: float, part: str) -> Value:
    if all(isinstance(p, int) and p == 0 for p in pads):
        return x
    count = len(pads) // 2
    whole = (0, 0, *pads[:count], 0, 0, *pads[count:])
    return s.emit("Pad", x, s.sizes.vector(whole), s.like(x, fill), part=part, mode="constant")


@writes("global_avg_pool", "global_max_pool")
def _global_pool(s: Site) -> None:
    op = "GlobalAveragePool" if s.layer.op.name == "global_avg_pool" else "GlobalMaxPool"
    s.emit(op if s.rank(0) > 2 else "Identity", s.x(0))

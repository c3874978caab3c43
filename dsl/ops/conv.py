"""Convolutions: conv, deconv (transposed), conv_integer. 1 to 3 spatial axes, channels first."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import FLOATS
from trtn.dsl.network import Shape
from trtn.dsl.ops.arrays import wide
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.convolution import convolve, deconvolve
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.signature import show
from trtn.dsl.ops.sizes import sign_of
from trtn.dsl.ops.windows import AUTO_PAD, actual_pads, canonical_window, window_dims

__all__ = ["Conv", "ConvInteger", "Deconv"]


def _spatial_count(i: Infer) -> int:
    """The number of spatial axes of x and the weight, which must agree."""
    count = i.rank(0, 3, 4, 5) - 2
    i.rank(1, count + 2)
    return count


def _grouped(i: Infer, d: Dim, what: str, index: int) -> Dim:
    """d / groups, which must be whole."""
    groups: int = i["groups"]
    if groups < 1:
        i.fail("E0304", f"`groups` of `{i.op.name}` is at least 1, not {groups}", attr="groups")
    quotient = d // groups
    if quotient * groups != d:
        if isinstance(d, int):
            i.fail(
                "E0313",
                f"{d} {what} of `{i.op.name}` don't divide into {groups} groups",
                inputs=[index],
                attr="groups",
            )
        i.require("==", d % groups, 0, f"{what} of `{i.op.name}` don't divide into groups", inputs=[index])
    return quotient


def _bias(i: Infer, channels: Dim) -> None:
    if i.has(2):
        i.rank(2, 1)
        i.equal(channels, i.shape(2)[0], f"output channels and `bias` of `{i.op.name}` differ", inputs=[1, 2])


def _conv_dims(i: Infer) -> Shape:
    count = _spatial_count(i)
    canonical_window(i, count)
    x, weight = i.shape(0), i.shape(1)
    channels = _grouped(i, x[1], "channels", 0)
    i.equal(channels, weight[1], f"channels of x per group and of `weight` of `{i.op.name}` differ", inputs=[0, 1])
    _grouped(i, weight[0], "output channels", 1)
    return (x[0], weight[0], *window_dims(i, x[2:], weight[2:]))


def _add_bias(y: Any, bias: Any) -> Any:
    if bias is not None:
        y += wide(bias).reshape(-1, *(1,) * (y.ndim - 2))
    return y


class Conv(Op):
    """Convolution (cross-correlation) of x [N, C, *in] with weight [O, C / groups, *k], plus bias [O] -> [N,
    O, *out].

    out = (in + pads - dilation * (k - 1) - 1) // stride + 1 on each of 1 to 3 axes. `pads` lists the begins,
    then the ends (one entry for all, one an axis for both ends). "same_upper" and "same_lower" pad so that
    out = ceil(in / stride). ONNX Conv.
    """

    signature = (
        "conv(x: T, weight: T, bias: T?, *, strides: ints = 1, pads: ints = 0, dilations: ints = 1,"
        f" groups: int = 1, {AUTO_PAD}) -> T"
    )
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        shape = _conv_dims(i)
        _bias(i, shape[1])
        return shape

    def evaluate(
        self,
        xp: Any,
        x: Any,
        weight: Any,
        bias: Any,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        auto_pad: str,
    ) -> Any:
        around = actual_pads(x.shape[2:], weight.shape[2:], strides, pads, dilations, auto_pad)
        y = convolve(xp, wide(x), wide(weight), strides, around, dilations, groups)
        return _add_bias(y, bias).astype(x.dtype, copy=False)


class ConvInteger(Op):
    """The convolution of 8-bit integers, exact in i32: x and weight count from their zero points (0 where
    absent).

    `x_zero` is a scalar, `w_zero` a scalar or one number an output channel. Padding is x's zero point. ONNX
    ConvInteger.
    """

    signature = (
        "conv_integer(x: i8|u8, weight: i8|u8, x_zero: i8|u8?, w_zero: i8|u8?, *, strides: ints = 1,"
        f" pads: ints = 0, dilations: ints = 1, groups: int = 1, {AUTO_PAD}) -> i32"
    )

    def infer(self, i: Infer) -> Shape:
        shape = _conv_dims(i)
        for index, data in ((2, 0), (3, 1)):
            if i.has(index) and i.dtype(index) is not i.dtype(data):
                name, other = i.input_name(index), i.input_name(data)
                i.fail(
                    "E0302",
                    f"dtypes of `{other}` and `{name}` differ: {i.dtype(data)} and {i.dtype(index)}",
                    inputs=[data, index],
                )
        if i.has(2) and i.shape(2) not in ((), (1,)):
            i.fail("E0303", f"`x_zero` of `conv_integer` is a scalar, not {i.tensor(2).type}", inputs=[2])
        if i.has(3) and i.shape(3) not in ((), (1,)):
            i.rank(3, 1)
            i.equal(
                shape[1],
                i.shape(3)[0],
                "output channels and `w_zero` of `conv_integer` differ",
                inputs=[1, 3],
            )
        return shape

    def evaluate(
        self,
        xp: Any,
        x: Any,
        weight: Any,
        x_zero: Any,
        w_zero: Any,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        auto_pad: str,
    ) -> Any:
        around = actual_pads(x.shape[2:], weight.shape[2:], strides, pads, dilations, auto_pad)
        # Products of differences are below 2^16: their sums are exact in floats, which have fast products.
        exact = "float32" if weight[:1].size < 1 << 8 else "float64"
        x, weight = x.astype(exact), weight.astype(exact)
        if x_zero is not None:
            x -= x_zero.reshape(()).astype(exact)
        if w_zero is not None:
            weight -= w_zero.astype(exact).reshape(-1, *(1,) * (weight.ndim - 1))
        return convolve(xp, x, weight, strides, around, dilations, groups).astype("int32")


class Deconv(Op):
    """Transposed convolution of x [N, C, *in] with weight [C, O / groups, *k], plus bias [O] -> [N, O, *out].
    ONNX ConvTranspose.

    out = stride * (in - 1) + output_pads + dilation * (k - 1) + 1 - pads. `output_shape` gives `out` (the
    spatial dims) instead, and the padding follows from it; with "same_upper" or "same_lower" alone out is in
    * stride. The odd element of such padding is at the end for "same_upper", else at the beginning.
    """

    signature = (
        "deconv(x: T, weight: T, bias: T?, *, strides: ints = 1, pads: ints = 0, dilations: ints = 1,"
        f" groups: int = 1, output_pads: ints = 0, output_shape: ints?, {AUTO_PAD}) -> T"
    )
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        count = _spatial_count(i)
        canonical_window(i, count)
        extra = i.ints("output_pads", count)
        x, weight = i.shape(0), i.shape(1)
        i.equal(x[1], weight[0], "channels of x and of `weight` of `deconv` differ", inputs=[0, 1])
        _grouped(i, x[1], "channels", 0)
        channels = weight[1] * i["groups"]
        _bias(i, channels)
        given = i["output_shape"]
        if given is not None and len(given) != count:
            i.fail(
                "E0304",
                f"`output_shape` of `deconv` has {len(given)} entries for {count} spatial axes",
                attr="output_shape",
            )
        if any(p < 0 for p in extra):
            i.fail("E0304", f"`output_pads` of `deconv` are at least 0, not {show(extra)}", attr="output_pads")
        out: list[Dim] = []
        for n, (d, k) in enumerate(zip(x[2:], weight[2:], strict=True)):
            stride, dilation = i["strides"][n], i["dilations"][n]
            size = stride * (d - 1) + extra[n] + dilation * (k - 1) + 1
            if given is not None:
                size = given[n]
            elif i["auto_pad"] != "none":
                size = d * stride
            else:
                size = size - i["pads"][n] - i["pads"][count + n]
                if sign_of(size) <= 0:
                    i.require(
                        ">=",
                        size,
                        0,
                        f"padding of `deconv` is more than the result has in dim {n + 2}",
                        inputs=[0],
                    )
            out.append(size)
        return (x[0], channels, *out)

    def evaluate(
        self,
        xp: Any,
        x: Any,
        weight: Any,
        bias: Any,
        *,
        strides: tuple[int, ...],
        pads: tuple[int, ...],
        dilations: tuple[int, ...],
        groups: int,
        output_pads: tuple[int, ...],
        output_shape: tuple[int, ...] | None,
        auto_pad: str,
    ) -> Any:
        count = len(strides)
        reach = [
            s * (n - 1) + e + d * (k - 1) + 1
            for n, k, s, d, e in zip(x.shape[2:], weight.shape[2:], strides, dilations, output_pads, strict=True)
        ]
        if output_shape is None and auto_pad == "none":
            begins: list[int] = list(pads[:count])
            out = [r - b - a for r, b, a in zip(reach, begins, pads[count:], strict=True)]
        else:
            out = list(output_shape or (n * s for n, s in zip(x.shape[2:], strides, strict=True)))
            cut = [max(0, r - o) for r, o in zip(reach, out, strict=True)]
            begins = [c // 2 if auto_pad == "same_upper" else c - c // 2 for c in cut]
        y = deconvolve(xp, wide(x), wide(weight), out, strides, begins, dilations, groups)
        return _add_bias(y, bias).astype(x.dtype, copy=False)

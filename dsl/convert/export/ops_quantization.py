"""Quantising and dequantising, spelled out for dtypes that an opset's ops don't take."""

from __future__ import annotations

from typing import Any

import numpy as np

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import F32, Site
from trtn.dsl.convert.export.values import Value, elem_type
from trtn.dsl.convert.export.widening import signature_of
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BY_NAME, DType

__all__: list[str] = []


def _attrs(s: Site) -> dict[str, Any]:
    whole = s.shape(1) in ((), (1,)) and not s["block"]
    return {"axis": None if whole else s["axis"], "block_size": s["block"] or None}


def _native(s: Site, op: str, levels: DType, real: DType) -> bool:
    """Whether the opset's op takes these dtypes, and blocks where there are any."""
    signature = signature_of(op, s.opset)
    assert signature is not None
    variable = signature.output(0) if op == "QuantizeLinear" else signature.input(0)
    return (
        signature.takes(variable, levels)
        and real.name != "f64"
        and (not s["block"] or "block_size" in signature.attributes)
    )


@writes("quantize_linear")
def _quantize(s: Site) -> None:
    levels: DType = s["dtype"]
    s.writer.check_dtype(levels)
    x, scale, zero = s.x(0), s.x(1), s.maybe(2)
    if not x.dtype.is_float:
        x, scale = s.cast(x, F32, "x_real"), s.cast(scale, F32, "scale_real")
    if not _native(s, "QuantizeLinear", levels, x.dtype):
        _quantize_spelled_out(s, x, scale, zero)
        return
    attrs = _attrs(s)
    if zero is None and levels.name != "u8":  # the zero point says what is made
        sizes = [d for d in s.shape(1) if isinstance(d, int)]
        if len(sizes) == s.rank(1):
            zero = s.constant(np.zeros(sizes), levels)
        else:
            attrs["output_dtype"] = elem_type(levels)
    saturate = None if s["saturate"] or not levels.is_float else 0
    s.emit("QuantizeLinear", x, scale, zero, saturate=saturate, **attrs)


def _quantize_spelled_out(s: Site, x: Value, scale: Value, zero: Value | None) -> None:
    levels: DType = s["dtype"]
    real = x.dtype if x.dtype.bits >= 32 else F32
    y = s.emit(
        "Div", s.cast(x, real, "x_wide"), _spread(s, s.cast(scale, real, "scale_wide"), "scale"), part="quotient"
    )
    if levels.is_float:
        s.emit("Cast", y, to=elem_type(levels), saturate=None if s["saturate"] else 0)
        return
    y = s.emit("Round", y, part="rounded")
    if zero is not None:
        y = s.emit("Add", y, _spread(s, s.cast(zero, real, "zero_wide"), "zero"), part="moved")
    lowest = -(1 << (levels.bits - 1)) if levels.kind == "i" else 0
    limits = s.like(y, lowest), s.like(y, lowest + (1 << levels.bits) - 1)
    s.cast_out(s.emit("Clip", y, *limits, part="limited"))


@writes("dequantize_linear")
def _dequantize(s: Site) -> None:
    x, scale, zero = s.x(0), s.x(1), s.maybe(2)
    offset_of_i32 = x.dtype.name == "i32" and zero is not None  # ONNX has none
    if _native(s, "DequantizeLinear", x.dtype, scale.dtype) and not offset_of_i32:
        s.emit("DequantizeLinear", x, scale, zero, **_attrs(s))
        return
    real = scale.dtype if scale.dtype.bits >= 32 else F32
    if zero is not None:
        work = BY_NAME["i32"] if x.dtype.is_integer else F32
        offset = _spread(s, s.cast(zero, work, "zero_wide"), "zero")
        x = s.emit("Sub", s.cast(x, work, "x_wide"), offset, part="centred")
    y = s.cast(x, real, "x_real")
    factor = _spread(s, s.cast(scale, real, "scale_wide"), "scale")
    if real is scale.dtype:
        s.emit("Mul", y, factor)
    else:
        s.cast_out(s.emit("Mul", y, factor, part="product"))


def _spread(s: Site, parameter: Value, part: str) -> Value:
    """A scale or zero point in a shape that broadcasts to x."""
    rank, axis, block = s.rank(0), s["axis"], s["block"]
    if not block:
        if s.shape(1) == ():
            return parameter
        if s.shape(1) == (1,):
            return s.emit("Reshape", parameter, s.ints([]), part=f"{part}_scalar")
        after = tuple(range(1, rank - axis))
        return s.fold_axes(parameter, after, "Unsqueeze", part=f"{part}_column") if after else parameter
    # Each number is repeated over its block; the last block may be cut short.
    shape, own = s.shape(0), s.shape(1)
    column = s.fold_axes(parameter, [axis + 1], "Unsqueeze", part=f"{part}_column")
    wide = (*own[: axis + 1], block, *own[axis + 1 :])
    times: list[Dim] = [block if n == axis + 1 else 1 for n in range(rank + 1)]
    repeated = s.emit("Expand", column, s.sizes.vector(times), part=f"{part}_blocks")
    flat = s.reshape(repeated, wide, (*own[:axis], own[axis] * block, *own[axis + 1 :]), part=f"{part}_wide")
    if own[axis] * block == shape[axis]:
        return flat
    return s.slice(flat, s.ints([0]), s.sizes.vector([shape[axis]]), [axis], [1], part=f"{part}_cut")


@writes("dynamic_quantize_linear")
def _dynamic_quantize(s: Site) -> None:
    s.emit_all("DynamicQuantizeLinear", s.x(0), results=(0, 1, 2))

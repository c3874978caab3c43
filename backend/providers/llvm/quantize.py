"""Between real numbers and 8-bit levels: quantize_linear, dequantize_linear, dynamic_quantize_linear."""

from __future__ import annotations

from typing import Any

import numpy as np

from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers.llvm.boxes import emitter_for, loops
from trtn.backend.providers.llvm.emitter import BYTE, F32, I32, I64, Emitter, memory_type
from trtn.backend.providers.llvm.family import Unfit, Written
from trtn.backend.providers.llvm.team import TeamEmitter
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Layer, Tensor

__all__ = ["write_quantization"]

_LEVELS = ("i8", "u8", "i16", "u16", "i32")


def write_quantization(problem: Problem) -> Written:
    layer = problem.group.layers[0]
    if any(o.size == 0 for o in problem.outputs) or problem.inputs[0].size == 0:
        raise Unfit("no elements")
    e = emitter_for(problem)
    match layer.op.name:
        case "dynamic_quantize_linear":
            _dynamic(e, problem, layer)
        case "quantize_linear" | "dequantize_linear":
            _fixed(e, problem, layer)
        case name:
            raise Unfit(f"no kernel for `{name}`")
    return Written(e.text(), e.numbers, shared=False)


class _Arrays:
    """A problem's arrays by tensor."""

    def __init__(self, e: Emitter, problem: Problem) -> None:
        group = problem.group
        self._e = e
        self._numbers = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        self._layouts = (*problem.inputs, *problem.outputs)

    def __contains__(self, tensor: Tensor) -> bool:
        return id(tensor) in self._numbers

    def pointer(self, tensor: Tensor) -> Any:
        return self._e.pointers[self._numbers[id(tensor)]]

    def layout(self, tensor: Tensor) -> ArrayLayout:
        return self._layouts[self._numbers[id(tensor)]]


def _limits(dtype: DType) -> tuple[float, float]:
    limits = np.iinfo(dtype.numpy)
    return float(limits.min), float(limits.max)


def _fixed(e: Emitter, problem: Problem, layer: Layer) -> None:
    """By scales and zero points that are given: one, or one for each index of an axis."""
    b, arrays = e.b, _Arrays(e, problem)
    x, scale, y = layer.inputs[0], layer.inputs[1], layer.outputs[0]
    zero = layer.inputs[2] if len(layer.inputs) > 2 else None
    assert x is not None and scale is not None
    real, level = (x, y) if layer.op.name == "quantize_linear" else (y, x)
    if real.dtype.name != "f32" or scale.dtype.name != "f32" or level.dtype.name not in _LEVELS or layer.attrs["block"]:
        raise Unfit("blocks, or dtypes other than f32 and whole numbers")
    shape = arrays.layout(y).shape

    def along(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
        layout = arrays.layout(tensor)
        if layout.size == 1:
            return (), ()
        axis = layer.attrs["axis"] % len(shape)
        return (*layout.shape, *(1,) * (len(shape) - axis - 1)), (*layout.strides, *(0,) * (len(shape) - axis - 1))

    own = [(arrays.layout(t).shape, arrays.layout(t).strides) for t in (y, x)]
    with loops(e, shape, [*own, along(scale), *([along(zero)] if zero is not None else [])]) as (into, at, s, *z):
        value = e.load(arrays.pointer(x), at, memory_type(x.dtype))
        by = e.load(arrays.pointer(scale), s, F32)
        less = e.load(arrays.pointer(zero), z[0], memory_type(zero.dtype)) if zero is not None else None
        if level is x:
            wide = _widened(e, value, x.dtype)
            if less is not None:
                wide = b.sub(wide, _widened(e, less, level.dtype))
            found = b.fmul(b.sitofp(wide, F32), by)
        else:
            found = e.intrinsic("roundeven", b.fdiv(value, by))
            if less is not None:
                found = b.fadd(found, b.sitofp(_widened(e, less, level.dtype), F32))
            found = _level(e, found, y.dtype)
        e.store(found, arrays.pointer(y), into, memory_type(y.dtype))


def _widened(e: Emitter, value: Any, dtype: DType) -> Any:
    """A level as i32."""
    if dtype.bits == 32:
        return value
    return e.b.zext(value, I32) if dtype.kind == "u" else e.b.sext(value, I32)


def _level(e: Emitter, value: Any, dtype: DType) -> Any:
    """A whole number in f32, limited to a dtype's range; NaN becomes a number in it."""
    low, high = _limits(dtype)
    if dtype.bits == 32:
        return e.call("llvm.fptosi.sat.i32.f32", I32, value)
    value = e.intrinsic("minnum", e.intrinsic("maxnum", value, F32(low)), F32(high))
    return e.b.trunc(e.b.fptosi(value, I32), memory_type(dtype))


def _joined(e: TeamEmitter, low: Any, high: Any) -> tuple[Any, Any]:
    """The range of what all members have seen. Sizes are compared as whole numbers, in which order their bits are; NaN is
    the largest."""
    b = e.b
    for slot, end in zip(e.slots, (low, high), strict=True):
        bits = b.zext(b.bitcast(e.intrinsic("fabs", end), I32), I64)
        b.atomic_rmw("umax", slot, bits, "monotonic")
    e.meet(I64(1))
    low, high = (b.bitcast(b.trunc(b.load(slot, typ=I64), I32), F32) for slot in e.slots)
    return b.fneg(low), high


def _dynamic(e: Emitter, problem: Problem, layer: Layer) -> None:
    """By the range of x itself; the arithmetic is that of dsl.ops.quantization's `dynamic_levels`."""
    b, arrays = e.b, _Arrays(e, problem)
    x, (y, scale_out, zero_out) = layer.inputs[0], layer.outputs
    assert x is not None
    source = arrays.layout(x)
    lows, highs = e.local(F32), e.local(F32)
    for place in (lows, highs):
        b.store(F32(0.0), place)
    with loops(e, source.shape, [(source.shape, source.strides)]) as (at,):
        value = e.load(arrays.pointer(x), at, F32)
        b.store(e.intrinsic("minimum", b.load(lows, typ=F32), value), lows)
        b.store(e.intrinsic("maximum", b.load(highs, typ=F32), value), highs)
    low, high = (b.load(place, typ=F32) for place in (lows, highs))
    if isinstance(e, TeamEmitter):
        low, high = _joined(e, low, high)
    spread = b.fdiv(b.fsub(high, low), F32(255.0))
    scale = b.select(b.fcmp_ordered("==", spread, F32(0.0)), F32(1.0), spread)
    zero = e.intrinsic("minnum", e.intrinsic("roundeven", b.fdiv(b.fneg(low), scale)), F32(255.0))
    if scale_out in arrays:
        e.store(scale, arrays.pointer(scale_out), I64(0), F32)
    if zero_out in arrays:
        e.store(_level(e, zero, zero_out.dtype), arrays.pointer(zero_out), I64(0), BYTE)
    if y in arrays:
        target = arrays.layout(y)
        own = [(target.shape, target.strides), (source.shape, source.strides)]
        with loops(e, target.shape, own) as (into, at):
            value = b.fdiv(e.load(arrays.pointer(x), at, F32), scale)
            value = b.fadd(e.intrinsic("roundeven", value), zero)
            e.store(_level(e, value, y.dtype), arrays.pointer(y), into, BYTE)

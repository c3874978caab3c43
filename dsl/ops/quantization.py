"""Between real numbers and the few levels of an integer or 8-bit float: quantize_linear, dequantize_linear,
dynamic_quantize_linear.
"""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import ceildiv
from trtn.dsl.dtypes import BY_NAME, FLOATS, DType
from trtn.dsl.network import Shape, TensorType
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer

__all__ = ["DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear", "dynamic_levels"]

_LARGEST = {"f8e4m3": 448.0, "f8e5m2": 57344.0, "f8e4m3fnuz": 240.0, "f8e5m2fnuz": 57344.0, "f4e2m1": 6.0}
_LEVELS = tuple(BY_NAME[n] for n in ("u8", "i8", "u16", "i16", "u4", "i4", "u2", "i2", *_LARGEST))


def _check_parameters(i: Infer) -> None:
    """`scale` is a scalar, one number for each index of `axis`, or one for each block of `block` elements
    along it; the zero point has its shape. The axis is made canonical where it counts.
    """
    shape, scale = i.shape(0), i.shape(1)
    if i["block"] < 0:
        i.fail("E0304", f"`block` of `{i.op.name}` is at least 0, not {i['block']}", attr="block")
    if scale not in ((), (1,)) or i["block"]:
        axis = i.axis(i.rank(0, at_least=1))
        if i["block"]:
            i.rank(1, len(shape))
            wanted = (*shape[:axis], ceildiv(shape[axis], i["block"]), *shape[axis + 1 :])
        else:
            i.rank(1, 1)
            wanted = (shape[axis],)
        for n, (expected, found) in enumerate(zip(wanted, scale, strict=True)):
            i.equal(expected, found, f"dim {n} of `scale` of `{i.op.name}` does not fit x", inputs=[1, 0])
    if i.has(2):
        i.same_shape(1, 2)


def _spread(xp: Any, parameter: Any, like: Any, axis: int, block: int) -> Any:
    """A scale or zero point that broadcasts over x."""
    if block:
        cut = (slice(None),) * axis + (slice(like.shape[axis]),)
        return xp.repeat(parameter, block, axis=axis)[cut]
    if parameter.size == 1:
        return parameter.reshape(())
    return parameter.reshape((-1,) + (1,) * (like.ndim - axis - 1))


def _real(x: Any) -> Any:
    """Numbers as f32, or f64 where they are."""
    return x if x.dtype.name == "float64" else x.astype("float32")


def _bounds(dtype: DType) -> tuple[float, float]:
    if dtype.is_float:
        return -_LARGEST[dtype.name], _LARGEST[dtype.name]
    return (-(2 ** (dtype.bits - 1)), 2 ** (dtype.bits - 1) - 1) if dtype.kind == "i" else (0, 2**dtype.bits - 1)


class QuantizeLinear(Op):
    """round(x / scale) + zero_point, halves to even, limited to the range of `dtype`. ONNX QuantizeLinear.

    `scale` is a scalar, a number for each index of `axis`, or one for each `block` elements along it;
    `zero_point` has its shape and decides the dtype where it is given. 8-bit floats round to their nearest;
    without `saturate` what is too large becomes inf or NaN.
    """

    signature = (
        "quantize_linear(x: T, scale: T, zero_point: any?, *, axis: int = 1, block: int = 0,"
        " dtype: dtype = u8, saturate: bool = true) -> dtype"
    )
    where = {"T": (*FLOATS, BY_NAME["i32"])}
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        _check_parameters(i)
        if i.has(2):
            if i["dtype"] not in (BY_NAME["u8"], i.dtype(2)):
                message = f"`dtype` of `quantize_linear` is {i['dtype']}, its zero point {i.dtype(2)}"
                i.fail("E0302", message, inputs=[2], attr="dtype")
            i.attrs["dtype"] = i.dtype(2)
        if i["dtype"] not in _LEVELS:
            words = ", ".join(map(str, _LEVELS))
            i.fail(
                "E0302",
                f"`quantize_linear` makes {words}, not {i['dtype']}",
                inputs=[2] if i.has(2) else [],
                attr="dtype",
            )
        return i.shape(0)

    def evaluate(
        self,
        xp: Any,
        x: Any,
        scale: Any,
        zero_point: Any,
        *,
        axis: int,
        block: int,
        dtype: DType,
        saturate: bool,
    ) -> Any:
        y = _real(x) / _spread(xp, _real(scale), x, axis, block)
        if not dtype.is_float:
            y = xp.rint(y)
            if zero_point is not None:
                y += _spread(xp, _real(zero_point), x, axis, block)
        if saturate or not dtype.is_float:
            y = xp.clip(y, *_bounds(dtype))
        return y.astype(dtype.numpy)


class DequantizeLinear(Op):
    """(x - zero_point) * scale, in the dtype of the scale. Shapes as in quantize_linear. ONNX
    DequantizeLinear.
    """

    signature = "dequantize_linear(x: any, scale: T, zero_point: any?, *, axis: int = 1, block: int = 0) -> T"
    where = {"T": FLOATS}
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        _check_parameters(i)
        levels = (*_LEVELS, BY_NAME["i32"])
        if i.dtype(0) not in levels:
            words = ", ".join(map(str, levels))
            i.fail("E0302", f"`x` of `dequantize_linear` can't be {i.dtype(0)}; it takes {words}", inputs=[0])
        if i.has(2) and i.dtype(2) is not i.dtype(0):
            i.fail(
                "E0302",
                f"dtypes of `x` and `zero_point` differ: {i.dtype(0)} and {i.dtype(2)}",
                inputs=[0, 2],
            )
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, scale: Any, zero_point: Any, *, axis: int, block: int) -> Any:
        y = x
        if zero_point is not None:
            # Differences of integers are made as integers: those of i32 are not exact in f32.
            working = "int32" if "int" in x.dtype.name else "float32"
            y = x.astype(working) - _spread(xp, zero_point.astype(working), x, axis, block)
        y = _real(y) * _spread(xp, _real(scale), x, axis, block)
        return y.astype(scale.dtype, copy=False)


class DynamicQuantizeLinear(Op):
    """x as u8 with the scale and zero point that its own range, widened to hold 0, asks for. ONNX
    DynamicQuantizeLinear.

    scale = (max(x, 0) - min(x, 0)) / 255, zero_point = round(-min / scale), y = round(x / scale) +
    zero_point, all limited to u8.
    """

    signature = "dynamic_quantize_linear(x: f32) -> (y: u8, scale: f32, zero_point: u8)"

    def infer(self, i: Infer) -> list[Shape | TensorType]:
        return [i.shape(0), (), ()]

    def evaluate(self, xp: Any, x: Any) -> tuple[Any, ...]:
        y, scale, zero = dynamic_levels(xp, x)
        return y.astype("uint8"), xp.asarray(scale), xp.asarray(zero).astype("uint8")


def dynamic_levels(xp: Any, x: Any) -> tuple[Any, Any, Any]:
    """x as levels of u8, their scale and their zero point, all as f32: see DynamicQuantizeLinear. The levels are a new
    array."""
    low = xp.minimum(x.min(), 0) if x.size else xp.zeros((), dtype="float32")
    high = xp.maximum(x.max(), 0) if x.size else low
    spread = (high - low) / 255
    scale = spread + (spread == 0)
    zero = xp.minimum(xp.rint(-low / scale), 255)
    levels = xp.empty_like(x)
    xp.divide(x, scale, out=levels)
    xp.rint(levels, out=levels)
    levels += zero
    xp.maximum(levels, 0, out=levels)
    xp.minimum(levels, 255, out=levels)
    return levels, scale, zero

"""Arithmetic, comparisons, truth values and bits of tensors that broadcast."""

from __future__ import annotations

import numpy as np

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import I64, Site
from trtn.dsl.convert.export.values import Value
from trtn.dsl.dtypes import BY_NAME

__all__: list[str] = []

_TWINS = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min", "where": "Where",
    "equal": "Equal", "less": "Less", "less_equal": "LessOrEqual", "greater": "Greater",
    "greater_equal": "GreaterOrEqual", "and": "And", "or": "Or", "xor": "Xor",
}  # fmt: skip
_BITS = {
    "bitwise_and": ("BitwiseAnd", "And"), "bitwise_or": ("BitwiseOr", "Or"), "bitwise_xor": ("BitwiseXor", "Xor"),
    "bitwise_not": ("BitwiseNot", "Not"),
}  # fmt: skip


@writes(*_TWINS)
def _twin(s: Site) -> None:
    s.emit(_TWINS[s.layer.op.name], *s.xs())


@writes("pow")
def _pow(s: Site) -> None:
    x, y = s.x(0), s.x(1)
    s.emit("Pow", x, s.cast(y, BY_NAME["f64"], "exponent") if y.dtype.name == "u64" else y)


@writes("not_equal")
def _not_equal(s: Site) -> None:
    s.emit("Not", s.emit("Equal", s.x(0), s.x(1), part="equal"))


@writes("mod")
def _mod(s: Site) -> None:
    """ONNX has the remainder with y's sign for integers, with x's for all."""
    x, y = s.x(0), s.x(1)
    if s["fmod"] or x.dtype.is_integer:
        s.emit("Mod", x, y, fmod=int(s["fmod"]))
        return
    rest = s.emit("Mod", x, y, part="rest", fmod=1)
    s.emit("Where", _opposite(s, rest, y), s.emit("Add", rest, y, part="turned"), rest)


@writes("floor_div")
def _floor_div(s: Site) -> None:
    x, y = s.x(0), s.x(1)
    if x.dtype.is_float:
        s.emit("Floor", s.emit("Div", x, y, part="quotient"))
    elif x.dtype.kind == "u":
        s.emit("Div", x, y)
    else:
        quotient = s.emit("Div", x, y, part="quotient")
        rest = s.emit("Mod", x, y, part="rest", fmod=1)
        less = s.emit("Sub", quotient, s.like(x, 1), part="less")
        s.emit("Where", _opposite(s, rest, y), less, quotient)


def _opposite(s: Site, rest: Value, y: Value) -> Value:
    """Whether a remainder with x's sign is not 0 and has not y's."""
    zero = s.like(rest, 0)
    some = s.emit("Not", s.emit("Equal", rest, zero, part="none"), part="some")
    signs = s.emit(
        "Xor", s.emit("Less", rest, zero, part="below"), s.emit("Less", y, zero, part="y_below"), part="signs"
    )
    return s.emit("And", some, signs, part="opposite")


# --- bits ---


@writes(*_BITS)
def _bitwise(s: Site) -> None:
    native, logical = _BITS[s.layer.op.name]
    if s.has(native):
        s.emit(native, *s.xs())
        return
    bits = [_bits(s, s.x(n), f"bits{n}") for n in range(len(s.layer.inputs))]
    chosen = s.emit(logical, *bits, part="bits")
    # A product of matrices: ONNX Runtime adds up i64 exactly there, in ReduceSum as f64.
    s.cast_out(s.emit("MatMul", s.cast(chosen, I64, "ones"), s.writer.constant(_weights(s)), part="sum"))


def _bits(s: Site, x: Value, part: str) -> Value:
    """The bits of integers as truth values along a new last axis, the lowest first, the sign last."""
    wide = s.fold_axes(s.cast(x, I64, f"{part}_wide"), [-1], "Unsqueeze", part=f"{part}_column")
    powers = s.writer.constant(np.asarray([1 << n for n in range(_magnitude(s))], np.int64))
    lower = s.emit("Mod", wide, powers, part=f"{part}_below")
    shifted = s.emit("Div", s.emit("Sub", wide, lower, part=f"{part}_above"), powers, part=f"{part}_shifted")
    odd = s.emit(
        "Equal", s.emit("Mod", shifted, s.constant(2, I64), part=f"{part}_last"), s.constant(1, I64), part=part
    )
    return s.emit(
        "Concat", odd, s.emit("Less", wide, s.constant(0, I64), part=f"{part}_sign"), part=f"{part}_all", axis=-1
    )


def _magnitude(s: Site) -> int:
    """How many bits, as i64, are not the sign."""
    return min(63, s.dtype(0).bits)


def _weights(s: Site) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """What each of the bits is worth; the sign of a narrow type repeats its bits above, which the cast cuts off."""
    count = _magnitude(s)
    return np.asarray([*(1 << n for n in range(count)), -(1 << count) if count == 63 else 0], np.int64)


@writes("shift_left", "shift_right")
def _shift(s: Site) -> None:
    """ONNX shifts unsigned integers, by less than their width."""
    if s.dtype(0).kind == "u":
        _shift_unsigned(s)
        return
    x, y = s.x(0), s.x(1)
    left = s.layer.op.name == "shift_left"
    last = x.dtype.bits - (1 if left else 2)  # 2 to the power bits - 1 is negative: it wraps to the right product
    count = s.cast(y, I64, "count")
    near = s.emit("Clip", count, s.constant(0, I64), s.constant(last, I64), part="near")
    inside = s.emit("Equal", count, near, part="inside")
    powers = np.asarray([1 << n for n in range(last + 1)], np.uint64).astype(x.dtype.numpy)
    power = s.emit("Gather", s.writer.constant(powers), near, part="power")
    if left:
        s.emit("Where", inside, s.emit("Mul", x, power, part="product"), s.like(x, 0))
        return
    below = s.emit("Mod", x, power, part="below")
    quotient = s.emit("Div", s.emit("Sub", x, below, part="above"), power, part="quotient")
    sign = s.emit("Where", s.emit("Less", x, s.like(x, 0), part="negative"), s.like(x, -1), s.like(x, 0), part="sign")
    s.emit("Where", inside, quotient, sign)


def _shift_unsigned(s: Site) -> None:
    x, y, bits = s.x(0), s.x(1), s.dtype(0).bits
    direction = "LEFT" if s.layer.op.name == "shift_left" else "RIGHT"
    if y.array is not None and (y.array.astype(np.uint64) < bits).all():
        s.emit("BitShift", x, y, direction=direction)
        return
    near = s.emit("Min", y, s.like(y, bits - 1), part="near")
    shifted = s.emit("BitShift", x, near, part="shifted", direction=direction)
    s.emit("Mul", shifted, s.cast(s.emit("Equal", near, y, part="inside"), x.dtype, "ones"))

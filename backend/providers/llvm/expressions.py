"""What each pointwise op is, as instructions over values of its arguments' types. Truth values are i1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, floor, inf, sqrt
from typing import Any

import numpy as np

from trtn.backend.providers.llvm import functions as f
from trtn.backend.providers.llvm.emitter import I1, I64, Emitter, memory_type
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Layer
from trtn.dsl.records import record

__all__ = ["EXPRESSIONS", "Site", "convert", "refusal", "value_type"]

_TYPES = frozenset({"f32", "i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "bool"})


@record()
class Site:
    """A layer where it is written: its arguments, their dtypes (those of the first count), its attributes."""

    e: Emitter
    arguments: tuple[Any, ...]
    dtypes: tuple[DType, ...]
    layer: Layer

    @property
    def x(self) -> Any:
        return self.arguments[0]

    @property
    def dtype(self) -> DType:
        return self.dtypes[0]

    @property
    def attrs(self) -> Mapping[str, Any]:
        return self.layer.attrs

    def number(self, value: float) -> Any:
        """A constant of the first argument's type."""
        return self.e.number(value if self.dtype.is_float else int(value), self.x)


Expression = Callable[[Site], Any]


def value_type(dtype: DType) -> Any:
    """The type of a value between instructions."""
    return I1 if dtype.kind == "b" else memory_type(dtype)


def refusal(layer: Layer) -> str:
    """Why a layer has no expression; "" where it has one."""
    if layer.op.name not in EXPRESSIONS:
        return f"no instructions for `{layer.op.name}`"
    for t in (*layer.inputs, *layer.outputs):
        if t is not None and t.dtype.name not in _TYPES:
            return f"{t.dtype} of `{layer.op.name}`"
    name, first = layer.op.name, layer.inputs[0]
    if name == "div" and first is not None and not first.dtype.is_float:
        return "quotients of whole numbers"
    if name == "pow" and _exponent(layer) is None:
        return "powers but squares, cubes, roots and reciprocals"
    return ""


def convert(e: Emitter, x: Any, source: DType, target: DType) -> Any:
    """A value in another dtype: fractions are cut off, whole numbers wrap."""
    b, kind = e.b, value_type(target)
    if source is target:
        return x
    if target.kind == "b":
        zero = e.number(0.0 if source.is_float else 0, x)
        return b.fcmp_unordered("!=", x, zero) if source.is_float else b.icmp_signed("!=", x, zero)
    if source.kind == "b":
        return b.uitofp(x, kind) if target.is_float else b.zext(x, kind)
    if source.is_float:
        # By way of i64: what does not fit there has no right value, but must not be a wrong program.
        wide = e.call("llvm.fptosi.sat.i64.f32", I64, x)
        return wide if target.bits == 64 else b.trunc(wide, kind)
    if target.is_float:
        return b.uitofp(x, kind) if source.kind == "u" else b.sitofp(x, kind)
    if target.bits < source.bits:
        return b.trunc(x, kind)
    if target.bits == source.bits:
        return x
    return b.zext(x, kind) if source.kind == "u" else b.sext(x, kind)


def _arithmetic(real: str, whole: str) -> Expression:
    def write(s: Site) -> Any:
        return getattr(s.e.b, real if s.dtype.is_float else whole)(*s.arguments)

    return write


def _comparison(relation: str) -> Expression:
    def write(s: Site) -> Any:
        b, (x, y) = s.e.b, s.arguments
        if s.dtype.is_float:
            return b.fcmp_unordered(relation, x, y) if relation == "!=" else b.fcmp_ordered(relation, x, y)
        return b.icmp_signed(relation, x, y) if s.dtype.kind == "i" else b.icmp_unsigned(relation, x, y)

    return write


def _logical(instruction: str) -> Expression:
    return lambda s: getattr(s.e.b, instruction)(*s.arguments)


def _extreme(greatest: bool) -> Expression:
    def write(s: Site) -> Any:
        value = s.x
        for other in s.arguments[1:]:
            value = _either(s, value, other, greatest)
        return value

    return write


def _either(s: Site, x: Any, y: Any, greatest: bool) -> Any:
    """The greater or the less of two values, NaN where one is."""
    b = s.e.b
    if s.dtype.is_float:
        return (f.maximum if greatest else f.minimum)(s.e, x, y)
    relation = ">" if greatest else "<"
    compare = b.icmp_signed if s.dtype.kind == "i" else b.icmp_unsigned
    return b.select(compare(relation, x, y), x, y)


def _function(write: Callable[[Emitter, Any], Any]) -> Expression:
    return lambda s: write(s.e, s.x)


def _intrinsic(name: str) -> Expression:
    return lambda s: s.e.intrinsic(name, s.x)


def _neg(s: Site) -> Any:
    return s.e.b.fneg(s.x) if s.dtype.is_float else s.e.b.neg(s.x)


def _abs(s: Site) -> Any:
    if s.dtype.is_float:
        return s.e.intrinsic("fabs", s.x)
    if s.dtype.kind == "u":
        return s.x
    return s.e.b.select(s.e.b.icmp_signed("<", s.x, s.number(0)), s.e.b.neg(s.x), s.x)


def _not(s: Site) -> Any:
    return s.e.b.not_(s.x)


def _relu(s: Site) -> Any:
    return _either(s, s.x, s.number(0), True)


def _reciprocal(s: Site) -> Any:
    return s.e.b.fdiv(s.number(1.0), s.x)


def _rsqrt(s: Site) -> Any:
    return s.e.b.fdiv(s.number(1.0), s.e.intrinsic("sqrt", s.x))


def _scaled_sigmoid(s: Site, alpha: float) -> Any:
    """x * sigmoid(alpha * x)."""
    scaled = s.x if alpha == 1.0 else s.e.b.fmul(s.x, s.number(alpha))
    return s.e.b.fdiv(s.x, s.e.b.fadd(s.number(1.0), f.exp(s.e, s.e.b.fneg(scaled))))


def _gelu(s: Site) -> Any:
    b, x = s.e.b, s.x
    if s.attrs["approximate"] == "none":
        bend = f.erf(s.e, b.fmul(x, s.number(sqrt(0.5))))
    else:
        scale = sqrt(2 / np.pi)
        inner = s.e.intrinsic("fmuladd", b.fmul(x, x), s.number(0.044715 * scale), s.number(scale))
        bend = f.tanh(s.e, b.fmul(inner, x))
    return b.fmul(b.fmul(x, s.number(0.5)), b.fadd(bend, s.number(1.0)))


def _softplus_of(s: Site) -> Any:
    b = s.e.b
    small = f.exp(s.e, b.fneg(s.e.intrinsic("fabs", s.x)))
    return b.fadd(f.log1p_of_unit(s.e, small), f.maximum(s.e, s.x, s.number(0.0)))


def _mish(s: Site) -> Any:
    return s.e.b.fmul(s.x, f.tanh(s.e, _softplus_of(s)))


def _softsign(s: Site) -> Any:
    return s.e.b.fdiv(s.x, s.e.b.fadd(s.number(1.0), s.e.intrinsic("fabs", s.x)))


def _ramp(s: Site, alpha: float, beta: float) -> Any:
    line = s.e.b.fadd(s.e.b.fmul(s.x, s.number(alpha)), s.number(beta))
    return f.minimum(s.e, f.maximum(s.e, line, s.number(0.0)), s.number(1.0))


def _exponential_unit(s: Site, above: float, below: float) -> Any:
    b = s.e.b
    negative = b.fmul(f.expm1(s.e, f.minimum(s.e, s.x, s.number(0.0))), s.number(below))
    return b.select(b.fcmp_ordered(">", s.x, s.number(0.0)), b.fmul(s.x, s.number(above)), negative)


def _leaky(s: Site, slope: Any) -> Any:
    b = s.e.b
    if not s.dtype.is_float:
        compare = b.icmp_signed if s.dtype.kind == "i" else b.icmp_unsigned
        return b.select(compare("<", s.x, s.number(0)), b.mul(s.x, slope), s.x)
    return b.select(b.fcmp_ordered("<", s.x, s.number(0.0)), b.fmul(s.x, slope), s.x)


def _thresholded(s: Site) -> Any:
    return s.e.b.select(s.e.b.fcmp_ordered(">", s.x, s.number(s.attrs["alpha"])), s.x, s.number(0.0))


def _clip(s: Site) -> Any:
    x = s.x
    for name, greatest, whole in (("min", True, ceil), ("max", False, floor)):
        bound = s.attrs[name]
        if bound is not None:
            x = _either(s, x, s.number(_bound(bound, s.dtype, whole)), greatest)
    return x


def _bound(value: float, dtype: DType, whole: Callable[[float], int]) -> float:
    """A bound for whole numbers: rounded inwards and kept within the dtype."""
    if dtype.is_float:
        return value
    limits = np.iinfo(dtype.numpy)
    if value in (inf, -inf):
        return int(limits.max if value > 0 else limits.min)
    return min(max(whole(value), int(limits.min)), int(limits.max))


def _sign(s: Site) -> Any:
    b, zero = s.e.b, s.number(0)
    if s.dtype.is_float:
        above, below = b.fcmp_ordered(">", s.x, zero), b.fcmp_ordered("<", s.x, zero)
        other = s.x  # 0 and NaN
    else:
        compare = b.icmp_signed if s.dtype.kind == "i" else b.icmp_unsigned
        above, below, other = compare(">", s.x, zero), compare("<", s.x, zero), zero
    return b.select(above, s.number(1), b.select(below, s.number(-1), other))


def _where(s: Site) -> Any:
    return s.e.b.select(*s.arguments)


def _exponent(layer: Layer) -> float | None:
    """The constant exponent of a power that has instructions of its own."""
    x, power = layer.inputs
    if x is None or power is None or not x.dtype.is_float or power.weight is None:
        return None
    if any(d != 1 for d in power.weight.shape):
        return None
    value = float(power.weight.load().reshape(()))
    return value if value in (-1.0, 0.5, 1.0, 2.0, 3.0) else None


def _pow(s: Site) -> Any:
    b, x = s.e.b, s.x
    match _exponent(s.layer):
        case -1.0:
            return _reciprocal(s)
        case 0.5:
            return s.e.intrinsic("sqrt", x)
        case 2.0:
            return b.fmul(x, x)
        case 3.0:
            return b.fmul(b.fmul(x, x), x)
    return x


def _cast(s: Site) -> Any:
    return convert(s.e, s.x, s.dtype, s.attrs["to"])


def _isnan(s: Site) -> Any:
    return s.e.b.fcmp_unordered("uno", s.x, s.x)


EXPRESSIONS: Mapping[str, Expression] = {
    "abs": _abs,
    "add": _arithmetic("fadd", "add"),
    "and": _logical("and_"),
    "bitwise_and": _logical("and_"),
    "bitwise_not": _not,
    "bitwise_or": _logical("or_"),
    "bitwise_xor": _logical("xor"),
    "cast": _cast,
    "ceil": _intrinsic("ceil"),
    "clip": _clip,
    "div": _arithmetic("fdiv", ""),
    "elu": lambda s: _exponential_unit(s, 1.0, s.attrs["alpha"]),
    "equal": _comparison("=="),
    "erf": _function(f.erf),
    "exp": _function(f.exp),
    "floor": _intrinsic("floor"),
    "gelu": _gelu,
    "greater": _comparison(">"),
    "greater_equal": _comparison(">="),
    "hard_sigmoid": lambda s: _ramp(s, s.attrs["alpha"], s.attrs["beta"]),
    "hard_swish": lambda s: s.e.b.fmul(s.x, _ramp(s, 1 / 6, 0.5)),
    "isnan": _isnan,
    "leaky_relu": lambda s: _leaky(s, s.number(s.attrs["alpha"])),
    "less": _comparison("<"),
    "less_equal": _comparison("<="),
    "log": _function(f.log),
    "max": _extreme(True),
    "min": _extreme(False),
    "mish": _mish,
    "mul": _arithmetic("fmul", "mul"),
    "neg": _neg,
    "not": _not,
    "not_equal": _comparison("!="),
    "or": _logical("or_"),
    "pow": _pow,
    "prelu": lambda s: _leaky(s, s.arguments[1]),
    "reciprocal": _reciprocal,
    "relu": _relu,
    "round": _intrinsic("roundeven"),
    "rsqrt": _rsqrt,
    "selu": lambda s: _exponential_unit(s, s.attrs["gamma"], s.attrs["gamma"] * s.attrs["alpha"]),
    "sigmoid": _function(f.sigmoid),
    "sign": _sign,
    "silu": lambda s: _scaled_sigmoid(s, 1.0),
    "softplus": _softplus_of,
    "softsign": _softsign,
    "sqrt": _intrinsic("sqrt"),
    "sub": _arithmetic("fsub", "sub"),
    "swish": lambda s: _scaled_sigmoid(s, s.attrs["alpha"]),
    "tanh": _function(f.tanh),
    "thresholded_relu": _thresholded,
    "where": _where,
    "xor": _logical("xor"),
}

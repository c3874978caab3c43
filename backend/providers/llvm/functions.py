"""Functions of f32 numbers as arithmetic that LLVM can make vectors of, to a few units in the last place.

exp and log follow Cephes (S. L. Moshier, expf and logf); tanh and erf are the rational approximations of Eigen.
NaN comes out as NaN, what overflows as infinity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from trtn.backend.providers.llvm.emitter import I32, Emitter

__all__ = ["erf", "exp", "expm1", "log", "log1p_of_unit", "maximum", "minimum", "sigmoid", "tanh"]

_LOG2_E = 1.44269504088896341
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
"""ln 2 in two parts, of which the first times a small whole number is exact."""
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
_TANH = (
    (
        *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
        *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    ),
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
)
_TANH_END = 7.99881172180175781
"""From here on tanh is 1 in f32."""
_ERF = (
    (
        *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05),
        *(-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
    ),
    (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02),
)
_ERF_END = 4.0
_ROUNDER = 12582912.0
"""1.5 * 2^23: what is added to it is rounded to a whole number, in the low bits."""
_ROUNDER_BITS = 0x4B400000
_LEAST_NORMAL = 1.1754943508222875e-38


def maximum(e: Emitter, x: Any, y: Any) -> Any:
    """The greater of two floats, NaN where one is."""
    return _extreme(e, ">", x, y)


def minimum(e: Emitter, x: Any, y: Any) -> Any:
    """The less of two floats, NaN where one is."""
    return _extreme(e, "<", x, y)


def _extreme(e: Emitter, relation: str, x: Any, y: Any) -> Any:
    b = e.b
    if isinstance(x, ir.Constant):
        x, y = y, x
    # Nothing holds for NaN, so x it is where only x is: what x86's instructions do, too.
    found = b.select(b.fcmp_ordered(relation, y, x), y, x)
    return found if isinstance(y, ir.Constant) else b.select(b.fcmp_unordered("uno", y, y), y, found)


def exp(e: Emitter, x: Any) -> Any:
    b = e.b
    x = _clamped(e, x, -104.0, 89.0)
    power, rest, whole = _reduced(e, x)
    value = b.fadd(b.fadd(power, rest), e.number(1.0, x))
    # In two steps: 2^n itself may be too large or too small where the result is not.
    half = b.ashr(whole, _whole(1, whole))
    return b.fmul(b.fmul(value, _power_of_two(e, half)), _power_of_two(e, b.sub(whole, half)))


def expm1(e: Emitter, x: Any) -> Any:
    """exp(x) - 1 for x that are not positive, as exact near 0 as anywhere."""
    b = e.b
    x = _clamped(e, x, -30.0, 0.0)
    power, rest, whole = _reduced(e, x)
    scale = _power_of_two(e, whole)
    return b.fadd(b.fmul(b.fadd(power, rest), scale), b.fsub(scale, e.number(1.0, x)))


def _reduced(e: Emitter, x: Any) -> tuple[Any, Any, Any]:
    """x as n ln 2 + r with a whole n: exp(r) - 1 - r, r, and n."""
    b = e.b
    shifted = e.intrinsic("fmuladd", x, e.number(_LOG2_E, x), e.number(_ROUNDER, x))
    whole = b.sub(b.bitcast(shifted, _bits(x)), _whole(_ROUNDER_BITS, _bits(x)))
    n = b.fsub(shifted, e.number(_ROUNDER, x))
    rest = e.intrinsic("fmuladd", n, e.number(-_LN2_HIGH, x), x)
    rest = e.intrinsic("fmuladd", n, e.number(-_LN2_LOW, x), rest)
    return b.fmul(_polynomial(e, rest, _EXP), b.fmul(rest, rest)), rest, whole


def log(e: Emitter, x: Any) -> Any:
    """NaN below 0, -inf at 0."""
    b = e.b
    tiny = b.fcmp_ordered("<", x, e.number(_LEAST_NORMAL, x))
    scaled = b.select(tiny, b.fmul(x, e.number(2.0**23, x)), x)
    bits = b.bitcast(scaled, _bits(x))
    # The mantissa between sqrt(1/2) and sqrt(2), and the exponent that goes with it.
    moved = b.add(bits, _whole(0x3F800000 - 0x3F3504F3, bits))
    exponent = b.sub(b.lshr(moved, _whole(23, bits)), _whole(127, bits))
    mantissa = b.bitcast(b.add(b.and_(moved, _whole(0x7FFFFF, bits)), _whole(0x3F3504F3, bits)), x.type)
    power = b.sitofp(exponent, x.type)
    power = b.fsub(power, b.select(tiny, e.number(23.0, x), e.number(0.0, x)))
    m = b.fsub(mantissa, e.number(1.0, x))
    square = b.fmul(m, m)
    value = b.fmul(b.fmul(_polynomial(e, m, _LOG), square), m)
    value = e.intrinsic("fmuladd", power, e.number(_LN2_LOW, x), value)
    value = b.fadd(m, e.intrinsic("fmuladd", square, e.number(-0.5, x), value))
    value = e.intrinsic("fmuladd", power, e.number(_LN2_HIGH, x), value)
    infinite = e.number(float("inf"), x)
    value = b.select(b.fcmp_ordered("==", x, infinite), infinite, value)
    value = b.select(b.fcmp_ordered("==", x, e.number(0.0, x)), e.number(float("-inf"), x), value)
    return b.select(b.fcmp_unordered("<", x, e.number(0.0, x)), e.number(float("nan"), x), value)


def log1p_of_unit(e: Emitter, x: Any) -> Any:
    """log(1 + x) for x from 0 to 1, by Kahan's correction of what 1 + x rounds off."""
    b = e.b
    one = e.number(1.0, x)
    total = b.fadd(one, x)
    lost = b.fsub(total, one)
    exact = b.fcmp_ordered("==", lost, e.number(0.0, x))
    return b.select(exact, x, b.fmul(log(e, total), b.fdiv(x, b.select(exact, one, lost))))


def sigmoid(e: Emitter, x: Any) -> Any:
    one = e.number(1.0, x)
    return e.b.fdiv(one, e.b.fadd(one, exp(e, e.b.fneg(x))))


def tanh(e: Emitter, x: Any) -> Any:
    near = e.b.fcmp_ordered("<", e.intrinsic("fabs", x), e.number(4e-4, x))
    return e.b.select(near, x, _rational(e, x, _TANH_END, *_TANH))


def erf(e: Emitter, x: Any) -> Any:
    return _rational(e, x, _ERF_END, *_ERF)


def _rational(e: Emitter, x: Any, end: float, above: Sequence[float], below: Sequence[float]) -> Any:
    """x p(x^2) / q(x^2), for x beyond `end` the value there."""
    x = _clamped(e, x, -end, end)
    square = e.b.fmul(x, x)
    return e.b.fdiv(e.b.fmul(x, _polynomial(e, square, above)), _polynomial(e, square, below))


def _polynomial(e: Emitter, x: Any, coefficients: Sequence[float]) -> Any:
    """By Horner's rule, the highest power's coefficient first."""
    value = e.number(coefficients[0], x)
    for c in coefficients[1:]:
        value = e.intrinsic("fmuladd", value, x, e.number(c, x))
    return value


def _clamped(e: Emitter, x: Any, low: float, high: float) -> Any:
    """Between two bounds; NaN stays."""
    b = e.b
    x = b.select(b.fcmp_ordered("<", x, e.number(low, x)), e.number(low, x), x)
    return b.select(b.fcmp_ordered(">", x, e.number(high, x)), e.number(high, x), x)


def _power_of_two(e: Emitter, n: Any) -> Any:
    """2^n as f32, for n within the exponents of normal numbers."""
    b = e.b
    bits = b.shl(b.add(n, _whole(127, n)), _whole(23, n))
    return b.bitcast(bits, _floats(n))


def _bits(x: Any) -> Any:
    return ir.VectorType(I32, x.type.count) if isinstance(x.type, ir.VectorType) else I32


def _floats(n: Any) -> Any:
    return ir.VectorType(ir.FloatType(), n.type.count) if isinstance(n.type, ir.VectorType) else ir.FloatType()


def _whole(value: int, like: Any) -> Any:
    kind = getattr(like, "type", like)
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [kind.element(value)] * kind.count)
    return kind(value)

"""What each pointwise op is in CUDA C++, as an expression over the compute types of its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, floor, inf, isinf, isnan
from struct import pack, unpack
from typing import Any

from trtn.backend.providers.codegen.prelude import COMPUTE_TYPES
from trtn.dsl.dtypes import BY_NAME

__all__ = ["COARSE", "EXPRESSIONS", "LIBRARY", "MOVES", "Site", "literal"]

COARSE = frozenset(
    {"ceil", "equal", "floor", "floor_div", "greater", "greater_equal", "isinf", "isnan", "less", "less_equal", "mod"}
    | {"not_equal", "round", "sign", "thresholded_relu"}
)
"""Ops that jump: a difference below their argument's precision could show."""
MOVES = frozenset(
    {"cast", "constant", "clip", "identity", "max", "min", "neg", "abs", "relu", "where", "round", "floor", "ceil"}
)
"""Ops whose result is exact in their dtype when their arguments are."""


@dataclass(frozen=True, slots=True)
class Site:
    """A step as its expression sees it: arguments as C++ text, dtypes by name."""

    arguments: tuple[str, ...]
    dtypes: tuple[str, ...]
    dtype: str
    attrs: Mapping[str, Any]

    @property
    def x(self) -> str:
        return self.arguments[0]

    @property
    def y(self) -> str:
        return self.arguments[1]

    @property
    def kind(self) -> str:
        """`f`, `i`, `u` or `b`: of the first argument."""
        return BY_NAME[self.dtypes[0]].kind

    @property
    def type(self) -> str:
        """The C++ type that the first argument is computed in."""
        return COMPUTE_TYPES[self.dtypes[0]]

    @property
    def short(self) -> bool:
        """Whether the result has 16 bits, for which the faster functions are exact enough (2 ulp of f32)."""
        return self.dtype in ("f16", "bf16")

    def number(self, value: float) -> str:
        """A number in the compute type of the first argument."""
        return literal(value, self.dtypes[0])

    def attr(self, name: str) -> str:
        return self.number(self.attrs[name])


def literal(value: float, dtype: str) -> str:
    """A number as C++ writes it, exactly, in the compute type of a dtype."""
    kind = BY_NAME[dtype].kind
    if kind == "b":
        return "true" if value else "false"
    if kind in "iu":
        return (
            f"({COMPUTE_TYPES[dtype]}){int(value)}{'ull' if kind == 'u' else 'll'}"
            if value >= -(2**63) + 1
            else "(i64)(1ull << 63)"
        )
    if isnan(value) or isinf(value):
        text = "not_a_number()" if isnan(value) else "infinity()" if value > 0 else "-infinity()"
        return f"({COMPUTE_TYPES[dtype]}){text}"
    if dtype == "f64":
        return float(value).hex()
    return f"{_to_f32(value).hex()}f" if abs(value) < _F32_BOUND else literal(inf if value > 0 else -inf, dtype)


_F32_BOUND = float.fromhex("0x1.ffffffp+127")
"""From here on, numbers round to an infinity of f32."""


def _to_f32(value: float) -> float:
    (nearest,) = unpack("f", pack("f", value))
    return float(nearest)


Expression = Callable[[Site], str]


def _call(name: str) -> Expression:
    return lambda s: f"{name}({', '.join(s.arguments)})"


def _infix(sign: str) -> Expression:
    return lambda s: f"{s.x} {sign} {s.y}"


def _wrapping(sign: str) -> Expression:
    """Integers wrap: they are computed without a sign, where C++ defines that."""

    def write(s: Site) -> str:
        if s.kind == "f":
            return f"{s.x} {sign} {s.y}"
        return f"({s.type})((u64){s.x} {sign} (u64){s.y})"

    return write


def _bits(sign: str) -> Expression:
    return lambda s: f"({s.type})({s.x} {sign} {s.y})"


def _fold(name: str) -> Expression:
    """A function of two arguments, over any number of them."""

    def write(s: Site) -> str:
        text = s.x
        for other in s.arguments[1:]:
            text = f"{name}({text}, {other})"
        return text

    return write


def _abs(s: Site) -> str:
    if s.kind == "f":
        return f"abs({s.x})"
    return s.x if s.kind == "u" else f"({s.type})({s.x} < 0 ? 0ull - (u64){s.x} : (u64){s.x})"


def _sign(s: Site) -> str:
    picked = f"({s.type})(({s.x} > 0) - ({s.x} < 0))"
    return f"({s.x} != {s.x} ? {s.x} : {picked})" if s.kind == "f" else picked


def _cast(s: Site) -> str:
    to, target = s.attrs["to"], COMPUTE_TYPES[s.attrs["to"]]
    if to == s.dtypes[0]:
        return s.x
    if to == "bool":
        return f"{s.x} != 0"
    if to in ("f16", "bf16"):
        return f"rounded<{to}>((float){s.x})"
    if s.kind == "f" and BY_NAME[to].is_integer:
        # By way of 64 bits what does not fit wraps; a direct conversion would saturate.
        return f"({target})({s.x} < 0 ? (u64)(i64){s.x} : (u64){s.x})" if to == "u64" else f"({target})(i64){s.x}"
    return f"({target}){s.x}"


def _clip(s: Site) -> str:
    text = s.x
    for name, bound, whole in (("maximum", s.attrs["min"], ceil), ("minimum", s.attrs["max"], floor)):
        if bound is not None:
            text = f"{name}({text}, {_bound(s, bound, whole)})"
    return text


def _bound(s: Site, value: float, whole: Callable[[float], int]) -> str:
    """A bound in x's dtype: for integers rounded inwards and kept within the dtype."""
    dtype = BY_NAME[s.dtypes[0]]
    if dtype.is_float:
        return s.number(value)
    low = 0 if dtype.kind == "u" else -(1 << (dtype.bits - 1))
    high = low + (1 << dtype.bits) - 1
    if value in (inf, -inf):
        return s.number(high if value > 0 else low)
    return s.number(min(max(whole(value), low), high))


def _divide(s: Site) -> str:
    if s.kind == "f":
        return f"quick_div({s.x}, {s.y})" if s.short and s.type == "float" and _is_number(s.y) else f"{s.x} / {s.y}"
    return f"({s.type})({s.y} == 0 ? 0 : {_no_trap(s)})"


def _no_trap(s: Site) -> str:
    """An integer quotient; dividing the least number by -1 wraps."""
    return f"({s.y} == ({s.type})-1 ? 0ull - (u64){s.x} : (u64)({s.x} / {s.y}))" if s.kind == "i" else f"{s.x} / {s.y}"


def _is_number(text: str) -> bool:
    return text.lstrip("(-").startswith("0x")


def _exp(s: Site) -> str:
    return f"quick_exp({s.x})" if s.short else f"exp({s.x})"


def _logistic(numerator: str, argument: str, s: Site) -> str:
    if s.short:
        return f"quick_div({numerator}, 1.0f + quick_exp(-({argument})))"
    return f"{numerator} / ({s.number(1)} + exp(-({argument})))"


def _gelu(s: Site) -> str:
    name = "gelu" if s.attrs["approximate"] == "none" else "gelu_tanh"
    return f"{name}_short({s.x})" if s.short and s.type == "float" else f"{name}({s.x})"


def _hard_sigmoid(s: Site, alpha: float, beta: float) -> str:
    return f"maximum(minimum({s.x} * {s.number(alpha)} + {s.number(beta)}, {s.number(1)}), {s.number(0)})"


def _unit(above: Callable[[Site], float], below: Callable[[Site], float], scale: Callable[[Site], float]) -> Expression:
    return lambda s: f"exponential_unit({s.x}, {s.number(above(s))}, {s.number(below(s))}, {s.number(scale(s))})"


def _isinf(s: Site) -> str:
    tests = [f"{s.x} == {s.number(v)}" for name, v in (("positive", inf), ("negative", -inf)) if s.attrs[name]]
    return " || ".join(tests) or "false"


def _leaky(s: Site) -> str:
    return f"({s.x} < 0 ? {s.x} * {s.attr('alpha')} : {s.x})"


def _modulo(s: Site) -> str:
    name = "c_remainder" if s.attrs["fmod"] else "remainder_of"
    return f"({s.type}){name}({s.x}, {s.y})"


def _pow(s: Site) -> str:
    if s.kind == "f" and _is_number(s.y):
        exponent = float.fromhex(s.y.strip("()").removesuffix("f"))
        if exponent in (2.0, 3.0):
            return " * ".join([s.x] * int(exponent))
        if exponent == 0.5:
            return f"({s.x} == -{s.number(inf)} ? {s.number(inf)} : sqrt({s.x}))"
    if s.kind == "f" and BY_NAME[s.dtypes[1]].is_float and COMPUTE_TYPES[s.dtypes[1]] == s.type:
        return f"pow({s.x}, {s.y})"
    if s.kind != "f" and BY_NAME[s.dtypes[1]].is_integer:
        return f"({s.type})(i64)whole_power((double){s.x}, (i64){s.y})"
    power = f"pow((double){s.x}, (double){s.y})"
    return f"({s.type})(i64){power}" if s.kind != "f" else f"({s.type}){power}"


def _prelu(s: Site) -> str:
    return f"({s.type})({s.x} < 0 ? {s.x} * {s.y} : {s.x})"


def _shift(left: bool) -> Expression:
    def write(s: Site) -> str:
        width = BY_NAME[s.dtypes[0]].bits
        inside = f"(u64){s.y} < {width}"
        if left:
            return f"({s.type})({inside} ? (u64){s.x} << (u64){s.y} : 0ull)"
        return f"({s.type})({inside} ? {s.x} >> (int){s.y} : {s.x} < 0 ? -1 : 0)"

    return write


def _shrink(s: Site) -> str:
    if s.kind != "f":  # computed in f64, as the reference does, and cut
        x, lambd, bias = f"(double){s.x}", literal(s.attrs["lambd"], "f64"), literal(s.attrs["bias"], "f64")
        return f"({s.type})(i64)({x} < -{lambd} ? {x} + {bias} : {x} > {lambd} ? {x} - {bias} : 0.0)"
    lambd, bias = s.attr("lambd"), s.attr("bias")
    return f"({s.x} < -({lambd}) ? {s.x} + {bias} : {s.x} > {lambd} ? {s.x} - {bias} : {s.number(0)})"


EXPRESSIONS: Mapping[str, Expression] = {
    "constant": lambda s: literal(s.attrs["value"], s.dtype),
    "identity": lambda s: s.x,
    # arithmetic
    "add": _wrapping("+"),
    "sub": _wrapping("-"),
    "mul": _wrapping("*"),
    "div": _divide,
    "floor_div": lambda s: f"({s.type})floor_quotient({s.x}, {s.y})",
    "mod": _modulo,
    "pow": _pow,
    "neg": lambda s: f"-{s.x}" if s.kind == "f" else f"({s.type})(0ull - (u64){s.x})",
    "abs": _abs,
    "sign": _sign,
    "reciprocal": lambda s: f"{s.number(1)} / {s.x}",
    "max": _fold("maximum"),
    "min": _fold("minimum"),
    "clip": _clip,
    "cast": _cast,
    # roundings
    "ceil": _call("ceil"),
    "floor": _call("floor"),
    "round": _call("rint"),
    # functions
    **{
        name: _call(name) for name in ("acosh", "asinh", "atan", "atan2", "atanh", "acos", "asin", "cos", "cosh", "erf")
    },
    **{name: _call(name) for name in ("log", "sin", "sinh", "sqrt", "tan", "tanh", "softplus", "mish")},
    "exp": _exp,
    "rsqrt": lambda s: f"{s.number(1)} / sqrt({s.x})" if not s.short else f"rsqrtf({s.x})",
    # activations
    "relu": lambda s: f"maximum({s.x}, {s.number(0)})",
    "sigmoid": lambda s: _logistic(s.number(1), s.x, s),
    "silu": lambda s: _logistic(s.x, s.x, s),
    "swish": lambda s: _logistic(s.x, f"{s.x} * {s.attr('alpha')}", s),
    "gelu": _gelu,
    "softsign": lambda s: f"{s.x} / ({s.number(1)} + abs({s.x}))",
    "hard_sigmoid": lambda s: _hard_sigmoid(s, s.attrs["alpha"], s.attrs["beta"]),
    "hard_swish": lambda s: f"{s.x} * {_hard_sigmoid(s, 1 / 6, 0.5)}",
    "elu": _unit(lambda s: 1.0, lambda s: s.attrs["alpha"], lambda s: 1.0),
    "celu": _unit(lambda s: 1.0, lambda s: s.attrs["alpha"], lambda s: s.attrs["alpha"]),
    "selu": _unit(lambda s: s.attrs["gamma"], lambda s: s.attrs["gamma"] * s.attrs["alpha"], lambda s: 1.0),
    "leaky_relu": _leaky,
    "prelu": _prelu,
    "thresholded_relu": lambda s: f"({s.x} > {s.attr('alpha')} ? {s.x} : {s.number(0)})",
    "shrink": _shrink,
    # comparisons and truth values
    "equal": _infix("=="),
    "not_equal": _infix("!="),
    "less": _infix("<"),
    "less_equal": _infix("<="),
    "greater": _infix(">"),
    "greater_equal": _infix(">="),
    "isnan": lambda s: f"{s.x} != {s.x}",
    "isinf": _isinf,
    "and": _infix("&&"),
    "or": _infix("||"),
    "xor": _infix("!="),
    "not": lambda s: f"!{s.x}",
    "where": lambda s: f"({s.x} ? {s.y} : {s.arguments[2]})",
    # bits
    "bitwise_and": _bits("&"),
    "bitwise_or": _bits("|"),
    "bitwise_xor": _bits("^"),
    "bitwise_not": lambda s: f"({s.type})~{s.x}",
    "shift_left": _shift(left=True),
    "shift_right": _shift(left=False),
}
"""By op name. `constant` is a step's only, no op: its value is an attribute."""

LIBRARY = r"""
template <typename T> DEVICE T softplus(T x) { return (x > T(0) ? x : T(0)) + log1p(exp(-abs(x))); }
template <typename T> DEVICE T mish(T x) { return x * tanh(softplus(x)); }
template <typename T> DEVICE T gelu(T x) { return T(0.5) * x * (T(1) + erf(x * T(0.70710678118654752440))); }
// For results of 16 bits: max(x, 0) - a * P(-a), with a = |x| and P the normal distribution, of which 2^q(a) is within 9e-8 / a. q has the
// least largest error over 0..6 that its degree allows, and falls from there on. Ten instructions.
DEVICE float gelu_short(float x) {
  const float a = minimum(fabsf(x), 10.0f);
  const float q = (((((2.99241939e-05f * a - 7.39874264e-04f) * a + 7.97746282e-03f) * a - 5.32381867e-02f) * a - 4.58915686e-01f) * a
                   - 1.15114708f) * a - 1.0f;
  return maximum(x, 0.0f) - a * quick_exp2(q);
}
// x times the logistic function of 2 u, with u what `gelu_tanh` takes the tangent of.
DEVICE float gelu_tanh_short(float x) {
  return quick_div(x, 1.0f + quick_exp2(x * (-2.30220820f - 0.10294324f * (x * x))));
}
template <typename T> DEVICE T gelu_tanh(T x) {
  return T(0.5) * x * (T(1) + tanh(x * (T(0.79788456080286535588) + T(0.035677408136300125) * x * x)));
}
template <typename T> DEVICE T exponential_unit(T x, T above, T below, T scale) {
  return x > T(0) ? above * x : below * expm1(x / scale);
}
// The remainder with the sign of x, and with that of y; 0 of a division of integers by 0.
template <typename T> DEVICE bool is_minus_one(T y) { return T(-1) < T(0) && y == T(-1); }  // dividing the least number by it traps
template <typename T> DEVICE T c_remainder(T x, T y) { return y == 0 || is_minus_one(y) ? T(0) : T(x % y); }
DEVICE float c_remainder(float x, float y) { return fmod(x, y); }
DEVICE double c_remainder(double x, double y) { return fmod(x, y); }
template <typename T> DEVICE T remainder_of(T x, T y) {
  const T r = c_remainder(x, y);
  if (r != 0) return (r < 0) != (y < 0) ? T(r + y) : r;
  return r;
}
DEVICE float signed_zero(float y) { return copysignf(0.0f, y); }
DEVICE float remainder_of(float x, float y) {
  const float r = fmod(x, y);
  return r == 0.0f ? signed_zero(y) : (r < 0) != (y < 0) ? r + y : r;
}
DEVICE double remainder_of(double x, double y) {
  const double r = fmod(x, y);
  return r == 0.0 ? copysign(0.0, y) : (r < 0) != (y < 0) ? r + y : r;
}
template <typename T> DEVICE T floor_quotient(T x, T y) {
  if (y == 0) return T(0);
  if (is_minus_one(y)) return T(0ull - (u64)x);
  return T(x / y - (x % y != 0 && (x < 0) != (y < 0)));
}
template <typename F> DEVICE F floor_quotient_of(F x, F y) {
  if (y == F(0)) return x / y;
  const F r = fmod(x, y);
  F q = (x - r) / y;
  if (r != F(0) && (y < F(0)) != (r < F(0))) q -= F(1);
  const F whole = floor(q);
  return q - whole > F(0.5) ? whole + F(1) : whole;
}
DEVICE float floor_quotient(float x, float y) { return floor_quotient_of(x, y); }
// x^n of integers by way of f64, exact below 2^53, where `pow` may be off by its last digit, which a cut makes a whole one.
DEVICE double whole_power(double x, i64 n) {
  double y = 1.0;
  for (u64 left = n < 0 ? 0ull - (u64)n : (u64)n; left; left >>= 1, x *= x) if (left & 1) y *= x;
  return n < 0 ? 1.0 / y : y;
}
DEVICE double floor_quotient(double x, double y) { return floor_quotient_of(x, y); }
"""
"""The functions that expressions call beyond CUDA's own."""

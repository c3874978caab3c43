"""Functions of one tensor, element by element, and casts. Results have the input's shape."""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim, dim_max
from trtn.dsl.dtypes import BOOL, DType
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.pointwise import FLOATS, INTS, NUMBERS, SIGNED, Unary, combine, limits
from trtn.dsl.ops.special import erf

__all__: list[str] = []


class Identity(Op):
    """x itself."""

    signature = "identity(x: T) -> T"
    pointwise = True
    view = "always"
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        return i.shape(0)

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return i.value(0)

    def evaluate(self, xp: Any, x: Any) -> Any:
        return x


class Neg(Unary):
    """-x."""

    signature = "neg(x: T) -> T"
    where = {"T": SIGNED}
    function = "negative"

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return combine(i, lambda x: -x, 0)


class Abs(Unary):
    """The absolute value, |x|."""

    signature = "abs(x: T) -> T"
    where = {"T": NUMBERS}
    function = "abs"

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return combine(i, lambda x: x if limits(x)[0] >= 0 else dim_max(x, -x), 0)


class Sign(Unary):
    """-1, 0 or 1 by the sign of x; NaN stays NaN."""

    signature = "sign(x: T) -> T"
    where = {"T": NUMBERS}
    function = "sign"


class Exp(Unary):
    """e to the power x."""

    signature = "exp(x: T) -> T"
    where = {"T": FLOATS}
    function = "exp"


class Log(Unary):
    """The natural logarithm; NaN below 0, -inf at 0."""

    signature = "log(x: T) -> T"
    where = {"T": FLOATS}
    function = "log"


class Sqrt(Unary):
    """The square root; NaN below 0."""

    signature = "sqrt(x: T) -> T"
    where = {"T": FLOATS}
    function = "sqrt"


class Reciprocal(Unary):
    """1 / x."""

    signature = "reciprocal(x: T) -> T"
    where = {"T": FLOATS}
    function = "reciprocal"


class Floor(Unary):
    """The greatest whole number that is not above x."""

    signature = "floor(x: T) -> T"
    where = {"T": FLOATS}
    function = "floor"


class Ceil(Unary):
    """The least whole number that is not below x."""

    signature = "ceil(x: T) -> T"
    where = {"T": FLOATS}
    function = "ceil"


class Round(Unary):
    """The nearest whole number; halves go to the even one."""

    signature = "round(x: T) -> T"
    where = {"T": FLOATS}
    function = "rint"


class Sin(Unary):
    """The sine of x radians."""

    signature = "sin(x: T) -> T"
    where = {"T": FLOATS}
    function = "sin"


class Cos(Unary):
    """The cosine of x radians."""

    signature = "cos(x: T) -> T"
    where = {"T": FLOATS}
    function = "cos"


class Tan(Unary):
    """The tangent of x radians."""

    signature = "tan(x: T) -> T"
    where = {"T": FLOATS}
    function = "tan"


class Asin(Unary):
    """The inverse sine in radians; NaN outside -1..1."""

    signature = "asin(x: T) -> T"
    where = {"T": FLOATS}
    function = "arcsin"


class Acos(Unary):
    """The inverse cosine in radians; NaN outside -1..1."""

    signature = "acos(x: T) -> T"
    where = {"T": FLOATS}
    function = "arccos"


class Atan(Unary):
    """The inverse tangent in radians."""

    signature = "atan(x: T) -> T"
    where = {"T": FLOATS}
    function = "arctan"


class Sinh(Unary):
    """The hyperbolic sine."""

    signature = "sinh(x: T) -> T"
    where = {"T": FLOATS}
    function = "sinh"


class Cosh(Unary):
    """The hyperbolic cosine."""

    signature = "cosh(x: T) -> T"
    where = {"T": FLOATS}
    function = "cosh"


class Tanh(Unary):
    """The hyperbolic tangent."""

    signature = "tanh(x: T) -> T"
    where = {"T": FLOATS}
    function = "tanh"


class Asinh(Unary):
    """The inverse hyperbolic sine."""

    signature = "asinh(x: T) -> T"
    where = {"T": FLOATS}
    function = "arcsinh"


class Acosh(Unary):
    """The inverse hyperbolic cosine; NaN below 1."""

    signature = "acosh(x: T) -> T"
    where = {"T": FLOATS}
    function = "arccosh"


class Atanh(Unary):
    """The inverse hyperbolic tangent; NaN outside -1..1."""

    signature = "atanh(x: T) -> T"
    where = {"T": FLOATS}
    function = "arctanh"


class Rsqrt(Unary):
    """1 / sqrt(x)."""

    signature = "rsqrt(x: T) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any) -> Any:
        y = xp.sqrt(x)
        return xp.reciprocal(y, out=y)


class Erf(Unary):
    """The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""

    signature = "erf(x: T) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any) -> Any:
        return erf(xp, x)


class IsNan(Unary):
    """Whether x is NaN."""

    signature = "isnan(x: T) -> bool"
    where = {"T": FLOATS}
    function = "isnan"


class IsInf(Unary):
    """Whether x is an infinity, of a sign that is asked for."""

    signature = "isinf(x: T, *, positive: bool = true, negative: bool = true) -> bool"
    where = {"T": FLOATS}

    def compute(self, xp: Any, x: Any, *, positive: bool, negative: bool) -> Any:
        if positive and negative:
            return xp.isinf(x)
        if positive:
            return x == float("inf")
        return x == float("-inf") if negative else xp.zeros(x.shape, bool)


class Not(Unary):
    """The opposite of each truth value."""

    signature = "not(x: bool) -> bool"
    function = "logical_not"

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return combine(i, lambda x: 1 - x, 0)


class BitwiseNot(Unary):
    """Each bit inverted."""

    signature = "bitwise_not(x: T) -> T"
    where = {"T": INTS}
    function = "invert"


class Cast(Op):
    """x in another dtype.

    Float to integer cuts the fraction off; what does not fit wraps. Float to float rounds to nearest, halves
    to even. To bool: whether x differs from 0. To an 8-bit float with `saturate`, what is too large becomes
    the largest finite number; without, it becomes NaN or (f8e5m2) an infinity. f8e8m0 has powers of two only:
    a number becomes the next one up, whatever its sign.
    """

    signature = "cast(x: any, *, to: dtype, saturate: bool = true) -> to"
    pointwise = True
    native_low_precision = True

    def infer(self, i: Infer) -> Shape:
        return i.shape(0)

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        to: DType = i["to"]
        return combine(i, lambda x: _held(x, to), 0)

    def evaluate(self, xp: Any, x: Any, *, to: DType, saturate: bool) -> Any:
        if x.dtype == to.numpy:
            return x
        if to.name == "f8e8m0":
            return _next_power(xp, x, to, saturate)
        if to.name in _LARGEST and saturate:
            largest = _LARGEST[to.name]
            x = xp.clip(x.astype(xp.float32), -largest, largest)
        if to.is_integer and to.bits < 8:
            # by way of i32, which wraps for floats as other integers do
            x = x.astype(xp.int32)
        return x.astype(to.numpy)


_LARGEST = {"f8e4m3": 448.0, "f8e5m2": 57344.0, "f8e4m3fnuz": 240.0, "f8e5m2fnuz": 57344.0}


def _next_power(xp: Any, x: Any, to: DType, saturate: bool) -> Any:
    """The exponents of f32 numbers, one more where there is a fraction; all ones is NaN."""
    bits = xp.ascontiguousarray(x.astype("float32")).view("uint32").reshape(x.shape)
    exponent = (bits >> 23) & 255
    more = ((bits & 0x7FFFFF) != 0) & (exponent < (254 if saturate else 255))
    return (exponent + more).astype("uint8").view(to.numpy)


def _held(x: Dim, to: DType) -> Dim | None:
    """A known integer in another integer dtype, where it fits; sizes are taken to fit 32 bits."""
    if to is BOOL:
        return int(x != 0) if isinstance(x, int) else None
    if isinstance(x, int):
        low = 0 if to.kind == "u" else -(1 << (to.bits - 1))
        return x if low <= x < low + (1 << to.bits) else None
    return x if to.bits >= 32 else None

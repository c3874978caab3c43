"""Arithmetic on tensors that broadcast by NumPy's rule. Known integers are followed as dim expressions."""

from __future__ import annotations

from functools import reduce
from typing import Any

from trtn.dsl.dims import Dim, dim_max, dim_min
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.pointwise import FLOATS, NUMBERS, Binary, combine, limits

__all__: list[str] = []


class Add(Binary):
    """x + y. Integers wrap."""

    signature = "add(x: T, y: T) -> T"
    where = {"T": NUMBERS}
    function = "add"

    def known(self, x: Dim, y: Dim) -> Dim:
        return x + y


class Sub(Binary):
    """x - y. Integers wrap."""

    signature = "sub(x: T, y: T) -> T"
    where = {"T": NUMBERS}
    function = "subtract"

    def known(self, x: Dim, y: Dim) -> Dim:
        return x - y


class Mul(Binary):
    """x * y. Integers wrap."""

    signature = "mul(x: T, y: T) -> T"
    where = {"T": NUMBERS}
    function = "multiply"

    def known(self, x: Dim, y: Dim) -> Dim:
        return x * y


class Div(Binary):
    """x / y. Integers: the quotient with its fraction cut off (-7 / 2 is -3)."""

    signature = "div(x: T, y: T) -> T"
    where = {"T": NUMBERS}

    def known(self, x: Dim, y: Dim) -> Dim | None:
        return _truncating_quotient(x, y)

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        if x.dtype.kind == "f":
            return xp.divide(x, y)
        quotient = xp.floor_divide(x, y)
        if x.dtype.kind == "i":
            quotient += (quotient * y != x) & ((x < 0) != (y < 0))
        return quotient


class FloorDiv(Binary):
    """The greatest whole number that is not above x / y (-7 / 2 gives -4)."""

    signature = "floor_div(x: T, y: T) -> T"
    where = {"T": NUMBERS}
    function = "floor_divide"

    def known(self, x: Dim, y: Dim) -> Dim | None:
        return x // y if _divides(y) else None


class Mod(Binary):
    """The remainder of x / y: with y's sign, or with x's where `fmod` is true (C's)."""

    signature = "mod(x: T, y: T, *, fmod: bool = false) -> T"
    where = {"T": NUMBERS}

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return combine(i, _c_remainder if i["fmod"] else _remainder, 0, 1)

    def compute(self, xp: Any, x: Any, y: Any, *, fmod: bool) -> Any:
        return xp.fmod(x, y) if fmod else xp.remainder(x, y)


class Pow(Binary):
    """x to the power y, in x's dtype. Integers go through f64 and are cut to whole numbers."""

    signature = "pow(x: T, y: U) -> T"
    where = {"T": NUMBERS, "U": NUMBERS}

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        if y.size == 1 and x.ndim >= y.ndim and xp.__name__ == "numpy":  # on a GPU, reading y would stall
            exponent = float(y.reshape(()))
            if exponent in (2.0, 3.0):  # many times faster
                square = xp.square(x)
                return square if exponent == 2.0 else xp.multiply(square, x, out=square)
        if x.dtype.kind != "f" or y.dtype.kind != "f":
            return xp.power(x.astype(xp.float64), y.astype(xp.float64)).astype(x.dtype)
        return xp.power(x, y).astype(x.dtype, copy=False)


class Atan2(Binary):
    """The angle of the point (y, x) in radians, from -pi to pi: `atan2(y, x)` of C."""

    signature = "atan2(y: T, x: T) -> T"
    where = {"T": FLOATS}
    function = "arctan2"


class Max(Op):
    """The greatest of the tensors, element by element. NaN wins."""

    signature = "max(xs: T...) -> T"
    where = {"T": NUMBERS}
    pointwise = True

    def infer(self, i: Infer) -> Shape:
        return i.broadcast(*range(len(i)))

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return combine(i, dim_max, *range(len(i)))

    def evaluate(self, xp: Any, *xs: Any) -> Any:
        return xp.asarray(reduce(xp.maximum, xs))


class Min(Op):
    """The least of the tensors, element by element. NaN wins."""

    signature = "min(xs: T...) -> T"
    where = {"T": NUMBERS}
    pointwise = True

    def infer(self, i: Infer) -> Shape:
        return i.broadcast(*range(len(i)))

    def value(self, i: Infer) -> tuple[Dim, ...] | None:
        return combine(i, dim_min, *range(len(i)))

    def evaluate(self, xp: Any, *xs: Any) -> Any:
        return xp.asarray(reduce(xp.minimum, xs))


def _divides(y: Dim) -> bool:
    """Whether dim arithmetic may divide by y: a number but 0, or an expression that is not negative."""
    return y != 0 if isinstance(y, int) else limits(y)[0] >= 0


def _truncating_quotient(x: Dim, y: Dim) -> Dim | None:
    if not _divides(y):
        return None
    if isinstance(y, int) and y < 0:
        x, y = -x, -y
    if limits(x)[0] >= 0:
        return x // y
    if limits(x)[1] <= 0:
        return -(-x // y)
    return dim_max(x, 0) // y - dim_max(-x, 0) // y


def _remainder(x: Dim, y: Dim) -> Dim | None:
    if isinstance(y, int) and y < 0:
        return -(-x % -y)
    return x % y if _divides(y) else None


def _c_remainder(x: Dim, y: Dim) -> Dim | None:
    quotient = _truncating_quotient(x, y)
    return None if quotient is None else x - quotient * y

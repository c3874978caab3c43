"""Activations: functions of one tensor, element by element. Each works in one or two temporaries."""

from __future__ import annotations

from math import ceil, floor, sqrt
from typing import Any

from trtn.dsl.network import Shape
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.pointwise import FLOATS, NUMBERS, Binary, Unary, fits_into
from trtn.dsl.ops.special import erf

__all__ = ["logistic_divisor", "softplus"]


def logistic_divisor(xp: Any, x: Any) -> Any:
    """1 + exp(-x), in a new array: 1 or x divided by it is the sigmoid or the SiLU."""
    t = xp.negative(x)
    xp.exp(t, out=t)
    t += 1
    return t


def softplus(xp: Any, x: Any) -> Any:
    """log(1 + exp(x)), in a new array, as max(x, 0) + log1p(exp(-|x|)), which does not overflow."""
    t = xp.abs(x)
    xp.negative(t, out=t)
    xp.exp(t, out=t)
    xp.log1p(t, out=t)
    t += xp.maximum(x, 0)
    return t


class Relu(Unary):
    """The greater of x and 0."""

    signature = "relu(x: T) -> T"
    where = {"T": NUMBERS}

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.maximum(x, 0)


class Sigmoid(Unary):
    """The logistic function, 1 / (1 + exp(-x))."""

    signature = "sigmoid(x: T) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any) -> Any:
        t = logistic_divisor(xp, x)
        return xp.reciprocal(t, out=t)


class Silu(Unary):
    """x * sigmoid(x)."""

    signature = "silu(x: T) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any) -> Any:
        t = logistic_divisor(xp, x)
        return xp.divide(x, t, out=t)


class Swish(Unary):
    """x * sigmoid(alpha * x)."""

    signature = "swish(x: T, *, alpha: float = 1.0) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any, *, alpha: float) -> Any:
        t = logistic_divisor(xp, x * alpha)
        return xp.divide(x, t, out=t)


class Gelu(Unary):
    """x times the normal distribution's cumulative function: x/2 * (1 + erf(x / sqrt(2))).

    With `approximate="tanh"`: x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
    """

    signature = 'gelu(x: T, *, approximate: "none" | "tanh" = "none") -> T'
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any, *, approximate: str) -> Any:
        if approximate == "none":
            t = erf(xp, x * _SQRT_HALF)
        else:
            t = xp.square(x)
            t *= 0.044715 * _SQRT_2_OVER_PI
            t += _SQRT_2_OVER_PI
            t *= x
            xp.tanh(t, out=t)
        t += 1
        t *= x
        t *= 0.5
        return t


_SQRT_HALF = sqrt(0.5)
_SQRT_2_OVER_PI = sqrt(2 / 3.141592653589793)


class Softplus(Unary):
    """log(1 + exp(x))."""

    signature = "softplus(x: T) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any) -> Any:
        return softplus(xp, x)


class Softsign(Unary):
    """x / (1 + |x|)."""

    signature = "softsign(x: T) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any) -> Any:
        t = xp.abs(x)
        t += 1
        return xp.divide(x, t, out=t)


class HardSigmoid(Unary):
    """alpha * x + beta, limited to 0..1."""

    signature = "hard_sigmoid(x: T, *, alpha: float = 0.2, beta: float = 0.5) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any, *, alpha: float, beta: float) -> Any:
        return _ramp(xp, x, alpha, beta)


class HardSwish(Unary):
    """x * (x / 6 + 1/2, limited to 0..1)."""

    signature = "hard_swish(x: T) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any) -> Any:
        t = _ramp(xp, x, 1 / 6, 0.5)
        t *= x
        return t


def _ramp(xp: Any, x: Any, alpha: float, beta: float) -> Any:
    t = x * alpha
    t += beta
    return xp.clip(t, 0, 1, out=t)


class Mish(Unary):
    """x * tanh(softplus(x))."""

    signature = "mish(x: T) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any) -> Any:
        t = softplus(xp, x)
        xp.tanh(t, out=t)
        t *= x
        return t


class Elu(Unary):
    """x where it is positive, alpha * (exp(x) - 1) elsewhere."""

    signature = "elu(x: T, *, alpha: float = 1.0) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any, *, alpha: float) -> Any:
        return _exponential_unit(xp, x, 1.0, alpha, 1.0)


class Selu(Unary):
    """gamma * x where x is positive, gamma * alpha * (exp(x) - 1) elsewhere. The defaults are ONNX's."""

    signature = "selu(x: T, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any, *, alpha: float, gamma: float) -> Any:
        return _exponential_unit(xp, x, gamma, gamma * alpha, 1.0)


class Celu(Unary):
    """x where it is positive, alpha * (exp(x / alpha) - 1) elsewhere."""

    signature = "celu(x: T, *, alpha: float = 1.0) -> T"
    where = {"T": FLOATS}
    wide = True

    def infer(self, i: Infer) -> Shape:
        if i["alpha"] == 0:
            i.fail("E0304", "`alpha` of `celu` divides and can't be 0", attr="alpha")
        return i.shape(0)

    def compute(self, xp: Any, x: Any, *, alpha: float) -> Any:
        return _exponential_unit(xp, x, 1.0, alpha, alpha)


def _exponential_unit(xp: Any, x: Any, above: float, below: float, scale: float) -> Any:
    """above * x for positive x, below * (exp(x / scale) - 1) elsewhere: a sum of which one part is 0."""
    t = xp.minimum(x, 0)
    if scale != 1.0:
        t /= scale
    xp.expm1(t, out=t)
    t *= below
    positive = xp.maximum(x, 0)
    positive *= above
    t += positive
    return t


class LeakyRelu(Unary):
    """x where it is not negative, alpha * x elsewhere."""

    signature = "leaky_relu(x: T, *, alpha: float = 0.01) -> T"
    where = {"T": FLOATS}
    wide = True

    def compute(self, xp: Any, x: Any, *, alpha: float) -> Any:
        t = x * alpha
        if 0 < alpha <= 1:
            return xp.maximum(x, t, out=t)
        return xp.where(x < 0, t, x)


class ThresholdedRelu(Unary):
    """x where it is above alpha, 0 elsewhere."""

    signature = "thresholded_relu(x: T, *, alpha: float = 1.0) -> T"
    where = {"T": FLOATS}

    def compute(self, xp: Any, x: Any, *, alpha: float) -> Any:
        return xp.where(x > alpha, x, xp.zeros((), x.dtype))


class Shrink(Unary):
    """x + bias below -lambd, x - bias above lambd, 0 between."""

    signature = "shrink(x: T, *, lambd: float = 0.5, bias: float = 0.0) -> T"
    where = {"T": NUMBERS}
    wide = True

    def compute(self, xp: Any, x: Any, *, lambd: float, bias: float) -> Any:
        moved = xp.where(x < -lambd, x + bias, xp.where(x > lambd, x - bias, xp.zeros((), x.dtype)))
        return moved.astype(x.dtype, copy=False)


class Clip(Unary):
    """x, but not below `min` and not above `max`, where they are given. Where `min` is above `max`: `max`."""

    signature = "clip(x: T, *, min: float?, max: float?) -> T"
    where = {"T": NUMBERS}

    def compute(self, xp: Any, x: Any, *, min: float | None, max: float | None) -> Any:  # noqa: A002
        if min is not None:
            x = xp.maximum(x, _bound(xp, x.dtype, min, ceil))
        if max is not None:
            x = xp.minimum(x, _bound(xp, x.dtype, max, floor))
        return x


def _bound(xp: Any, dtype: Any, value: float, whole: Any) -> Any:
    """A bound as an array of x's dtype: for integers rounded inwards and kept within the dtype."""
    if dtype.kind == "f":
        return xp.asarray(value, dtype)
    limits = xp.iinfo(dtype)
    if value in (float("inf"), float("-inf")):
        return xp.asarray(limits.max if value > 0 else limits.min, dtype)
    return xp.asarray(min(max(whole(value), limits.min), limits.max), dtype)


class Prelu(Binary):
    """x where it is not negative, slope * x elsewhere; the slope broadcasts to x's shape."""

    signature = "prelu(x: T, slope: T) -> T"
    where = {"T": NUMBERS}

    def infer(self, i: Infer) -> Shape:
        fits_into(i, 1, i.shape(0))
        return i.shape(0)

    def compute(self, xp: Any, x: Any, slope: Any) -> Any:
        return xp.where(x < 0, x * slope, x)

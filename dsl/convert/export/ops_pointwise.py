"""Functions of one tensor, element by element; casts."""

from __future__ import annotations

from math import ceil, floor, inf, pi, sqrt

from trtn.dsl.convert.export.registry import refuse, writes
from trtn.dsl.convert.export.site import Site
from trtn.dsl.convert.export.values import Value, elem_type
from trtn.dsl.dtypes import DType

__all__: list[str] = []

_TWINS = {
    "abs": "Abs", "neg": "Neg", "sign": "Sign", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "reciprocal": "Reciprocal",
    "floor": "Floor", "ceil": "Ceil", "round": "Round", "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin",
    "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "tanh": "Tanh", "asinh": "Asinh", "acosh": "Acosh",
    "atanh": "Atanh", "erf": "Erf", "isnan": "IsNaN", "not": "Not", "identity": "Identity", "sigmoid": "Sigmoid",
    "softplus": "Softplus", "softsign": "Softsign", "hard_swish": "HardSwish",
}  # fmt: skip
_PARAMETERS = {
    "elu": ("Elu", ("alpha",)),
    "selu": ("Selu", ("alpha", "gamma")),
    "leaky_relu": ("LeakyRelu", ("alpha",)),
    "thresholded_relu": ("ThresholdedRelu", ("alpha",)),
    "hard_sigmoid": ("HardSigmoid", ("alpha", "beta")),
    "shrink": ("Shrink", ("lambd", "bias")),
}


@writes(*_TWINS)
def _twin(s: Site) -> None:
    s.emit(_TWINS[s.layer.op.name], s.x(0))


@writes(*_PARAMETERS)
def _parametrised(s: Site) -> None:
    op, names = _PARAMETERS[s.layer.op.name]
    s.emit(op, s.x(0), **{name: s[name] for name in names})


@writes("rsqrt")
def _rsqrt(s: Site) -> None:
    s.emit("Reciprocal", s.emit("Sqrt", s.x(0), part="root"))


@writes("isinf")
def _isinf(s: Site) -> None:
    s.emit("IsInf", s.x(0), detect_positive=int(s["positive"]), detect_negative=int(s["negative"]))


@writes("cast")
def _cast(s: Site) -> None:
    saturate = None if s["saturate"] or s["to"].bits != 8 or not s["to"].is_float else 0
    s.writer.check_dtype(s["to"])
    s.emit("Cast", s.x(0), to=elem_type(s["to"]), saturate=saturate)


@writes("bit_cast")
def _bit_cast(s: Site) -> None:
    """A cast keeps the bits of integers; others can't be read so before opset 26."""
    x, to = s.x(0), s["to"]
    if x.dtype is to:
        s.emit("Identity", x)
    elif not x.dtype.is_float and to.is_integer:
        s.emit("Cast", x, to=elem_type(to))
    elif s.has("BitCast"):
        s.emit("BitCast", x, to=elem_type(to))
    else:
        refuse(f"the bits of {x.dtype} can't be read as {to} before opset 26")


@writes("relu")
def _relu(s: Site) -> None:
    x = s.x(0)
    if x.dtype.is_float:
        s.emit("Relu", x)
    else:
        s.emit("Max", x, s.like(x, 0))


@writes("clip")
def _clip(s: Site) -> None:
    x = s.x(0)
    low, high = (
        None if s[name] is None else s.like(x, _bound(x.dtype, s[name], upper=name == "max")) for name in ("min", "max")
    )
    if low is None and high is None:
        s.emit("Identity", x)
    else:
        s.emit("Clip", x, low, high)


def _bound(dtype: DType, value: float, *, upper: bool) -> float:
    """A bound of `clip` as a number of x's dtype: for integers rounded inwards."""
    if dtype.is_float:
        return value
    lowest = -(1 << (dtype.bits - 1)) if dtype.kind == "i" else 0
    highest = lowest + (1 << dtype.bits) - 1
    if abs(value) == inf:
        return highest if value > 0 else lowest
    return min(max(floor(value) if upper else ceil(value), lowest), highest)


# --- activations that some opsets have no op for ---


@writes("silu", "swish")
def _swish(s: Site) -> None:
    """As a product even where the opset has the op: few runtimes do."""
    x = s.x(0)
    alpha = 1.0 if s.layer.op.name == "silu" else s["alpha"]
    scaled = x if alpha == 1.0 else s.emit("Mul", x, s.like(x, alpha), part="scaled")
    s.emit("Mul", x, s.emit("Sigmoid", scaled, part="gate"))


@writes("mish")
def _mish(s: Site) -> None:
    x = s.x(0)
    if s.has("Mish"):
        s.emit("Mish", x)
    else:
        s.emit("Mul", x, s.emit("Tanh", s.emit("Softplus", x, part="softplus"), part="gate"))


@writes("gelu")
def _gelu(s: Site) -> None:
    x = s.x(0)
    if s.has("Gelu"):
        s.emit("Gelu", x, approximate=s["approximate"])
        return
    if s["approximate"] == "none":
        curve = s.emit("Erf", s.emit("Div", x, s.like(x, sqrt(2)), part="scaled"), part="erf")
    else:
        cube = s.emit("Mul", s.emit("Mul", x, x, part="square"), x, part="cube")
        bent = s.emit("Add", x, s.emit("Mul", cube, s.like(x, 0.044715), part="small"), part="bent")
        curve = s.emit("Tanh", s.emit("Mul", bent, s.like(x, sqrt(2 / pi)), part="scaled"), part="tanh")
    whole = s.emit("Mul", x, s.emit("Add", curve, s.like(x, 1), part="raised"), part="double")
    s.emit("Mul", whole, s.like(x, 0.5))


@writes("celu")
def _celu(s: Site) -> None:
    x, alpha = s.x(0), s["alpha"]
    if x.dtype.name != "f64":
        s.emit("Celu", x, alpha=alpha)
        return
    # ONNX has it for f32 alone.
    below = s.emit(
        "Exp", s.emit("Div", s.emit("Min", x, s.like(x, 0), part="below"), s.like(x, alpha), part="scaled"), part="exp"
    )
    curve = s.emit("Mul", s.emit("Sub", below, s.like(x, 1), part="lowered"), s.like(x, alpha), part="curve")
    s.emit("Add", s.emit("Max", x, s.like(x, 0), part="above"), curve)


@writes("prelu")
def _prelu(s: Site) -> None:
    x, slope = s.x(0), s.x(1)
    if x.dtype.is_float:
        s.emit("PRelu", x, slope)
        return
    negative = s.emit("Less", x, s.like(x, 0), part="negative")
    s.emit("Where", negative, s.emit("Mul", x, slope, part="scaled"), x)


def _angle(s: Site, y: Value, x: Value) -> Value:
    """The arc tangent of y / x, for x = y = 0 it is 0."""
    quotient = s.emit("Atan", s.emit("Div", y, x, part="quotient"), part="angle")
    nothing = s.emit("And", *(s.emit("Equal", v, s.like(v, 0), part="zero") for v in (x, y)), part="origin")
    return s.emit("Where", nothing, s.like(x, 0), quotient, part="right")


@writes("atan2")
def _atan2(s: Site) -> None:
    """The arc tangent of the quotient, and half a turn more where x is negative."""
    y, x = s.x(0), s.x(1)
    left = s.emit("Less", x, s.like(x, 0), part="left")
    down = s.emit("Less", y, s.like(y, 0), part="down")
    turn = s.emit("Where", down, s.like(x, -pi), s.like(x, pi), part="half_turn")
    added = s.emit("Where", left, turn, s.like(x, 0), part="added")
    s.emit("Add", _angle(s, y, x), added)

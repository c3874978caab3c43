"""Ops that work element by element: arithmetic, comparisons, activations, casts."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.conditions import COMPARISONS
from trtn.dsl.convert.onnx.initializers import dtype_of
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dims import Relation
from trtn.dsl.dtypes import BOOL, BY_NAME
from trtn.dsl.network import Tensor

__all__ = ["tidy"]

_UNARY = {
    "Abs": "abs", "Neg": "neg", "Sign": "sign", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Reciprocal": "reciprocal",
    "Floor": "floor", "Ceil": "ceil", "Round": "round", "Sin": "sin", "Cos": "cos", "Tan": "tan", "Asin": "asin",
    "Acos": "acos", "Atan": "atan", "Sinh": "sinh", "Cosh": "cosh", "Tanh": "tanh", "Asinh": "asinh", "Acosh": "acosh",
    "Atanh": "atanh", "Erf": "erf", "BitwiseNot": "bitwise_not", "IsNaN": "isnan", "Relu": "relu", "Sigmoid": "sigmoid",
    "Softsign": "softsign", "Softplus": "softplus", "HardSwish": "hard_swish", "Mish": "mish",
}  # fmt: skip
_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "And": "and", "Or": "or", "Xor": "xor",
    "BitwiseAnd": "bitwise_and", "BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor",
}  # fmt: skip
_COMPARISONS = {
    "Equal": "equal", "Less": "less", "LessOrEqual": "less_equal", "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
}  # fmt: skip
_PARAMETERS: dict[str, tuple[str, dict[str, float]]] = {
    "Elu": ("elu", {"alpha": 1.0}),
    "Selu": ("selu", {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
    "Celu": ("celu", {"alpha": 1.0}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
    "Shrink": ("shrink", {"lambd": 0.5, "bias": 0.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "Swish": ("swish", {"alpha": 1.0}),
}
_EXACT = 1 << 53
"""Integers beyond this are not all floats."""


def tidy(value: float) -> float:
    """A float32 of the model's file as the shortest decimal that is that float32: 0.1 and not 0.10000000149."""
    return float(str(np.float32(value))) if np.isfinite(value) else value


@onnx_op(*_UNARY)
def _unary(n: Call) -> Results:
    x = n.tensor(0)
    y = n.emit(_UNARY[n.node.op], x)
    if n.node.op in ("Floor", "Ceil") and (ratios := n.translator.ratios.of(x)) is not None and x.weight is None:
        n.translator.ratios.remember(y, tuple(r.floor() if n.node.op == "Floor" else r.ceil() for r in ratios))
    return y


@onnx_op(*_BINARY)
def _binary_by_axis(n: Call) -> Results:
    """Before opset 7 b is laid along a's axes from `axis` on, the last ones by default."""
    a, b = n.tensor(0), n.tensor(1)
    axis = n.integer("axis", a.rank - b.rank)
    trailing = a.rank - (axis + a.rank if axis < 0 else axis) - b.rank
    if n.flag("broadcast") and trailing > 0:
        b = n.emit("unsqueeze", b, part="wide", axes=tuple(range(b.rank, b.rank + trailing)))
    return n.emit(_BINARY[n.node.op], a, b)


@onnx_op(*_BINARY, since=7)
def _binary(n: Call) -> Results:
    a, b = n.tensor(0), n.tensor(1)
    y = n.emit(_BINARY[n.node.op], a, b)
    if n.node.op in ("Add", "Sub", "Mul", "Div") and y.dtype.is_float:
        n.translator.ratios.remember(y, n.translator.ratios.arithmetic(n.node.op, a, b))
    return y


@onnx_op(*_PARAMETERS)
def _parametrised(n: Call) -> Results:
    op, defaults = _PARAMETERS[n.node.op]
    attrs: dict[str, Any] = {name: tidy(n.number(name, value)) for name, value in defaults.items()}
    return n.emit(op, n.tensor(0), **attrs)


@onnx_op("Identity")
def _identity(n: Call) -> Results:
    return n.tensor(0)


@onnx_op("Not")
def _not(n: Call) -> Results:
    y = n.emit("not", n.tensor(0))
    relation = n.translator.conditions.relation(n.tensor(0))
    if relation is not None:
        n.translator.conditions.remember(y, relation.negated())
    return y


@onnx_op(*_COMPARISONS)
def _compare(n: Call) -> Results:
    a, b = n.tensor(0), n.tensor(1)
    left, right = a.value, b.value
    if left is None or right is None or len(left) != 1 or len(right) != 1:
        return n.emit(_COMPARISONS[n.node.op], a, b)
    relation = Relation(COMPARISONS[n.node.op], left[0], right[0])
    verdict = n.translator.conditions.decide(relation)
    if verdict is not None:
        return n.constant(np.full((1,) * max(a.rank, b.rank), verdict))
    y = n.emit(_COMPARISONS[n.node.op], a, b)
    n.translator.conditions.remember(y, relation)
    return y


@onnx_op("Pow")
def _pow(n: Call) -> Results:
    return n.emit("pow", n.tensor(0), n.tensor(1))


@onnx_op("Mod")
def _mod(n: Call) -> Results:
    return n.emit("mod", n.tensor(0), n.tensor(1), fmod=n.flag("fmod"))


@onnx_op("BitShift")
def _shift(n: Call) -> Results:
    return n.emit("shift_left" if n.text("direction") == "LEFT" else "shift_right", n.tensor(0), n.tensor(1))


@onnx_op("Max", "Min")
def _extreme(n: Call) -> Results:
    tensors = n.tensors()
    return tensors[0] if len(tensors) == 1 else n.emit(n.node.op.lower(), *tensors)


@onnx_op("Sum", "Mean")
def _sum(n: Call) -> Results:
    """A list of tensors, added one after the other."""
    tensors = n.tensors()
    if not tensors:
        refuse("it has no inputs")
    mean = n.node.op == "Mean" and len(tensors) > 1
    total = tensors[0]
    for number, tensor in enumerate(tensors[1:], 2):
        last = number == len(tensors) and not mean
        total = n.emit("add", total, tensor, part="" if last else f"sum{number}")
    return n.emit("mul", total, n.like(1 / len(tensors), total)) if mean else total


@onnx_op("Where")
def _where(n: Call) -> Results:
    return n.emit("where", n.tensor(0), n.tensor(1), n.tensor(2))


@onnx_op("IsInf")
def _isinf(n: Call) -> Results:
    return n.emit(
        "isinf",
        n.tensor(0),
        positive=n.flag("detect_positive", True),
        negative=n.flag("detect_negative", True),
    )


@onnx_op("Gelu")
def _gelu(n: Call) -> Results:
    return n.emit("gelu", n.tensor(0), approximate=n.text("approximate", "none"))


@onnx_op("PRelu")
def _prelu_by_channel(n: Call) -> Results:
    """Before opset 7 a slope of several numbers is one for each channel."""
    x, slope = n.tensor(0), n.tensor(1)
    if slope.rank == 1 and slope.shape != (1,) and x.rank > 2:
        slope = n.emit("unsqueeze", slope, part="slope", axes=tuple(range(1, x.rank - 1)))
    return n.emit("prelu", x, slope)


@onnx_op("PRelu", since=7)
def _prelu(n: Call) -> Results:
    return n.emit("prelu", n.tensor(0), n.tensor(1))


@onnx_op("Clip", since=6)
def _clip_by_attributes(n: Call) -> Results:
    low, high = n.number("min", -inf), n.number("max", inf)
    largest = float(np.finfo(np.float32).max)
    return _clipped(n, None if low <= -largest else low, None if high >= largest else high)


@onnx_op("Clip", since=11)
def _clip(n: Call) -> Results:
    x = n.tensor(0)
    bounds: list[float | None] = []
    for index in (1, 2):
        value = n.scalar(index)
        if n.maybe(index) is not None and (value is None or (x.dtype.is_integer and abs(value) > _EXACT)):
            return _clip_by_tensors(n)
        bounds.append(value)
    return _clipped(n, *bounds)


def _clipped(n: Call, low: float | None, high: float | None) -> Tensor:
    x = n.tensor(0)
    if low is None and high is None:
        return x
    if (low, high) == (0.0, None) and x.dtype.is_float:
        return n.emit("relu", x)
    low, high = (None if v is None else tidy(v) if x.dtype.name == "f32" else float(v) for v in (low, high))
    return n.emit("clip", x, min=low, max=high)


def _clip_by_tensors(n: Call) -> Tensor:
    """Bounds that are computed: the greater of x and the lower one, then the lesser with the upper one."""
    y, low, high = n.tensor(0), n.maybe(1), n.maybe(2)
    if low is not None:
        y = n.emit("max", y, low, part="floor" if high is not None else "")
    return n.emit("min", y, high) if high is not None else y


@onnx_op("Cast")
def _cast(n: Call) -> Results:
    return _cast_to(n, n.integer("to"))


@onnx_op("CastLike")
def _cast_like(n: Call) -> Results:
    return n.emit("cast", n.tensor(0), to=n.tensor(1).dtype, saturate=n.flag("saturate", True))


def _cast_to(n: Call, elem: int) -> Results:
    x, dtype = n.tensor(0), dtype_of(elem)
    relation = n.translator.conditions.relation(x)
    if x.dtype is dtype:
        return x
    ratios = n.translator.ratios.of(x) if x.rank <= 1 and x.weight is None else None
    if ratios is not None and dtype.is_integer:  # sizes are not negative: truncating is rounding down
        return n.dims(tuple(r.floor().top for r in ratios), dtype, scalar=x.rank == 0)
    y = n.emit("cast", x, to=dtype, saturate=n.flag("saturate", True))
    if dtype.is_float:
        n.translator.ratios.remember(y, ratios)
    if relation is not None and (dtype is BOOL or dtype.is_integer):
        n.translator.conditions.remember(y, relation)
    return y


@onnx_op("Dropout")
def _dropout(n: Call) -> Results:
    """At inference nothing is dropped; the mask, where somebody takes it, is true everywhere."""
    x = n.tensor(0)
    if n.maybe(2) is not None and n.scalar(2) is not False:
        refuse("its training mode is not supported")
    if len(n.node.outputs) < 2 or not n.node.outputs[1]:
        return x
    ones = n.emit("fill", part="ones", shape=x.shape, value=1.0, dtype=BY_NAME["u8"])
    return x, n.builder.layer("cast", ones, name=n.results[1], to=BOOL)[0]

"""Layers of one tensor as oneDNN's eltwise algorithms, and layers with a constant of one element as well.

oneDNN does not hand NaN on everywhere: relu, clip and max give a bound, exp gives infinity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtn.backend.providers.onednn.enums import Alg
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.records import record

__all__ = ["Eltwise", "eltwise", "scalar"]


@record()
class Eltwise:
    """An algorithm with its two numbers, as oneDNN's documentation of eltwise has them."""

    alg: Alg
    alpha: float = 0.0
    beta: float = 0.0


_UNBOUNDED = float("inf")
_PLAIN = {
    "abs": Eltwise(Alg.ABS),
    "exp": Eltwise(Alg.EXP),
    "hard_swish": Eltwise(Alg.HARDSWISH, 1 / 6, 0.5),
    "log": Eltwise(Alg.LOG),
    "mish": Eltwise(Alg.MISH),
    "neg": Eltwise(Alg.LINEAR, -1.0),
    "reciprocal": Eltwise(Alg.POW, 1.0, -1.0),
    "relu": Eltwise(Alg.RELU),
    "round": Eltwise(Alg.ROUND),
    "sigmoid": Eltwise(Alg.LOGISTIC),
    "silu": Eltwise(Alg.SWISH, 1.0),
    "softplus": Eltwise(Alg.SOFT_RELU, 1.0),
    "sqrt": Eltwise(Alg.SQRT),
    "tanh": Eltwise(Alg.TANH),
}
_WITH_ITSELF = {"add": Eltwise(Alg.LINEAR, 2.0), "mul": Eltwise(Alg.SQUARE)}
_POWERS = {
    -1.0: Eltwise(Alg.POW, 1.0, -1.0),
    0.5: Eltwise(Alg.SQRT),
    1.0: Eltwise(Alg.LINEAR, 1.0),
    2.0: Eltwise(Alg.SQUARE),
}


def eltwise(layer: Layer, value: Tensor) -> Eltwise | None:
    """The algorithm that does to `value` what a float layer does, or None."""
    name, attrs = layer.op.name, layer.attrs
    others = [t for t in layer.inputs if t is not None and t is not value]
    if not others and sum(t is value for t in layer.inputs) == 1:
        return _PLAIN.get(name) or _with_attributes(name, attrs)
    if not others and len(layer.inputs) == 2:
        return _WITH_ITSELF.get(name)
    if len(others) != 1 or len(layer.inputs) != 2:
        return None
    number = scalar(others[0])
    return None if number is None else _with_number(name, number, layer.inputs[0] is value)


def scalar(tensor: Tensor) -> float | None:
    """The value of a constant of one element."""
    if tensor.weight is None or any(d != 1 for d in tensor.weight.shape):
        return None
    return float(tensor.weight.load().reshape(()))


def _with_attributes(name: str, attrs: Mapping[str, Any]) -> Eltwise | None:
    match name:
        case "clip":
            low, high = attrs["min"], attrs["max"]
            return Eltwise(Alg.CLIP, -_UNBOUNDED if low is None else low, _UNBOUNDED if high is None else high)
        case "elu":
            return Eltwise(Alg.ELU, attrs["alpha"])
        case "gelu":
            return Eltwise(Alg.GELU_ERF if attrs["approximate"] == "none" else Alg.GELU_TANH)
        case "hard_sigmoid":
            return Eltwise(Alg.HARDSIGMOID, attrs["alpha"], attrs["beta"])
        case "leaky_relu":
            return Eltwise(Alg.RELU, attrs["alpha"])
        case "swish":
            return Eltwise(Alg.SWISH, attrs["alpha"])
    return None


def _with_number(name: str, number: float, value_first: bool) -> Eltwise | None:
    """`value op number`, or `number op value`."""
    match name:
        case "add":
            return Eltwise(Alg.LINEAR, 1.0, number)
        case "mul":
            return Eltwise(Alg.LINEAR, number)
        case "sub":
            return Eltwise(Alg.LINEAR, 1.0, -number) if value_first else Eltwise(Alg.LINEAR, -1.0, number)
        case "div":
            if not value_first:
                return Eltwise(Alg.POW, number, -1.0)
            return Eltwise(Alg.LINEAR, 1 / number) if number else None
        case "max":
            return Eltwise(Alg.CLIP, number, _UNBOUNDED)
        case "min":
            return Eltwise(Alg.CLIP, -_UNBOUNDED, number)
        case "pow" if value_first:
            return _POWERS.get(number)
        case "prelu" if value_first:
            return Eltwise(Alg.RELU, number)
    return None

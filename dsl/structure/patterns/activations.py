"""Activations that exporters spell out become one layer again: x * sigmoid(x) is silu(x), 0.5 * x * (1 +
erf(x / sqrt(2))) is gelu(x).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.constants import uniform
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "ActivationPattern"]


class ActivationPattern:
    """silu, mish, hard_swish, gelu and its tanh approximation, from products of x, a function of x, and a
    constant.
    """

    name = "activation"
    ops = frozenset({"mul", "div"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Layer | None:
        if not layer.output.dtype.is_float:
            return None
        found = _activation(rewriter, layer)
        if found is None or found.x.type != layer.output.type:
            return None
        return rewriter.layer(found.op, found.x, outputs=layer.outputs, origin=layer.origin, **found.attrs)


PATTERNS = (ActivationPattern(),)


@dataclass(frozen=True, slots=True)
class Found:
    op: str
    x: Tensor
    attrs: Mapping[str, Any]


def _activation(rewriter: Rewriter, layer: Layer) -> Found | None:
    factors, constant = _factors(rewriter, layer, 3)
    if len(factors) != 2:
        return None
    for x, other in (factors, factors[::-1]):
        function = rewriter.maker(other)
        rule = _GATES.get(function.op.name) if function is not None else None
        found = rule(rewriter, function, x, constant) if rule is not None and function is not None else None
        if found is not None:
            return found
    return None


def _factors(rewriter: Rewriter, layer: Layer, depth: int) -> tuple[list[Tensor], float]:
    """The tensors that a tree of products multiplies, and the product of its constants. Only what nobody else
    reads is opened.
    """
    factors: list[Tensor] = []
    constant = 1.0
    for number, t in enumerate(layer.inputs):
        value = uniform(t)
        divides = layer.op.name == "div" and number == 1
        if value is not None and value != 0:
            constant = constant / value if divides else constant * value
            continue
        if t is None or divides:
            return [], constant
        inner = rewriter.maker(t, "mul", "div")
        if inner is not None and depth and rewriter.sole_reader(t) is layer:
            deeper, scale = _factors(rewriter, inner, depth - 1)
            if deeper:
                factors += deeper
                constant *= scale
                continue
        factors.append(t)
    return factors, constant


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=2e-3)


Gate = Callable[[Rewriter, Layer, Tensor, float], Found | None]
"""What x * function(x) * constant is."""


def _silu(rewriter: Rewriter, function: Layer, x: Tensor, constant: float) -> Found | None:
    return Found("silu", x, {}) if constant == 1 and function.inputs[0] is x else None


def _mish(rewriter: Rewriter, function: Layer, x: Tensor, constant: float) -> Found | None:
    inner = rewriter.maker(function.inputs[0], "softplus")
    return Found("mish", x, {}) if constant == 1 and inner is not None and inner.inputs[0] is x else None


def _hard_swish(rewriter: Rewriter, function: Layer, x: Tensor, constant: float) -> Found | None:
    """x * hard_sigmoid(x) with slope 1/6, or x * clip(x + 3, 0, 6) / 6."""
    if function.op.name == "hard_sigmoid":
        sixth, half = function.attrs["alpha"], function.attrs["beta"]
        fits = function.inputs[0] is x and constant == 1 and _precisely(sixth, 1 / 6) and half == 0.5
    else:
        shifted, by = _term(rewriter, function.inputs[0])
        bounds = function.attrs["min"], function.attrs["max"]
        fits = shifted is x and by == 3 and bounds == (0, 6) and _precisely(constant, 1 / 6)
    return Found("hard_swish", x, {}) if fits else None


def _precisely(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5)


def _gelu(rewriter: Rewriter, function: Layer, x: Tensor, constant: float) -> Found | None:
    """0.5 * x * (1 + erf(x / sqrt(2))), or the same with tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))."""
    curve, one = _term(rewriter, function.output)
    inner = rewriter.maker(curve, "erf", "tanh")
    if inner is None or one != 1 or constant != 0.5:
        return None
    product = rewriter.maker(inner.inputs[0], "mul", "div")
    if product is None:
        return None
    factors, scale = _factors(rewriter, product, 0)
    if len(factors) != 1:
        return None
    if inner.op.name == "erf":
        fits = factors[0] is x and _close(scale, math.sqrt(0.5))
        return Found("gelu", x, {}) if fits else None
    fits = _close(scale, math.sqrt(2 / math.pi)) and _is_cubic(rewriter, factors[0], x)
    return Found("gelu", x, {"approximate": "tanh"}) if fits else None


def _is_cubic(rewriter: Rewriter, tensor: Tensor, x: Tensor) -> bool:
    """Whether a tensor is x + 0.044715 * x^3."""
    total = rewriter.maker(tensor, "add")
    if total is None or x not in total.inputs:
        return False
    other = next((t for t in total.inputs if t is not x), None)
    product = rewriter.maker(other, "mul")
    if product is None:
        return False
    factors, scale = _factors(rewriter, product, 3)
    if not _close(scale, 0.044715):
        return False
    if len(factors) == 1:
        power = rewriter.maker(factors[0], "pow")
        return power is not None and power.inputs[0] is x and uniform(power.inputs[1]) == 3
    return len(factors) == 3 and all(t is x for t in factors)


def _term(rewriter: Rewriter, tensor: Tensor | None) -> tuple[Tensor | None, float | None]:
    """For t + c with a constant c: both."""
    total = rewriter.maker(tensor, "add")
    if total is None:
        return None, None
    for t, other in (total.inputs, total.inputs[::-1]):
        value = uniform(other)
        if value is not None:
            return t, value
    return None, None


_GATES: dict[str, Gate] = {
    "add": _gelu,
    "clip": _hard_swish,
    "hard_sigmoid": _hard_swish,
    "sigmoid": _silu,
    "tanh": _mish,
}

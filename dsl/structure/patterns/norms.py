"""Normalisations that exporters spell out become one layer again: (x - mean) / sqrt(mean((x - mean)^2) + eps)
is layer_norm(x).
"""

from __future__ import annotations

from dataclasses import dataclass

from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.constants import rounded, uniform
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "NormPattern"]


class NormPattern:
    """layer_norm and rms_norm from means, then scale and bias into them."""

    name = "norm"
    ops = frozenset({"add", "div", "mul"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Layer | None:
        if layer.op.name == "add":
            return _biased(rewriter, layer)
        return _normalisation(rewriter, layer) or _scaled(rewriter, layer)


PATTERNS = (NormPattern(),)


@dataclass(frozen=True, slots=True)
class Root:
    """sqrt(mean(x^2) + eps) over the axes from `axis` on, or its reciprocal."""

    x: Tensor
    axis: int
    eps: float


def _normalisation(rewriter: Rewriter, layer: Layer) -> Layer | None:
    x, root = _quotient(rewriter, layer)
    if root is None or x is not root.x or not layer.output.dtype.is_float:
        return None
    source = _centred(rewriter, x, root.axis)
    op, operand = ("layer_norm", source) if source is not None else ("rms_norm", x)
    if operand is None or operand.type != layer.output.type:
        return None
    new = rewriter.layer(op, operand, outputs=layer.outputs, origin=layer.origin, axis=root.axis, eps=root.eps)
    return new


def _quotient(rewriter: Rewriter, layer: Layer) -> tuple[Tensor | None, Root | None]:
    """x and the root for x / root, x * (1 / root)."""
    a, b = layer.inputs
    if layer.op.name == "div":
        return a, _root(rewriter, rewriter.maker(b, "sqrt"))
    for x, other in ((a, b), (b, a)):
        inverse = rewriter.maker(other, "rsqrt", "reciprocal", "div")
        if inverse is None or (inverse.op.name == "div" and uniform(inverse.inputs[0]) != 1):
            continue
        if inverse.op.name == "rsqrt":
            root = _root(rewriter, inverse)
        else:
            root = _root(rewriter, rewriter.maker(inverse.inputs[-1], "sqrt"))
        if root is not None:
            return x, root
    return None, None


def _root(rewriter: Rewriter, layer: Layer | None) -> Root | None:
    total = rewriter.maker(layer.inputs[0], "add") if layer is not None else None
    if total is None:
        return None
    for mean, constant in (total.inputs, total.inputs[::-1]):
        eps = uniform(constant)
        reduction = rewriter.maker(mean, "reduce_mean")
        if eps is None or reduction is None:
            continue
        axis = _trailing(reduction)
        x = _squared(rewriter, reduction.inputs[0])
        if axis is not None and x is not None:
            return Root(x, axis, rounded(eps, reduction.output.dtype))
    return None


def _trailing(reduction: Layer) -> int | None:
    """The first of the axes that a reduction is over, where they are the last ones and are kept."""
    x, axes = reduction.inputs[0], reduction.attrs["axes"]
    if x is None or axes is None or not axes or not reduction.attrs["keepdims"]:
        return None
    return axes[0] if axes == tuple(range(axes[0], x.rank)) else None


def _squared(rewriter: Rewriter, tensor: Tensor | None) -> Tensor | None:
    layer = rewriter.maker(tensor, "mul", "pow")
    if layer is None:
        return None
    x, y = layer.inputs
    if layer.op.name == "pow":
        return x if uniform(y) == 2 else None
    return x if x is y else None


def _centred(rewriter: Rewriter, tensor: Tensor | None, axis: int) -> Tensor | None:
    """x, where a tensor is x minus its mean over the axes from `axis` on."""
    difference = rewriter.maker(tensor, "sub")
    if difference is None:
        return None
    x, mean = difference.inputs
    reduction = rewriter.maker(mean, "reduce_mean")
    if reduction is None or reduction.inputs[0] is not x or _trailing(reduction) != axis:
        return None
    return x


def _operands(rewriter: Rewriter, layer: Layer, *ops: str) -> tuple[Layer, Tensor] | None:
    """A normalisation that only `layer` reads, and the constant over the normalised axes that it is combined with."""
    for t, other in (layer.inputs, layer.inputs[::-1]):
        norm = rewriter.maker(t, *ops)
        if norm is None or t is None or other is None or other.weight is None:
            continue
        if rewriter.sole_reader(t) is not layer or t.type != layer.output.type or not rewriter.untouched(norm):
            continue
        if other.shape == t.shape[norm.attrs["axis"] :]:
            return norm, other
    return None


def _scaled(rewriter: Rewriter, layer: Layer) -> Layer | None:
    found = _operands(rewriter, layer, "layer_norm", "rms_norm") if layer.op.name == "mul" else None
    if found is None or len(found[0].inputs) > 1:
        return None
    norm, scale = found
    return rewriter.layer(norm.op.name, norm.inputs[0], scale, outputs=layer.outputs, origin=norm.origin, **norm.attrs)


def _biased(rewriter: Rewriter, layer: Layer) -> Layer | None:
    found = _operands(rewriter, layer, "layer_norm")
    if found is None or len(found[0].inputs) > 2:
        return None
    norm, bias = found
    x, scale = (*norm.inputs, None)[:2]
    return rewriter.layer("layer_norm", x, scale, bias, outputs=layer.outputs, origin=norm.origin, **norm.attrs)

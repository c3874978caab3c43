"""Products with a constant matrix become linear layers, and what is added to them, or to a convolution, their bias."""

from __future__ import annotations

import numpy as np

from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "BiasPattern", "MatMulPattern"]


class MatMulPattern:
    """matmul(x, w) with a constant w[in, out] is linear(x, w)."""

    name = "linear"
    ops = frozenset({"matmul"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Layer | None:
        x, weight = layer.inputs
        if x is None or weight is None or x.weight is not None or weight.weight is None:
            return None
        if weight.rank != 2 or not weight.dtype.is_float:
            return None
        return rewriter.layer("linear", x, weight, outputs=layer.outputs, origin=layer.origin)


class BiasPattern:
    """A constant for each channel that is added to the result of a layer without bias is its bias."""

    name = "bias"
    ops = frozenset({"add"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Layer | None:
        for product, constant in (layer.inputs, layer.inputs[::-1]):
            maker = rewriter.maker(product, "linear", "conv", "deconv")
            if maker is None or product is None or constant is None or constant.weight is None:
                continue
            if len(maker.inputs) != 2 or rewriter.sole_reader(product) is not layer or not rewriter.untouched(maker):
                continue
            bias = _bias(rewriter, maker, constant) if product.type == layer.output.type else None
            if bias is not None:
                inputs = (*maker.inputs, bias)
                return rewriter.layer(maker.op.name, *inputs, outputs=layer.outputs, origin=maker.origin, **maker.attrs)
        return None


def _bias(rewriter: Rewriter, maker: Layer, constant: Tensor) -> Tensor | None:
    """The constant as a bias[channels]; None where it varies along another axis, or over no channel at all."""
    axis = maker.output.rank - 1 if maker.op.name == "linear" else 1
    shape = (1,) * (maker.output.rank - constant.rank) + constant.shape
    channels = maker.output.shape[axis]
    if shape[axis] != channels or any(size != 1 for n, size in enumerate(shape) if n != axis):
        return None
    if constant.rank == 1:
        return constant
    assert constant.weight is not None
    return rewriter.constant(np.ravel(constant.weight.load()), constant.name)


PATTERNS = (MatMulPattern(), BiasPattern())

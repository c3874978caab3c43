"""Batch normalisation and other constant per-channel scales and shifts go into the weights and bias of the
layer before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.constants import across, wide
from trtn.dsl.structure.rewriter import Rewriter

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PASS", "BatchNormPass"]

_PRODUCTS = ("conv", "deconv", "linear")


class BatchNormPass:
    """conv, deconv or linear, then batch_norm, mul, div, add or sub with constants per channel: one layer
    with other weights.

    A batch_norm after anything else becomes a mul and an add. Constants are computed in f64 and rounded once.
    Numeric class: reassociated. Nothing is folded where a weight would leave its dtype's range, or where the
    layer's result is read elsewhere.
    """

    name = "batch_norm"
    after = frozenset({"fold", "identity", "lower"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            if layer.op.name not in _READERS:
                continue
            if not _fold_into_product(rewriter, layer) and layer.op.name == "batch_norm":
                _spell_out(rewriter, layer)
        return rewriter.finish()


PASS = BatchNormPass()


@dataclass(frozen=True, slots=True)
class Affine:
    """y = x * scale + shift; f64, one element a channel (any number of which one stands for all)."""

    x: Tensor
    scale: np.ndarray[Any, Any] | None
    shift: np.ndarray[Any, Any] | None


def _normalisation(layer: Layer, axis: int) -> Affine | None:
    import numpy as np

    x, *constants = layer.inputs
    if x is None or axis != 1 or any(t is None or t.weight is None for t in constants):
        return None
    scale, bias, mean, variance = (wide(t) for t in constants if t is not None)
    slope = scale / np.sqrt(variance + layer.attrs["eps"])
    return Affine(x, slope, bias - mean * slope)


def _arithmetic(layer: Layer, axis: int) -> Affine | None:
    """add, sub, mul or div of x and a constant. What is subtracted from, or divided, is the constant only for
    commuting ops.
    """
    name, out = layer.op.name, layer.output
    x, constant = layer.inputs
    if x is not None and x.weight is not None and name in ("add", "mul"):
        x, constant = constant, x
    if x is None or constant is None or x.weight is not None or x.shape != out.shape:
        return None
    channels = out.shape[axis]
    vector = across(constant, out.rank, axis, channels) if isinstance(channels, int) else None
    if vector is None:
        return None
    if name in ("add", "sub"):
        return Affine(x, None, vector if name == "add" else -vector)
    if name == "mul":
        return Affine(x, vector, None)
    return Affine(x, 1 / vector, None) if vector.all() else None


_READERS = {
    "add": _arithmetic,
    "batch_norm": _normalisation,
    "div": _arithmetic,
    "mul": _arithmetic,
    "sub": _arithmetic,
}


def _fold_into_product(rewriter: Rewriter, layer: Layer) -> bool:
    for product in (rewriter.maker(t, *_PRODUCTS) for t in layer.inputs):
        if product is None or not rewriter.untouched(product) or rewriter.sole_reader(product.output) is not layer:
            continue
        if product.origin.precision is not layer.origin.precision:
            continue
        axis = product.output.rank - 1 if product.op.name == "linear" else 1
        affine = _READERS[layer.op.name](layer, axis)
        merged = _merge(rewriter, product, affine, layer) if affine is not None else None
        if merged is not None:
            rewriter.exchange(product)
            rewriter.exchange(layer, merged)
            return True
    return False


def _merge(rewriter: Rewriter, product: Layer, affine: Affine, layer: Layer) -> Layer | None:
    """The product with other constants, making the result of `layer`; None where that can't be or would overflow."""
    x, weight, bias = (*product.inputs, None)[:3]
    if weight is None or (bias is not None and bias.weight is None):
        return None
    if affine.scale is not None:
        if weight.weight is None:
            return None
        scaled = _per_output(product, wide(weight), affine.scale)
        new_weight = _rounded(rewriter, scaled, weight, f"{layer.name}.weight")
        if new_weight is None:
            return None
    else:
        new_weight = weight
    offset = _offset(product, bias, affine)
    new_bias = None if offset is None else _rounded(rewriter, offset, weight, f"{layer.name}.bias")
    if offset is not None and new_bias is None:
        return None
    return rewriter.layer(
        product.op.name,
        x,
        new_weight,
        new_bias,
        outputs=layer.outputs,
        origin=product.origin,
        **product.attrs,
    )


def _per_output(product: Layer, weight: np.ndarray[Any, Any], scale: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The weight with what makes each output channel scaled. What a group of deconv reads lies before the
    next one's.
    """
    result: np.ndarray[Any, Any]
    if product.op.name == "linear":  # [in, out]
        result = weight * scale
    elif product.op.name == "conv":  # [out, in / groups, ..]
        result = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    else:  # [in, out / groups, ..]
        groups = product.attrs["groups"]
        grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        result = (grouped * scale.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))).reshape(weight.shape)
    return result


def _offset(product: Layer, bias: Tensor | None, affine: Affine) -> np.ndarray[Any, Any] | None:
    if bias is None:
        return affine.shift
    offset = wide(bias)
    if affine.scale is not None:
        offset = offset * affine.scale
    return offset if affine.shift is None else offset + affine.shift


def _rounded(rewriter: Rewriter, values: np.ndarray[Any, Any], like: Tensor, name: str) -> Tensor | None:
    """A weight of the dtype of `like`; None where rounding leaves the dtype's range."""
    import numpy as np

    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(values).astype(like.dtype.numpy)
    finite = np.isfinite(array.astype(np.float64)).all()
    return rewriter.constant(array, name) if finite or not np.isfinite(values).all() else None


def _spell_out(rewriter: Rewriter, layer: Layer) -> None:
    affine = _normalisation(layer, 1)
    if affine is None or affine.scale is None or affine.shift is None:
        return
    shape = (-1, *(1,) * (layer.output.rank - 2))
    scale = _rounded(rewriter, affine.scale.reshape(shape), layer.output, f"{layer.name}.scale")
    shift = _rounded(rewriter, affine.shift.reshape(shape), layer.output, f"{layer.name}.shift")
    if scale is None or shift is None:
        return
    scaled = rewriter.layer("mul", affine.x, scale, name=f"{layer.name}.scaled", origin=layer.origin)
    shifted = rewriter.layer("add", scaled.output, shift, outputs=layer.outputs, origin=layer.origin)
    rewriter.exchange(layer, scaled, shifted)

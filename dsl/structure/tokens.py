"""What a layer is, apart from its place in the network and its sizes: equal tokens may be lines of one block."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from trtn.dsl.dims import Expr
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.constants import literal_bytes

__all__ = ["is_line", "token"]

_INLINE = frozenset({
    "cast", "dequantize", "flatten", "identity", "quantize", "reshape", "squeeze", "transpose", "unsqueeze",
})  # fmt: skip
"""Ops that are written around what they read, as pointwise ones are."""


def is_line(layer: Layer) -> bool:
    """Whether a layer has a line of its own, as far as the length of a text can be told beforehand."""
    return not (layer.op.pointwise or layer.op.name in _INLINE)


def token(layer: Layer) -> Hashable:
    """Equal for layers that differ in sizes, numbers and weights only. Kernels count: they tell convolutions apart."""
    return (
        layer.op.name,
        tuple(_input(t) for t in layer.inputs),
        tuple((name, _skeleton(value)) for name, value in layer.attrs.items()),
        tuple((t.dtype.name, t.rank) for t in layer.outputs),
        layer.origin.precision.name if layer.origin.precision is not None else "",
    )


def _input(tensor: Tensor | None) -> Hashable:
    if tensor is None:
        return None
    if tensor.weight is None:
        return "tensor"
    literal = literal_bytes(tensor.weight)
    if literal is not None:
        return ("number", tensor.dtype.name) if not tensor.shape and tensor.dtype.is_float else literal
    return "weight", tensor.dtype.name, tensor.rank, tensor.weight.shape[2:]


def _skeleton(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return tuple(_skeleton(v) for v in value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | Expr):
        return "int"
    return "float" if isinstance(value, float) else str(value)

"""What a layer is, apart from its place in the network and its sizes: equal tokens may be lines of one block."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from trtn.dsl.dims import Expr
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.printer.attributes import written_attributes
from trtn.dsl.structure.constants import literal_bytes
from trtn.dsl.syntax.breaking import INDENT, LINE_LENGTH

__all__ = ["is_line", "lines_alone", "token"]

_INLINE = frozenset({
    "cast", "dequantize", "flatten", "identity", "quantize", "reshape", "squeeze", "transpose", "unsqueeze",
})  # fmt: skip
"""Ops that are written around what they read, as pointwise ones are."""


def is_line(layer: Layer) -> bool:
    """Whether a layer has a line of its own, as far as the length of a text can be told beforehand."""
    return not (layer.op.pointwise or layer.op.name in _INLINE)


def lines_alone(layer: Layer) -> int:
    """About how many lines a layer takes outside of blocks: paths of weights are long there, and break the line."""
    if not is_line(layer):
        return 0
    names = [layer.output.name if layer.outputs else "", *(_name(t) for t in layer.inputs if t is not None)]
    attrs = written_attributes(layer)
    length = len(layer.op.name) + sum(len(n) + 4 for n in names) + sum(len(f"{n}={v}, ") for n, v in attrs.items())
    return 1 if length + len(INDENT) <= LINE_LENGTH else 1 + len(names) + len(attrs)


def _name(tensor: Tensor) -> str:
    return f"w.{tensor.weight.name}" if tensor.weight is not None else tensor.name


def token(layer: Layer) -> Hashable:
    """Equal for layers that differ in sizes, numbers and weights only. Whether a convolution is over single points counts:
    it tells those of a block apart.
    """
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
    return "weight", tensor.dtype.name, tensor.rank, all(size == 1 for size in tensor.weight.shape[2:])


def _skeleton(value: Any) -> Hashable:
    if isinstance(value, tuple):
        return tuple(_skeleton(v) for v in value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | Expr):
        return "int"
    return "float" if isinstance(value, float) else str(value)

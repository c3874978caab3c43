"""Sizes that come as tensors, though the dims decide them, become attributes: `reshape(x, to)` becomes
`reshape(x, shape=[N, 64])`.

The layers that computed the tensor are dead then, and the backend knows every shape without running anything.
"""

from __future__ import annotations

from typing import Any

from trtn.dsl.dims import Dim, symbols
from trtn.dsl.network import Layer, Network
from trtn.dsl.ops.infer import InferFailure
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "SizesPass"]

_LISTS = {
    "expand": (1, "shape"),
    "fill": (0, "shape"),
    "pad": (1, "pads"),
    "reshape": (1, "shape"),
    "resize": (1, "sizes"),
    "tile": (1, "times"),
}
_SCALARS = {"one_hot": (1, "size"), "top_k": (1, "k")}
_BOUNDS = {"range": ((0, "first"), (1, "end"), (2, "step")), "slice": ((1, "start"), (2, "end"), (3, "step"))}


class SizesPass:
    """See the module. Exact."""

    name = "sizes"
    after = frozenset({"fold"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            moved = _moved(network, layer)
            if not moved:
                continue
            taken = {index for index, _ in moved.values()}
            inputs = [None if n in taken else t for n, t in enumerate(layer.inputs)]
            attrs = {**layer.attrs, **{name: value for name, (_, value) in moved.items()}}
            try:
                new = rewriter.layer(layer.op.name, *inputs, outputs=layer.outputs, origin=layer.origin, **attrs)
            except InferFailure:  # right as a tensor's elements, not as an attribute
                continue
            rewriter.exchange(layer, new)
        return rewriter.finish()


PASS = SizesPass()

Moved = dict[str, tuple[int, Any]]
"""For each attribute that takes a tensor's place: the input's number and the value."""


def _moved(network: Network, layer: Layer) -> Moved:
    name = layer.op.name
    if name in _LISTS:
        index, attr = _LISTS[name]
        values = _known(network, layer, index)
        return {} if values is None else {attr: (index, values)}
    if name in _SCALARS:
        index, attr = _SCALARS[name]
        values = _known(network, layer, index)
        return {} if values is None or len(values) != 1 else {attr: (index, values[0])}
    return _moved_bounds(network, layer) if name in _BOUNDS else {}


def _moved_bounds(network: Network, layer: Layer) -> Moved:
    """All bounds move, or none."""
    moved: Moved = {}
    for index, attr in _BOUNDS[layer.op.name]:
        if index >= len(layer.inputs) or layer.inputs[index] is None:
            continue
        values = _known(network, layer, index)
        if values is None or (attr == "step" and not all(isinstance(v, int) for v in values)):
            return {}
        moved[attr] = (index, values if layer.op.name == "slice" else values[0])
    return moved


def _known(network: Network, layer: Layer, index: int) -> tuple[Dim, ...] | None:
    """The elements of an input, where declared dims alone decide them."""
    tensor = layer.inputs[index] if index < len(layer.inputs) else None
    if tensor is None or tensor.value is None:
        return None
    return tensor.value if all(symbols(v) <= network.dims.keys() for v in tensor.value) else None

"""Which dims a layer mentions. A size that only the data decides ties layers together without a tensor
between them: `dims(values=[K])` runs after the `nonzero` that decides K, though it reads nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trtn.dsl.dims import Expr, symbols
from trtn.dsl.network import Graph, Layer, Tensor, walk

__all__ = ["definers", "dims_of_attrs", "mentioned", "mentioned_throughout", "sizing"]


def _in_value(value: Any) -> set[str]:
    if isinstance(value, Expr):
        return set(value.symbols)
    if isinstance(value, tuple):
        return {name for v in value for name in _in_value(v)}
    return set()


def _in_shapes(tensors: Iterable[Tensor | None]) -> set[str]:
    return {name for t in tensors if t is not None for d in t.shape for name in symbols(d)}


def dims_of_attrs(layer: Layer) -> set[str]:
    """The dims in a layer's attributes."""
    return {name for value in layer.attrs.values() for name in _in_value(value)}


def mentioned(layer: Layer) -> set[str]:
    """The dims in a layer's attributes and in the shapes that it reads and makes."""
    return dims_of_attrs(layer) | _in_shapes(layer.inputs) | _in_shapes(layer.outputs)


def mentioned_throughout(layer: Layer) -> set[str]:
    """The same, with the dims that only the layer's bodies mention."""
    return mentioned(layer).union(*(mentioned(inner) for region in layer.regions for inner in walk(region)))


def definers(graph: Graph) -> dict[str, Layer]:
    """The layer of the graph that decides each data-dependent dim: the first that has it in a result and not
    in what it reads.
    """
    known = _in_shapes(graph.inputs)
    found: dict[str, Layer] = {}
    for layer in graph.layers:
        fresh = _in_shapes(layer.outputs) - known - _in_shapes(layer.inputs) - dims_of_attrs(layer)
        found.update((name, layer) for name in sorted(fresh) if name not in found)
        known |= fresh
    return found


def sizing(graph: Graph) -> set[int]:
    """The results that show the sizes of data-dependent dims, by id: layers that only mention such a dim need them,
    too.
    """
    return {
        id(t)
        for name, layer in definers(graph).items()
        for t in layer.outputs
        if any(isinstance(d, Expr) and str(d).strip("`") == name for d in t.shape)
    }

"""Common subexpressions: a layer that computes what an earlier one has computed is dropped."""

from __future__ import annotations

from typing import Any

from trtn.dsl.network import Graph, Layer, Network, Tensor
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "CsePass"]

_CONTENT_LIMIT = 4096
"""Weights without a digest are compared by content up to this many bytes, above it by identity."""


class CsePass:
    """Layers with one op, the same inputs (constants: equal ones) and attributes are computed once. Exact.

    A layer of a region may be served by one of the graphs around it, never by one of another region.
    """

    name = "cse"
    after = frozenset({"algebra", "fold", "identity", "sizes"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        _merge(rewriter, network.graph, {})
        return rewriter.finish()


PASS = CsePass()


def _merge(rewriter: Rewriter, graph: Graph, seen: dict[Any, Layer]) -> None:
    for layer in graph.layers:
        for region in layer.regions:
            _merge(rewriter, region, dict(seen))
        if not layer.op.deterministic or layer.regions or not layer.outputs:
            continue
        key = _layer_key(rewriter, layer)
        first = seen.setdefault(key, layer)
        if first is not layer:
            rewriter.bypass(layer, *first.outputs)


def _layer_key(rewriter: Rewriter, layer: Layer) -> Any:
    inputs = tuple(_tensor_key(rewriter.current(t)) if t is not None else None for t in layer.inputs)
    attrs = tuple((name, repr(value)) for name, value in sorted(layer.attrs.items()))
    types = tuple(t.type for t in layer.outputs)
    return layer.op.name, inputs, attrs, types, layer.origin.precision


def _tensor_key(tensor: Tensor) -> Any:
    weight = tensor.weight
    if weight is None:
        return id(tensor)
    if weight.digest is not None:
        return weight.digest, tensor.type
    if weight.nbytes <= _CONTENT_LIMIT:
        return weight.load().tobytes(), tensor.type
    return id(weight)

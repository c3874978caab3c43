"""Keeps weights apart by name: a matrix that is read both ways round is two tensors of the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from trtn.dsl.convert.onnx.names import first_free
from trtn.dsl.network import Graph, Layer, Network, Tensor

__all__ = ["with_distinct_weights"]


def with_distinct_weights(network: Network) -> Network:
    """The network with another name for each weight whose name an earlier one has."""
    taken: set[str] = set()
    renamed: dict[int, Tensor] = {}
    for tensor in network.weights:
        weight = tensor.weight
        if weight is None or not weight.name:
            continue
        name = first_free((weight.name, f"{weight.name}_transposed"), taken.__contains__)
        taken.add(name)
        if name != weight.name:
            renamed[id(tensor)] = replace(tensor, name=name, weight=replace(weight, name=name))
    return replace(network, graph=_graph(network.graph, renamed)) if renamed else network


def _graph(graph: Graph, renamed: Mapping[int, Tensor]) -> Graph:
    outputs = tuple(renamed.get(id(t), t) for t in graph.outputs)
    return replace(graph, outputs=outputs, layers=tuple(_layer(layer, renamed) for layer in graph.layers))


def _layer(layer: Layer, renamed: Mapping[int, Tensor]) -> Layer:
    inputs = tuple(t if t is None else renamed.get(id(t), t) for t in layer.inputs)
    return replace(layer, inputs=inputs, regions=tuple(_graph(r, renamed) for r in layer.regions))

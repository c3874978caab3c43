"""Drops layers whose results nobody reads, inside regions too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trtn.dsl.network import Graph, Layer, Network, Tensor

__all__ = ["without_dead_layers"]


def without_dead_layers(network: Network) -> Network:
    """The network with only what its outputs need. Data-dependent dims that no tensor is left of go too."""
    graph = _live(network.graph, set())
    used = {s for t in _tensors(graph) for d in t.shape if not isinstance(d, int) for s in d.symbols}
    grown = True
    while grown:  # the bounds of a data-dependent dim may name others
        bounds = {
            s
            for name, d in network.data_dims.items()
            if name in used
            for e in (d.low, d.high)
            if not isinstance(e, int)
            for s in e.symbols
        }
        grown = not bounds <= used
        used |= bounds
    kept = {name: d for name, d in network.data_dims.items() if name in used}
    return replace(network, graph=graph, data_dims=kept)


def _live(graph: Graph, wanted: set[int]) -> Graph:
    """A graph's needed layers. `wanted` gathers what is read by identity, for the graphs around it."""
    wanted.update(id(t) for t in graph.outputs)
    kept: list[Layer] = []
    for layer in reversed(graph.layers):
        if not any(id(t) in wanted for t in layer.outputs):
            continue
        wanted.update(id(t) for t in layer.inputs if t is not None)
        regions = tuple(_live(region, wanted) for region in layer.regions)
        kept.append(replace(layer, regions=regions) if regions else layer)
    gone = {layer.name for layer in graph.layers} - {layer.name for layer in kept}
    guards = tuple(g for g in graph.guards if g.layer not in gone)
    return replace(graph, layers=tuple(reversed(kept)), guards=guards)


def _tensors(graph: Graph) -> Iterable[Tensor]:
    yield from graph.inputs
    for layer in graph.layers:
        yield from layer.outputs
        for region in layer.regions:
            yield from _tensors(region)

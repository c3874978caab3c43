"""Partition: every layer of a network goes to exactly one group, and the groups are put in an order to run in."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.backend.fusion.base import Fusion, discover
from trtn.backend.fusion.index import GraphIndex
from trtn.backend.group import Group, make_group
from trtn.backend.mentions import sizing
from trtn.dsl.dims import Domain, Range
from trtn.dsl.network import Graph, Network, make_domain

__all__ = ["partition", "partition_graph"]


def partition(
    network: Network,
    fusions: Sequence[Fusion] | None = None,
    *,
    device: str = "cpu",
    reasons: dict[str, str] | None = None,
) -> tuple[Group, ...]:
    """The network's groups in an order to run in. Each layer is in exactly one; bodies of control flow belong
    to their layer.

    `device` (`cpu`, `cuda:sm_90`) decides which fusions there are, where `fusions` does not. `reasons`, where given, is
    filled: for each layer beside a group that it could not join, by name, why.
    """
    return partition_graph(network.graph, fusions, device=device, reasons=reasons, served=_served(network))


def partition_graph(
    graph: Graph,
    fusions: Sequence[Fusion] | None = None,
    *,
    device: str = "cpu",
    reasons: dict[str, str] | None = None,
    served: Domain | None = None,
) -> tuple[Group, ...]:
    """The same for a graph, a body of control flow for instance. What nothing claims becomes a `reference`
    group of one layer. `served` says which sizes the dims take.
    """
    index = GraphIndex(graph, served)
    for fusion in discover(device) if fusions is None else fusions:
        for seed in graph.layers:
            layers = fusion.grow(index, seed) if index.is_free(seed) else None
            if layers:
                index.take(fusion.kind, layers)
    if reasons is not None:
        reasons.update(index.reasons)
    sizes = sizing(graph)
    groups = []
    for unit in index.units():
        inside = {id(layer) for layer in unit.layers}
        used_outside = {
            id(t)
            for layer in unit.layers
            for t in layer.outputs
            if index.is_yielded(t) or id(t) in sizes or any(id(reader) not in inside for reader in index.readers(t))
        }
        groups.append(make_group(unit.kind or "reference", unit.layers, used_outside))
    return tuple(groups)


def _served(network: Network) -> Domain:
    """The sizes that the network's profiles ask for; all that it takes where it has none."""
    dims = dict(network.dims)
    for name in dims:
        asked = [profile.dims[name] for profile in network.profiles if name in profile.dims]
        if asked and len(asked) == len(network.profiles):
            dims[name] = Range(min(r.minimum for r in asked), max(r.maximum for r in asked))
    return make_domain(dims, network.data_dims, ())

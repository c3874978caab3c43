"""Dead code: layers whose results nobody reads."""

from __future__ import annotations

from dataclasses import replace

from trtn.backend.mentions import definers, mentioned
from trtn.dsl.network import Graph, Layer, Network

__all__ = ["PASS", "DeadPass"]


class DeadPass:
    """Layers that contribute to no output are dropped, in regions too. Exact.

    Inputs stay, read or not: they are the interface. A layer stays as well where the size that it decides is
    needed, be it by an assert alone.
    """

    name = "dead"
    after = frozenset({"algebra", "batch_norm", "cse", "fold", "identity", "lower", "norms", "recognise", "sizes"})

    def run(self, network: Network) -> Network | None:
        relations = [a.relation for a in network.asserts] + [g.relation for g in network.guards]
        demanded = {name for relation in relations for name in relation.symbols}
        graph = _live(network.graph, set(), demanded)
        return None if graph is network.graph else replace(network, graph=graph)


PASS = DeadPass()


def _live(graph: Graph, needed: set[int], dims: set[str]) -> Graph:
    """The graph without dead layers. What it reads is added to `needed` (by id), the dims that it mentions to
    `dims`.
    """
    needed |= {id(t) for t in graph.outputs}
    dims |= {name for guard in graph.guards for name in guard.relation.symbols}
    decides: dict[int, set[str]] = {}
    for name, layer in definers(graph).items():
        decides.setdefault(id(layer), set()).add(name)
    kept: list[Layer] = []
    for layer in reversed(graph.layers):
        if not any(id(t) in needed for t in layer.outputs) and not decides.get(id(layer), set()) & dims:
            continue
        needed |= {id(t) for t in layer.inputs if t is not None}
        dims |= mentioned(layer)
        regions = tuple(_live(region, needed, dims) for region in layer.regions)
        same = all(a is b for a, b in zip(regions, layer.regions, strict=True))
        kept.append(layer if same else replace(layer, regions=regions))
    kept.reverse()
    if len(kept) == len(graph.layers) and all(a is b for a, b in zip(kept, graph.layers, strict=True)):
        return graph
    return replace(graph, layers=tuple(kept))

"""A graph as fusion sees it: who makes and who reads each tensor, what is taken, whether layers can run as
one step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from trtn.backend.passes.mentions import definers, mentioned
from trtn.dsl.network import Graph, Layer, Tensor, captures

__all__ = ["GraphIndex", "Unit"]


class Unit:
    """Layers that run as one step: a group that is decided, or a single layer that is free still."""

    __slots__ = ("first", "kind", "layers")

    def __init__(self, layers: tuple[Layer, ...], first: int, kind: str = "") -> None:
        self.layers = layers
        self.first = first
        self.kind = kind

    @property
    def is_free(self) -> bool:
        return not self.kind


class GraphIndex:
    """Answers for one graph while it is partitioned. Layers and tensors are known by identity."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.reasons: dict[str, str] = {}
        """For layers that stayed out of a group beside them: why, by layer name."""
        self._position = {id(layer): n for n, layer in enumerate(graph.layers)}
        self._units = {id(layer): Unit((layer,), n) for n, layer in enumerate(graph.layers)}
        self._makers = {id(t): layer for layer in graph.layers for t in layer.outputs}
        self._readers: dict[int, list[Layer]] = {}
        self._yielded = {id(t) for t in graph.outputs}
        self._before: dict[int, list[Layer]] = {}
        self._after: dict[int, list[Layer]] = {id(layer): [] for layer in graph.layers}
        self._connect()

    def _connect(self) -> None:
        deciders = definers(self.graph)
        for layer in self.graph.layers:
            before: dict[int, Layer] = {}
            seen: set[int] = set()
            for t in (*layer.inputs, *captures(layer)):
                if t is None or id(t) in seen:
                    continue
                seen.add(id(t))
                self._readers.setdefault(id(t), []).append(layer)
                maker = self._makers.get(id(t))
                if maker is not None:
                    before[id(maker)] = maker
            for name in mentioned(layer) & deciders.keys():
                decider = deciders[name]
                if self._position[id(decider)] < self._position[id(layer)]:
                    before[id(decider)] = decider
            self._before[id(layer)] = list(before.values())
            for maker in before.values():
                self._after[id(maker)].append(layer)

    # --- questions ---

    def is_free(self, layer: Layer | None) -> bool:
        """Whether a layer of this graph is in no group yet."""
        unit = self._units.get(id(layer))
        return unit is not None and unit.is_free

    def maker(self, tensor: Tensor | None) -> Layer | None:
        """The layer of this graph that makes a tensor, if one does."""
        return self._makers.get(id(tensor))

    def readers(self, tensor: Tensor) -> Sequence[Layer]:
        """The layers that read a tensor, in order, those whose regions do among them."""
        return self._readers.get(id(tensor), ())

    def is_yielded(self, tensor: Tensor) -> bool:
        """Whether the graph hands the tensor out."""
        return id(tensor) in self._yielded

    def neighbours(self, layer: Layer) -> Iterator[Layer]:
        """The layers that make what a layer reads, and those that read what it makes."""
        yield from self._before[id(layer)]
        yield from self._after[id(layer)]

    def in_order(self, layers: Iterable[Layer]) -> tuple[Layer, ...]:
        """Layers as they follow one another in the graph."""
        return tuple(sorted(layers, key=lambda layer: self._position[id(layer)]))

    def joins(self, layers: Collection[Layer]) -> bool:
        """Whether layers can run as one step: no path leaves them and comes back, with the groups so far
        taken as steps.
        """
        inside = {id(layer) for layer in layers}
        last = max(self._position[id(layer)] for layer in layers)
        pending = [n for layer in layers for n in self._after[id(layer)] if id(n) not in inside]
        seen: set[int] = set()
        while pending:
            unit = self._units[id(pending.pop())]
            if id(unit) in seen or unit.first > last:
                continue
            seen.add(id(unit))
            for layer in unit.layers:
                for reader in self._after[id(layer)]:
                    if id(reader) in inside:
                        return False
                    pending.append(reader)
        return True

    # --- decisions ---

    def take(self, kind: str, layers: Sequence[Layer]) -> None:
        """Make a group of free layers."""
        unit = Unit(tuple(layers), min(self._position[id(layer)] for layer in layers), kind)
        for layer in layers:
            assert self.is_free(layer), layer
            self._units[id(layer)] = unit
            self.reasons.pop(layer.name, None)

    def refuse(self, layer: Layer, reason: str) -> None:
        """Note why a layer did not join the group beside it. The first reason counts, until a group takes the
        layer.
        """
        self.reasons.setdefault(layer.name, reason)

    def units(self) -> tuple[Unit, ...]:
        """The groups in an order in which each comes after those that it depends on, otherwise by their last
        layers.
        """
        distinct = {id(unit): unit for unit in self._units.values()}
        return tuple(_topological(distinct, self._dependencies(distinct), self._position))

    def _dependencies(self, units: dict[int, Unit]) -> dict[int, set[int]]:
        return {
            key: {
                id(self._units[id(maker)])
                for layer in unit.layers
                for maker in self._before[id(layer)]
                if self._units[id(maker)] is not unit
            }
            for key, unit in units.items()
        }


def _topological(units: dict[int, Unit], needs: dict[int, set[int]], position: dict[int, int]) -> Iterator[Unit]:
    import heapq

    readers: dict[int, list[int]] = {key: [] for key in units}
    for key, wanted in needs.items():
        for other in wanted:
            readers[other].append(key)
    waiting = {key: len(wanted) for key, wanted in needs.items()}
    rank = {key: max(position[id(layer)] for layer in unit.layers) for key, unit in units.items()}
    ready = [(rank[key], key) for key, count in waiting.items() if not count]
    heapq.heapify(ready)
    done = 0
    while ready:
        _, key = heapq.heappop(ready)
        done += 1
        yield units[key]
        for reader in readers[key]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, (rank[reader], reader))
    assert done == len(units), "groups depend on each other"

"""A graph as fusion sees it: who makes and who reads each tensor, what is taken, whether layers can run as one step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from trtn.backend.mentions import definers, mentioned_throughout
from trtn.dsl.dims import Dim, DimError, Domain, bounds, product
from trtn.dsl.network import Graph, Layer, Tensor, captures

__all__ = ["GraphIndex", "Unit"]


class Unit:
    """Layers that run as one step: a group that is decided, or a single layer that is free still.

    `rank` is its place in an order in which each unit comes after those that it depends on. Merging others moves it.
    """

    __slots__ = ("kind", "layers", "rank")

    def __init__(self, layers: tuple[Layer, ...], rank: int, kind: str = "") -> None:
        self.layers = layers
        self.rank = rank
        self.kind = kind

    @property
    def is_free(self) -> bool:
        return not self.kind


class GraphIndex:
    """Answers for one graph while it is partitioned. Layers and tensors are known by identity."""

    def __init__(self, graph: Graph, served: Domain | None = None) -> None:
        """`served`: the sizes that the network's profiles ask for, where they are known."""
        self.graph = graph
        self._served = served
        self.reasons: dict[str, str] = {}
        """Why a layer stayed out of a group beside it, by layer name."""
        self._position = {id(layer): n for n, layer in enumerate(graph.layers)}
        self._ranked: dict[int, Unit] = {n: Unit((layer,), n) for n, layer in enumerate(graph.layers)}
        self._units = {id(layer): self._ranked[n] for n, layer in enumerate(graph.layers)}
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
            for name in mentioned_throughout(layer) & deciders.keys():
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

    def largest(self, dims: Iterable[Dim]) -> int | None:
        """The most that the product of some dims can be at the sizes that are served, None where that is not known."""
        try:
            return bounds(product(dims), self._served or Domain())[1]
        except DimError:
            return None

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
        last = max(self._units[key].rank for key in inside)
        pending = [n for layer in layers for n in self._after[id(layer)] if id(n) not in inside]
        seen: set[int] = set()
        while pending:
            unit = self._units[id(pending.pop())]
            if id(unit) in seen or unit.rank > last:
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
        """Make a group of free layers that `joins` says yes to."""
        assert all(self.is_free(layer) for layer in layers), layers
        ranks = [self._units[id(layer)].rank for layer in layers]
        first, last = min(ranks), max(ranks)
        merged = Unit(tuple(layers), first, kind)
        for layer in layers:
            self._units[id(layer)] = merged
        # Between the first and the last of the layers: what they depend on comes before them, the rest after.
        window = [self._ranked.pop(rank) for rank in range(first, last + 1) if rank in self._ranked]
        needed = self._needed(merged, first)
        others = [unit for unit in window if self._units[id(unit.layers[0])] is unit]
        before = [unit for unit in others if id(unit) in needed]
        after = [unit for unit in others if id(unit) not in needed]
        for rank, unit in enumerate((*before, merged, *after), first):
            unit.rank = rank
            self._ranked[rank] = unit

    def _needed(self, unit: Unit, first: int) -> set[int]:
        """The units from rank `first` on that a unit depends on, by id."""
        needed: set[int] = set()
        pending = list(unit.layers)
        while pending:
            for maker in self._before[id(pending.pop())]:
                found = self._units[id(maker)]
                if found is not unit and id(found) not in needed and found.rank >= first:
                    needed.add(id(found))
                    pending += found.layers
        return needed

    def refuse(self, layer: Layer, reason: str) -> None:
        """Note why a layer did not join a group beside it. The first reason counts."""
        self.reasons.setdefault(layer.name, reason)

    def units(self) -> tuple[Unit, ...]:
        """The groups, and the layers that are in none, each after those that it depends on."""
        return tuple(self._ranked[rank] for rank in sorted(self._ranked))

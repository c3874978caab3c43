"""Proof that a text means a network: it is loaded, and what comes out is compared layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtn.dsl.diagnostics import Sink, Source
from trtn.dsl.elaborate import Loader, Unit, elaborate_network
from trtn.dsl.network import Graph, Layer, Network, Tensor, Weight
from trtn.dsl.printer.document import Document
from trtn.dsl.syntax import ast, format_source
from trtn.dsl.weights.table import WeightTable

__all__ = ["loads_as"]


def loads_as(document: Document, network: Network) -> Network | None:
    """The network that a document loads as, if it is in canonical format and computes the same as the given one, by
    the same layers in the same order on the same weights. None if not.
    """
    source = Source("-", document.text)
    if format_source(source) != document.text:
        return None
    sink = Sink()
    unit = _Loader(sink, document.weights).unit(source)
    if sink.has_errors or list(unit.networks) != [network.name]:
        return None
    elaborated = elaborate_network(unit, unit.networks[network.name], sink)
    if elaborated is None or sink.has_errors:
        return None
    found = elaborated.network
    same = _Same()
    if not same.graphs(found.graph, network.graph) or [t.name for t in found.outputs] != [
        t.name for t in network.outputs
    ]:
        return None
    return found


class _Loader(Loader):
    """Reads a text whose manifest is at hand."""

    def __init__(self, sink: Sink, weights: Mapping[str, Weight]) -> None:
        super().__init__(sink)
        self._weights = weights

    def _manifest(self, unit: Unit, item: ast.WeightsDecl) -> WeightTable:
        return WeightTable("weights", self._weights, {})


class _Same:
    """Compares graphs; knows which tensor of one is which of the other."""

    def __init__(self) -> None:
        self._other: dict[int, Tensor] = {}

    def graphs(self, a: Graph, b: Graph) -> bool:
        if len(a.layers) != len(b.layers) or not self._enter(a.inputs, b.inputs):
            return False
        return all(map(self._layers, a.layers, b.layers)) and self._tensors(a.outputs, b.outputs)

    def _layers(self, a: Layer, b: Layer) -> bool:
        if a.op is not b.op or repr(dict(a.attrs)) != repr(dict(b.attrs)) or len(a.regions) != len(b.regions):
            return False
        if a.origin.precision is not b.origin.precision or not self._tensors(a.inputs, b.inputs):
            return False
        return all(map(self.graphs, a.regions, b.regions)) and self._enter(a.outputs, b.outputs)

    def _tensors(self, a: tuple[Tensor | None, ...], b: tuple[Tensor | None, ...]) -> bool:
        return len(a) == len(b) and all(map(self._tensor, a, b))

    def _tensor(self, a: Tensor | None, b: Tensor | None) -> bool:
        if a is None or b is None:
            return a is b
        if a.weight is None or b.weight is None:
            return self._other.get(id(a)) is b
        return a.type == b.type and _same_weight(a.weight, b.weight)

    def _enter(self, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> bool:
        for x, y in zip(a, b, strict=False):
            self._other[id(x)] = y
        return [t.type for t in a] == [t.type for t in b]


def _same_weight(a: Weight, b: Weight) -> bool:
    if a.source is b.source:
        return True
    if a.name or b.name:
        return False
    x: Any = a.load()
    y: Any = b.load()
    return bool(x.tobytes() == y.tobytes())

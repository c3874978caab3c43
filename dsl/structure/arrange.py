"""The order of the statements: each value right before its only reader, what depends on no weights first.

Exporters mix the layers of neighbouring expressions. In this order an expression's layers stand together, in the
order in which loading makes them, so that a text's network is in this order already.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trtn.dsl.network import Graph, Layer, Network, Tensor, captures
from trtn.dsl.printer.placement import Placement

__all__ = ["arranged"]


def arranged(network: Network) -> Network:
    """The network with its layers in the order of the text. One with sizes that the data decides keeps its own: such a
    size must be named before it is mentioned.
    """
    if network.data_dims:
        return network
    readers = _Readers(network)
    groups = _groups(network, readers)
    early = _without_weights(network)
    shared = [g for g in groups if id(g[-1]) in early and readers.of(g[-1]) not in ([], [None])]
    first = {id(g[-1]) for g in shared}
    ordered = [*shared, *(g for g in groups if id(g[-1]) not in first)]
    layers = tuple(layer for group in ordered for layer in group)
    return replace(network, graph=Graph(network.inputs, network.outputs, layers))


class _Readers:
    """Who reads what a layer makes."""

    def __init__(self, network: Network) -> None:
        self._by_tensor: dict[int, list[Layer | None]] = {}
        for layer in network.layers:
            for t in (*layer.inputs, *captures(layer)):
                if t is not None:
                    self._by_tensor.setdefault(id(t), []).append(layer)
        for t in network.outputs:
            self._by_tensor.setdefault(id(t), []).append(None)

    def of(self, layer: Layer) -> list[Layer | None]:
        """The readers of the results of a layer, each as often as it reads one; None is the network, for an output."""
        return [reader for t in layer.outputs for reader in self._by_tensor.get(id(t), [])]

    def sole(self, layer: Layer) -> Layer | None:
        """The layer that reads the only result that is read, once, as an operand."""
        readers = self.of(layer)
        if len(readers) != 1 or readers[0] is None:
            return None
        made = {id(t) for t in layer.outputs}
        return readers[0] if any(id(t) in made for t in readers[0].inputs) else None


def _groups(network: Network, readers: _Readers) -> list[list[Layer]]:
    """A layer whose result is read more than once, with all those before it that only it needs, in the order of its
    operands.
    """
    makers = {id(t): layer for layer in network.layers for t in layer.outputs}
    inner = {id(layer) for layer in network.layers if readers.sole(layer) is not None}
    groups: list[list[Layer]] = []
    for root in network.layers:
        if id(root) in inner:
            continue
        group: list[Layer] = []
        stack: list[tuple[Layer, Iterator[Tensor | None]]] = [(root, iter(root.inputs))]
        while stack:
            layer, operands = stack[-1]
            for t in operands:
                maker = makers.get(id(t))
                if maker is not None and id(maker) in inner:
                    stack.append((maker, iter(maker.inputs)))
                    break
            else:
                group.append(layer)
                stack.pop()
        groups.append(group)
    return groups


def _without_weights(network: Network) -> set[int]:
    """The layers that no weight has touched on the way from the inputs, or that follow from weights and dims alone."""
    inputs = {id(t) for t in network.inputs}
    fed: set[int] = set(inputs)
    late: set[int] = set()
    early: set[int] = set()
    placement = Placement(network)
    for layer in network.layers:
        read = [t for t in (*layer.inputs, *captures(layer)) if t is not None]
        is_fed = any(id(t) in fed for t in read)
        has_weight = any(
            t is not None and t.weight is not None and placement.literal(layer, n, t) is None
            for n, t in enumerate(layer.inputs)
        )
        is_late = any(id(t) in late for t in read) or (is_fed and has_weight)
        if is_fed:
            fed |= {id(t) for t in layer.outputs}
        if is_late:
            late |= {id(t) for t in layer.outputs}
        else:
            early.add(id(layer))
    return early

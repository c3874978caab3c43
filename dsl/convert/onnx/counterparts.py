"""Which value of an ONNX model each tensor of a spec's network is, so that both can be compared layer by layer.

The model is imported anew; a tensor goes with the imported one of its name, or of its place: the result of the same op
on counterparts. So the spec may have been structured, edited and renamed since; only what was exchanged has none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import onnx

from trtn.dsl.convert.onnx.importer import import_with_values
from trtn.dsl.convert.onnx.reader import read_proto
from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.recognise import recognise

__all__ = ["counterparts"]

_Operand: TypeAlias = "str | tuple[str, str, str] | None"
_Place: TypeAlias = tuple[str, tuple[_Operand, ...]]


def counterparts(network: Network, model: str | Path, *, allow_outside: bool = False) -> dict[int, str]:
    """The value of the model, by the id of the network's tensor, for the tensors of the main graph that have one.

    Raises ImportModelError where the model can't be imported.
    """
    imported, values = import_with_values(model, allow_outside=allow_outside)
    graph = read_proto(model).graph
    real = {name for node in graph.node for name in node.output if name} | {v.name for v in graph.input}
    values = {name: value for name, value in values.items() if value in real}
    search = _Search(network, values, (imported, recognise(imported)))
    search.by_annotation(graph)
    return search.run()


class _Search:
    def __init__(self, network: Network, values: Mapping[str, str], sources: Iterable[Network]) -> None:
        self.network = network
        self.values = values
        self.found: dict[int, str] = {}
        self._types: dict[str, set[tuple[str, int]]] = {}
        self._places: dict[_Place, list[Layer]] = {}
        self._noted: dict[int, str] = {}
        for source in sources:
            tensors = [*source.inputs, *(t for layer in source.layers for t in layer.outputs)]
            for t in tensors:
                self._types.setdefault(t.name, set()).add((t.dtype.name, t.rank))
            own = {id(t): values.get(t.name, t.name) for t in tensors}
            for layer in source.layers:
                for named in (True, False):
                    self._places.setdefault(_place(layer, own, named), []).append(layer)

    def by_annotation(self, graph: onnx.GraphProto) -> None:
        """Note the tensors of which an `@onnx(..)` in the spec says what node they were: its last layer makes them."""
        names = Counter(node.name for node in graph.node)
        results = {node.name: [o for o in node.output if o] for node in graph.node if names[node.name] == 1}
        last = {layer.origin.source: layer for layer in self.network.layers if layer.origin.source}
        for source, layer in last.items():
            if len(layer.outputs) == len(results.get(source, ())) == 1:
                self._noted[id(layer.output)] = results[source][0]

    def run(self) -> dict[int, str]:
        for n, t in enumerate(self.network.inputs):
            self._enter(t, self._by_name(t) or f"\0input {n}")
        for layer in self.network.layers:
            twin = self._twin(layer)
            for n, t in enumerate(layer.outputs):
                value = self._by_name(t) or self._noted.get(id(t))
                if value is None and twin is not None and n < len(twin.outputs) and _alike(t, twin.outputs[n]):
                    value = self.values.get(twin.outputs[n].name, twin.outputs[n].name)
                if value is not None:
                    self._enter(t, value)
        real = set(self.values.values())
        return {key: value for key, value in self.found.items() if value in real}

    def _enter(self, tensor: Tensor, value: str) -> None:
        self.found[id(tensor)] = value

    def _by_name(self, tensor: Tensor) -> str | None:
        if (tensor.dtype.name, tensor.rank) not in self._types.get(tensor.name, ()):
            return None
        return self.values.get(tensor.name)

    def _twin(self, layer: Layer) -> Layer | None:
        """The imported layer with the same op on counterparts and the same weights, or the only one on such weights."""
        if any(t is not None and t.weight is None and id(t) not in self.found for t in layer.inputs):
            return None
        for named in (True, False):
            candidates = self._places.get(_place(layer, self.found, named), [])
            if len({c.name for c in candidates}) == 1:
                return candidates[0]
        return None


def _place(layer: Layer, values: Mapping[int, str], named: bool) -> _Place:
    """An op and its operands: counterparts of tensors, types and (where `named`) names of weights."""
    operands: list[_Operand] = []
    for t in layer.inputs:
        if t is None:
            operands.append(None)
        elif t.weight is not None:
            operands.append(("weight", str(t.type), t.weight.name if named else ""))
        else:
            operands.append(values.get(id(t)))
    return layer.op.name, tuple(operands)


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.dtype is b.dtype and a.rank == b.rank

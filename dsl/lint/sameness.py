"""Whether two networks compute the same outputs, by value numbering: what computes the same from the same has the same
number, layers that do nothing have their input's, and what no output needs has none that counts."""

from __future__ import annotations

from collections.abc import Hashable

from trtn.dsl.network import Graph, Layer, Network, Tensor
from trtn.dsl.ops.signature import show

__all__ = ["same_results"]

_NO_OPS = ("cast", "reshape", "expand", "flatten", "identity")


def same_results(before: Network, after: Network) -> bool:
    """Whether both have the same inputs, dims, asserts, profiles and targets, and outputs that are computed alike."""
    facts = [
        (
            [(t.name, str(t.type)) for t in n.inputs],
            [(t.name, str(t.type)) for t in n.outputs],
            dict(n.dims),
            [str(a.relation) for a in n.asserts],
            [(p.name, dict(p.dims), dict(p.values)) for p in n.profiles],
            [(t.name, t.device, t.precision, t.profiles, t.workspace) for t in n.targets],
        )
        for n in (before, after)
    ]
    numbers: dict[Hashable, int] = {}
    results = [_Numbering(numbers).outputs(n.graph) for n in (before, after)]
    return facts[0] == facts[1] and results[0] == results[1]


class _Numbering:
    """Numbers of a network's values, from a table that both networks share."""

    def __init__(self, numbers: dict[Hashable, int]) -> None:
        self.numbers = numbers
        self.known: dict[int, int] = {}

    def outputs(self, graph: Graph) -> list[int]:
        for t in graph.inputs:
            self.known[id(t)] = self._number(("input", t.name))
        return self._body(graph)

    def _body(self, graph: Graph) -> list[int]:
        for layer in graph.layers:
            self._layer(layer)
        return [self.of(t) for t in graph.outputs]

    def of(self, tensor: Tensor | None) -> int:
        if tensor is None:
            return -1
        if tensor.weight is not None:
            w = tensor.weight
            contents = w.name or w.digest or w.load().tobytes()
            return self._number(("weight", contents, w.dtype.name, w.shape))
        return self.known[id(tensor)]

    def _number(self, key: Hashable) -> int:
        return self.numbers.setdefault(key, len(self.numbers))

    def _layer(self, layer: Layer) -> None:
        inputs = tuple(map(self.of, layer.inputs))
        if _is_no_op(layer):
            self.known[id(layer.outputs[0])] = inputs[0]
            return
        attrs = tuple((n, show(v)) for n, v in sorted(layer.attrs.items()))
        regions = tuple(self._region(region) for region in layer.regions)
        precision = layer.origin.precision.name if layer.origin.precision is not None else ""
        types = tuple(str(t.type) for t in layer.outputs)
        key = (layer.op.name, attrs, inputs, regions, precision, types)
        for at, t in enumerate(layer.outputs):
            self.known[id(t)] = self._number((key, at))

    def _region(self, graph: Graph) -> Hashable:
        for at, t in enumerate(graph.inputs):
            self.known[id(t)] = self._number(("argument", at, str(t.type)))
        return (len(graph.inputs), tuple(self._body(graph)))


def _is_no_op(layer: Layer) -> bool:
    """Whether a layer's result is its input: of the same type by an op that keeps the order of the elements."""
    x = layer.inputs[0] if layer.inputs else None
    if x is None or len(layer.outputs) != 1 or x.type != layer.outputs[0].type:
        return False
    if layer.op.name == "transpose":
        perm = list(layer.attrs["perm"])
        return perm == sorted(perm)
    return layer.op.name in _NO_OPS

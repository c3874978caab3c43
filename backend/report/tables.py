"""The layers and tensors of a plan, by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtn.backend.group import Group
from trtn.backend.plan.storage import Place, StoragePlan
from trtn.backend.report.deciders import DtypeDeciders
from trtn.backend.report.memory import bytes_of
from trtn.backend.report.model import BodyPlan, LayerPlan, TensorPlan
from trtn.dsl.diagnostics import Span
from trtn.dsl.network import Graph, Layer, Network, Tensor, bodies, captures
from trtn.dsl.ops.signature import show

__all__ = ["Tables"]

_LABELS = ((), ("body",), ("then", "else"))
"""What bodies are called, by how many a layer has."""


class Tables:
    """Numbers for the tensors and layers of a network whose layers stand in the order of its groups; the layers of
    bodies come behind them. `sizes` are those that tensors' bytes are counted at."""

    def __init__(
        self,
        network: Network,
        groups: Sequence[Group],
        storage: StoragePlan,
        deciders: DtypeDeciders,
        sizes: Mapping[str, int],
    ) -> None:
        self._network = network
        self._storage = storage
        self._deciders = deciders
        self._sizes = sizes
        self._tensors: dict[int, Tensor] = {id(t): t for t in network.inputs}
        self._makers: dict[int, Layer] = {}
        self._all = (*network.layers, *(layer for body in bodies(network.layers) for layer in body.layers))
        for layer in self._all:
            self._makers.update((id(t), layer) for t in layer.outputs)
            read = (t for t in (*layer.inputs, *captures(layer)) if t is not None)
            self._tensors.update((id(t), t) for t in (*read, *layer.outputs))
            self._tensors.update((id(t), t) for body in layer.regions for t in (*body.inputs, *body.outputs))
        self._tensors.update((id(t), t) for g in groups for t in g.inputs)
        self._tensors.update((id(t), t) for t in network.outputs)
        self._numbers = {key: n for n, key in enumerate(self._tensors)}
        self._layers = {id(layer): n for n, layer in enumerate(self._all)}

    def number(self, tensor: Tensor) -> int:
        return self._numbers[id(tensor)]

    def layers_of(self, group: Group) -> tuple[int, ...]:
        return tuple(self._layers[id(layer)] for layer in group.layers)

    def sources_of(self, group: Group) -> tuple[str, ...]:
        """Where a group's layers come from, each place once."""
        return tuple(dict.fromkeys(filter(None, map(_source, group.layers))))

    def tensors(self) -> tuple[TensorPlan, ...]:
        places = self._storage.places
        found = []
        for key, t in self._tensors.items():
            maker = self._makers.get(key)
            decided = self._deciders.of_outer(t) if maker is None else self._deciders.of_result(maker, t)
            place = Place.WEIGHT.value if t.weight is not None else str(places.get(key, "inside"))
            size = t.weight.nbytes if t.weight is not None else bytes_of(t, self._sizes)
            found.append(TensorPlan(t.name, str(t.type), t.dtype.name, place, decided, size))
        return tuple(found)

    def layers(self) -> tuple[LayerPlan, ...]:
        return tuple(
            LayerPlan(
                name=layer.name,
                op=layer.op.name,
                attrs=", ".join(f"{n}={show(v)}" for n, v in sorted(layer.attrs.items()) if v is not None),
                inputs=tuple(None if t is None else self.number(t) for t in (*layer.inputs, *captures(layer))),
                outputs=tuple(self.number(t) for t in layer.outputs),
                source=_source(layer),
                text=_line(layer.origin.span),
                bodies=tuple(map(self._body, _LABELS[len(layer.regions)], layer.regions)),
            )
            for layer in self._all
        )

    def _body(self, label: str, region: Graph) -> BodyPlan:
        return BodyPlan(
            label,
            inputs=tuple(map(self.number, region.inputs)),
            layers=tuple(self._layers[id(layer)] for layer in region.layers),
            outputs=tuple(map(self.number, region.outputs)),
        )


def _source(layer: Layer) -> str:
    return str(layer.origin.span or layer.origin.source)


def _line(span: Span | None) -> str:
    """The line on which a span starts, without its indent."""
    if span is None:
        return ""
    text = span.source.text
    start = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.start)
    return text[start : len(text) if end < 0 else end].strip()

"""When the bodies of control flow run: always, for some values of the dims, or as the data has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from trtn.dsl.dims import Dim, Relation
from trtn.dsl.network import Graph, Guard, Layer
from trtn.dsl.records import record

__all__ = ["TOP", "Body", "find_bodies", "with_guards"]


@record(eq=False)
class Body:
    """A region and what is known where it runs. `graph` is None for the network itself."""

    graph: Graph | None
    outer: Body | None = None
    runs_for: tuple[Relation, ...] = ()
    """What holds of the dims in each run, of the bodies around it too."""
    by_data: bool = False
    """Whether it may be passed over whatever the dims are."""

    def chain(self) -> Iterator[Body]:
        """It, and the bodies around it, the network last."""
        body: Body | None = self
        while body is not None:
            yield body
            body = body.outer


TOP = Body(None)


def find_bodies(graph: Graph, around: Body = TOP) -> Iterator[Body]:
    """The bodies inside of a graph, each before those inside of it."""
    for layer in graph.layers:
        for region in layer.regions:
            body = _inside(layer, region, around)
            yield body
            yield from find_bodies(region, body)


def _inside(layer: Layer, region: Graph, around: Body) -> Body:
    """An `if` takes one of two bodies. A `loop` or `scan` of no rounds passes over its body."""
    match layer.op.name:
        case "scan":
            first = layer.inputs[layer.attrs["carried"]]
            assert first is not None
            rounds: Dim | None = first.shape[layer.attrs["axes"][0]]
        case "loop":
            limit, cond = (*layer.inputs, None, None)[:2]
            rounds = layer.attrs["maximum"] if limit is None else limit.value[0] if limit.value else None
            rounds = rounds if cond is None else None
        case _:
            rounds = None
    if rounds is None:
        return Body(region, around, around.runs_for, True)
    return Body(region, around, (*around.runs_for, Relation(">=", rounds, 1)), around.by_data)


def with_guards(graph: Graph, guards: Mapping[int, tuple[Guard, ...]]) -> Graph:
    """The graph with other guards of the bodies inside of it, by id of the body's graph; none where there are none."""
    layers = tuple(_layer_with_guards(layer, guards) if layer.regions else layer for layer in graph.layers)
    return replace(graph, layers=layers, guards=guards.get(id(graph), ()))


def _layer_with_guards(layer: Layer, guards: Mapping[int, tuple[Guard, ...]]) -> Layer:
    return replace(layer, regions=tuple(with_guards(region, guards) for region in layer.regions))

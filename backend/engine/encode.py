"""A network with its groups as JSON: what `decode` reads back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trtn.backend.group import Group
from trtn.backend.tuner.choice import TunedPoint
from trtn.dsl.dims import Dim, Expr, Relation
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Graph, Guard, Layer, Network, Origin, Profile, Tensor

__all__ = ["encode_network"]


@dataclass(slots=True)
class _Numbers:
    """Values by number, in the order of first use."""

    rows: list[list[Any]] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    known: list[int] = field(default_factory=list)
    """Constants whose elements shapes may follow from."""

    def of(self, tensor: Tensor | None) -> int:
        if tensor is None:
            return -1
        number = self.numbers.get(id(tensor))
        if number is None:
            number = self.numbers[id(tensor)] = len(self.rows)
            if tensor.weight is not None and tensor.value is not None:
                self.known.append(number)
            self.rows.append([tensor.name, tensor.dtype.name, [_dim(d) for d in tensor.shape]])
        return number


def encode_network(
    network: Network, groups: Sequence[Group], points: Sequence[TunedPoint], weights: Mapping[int, int]
) -> dict[str, Any]:
    """JSON of a network in groups with the choices of the tuned points. `weights` gives each constant tensor's row of
    the weight table, by tensor id.
    """
    values = _Numbers()
    inputs = [values.of(t) for t in network.inputs]
    steps = [
        {
            "kind": group.kind,
            "layers": [_layer(layer, values) for layer in group.layers],
        }
        for group in groups
    ]
    tactics = sorted({(c.provider, c.tactic) for p in points for c in p.choices})
    rows = {pair: n for n, pair in enumerate(tactics)}
    outputs = [values.of(t) for t in network.outputs]
    constants = {t: row for t, row in weights.items() if t in values.numbers}
    return {
        "name": network.name,
        "doc": network.doc,
        "dims": {n: [r.low, r.high, r.step] for n, r in network.dims.items()},
        "data_dims": {n: [_dim(d.low), _dim(d.high)] for n, d in network.data_dims.items()},
        "known": sorted(values.known),
        "asserts": [[*_relation(a.relation), a.message] for a in network.asserts],
        "guards": [_guard(g) for g in network.guards],
        "profiles": [_profile(p) for p in network.profiles],
        "inputs": inputs,
        "outputs": outputs,
        "points": [
            {"sizes": dict(p.sizes), "choices": [rows[c.provider, c.tactic] for c in p.choices]} for p in points
        ],
        "steps": steps,
        "tactics": [list(pair) for pair in tactics],
        "values": values.rows,
        "weights": sorted([values.numbers[t], row] for t, row in constants.items()),
    }


def _layer(layer: Layer, values: _Numbers) -> dict[str, Any]:
    row: dict[str, Any] = {
        "op": layer.op.name,
        "inputs": [values.of(t) for t in layer.inputs],
        "attrs": {k: _attr(v) for k, v in sorted(layer.attrs.items())},
    }
    if layer.regions:
        row["regions"] = [_graph(g, values) for g in layer.regions]
    row["outputs"] = [values.of(t) for t in layer.outputs]
    source = _source(layer.origin)
    if source:
        row["source"] = source
    return row


def _source(origin: Origin) -> str:
    """The foreign node that a layer was, or its place in the spec: the file without its folder, which is none
    of the reader's business.
    """
    if origin.source or origin.span is None:
        return origin.source
    return f"{origin.span.source.path.rsplit('/', 1)[-1]}:{origin.span.line}"


def _graph(graph: Graph, values: _Numbers) -> dict[str, Any]:
    row: dict[str, Any] = {
        "inputs": [values.of(t) for t in graph.inputs],
        "layers": [_layer(layer, values) for layer in graph.layers],
        "outputs": [values.of(t) for t in graph.outputs],
    }
    if graph.guards:
        row["guards"] = [_guard(g) for g in graph.guards]
    return row


def _guard(guard: Guard) -> list[Any]:
    return [*_relation(guard.relation), guard.message, guard.layer]


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "dims": {n: [r.minimum, r.optimum, r.maximum] for n, r in profile.dims.items()},
        "values": {n: [[r.minimum, r.optimum, r.maximum] for r in rs] for n, rs in profile.values.items()},
    }


def _relation(relation: Relation) -> list[Any]:
    return [relation.op, _dim(relation.left), _dim(relation.right)]


def _dim(dim: Dim) -> int | str:
    return dim if isinstance(dim, int) else str(dim)


def _attr(value: Any) -> Any:
    if isinstance(value, DType):
        return {"dtype": value.name}
    if isinstance(value, Expr):
        return {"dim": str(value)}
    if isinstance(value, tuple):
        return [_attr(v) for v in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": repr(value)}
    return value

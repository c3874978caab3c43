"""The canonical text of a group: what decides how fast it is, and nothing else. The lock file and timings are
kept by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtn.backend.group import Group
from trtn.dsl.network import Graph, Layer, Tensor
from trtn.dsl.ops.signature import show

__all__ = ["signature"]


def signature(group: Group) -> str:
    """One line, the same for equal groups of any network, in any process:

    gemm(a0: f32[B, 64], w0: f32[64, 10]) { a1: f32[B, 10] = linear(a0, w0); .. } -> a2: f32[B, 10]

    Values are renumbered in order of use (`w` for constants, which count by shape, not by value), attributes
    are sorted and complete, dims are written as they are.
    """
    names = _Names()
    inputs = ", ".join(names.declare(t) for t in group.inputs)
    body = _layers(group.layers, names)
    outputs = ", ".join(f"{names[t]}: {t.type}" for t in group.outputs)
    return f"{group.kind}({inputs}) {{ {body} }} -> {outputs}"


class _Names:
    """Names of values by identity, given in the order in which they are asked for."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._counts = {"a": 0, "w": 0}

    def __getitem__(self, tensor: Tensor) -> str:
        known = self._names.get(id(tensor))
        if known is None:
            prefix = "a" if tensor.weight is None else "w"
            known = self._names[id(tensor)] = f"{prefix}{self._counts[prefix]}"
            self._counts[prefix] += 1
        return known

    def mention(self, tensor: Tensor) -> str:
        """The name; with the type where it is new (a constant that only a region reads)."""
        return self[tensor] if id(tensor) in self._names else self.declare(tensor)

    def declare(self, tensor: Tensor) -> str:
        return f"{self[tensor]}: {tensor.type}"


def _layers(layers: tuple[Layer, ...], names: _Names) -> str:
    return "; ".join(_layer(layer, names) for layer in layers)


def _layer(layer: Layer, names: _Names) -> str:
    arguments = ["none" if t is None else names.mention(t) for t in layer.inputs]
    arguments += _attributes(layer.attrs)
    regions = "".join(f" {{ {_graph(region, names)} }}" for region in layer.regions)
    results = ", ".join(names.declare(t) for t in layer.outputs)
    return f"{results} = {layer.op.name}({', '.join(arguments)}){regions}"


def _attributes(attrs: Mapping[str, Any]) -> list[str]:
    return [f"{name}={show(value)}" for name, value in sorted(attrs.items()) if value is not None]


def _graph(graph: Graph, names: _Names) -> str:
    inputs = ", ".join(names.declare(t) for t in graph.inputs)
    outputs = ", ".join(names.declare(t) for t in graph.outputs)
    return f"({inputs}) {_layers(graph.layers, names)} -> {outputs}"

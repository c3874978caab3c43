"""The canonical text of a group: what decides how fast it is, and nothing else. The lock file and timings are
kept by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtn.backend.group import Group
from trtn.dsl.dims import DimError, Expr, evaluate
from trtn.dsl.network import Graph, Layer, Tensor
from trtn.dsl.ops.signature import show

__all__ = ["signature"]


def signature(group: Group, sizes: Mapping[str, int] | None = None) -> str:
    """One line, the same for equal groups of any network, in any process:

    gemm(a0: f32[B, 64], w0: f32[64, 10]) { a1: f32[B, 10] = linear(a0, w0); .. } -> a2: f32[B, 10]

    Values are renumbered in order of use (`w` for constants, which count by shape, not by value), attributes
    are sorted and complete. Dims are written as they are, or, with `sizes`, as the numbers that they are
    there; those that only the data decides stay.
    """
    names = _Names(sizes or {})
    inputs = ", ".join(names.declare(t) for t in group.inputs)
    body = _layers(group.layers, names)
    outputs = ", ".join(names.declare(t) for t in group.outputs)
    return f"{group.kind}({inputs}) {{ {body} }} -> {outputs}"


class _Names:
    """Names of values by identity, given in the order in which they are asked for."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
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
        return f"{self[tensor]}: {tensor.dtype}[{', '.join(str(self.at(d)) for d in tensor.shape)}]"

    def at(self, value: Any) -> Any:
        """A dim, or an attribute with dims in it, with the sizes put in where all of them are known."""
        if isinstance(value, tuple):
            return tuple(self.at(v) for v in value)
        if not isinstance(value, Expr) or not value.symbols <= self._sizes.keys():
            return value
        try:
            return evaluate(value, self._sizes)
        except DimError:  # in a body that does not run for these sizes
            return value


def _layers(layers: tuple[Layer, ...], names: _Names) -> str:
    return "; ".join(_layer(layer, names) for layer in layers)


def _layer(layer: Layer, names: _Names) -> str:
    arguments = ["none" if t is None else names.mention(t) for t in layer.inputs]
    arguments += [f"{name}={show(names.at(value))}" for name, value in sorted(layer.attrs.items()) if value is not None]
    regions = "".join(f" {{ {_graph(region, names)} }}" for region in layer.regions)
    results = ", ".join(names.declare(t) for t in layer.outputs)
    return f"{results} = {layer.op.name}({', '.join(arguments)}){regions}"


def _graph(graph: Graph, names: _Names) -> str:
    inputs = ", ".join(names.declare(t) for t in graph.inputs)
    outputs = ", ".join(names.declare(t) for t in graph.outputs)
    guards = "".join(f" {names.at(r.left)} {r.op} {names.at(r.right)};" for r in (g.relation for g in graph.guards))
    return f"({inputs}){guards} {_layers(graph.layers, names)} -> {outputs}"

"""A fusion group: layers that run as one step. Groups are device-independent; a provider says which it takes."""

from __future__ import annotations

from collections.abc import Iterator

from trtn.dsl.network import Graph, Layer, Tensor, captures
from trtn.dsl.records import record

__all__ = ["Group", "make_group"]


@record(eq=False)
class Group:
    """Layers in order, the tensors that come in (weights among them) and those that others read.

    `kind` is one of: conv, gemm, attention, normalisation, softmax, reduction, pointwise, pooling, copy,
    view, recurrent, region, plugin, reference; on GPUs also stem, excitation and squeeze. The first layer of a conv,
    gemm, .. group is the one that gives it its name, the others are its epilogue; on GPUs a cast or a bound
    that is applied to what it reads may come before it.
    """

    kind: str
    layers: tuple[Layer, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def name(self) -> str:
        """The path of the group's last result."""
        return self.outputs[-1].name if self.outputs else self.layers[-1].name

    @property
    def weights(self) -> tuple[Tensor, ...]:
        return tuple(t for t in self.inputs if t.weight is not None)

    def __repr__(self) -> str:
        return f"<{self.kind} group {self.name}: {' + '.join(layer.op.name for layer in self.layers)}>"


def make_group(kind: str, layers: tuple[Layer, ...], used_outside: set[int]) -> Group:
    """A group of layers; `used_outside` holds the ids of the tensors that layers or outputs outside of it
    read.
    """
    inside = {id(t) for layer in layers for t in layer.outputs}
    inputs: dict[int, Tensor] = {}
    for layer in layers:
        bodies = (t for region in layer.regions for t in _constants(region))
        for t in (*layer.inputs, *captures(layer), *bodies):
            if t is not None and id(t) not in inside:
                inputs.setdefault(id(t), t)
    outputs = tuple(t for layer in layers for t in layer.outputs if id(t) in used_outside)
    return Group(kind, layers, tuple(inputs.values()), outputs)


def _constants(graph: Graph) -> Iterator[Tensor]:
    """The weights that a body reads or yields, those of the bodies inside it among them."""
    for layer in graph.layers:
        yield from (t for t in layer.inputs if t is not None and t.weight is not None)
        for region in layer.regions:
            yield from _constants(region)
    yield from (t for t in graph.outputs if t.weight is not None)

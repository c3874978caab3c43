"""Edits of a network, collected while a pass looks at it as it was, and applied all at once.

What a pass asks (`maker`, `sole_reader`) is answered for the network as it came in. So a pass leaves alone
the layers that it has touched before; the driver runs it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trtn.dsl.builder import ArraySource, make_weight
from trtn.dsl.dims import Dim, symbol
from trtn.dsl.dtypes import DType, from_numpy
from trtn.dsl.network import Graph, Layer, Network, Origin, Shape, Tensor, Weight, walk
from trtn.dsl.ops.base import find_op
from trtn.dsl.ops.infer import VALUE_LIMIT, infer_layer

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Rewriter"]


class Rewriter:
    """Functional rewriting of one network, regions included. Layers stay in the graph that they are in."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._graph_of: dict[int, Graph] = {}
        self._makers: dict[int, Layer] = {}
        self._readers: dict[int, list[Layer]] = {}
        self._yielded: set[int] = set()
        self._names: set[str] = {t.name for t in network.inputs}
        self._visit(network.graph)
        self._finals = {id(t) for t in network.outputs}
        self._top_made = {id(t) for layer in network.layers for t in layer.outputs}
        self._images: dict[int, Tensor] = {}
        self._exchanged: dict[int, tuple[Layer, ...]] = {}
        self._alive: list[Tensor] = []  # ids are keys here: what they belong to must outlive them

    def _visit(self, graph: Graph) -> None:
        self._yielded |= {id(t) for t in graph.outputs}
        for layer in graph.layers:
            self._graph_of[id(layer)] = graph
            for t in layer.inputs:
                if t is not None:
                    self._readers.setdefault(id(t), []).append(layer)
                    if t.weight is not None:
                        self._names.add(t.name)
            for t in layer.outputs:
                self._makers[id(t)] = layer
                self._names.add(t.name)
            for region in layer.regions:
                self._names |= {t.name for t in region.inputs}
                self._visit(region)

    # --- questions ---

    def layers(self) -> Iterator[Layer]:
        """Every layer, in order, those of regions after the layer that holds them."""
        return walk(self.network.graph)

    def untouched(self, *layers: Layer) -> bool:
        """Whether none of the layers has been exchanged so far."""
        return not any(id(layer) in self._exchanged for layer in layers)

    def maker(self, tensor: Tensor | None, *ops: str) -> Layer | None:
        """The layer that makes a tensor, where it is one of `ops` (any, where none is named)."""
        layer = self._makers.get(id(tensor))
        return layer if layer is not None and (not ops or layer.op.name in ops) else None

    def sole_reader(self, tensor: Tensor) -> Layer | None:
        """The only layer that reads a tensor, if there is one, it is in the maker's graph, and no graph
        yields the tensor.
        """
        readers = self._readers.get(id(tensor), [])
        if len(readers) != 1 or id(tensor) in self._yielded:
            return None
        maker = self._makers.get(id(tensor))
        if maker is None or self._graph_of[id(maker)] is not self._graph_of[id(readers[0])]:
            return None
        return readers[0]

    def reader_count(self, tensor: Tensor) -> int:
        """How often layers read a tensor, and graphs yield it."""
        return len(self._readers.get(id(tensor), [])) + (id(tensor) in self._yielded)

    def readers(self, tensor: Tensor) -> tuple[Layer, ...]:
        """The layers that read a tensor, in order, one as often as it does."""
        return tuple(self._readers.get(id(tensor), ()))

    def graph_of(self, layer: Layer) -> Graph:
        """The graph that a layer of the network is in."""
        return self._graph_of[id(layer)]

    def first(self, layers: Sequence[Layer]) -> Layer:
        """Of layers of one graph, the one that comes first."""
        wanted = {id(layer) for layer in layers}
        return next(layer for layer in self.graph_of(layers[0]).layers if id(layer) in wanted)

    def current(self, tensor: Tensor) -> Tensor:
        """What a tensor has become by the edits so far."""
        while id(tensor) in self._images:
            tensor = self._images[id(tensor)]
        return tensor

    # --- new tensors and layers ---

    def unique(self, name: str) -> str:
        """`name`, or with a suffix where it is taken."""
        candidate, number = name, 2
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate

    def constant(self, array: np.ndarray[Any, Any], name: str) -> Tensor:
        """A new weight over an array in memory; small integer ones are known by value."""
        import numpy as np

        dtype = from_numpy(array.dtype)
        assert dtype is not None, array.dtype
        values = np.ascontiguousarray(array).reshape(array.shape)
        values.flags.writeable = False
        label = self.unique(name)
        known = None
        if values.ndim <= 1 and values.size <= VALUE_LIMIT and dtype.kind in "iub":
            known = tuple(int(v) for v in values.reshape(-1))
        return Tensor(label, dtype, values.shape, Weight(label, dtype, values.shape, ArraySource(values)), known)

    def nameless(self, array: np.ndarray[Any, Any]) -> Tensor:
        """A constant that has no path in a manifest: a number in the text."""
        weight = make_weight(array)
        known = None
        if array.ndim <= 1 and array.size <= VALUE_LIMIT and weight.dtype.kind in "iub":
            known = tuple(int(v) for v in array.reshape(-1))
        return Tensor("", weight.dtype, weight.shape, weight, known)

    def tensor(self, dtype: DType, shape: Shape, name: str) -> Tensor:
        """A new tensor for one of several results of a layer."""
        return Tensor(self.unique(name), dtype, shape)

    def layer(
        self,
        op: str,
        *inputs: Tensor | None,
        outputs: Sequence[Tensor] = (),
        name: str = "",
        origin: Origin | None = None,
        **attrs: Any,
    ) -> Layer:
        """A layer that makes `outputs` (tensors of the network, whose layer it replaces), or one new tensor
        called like `name`.
        """
        found = find_op(op)
        assert found is not None, op
        given = [self.current(t) if t is not None else None for t in inputs]
        while given and given[-1] is None:
            given.pop()
        inferred = infer_layer(found, given, attrs, fresh=_unnamed, wanted=len(outputs) or None)
        if not outputs:
            (kind,) = inferred.types
            outputs = (Tensor(self.unique(name), kind.dtype, kind.shape, value=inferred.value),)
        assert [t.dtype for t in outputs] == [t.dtype for t in inferred.types], (op, outputs, inferred.types)
        self._alive += outputs
        return Layer(outputs[0].name, found, tuple(given), tuple(outputs), inferred.attrs, (), origin or Origin())

    # --- edits ---

    def exchange(self, layer: Layer, *others: Layer) -> None:
        """Put other layers (or none) in the place of one. What is read of its results must be made by some
        layer still.
        """
        self._exchanged[id(layer)] = others
        if self._graph_of[id(layer)] is self.network.graph:
            self._top_made |= {id(t) for other in others for t in other.outputs}

    def bypass(self, layer: Layer, *sources: Tensor) -> bool:
        """Let the readers of a layer's results read `sources`, of the same types, and drop the layer.

        A network output keeps its name: the source takes it over, or, where it can't (it is an input, a
        weight, another output), an identity layer stays. False, and no edit, where the layer is such an
        identity already.
        """
        kept: list[Layer] = []
        pairs = [(self.current(a), self.current(b)) for a, b in zip(layer.outputs, sources, strict=True)]
        if layer.op.name == "identity" and id(pairs[0][0]) in self._finals and not self._can_rename(pairs[0][1]):
            return False
        for out, source in pairs:
            if id(out) not in self._finals:
                self._images[id(out)] = source
            elif self._can_rename(source):
                named = replace(source, name=out.name, shape=out.shape)
                self._images[id(source)] = self._images[id(out)] = named
                self._finals.add(id(named))
                self._top_made.add(id(named))
            else:
                kept.append(self.layer("identity", source, outputs=[out], origin=layer.origin))
        self.exchange(layer, *kept)
        return True

    def _can_rename(self, source: Tensor) -> bool:
        return id(source) in self._top_made and id(source) not in self._finals

    def finish(self) -> Network | None:
        """The edited network; None where there was no edit."""
        if not self._exchanged and not self._images:
            return None
        return replace(self.network, graph=self._graph(self.network.graph))

    def _graph(self, graph: Graph) -> Graph:
        layers = tuple(
            self._layer(new, is_new=new is not old)
            for old in graph.layers
            for new in self._exchanged.get(id(old), (old,))
        )
        return replace(graph, outputs=tuple(map(self.current, graph.outputs)), layers=layers)

    def _layer(self, layer: Layer, *, is_new: bool) -> Layer:
        inputs = tuple(self.current(t) if t is not None else None for t in layer.inputs)
        outputs = tuple(map(self.current, layer.outputs))
        regions = tuple(map(self._graph, layer.regions))
        if is_new or any(
            a is not b and a and b and a.type != b.type for a, b in zip(inputs, layer.inputs, strict=True)
        ):
            outputs = self._retyped(layer, inputs, outputs)
        elif inputs == layer.inputs and outputs == layer.outputs and not regions:
            return layer
        name = outputs[0].name if outputs else layer.name
        return replace(layer, name=name, inputs=inputs, outputs=outputs, regions=regions)

    def _retyped(
        self, layer: Layer, inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The results with the shapes that follow from the inputs. They may be those of before in another form: `S` for
        `min(S, 512)`.
        """
        if layer.regions or self.network.data_dims:
            return outputs
        inferred = infer_layer(layer.op, inputs, layer.attrs, wanted=len(outputs))
        found = []
        for t, kind in zip(outputs, inferred.types, strict=True):
            if t.type != kind:
                self._images[id(t)] = replace(t, shape=kind.shape)
                self._alive.append(t)
            found.append(self.current(t))
        return tuple(found)


def _unnamed(low: Dim, high: Dim) -> Dim:
    """Stands for a data-dependent size where only dtypes and attributes of an inference count."""
    return symbol("?")

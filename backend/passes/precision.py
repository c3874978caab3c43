"""The precision policy of a target, written into the network as casts: strongly typed from here on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from trtn.dsl.dtypes import ALL, BY_NAME, DType
from trtn.dsl.network import Graph, Layer, Network, Precision, Tensor
from trtn.dsl.ops.infer import infer_layer
from trtn.dsl.ops.signature import Input
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PrecisionPass", "carries"]

F32 = BY_NAME["f32"]
_EXACT = frozenset({"range"})
"""Ops that count: a low precision would skip numbers."""


class PrecisionPass:
    """Layers over f32 compute in `default` instead, but for ops that `keep` names and layers whose origin
    states a precision.

    The network's inputs and outputs, and those of control-flow bodies, keep their dtypes. Layers that only
    move elements take what they are given. Layers that another dtype than f32 was written for keep it, and so
    do those that don't take `default`. Casts of weights are left to constant folding. Numeric class: reduced.
    Not found by `discover`: it needs its parameters.
    """

    name = "precision"
    after = frozenset({"algebra", "batch_norm", "fold", "lower", "norms", "recognise"})

    def __init__(self, default: DType | None, keep: Mapping[str, DType] | None = None) -> None:
        self.default = default
        self.keep = dict(keep or {})

    @classmethod
    def of(cls, precision: Precision) -> Self:
        return cls(precision.default, precision.keep)

    def run(self, network: Network) -> Network | None:
        casting = _Casting(self, Rewriter(network))
        graph = casting.graph(network.graph, {}, {t.name for t in network.outputs})
        return replace(network, graph=graph) if casting.changed else None

    def wanted(self, layer: Layer) -> DType | None:
        """The dtype that a layer over f32 is to compute in; None for no change."""
        chosen = layer.origin.precision or self.keep.get(layer.op.name) or self.default
        return chosen if chosen is not None and chosen.is_float else None

    def concerns(self, layer: Layer, dtype: DType) -> bool:
        """Whether the policy is about a layer's inputs of a dtype."""
        return dtype is F32 or (self.is_told(layer) and dtype.is_float)

    def is_told(self, layer: Layer) -> bool:
        """Whether the network says itself what the layer computes in."""
        return layer.origin.precision is not None


@dataclass(frozen=True, slots=True)
class _Slot:
    """An input that the policy is about: its number, what it has become, its place in the signature."""

    index: int
    tensor: Tensor
    spec: Input


class _Casting:
    """One run over a network. `images` maps old tensors, by id, to the new ones, which may have another dtype."""

    def __init__(self, policy: PrecisionPass, names: Rewriter) -> None:
        self.policy = policy
        self.names = names
        self.changed = False

    def graph(self, graph: Graph, outer: Mapping[int, Tensor], finals: set[str]) -> Graph:
        """A graph over the images of the graphs around it; its inputs and outputs have the dtypes that they had."""
        images = dict(outer)
        casts: dict[tuple[int, DType], Tensor] = {}
        layers: list[Layer] = []
        for layer in graph.layers:
            layers += self.layer(layer, images, casts, finals)
        outputs = []
        for t in graph.outputs:
            image = images.get(id(t), t)
            if image.dtype is not t.dtype:
                image = self.cast(image, t.dtype, layers, casts, t if t.name in finals else None)
            outputs.append(image)
        return replace(graph, outputs=tuple(outputs), layers=tuple(layers))

    def cast(
        self,
        tensor: Tensor,
        dtype: DType,
        layers: list[Layer],
        casts: dict[tuple[int, DType], Tensor],
        output: Tensor | None = None,
    ) -> Tensor:
        """A tensor in another dtype, cast once a graph. `output` is the tensor that the cast is to make."""
        if tensor.dtype is dtype:
            return tensor
        known = casts.get((id(tensor), dtype))
        if known is not None and output is None:
            return known
        targets = [output] if output is not None else []
        layer = self.names.layer("cast", tensor, outputs=targets, name=f"{tensor.name or 'constant'}.{dtype}", to=dtype)
        casts.setdefault((id(tensor), dtype), layer.output)
        layers.append(layer)
        self.changed = True
        return layer.output

    def layer(
        self,
        layer: Layer,
        images: dict[int, Tensor],
        casts: dict[tuple[int, DType], Tensor],
        finals: set[str],
    ) -> list[Layer]:
        inputs = [images.get(id(t), t) if t is not None else None for t in layer.inputs]
        before: list[Layer] = []
        regions = tuple(self.graph(region, images, set()) for region in layer.regions)
        wanted = self._dtypes(layer, inputs)
        inputs = [
            t if t is None else self.cast(t, dtype or t.dtype, before, casts)
            for t, dtype in zip(inputs, wanted, strict=True)
        ]
        outputs = self._outputs(layer, inputs, images, finals)
        name = outputs[0].name if outputs else layer.name
        return [*before, replace(layer, name=name, inputs=tuple(inputs), outputs=outputs, regions=regions)]

    def _dtypes(self, layer: Layer, inputs: list[Tensor | None]) -> list[DType | None]:
        """The dtype that each input is to be read in; None leaves it as it is."""
        old = [t.dtype if t is not None else None for t in layer.inputs]
        if layer.op.name == "cast":
            return [None]
        if layer.regions or layer.op.name in _EXACT:
            return old
        slots = [
            _Slot(n, t, _spec(layer, n))
            for n, (t, dtype) in enumerate(zip(inputs, old, strict=True))
            if t is not None and dtype is not None and self.policy.concerns(layer, dtype)
        ]
        common = self._common(layer, slots)
        moved = {s.index for s in slots}
        return [common if common is not None and n in moved else dtype for n, dtype in enumerate(old)]

    def _common(self, layer: Layer, slots: list[_Slot]) -> DType | None:
        """The dtype for the inputs that the policy is about; None where they are to be what they were."""
        moved_only = all(carries(layer, s.spec) for s in slots) and not self.policy.is_told(layer)
        if moved_only and not all(s.tensor.weight is not None for s in slots):
            given = {s.tensor.dtype for s in slots}
            if len(given) == 1:
                return given.pop()
        wanted = self.policy.wanted(layer)
        return wanted if wanted is not None and all(_takes(layer, s.spec, wanted) for s in slots) else None

    def _outputs(
        self, layer: Layer, inputs: list[Tensor | None], images: dict[int, Tensor], finals: set[str]
    ) -> tuple[Tensor, ...]:
        """The layer's results in the dtypes that they have now. A network output's name is left to the cast
        that follows.
        """
        if all(a is None or b is None or a.dtype is b.dtype for a, b in zip(inputs, layer.inputs, strict=True)):
            return layer.outputs
        types = infer_layer(layer.op, inputs, layer.attrs, fresh=lambda low, high: low, wanted=len(layer.outputs)).types
        outputs = []
        for t, kind in zip(layer.outputs, types, strict=True):
            image = t
            if kind.dtype is not t.dtype:
                name = self.names.unique(f"{t.name}.{kind.dtype}") if t.name in finals else t.name
                image = Tensor(name, kind.dtype, t.shape, value=t.value)
                images[id(t)] = image
            outputs.append(image)
        return tuple(outputs)


def _spec(layer: Layer, index: int) -> Input:
    declared = layer.op.spec.inputs
    return declared[min(index, len(declared) - 1)]


def carries(layer: Layer, spec: Input) -> bool:
    """Whether an input's elements are only moved: the op takes every dtype there."""
    return spec.type not in BY_NAME and "|" not in spec.type and layer.op.dtypes(spec.type) is ALL


def _takes(layer: Layer, spec: Input, dtype: DType) -> bool:
    if spec.type == "any":
        return True
    if spec.type in BY_NAME or "|" in spec.type:
        return dtype.name in [name.strip() for name in spec.type.split("|")]
    return dtype in layer.op.dtypes(spec.type)

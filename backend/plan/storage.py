"""Where each value between steps lives: a buffer of the arena, a view of another value, a part of a concat's result.

Decided once for all shapes; sizes and offsets follow from the shapes (`layout`), when a context meets them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum

from trtn.backend.group import Group
from trtn.backend.plan.arena import Arena, Lifetime, plan_arena
from trtn.backend.plan.strides import Strides, dense, viewed
from trtn.dsl.dims import Dim, evaluate, symbols
from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.records import record

__all__ = ["Part", "Place", "StoragePlan", "plan_storage"]

ALIGNMENT = 64
KEPT = 64
"""Arenas that are kept."""


class Place(StrEnum):
    INPUT = "input"
    WEIGHT = "weight"
    OUTPUT = "output"
    ARENA = "arena"
    VIEW = "view"
    """The result of a view group: no memory of its own."""
    PART = "part"
    """A range of a concat's result, written by the step that makes the value."""
    DYNAMIC = "dynamic"
    """Its size is known only when it has been computed: allocated by the step."""


@record()
class Part:
    """Where a value lies in the concat's result `parent`: from `offset` on along `axis`."""

    parent: Tensor
    axis: int
    offset: Dim


@record()
class StoragePlan:
    """Places by tensor id, in steps' order; for each value of the arena, the first and last step in which it is
    alive."""

    places: Mapping[int, Place]
    parts: Mapping[int, Part]
    buffers: tuple[Tensor, ...]
    lifetimes: tuple[tuple[int, int], ...]
    dynamic: frozenset[str]
    """The names of the data-dependent dims."""
    orders: Mapping[int, tuple[int, ...]]
    """The axes of each buffer from the slowest to the fastest in memory, by tensor id; the logical order where there
    is none."""
    _known: dict[tuple[int, ...], Arena] = field(default_factory=dict, repr=False, compare=False)
    """Arenas by the buffers' sizes in bytes: a new shape asks for its own several times."""

    def layout(self, sizes: Mapping[str, int]) -> Arena:
        """Offsets of the arena's buffers for the given values of the dims."""
        needs = tuple(nbytes(t, sizes) for t in self.buffers)
        arena = self._known.get(needs)
        if arena is None:
            spans = [Lifetime(first, last, need) for need, (first, last) in zip(needs, self.lifetimes, strict=True)]
            arena = plan_arena(spans, align=ALIGNMENT)
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[needs] = arena
        return arena


def nbytes(tensor: Tensor, sizes: Mapping[str, int]) -> int:
    count = tensor.dtype.itemsize
    for d in tensor.shape:
        count *= evaluate(d, sizes)
    return count


def plan_storage(
    network: Network, groups: Sequence[Group], orders: Mapping[int, tuple[int, ...]] | None = None
) -> StoragePlan:
    """Places for all values that cross from one group to another. `orders` are wishes: only the arena's values
    follow them."""
    return _Planner(network, groups, orders or {}).plan()


class _Planner:
    def __init__(self, network: Network, groups: Sequence[Group], orders: Mapping[int, tuple[int, ...]]) -> None:
        self.network = network
        self.orders = orders
        self.groups = groups
        self.dynamic = frozenset(network.data_dims)
        self.places: dict[int, Place] = {}
        self.parts: dict[int, Part] = {}
        self.strides: dict[int, Strides | None] = {}
        """How each value lies in memory; None where that is not known."""
        self.base: dict[int, Tensor] = {}
        """The value whose memory a view or a part lies in."""
        self.rigid: set[int] = set()
        """Views that rely on how the value below lies in memory."""
        self.tensors: dict[int, Tensor] = {}
        self.readers: dict[int, list[int]] = {}
        self.made: dict[int, int] = {}

    def plan(self) -> StoragePlan:
        self._place_outer()
        for step, group in enumerate(self.groups):
            for t in group.inputs:
                self.readers.setdefault(id(t), []).append(step)
                if t.weight is not None:
                    self.places[id(t)] = Place.WEIGHT
                    self.strides[id(t)] = dense(t.shape)
            for t in group.outputs:
                self.tensors[id(t)] = t
                self.made[id(t)] = step
        outputs = {id(t) for t in self.network.outputs}
        for group in self.groups:
            for t in group.outputs:
                self._place(group, t, outputs)
        for group in self.groups:
            self._place_parts(group)
        return self._finish()

    def _place_outer(self) -> None:
        for t in self.network.inputs:
            self.places[id(t)] = Place.INPUT
            self.strides[id(t)] = dense(t.shape)

    def _is_dynamic(self, tensor: Tensor) -> bool:
        return bool(self.dynamic) and any(symbols(d) & self.dynamic for d in tensor.shape)

    def _place(self, group: Group, tensor: Tensor, outputs: set[int]) -> None:
        source = group.layers[0].inputs[0] if group.kind == "view" and group.layers[0].inputs else None
        if self._is_dynamic(tensor) or (source is not None and self.places.get(id(source)) is Place.DYNAMIC):
            self.places[id(tensor)] = Place.DYNAMIC
        elif id(tensor) in outputs:
            self.places[id(tensor)] = Place.OUTPUT
            self.strides[id(tensor)] = dense(tensor.shape)
        elif source is not None and self._is_view(group.layers[0], source, tensor):
            self.places[id(tensor)] = Place.VIEW
            self.base[id(tensor)] = source
            if group.layers[0].op.view == "contiguous":
                self.rigid.add(id(tensor))
        else:
            self.places[id(tensor)] = Place.ARENA
            self.strides[id(tensor)] = dense(tensor.shape, self.orders.get(id(tensor)))

    def _is_view(self, layer: Layer, source: Tensor, tensor: Tensor) -> bool:
        """Whether the reference result of a view op shares memory with its input; notes how it lies there. An output
        may be the caller's: it is not aliased."""
        if self.places.get(id(source)) in (Place.DYNAMIC, Place.OUTPUT):
            return False
        strides = viewed(layer, source, self.strides.get(id(source)), tensor)
        if strides is None and layer.op.view != "always":
            return False
        self.strides[id(tensor)] = strides
        return True

    def _place_parts(self, group: Group) -> None:
        """Let the inputs of a concat be written straight into its result, where nothing else has a say in their
        memory."""
        if len(group.layers) != 1 or group.layers[0].op.name != "concat":
            return
        layer = group.layers[0]
        parent = layer.outputs[0]
        if self.places[id(parent)] is not Place.ARENA or len({id(t) for t in layer.inputs}) != len(layer.inputs):
            return
        axis = layer.attrs["axis"]
        offset: Dim = 0
        for t in layer.inputs:
            assert t is not None
            if self.places.get(id(t)) is Place.ARENA and not self._is_viewed(t):
                self.places[id(t)] = Place.PART
                self.parts[id(t)] = Part(parent, axis, offset)
                self.base[id(t)] = parent
            offset = offset + t.shape[axis]

    def _is_viewed(self, tensor: Tensor) -> bool:
        """Whether a view that relies on how the value lies in memory is on it, directly or on another view of it."""
        views = [self.tensors[i] for i, base in self.base.items() if base is tensor and self.places[i] is Place.VIEW]
        return any(id(v) in self.rigid or self._is_viewed(v) for v in views)

    def _root(self, tensor: Tensor) -> Tensor:
        while id(tensor) in self.base:
            tensor = self.base[id(tensor)]
        return tensor

    def _finish(self) -> StoragePlan:
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        roots: dict[int, Tensor] = {}
        for i, t in self.tensors.items():
            root = self._root(t)
            if self.places.get(id(root)) is not Place.ARENA:
                continue
            roots.setdefault(id(root), root)
            steps = [self.made[i], *self.readers.get(i, ())]
            first[id(root)] = min(first.get(id(root), steps[0]), *steps)
            last[id(root)] = max(last.get(id(root), steps[0]), *steps)
        order = sorted(roots, key=lambda i: (first[i], self.made[i], roots[i].name))
        return StoragePlan(
            places=self.places,
            parts=self.parts,
            buffers=tuple(roots[i] for i in order),
            lifetimes=tuple((first[i], last[i]) for i in order),
            dynamic=self.dynamic,
            orders={i: self.orders[i] for i in order if i in self.orders},
        )

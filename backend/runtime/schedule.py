"""A plan made ready for one set of sizes: arrays over the arena, views taken, kernels bound. Then a run is a short
loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from trtn.backend.evaluate import bind_layer, learn_sizes
from trtn.backend.group import Group
from trtn.backend.passes.mentions import mentioned_throughout
from trtn.backend.plan.storage import Place, StoragePlan
from trtn.backend.runtime.io import check_sizes, refuse
from trtn.dsl.dims import evaluate, symbol, symbols
from trtn.dsl.network import Network, Tensor

if TYPE_CHECKING:
    from trtn.backend.providers import Kernel, Launch

__all__ = ["Schedule", "Step"]

Table = dict[int, Any]
Sizes = dict[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """A group ready to run. `late` ones depend on what only the data decides: they are bound anew in each run, on
    the host."""

    run: Callable[[Table, Sizes], None]
    name: str
    late: bool = False


class Schedule:
    """The steps of an engine for given sizes of the dims, over a context's arena memory."""

    def __init__(
        self,
        network: Network,
        groups: Sequence[Group],
        kernels: Sequence[Kernel],
        storage: StoragePlan,
        weights: Table,
        sizes: Sizes,
        xp: Any,
    ) -> None:
        self.network = network
        self.storage = storage
        self.sizes = sizes
        self.arena = storage.layout(sizes)
        self._groups = groups
        self._kernels = kernels
        self._weights = weights
        self._xp = xp
        self._fixed: Table = {}
        self.steps: list[Step] = []

    def attach(self, memory: Any) -> None:
        """Take views of the arena's memory (at least `arena.nbytes` bytes of uint8, aligned) and bind the kernels."""
        fixed: Table = dict(self._weights)
        for t, offset in zip(self.storage.buffers, self.arena.offsets, strict=True):
            shape = self._shape(t)
            count = prod(shape)
            order = self.storage.orders.get(id(t), tuple(range(len(shape))))
            flat = memory[offset : offset + count * t.dtype.itemsize].view(t.dtype.numpy)
            fixed[id(t)] = flat.reshape([shape[a] for a in order]).transpose(
                [order.index(a) for a in range(len(shape))]
            )
        self._fixed = fixed
        self.steps = []
        parts = [t for g in self._groups for t in g.outputs if self.storage.places[id(t)] is Place.PART]
        for t in parts:
            self._part(t)
        for group, kernel in zip(self._groups, self._kernels, strict=True):
            step = self._step(group, kernel)
            if step is not None:
                self.steps.append(step)

    def run(self, table: Table) -> Sizes:
        """Run all steps. `table` has the inputs and, where they are given, the outputs' arrays by tensor id; results
        are put there.
        Gives the dims' values, data-dependent ones included."""
        sizes = dict(self.sizes)
        table.update(self._fixed)
        for step in self.steps:
            step.run(table, sizes)
        return sizes

    @property
    def fixed(self) -> Mapping[int, Any]:
        """The arrays that stay where they are from run to run, by tensor id."""
        return self._fixed

    def _shape(self, tensor: Tensor) -> tuple[int, ...]:
        return tuple(evaluate(d, self.sizes) for d in tensor.shape)

    def _part(self, tensor: Tensor) -> None:
        """The range of its concat's result that a value is written to; the result may itself be a part."""
        if id(tensor) in self._fixed:
            return
        part = self.storage.parts[id(tensor)]
        if id(part.parent) not in self._fixed:
            self._part(part.parent)
        start = evaluate(part.offset, self.sizes)
        size = evaluate(tensor.shape[part.axis], self.sizes)
        self._fixed[id(tensor)] = self._fixed[id(part.parent)][
            (slice(None),) * part.axis + (slice(start, start + size),)
        ]

    def _step(self, group: Group, kernel: Kernel) -> Step | None:
        layer = group.layers[0]
        dynamic_inputs = [t for t in group.inputs if self.storage.places.get(id(t)) is Place.DYNAMIC]
        known = {id(t) for t in group.inputs} <= self._fixed.keys()
        if len(group.outputs) and all(self.storage.places[id(t)] is Place.VIEW for t in group.outputs):
            view = bind_layer(layer, self.sizes, self._xp)
            if known:
                for t, array in zip(layer.outputs, view(self._fixed, self.sizes), strict=True):
                    self._fixed[id(t)] = array
                return None

            def take(table: Table, sizes: Sizes) -> None:
                for t, array in zip(layer.outputs, view(table, sizes), strict=True):
                    table[id(t)] = array

            return Step(take, group.name, late=bool(dynamic_inputs))
        written = {i for i, p in self.storage.parts.items() if len(group.outputs) and p.parent is group.outputs[0]}
        if written:
            return self._concat_rest(group, written)
        return self._launch(group, kernel)

    def _concat_rest(self, group: Group, written: set[int]) -> Step | None:
        """A concat whose inputs lie in its result already, all or some: only the others are copied."""
        layer = group.layers[0]
        target = self._fixed[id(layer.outputs[0])]
        axis = layer.attrs["axis"]
        offset = 0
        copies: list[tuple[int, Any]] = []
        for t in layer.inputs:
            assert t is not None
            size = evaluate(t.shape[axis], self.sizes)
            if id(t) not in written:
                copies.append((id(t), target[(slice(None),) * axis + (slice(offset, offset + size),)]))
            offset += size
        if not copies:
            return None

        def copy(table: Table, sizes: Sizes) -> None:
            for key, into in copies:
                into[...] = table[key]

        return Step(copy, group.name)

    def _launch(self, group: Group, kernel: Kernel) -> Step:
        inputs = [id(t) for t in group.inputs]
        outputs = [id(t) for t in group.outputs]
        dynamic = [t for t in group.outputs if self.storage.places[id(t)] is Place.DYNAMIC]
        late = (
            dynamic
            or any(self.storage.places.get(id(t)) is Place.DYNAMIC for t in group.inputs)
            or any(mentioned_throughout(layer) & self.storage.dynamic for layer in group.layers)
        )
        if not late:
            launch = kernel.bind(self.sizes)

            def run(table: Table, sizes: Sizes) -> None:
                launch([table[i] for i in inputs], [table[o] for o in outputs])

            return Step(run, group.name)

        def run_late(table: Table, sizes: Sizes) -> None:
            late_launch: Launch = kernel.bind(sizes)
            results = late_launch([table[i] for i in inputs], [table.get(o) for o in outputs])
            for t, result in zip(group.outputs, results, strict=True):
                table[id(t)] = result
                known = len(sizes)
                learn_sizes(t, result.shape, sizes)
                self._check_data_dims(t, result.shape, sizes)
                if len(sizes) > known:
                    check_sizes(self.network, sizes)  # asserts and guards that waited for them

        return Step(run_late, group.name, late=True)

    def _check_data_dims(self, tensor: Tensor, shape: tuple[int, ...], sizes: Mapping[str, int]) -> None:
        """Hold the sizes that a result has shown against their bounds, and against what was learned before."""
        for dim, actual in zip(tensor.shape, shape, strict=True):
            if evaluate(dim, sizes) != actual:
                raise refuse(
                    "E0707", f"dim `{dim}` of `{tensor.name}` came out as {actual}, not {evaluate(dim, sizes)}"
                )
            for name in symbols(dim) & self.network.data_dims.keys():
                bound = self.network.data_dims[name]
                low, high = evaluate(bound.low, sizes), evaluate(bound.high, sizes)
                if dim == symbol(name) and not low <= actual <= high:
                    raise refuse(
                        "E0707",
                        f"`{name}` of `{tensor.name}` came out as {actual}; the network says {low}..{high}",
                    )

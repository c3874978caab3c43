"""A group's kernels on a GPU: planned for the arrays of the first call, compiled and loaded then, launched from
there on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.group import Group
from trtn.backend.providers.base import Launch
from trtn.backend.providers.codegen.family import Call, Family, Operand, Plan, Slot
from trtn.backend.providers.codegen.modules import load_kernel
from trtn.dsl.dims import evaluate, symbols
from trtn.dsl.network import Tensor

__all__ = ["CodegenKernel", "operand_of"]

PLAN_LIMIT = 64
"""Plans kept for other sizes or strides."""
Launches = Callable[[Sequence[Any]], None]


class CodegenKernel:
    """Runs a group by the plans of a family. Plans are shared between bindings; scratch memory is not."""

    def __init__(self, group: Group, family: Family, tactic: str, device: Device) -> None:
        self.group = group
        self.family = family
        self.tactic = tactic
        self.device = device
        self._plans: dict[object, Plan] = {}

    def bind(self, sizes: Mapping[str, int]) -> Launch:
        tensors = (*self.group.inputs, *self.group.outputs)
        count = len(self.group.inputs)
        ready: dict[object, Launches] = {}

        def launch(inputs: Sequence[Any], outputs: Sequence[Any]) -> Sequence[Any]:
            results = [
                self._empty(t, sizes) if a is None else a for t, a in zip(self.group.outputs, outputs, strict=True)
            ]
            arrays = [*inputs, *results]
            key = tuple((a.shape, a.strides, a.data.ptr & 15) for a in arrays)
            run = ready.get(key)
            if run is None:
                operands = [operand_of(t, a.shape, a.strides, a.data.ptr) for t, a in zip(tensors, arrays, strict=True)]
                run = ready[key] = self._prepare(self.plan(sizes, operands[:count], operands[count:]), arrays)
            run(arrays)
            return results

        return launch

    def plan(self, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]) -> Plan:
        """The launches for operands as given."""
        key = (tuple(sorted(sizes.items())), *inputs, *outputs)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self.family.plan(self.group, self.tactic, sizes, inputs, outputs)
            while len(self._plans) > PLAN_LIMIT:
                self._plans.pop(next(iter(self._plans)), None)
        return plan

    def _prepare(self, plan: Plan, arrays: Sequence[Any]) -> Launches:
        """A plan's launches as a function of the arrays, with scratch memory taken and filled."""
        scratch = [self.device.empty((max(n, 1),), "uint8") for n in plan.scratch]
        architecture = self.device.name.removeprefix("cuda:")
        held = [a.data.ptr for a in scratch]
        for call in plan.once:
            _launcher(call, architecture)([*(a.data.ptr for a in arrays), *held])
        launchers = [_launcher(call, architecture) for call in plan.calls]

        def run(arrays: Sequence[Any]) -> None:
            addresses = [*(a.data.ptr for a in arrays), *(a.data.ptr for a in scratch)]
            for launcher in launchers:
                launcher(addresses)

        return run

    def _empty(self, tensor: Tensor, sizes: Mapping[str, int]) -> Any:
        assert all(symbols(d) <= sizes.keys() for d in tensor.shape), f"the shape of {tensor.name} is in the data"
        return self.device.empty(tuple(evaluate(d, sizes) for d in tensor.shape), tensor.dtype.numpy)


def _launcher(call: Call, architecture: str) -> Launches:
    """One launch as a function of the addresses of all buffers."""
    function = load_kernel(call.spec, architecture)
    grid, block = call.grid, call.block
    arguments = call.arguments

    def run(addresses: Sequence[Any]) -> None:
        function(grid, block, tuple(addresses[a.index] + a.offset if isinstance(a, Slot) else a for a in arguments))

    return run


def operand_of(tensor: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], address: int) -> Operand:
    """An array as families see it; `strides` count bytes."""
    size = tensor.dtype.itemsize
    align = 16 if address % 16 == 0 else address & -address
    return Operand(tuple(shape), tuple(s // size for s in strides), tensor.dtype, min(align, 16))

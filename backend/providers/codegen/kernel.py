"""A group's generated kernels made ready for a problem: planned, compiled and loaded once, launched from there on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from trtn.backend.binaries import BinaryKey
from trtn.backend.devices import Device
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch, TacticError
from trtn.backend.providers.codegen import cluster
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, digest
from trtn.backend.providers.codegen.launching import bind_launch
from trtn.backend.providers.codegen.modules import CompileError, binary_key, cubin_of, load_kernel
from trtn.backend.providers.codegen.tensor_map import MatrixMap
from trtn.dsl.network import Tensor

__all__ = ["CodegenKernel", "operand_of", "operands_of"]

GRAIN = 256
"""Bytes that scratch buffers start at multiples of."""


class CodegenKernel:
    """A plan with its kernels loaded. Scratch that `once` calls fill holds packed weights: it is made once for each
    set of weights; other scratch is workspace."""

    def __init__(self, problem: Problem, plan: Plan, device: Device) -> None:
        self.plan = plan
        self._device = device
        self._architecture = device.name.removeprefix("cuda:")
        operands = len(problem.inputs) + len(problem.outputs)
        self._packs = {
            a.index - operands
            for call in plan.once
            for a in call.arguments
            if isinstance(a, Slot) and a.index >= operands
        }
        sizes = [0 if n in self._packs else -(-size // GRAIN) * GRAIN for n, size in enumerate(plan.scratch)]
        self._offsets = [0, *accumulate(sizes)]
        self.workspace = self._offsets[-1]
        try:
            self._functions = {
                call.spec: load_kernel(call.spec, self._architecture, device.binaries)
                for call in (*plan.once, *plan.calls)
            }
        except CompileError as e:
            raise TacticError(f"a generated kernel does not compile: {e}") from None

    def binaries(self) -> Mapping[BinaryKey, bytes]:
        architecture, found = self._architecture, self._device.binaries
        return {binary_key(spec, architecture): cubin_of(spec, architecture, found) for spec in self._functions}

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        addresses = [int(a.data.ptr) for a in (*inputs, *outputs)]
        packed = self._pack(inputs, addresses) if self.plan.once else {}
        start = int(workspace.data.ptr) if self.workspace else 0
        held = [packed.get(n) for n in range(len(self.plan.scratch))]
        addresses += [start + self._offsets[n] if a is None else int(a.data.ptr) for n, a in enumerate(held)]
        launches = [self._bind_call(call, addresses) for call in self.plan.calls]

        def launch() -> None:
            for enqueue in launches:
                enqueue()

        launch.held = (inputs, outputs, held, workspace)  # type: ignore[attr-defined]  # the addresses must stay
        return launch

    def _pack(self, inputs: Sequence[Any], addresses: Sequence[int]) -> dict[int, Any]:
        """The scratch buffers that `once` calls fill, by number."""
        read = sorted(
            {a.index for c in self.plan.once for a in c.arguments if isinstance(a, Slot)} & {*range(len(inputs))}
        )
        calls = (f"{digest(c.spec)}{c.arguments}" for c in self.plan.once)
        form = ";".join([*calls, *(f"{n}@{addresses[n]}" for n in read)])

        def make(_: Any) -> dict[int, Any]:
            made = {n: self._device.empty((max(self.plan.scratch[n], 1),), "uint8") for n in self._packs}
            whole = [*addresses, *(made[n].data.ptr if n in made else 0 for n in range(len(self.plan.scratch)))]
            for call in self.plan.once:
                self._bind_call(call, whole)()
            return made

        made: dict[int, Any] = self._device.packed(inputs[read[0]], form, make)
        return made

    def _bind_call(self, call: Call, addresses: Sequence[int]) -> Launch:
        arguments = [_value(a, addresses) for a in call.arguments]
        function = self._functions[call.spec]
        cluster.allow(function, getattr(call.spec, "cluster", 1))
        return bind_launch(function, call.grid, call.block, call.shared, arguments, self._architecture)


def _value(argument: Any, addresses: Sequence[int]) -> Any:
    """An argument for arrays at these addresses."""
    if isinstance(argument, Slot):
        return addresses[argument.index] + argument.offset
    if isinstance(argument, MatrixMap):
        return argument.encode(addresses[argument.slot.index] + argument.slot.offset)
    return argument


def operands_of(problem: Problem) -> tuple[list[Operand], list[Operand]]:
    """A problem's inputs and outputs as families see them."""
    inputs, outputs = (
        [Operand(a.shape, a.strides, a.dtype, a.align) for a in arrays] for arrays in (problem.inputs, problem.outputs)
    )
    return inputs, outputs


def operand_of(tensor: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], address: int) -> Operand:
    """An array as families see it; `strides` count bytes."""
    size = tensor.dtype.itemsize
    align = 16 if address % 16 == 0 else address & -address
    return Operand(tuple(shape), tuple(s // size for s in strides), tensor.dtype, min(align, 16))

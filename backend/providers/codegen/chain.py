"""Several groups' launches as those of one: what one kernel does not take, the kernels of its parts do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from trtn.backend.group import Group
from trtn.backend.problem import dense_strides
from trtn.backend.providers.codegen.family import Call, Family, Operand, Plan, Slot
from trtn.backend.providers.codegen.tensor_map import MatrixMap
from trtn.dsl.dims import evaluate
from trtn.dsl.network import Layer, Tensor

__all__ = ["chained", "part_of"]


def part_of(kind: str, layers: Sequence[Layer]) -> Group:
    """Some of a group's layers as a group of their own, whose only result is the last layer's."""
    inside = {id(t) for layer in layers for t in layer.outputs}
    read = {id(t): t for layer in layers for t in layer.inputs if t is not None and id(t) not in inside}
    return Group(kind, tuple(layers), tuple(read.values()), (layers[-1].output,))


def chained(
    parts: Sequence[tuple[Family, Group]],
    group: Group,
    sizes: Mapping[str, int],
    inputs: Sequence[Operand],
    outputs: Sequence[Operand],
) -> Plan:
    """The launches of parts in order. What goes from one to another lies channels last in scratch memory."""
    operands = dict(zip(map(id, (*group.inputs, *group.outputs)), (*inputs, *outputs), strict=True))
    slots = {id(t): Slot(n) for n, t in enumerate((*group.inputs, *group.outputs))}
    fixed = len(slots)
    scratch: list[int] = []
    calls: list[Call] = []
    once: list[Call] = []
    for family, part in parts:
        for t in part.outputs:
            if id(t) not in slots:
                slots[id(t)], operands[id(t)] = Slot(fixed + len(scratch)), _channels_last(t, sizes)
                scratch.append(operands[id(t)].size * t.dtype.itemsize)
        given = [operands[id(t)] for t in part.inputs]
        made = [operands[id(t)] for t in part.outputs]
        plan = family.plan(part, family.tactics(part)[0].name, sizes, given, made)
        known = [slots[id(t)] for t in (*part.inputs, *part.outputs)]
        known += [Slot(fixed + len(scratch) + n) for n in range(len(plan.scratch))]
        scratch += plan.scratch
        calls += [_moved(call, known) for call in plan.calls]
        once += [_moved(call, known) for call in plan.once]
    return Plan(tuple(calls), tuple(scratch), tuple(once))


def _moved(call: Call, slots: Sequence[Slot]) -> Call:
    """A call with its slots put for others."""

    def moved(slot: Slot) -> Slot:
        return replace(slots[slot.index], offset=slots[slot.index].offset + slot.offset)

    def argument(given: Any) -> Any:
        if isinstance(given, MatrixMap):
            return replace(given, slot=moved(given.slot))
        return moved(given) if isinstance(given, Slot) else given

    return replace(call, arguments=tuple(map(argument, call.arguments)))


def _channels_last(tensor: Tensor, sizes: Mapping[str, int]) -> Operand:
    batch, channels, *spatial = (evaluate(d, sizes) for d in tensor.shape)
    n, *places, c = dense_strides((batch, *spatial, channels))
    return Operand((batch, channels, *spatial), (n, c, *places), tensor.dtype)

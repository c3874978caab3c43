"""Pointwise regions: any number of layers, inputs and results in one pass over memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.elementwise import elementwise_call
from trtn.backend.providers.codegen.family import Operand, Plan, Slot
from trtn.backend.providers.codegen.program import cannot_write, constant_of, program_of

__all__ = ["FAMILY", "PointwiseFamily"]


class PointwiseFamily:
    """Groups of pointwise layers whose results have one shape."""

    name = "pointwise"

    def refusal(self, group: Group) -> str:
        others = [layer.op.name for layer in group.layers if not layer.op.pointwise]
        if others or not group.outputs:
            return f"`{others[0]}` is not done element by element" if others else "it has no results"
        if any(len(layer.outputs) != 1 for layer in group.layers):
            return "a layer has several results"
        shape = group.outputs[0].shape
        if any(layer.output.shape != shape for layer in group.layers):
            return "its results differ in shape"
        return cannot_write(group.layers)

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("fused", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        read = [n for n, t in enumerate(group.inputs) if constant_of(t) is None]
        program = program_of(group.layers, [group.inputs[n] for n in read], group.outputs)
        slots = [*(Slot(n) for n in read), *(Slot(len(inputs) + n) for n in range(len(outputs)))]
        return Plan(tuple(elementwise_call(program, outputs[0].shape, [inputs[n] for n in read], outputs, slots)))


FAMILY = PointwiseFamily()

"""scatter_nd and scatter_elements: x is copied, then each update is put where its indices say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.elementwise import copy_program, elementwise_call
from trtn.backend.providers.codegen.family import Operand, Plan, Slot
from trtn.backend.providers.codegen.gather import pick_call, picking_elements, picking_nd
from trtn.backend.providers.codegen.prelude import SUPPORTED

__all__ = ["FAMILY", "ScatterFamily"]


class ScatterFamily:
    """Updates by index. One whose index is outside of its axis is left out."""

    name = "scatter"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name not in ("scatter_nd", "scatter_elements"):
            return "it does not put elements by index"
        if layer.attrs["reduction"] != "none":
            return "updates of one place are combined, in an order that threads don't have"
        return "" if layer.output.dtype.name in SUPPORTED else f"generated kernels don't take {layer.output.dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        layer, (y,) = group.layers[0], outputs
        number = {id(t): n for n, t in enumerate(group.inputs)}
        x_at, indices_at, updates_at = (number[id(t)] for t in layer.inputs if t is not None)
        x, indices, updates = inputs[x_at], inputs[indices_at], inputs[updates_at]
        target = Slot(len(inputs))
        calls = elementwise_call(copy_program(x.dtype.name, y.dtype.name), y.shape, (x,), (y,), (Slot(x_at), target))
        if updates.size and y.size:
            if layer.op.name == "scatter_nd":
                picking = picking_nd(y, indices, len(updates.shape))
            else:
                picking = picking_elements(y, indices, layer.attrs["axis"])
            slots = (Slot(indices_at), Slot(updates_at), target)
            calls.append(pick_call(picking, y, indices, updates, slots, scatter=True))
        return Plan(tuple(calls))


FAMILY = ScatterFamily()

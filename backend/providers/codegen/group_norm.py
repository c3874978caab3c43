"""group_norm and instance_norm in either layout: moments of each channel, a factor and an offset from those of its
group, and
one pass that applies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen import reductions
from trtn.backend.providers.codegen.elementwise import elementwise_call
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.program import Program, Step
from trtn.backend.providers.codegen.reduction import Reduced, by_columns, columns_call, parts_call
from trtn.backend.providers.codegen.rows import ACCUMULATORS, rows_of
from trtn.dsl.dtypes import BY_NAME

__all__ = ["FAMILY", "CoefficientsSpec", "GroupNormFamily"]

MOMENTS_BYTES = {"float": 12, "double": 24}


@dataclass(frozen=True, slots=True)
class CoefficientsSpec:
    """A warp for each group of channels of each sample: from the channels' moments, the a and b of y = x * a + b."""

    dtype: str
    eps: float

    def source(self) -> str:
        compute, stored = COMPUTE_TYPES[self.dtype], C_TYPES[self.dtype]
        eps = literal(self.eps, "f64" if compute == "double" else "f32")
        return "\n".join(
            [
                PRELUDE,
                ACCUMULATORS,
                reductions.LIBRARY,
                f'extern "C" __global__ void __launch_bounds__(32) kernel(const Moments<{compute}>* __restrict__ moments, '
                f"const {stored}* __restrict__ scale, const {stored}* __restrict__ bias, {compute}* __restrict__ a, "
                f"{compute}* __restrict__ b, const u32 channels, const u32 width, const int scale_step, const int bias_step) {{",
                f"  typedef {compute} C;",
                "  __shared__ Moments<C> shared[1];",
                "  LET_NEXT_START();",
                "  WAIT_FOR_INPUTS();",
                "  const u32 first = blockIdx.x * width;",
                "  Moments<C> own = {0, 0, 0};",
                "  for (u32 k = threadIdx.x; k < width; k += 32) own.merge(moments[first + k]);",
                "  own = over_team<32>(own, shared);",
                f"  const C factor = C(1) / sqrt(own.squares / (C)own.n + {eps});",
                "  for (u32 k = threadIdx.x; k < width; k += 32) {",
                "    const int c = (first + k) % channels;",
                "    const C slope = factor * load(scale + c * scale_step);",
                "    a[first + k] = slope;",
                "    b[first + k] = load(bias + c * bias_step) - own.mean * slope;",
                "  }",
                "}",
                "",
            ]
        )


class GroupNormFamily:
    """group_norm and instance_norm."""

    name = "group_norm"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name not in ("group_norm", "instance_norm"):
            return "it is not a group_norm or instance_norm"
        return "" if layer.output.dtype.name in SUPPORTED else f"generated kernels don't take {layer.output.dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        (y,) = outputs
        if y.size == 0:
            return Plan(())
        layer = group.layers[0]
        number = {id(t): n for n, t in enumerate(group.inputs)}
        at, scale, bias = (number[id(t)] for t in layer.inputs if t is not None)
        x = inputs[at]
        batch, channels = x.shape[:2]
        groups = layer.attrs.get("groups", channels)
        compute = BY_NAME["f64" if x.dtype.name == "f64" else "f32"]
        rank = len(x.shape)
        # Moments, a and b are [N, C] in scratch memory, which the walk's order follows.
        first = len(inputs) + len(outputs)
        per_channel = Operand((batch, channels, *(1,) * (rank - 2)), (channels, 1, *(0,) * (rank - 2)), compute)
        rows = rows_of(x.shape, range(2, rank), (x, per_channel), leader=1)
        reduced = Reduced("moments", x.dtype.name, "")
        read = (x, per_channel)
        if by_columns(rows):
            moments = columns_call(reduced, rows, read, Slot(first))
        else:
            moments = parts_call(reduced, rows, read, 1, Slot(first))
        steps = [inputs[n].strides[0] if inputs[n].shape[0] > 1 else 0 for n in (scale, bias)]
        finish = Call(
            CoefficientsSpec(x.dtype.name, layer.attrs["eps"]),
            (batch * groups, 1, 1),
            (32, 1, 1),
            (
                *(Slot(n) for n in (first, scale, bias, first + 1, first + 2)),
                np.uint32(channels), np.uint32(channels // groups), *map(np.int32, steps),
            ),
        )  # fmt: skip
        affine = Program(
            (x.dtype.name, compute.name, compute.name),
            (Step("mul", (0, 1), compute.name), Step("add", (3, 2), x.dtype.name)),
            (4,),
        )
        slots = (Slot(at), Slot(first + 1), Slot(first + 2), Slot(len(inputs)))
        apply = elementwise_call(affine, x.shape, (x, per_channel, per_channel), (y,), slots)
        size = batch * channels
        scratch = (size * MOMENTS_BYTES[C_TYPES[compute.name]], *(size * compute.itemsize,) * 2)
        return Plan((_reading(moments, at), finish, *apply), scratch)


FAMILY = GroupNormFamily()


def _reading(call: Call, slot: int) -> Call:
    """A call whose first pointer is another slot."""
    return Call(call.spec, call.grid, call.block, (Slot(slot), *call.arguments[1:]))

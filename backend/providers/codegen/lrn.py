"""lrn: a thread reads a window of channels for some neighbours that share it, or, where channels are side by side, for one
element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.walk import Geometry, Walk, vector_width

__all__ = ["FAMILY", "LrnFamily", "LrnSpec"]

THREADS = 256


@dataclass(frozen=True, slots=True)
class LrnSpec:
    """The walk's operands are x and y; `channel` is the walk's axis of the channels, `scale` what their squares are
    multiplied by."""

    dtype: str
    size: int
    scale: float
    beta: float
    bias: float
    channel: int
    vector: int
    walk: Walk

    def source(self) -> str:
        stored, walk, kind = C_TYPES[self.dtype], self.walk, self.walk.offset_type
        parameters = [
            f"const {stored}* __restrict__ x", f"{stored}* __restrict__ y", "const u32 count", "const int channels",
            f"const {kind} step", *walk.parameters(),
        ]  # fmt: skip
        before = (self.size - 1) // 2
        scale, beta, bias = (literal(v, self.dtype) for v in (self.scale, -self.beta, self.bias))
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                f"  typedef {COMPUTE_TYPES[self.dtype]} C;",
                f"  constexpr int V = {self.vector};",
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {THREADS}u + threadIdx.x;",
                *(f"  {line}" for line in walk.decode("i")),
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                f"  x += {walk.offset(0, self.vector)};",
                "  C sum[V] = {}, own[V], v[V];",
                "  load<V>(x, own);",
                "  #pragma unroll",
                f"  for (int k = {-before}; k < {self.size - before}; k++) {{",
                f"    if ((u32)((int)wi{self.channel} + k) >= (u32)channels) continue;",
                "    load<V>(x + k * step, v);",
                "    for (int j = 0; j < V; j++) sum[j] += v[j] * v[j];",
                "  }",
                f"  for (int j = 0; j < V; j++) own[j] *= pow(sum[j] * {scale} + {bias}, {beta});",
                f"  store<V>(y + {walk.offset(1, self.vector)}, own);",
                "}",
                "",
            ]
        )


class LrnFamily:
    """Local response normalisation."""

    name = "lrn"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name != "lrn":
            return "it is not an lrn"
        return "" if layer.output.dtype.name in SUPPORTED else f"generated kernels don't take {layer.output.dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        (x,), (y,), attrs = inputs, outputs, group.layers[0].attrs
        if y.size == 0:
            return Plan(())
        order = sorted(range(len(y.shape)), key=lambda a: (-abs(y.strides[a]), a))
        geometry = Geometry(tuple(y.shape[a] for a in order), tuple(tuple(o.strides[a] for a in order) for o in (x, y)))
        vector = 1
        if order[-1] != 1:
            both = Geometry((1, *geometry.sizes), ((x.strides[1], *geometry.strides[0]), (0, *geometry.strides[1])))
            vector = vector_width(both, [x.dtype.itemsize] * 2, [x.align, y.align])
        walk = geometry.walk()
        scale = attrs["alpha"] / attrs["size"]
        spec = LrnSpec(
            x.dtype.name, attrs["size"], scale, attrs["beta"], attrs["bias"], order.index(1), vector, walk
        )  # fmt: skip
        count = geometry.count // vector
        offset = np.int64 if walk.wide else np.int32
        numbers = (
            np.uint32(count), np.int32(x.shape[1]), offset(x.strides[1]), *geometry.arguments(walk, vector),
        )  # fmt: skip
        return Plan((Call(spec, grid_for(count, THREADS), (THREADS, 1, 1), (Slot(0), Slot(1), *numbers)),))


FAMILY = LrnFamily()

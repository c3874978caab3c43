"""cumsum and cumprod: a block takes a row piece by piece, or, where rows are side by side in memory, a thread each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE, SUPPORTED
from trtn.backend.providers.codegen.walk import Walk, join

__all__ = ["FAMILY", "RunningFamily", "RunningSpec"]

THREADS = 256
ITEMS = 4
"""Neighbours that a thread of a block takes of each piece."""
OPS = {"cumsum": ("+", 0), "cumprod": ("*", 1)}
"""How elements are combined, and what is before the first."""

ALONE = """\
  C total = START;
  #pragma unroll 4
  for (u32 o = 0; o < n; o++) put(o, element(o), total);"""

TOGETHER = """\
  __shared__ C totals[THREADS / 32];
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  C carry = START;
  for (u32 piece = 0; piece < n; piece += THREADS * ITEMS) {
    const u32 first = piece + threadIdx.x * ITEMS;
    C own[ITEMS], sum = START;
    #pragma unroll
    for (u32 k = 0; k < ITEMS; k++) {
      own[k] = first + k < n ? element(first + k) : START;
      sum = sum OP own[k];
    }
    for (u32 step = 1; step < 32; step *= 2) {
      const C other = __shfl_sync(~0u, sum, lane < step ? lane : lane - step);
      if (lane >= step) sum = other OP sum;
    }
    if (lane == 31) totals[warp] = sum;
    const C previous = __shfl_sync(~0u, sum, lane ? lane - 1 : 0);
    __syncthreads();
    C total = carry;
    for (u32 w = 0; w < THREADS / 32; w++) {
      if (w < warp) total = total OP totals[w];
      carry = carry OP totals[w];
    }
    if (lane) total = total OP previous;
    #pragma unroll
    for (u32 k = 0; k < ITEMS; k++) if (first + k < n) put(first + k, own[k], total);
    __syncthreads();
  }"""


@dataclass(frozen=True, slots=True)
class RunningSpec:
    """The walk's operands are x and y without the axis; `together`: a block a row."""

    op: str
    dtype: str
    exclusive: bool
    reverse: bool
    together: bool
    walk: Walk

    def source(self) -> str:
        stored, walk, kind = C_TYPES[self.dtype], self.walk, self.walk.offset_type
        sign, start = OPS[self.op]
        parameters = [
            f"const {stored}* __restrict__ x", f"{stored}* __restrict__ y", "const u32 rows", "const u32 n",
            f"const {kind} step_x", f"const {kind} step_y", *walk.parameters(),
        ]  # fmt: skip
        place = f"({kind})({'n - 1 - o' if self.reverse else 'o'})"
        steps = [f"store(y + {place} * step_y, total);", f"total = total {sign} value;"]
        write = " ".join(steps if self.exclusive else steps[::-1])
        body = (TOGETHER if self.together else ALONE).replace("OP", sign)
        row = ["const u32 row = blockIdx.x;"]
        if not self.together:
            row = ["const u32 number = blockIdx.x * THREADS + threadIdx.x, row = lower(number, rows - 1);"]
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                f"  typedef {COMPUTE_TYPES[self.dtype]} C;",
                f"  constexpr u32 THREADS = {THREADS}, ITEMS = {ITEMS};",
                f"  constexpr C START = {start};",
                "  LET_NEXT_START();",
                *(f"  {line}" for line in (*row, *walk.decode("row"))),
                f"  x += {walk.offset(0)}; y += {walk.offset(1)};",
                f"  const auto element = [&](u32 o) {{ return load(x + {place} * step_x); }};",
                f"  const auto put = [&](u32 o, C value, C& total) {{ {write} }};",
                "  WAIT_FOR_INPUTS();",
                *(["  if (number >= rows) return;"] if not self.together else []),
                body,
                "}",
                "",
            ]
        )


class RunningFamily:
    """Running sums and products along an axis."""

    name = "running"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or layer.op.name not in OPS:
            return "it is not a running sum or product"
        if layer.attrs["axis"] is None:
            return "the axis comes as a tensor"
        return "" if layer.output.dtype.name in SUPPORTED else f"generated kernels don't take {layer.output.dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("auto", numerics="reassociated"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        layer, (x,), (y,) = group.layers[0], inputs, outputs
        if y.size == 0:
            return Plan(())
        attrs, axis = layer.attrs, layer.attrs["axis"]
        kept = [a for a in range(len(x.shape)) if a != axis]
        geometry = join([x.shape[a] for a in kept], [[o.strides[a] for a in kept] for o in (x, y)], leader=0)
        walk = geometry.walk()
        walk = Walk(walk.patterns, walk.wide or max(x.reach(), y.reach()) > 2**31 - 1, walk.name)
        together = x.strides[axis] == 1 or geometry.strides[0][-1] != 1
        spec = RunningSpec(layer.op.name, x.dtype.name, attrs["exclusive"], attrs["reverse"], together, walk)
        offset = np.int64 if walk.wide else np.int32
        numbers = (
            np.uint32(geometry.count), np.uint32(x.shape[axis]), offset(x.strides[axis]), offset(y.strides[axis]),
            *geometry.arguments(walk),
        )  # fmt: skip
        blocks = geometry.count if together else -(-geometry.count // THREADS)
        return Plan((Call(spec, (blocks, 1, 1), (THREADS, 1, 1), (Slot(0), Slot(1), *numbers)),))


FAMILY = RunningFamily()

"""linear of a few rows: a warp makes a column of the result, so that all of the weight is on its way at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.fusion.gpu.few_rows import MOST_ROWS, few_rows_refusal
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import cluster, expressions
from trtn.backend.providers.codegen.elementwise import copy_program, elementwise_call
from trtn.backend.providers.codegen.epilogue import epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.rows import ACCUMULATORS
from trtn.backend.providers.codegen.walk import Geometry, join, vector_width

__all__ = ["FAMILY", "GemvFamily", "GemvSpec"]


MOST_HELD = 24 << 10
"""Elements of a block's columns that fit into shared memory, less what fills up the last vectors."""


@dataclass(frozen=True, slots=True)
class GemvSpec:
    """The weight lies as [columns, inner]."""

    dtype: str
    rows: int
    vector: int
    warps: int
    bias: bool
    epilogue: Program
    channel_operands: int
    inner: int = 0
    """Elements of a column, where a block has room for its columns; 0: an argument says how many there are."""

    def source(self) -> str:
        stored = C_TYPES[self.dtype]
        result = C_TYPES[self.epilogue.dtype(self.epilogue.results[0])]
        count = self.channel_operands
        channels = [f"e{n}" for n in range(count)]
        tensors = [f"r{n}" for n in range(len(self.epilogue.inputs) - 1 - count)]
        kinds = dict(zip([*channels, *tensors], (C_TYPES[d] for d in self.epilogue.inputs[1:]), strict=True))
        pointers = [
            f"const {stored}* __restrict__ x", f"const {stored}* __restrict__ w",
            *([f"const {stored}* __restrict__ bias"] if self.bias else []),
            *(f"const {kinds[n]}* __restrict__ {n}" for n in (*channels, *tensors)), f"{result}* __restrict__ y",
        ]  # fmt: skip
        sizes = ["const int inner", "const int columns", *(f"const i64 {n}m" for n in ("x", *tensors, "y"))]
        reads = [f"const float {n}_v = load({n} + column);" for n in channels]
        reads += [f"const float {n}_v = load({n} + lane * {n}m + column);" for n in tensors]
        statements, (value,) = self.epilogue.statements(["total", *(f"{n}_v" for n in (*channels, *tensors))])
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                ACCUMULATORS,
                cluster.LIBRARY,
                f'extern "C" __global__ void __launch_bounds__({32 * self.warps}) kernel({", ".join([*pointers, *sizes])}) {{',
                f"  constexpr int M = {self.rows}, V = {self.vector};",
                f"  const int lane = threadIdx.x % 32, column = blockIdx.x * {self.warps} + threadIdx.x / 32;",
                "  w += (i64)lower(column, columns - 1) * inner;",
                *self._ask(),
                "  WAIT_FOR_INPUTS();",
                "  LET_NEXT_START();",
                "  if (column >= columns) return;",
                "  float sums[M] = {};",
                *self._each(),
                "    #pragma unroll",
                "    for (int m = 0; m < M; m++) {",
                "      float u[V]; load<V>(x + m * xm + k, u);",
                "      #pragma unroll",
                "      for (int j = 0; j < V; j++) sums[m] += u[j] * v[j];",
                "    }",
                "  }",
                "  float total = 0.0f;",
                "  #pragma unroll",
                "  for (int m = 0; m < M; m++) {",
                "    const Sum<float> own = {sums[m]};",
                "    const float all = over_team<32>(own, (Sum<float>*)0).v;",
                "    if (lane == m) total = all;",
                "  }",
                "  if (lane >= M) return;",
                *(["  total += load(bias + column);"] if self.bias else []),
                *(f"  {line}" for line in (*reads, *statements)),
                f"  store(y + lane * ym + column, {value});",
                "}",
                "",
            ]
        )

    def _ask(self) -> list[str]:
        """The column of the weight is asked for before the kernels before this one are done. It comes to shared memory: the
        compiler would move reads into registers behind the waiting."""
        if not self.inner:
            return []
        return [
            f"  constexpr int INNER = {self.inner}, HELD = (INNER + 32 * V - 1) / (32 * V);",
            f"  __shared__ uint4 asked[{self.warps}][HELD][32];",
            "  uint4 (&own)[HELD][32] = asked[threadIdx.x / 32];",
            "  #pragma unroll",
            "  for (int n = 0; n < HELD; n++) {",
            "    const bool there = (n * 32 + lane) * V < INNER;",
            "    copy_16(&own[n][lane], there ? w + (n * 32 + lane) * V : w, there);",
            "  }",
        ]

    def _each(self) -> list[str]:
        """The head of a loop over the lane's vectors `v` of the weight, at `k`."""
        if not self.inner:
            unroll = f"  #pragma unroll {max(1, 8 // self.rows)}"
            return [unroll, "  for (int k = lane * V; k < inner; k += 32 * V) {", "    float v[V]; load<V>(w + k, v);"]
        return [
            "  copies_done();",
            "  #pragma unroll",
            "  for (int n = 0; n < HELD; n++) if (const int k = (n * 32 + lane) * V; INNER % (32 * V) == 0 || k < INNER) {",
            f"    float v[V]; load<V>((const {C_TYPES[self.dtype]}*)&own[n][lane], v);",
        ]


class GemvFamily:
    """linear with its epilogue, in 16-bit floats, for up to 8 rows."""

    name = "gemv"

    def refusal(self, group: Group) -> str:
        return few_rows_refusal(group.layers[0]) or epilogue_refusal(group, axis=-1)

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic(f"warps{n}", numerics="reassociated") for n in (8, 4)]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        (y,) = outputs
        if y.size == 0:
            return Plan(())
        linear, epilogue = group.layers[0], epilogue_of(group, axis=-1)
        number = {id(t): n for n, t in enumerate(group.inputs)}
        at, weight_at, *bias_at = (number[id(t)] for t in linear.inputs if t is not None)
        x, weight = inputs[at], inputs[weight_at]
        inner, columns = weight.shape
        by_row = [x, *(inputs[n] for n in epilogue.tensors), y]
        rows = join(x.shape[:-1], [o.strides[:-1] for o in by_row])
        if rows.count > MOST_ROWS:
            raise TacticError(f"{rows.count} rows are more than {MOST_ROWS}")
        if len(rows.sizes) > 1 or any(o.strides[-1] != 1 for o in by_row if o.shape[-1] > 1):
            raise TacticError("its rows are not at equal distances, or not dense")
        packed = len(inputs) + len(outputs)
        dense = Operand((columns, inner), (inner, 1), weight.dtype)
        turned = Operand((columns, inner), weight.strides[::-1], weight.dtype, weight.align)
        is_turned = turned.strides == dense.strides
        copy = copy_program(weight.dtype.name, weight.dtype.name)
        once = (
            []
            if is_turned
            else elementwise_call(copy, dense.shape, (turned,), (dense,), (Slot(weight_at), Slot(packed)))
        )
        walk = Geometry((rows.count, inner), ((rows.strides[0][0], 1), (inner, 1)))
        vector = vector_width(walk, [x.dtype.itemsize] * 2, [x.align, weight.align if is_turned else 16])
        warps = int(tactic.removeprefix("warps"))
        spec = GemvSpec(
            x.dtype.name,
            rows.count,
            vector,
            warps,
            bool(bias_at),
            epilogue.program,
            len(epilogue.channels),
            inner if vector * x.dtype.itemsize == 16 and warps * inner <= MOST_HELD else 0,
        )
        slots = (at, weight_at if is_turned else packed, *bias_at, *epilogue.channels, *epilogue.tensors, len(inputs))
        numbers = (np.int32(inner), np.int32(columns), *(np.int64(own[0]) for own in rows.strides))
        call = Call(spec, (-(-columns // warps), 1, 1), (32 * warps, 1, 1), (*map(Slot, slots), *numbers))
        return Plan((call,), () if is_turned else (dense.size * dense.dtype.itemsize,), tuple(once))


FAMILY = GemvFamily()

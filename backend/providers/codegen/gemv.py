"""linear of a few rows: a warp makes a column of the result, so that all of the weight is on its way at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtn.backend.fusion.gpu.few_rows import MOST_ROWS, few_rows_refusal
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.elementwise import copy_program, elementwise_call
from trtn.backend.providers.codegen.epilogue import epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.rows import ACCUMULATORS
from trtn.backend.providers.codegen.walk import Geometry, join, vector_width

__all__ = ["FAMILY", "GemvFamily", "GemvSpec"]


MOST_HELD = 128
"""Elements of the weight that a lane holds at most."""


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
    held: int = 0
    """Vectors of the weight that a lane asks for before the kernels before this one are done; 0: it reads them as it goes."""

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
                f'extern "C" __global__ void __launch_bounds__({32 * self.warps}) kernel({", ".join([*pointers, *sizes])}) {{',
                f"  constexpr int M = {self.rows}, V = {self.vector};",
                f"  const int lane = threadIdx.x % 32, column = blockIdx.x * {self.warps} + threadIdx.x / 32;",
                "  w += (i64)lower(column, columns - 1) * inner;",
                *self._ask(stored),
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

    def _ask(self, stored: str) -> list[str]:
        if not self.held:
            return []
        return [
            f"  Lanes<{stored}, V> held[{self.held}];",
            "  #pragma unroll",
            f"  for (int n = 0; n < {self.held}; n++) if ((n * 32 + lane) * V < inner) fetch_lanes<V>(w + (n * 32 + lane) * V, held[n]);",
        ]

    def _each(self) -> list[str]:
        """The head of a loop over the lane's vectors `v` of the weight, at `k`."""
        if not self.held:
            unroll = f"  #pragma unroll {max(1, 8 // self.rows)}"
            return [unroll, "  for (int k = lane * V; k < inner; k += 32 * V) {", "    float v[V]; load<V>(w + k, v);"]
        return [
            "  #pragma unroll",
            f"  for (int n = 0; n < {self.held}; n++) if (const int k = (n * 32 + lane) * V; k < inner) {{",
            "    float v[V];",
            "    #pragma unroll",
            "    for (int j = 0; j < V; j++) v[j] = widen(held[n].at[j]);",
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
            _held(inner, vector),
        )
        slots = (at, weight_at if is_turned else packed, *bias_at, *epilogue.channels, *epilogue.tensors, len(inputs))
        numbers = (np.int32(inner), np.int32(columns), *(np.int64(own[0]) for own in rows.strides))
        call = Call(spec, (-(-columns // warps), 1, 1), (32 * warps, 1, 1), (*map(Slot, slots), *numbers))
        return Plan((call,), () if is_turned else (dense.size * dense.dtype.itemsize,), tuple(once))


FAMILY = GemvFamily()


def _held(inner: int, vector: int) -> int:
    """Vectors of a column that a lane can hold, in 64 registers; 0 where they are too many."""
    count = -(-inner // (32 * vector))
    return count if count * max(vector, 2) <= MOST_HELD else 0

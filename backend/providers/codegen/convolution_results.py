"""What becomes of the sums of a convolution: bias, the group's other layers, and their way to memory."""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.prelude import C_TYPES, COMPUTE_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program

__all__ = ["FINISHERS", "LANES", "FinishSpec", "Results"]

LANES = 4
"""Columns that are packed, read and written together."""
TOGETHER = 4
"""Parts of a sum that are on their way together."""
FINISHERS = 128
"""Threads of a block that adds up parts."""


@dataclass(frozen=True, slots=True)
class Results:
    """What becomes of the sums. The program's inputs are the sum, `by_channel` constants, and tensors of the result's
    shape."""

    program: Program
    by_channel: int
    bias: bool
    dtype: str
    """Of the bias."""
    spatial: int
    """Axes of the image."""
    together: bool
    """Whether the columns of LANES lie side by side in the result and the tensors, and are all there."""

    @property
    def tensors(self) -> int:
        return len(self.program.inputs) - 1 - self.by_channel

    @property
    def pointers(self) -> list[str]:
        given = self.program.pointers[1:]
        return [*([f"const {C_TYPES[self.dtype]}* __restrict__ bias"] if self.bias else []), *given]

    @property
    def numbers(self) -> list[str]:
        """Sizes of the result's image beyond the first axis, then of each tensor and the result the distances of images,
        channels and places."""
        distances = [f"const i64 {name}_{axis}" for name in self._spread for axis in ("n", "c", *range(self.spatial))]
        return [*(f"const u32 o{axis}" for axis in range(self.spatial)), *distances]

    @property
    def _spread(self) -> list[str]:
        return [*(f"x{1 + self.by_channel + n}" for n in range(self.tensors)), "y0"]

    def library(self) -> str:
        """`finish`: LANES neighbouring columns of a row, from `column` of `columns` in a group on."""
        names = self.program.names
        channels = names[1 : 1 + self.by_channel]
        tensors = names[1 + self.by_channel : len(self.program.inputs)]
        types = dict(zip(names, (COMPUTE_TYPES[d] for d in self.program.operands), strict=True))
        width = LANES if self.together else 1
        sums = "sum[j]" + (" + load(bias + c + j)" if self.bias else "")
        values = ["v", *(f"load({n} + c + j)" for n in channels), *(f"a_{n}[j]" for n in tensors)]
        statements, (result,) = self.program.statements(values)
        reads = [f"{types[n]} a_{n}[{LANES}];" for n in tensors]
        if self.together:
            reads += [f"load<{LANES}>({n} + {n}_at, a_{n});" for n in tensors]
        inside = [
            *(f"a_{n}[j] = load({n} + {n}_at + j * {n}_c);" for n in tensors if width == 1),
            f"const float v = {sums};",
            *statements,
        ]
        inside.append(f"r[j] = {result};" if self.together else f"store(y0 + y0_at + j * y0_c, {result});")
        return "\n".join(
            [
                f"DEVICE void finish({', '.join([*self.pointers, *self.numbers])}, u32 row, const int group, const int column,",
                f"                   const int columns, const float (&sum)[{LANES}]) {{",
                "  const i64 c = (i64)group * columns + column;",
                *(f"  i64 {n}_at = c * {n}_c;" for n in self._spread),
                *(f"  {line}" for line in self._place()),
                *(f"  {line}" for line in reads),
                f"  float r[{LANES}];" if self.together else "",
                "  #pragma unroll",
                f"  for (int j = 0; j < {LANES}; j++) if (column + j < columns) {{",
                *(f"    {line}" for line in inside),
                "  }",
                f"  store<{LANES}>(y0 + y0_at, r);" if self.together else "",
                "}",
            ]
        )

    def _place(self) -> list[str]:
        """Move to the row's place."""
        lines = []
        for axis in reversed(range(self.spatial)):
            lines.append(f"{{ const u32 left = row / o{axis}, at = row - left * o{axis}; row = left;")
            lines.append(" ".join(f"{n}_at += at * {n}_{axis};" for n in self._spread) + " }")
        return [*lines, " ".join(f"{n}_at += row * {n}_n;" for n in self._spread)]

    def call(self, row: str, column: str, sums: str) -> str:
        names = [p.split()[-1] for p in (*self.pointers, *self.numbers)]
        return f"finish({', '.join(names)}, {row}, group, {column}, columns, {sums});"


@dataclass(frozen=True, slots=True)
class FinishSpec:
    """Adds up the parts of the sums: a thread LANES columns of a row."""

    results: Results

    def source(self) -> str:
        results = self.results
        parameters = [
            "const float* __restrict__ sums", *results.pointers, "const int parts", "const u32 count", "const u32 rows",
            "const int columns", "const int packed", *results.numbers,
        ]  # fmt: skip
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                results.library(),
                f'extern "C" __global__ void __launch_bounds__({FINISHERS}) kernel({", ".join(parameters)}) {{',
                "  LET_NEXT_START();",
                f"  const u32 i = blockIdx.x * {FINISHERS}u + threadIdx.x, quads = packed / {LANES};",
                "  const u32 line = i / quads, group = line / rows, row = line - group * rows;",
                f"  const int column = (i - line * quads) * {LANES};",
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                f"  float sum[{LANES}] = {{}};",
                f"  #pragma unroll {TOGETHER}",
                "  for (int part = 0; part < parts; part++) {",
                f"    float v[{LANES}];",
                f"    load<{LANES}>(sums + ((i64)part * count + i) * {LANES}, v);",
                f"    for (int j = 0; j < {LANES}; j++) sum[j] += v[j];",
                "  }",
                f"  {results.call('row', 'column', 'sum')}",
                "}",
                "",
            ]
        )

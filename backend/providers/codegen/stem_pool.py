"""The first convolution of an image network and the max-pooling after it, in one kernel: what is convolved, the largest image of
the network, never goes to memory.

A block convolves 16 columns of some rows, from the first that its windows need, to shared memory; the windows that lie in them
whole are its part of the result. Blocks beside each other convolve what they share twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.codegen import cluster, pooling, stem_family
from trtn.backend.providers.codegen.chain import chained, part_of
from trtn.backend.providers.codegen.family import Operand, Plan
from trtn.backend.providers.codegen.prelude import C_TYPES
from trtn.backend.providers.codegen.reductions import extreme
from trtn.backend.providers.codegen.stem import COLUMNS, WARPS, StemSpec
from trtn.dsl.dims import evaluate
from trtn.dsl.ops.windows import actual_pads

__all__ = ["FAMILY", "PooledStemSpec", "StemPoolFamily"]

LIBRARY = r"""
DEVICE u32 maximum2(u32 x, u32 y, f16) { u32 z; asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y)); return z; }
DEVICE u32 maximum2(u32 x, u32 y, bf16) { u32 z; asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y)); return z; }
"""
"""What depends on the machine: the emulator of the tests has its own."""


@dataclass(frozen=True, slots=True)
class PooledStemSpec(StemSpec):
    """Windows of the pooling, down and across: taps, steps, padding before."""

    taps: tuple[int, int]
    steps: tuple[int, int]
    before: tuple[int, int]

    @property
    def windows(self) -> tuple[int, int]:
        """Windows that a block makes, down and across; less than 1 where it holds none."""
        high, wide = (
            (n - k) // s + 1 for n, k, s in zip((WARPS * self.rows, COLUMNS), self.taps, self.steps, strict=True)
        )
        return high, wide

    @property
    def shared(self) -> int:
        window = self.window
        patch, staged = (
            window.height(WARPS * self.rows) * window.pitch,
            WARPS * self.rows * COLUMNS * (self.outputs + 8),
        )
        return 4 * window.packed(self.outputs) + 2 * (-(-patch // 8) * 8 + staged)

    @property
    def dynamic(self) -> int:
        return self.shared

    @property
    def more(self) -> tuple[str, ...]:
        return ("PP", "PQ")

    @property
    def libraries(self) -> list[str]:
        return [cluster.LIBRARY, LIBRARY]

    def tiles(self, high: int, wide: int) -> tuple[int, int]:
        down, across = self.windows
        return -(-high // down), -(-wide // across)

    def memory(self) -> list[str]:
        stored = C_TYPES[self.dtype]
        return [
            "  SHARED_MEMORY(memory);",
            "  u32* const taps = (u32*)memory;",
            f"  {stored}* const patch = ({stored}*)(taps + KH * OCTETS * NT * 32);",
            f"  typedef {stored} Row[{COLUMNS}][NT * 8 + 8];",
            "  Row* const staged = (Row*)(patch + (HEIGHT * PITCH + 7) / 8 * 8);",
        ]

    def origin(self) -> str:
        (down, across), (sh, sw), (ph, pw) = self.windows, self.steps, self.before
        return f"const int left = tile % across * {across}, top = tile / across % down * {down}, q0 = left * {sw} - {pw}, p0 = top * {sh} - {ph};"

    def finish(self, by_channel: Sequence[str]) -> list[str]:
        """The epilogue on the sums, to shared memory; then the windows, eight channels a thread. What is outside of the convolved
        image is less than everything."""
        stored, chunks, (down, across) = C_TYPES[self.dtype], self.outputs // 8, self.windows
        reads, statements, value = self.finished(by_channel)
        return [
            "    #pragma unroll",
            "    for (int r = 0; r < RW; r++) {",
            "      #pragma unroll",
            f"      for (int k = 0; k < NT; k++) {{ {reads}",
            "        #pragma unroll",
            "        for (int half = 0; half < 2; half++) {",
            "          const bool there = (u32)(p0 + warp * RW + r) < (u32)P && (u32)(q0 + g + 8 * half) < (u32)Q;",
            "          float v[2];",
            "          #pragma unroll",
            f"          for (int j = 0; j < 2; j++) {{ {statements} v[j] = there ? {value} : {extreme(self.dtype, greatest=False)}; }}",
            "          store<2>(&staged[warp * RW + r][g + 8 * half][k * 8 + 2 * t], v);",
            "        }",
            "      }",
            "    }",
            "    __syncthreads();",
            f"    for (int k = threadIdx.x; k < {down * across * chunks}; k += {WARPS * 32}) {{",
            f"      const int at = k % {chunks} * 8, column = k / {chunks} % {across}, row = k / {chunks * across};",
            f"      Lanes<{stored}, 8> most;",
            "      #pragma unroll",
            f"      for (int i = 0; i < {self.taps[0] * self.taps[1]}; i++) {{",
            f"        Lanes<{stored}, 8> one;",
            f"        fetch_lanes<8>(&staged[row * {self.steps[0]} + i / {self.taps[1]}][column * {self.steps[1]} + i % {self.taps[1]}][at], one);",
            "        #pragma unroll",
            f"        for (int j = 0; j < 4; j++) most.word[j] = i ? maximum2(most.word[j], one.word[j], {stored}()) : one.word[j];",
            "      }",
            "      if (top + row < PP && left + column < PQ)",
            "        put_chunks<8>(y + (n * yn + (i64)(top + row) * yh + (i64)(left + column) * yw + part + at), most);",
            "    }",
        ]


class StemPoolFamily:
    """Groups of kind `stem` whose last layer is a max-pooling."""

    name = "stem_pool"

    def refusal(self, group: Group) -> str:
        *before, pool = group.layers
        if pool.op.name != "max_pool" or not before or pool.inputs[0] is not before[-1].output:
            return "no max-pooling ends it"
        if len(group.outputs) != 1 or group.outputs[0] is not pool.output or pool.output.rank != 4:
            return "something else than the pooled image leaves it"
        if max(pool.attrs["dilations"]) > 1:
            return "its windows are dilated"
        return stem_family.FAMILY.refusal(_convolution(group))

    def tactics(self, group: Group) -> Sequence[Tactic]:
        names = ("auto", *(f"rows{n}" for n in stem_family.ROWS_A_WARP), "steps")
        return [Tactic(name, numerics="reassociated") for name in names]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        (y,) = outputs
        if y.size == 0:
            return Plan(())
        pool = group.layers[-1]
        if tactic == "steps":
            steps = (
                (stem_family.FAMILY, part_of("stem", group.layers[:-1])),
                (pooling.FAMILY, part_of("pooling", [pool])),
            )
            return chained(steps, group, sizes, inputs, outputs)
        convolved = [evaluate(d, sizes) for d in group.layers[-2].output.shape[2:]]
        conv, attrs = _convolution(group), pool.attrs
        kernel, strides, dilations = (tuple(attrs[k]) for k in ("kernel", "strides", "dilations"))
        pads = actual_pads(convolved, kernel, strides, attrs["pads"], dilations, attrs["auto_pad"])
        stem = stem_family.stem_spec(
            conv, stem_family.rows_of(tactic, y.shape[0] * convolved[0] * convolved[1]), inputs
        )
        plain: dict[str, Any] = {f.name: getattr(stem, f.name) for f in fields(stem)}
        spec = PooledStemSpec(
            **plain, taps=(kernel[0], kernel[1]), steps=(strides[0], strides[1]), before=(pads[0], pads[1])
        )
        if min(spec.windows) < 1 or spec.shared > cluster.SHARED:
            raise TacticError("a block can't hold a window")
        return stem_family.stem_plan(conv, spec, convolved, inputs, y)


FAMILY = StemPoolFamily()


def _convolution(group: Group) -> Group:
    """The group without its pooling; inputs are those of the whole group, so that their numbers are, too."""
    layers = group.layers[:-1]
    return Group("stem", layers, group.inputs, (layers[-1].output,))

"""The first convolution of an image network: 1 to 4 channels, which libraries pad to 8, on tensor cores without padding, with its
epilogue.

A block makes 16 columns of some rows of the result, all channels (or 64 of them). What it reads of x goes to shared memory once, as
[row, column * channels]; there, the taps of one row of the window are side by side for each place, so fragments of the implicit
matrix are read as they lie. Rows of the window are filled up with zero taps to a multiple of 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.elementwise import copy_program, elementwise_call
from trtn.backend.providers.codegen.epilogue import epilogue_of, epilogue_refusal
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot, grid_for
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS
from trtn.dsl.ops.windows import actual_pads

__all__ = ["FAMILY", "PackSpec", "StemFamily", "StemSpec", "Window"]

WARPS = 4
COLUMNS = 16
"""Places of a fragment: neighbours in a row of the result."""
ROWS_A_WARP = (4, 2, 1)
AT_ONCE = 64
"""Channels of the result that a block makes at most."""
SHARED = 48 * 1024

LIBRARY = r"""
// One fragment product: 16 places x 8 channels, over 16 or 8 taps, in f32.
DEVICE void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, f16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, bf16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE void multiply(float (&d)[4], const u32 (&a)[2], u32 b0, f16) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(b0));
}
DEVICE void multiply(float (&d)[4], const u32 (&a)[2], u32 b0, bf16) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(b0));
}
"""


@dataclass(frozen=True, slots=True)
class Window:
    """The geometry of the convolution: channels of x, taps down and across, strides, padding before."""

    channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]

    @property
    def run(self) -> int:
        """Taps of one row of the window, side by side in shared memory."""
        return self.kernel[1] * self.channels

    @property
    def octets(self) -> int:
        """The same in groups of 8, the last filled up."""
        return -(-self.run // 8)

    @property
    def pitch(self) -> int:
        """Elements of a row in shared memory."""
        return ((COLUMNS - 1) * self.strides[1] * self.channels + 8 * self.octets + 1) // 2 * 2

    def height(self, rows: int) -> int:
        """Rows of x that `rows` rows of the result need."""
        return (rows - 1) * self.strides[0] + self.kernel[0]

    def packed(self, channels: int) -> int:
        """32-bit words of the taps of some channels of the result, as fragments."""
        return self.kernel[0] * self.octets * (channels // 8) * 32


@dataclass(frozen=True, slots=True)
class PackSpec:
    """The weight [O, C, KH, KW] as fragments: for each row of taps, octet and 8 channels, a word of two taps for each lane."""

    dtype: str
    window: Window

    def source(self) -> str:
        stored, window = C_TYPES[self.dtype], self.window
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__(128) kernel(const {stored}* __restrict__ w, {stored}* __restrict__ packed, '
                "const u32 count, const u32 tiles, const i64 so, const i64 sc, const i64 sh, const i64 sw) {",
                "  const u32 i = blockIdx.x * 128u + threadIdx.x;",
                "  if (i >= count) return;",
                "  const u32 lane = i / 2 % 32, tile = i / 64 % tiles, octet = i / 64 / tiles % "
                f"{window.octets}, row = i / 64 / tiles / {window.octets};",
                "  const u32 tap = octet * 8 + lane % 4 * 2 + i % 2, channel = tile * 8 + lane / 4;",
                f"  {stored} value = {{}};",
                f"  if (tap < {window.run}) value = w[channel * so + tap % {window.channels} * sc + row * sh + tap / {window.channels} * sw];",
                "  packed[i] = value;",
                "}",
                "",
            ]
        )


@dataclass(frozen=True, slots=True)
class StemSpec:
    dtype: str
    window: Window
    outputs: int
    """Channels of the result that a block makes; the grid's second axis counts such parts."""
    rows: int
    """Rows of the result that a warp makes."""
    bias: bool
    epilogue: Program
    planar: bool
    """Whether the columns of x are closer to each other than its channels."""

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        window = self.window
        staged = WARPS * COLUMNS * (self.outputs + 8)
        return 2 * (window.height(WARPS * self.rows) * window.pitch + staged) + 4 * window.packed(self.outputs)

    def source(self) -> str:
        stored, window = C_TYPES[self.dtype], self.window
        by_channel = [*["bias"] * self.bias, *(f"e{n}" for n in range(len(self.epilogue.inputs) - 1))]
        types = {n: C_TYPES[d] for n, d in zip(by_channel[self.bias :], self.epilogue.inputs[1:], strict=True)}
        pointers = [
            f"const {stored}* __restrict__ x", "const u32* __restrict__ w",
            *(f"const {types.get(n, stored)}* __restrict__ {n}" for n in by_channel), f"{stored}* __restrict__ y",
        ]  # fmt: skip
        sizes = ", ".join(f"const int {n}" for n in ("H", "W", "P", "Q", "tiles", "down", "across"))
        strides = ", ".join(f"const i64 {n}{a}" for n in "xy" for a in ("nchw" if n == "x" else "nhw"))
        tiles = self.outputs // 8
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                LIBRARY,
                f'extern "C" __global__ void __launch_bounds__({WARPS * 32}) kernel({", ".join(pointers)}, {sizes}, {strides}) {{',
                f"  constexpr int KH = {window.kernel[0]}, OCTETS = {window.octets}, PITCH = {window.pitch}, NT = {tiles}, RW = {self.rows};",
                f"  constexpr int HEIGHT = {window.height(WARPS * self.rows)}, STEP = {window.strides[1] * window.channels};",
                f"  alignas(16) __shared__ {stored} patch[HEIGHT * PITCH];",
                "  __shared__ u32 taps[KH * OCTETS * NT * 32];",
                f"  alignas(16) __shared__ {stored} staged[{WARPS}][{COLUMNS}][NT * 8 + 8];",
                "  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;",
                "  const int part = blockIdx.y * NT * 8;",
                f"  for (int k = threadIdx.x; k < KH * OCTETS * NT * 32; k += {WARPS * 32}) {{",
                "    const int row = k / (NT * 32);",
                "    taps[k] = w[(row * (gridDim.y * NT) + blockIdx.y * NT) * 32 + k % (NT * 32)];",
                "  }",
                *self._mask(),
                "  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {",
                f"    const int q0 = tile % across * {COLUMNS}, p0 = tile / across % down * {WARPS * self.rows};",
                "    const i64 n = tile / across / down;",
                "    __syncthreads();",
                *self._fill(),
                "    __syncthreads();",
                "    float sums[RW][NT][4];",
                *self._start(),
                *self._multiply(stored),
                *self._finish(stored, by_channel),
                "  }",
                "}",
                "",
            ]
        )

    def _mask(self) -> list[str]:
        """Taps of the last octet that are only there to fill it up must not let what they meet through, were it infinite."""
        filled = self.window.octets * 8 - self.window.run
        if not filled:
            return []
        left = self.window.run - (self.window.octets - 1) * 8
        return [f"  const u32 mask = 2 * t + 1 < {left} ? 0xffffffffu : 2 * t < {left} ? 0xffffu : 0u;"]

    def _fill(self) -> list[str]:
        window, stored = self.window, C_TYPES[self.dtype]
        columns = self.window.pitch // window.channels
        place = f"const int c = e % {window.channels}, column = e / {window.channels};"
        if self.planar:
            place = f"const int c = e / {columns}, column = e % {columns};"
        return [
            f"    const {stored}* from = x + n * xn;",
            f"    const int h0 = p0 * {window.strides[0]} - {window.before[0]}, w0 = q0 * {window.strides[1]} - {window.before[1]};",
            "    #pragma unroll 4",
            f"    for (int k = threadIdx.x; k < HEIGHT * {columns * window.channels}; k += {WARPS * 32}) {{",
            f"      const int row = k / {columns * window.channels}, e = k % {columns * window.channels};",
            f"      {place}",
            "      const int h = h0 + row, at = w0 + column;",
            f"      {stored} value = {{}};",
            "      if ((u32)h < (u32)H && (u32)at < (u32)W) value = from[h * xh + at * xw + c * xc];",
            f"      patch[row * PITCH + column * {window.channels} + c] = value;",
            "    }",
        ]

    def _start(self) -> list[str]:
        value = ["0.0f", "0.0f"]
        read = ""
        if self.bias:
            read = "float b[2]; load<2>(bias + part + k * 8 + 2 * t, b);"
            value = ["b[0]", "b[1]"]
        return [
            "    #pragma unroll",
            f"    for (int k = 0; k < NT; k++) {{ {read}",
            "      #pragma unroll",
            f"      for (int r = 0; r < RW; r++) {{ sums[r][k][0] = sums[r][k][2] = {value[0]}; sums[r][k][1] = sums[r][k][3] = {value[1]}; }}",
            "    }",
        ]

    def _multiply(self, stored: str) -> list[str]:
        window = self.window
        lines = ["    #pragma unroll 1", "    for (int kh = 0; kh < KH; kh++) {"]
        lines += [
            f"      const {stored}* own = patch + (warp * RW * {window.strides[0]} + kh) * PITCH + g * STEP + 2 * t;",
            "      const u32* tap = taps + kh * OCTETS * NT * 32 + lane;",
        ]
        masked = window.octets * 8 != window.run
        for first in range(0, window.octets, 2):
            octets = range(first, min(first + 2, window.octets))
            lines += [
                f"      {{ u32 a[RW][{2 * len(octets)}];",
                "        #pragma unroll",
                "        for (int r = 0; r < RW; r++) {",
            ]
            for n, octet in enumerate(octets):
                mask = " & mask" if masked and octet == window.octets - 1 else ""
                for half in (0, 1):
                    at = f"own + r * {window.strides[0]} * PITCH + {8 * octet} + {8 * half} * STEP"
                    lines.append(f"          a[r][{2 * n + half}] = *(const u32*)({at}){mask};")
            words = ", ".join(f"tap[({octet} * NT + k) * 32]" for octet in octets)
            lines += [
                "        }",
                "        #pragma unroll",
                "        for (int k = 0; k < NT; k++)",
                "          #pragma unroll",
                f"          for (int r = 0; r < RW; r++) multiply(sums[r][k], a[r], {words}, {stored}());",
                "      }",
            ]
        return [*lines, "    }"]

    def _finish(self, stored: str, by_channel: Sequence[str]) -> list[str]:
        """The epilogue on the sums, then through shared memory, so that each place's channels are written side by side."""
        operands = by_channel[self.bias :]
        reads = " ".join(f"float {n}_v[2]; load<2>({n} + part + k * 8 + 2 * t, {n}_v);" for n in operands)
        statements, (value,) = self.epilogue.statements(["sums[r][k][2 * half + j]", *(f"{n}_v[j]" for n in operands)])
        chunks = self.outputs // 8
        return [
            "    #pragma unroll",
            "    for (int r = 0; r < RW; r++) {",
            "      __syncwarp();",
            "      #pragma unroll",
            f"      for (int k = 0; k < NT; k++) {{ {reads}",
            "        #pragma unroll",
            "        for (int half = 0; half < 2; half++) {",
            "          float v[2];",
            "          #pragma unroll",
            f"          for (int j = 0; j < 2; j++) {{ {' '.join(statements)} v[j] = {value}; }}",
            "          store<2>(&staged[warp][g + 8 * half][k * 8 + 2 * t], v);",
            "        }",
            "      }",
            "      __syncwarp();",
            "      const int p = p0 + warp * RW + r;",
            f"      for (int k = lane; k < {COLUMNS * chunks}; k += 32) {{",
            f"        const int column = k / {chunks}, chunk = k % {chunks} * 8;",
            f"        Lanes<{stored}, 8> lanes;",
            "        fetch_lanes<8>(&staged[warp][column][chunk], lanes);",
            "        if (p < P && q0 + column < Q) put_chunks<8>(y + n * yn + p * yh + (q0 + column) * yw + part + chunk, lanes);",
            "      }",
            "    }",
        ]


class StemFamily:
    """conv of images of up to 4 channels, in 16-bit floats."""

    name = "stem"

    def refusal(self, group: Group) -> str:
        conv = group.layers[0]
        if conv.op.name != "conv":
            return "it is not a convolution"
        x, weight = conv.inputs[:2]
        assert x is not None and weight is not None
        if x.rank != 4 or conv.attrs["groups"] != 1 or not isinstance(x.shape[1], int) or not 1 <= x.shape[1] <= 4:
            return "x is no image of up to 4 channels"
        if any(t is not None and t.weight is None for t in conv.inputs[1:]):
            return "its weight or bias is not a constant"
        assert weight.weight is not None
        if x.dtype.name not in ("f16", "bf16") or group.outputs[0].dtype is not x.dtype:
            return f"tensor cores take f16 and bf16 here, not {x.dtype}"
        outputs, channels, high, wide = weight.weight.shape
        if outputs % 8:
            return f"its {outputs} channels are not a multiple of 8"
        if conv.attrs["strides"][1] * channels % 2:
            return "neighbouring places start at odd elements"
        if max(conv.attrs["dilations"]) > 1 or max(high, wide) > 11:
            return "its window is dilated or large"
        refusal = epilogue_refusal(group)
        return refusal or ("a tensor enters its epilogue" if epilogue_of(group).tensors else "")

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return [Tactic(name, numerics="reassociated") for name in ("auto", *(f"rows{r}" for r in ROWS_A_WARP))]

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        import numpy as np

        (y,) = outputs
        if y.size == 0:
            return Plan(())
        conv, epilogue = group.layers[0], epilogue_of(group)
        number = {id(t): n for n, t in enumerate(group.inputs)}
        at, weight_at, *bias_at = (number[id(t)] for t in conv.inputs if t is not None)
        x, weight = inputs[at], inputs[weight_at]
        attrs = conv.attrs
        pads = actual_pads(
            x.shape[2:], weight.shape[2:], attrs["strides"], attrs["pads"], attrs["dilations"], attrs["auto_pad"]
        )
        window = Window(x.shape[1], (weight.shape[2], weight.shape[3]), tuple(attrs["strides"]), (pads[0], pads[1]))
        batch, channels, high, wide = y.shape
        part = next(n for n in range(AT_ONCE, 0, -8) if channels % n == 0)
        rows = int(tactic.removeprefix("rows")) if tactic != "auto" else _rows(batch * high * wide)
        spec = StemSpec(x.dtype.name, window, part, rows, bool(bias_at), epilogue.program, _is_planar(x))
        while spec.shared > SHARED:
            spec = _smaller(spec)
        down, across = -(-high // (WARPS * spec.rows)), -(-wide // COLUMNS)
        tiles = batch * down * across
        words = window.packed(channels)
        packed = len(inputs) + len(outputs)
        pack = Call(
            PackSpec(x.dtype.name, window),
            grid_for(2 * words, 128),
            (128, 1, 1),
            (
                Slot(weight_at),
                Slot(packed),
                np.uint32(2 * words),
                np.uint32(channels // 8),
                *map(np.int64, weight.strides),
            ),
        )
        target, result, scratch, more = _channels_last(y, Slot(len(inputs)), Slot(packed + 1))
        numbers = (
            *map(np.int32, (*x.shape[2:], high, wide, tiles, down, across)),
            *map(np.int64, (*x.strides, result.strides[0], *result.strides[2:])),
        )
        slots = (*map(Slot, (at, packed, *bias_at, *epilogue.channels)), target)
        grid = (min(tiles, MULTIPROCESSORS * 4), channels // spec.outputs, 1)
        call = Call(spec, grid, (WARPS * 32, 1, 1), (*slots, *numbers))
        return Plan((call, *more), (4 * words, *scratch), (pack,))


FAMILY = StemFamily()


def _rows(places: int) -> int:
    """Rows of a warp: as many as leave each multiprocessor two blocks."""
    for rows in ROWS_A_WARP:
        if places >= rows * WARPS * COLUMNS * MULTIPROCESSORS * 2:
            return rows
    return ROWS_A_WARP[-1]


def _smaller(spec: StemSpec) -> StemSpec:
    """The same work in smaller pieces, for less shared memory."""
    if spec.rows > 1:
        return replace(spec, rows=spec.rows // 2)
    part = next(n for n in range(spec.outputs - 8, 0, -8) if spec.outputs % n == 0)
    return replace(spec, outputs=part)


def _is_planar(x: Operand) -> bool:
    return x.shape[1] > 1 and x.strides[1] > x.strides[3]


def _channels_last(y: Operand, slot: Slot, scratch: Slot) -> tuple[Slot, Operand, tuple[int, ...], tuple[Call, ...]]:
    """Where the kernel writes: y, where its channels lie side by side in steps of 16 bytes; else scratch memory that is copied."""
    aligned = y.align >= 16 and all(
        s * y.dtype.itemsize % 16 == 0 for a, s in enumerate(y.strides) if a != 1 and y.shape[a] > 1
    )
    if y.strides[1] == 1 and aligned:
        return slot, y, (), ()
    _, c, h, w = y.shape
    middle = Operand(y.shape, (h * w * c, 1, w * c, c), y.dtype)
    copy = elementwise_call(copy_program(y.dtype.name, y.dtype.name), y.shape, (middle,), (y,), (scratch, slot))
    return scratch, middle, (y.size * y.dtype.itemsize,), tuple(copy)

"""The first convolution of an image network: 1 to 4 channels, which libraries pad to 8, on tensor cores without padding, with its
epilogue.

A block makes 16 columns of some rows of the result, all channels (or 64 of them). What it reads of x goes to shared memory once, as
[row, column * channels]; there, the taps of one row of the window are side by side for each place, so fragments of the implicit
matrix are read as they lie. Rows of the window are filled up with zero taps to a multiple of 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program

__all__ = ["COLUMNS", "LIBRARY", "SHARED", "WARPS", "PackSpec", "StemSpec", "Window", "smaller"]

WARPS = 4
COLUMNS = 16
"""Places of a fragment: neighbours in a row of the result."""
SHARED = 48 * 1024
"""Bytes of shared memory that a block may have."""
SHARED_IN_ALL = 227 * 1024
_OTHER_REGISTERS = 32
"""What a thread needs beside its sums, a little less than the compiler takes unasked."""

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
                "  LET_NEXT_START();",
                "  const u32 i = blockIdx.x * 128u + threadIdx.x;",
                "  WAIT_FOR_INPUTS();",
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
    image: str
    """The dtype of x, which is cast to `dtype` as it is read."""
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

    @property
    def more(self) -> tuple[str, ...]:
        """Names of sizes of what is written, where they are not those of the convolution's result."""
        return ()

    @property
    def dynamic(self) -> int:
        """Bytes of shared memory that the launch asks for."""
        return 0

    @property
    def libraries(self) -> list[str]:
        return []

    def tiles(self, high: int, wide: int) -> tuple[int, int]:
        """Parts of what is written that blocks make, down and across."""
        return -(-high // (WARPS * self.rows)), -(-wide // COLUMNS)

    def memory(self) -> list[str]:
        """What lies in shared memory: a part of x, the taps, results on their way."""
        stored = C_TYPES[self.dtype]
        return [
            f"  alignas(16) __shared__ {stored} patch[HEIGHT * PITCH];",
            "  alignas(16) __shared__ u32 taps[KH * OCTETS * NT * 32];",
            f"  alignas(16) __shared__ {stored} staged[{WARPS}][{COLUMNS}][NT * 8 + 8];",
        ]

    def origin(self) -> str:
        """The first place of the convolution that a block makes for part `tile`."""
        return f"const int q0 = tile % across * {COLUMNS}, p0 = tile / across % down * {WARPS * self.rows};"

    @property
    def resident(self) -> int:
        """Blocks that a multiprocessor holds: registers and shared memory allow no more."""
        registers = _OTHER_REGISTERS + 4 * self.rows * self.outputs // 8
        return max(1, min(65536 // (WARPS * 32 * registers), SHARED_IN_ALL // (self.shared + 1024), 8))

    def source(self) -> str:
        stored, window = C_TYPES[self.dtype], self.window
        by_channel = [*["bias"] * self.bias, *(f"e{n}" for n in range(len(self.epilogue.inputs) - 1))]
        types = {n: C_TYPES[d] for n, d in zip(by_channel[self.bias :], self.epilogue.inputs[1:], strict=True)}
        pointers = [
            f"const {C_TYPES[self.image]}* __restrict__ x", "const uint4* __restrict__ w",
            *(f"const {types.get(n, stored)}* __restrict__ {n}" for n in by_channel), f"{stored}* __restrict__ y",
        ]  # fmt: skip
        sizes = ", ".join(f"const int {n}" for n in ("H", "W", "P", "Q", "tiles", "down", "across", *self.more))
        strides = "const i64 xn, const int xc, const int xh, const int xw, const i64 yn, const int yh, const int yw"
        tiles = self.outputs // 8
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                LIBRARY,
                *self.libraries,
                f'extern "C" __global__ void __launch_bounds__({WARPS * 32}, {self.resident}) kernel({", ".join(pointers)}, {sizes}, {strides}) {{',
                f"  constexpr int KH = {window.kernel[0]}, OCTETS = {window.octets}, PITCH = {window.pitch}, NT = {tiles}, RW = {self.rows};",
                f"  constexpr int HEIGHT = {window.height(WARPS * self.rows)}, STEP = {window.strides[1] * window.channels};",
                *self.memory(),
                "  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;",
                "  LET_NEXT_START();",
                "  const int part = blockIdx.y * NT * 8;",
                "  #pragma unroll 8",
                f"  for (int k = threadIdx.x; k < KH * OCTETS * NT * 8; k += {WARPS * 32}) {{",
                "    const int row = k / (NT * 8);",
                "    ((uint4*)taps)[k] = w[(row * (gridDim.y * NT) + blockIdx.y * NT) * 8 + k % (NT * 8)];",
                "  }",
                *self._mask(),
                *self._places(),
                "  WAIT_FOR_INPUTS();",
                "  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {",
                f"    {self.origin()}",
                "    const i64 n = tile / across / down;",
                "    __syncthreads();",
                *self._fill(),
                "    __syncthreads();",
                "    float sums[RW][NT][4];",
                *self._start(),
                *self._multiply(stored),
                *self.finish(by_channel),
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

    @property
    def slots(self) -> int:
        """Elements that a thread moves of each row of x."""
        return -(-(self.window.pitch // self.window.channels * self.window.channels) // 32)

    def _places(self) -> list[str]:
        """Which elements of a row are a thread's: neighbours in memory go to neighbouring threads."""
        channels, columns = self.window.channels, self.window.pitch // self.window.channels
        split = f"c = e % {channels}, column = e / {channels}"
        if self.planar:
            split = f"c = e / {columns}, column = e % {columns}"
        return [
            f"  int columns[{self.slots}], offsets[{self.slots}], targets[{self.slots}];",
            "  #pragma unroll",
            f"  for (int s = 0; s < {self.slots}; s++) {{",
            f"    const int e = lane + 32 * s, {split};",
            # What is beyond the row's end is never read: its column is outside of every image.
            f"    columns[s] = e < {columns * channels} ? column : -(1 << 30);",
            f"    offsets[s] = column * xw + c * xc; targets[s] = column * {channels} + c;",
            "  }",
        ]

    def _fill(self) -> list[str]:
        window, stored, image = self.window, C_TYPES[self.dtype], C_TYPES[self.image]
        total = self.window.pitch // window.channels * window.channels
        return [
            f"    const int h0 = p0 * {window.strides[0]} - {window.before[0]}, w0 = q0 * {window.strides[1]} - {window.before[1]};",
            f"    const {image}* from = x + (n * xn + (i64)h0 * xh + w0 * xw);",
            "    bool there[" + str(self.slots) + "];",
            "    #pragma unroll",
            f"    for (int s = 0; s < {self.slots}; s++) there[s] = (u32)(w0 + columns[s]) < (u32)W;",
            "    #pragma unroll 3",
            f"    for (int row = warp; row < HEIGHT; row += {WARPS}) {{",
            f"      const {image}* line = from + (i64)row * xh;",
            "      const bool inside = (u32)(h0 + row) < (u32)H;",
            f"      {image} given[{self.slots}];",
            "      #pragma unroll",
            f"      for (int s = 0; s < {self.slots}; s++) if (inside && there[s]) given[s] = line[offsets[s]];",
            "      #pragma unroll",
            f"      for (int s = 0; s < {self.slots}; s++) if (lane + 32 * s < {total}) {{",
            f"        {stored} value = {{}};",
            "        if (inside && there[s]) narrow((float)widen(given[s]), value);",
            "        patch[row * PITCH + targets[s]] = value;",
            "      }",
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

    def finished(self, by_channel: Sequence[str]) -> tuple[str, str, str]:
        """Reads for channels 8 k + 2 t and the next, statements, and the value that they make of a sum."""
        operands = by_channel[self.bias :]
        reads = " ".join(f"float {n}_v[2]; load<2>({n} + part + k * 8 + 2 * t, {n}_v);" for n in operands)
        statements, (value,) = self.epilogue.statements(["sums[r][k][2 * half + j]", *(f"{n}_v[j]" for n in operands)])
        return reads, " ".join(statements), value

    def finish(self, by_channel: Sequence[str]) -> list[str]:
        """The epilogue on the sums, then through shared memory, so that each place's channels are written side by side."""
        stored, chunks = C_TYPES[self.dtype], self.outputs // 8
        reads, statements, value = self.finished(by_channel)
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
            f"          for (int j = 0; j < 2; j++) {{ {statements} v[j] = {value}; }}",
            "          store<2>(&staged[warp][g + 8 * half][k * 8 + 2 * t], v);",
            "        }",
            "      }",
            "      __syncwarp();",
            "      const int p = p0 + warp * RW + r;",
            f"      {stored}* to = y + (n * yn + (i64)p * yh + (i64)q0 * yw + part);",
            "      #pragma unroll",
            f"      for (int k = lane; k < {COLUMNS * chunks}; k += 32) {{",
            f"        const int column = k / {chunks}, chunk = k % {chunks} * 8;",
            f"        Lanes<{stored}, 8> lanes;",
            "        fetch_lanes<8>(&staged[warp][column][chunk], lanes);",
            "        if (p < P && q0 + column < Q) put_chunks<8>(to + (column * yw + chunk), lanes);",
            "      }",
            "    }",
        ]


def smaller(spec: StemSpec) -> StemSpec:
    """The same work in smaller pieces, for less shared memory."""
    if spec.rows > 1:
        return replace(spec, rows=spec.rows // 2)
    part = next(n for n in range(spec.outputs - 8, 0, -8) if spec.outputs % n == 0)
    return replace(spec, outputs=part)

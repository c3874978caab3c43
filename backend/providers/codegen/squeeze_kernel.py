"""The kernel of a squeeze-and-excitation block's middle: a cluster of blocks has one image, each block some channels of some rows
of it.

A block convolves its part, which stays in registers, and adds up its channels. The first product is linear in these sums, so
each block adds its share to the vector between the products in every other block; one barrier later each has all of it, finishes
the scales of its own channels and writes its part, scaled.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from trtn.backend.providers.codegen import cluster, expressions
from trtn.backend.providers.codegen.depthwise import Taps
from trtn.backend.providers.codegen.excitation import Stage
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.rows import ACCUMULATORS

__all__ = ["Split", "SqueezeSpec", "best_split"]

UNIT = 8
"""Channels that are moved together."""
MOST_THREADS = 1024
REGISTERS = 65536
_WIDTHS, _HEIGHTS = (4, 5, 7, 8), (1, 2, 4)
"""Columns and rows of a thread."""


@dataclass(frozen=True, slots=True)
class Extents:
    """Sizes of the convolution: rows and columns of x and of the result, channels, elements between the products."""

    image: tuple[int, int]
    result: tuple[int, int]
    channels: int
    middle: int


@dataclass(frozen=True, slots=True)
class Split:
    """How a cluster shares an image: `slices` of `channels` channels times `bands` of `rows` rows. A thread makes two
    channels of `height` rows and `width` columns."""

    slices: int
    bands: int
    channels: int
    rows: int
    width: int
    height: int
    across: int
    down: int

    @property
    def blocks(self) -> int:
        return self.slices * self.bands

    @property
    def strips(self) -> int:
        """Parts of a channel that a block's threads take."""
        return self.across * self.down

    @property
    def threads(self) -> int:
        """Of a block. Each thread also takes one of the channels, or one of the elements between the products."""
        return -(-max(self.channels // 2 * self.strips, self.channels) // 32) * 32

    def tile(self, taps: Taps) -> tuple[int, int]:
        """Rows and columns of x that a block reads."""
        return (
            (self.down * self.height - 1) * taps.strides[0] + taps.kernel[0],
            taps.columns(self.across * self.width),
        )

    def shared(self, taps: Taps, middle: int) -> int:
        """Bytes of shared memory."""
        high, wide = self.tile(taps)
        weights = taps.kernel[0] * taps.kernel[1] + 2 * middle
        floats = (self.strips + 1) * self.channels + (self.blocks + 1) * middle
        return 2 * self.channels * (high * wide + weights) + 4 * floats

    def registers(self, taps: Taps) -> int:
        """Of a thread, roughly."""
        return 2 * (self.width * self.height + taps.columns(self.width) + taps.kernel[1]) + 28

    def cycles(self, taps: Taps, middle: int) -> float:
        """A guess at how long a block takes: reading its part, its arithmetic (of all warps, of one), what follows."""
        high, wide = self.tile(taps)
        reads = taps.columns(self.width)
        turn = self.height * taps.kernel[0] * (2 * self.width * taps.kernel[1] + 3 * reads) + 2 * taps.kernel[0] * taps.kernel[1]
        arithmetic = max(self.threads / 32 * turn / 4, 1.5 * turn)
        return high * wide * self.channels / 24 + arithmetic + 8 * self.height * self.width + 2 * self.strips + 4 * middle


def best_split(taps: Taps, extents: Extents, blocks: int) -> Split | None:
    """The likeliest way to share an image among some blocks, None where they can't hold it."""
    best: tuple[float, Split] | None = None
    octets, (high, wide) = extents.channels // UNIT, extents.result
    for slices in (n for n in range(1, blocks + 1) if blocks % n == 0):
        bands = blocks // slices
        if slices > octets or bands > high:
            continue
        channels, rows = UNIT * -(-octets // slices), -(-high // bands)
        for width, height in product(_WIDTHS, _HEIGHTS):
            split = Split(slices, bands, channels, rows, width, height, -(-wide // width), -(-rows // height))
            fits = split.shared(taps, extents.middle) <= cluster.SHARED and extents.middle <= split.threads <= MOST_THREADS
            if fits and split.registers(taps) * split.threads <= REGISTERS:
                guess = split.cycles(taps, extents.middle)
                best = min(best or (guess, split), (guess, split), key=lambda found: found[0])
    return best and best[1]


@dataclass(frozen=True, slots=True)
class SqueezeSpec:
    """Weights lie as [taps, channels], [middle, channels] and [middle, channels]. `gate` is a program over an element,
    its channel's scale and constants by channel."""

    dtype: str
    taps: Taps
    extents: Extents
    split: Split
    bias: bool
    epilogue: Program
    stages: tuple[Stage, Stage]
    gate: Program

    @property
    def cluster(self) -> int:
        return self.split.blocks

    @property
    def shared(self) -> int:
        return self.split.shared(self.taps, self.extents.middle)

    def source(self) -> str:
        stored, split, taps = C_TYPES[self.dtype], self.split, self.taps
        pointers = [f"const {stored}* __restrict__ {n}" for n in ("x", "w", "w0", "w1")]
        pointers += [f"const {kind}* __restrict__ {n}" for n, kind in self._image_operands().items()]
        pointers += [p for n, stage in enumerate(self.stages) for p in stage.pointers(n, stored)]
        pointers += [f"const {kind}* __restrict__ {n}" for n, kind in self._gate_operands().items()]
        strides = "const i64 xn, const int xh, const int xw, const i64 yn, const int yh, const int yw"
        high, wide = split.tile(taps)
        sizes = {
            "C": self.extents.channels, "M": self.extents.middle, "H": self.extents.image[0], "W": self.extents.image[1],
            "P": self.extents.result[0], "Q": self.extents.result[1], "OWN": split.channels, "SLICES": split.slices,
            "BLOCKS": split.blocks, "ROWS": split.rows, "TW": split.width, "TH": split.height, "ACROSS": split.across,
            "STRIPS": split.strips, "HIGH": high, "WIDE": wide, "IW": taps.columns(split.width), "KH": taps.kernel[0],
            "KW": taps.kernel[1], "SH": taps.strides[0], "SW": taps.strides[1], "THREADS": split.threads,
        }  # fmt: skip
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                ACCUMULATORS,
                cluster.LIBRARY,
                f'extern "C" __global__ void CLUSTER({split.blocks}) __launch_bounds__({split.threads}, 1) '
                f"kernel({', '.join(pointers)}, {stored}* __restrict__ y, {strides}) {{",
                f"  typedef {stored} T;",
                f"  constexpr int {', '.join(f'{n} = {v}' for n, v in sizes.items())};",
                *(f"  {line}" for line in self._begin()),
                *(f"  {line}" for line in self._convolve()),
                *(f"  {line}" for line in self._squeeze()),
                *(f"  {line}" for line in self._excite()),
                *(f"  {line}" for line in self._write()),
                "}",
                "",
            ]
        )

    def _image_operands(self) -> dict[str, str]:
        """Constants by channel of the convolution and its epilogue, with their C++ types."""
        constants = {f"e{n}": C_TYPES[d] for n, d in enumerate(self.epilogue.inputs[1:])}
        return {**({"bias": C_TYPES[self.dtype]} if self.bias else {}), **constants}

    def _gate_operands(self) -> dict[str, str]:
        return {f"g{n}": C_TYPES[d] for n, d in enumerate(self.gate.inputs[2:])}

    def _begin(self) -> list[str]:
        """Weights and constants are asked for before the kernels before this one are done; then the part of x."""
        constants = [*self._image_operands(), *self._gate_operands()]
        vectors = [[n for n in stage.operands(number)] for number, stage in enumerate(self.stages)]
        return [
            "LET_NEXT_START();",
            "SHARED_MEMORY(memory);",
            "T* const tile = (T*)memory;  // [HIGH][WIDE][OWN]",
            "T* const weights = tile + HIGH * WIDE * OWN;  // [KH * KW + M + M][OWN]",
            "float* const sums = (float*)(weights + (KH * KW + 2 * M) * OWN);  // [STRIPS][OWN]",
            "float* const scale = sums + STRIPS * OWN;  // [OWN]: first the channels' sums",
            "float* const shares = scale + OWN;  // [BLOCKS][M]",
            "float* const middle = shares + BLOCKS * M;  // [M]",
            "const int rank = cluster_rank(), c0 = rank % SLICES * OWN, p0 = rank / SLICES * ROWS;",
            "const int pair = threadIdx.x % (OWN / 2), strip = threadIdx.x / (OWN / 2);",
            "const int q0 = strip % ACROSS * TW, r0 = strip / ACROSS * TH, rows = lower(ROWS, P - p0);",
            "const bool inside = strip < STRIPS && c0 + 2 * pair < C;",
            "const int c = inside ? c0 + 2 * pair : 0;",
            "cluster_arrive();",
            "#pragma unroll 4",
            "for (int k = threadIdx.x; k < (KH * KW + 2 * M) * (OWN / 8); k += THREADS) {",
            "  const int row = k / (OWN / 8), at = c0 + k % (OWN / 8) * 8;",
            "  const T* from = row < KH * KW ? w + row * C : row < KH * KW + M ? w0 + (row - KH * KW) * C : w1 + (row - KH * KW - M) * C;",
            "  copy_16(weights + k * 8, at < C ? from + at : from, at < C);",
            "}",
            *(f"float {n}_v[2]; load<2>({n} + c, {n}_v);" for n in constants),
            "const int own_m = lower((int)threadIdx.x, M - 1), own_c = lower(c0 + (int)threadIdx.x, C - 1);",
            *(f"const float {n}_v = load({n} + own_m);" for n in vectors[0]),
            *(f"const float {n}_v = load({n} + own_c);" for n in vectors[1]),
            "WAIT_FOR_INPUTS();",
            "x += blockIdx.x * xn;",
            "#pragma unroll 4",
            "for (int k = threadIdx.x; k < HIGH * WIDE * (OWN / 8); k += THREADS) {",
            "  const int at = c0 + k % (OWN / 8) * 8, place = k / (OWN / 8);",
            f"  const int h = p0 * SH - {self.taps.before[0]} + place / WIDE, w_ = place % WIDE - {self.taps.before[1]};",
            "  const bool there = (u32)h < (u32)H && (u32)w_ < (u32)W && at < C;",
            "  copy_16(tile + k * 8, there ? x + (h * xh + w_ * xw + at) : x, there);",
            "}",
            "copies_done();",
            "__syncthreads();",
        ]

    def _convolve(self) -> list[str]:
        start = [f"bias_v[{k}]" if self.bias else "0.0f" for k in range(2)]
        unroll = "#pragma unroll" if self.taps.kernel[0] * self.split.height * self.split.width <= 48 else "#pragma unroll 1"
        operands = [n for n in self._image_operands() if n != "bias"]
        statements, (value,) = self.epilogue.statements(["made[r][j][e]", *(f"{n}_v[e]" for n in operands)])
        return [
            "float made[TH][TW][2], total[2] = {};",
            "u32 held[TH][TW];",
            "#pragma unroll",
            f"for (int r = 0; r < TH; r++) for (int j = 0; j < TW; j++) {{ made[r][j][0] = {start[0]}; made[r][j][1] = {start[1]}; }}",
            "if (inside) {",
            "  const T* from = tile + (r0 * SH * WIDE + q0 * SW) * OWN + 2 * pair;",
            f"  {unroll}",
            "  for (int kh = 0; kh < KH; kh++) {",
            "    float tap[KW][2];",
            "    #pragma unroll",
            "    for (int k = 0; k < KW; k++) load<2>(weights + (kh * KW + k) * OWN + 2 * pair, tap[k]);",
            "    #pragma unroll",
            "    for (int r = 0; r < TH; r++) {",
            "      float row[IW][2];",
            "      #pragma unroll",
            "      for (int j = 0; j < IW; j++) load<2>(from + ((r * SH + kh) * WIDE + j) * OWN, row[j]);",
            "      #pragma unroll",
            "      for (int j = 0; j < TW; j++)",
            "        #pragma unroll",
            "        for (int k = 0; k < KW; k++)",
            "          for (int e = 0; e < 2; e++) made[r][j][e] += row[j * SW + k][e] * tap[k][e];",
            "    }",
            "  }",
            "  #pragma unroll",
            "  for (int r = 0; r < TH; r++)",
            "    #pragma unroll",
            "    for (int j = 0; j < TW; j++) {",
            "      float v[2];",
            "      #pragma unroll",
            f"      for (int e = 0; e < 2; e++) {{ {' '.join(statements)} v[e] = {value}; }}",
            "      held[r][j] = narrow2(v[0], v[1], T());",
            "      if (r0 + r < rows && q0 + j < Q) { total[0] += v[0]; total[1] += v[1]; }",
            "    }",
            "}",
        ]

    def _squeeze(self) -> list[str]:
        """The channels' sums, and this block's share of the first product, to all blocks."""
        return [
            "if (strip < STRIPS) for (int e = 0; e < 2; e++) sums[strip * OWN + 2 * pair + e] = total[e];",
            "__syncthreads();",
            "if (threadIdx.x < OWN) {",
            "  float all = 0.0f;",
            "  #pragma unroll 8",
            "  for (int k = 0; k < STRIPS; k++) all += sums[k * OWN + threadIdx.x];",
            "  scale[threadIdx.x] = all;",
            "}",
            "__syncthreads();",
            "cluster_wait();  // the others have begun",
            "const int lane = threadIdx.x % 32;",
            "#pragma unroll 4",
            "for (int m = threadIdx.x / 32; m < M; m += THREADS / 32) {",
            "  Sum<float> share = {0.0f};",
            "  #pragma unroll",
            "  for (int k = lane; k < OWN / 2; k += 32) {",
            "    float v[2]; load<2>(weights + (KH * KW + m) * OWN + 2 * k, v);",
            "    share.v += v[0] * scale[2 * k] + v[1] * scale[2 * k + 1];",
            "  }",
            "  share = over_team<32>(share, (Sum<float>*)0);",
            "  if (lane < BLOCKS) put_remote(shares + rank * M + m, lane, share.v);",
            "}",
            "cluster_arrive();",
            "cluster_wait();",
        ]

    def _excite(self) -> list[str]:
        (first, between), (second, after) = (
            stage.epilogue.statements([f"t{n}", *(f"{o}_v" for o in stage.operands(n)[stage.bias :])], prefix=f"v{n}_")
            for n, stage in enumerate(self.stages)
        )
        biases = [f" + bias{n}_v" if stage.bias else "" for n, stage in enumerate(self.stages)]
        return [
            "if (threadIdx.x < M) {",
            "  float all = 0.0f;",
            "  #pragma unroll",
            "  for (int k = 0; k < BLOCKS; k++) all += shares[k * M + threadIdx.x];",
            f"  const float t0 = all * (1.0f / (P * Q)){biases[0]};",
            f"  {' '.join(first)}",
            f"  middle[threadIdx.x] = {between[0]};",
            "}",
            "__syncthreads();",
            "if (threadIdx.x < OWN) {",
            "  float all = 0.0f;",
            "  #pragma unroll 8",
            "  for (int m = 0; m < M; m++) all += load(weights + (KH * KW + M + m) * OWN + threadIdx.x) * middle[m];",
            f"  const float t1 = all{biases[1]};",
            f"  {' '.join(second)}",
            f"  scale[threadIdx.x] = {after[0]};",
            "}",
            "__syncthreads();",
        ]

    def _write(self) -> list[str]:
        operands = [f"{n}_v[e]" for n in self._gate_operands()]
        statements, (value,) = self.gate.statements(["h", "s", *operands])
        return [
            "if (!inside) return;",
            "y += blockIdx.x * yn + c;",
            "#pragma unroll",
            "for (int r = 0; r < TH; r++)",
            "  #pragma unroll",
            "  for (int j = 0; j < TW; j++) if (r0 + r < rows && q0 + j < Q) {",
            "    Lanes<T, 2> lanes; lanes.word[0] = held[r][j];",
            "    float v[2];",
            "    #pragma unroll",
            "    for (int e = 0; e < 2; e++) {",
            "      const float h = widen(lanes.at[e]), s = scale[2 * pair + e];",
            f"      {' '.join(statements)} v[e] = {value};",
            "    }",
            "    store<2>(y + ((p0 + r0 + r) * yh + (q0 + j) * yw), v);",
            "  }",
        ]

"""How a block of threads convolves its part of an image, channel by channel, and adds up the channels: the part lies in shared
memory, the result stays in registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from trtn.backend.providers.codegen import cluster, expressions
from trtn.backend.providers.codegen.depthwise import Taps
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.family import Operand
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.rows import ACCUMULATORS, MULTIPROCESSORS

__all__ = [
    "Extents",
    "ImagePart",
    "Split",
    "cluster_split",
    "crowd",
    "extents_of",
    "free_split",
    "image_reach",
    "in_vectors",
    "kernel_of",
    "padded",
    "pointers_of",
]

UNIT = 8
"""Channels that are moved together."""
MOST_THREADS = 1024
REGISTERS = 65536
_WIDTHS, _HEIGHTS = (4, 5, 7, 8), (1, 2, 4)
"""Columns and rows of a thread."""
_SECTOR = 16
"""Elements of 16 bits that memory gives at once."""
_UNROLLED = 48
"""Rows of products up to which a thread's are written out: a longer text takes more time to be fetched than it saves."""
_CROWDS = (1, 8, 64)
_SLICES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 36)


@dataclass(frozen=True, slots=True)
class Extents:
    """Sizes of the convolution: rows and columns of x and of the result, channels, elements between the products."""

    image: tuple[int, int]
    result: tuple[int, int]
    channels: int
    middle: int = 0


def extents_of(x: Operand, y: Operand, middle: int = 0) -> Extents:
    """The sizes of a convolution of images."""
    return Extents((x.shape[2], x.shape[3]), (y.shape[2], y.shape[3]), x.shape[1], middle)


@dataclass(frozen=True, slots=True)
class Split:
    """How blocks share an image: `slices` of `channels` channels times `bands` of `rows` rows. A thread makes two
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
        floats = (self.strips + 1) * self.channels + (self.blocks + 2) * padded(middle) + 2
        return 2 * self.channels * (high * wide + weights) + 4 * floats

    def registers(self, taps: Taps) -> int:
        """Of a thread, roughly."""
        return 2 * (self.width * self.height + taps.columns(self.width) + taps.kernel[1]) + 28

    def cycles(self, taps: Taps, middle: int) -> float:
        """A guess at how long a block takes: reading its part, its arithmetic (of all warps, of one; an activation takes about
        as long as a dozen products), what follows."""
        high, wide = self.tile(taps)
        reads = taps.columns(self.width)
        turn = self.height * taps.kernel[0] * (2 * self.width * taps.kernel[1] + 3 * reads)
        turn += 2 * taps.kernel[0] * taps.kernel[1] + 24 * self.width * self.height
        arithmetic = max(self.threads / 32 * turn / 4, 1.5 * turn)
        return (
            high * wide * max(self.channels, _SECTOR) / 24
            + arithmetic
            + 8 * self.height * self.width
            + 2 * self.strips
            + 4 * middle
        )


def padded(middle: int) -> int:
    """Elements between the products in whole vectors of 4."""
    return -(-middle // 4) * 4


def crowd(images: int) -> int:
    """What stands for a number of images, so that most numbers share kernels: another batch is not to wait for a compiler."""
    return next((n for n in _CROWDS if images < 4 * n), _CROWDS[-1])


def cluster_split(taps: Taps, extents: Extents, blocks: int) -> Split | None:
    """The likeliest way to share an image among the blocks of a cluster, None where they can't hold it."""
    parts = ((n, blocks // n) for n in range(1, blocks + 1) if blocks % n == 0)
    found = [split for slices, bands in parts for split in _splits(taps, extents, slices, bands)]
    return min(found, key=lambda split: split.cycles(taps, extents.middle), default=None)


def free_split(taps: Taps, extents: Extents, images: int, most_bands: int) -> Split | None:
    """The likeliest way to share images among as many blocks as serve, None where there is none."""
    rows = {-(-extents.result[0] // n) for n in range(1, extents.result[0] + 1)}
    bands = sorted(n for n in rows if n <= most_bands)
    found = [split for n in bands for slices in _SLICES for split in _splits(taps, extents, slices, n)]

    def guess(split: Split) -> tuple[float, int]:
        turns = -(-crowd(images) * split.blocks // MULTIPROCESSORS)
        return turns * split.cycles(taps, extents.middle), split.blocks

    return min(found, key=guess, default=None)


def _splits(taps: Taps, extents: Extents, slices: int, bands: int) -> Iterator[Split]:
    """Ways to cut an image into parts that a block can hold."""
    octets, (high, wide) = extents.channels // UNIT, extents.result
    if slices > octets or bands > high:
        return
    channels, rows = UNIT * -(-octets // slices), -(-high // bands)
    for width, height in product(_WIDTHS, _HEIGHTS):
        split = Split(slices, bands, channels, rows, width, height, -(-wide // width), -(-rows // height))
        fits = split.shared(taps, extents.middle) <= cluster.SHARED and extents.middle <= split.threads <= MOST_THREADS
        if fits and split.registers(taps) * split.threads <= REGISTERS:
            yield split


@dataclass(frozen=True, slots=True)
class ImagePart:
    """The convolution of a block. What it reads beside its part of x, `rows` rows of weights by channel, lies in shared memory
    too, the taps first."""

    dtype: str
    taps: Taps
    extents: Extents
    split: Split
    bias: bool
    epilogue: Program
    ceiling: float | None = None
    """What x is bounded by from above, as it is read."""

    def operands(self) -> dict[str, str]:
        """Constants by channel, with their C++ types."""
        constants = {f"e{n}": C_TYPES[d] for n, d in enumerate(self.epilogue.inputs[1:])}
        return {**({"bias": C_TYPES[self.dtype]} if self.bias else {}), **constants}

    def constants(self) -> str:
        """The declaration of all sizes."""
        split, taps, extents = self.split, self.taps, self.extents
        high, wide = split.tile(taps)
        sizes = {
            "C": extents.channels, "M": extents.middle, "H": extents.image[0], "W": extents.image[1],
            "P": extents.result[0], "Q": extents.result[1], "OWN": split.channels, "SLICES": split.slices,
            "BLOCKS": split.blocks, "ROWS": split.rows, "TW": split.width, "TH": split.height, "ACROSS": split.across,
            "STRIPS": split.strips, "HIGH": high, "WIDE": wide, "IW": taps.columns(split.width), "KH": taps.kernel[0],
            "KW": taps.kernel[1], "SH": taps.strides[0], "SW": taps.strides[1], "THREADS": split.threads,
        }  # fmt: skip
        return f"constexpr int {', '.join(f'{n} = {v}' for n, v in sizes.items())};"

    def begin(self, rank: str, rows: str, where: str) -> list[str]:
        """Names for the block's part; its weights, of which row `row` is at `where`, are asked for."""
        return [
            "T* const tile = (T*)memory;  // [HIGH][WIDE][OWN]",
            f"T* const weights = tile + HIGH * WIDE * OWN;  // [{rows}][OWN]",
            f"float* const sums = (float*)(weights + ({rows}) * OWN);  // [STRIPS][OWN]",
            f"const int rank = {rank}, c0 = rank % SLICES * OWN, p0 = rank / SLICES * ROWS;",
            "const int pair = threadIdx.x % (OWN / 2), strip = threadIdx.x / (OWN / 2);",
            "const int q0 = strip % ACROSS * TW, r0 = strip / ACROSS * TH, rows = lower(ROWS, P - p0);",
            "const bool inside = strip < STRIPS && c0 + 2 * pair < C;",
            "const int c = inside ? c0 + 2 * pair : 0;",
            "#pragma unroll 4",
            f"for (int k = threadIdx.x; k < ({rows}) * (OWN / 8); k += THREADS) {{",
            "  const int row = k / (OWN / 8), at = c0 + k % (OWN / 8) * 8;",
            f"  const T* from = {where};",
            "  copy_16(weights + k * 8, at < C ? from + at : from, at < C);",
            "}",
            *(f"float {n}_v[2]; load<2>({n} + c, {n}_v);" for n in self.operands()),
        ]

    def read(self) -> list[str]:
        """The part of x, zeros where there is none. Only then may the next kernel come: its blocks would take this one's places."""
        return [
            "x += blockIdx.x * xn;",
            "#pragma unroll 4",
            "for (int k = threadIdx.x; k < HIGH * WIDE * (OWN / 8); k += THREADS) {",
            "  const int at = c0 + k % (OWN / 8) * 8, place = k / (OWN / 8);",
            f"  const int h = p0 * SH - {self.taps.before[0]} + place / WIDE, w_ = place % WIDE - {self.taps.before[1]};",
            "  const bool there = (u32)h < (u32)H && (u32)w_ < (u32)W && at < C;",
            "  copy_16(tile + k * 8, there ? x + (h * xh + w_ * xw + at) : x, there);",
            "}",
            "LET_NEXT_START();",
            "copies_done();",
            "__syncthreads();",
        ]

    def convolve(self) -> list[str]:
        """`held` becomes the thread's part of the result, `total` what its channels add up to there."""
        start = [f"bias_v[{k}]" if self.bias else "0.0f" for k in range(2)]
        turns = self.taps.kernel[0] * self.split.height * self.split.width
        unroll = f"#pragma unroll {self.taps.kernel[0] if turns <= _UNROLLED else 1}"
        operands = [n for n in self.operands() if n != "bias"]
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
            f"      for (int j = 0; j < IW; j++) {{ load<2>(from + ((r * SH + kh) * WIDE + j) * OWN, row[j]); {self._bound()} }}",
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

    def _bound(self) -> str:
        if self.ceiling is None:
            return ""
        return f"for (int e = 0; e < 2; e++) row[j][e] = minimum(row[j][e], {literal(self.ceiling, self.dtype)});"

    def add_up(self, to: str) -> list[str]:
        """The sums of the block's channels, in the order of their numbers: thread k has that of channel k in `all`."""
        return [
            "if (strip < STRIPS) for (int e = 0; e < 2; e++) sums[strip * OWN + 2 * pair + e] = total[e];",
            "__syncthreads();",
            "if (threadIdx.x < OWN) {",
            "  float all = 0.0f;",
            "  #pragma unroll 8",
            "  for (int k = 0; k < STRIPS; k++) all += sums[k * OWN + threadIdx.x];",
            f"  {to}",
            "}",
        ]

    def write(self, value: str, statements: str = "") -> list[str]:
        """The thread's part of the result; `statements` and `value` make what is written of an element `h`."""
        return [
            "if (inside) {",
            "  y += blockIdx.x * yn + c;",
            "  #pragma unroll",
            "  for (int r = 0; r < TH; r++)",
            "    #pragma unroll",
            "    for (int j = 0; j < TW; j++) if (r0 + r < rows && q0 + j < Q) {",
            "      Lanes<T, 2> lanes; lanes.word[0] = held[r][j];",
            "      float v[2];",
            "      #pragma unroll",
            f"      for (int e = 0; e < 2; e++) {{ const float h = widen(lanes.at[e]); {statements} v[e] = {value}; }}",
            "      store<2>(y + ((p0 + r0 + r) * yh + (q0 + j) * yw), v);",
            "    }",
            "}",
        ]


def pointers_of(part: ImagePart, names: Sequence[str]) -> list[str]:
    """Declarations of a kernel's pointers: those of the part's dtype, then the convolution's constants."""
    stored = C_TYPES[part.dtype]
    operands = (f"const {kind}* __restrict__ {n}" for n, kind in part.operands().items())
    return [*(f"const {stored}* __restrict__ {n}" for n in names), *operands]


def kernel_of(part: ImagePart, pointers: Sequence[str], body: Sequence[str], before: str = "") -> str:
    """A kernel whose blocks have a part of an image each."""
    strides = "const i64 xn, const int xh, const int xw, const i64 yn, const int yh, const int yw"
    return "\n".join(
        [
            PRELUDE,
            expressions.LIBRARY,
            ACCUMULATORS,
            cluster.LIBRARY,
            f'extern "C" __global__ void {before}__launch_bounds__({part.split.threads}, 1) kernel({", ".join(pointers)}, {strides}) {{',
            f"  typedef {C_TYPES[part.dtype]} T;",
            f"  {part.constants()}",
            "  SHARED_MEMORY(memory);",
            *(f"  {line}" for line in body),
            "}",
            "",
        ]
    )


def in_vectors(image: Operand) -> bool:
    """Whether 8 channels are side by side, in reach of one access."""
    step = UNIT * image.dtype.itemsize
    others = (s for axis, s in enumerate(image.strides) if axis != 1 and image.shape[axis] > 1)
    return image.strides[1] == 1 and image.align >= step and all(s * image.dtype.itemsize % step == 0 for s in others)


def image_reach(operand: Operand) -> int:
    """The elements that an image reaches over."""
    return sum(abs(s) * d for s, d in zip(operand.strides[1:], operand.shape[1:], strict=True))

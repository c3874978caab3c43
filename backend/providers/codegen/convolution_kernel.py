"""Convolutions as products of gathered windows with the packed weight, in f32 arithmetic: the kernels.

A block makes a tile of results, places of the image by output channels of a group. It goes over the sum in steps of a few
terms, ordered by tap and then by channel: what a step needs of x and of the weight is on its way to registers while the
step before it is multiplied out of shared memory, from where a thread reads a few rows and columns and multiplies each
with each. Where a result has too few tiles for all multiprocessors, several blocks share a tile's sum, each with a part
of the terms, and a second kernel adds these up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trtn.backend.providers.codegen import expressions
from trtn.backend.providers.codegen.convolution_results import Results
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE

__all__ = ["DEPTHS", "ConvSpec", "Form", "PackSpec", "Tile", "Window"]

DEPTHS = (16, 32)
"""Terms of the sum in a step, of large tiles and of small ones, which have little to do while the next are on their way."""
SMALL = 128
"""Rows and columns up to which a tile is small."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Rows and columns of a block's tile, and of a thread's share of it. The text form names a tactic."""

    rows: int
    columns: int
    down: int
    across: int
    parts: int = 1
    """Blocks that share the sum."""

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}.{self.down}x{self.across}.k{self.parts}"

    @property
    def threads(self) -> int:
        return self.rows * self.columns // (self.down * self.across)

    @property
    def depth(self) -> int:
        return DEPTHS[self.rows + self.columns <= SMALL]


@dataclass(frozen=True, slots=True)
class Window:
    """Per spatial axis: taps, steps between windows and between taps, padding before. Of a transposed convolution the
    steps are those between the windows that x's places are spread to."""

    taps: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    transposed: bool


@dataclass(frozen=True, slots=True)
class Form:
    """What is summed up, and how x is read."""

    dtype: str
    window: Window
    channels: int
    """Of a group; 0 in the description of a kernel that is told how many there are."""
    vector: int
    """Channels of x that are read together."""
    planes: bool
    """Whether neighbouring threads read neighbouring places of one channel, or channels of one place."""
    wide: bool
    """Whether offsets into x take 64 bits."""

    @property
    def terms(self) -> int:
        count = self.channels
        for taps in self.window.taps:
            count *= taps
        return count

    @property
    def packed(self) -> int:
        """Terms for which the weight is packed."""
        return -(-self.terms // DEPTHS[-1]) * DEPTHS[-1]

    @property
    def kernel(self) -> Form:
        """What a kernel is compiled for. Where a thread reads a single run of channels in a step, it takes any number of
        them."""
        return self if self.planes else replace(self, channels=0)

    @property
    def offset(self) -> str:
        return "i64" if self.wide else "int"


@dataclass(frozen=True, slots=True)
class ConvSpec:
    """The blocks of a tile are along the grid's third axis, group by group."""

    form: Form
    results: Results
    tile: Tile

    def source(self) -> str:
        form, tile, results = self.form, self.tile, self.results
        axes = range(len(form.window.taps))
        shared = tile.parts > 1
        out = ["float* __restrict__ sums"] if shared else results.pointers
        parameters = [
            f"const {C_TYPES[form.dtype]}* __restrict__ x", "const float* __restrict__ w", *out,
            "const u32 rows", "const int columns", "const int packed", "const int TERMS",
            "const int STEPS" if form.channels else "const int STEPS, const int CHANNELS",
            *(f"const int d{axis}" for axis in axes), f"const {form.offset} sn", f"const {form.offset} sc",
            *(f"const {form.offset} s{axis}" for axis in axes), *self._sizes(), *([] if shared else results.numbers[len(axes) :]),
        ]  # fmt: skip
        constants = {
            "BM": tile.rows, "BN": tile.columns, "TM": tile.down, "TN": tile.across, "T": tile.threads, "V": form.vector,
            "PARTS": tile.parts, "K": tile.depth,
        }  # fmt: skip
        if form.channels:
            constants["CHANNELS"] = form.channels
        return "\n".join(
            [
                PRELUDE,
                "" if shared else expressions.LIBRARY,
                "" if shared else results.library(),
                f'extern "C" __global__ void __launch_bounds__({tile.threads}) kernel({", ".join(parameters)}) {{',
                "  constexpr int " + ", ".join(f"{name} = {value}" for name, value in constants.items()) + ";",
                "  constexpr int UM = TM < 4 ? TM : 4, TX = BN / TN, TY = BM / TM, QUADS = BN / 4, PB = (K * QUADS + T - 1) / T;",
                "  alignas(16) __shared__ float a[2][K][BM + 4];",
                "  alignas(16) __shared__ float b[2][K][BN];",
                "  LET_NEXT_START();",
                "  const int tid = threadIdx.x, tx = tid % TX, ty = tid / TX;",
                "  const int group = blockIdx.z / PARTS, part = blockIdx.z % PARTS, column = blockIdx.y * BN;",
                "  const u32 first_row = blockIdx.x * (u32)BM;",
                "  const int begin = STEPS * part / PARTS, end = STEPS * (part + 1) / PARTS;",
                *(f"  {line}" for line in self._rows()),
                "  w += (i64)group * STEPS * K * packed + column;",
                "  float sum[TM][TN] = {}, vb[PB][4];",
                *(f"  {line}" for line in self._fetch()),
                *(f"  {line}" for line in self._stash()),
                "  WAIT_FOR_INPUTS();",
                "  fetch(begin);",
                "  stash(0);",
                "  __syncthreads();",
                "  for (int step = begin; step < end; step++) {",
                "    const int now = (step - begin) & 1;",
                "    if (step + 1 < end) fetch(step + 1);",
                "    #pragma unroll",
                "    for (int k = 0; k < K; k++) {",
                "      float fa[TM], fb[TN];",
                "      #pragma unroll",
                "      for (int i = 0; i < TM; i += UM) load<UM>(&a[now][k][i * TY + ty * UM], (float (&)[UM])fa[i]);",
                "      #pragma unroll",
                "      for (int j = 0; j < TN; j += 4) load<4>(&b[now][k][j * TX + tx * 4], (float (&)[4])fb[j]);",
                "      #pragma unroll",
                "      for (int i = 0; i < TM; i++)",
                "        #pragma unroll",
                "        for (int j = 0; j < TN; j++) sum[i][j] += fa[i] * fb[j];",
                "    }",
                "    if (step + 1 < end) stash(1 - now);",
                "    __syncthreads();",
                "  }",
                "  #pragma unroll",
                "  for (int i = 0; i < TM; i++) {",
                "    const u32 row = first_row + i / UM * (UM * TY) + ty * UM + i % UM;",
                "    if (row >= rows) continue;",
                "    #pragma unroll",
                "    for (int j = 0; j < TN; j += 4) {",
                "      const int at = column + j * TX + tx * 4;",
                "      if (at >= columns) continue;",
                f"      {self._give()}",
                "    }",
                "  }",
                "}",
                "",
            ]
        )

    def _sizes(self) -> list[str]:
        return [f"const u32 o{axis}" for axis in range(len(self.form.window.taps))]

    def _give(self) -> str:
        sums = "(const float (&)[4])sum[i][j]"
        if self.tile.parts == 1:
            return self.results.call("row", "at", sums)
        blocks = "((i64)part * (gridDim.z / PARTS) + group)"
        return f"store<4>(sums + ({blocks} * rows + row) * packed + at, {sums});"

    def _rows(self) -> list[str]:
        """The rows of x's part that a thread reads: where they start, and whether they are there."""
        window, axes = self.form.window, range(len(self.form.window.taps))
        if self.form.planes:
            lines = [
                "constexpr int SIDE = T < BM ? 1 : T / BM, ROWS = T < BM ? BM / T : 1, PASSES = K / SIDE;",
                "const int lane = tid / BM, own = tid % BM;",
                "float va[PASSES][ROWS];",
            ]
            row = "own + p * T"
        else:
            lines = [
                "constexpr int SIDE = K / V, ROWS = (BM * SIDE + T - 1) / T;",
                "const int lane = tid % SIDE * V, own = tid / SIDE;",
                "float va[ROWS][V];",
                f"const int k = begin * K + lane; int c, {self._taps()};  // of the step that is fetched next",
                *self._term(),
            ]
            row = "own + p * (T / SIDE)"
        lines += [
            f"{self.form.offset} base[ROWS]; bool there[ROWS];",
            *(f"int h{axis}[ROWS];" for axis in axes),
            "#pragma unroll",
            "for (int p = 0; p < ROWS; p++) {",
            f"  u32 row = first_row + {row};",
            f"  there[p] = row < rows && {row} < BM;",
        ]
        for axis in reversed(axes):
            start = (
                f"+ {window.before[axis]}" if window.transposed else f"* {window.strides[axis]} - {window.before[axis]}"
            )
            lines.append(
                f"  {{ const u32 left = row / o{axis}; h{axis}[p] = (int)(row - left * o{axis}) {start}; row = left; }}"
            )
        lines += [f"  base[p] = ({self.form.offset})row * sn + ({self.form.offset})group * CHANNELS * sc;", "}"]
        return lines

    def _taps(self) -> str:
        """The variables of a term's tap."""
        return ", ".join(f"t{axis} = 0" for axis in range(len(self.form.window.taps))) or "none = 0"

    def _term(self) -> list[str]:
        """Channel and tap of term `k`."""
        taps = self.form.window.taps
        inner = [f"t{axis} = tap % {taps[axis]}; tap /= {taps[axis]};" for axis in reversed(range(1, len(taps)))]
        return ["{ int tap = k / CHANNELS; c = k - tap * CHANNELS;", *inner, "t0 = tap; }" if taps else "}"]

    def _next_tap(self) -> str:
        taps = self.form.window.taps
        text = "t0++;" if taps else ""
        for axis in range(1, len(taps)):
            text = f"if (++t{axis} == {taps[axis]}) {{ t{axis} = 0; {text} }}"
        return text

    def _fetch(self) -> list[str]:
        """`fetch(step)`: what a step needs, into registers."""
        window, kind = self.form.window, self.form.offset
        read = [f"bool inside = there[p] && real; {kind} o = base[p] + at;"]
        for axis, dilation in enumerate(window.dilations):
            if window.transposed:
                stride = window.strides[axis]
                read.append(
                    f"{{ int h = h{axis}[p] - t{axis} * {dilation}; inside = inside && h >= 0 && h % {stride} == 0; h /= {stride};"
                    f" inside = inside && h < d{axis}; o += h * s{axis}; }}"
                )
            else:
                read.append(
                    f"{{ const int h = h{axis}[p] + t{axis} * {dilation}; inside = inside && (u32)h < (u32)d{axis}; o += h * s{axis}; }}"
                )
        place = f"const bool real = k < TERMS; const {kind} at = c * sc;"
        if self.form.planes:
            gather = [
                "#pragma unroll",
                "for (int i = 0; i < PASSES; i++) {",
                f"  const int k = step * K + lane + i * SIDE; int c, {self._taps()};",
                *(f"  {line}" for line in self._term()),
                f"  {place}",
                "  #pragma unroll",
                "  for (int p = 0; p < ROWS; p++) {",
                *(f"    {line}" for line in read),
                "    va[i][p] = inside ? load(x + o) : 0.0f;",
                "  }",
                "}",
            ]
        else:
            gather = [
                "const int k = step * K + lane;",
                place,
                "#pragma unroll",
                "for (int p = 0; p < ROWS; p++) {",
                *(f"  {line}" for line in read),
                "  if (inside) load<V>(x + o, va[p]);",
                "  else for (int j = 0; j < V; j++) va[p][j] = 0.0f;",
                "}",
                f"for (c += K; c >= CHANNELS;) {{ c -= CHANNELS; {self._next_tap()} }}",
            ]
        return [
            "auto fetch = [&](const int step) {",
            *(f"  {line}" for line in gather),
            "  #pragma unroll",
            "  for (int i = 0; i < PB; i++) {",
            "    const int e = tid + i * T, n = e % QUADS * 4;",
            "    if (e < K * QUADS && column + n < packed) load<4>(w + (i64)(step * K + e / QUADS) * packed + n, vb[i]);",
            "    else for (int j = 0; j < 4; j++) vb[i][j] = 0.0f;",
            "  }",
            "};",
        ]

    def _stash(self) -> list[str]:
        """`stash(side)`: what was fetched, into shared memory."""
        if self.form.planes:
            put = [
                "#pragma unroll",
                "for (int i = 0; i < PASSES; i++)",
                "  #pragma unroll",
                "  for (int p = 0; p < ROWS; p++) a[side][lane + i * SIDE][own + p * T] = va[i][p];",
            ]
        else:
            put = [
                "#pragma unroll",
                "for (int p = 0; p < ROWS; p++) if (own + p * (T / SIDE) < BM)",
                "  for (int j = 0; j < V; j++) a[side][lane + j][own + p * (T / SIDE)] = va[p][j];",
            ]
        return [
            "auto stash = [&](const int side) {",
            *(f"  {line}" for line in put),
            "  #pragma unroll",
            "  for (int i = 0; i < PB; i++) {",
            "    const int e = tid + i * T;",
            "    if (e < K * QUADS) store<4>(&b[side][e / QUADS][e % QUADS * 4], vb[i]);",
            "  }",
            "};",
        ]


@dataclass(frozen=True, slots=True)
class PackSpec:
    """A weight as [group, term, column] in f32, filled up with zeros: terms by tap, then by channel."""

    dtype: str
    spatial: int

    def source(self) -> str:
        axes = range(self.spatial)
        parameters = [
            f"const {C_TYPES[self.dtype]}* __restrict__ w", "float* __restrict__ to", "const u32 count", "const int terms",
            "const int real", "const int columns", "const int packed", "const int channels",
            *(f"const int taps{axis}" for axis in axes), "const i64 sg", "const i64 sn", "const i64 sc",
            *(f"const i64 s{axis}" for axis in axes),
        ]  # fmt: skip
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__(256) kernel({", ".join(parameters)}) {{',
                "  LET_NEXT_START();",
                "  const u32 i = blockIdx.x * 256u + threadIdx.x;",
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                "  const int n = i % packed, k = i / packed % terms, group = i / packed / terms;",
                "  int tap = k / channels;",
                "  i64 at = group * sg + n * sn + (k - tap * channels) * sc;",
                *(f"  at += tap % taps{axis} * s{axis}; tap /= taps{axis};" for axis in reversed(axes)),
                "  to[i] = n < columns && k < real ? load(w + at) : 0.0f;",
                "}",
                "",
            ]
        )

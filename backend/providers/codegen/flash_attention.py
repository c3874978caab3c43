"""Attention on tensor cores (`mma.sync`) in one pass over the keys. At short sequences waiting decides: there, everything goes from
memory to registers in the very form in which fragments want it, so that nothing is staged and no thread waits for another before the
end. How keys come otherwise, `attention_keys` says.

A warp has 16 or 32 queries and every so many-th block of the keys; warps with the same queries merge what they have through shared
memory (Dao, FlashAttention-2; online softmax: Milakov and Gimelshein). What makes it possible is that the order of what a product sums
over is free, and so is the order of a fragment's columns:

- Terms of a score: thread t of the four that share a row has 4 neighbours of each 16 words where `mma` counts t and t + 4 of each 8.
- Keys: the scores of a thread are those of 2 * TILES neighbouring keys, which is how it reads the mask and the rows of v.
- Columns of v and y: thread g of the eight has 16 bytes of each 128, the n-th element of which is its column of fragment n (but see
  `turned`).

A word has two elements of 16 bits, or one of f32, which is multiplied as TF32: a fragment has as many words either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from math import e, log2

from trtn.backend.providers.codegen import stem
from trtn.backend.providers.codegen.attention_keys import LIBRARY, STAGING, TF32, Reads, Tile, direct, staged
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.dsl.dtypes import BY_NAME

__all__ = ["LOG2E", "FlashAttentionSpec"]

LOG2E = log2(e)


@dataclass(frozen=True, slots=True)
class Columns:
    """Neighbouring columns of the result: from fragment `first` on, `each` fragments; from column `base` on, twice as many a thread."""

    first: int
    each: int
    base: int


@dataclass(frozen=True, slots=True)
class MaskRead:
    """How a kernel reads its mask."""

    dtype: str
    """bool or that of q."""
    by_query: bool
    """Whether it differs from query to query."""
    in_vectors: bool
    """Whether OWN neighbouring keys' elements are read together; their number is a multiple of OWN."""


@dataclass(frozen=True, slots=True)
class FlashAttentionSpec:
    """A block's heads are `blockIdx.x`, its queries those of tile `blockIdx.y`, its sample `blockIdx.z`."""

    dtype: str
    width: int
    out_width: int
    tile: Tile
    causal: bool
    mask: MaskRead | None
    shared: bool
    """Whether heads of k and v serve several of q."""
    positive: bool
    """Whether the scale is: then the greatest score is so before scaling, too."""

    @property
    def late_scale(self) -> bool:
        """Whether scores are scaled only as they become exponents; `scale` is that of powers of 2 then."""
        return self.positive and not self.mask

    @property
    def exponents(self) -> str:
        """What makes exponents of 2 of scores."""
        return "scale" if self.late_scale else f"{LOG2E.hex()}f"

    @property
    def packed(self) -> int:
        """Elements of a word."""
        return 4 // BY_NAME[self.dtype].itemsize

    @property
    def turned(self) -> bool:
        """Whether fragments of v come from shared memory as such, which takes 16 bits an element. Warps that merge what they have go
        without, since threads then have longer runs of columns."""
        return self.tile.stages > 0 and self.tile.parts == 1 and self.packed == 2

    @property
    def machine(self) -> str:
        """What depends on the machine beside `stem.LIBRARY`."""
        return (TF32 if self.packed == 1 else "") + (STAGING if self.tile.stages else "")

    @property
    def dynamic_shared(self) -> int:
        """Bytes of shared memory that a launch asks for."""
        return self.tile.shared(self.width, self.out_width, 4 // self.packed) if self.tile.stages else 0

    def source(self) -> str:
        stored, tile, reads = C_TYPES[self.dtype], self.tile, self._reads()
        mask = [f"const {C_TYPES[self.mask.dtype]}* __restrict__ mask"] if self.mask else []
        pointers = [*(f"const u32* __restrict__ {n}" for n in "qkv"), *mask, f"{stored}* __restrict__ y"]
        strides = [
            f"const {kind} {n}{axis}" for n in "qkvy" for kind, axis in (("i64", "n"), ("i64", "h"), ("u32", "s"))
        ]
        strides += ["const i64 mn", "const i64 mh", "const i64 ms", "const int ml"] if self.mask else []
        numbers = ["const int queries", "const int keys", *["const int sharing"] * self.shared, "const float scale"]
        # With a causal mask the blocks with the most keys come first.
        block = "gridDim.y - 1 - blockIdx.y" if self.causal else "blockIdx.y"
        return "\n".join(
            [
                PRELUDE,
                stem.LIBRARY,
                LIBRARY,
                self.machine,
                f'extern "C" __global__ void __launch_bounds__({tile.threads}) kernel({", ".join([*pointers, *numbers, *strides])}) {{',
                f"  constexpr int E = {self.out_width}, PACKED = {self.packed}, K = {self.width} / PACKED, V = E / PACKED;",
                f"  constexpr int M = {tile.fragments}, ROWS = {tile.rows}, PARTS = {tile.parts};",
                f"  constexpr int TILES = {tile.octets}, KEYS = 8 * TILES, OWN = 2 * TILES, STAGES = {tile.stages}, THREADS = {tile.threads};",
                "  LET_NEXT_START();",
                "  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;",
                # Uniform, which the compiler can't see otherwise.
                "  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), part = warp % PARTS;",
                f"  const int start = ({block}) * (16 * M * ROWS), first = start + warp / PARTS * (16 * M), row = first + g;",
                f"  const int head = blockIdx.x, other = head{' / sharing' if self.shared else ''};",
                "  const i64 sample = blockIdx.z;",
                "  q = further(q, sample * qn + head * qh) + 4 * t; y = further(y, sample * yn + head * yh);",
                "  k = further(k, sample * kn + other * kh); v = further(v, sample * vn + other * vh);",
                "  u32 to_row[2 * M], terms[M][2][K / 4], key[TILES][K / 4];",
                "  #pragma unroll",
                "  for (int n = 0; n < 2 * M; n++) to_row[n] = lower(row + 8 * n, queries - 1) * qs;",
                *["  const int ahead = keys - queries;"] * self.causal,
                f"  const int blocks = {self._blocks('first + 16 * M')};",
                *self._mask_fetch(),
                *reads.declared,
                "  WAIT_FOR_INPUTS();",
                "  #pragma unroll",
                "  for (int n = 0; n < 2 * M; n++) fetch_terms<K>(further(q, to_row[n]), t, 0, terms[n / 2][n % 2]);",
                *self._centred("terms[n / 2][n % 2][i]", "n < 2 * M", "i < K / 4"),
                *reads.begun,
                "  float sums[M][E / 8][4] = {}, top[M][2], total[M][2] = {};",
                "  #pragma unroll",
                "  for (int m = 0; m < M; m++) top[m][0] = top[m][1] = -infinity();",
                *reads.loop,
                *self._scores(stored),
                *reads.scored,
                *self._weights(stored, reads),
                *reads.entered,
                *reads.ended,
                "  #pragma unroll",
                "  for (int m = 0; m < M; m++)",
                "    #pragma unroll",
                "    for (int h = 0; h < 2; h++) {",
                "      total[m][h] += __shfl_xor_sync(~0u, total[m][h], 1);",
                "      total[m][h] += __shfl_xor_sync(~0u, total[m][h], 2);",
                "    }",
                *(self._finish() if tile.parts == 1 else self._merge(reads)),
                "}",
                "",
            ]
        )

    def _reads(self) -> Reads:
        mask = self.mask is not None
        if not self.tile.stages:
            return direct(self.packed, mask=mask)
        return staged(self.packed, mask=mask, blocks=self._blocks("start + 16 * M * ROWS"), turned=self.turned)

    def _centred(self, word: str, *bounds: str) -> list[str]:
        """Words of f32 made ready for TF32."""
        if self.packed == 2:
            return []
        loops = (f"for (int {bound[0]} = 0; {bound}; {bound[0]}++)" for bound in bounds)
        lines = [line for loop in loops for line in ("#pragma unroll", loop)]
        return [*(f"    {line}" for line in lines), f"      {word} = centred(__uint_as_float({word}));"]

    def _blocks(self, query: str) -> str:
        """How many blocks of keys the queries before one look at; less than 0 for none, too."""
        seen = f"lower(keys, lower({query}, queries) + ahead)" if self.causal else "keys"
        return f"({seen} + KEYS - 1) / KEYS"

    def _mask_fetch(self) -> list[str]:
        """`fetch_mask`: a block's part of the mask, into registers."""
        if not self.mask:
            return []
        loops = ["    {", "      const int m = 0, h = 0;"]
        place, held = "mask", "[1][1]"
        if self.mask.by_query:
            loops = [
                "    #pragma unroll",
                "    for (int m = 0; m < M; m++)",
                "      #pragma unroll",
                "      for (int h = 0; h < 2; h++) {",
            ]
            place, held = "mask + lower(row + 16 * m + 8 * h, queries - 1) * ms", "[M][2]"
        read = "for (int c = 0; c < OWN; c++) if (at + c < keys) own[m][h].at[c] = from[(i64)(at + c) * ml];"
        if self.mask.in_vectors:
            read = "if (at < keys) fetch_lanes<OWN>(from + at, own[m][h]);"
        return [
            "  mask += sample * mn + head * mh;",
            f"  Lanes<{C_TYPES[self.mask.dtype]}, OWN> own{held};",
            "  auto fetch_mask = [&](int block) {",
            *loops,
            f"        const int at = block * KEYS + OWN * t; const {C_TYPES[self.mask.dtype]}* from = {place};",
            f"        {read}",
            "      }",
            "  };",
        ]

    def _scores(self, stored: str) -> list[str]:
        """The block's scores, scaled and masked, in `score`: those of a thread belong to OWN neighbouring keys."""
        at = f"own{'[m][c / 2]' if self.mask and self.mask.by_query else '[0][0]'}.at[2 * j + c % 2]"
        scaled = "score[m][j][c] * scale"
        if self.mask and self.mask.dtype == "bool":
            scaled = f"{at} ? {scaled} : -infinity()"
        elif self.mask:
            scaled += f" + widen({at})"
        hidden = "at >= keys" + (" || at > row + 16 * m + c / 2 * 8 + ahead" if self.causal else "")
        partial = "(block + 1) * KEYS > keys" + (" || (block + 1) * KEYS - 1 > first + ahead" if self.causal else "")
        every = [
            "#pragma unroll",
            "for (int m = 0; m < M; m++)",
            "  #pragma unroll",
            "  for (int j = 0; j < TILES; j++)",
            "    #pragma unroll",
        ]
        return [
            *self._centred("key[j][i]", "j < TILES", "i < K / 4"),
            "    float score[M][TILES][4] = {};",
            "    #pragma unroll",
            "    for (int s = 0; s < K / 8; s++)",
            "      #pragma unroll",
            "      for (int m = 0; m < M; m++) {",
            "        const u32 a[4] = {terms[m][0][2 * s], terms[m][1][2 * s], terms[m][0][2 * s + 1], terms[m][1][2 * s + 1]};",
            "        #pragma unroll",
            f"        for (int j = 0; j < TILES; j++) multiply(score[m][j], a, key[j][2 * s], key[j][2 * s + 1], {stored}());",
            "      }",
            *(
                []
                if self.late_scale
                else [f"    {e}" for e in (*every, f"    for (int c = 0; c < 4; c++) score[m][j][c] = {scaled};")]
            ),
            f"    if ({partial}) {{",
            *(f"      {e}" for e in every),
            "          for (int c = 0; c < 4; c++) {",
            "            const int at = block * KEYS + OWN * t + 2 * j + c % 2;",
            f"            if ({hidden}) score[m][j][c] = -infinity();",
            "          }",
            "    }",
        ]

    def _weights(self, stored: str, reads: Reads) -> list[str]:
        """Scores become weights relative to the greatest so far, which enter the sums."""
        narrowed = f"weight[m][j / 2][j % 2 * 2 + h] = narrow2(score[m][j][2 * h], score[m][j][2 * h + 1], {stored}());"
        value = reads.operands
        if self.packed == 1:
            value = (f"centred(__uint_as_float({value[0]}))", f"centred(__uint_as_float({value[1]}))")
            narrowed = "{ weight[m][j][h] = centred(score[m][j][2 * h]); weight[m][j][2 + h] = centred(score[m][j][2 * h + 1]); }"
        return [
            f"    const float exponents = {self.exponents};",
            "    u32 weight[M][TILES / PACKED][4];",
            "    #pragma unroll",
            "    for (int m = 0; m < M; m++) {",
            "      float fade[2];",
            "      #pragma unroll",
            "      for (int h = 0; h < 2; h++) {",
            "        float most = top[m][h];",
            "        #pragma unroll",
            "        for (int j = 0; j < TILES; j++) most = maximum(most, maximum(score[m][j][2 * h], score[m][j][2 * h + 1]));",
            "        most = maximum(most, __shfl_xor_sync(~0u, most, 1));",
            "        most = maximum(most, __shfl_xor_sync(~0u, most, 2));",
            # Where a query has seen no key yet, weights are 2^(-inf - 0) = 0, and there is nothing to fade.
            "        const float zero = most == -infinity() ? 0.0f : most * exponents;",
            "        fade[h] = top[m][h] == -infinity() ? 1.0f : quick_exp2(top[m][h] * exponents - zero);",
            "        top[m][h] = most;",
            "        total[m][h] *= fade[h];",
            "        #pragma unroll",
            "        for (int j = 0; j < TILES; j++)",
            "          #pragma unroll",
            "          for (int c = 2 * h; c < 2 * h + 2; c++) {",
            "            score[m][j][c] = quick_exp2(score[m][j][c] * exponents - zero);",
            "            total[m][h] += score[m][j][c];",
            "          }",
            "      }",
            # The greatest score soon stays.
            "      if (__any_sync(~0u, fade[0] != 1.0f || fade[1] != 1.0f))",
            "        #pragma unroll",
            "        for (int i = 0; i < E / 8; i++)",
            "          #pragma unroll",
            "          for (int c = 0; c < 4; c++) sums[m][i][c] *= fade[c / 2];",
            "      #pragma unroll",
            "      for (int j = 0; j < TILES; j++)",
            "        #pragma unroll",
            f"        for (int h = 0; h < 2; h++) {narrowed}",
            "    }",
            "    #pragma unroll",
            "    for (int s = 0; s < TILES / PACKED; s++) {",
            *reads.step,
            "      #pragma unroll",
            "      for (int i = 0; i < E / 8; i++) {",
            f"        const u32 b0 = {value[0]}, b1 = {value[1]};",
            "        #pragma unroll",
            f"        for (int m = 0; m < M; m++) multiply(sums[m][i], weight[m][s], b0, b1, {stored}());",
            "      }",
            "    }",
        ]

    def _columns(self) -> Iterator[Columns]:
        if self.turned:
            yield from (Columns(n, 1, 8 * n) for n in range(self.out_width // 8))
            return
        first = 0
        widest = 32 * self.packed
        for size in (*[widest] * (self.out_width // widest), 32, 16):
            if self.out_width - 8 * first >= size:
                yield Columns(first, size // 8, 8 * first)
                first += size // 8

    def _finish(self) -> list[str]:
        lines = [
            "  #pragma unroll",
            "  for (int m = 0; m < M; m++)",
            "    #pragma unroll",
            "    for (int h = 0; h < 2; h++) {",
            "      const int r = row + 16 * m + 8 * h;",
            "      const float factor = total[m][h] == 0.0f ? 0.0f : quick_div(1.0f, total[m][h]);",
            "      if (r < queries) {",
        ]
        for columns in self._columns():
            lines += [
                f"        {{ float out[{2 * columns.each}];",
                "          #pragma unroll",
                f"          for (int i = 0; i < {2 * columns.each}; i++)",
                f"            out[i] = sums[m][{columns.first} + i % {columns.each}][2 * h + i / {columns.each}] * factor;",
                f"          store<{2 * columns.each}>(further(y, (i64)r * ys) + ({columns.base} + {2 * columns.each} * t), out); }}",
            ]
        return [*lines, "      }", "    }"]

    def _merge(self, reads: Reads) -> list[str]:
        """What the parts have meets in shared memory, as it lies in registers; then each part finishes some columns of some rows."""
        lines = [
            *reads.merging,
            "  const int rows = warp / PARTS;",
            "  #pragma unroll",
            "  for (int m = 0; m < M; m++) {",
            "    #pragma unroll",
            "    for (int i = 0; i < E / 8; i++)",
            "      #pragma unroll",
            "      for (int c = 0; c < 4; c++) held[part][rows][m][i][c][lane] = sums[m][i][c];",
            "    const int r = rows * (16 * M) + 16 * m + g;",
            "    if (t < 2) { tops[part][r + 8 * t] = t ? top[m][1] : top[m][0]; totals[part][r + 8 * t] = t ? total[m][1] : total[m][0]; }",
            "  }",
            "  __syncthreads();",
        ]
        for each, columns in groupby(self._columns(), key=lambda columns: columns.each):
            blocks = list(columns)
            lines += [
                f"  for (int n = part; n < {4 * len(blocks)} * M; n += PARTS) {{",
                f"    const int c = n % 2, h = n / 2 % 2, block = n / 4 % {len(blocks)}, m = n / {4 * len(blocks)};",
                "    const int at = row + 16 * m + 8 * h, r = rows * (16 * M) + 16 * m + 8 * h + g;",
                "    if (at >= queries) continue;",
                f"    float most = -infinity(), all = 0.0f, out[{each}] = {{}};",
                "    #pragma unroll",
                "    for (int p = 0; p < PARTS; p++) most = maximum(most, tops[p][r]);",
                f"    const float exponents = {self.exponents}, zero = most == -infinity() ? 0.0f : most * exponents;",
                "    #pragma unroll",
                "    for (int p = 0; p < PARTS; p++) {",
                "      const float factor = quick_exp2(tops[p][r] * exponents - zero);",
                "      all += factor * totals[p][r];",
                "      #pragma unroll",
                f"      for (int i = 0; i < {each}; i++)",
                f"        out[i] += factor * held[p][rows][m][{blocks[0].first} + block * {each} + i][2 * h + c][lane];",
                "    }",
                "    const float factor = all == 0.0f ? 0.0f : quick_div(1.0f, all);",
                "    #pragma unroll",
                f"    for (int i = 0; i < {each}; i++) out[i] *= factor;",
                f"    store<{each}>(further(y, (i64)at * ys) + ({blocks[0].base} + block * {8 * each} + {each} * (2 * t + c)), out);",
                "  }",
            ]
        return lines

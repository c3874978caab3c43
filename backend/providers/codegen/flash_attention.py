"""Attention on tensor cores (`mma.sync`) in one pass over the keys, for short sequences, where waiting decides: everything goes from
memory to registers in the very form in which fragments want it, so that nothing is staged and no thread waits for another before the
end.

A warp has 16 or 32 queries and every so many-th block of the keys; warps with the same queries merge what they have through shared
memory (Dao, FlashAttention-2; online softmax: Milakov and Gimelshein). What makes it possible is that the order of what a product sums
over is free, and so is the order of a fragment's columns:

- Terms of a score: thread t of the four that share a row has 8 neighbours of each 32 where `mma` counts 2 t, 2 t + 1, 2 t + 8, 2 t + 9.
- Keys: the scores of a thread are those of 2 * TILES neighbouring keys, which is how it reads the mask and the rows of v.
- Columns of v and y: thread g of the eight has 8 neighbours of each 64, the n-th of which is its column of fragment n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from math import log2

from trtn.backend.providers.codegen import stem
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE

__all__ = ["LOG2E", "FlashAttentionSpec", "Tile"]

LOG2E = log2(2.718281828459045)
LARGEST_MERGE = 47 << 10
"""Bytes of shared memory for what warps merge."""

LIBRARY = r"""
// What thread t of four has of a row of D terms: 8 neighbours of each 32, 4 of a last 16. `from` is the first of them.
template <int D, typename T> DEVICE void fetch_terms(const T* from, int t, u32 (&words)[D / 8]) {
  #pragma unroll
  for (int i = 0; i < D / 32; i++) {
    Lanes<T, 8> some;
    fetch_lanes<8>(from + 32 * i, some);
    #pragma unroll
    for (int k = 0; k < 4; k++) words[4 * i + k] = some.word[k];
  }
  if constexpr (D % 32 != 0) {
    Lanes<T, 4> some;
    fetch_lanes<4>(from + (D / 32 * 32 - 4 * t), some);
    words[D / 8 - 2] = some.word[0]; words[D / 8 - 1] = some.word[1];
  }
}
// What thread g of eight has of a row of E columns: 8 neighbours of each 64, 4 of 32 that are left, 2 of 16 that are left.
template <int E, typename T> DEVICE void fetch_columns(const T* from, int g, u32 (&words)[E / 16]) {
  #pragma unroll
  for (int i = 0; i < E / 64; i++) {
    Lanes<T, 8> some;
    fetch_lanes<8>(from + 64 * i, some);
    #pragma unroll
    for (int k = 0; k < 4; k++) words[4 * i + k] = some.word[k];
  }
  if constexpr (E % 64 >= 32) {
    Lanes<T, 4> some;
    fetch_lanes<4>(from + (E / 64 * 64 - 4 * g), some);
    words[E / 64 * 4] = some.word[0]; words[E / 64 * 4 + 1] = some.word[1];
  }
  if constexpr (E % 32 != 0) {
    Lanes<T, 2> some;
    fetch_lanes<2>(from + (E / 32 * 32 - 6 * g), some);
    words[E / 16 - 1] = some.word[0];
  }
}
// Strides of q, k, v and y count bytes: an address is then two additions away.
template <typename T> DEVICE const T* further(const T* from, i64 bytes) { return (const T*)((const u8*)from + bytes); }
template <typename T> DEVICE const T* further(const T* from, u32 bytes) { return (const T*)((const u8*)from + bytes); }
template <typename T> DEVICE T* further(T* from, i64 bytes) { return (T*)((u8*)from + bytes); }
// The lower or the upper halves of two words.
DEVICE u32 halves(u32 x, u32 y, int upper) { return __byte_perm(x, y, upper ? 0x7632 : 0x5410); }
"""


@dataclass(frozen=True, slots=True)
class Tile:
    """How a block divides the work. The text form names a tactic."""

    fragments: int
    """16 queries each, of a warp."""
    rows: int
    """Warps with different queries."""
    parts: int
    """Warps that share the keys of the same queries."""
    octets: int
    """Keys that a warp takes at a time, in eights: 2 or 4."""

    def __str__(self) -> str:
        return f"q{16 * self.fragments}x{self.rows}.k{8 * self.octets}x{self.parts}"

    @staticmethod
    def parse(text: str) -> Tile:
        (queries, rows), (keys, parts) = (part[1:].split("x") for part in text.split("."))
        return Tile(int(queries) // 16, int(rows), int(parts), int(keys) // 8)

    @property
    def queries(self) -> int:
        return 16 * self.fragments * self.rows

    @property
    def threads(self) -> int:
        return 32 * self.rows * self.parts

    def fits(self, width: int, out_width: int, masks: bool = False) -> bool:
        """Whether registers and shared memory suffice for these widths, and a mask that has 16 bits for each score."""
        rows, keys = 16 * self.fragments, 8 * self.octets
        held = rows * (width // 2 + out_width + keys) + keys * (width + out_width) // 2 + masks * rows * keys // 2
        merged = self.threads * self.fragments * out_width * 2 + 8 * self.parts * self.queries
        return held <= 32 * HELD and (self.parts == 1 or merged <= LARGEST_MERGE)


HELD = 200
"""Registers of a thread for fragments, what is left being addresses and the mask."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Neighbouring columns of the result: from fragment `first` on, `each` fragments; from column `base` on, twice as many a thread."""

    first: int
    each: int
    base: int


@dataclass(frozen=True, slots=True)
class FlashAttentionSpec:
    dtype: str
    width: int
    out_width: int
    tile: Tile
    causal: bool
    mask: str
    """The mask's dtype, bool or that of q; "" without a mask."""
    mask_by_query: bool
    """Whether it differs from query to query."""
    mask_in_vectors: bool
    """Whether neighbouring keys' elements are read together."""
    shared: bool
    """Whether heads of k and v serve several of q."""
    positive: bool
    """Whether the scale is: then the greatest score is so before scaling, too."""

    @property
    def late_scale(self) -> bool:
        """Whether scores are scaled only as they become exponents."""
        return self.positive and not self.mask

    def source(self) -> str:
        stored, tile = C_TYPES[self.dtype], self.tile
        mask = [f"const {C_TYPES[self.mask]}* __restrict__ mask"] if self.mask else []
        pointers = [*(f"const {stored}* __restrict__ {n}" for n in "qkv"), *mask, f"{stored}* __restrict__ y"]
        strides = [f"const {kind} {n}{axis}" for n in "qkvy" for kind, axis in (("i64", "n"), ("i64", "h"), ("u32", "s"))]
        strides += ["const i64 mn", "const i64 mh", "const i64 ms", "const int ml"] if self.mask else []
        numbers = ["const int queries", "const int keys", *["const int sharing"] * self.shared, "const float scale"]
        block = "gridDim.y - 1 - blockIdx.y" if self.causal else "blockIdx.y"
        return "\n".join(
            [
                PRELUDE,
                stem.LIBRARY,
                LIBRARY,
                f'extern "C" __global__ void __launch_bounds__({tile.threads}) kernel({", ".join([*pointers, *numbers, *strides])}) {{',
                f"  constexpr int D = {self.width}, E = {self.out_width}, M = {tile.fragments}, ROWS = {tile.rows}, PARTS = {tile.parts};",
                f"  constexpr int TILES = {tile.octets}, KEYS = 8 * TILES, OWN = 2 * TILES;",
                "  LET_NEXT_START();",
                "  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;",
                # Uniform, which the compiler can't see otherwise.
                "  const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0);",
                "  const int part = warp % PARTS, head = blockIdx.x;",
                # With causal masks the blocks with the most keys come first.
                f"  const int first = ({block}) * (16 * M * ROWS) + warp / PARTS * (16 * M), row = first + g;",
                "  const i64 sample = blockIdx.z;",
                f"  const int other = head{' / sharing' if self.shared else ''};",
                "  q = further(q, sample * qn + head * qh) + 8 * t; y = further(y, sample * yn + head * yh);",
                "  k = further(k, sample * kn + other * kh) + 8 * t; v = further(v, sample * vn + other * vh) + 8 * g;",
                *(["  mask += sample * mn + head * mh;"] if self.mask else []),
                *self._reach(),
                *self._fetches(stored),
                "  WAIT_FOR_INPUTS();",
                "  u32 terms[M][2][D / 8];",
                "  #pragma unroll",
                "  for (int n = 0; n < 2 * M; n++) fetch_terms<D>(further(q, to_row[n]), t, terms[n / 2][n % 2]);",
                "  if (part < blocks) { fetch_keys(part); fetch_values(part); }",
                "  float sums[M][E / 8][4] = {}, top[M][2], total[M][2] = {};",
                "  #pragma unroll",
                "  for (int m = 0; m < M; m++) top[m][0] = top[m][1] = -infinity();",
                "  #pragma unroll 1",
                "  for (int block = part; block < blocks; block += PARTS) {",
                *self._scores(stored),
                *self._weights(stored),
                "  }",
                "  #pragma unroll",
                "  for (int m = 0; m < M; m++)",
                "    #pragma unroll",
                "    for (int h = 0; h < 2; h++) {",
                "      total[m][h] += __shfl_xor_sync(~0u, total[m][h], 1);",
                "      total[m][h] += __shfl_xor_sync(~0u, total[m][h], 2);",
                "    }",
                *(self._finish() if tile.parts == 1 else self._merge()),
                "}",
                "",
            ]
        )

    def _reach(self) -> list[str]:
        """How many blocks of keys the warp's queries look at."""
        if not self.causal:
            return ["  const int blocks = (keys + KEYS - 1) / KEYS;"]
        return [
            "  const int ahead = keys - queries, seen = lower(keys, lower(first + 16 * M, queries) + ahead);",
            "  const int blocks = seen > 0 ? (seen + KEYS - 1) / KEYS : 0;",
        ]

    def _fetches(self, stored: str) -> list[str]:
        """What reads a block of keys and its part of the mask, or its rows of v, into registers."""
        lines = [
            "  u32 key[TILES][D / 8], value[TILES / 2][4][E / 16];",
            "  u32 to_row[2 * M], to_key[TILES], to_value[OWN];",
            "  #pragma unroll",
            "  for (int n = 0; n < 2 * M; n++) to_row[n] = lower(row + 8 * n, queries - 1) * qs;",
            "  #pragma unroll",
            "  for (int j = 0; j < TILES; j++) to_key[j] = (OWN * (g / 2) + 2 * j + g % 2) * ks;",
            "  #pragma unroll",
            "  for (int s = 0; s < OWN; s++) to_value[s] = (OWN * t + s) * vs;",
            "  auto fetch_values = [&](int block) {",
            f"    const {stored}* from = further(v, block * KEYS * vs);",
            "    if ((block + 1) * KEYS <= keys) {",
            "      #pragma unroll",
            "      for (int s = 0; s < OWN; s++) fetch_columns<E>(further(from, to_value[s]), g, value[s / 4][s % 4]);",
            "    } else {",
            "      #pragma unroll",
            "      for (int s = 0; s < OWN; s++) {",
            "        for (int i = 0; i < E / 16; i++) value[s / 4][s % 4][i] = 0;",
            "        if (block * KEYS + OWN * t + s < keys) fetch_columns<E>(further(from, to_value[s]), g, value[s / 4][s % 4]);",
            "      }",
            "    }",
            "  };",
        ]
        if self.mask:
            lines.append(f"  Lanes<{C_TYPES[self.mask]}, OWN> own[{'M][2' if self.mask_by_query else '1][1'}];")
        lines += [
            "  auto fetch_keys = [&](int block) {",
            f"    const {stored}* from = further(k, block * KEYS * ks);",
            # The scores of keys beyond the last are thrown away: they may be the last one's.
            "    const u32 last = (keys - 1 - block * KEYS) * ks;",
            "    #pragma unroll",
            "    for (int j = 0; j < TILES; j++) fetch_terms<D>(further(from, lower(to_key[j], last)), t, key[j]);",
            *self._mask_fetch(),
            "  };",
        ]
        return lines

    def _mask_fetch(self) -> list[str]:
        if not self.mask:
            return []
        loops = ["    {", "      const int m = 0, h = 0;"]
        place = "mask"
        if self.mask_by_query:
            loops = [
                "    #pragma unroll",
                "    for (int m = 0; m < M; m++)",
                "      #pragma unroll",
                "      for (int h = 0; h < 2; h++) {",
            ]
            place = "mask + lower(row + 16 * m + 8 * h, queries - 1) * ms"
        one_by_one = "for (int c = 0; c < OWN; c++) if (at + c < keys) own[m][h].at[c] = from[(i64)(at + c) * ml];"
        if self.mask_in_vectors:
            one_by_one = f"if (at + OWN <= keys) fetch_lanes<OWN>(from + at, own[m][h]); else {one_by_one}"
        return [
            *loops,
            f"        const int at = block * KEYS + OWN * t; const {C_TYPES[self.mask]}* from = {place};",
            f"        {one_by_one}",
            "      }",
        ]

    def _scores(self, stored: str) -> list[str]:
        """The block's scores, scaled and masked, in `score`: those of a thread belong to OWN neighbouring keys."""
        at = "own[m][c / 2].at[2 * j + c % 2]" if self.mask_by_query else "own[0][0].at[2 * j + c % 2]"
        scaled = "score[m][j][c] * scale"
        if self.mask == "bool":
            scaled = f"{at} ? {scaled} : -infinity()"
        elif self.mask:
            scaled += f" + widen({at}) * {float(LOG2E).hex()}f"
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
            "    float score[M][TILES][4] = {};",
            "    #pragma unroll",
            "    for (int s = 0; s < D / 16; s++)",
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
            "    if (block + PARTS < blocks) fetch_keys(block + PARTS);",
        ]

    def _weights(self, stored: str) -> list[str]:
        """Scores become weights relative to the greatest so far, which enter the sums."""
        scale = " * scale" if self.late_scale else ""
        return [
            "    u32 weight[M][TILES / 2][4];",
            "    #pragma unroll",
            "    for (int m = 0; m < M; m++) {",
            "      #pragma unroll",
            "      for (int h = 0; h < 2; h++) {",
            "        float most = top[m][h];",
            "        #pragma unroll",
            "        for (int j = 0; j < TILES; j++) most = maximum(most, maximum(score[m][j][2 * h], score[m][j][2 * h + 1]));",
            "        most = maximum(most, __shfl_xor_sync(~0u, most, 1));",
            "        most = maximum(most, __shfl_xor_sync(~0u, most, 2));",
            # Where a query has seen no key yet, everything is 2^(-inf - 0) = 0.
            f"        const float zero = most == -infinity() ? 0.0f : most{scale};",
            f"        const float fade = quick_exp2(top[m][h]{scale} - zero);",
            "        top[m][h] = most;",
            "        total[m][h] *= fade;",
            "        #pragma unroll",
            "        for (int j = 0; j < TILES; j++)",
            "          #pragma unroll",
            "          for (int c = 2 * h; c < 2 * h + 2; c++) {",
            f"            score[m][j][c] = quick_exp2(score[m][j][c]{scale} - zero);",
            "            total[m][h] += score[m][j][c];",
            "          }",
            "        #pragma unroll",
            "        for (int i = 0; i < E / 8; i++) { sums[m][i][2 * h] *= fade; sums[m][i][2 * h + 1] *= fade; }",
            "      }",
            "      #pragma unroll",
            "      for (int j = 0; j < TILES; j++)",
            "        #pragma unroll",
            "        for (int h = 0; h < 2; h++)",
            f"          weight[m][j / 2][j % 2 * 2 + h] = narrow2(score[m][j][2 * h], score[m][j][2 * h + 1], {stored}());",
            "    }",
            "    #pragma unroll",
            "    for (int s = 0; s < TILES / 2; s++)",
            "      #pragma unroll",
            "      for (int i = 0; i < E / 8; i++) {",
            "        const u32 b0 = halves(value[s][0][i / 2], value[s][1][i / 2], i % 2);",
            "        const u32 b1 = halves(value[s][2][i / 2], value[s][3][i / 2], i % 2);",
            "        #pragma unroll",
            f"        for (int m = 0; m < M; m++) multiply(sums[m][i], weight[m][s], b0, b1, {stored}());",
            "      }",
            "    if (block + PARTS < blocks) fetch_values(block + PARTS);",
        ]

    def _columns(self) -> Iterator[Columns]:
        first = 0
        for size in (*[64] * (self.out_width // 64), 32, 16):
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

    def _merge(self) -> list[str]:
        """What the parts have meets in shared memory, as it lies in registers; then each part finishes some columns of some rows."""
        lines = [
            "  __shared__ float tops[PARTS][16 * M * ROWS], totals[PARTS][16 * M * ROWS];",
            "  __shared__ float held[PARTS][ROWS][M][E / 8][4][32];",
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
        scale = " * scale" if self.late_scale else ""
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
                f"    const float zero = most == -infinity() ? 0.0f : most{scale};",
                "    #pragma unroll",
                "    for (int p = 0; p < PARTS; p++) {",
                f"      const float factor = quick_exp2(tops[p][r]{scale} - zero);",
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

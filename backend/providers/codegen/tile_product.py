"""Products of small matrices in tiles through shared memory: f32 from f32 or 16-bit floats, and exact sums of 8-bit
integers, four products an instruction.

For products that no library has in this form: the inputs of a recurrent layer for all its steps, integers with zero
points. y[m, n] = sum over k of a[m, k] * b[k, n], each operand of any strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.providers.base import TacticError
from trtn.backend.providers.codegen.family import Call, Slot
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE

__all__ = ["LEVELS", "Matrix", "Scales", "TileProductSpec", "tile_product_call"]

LEVELS = ("i8", "u8")
TILE = 64
"""Rows and columns of a block's tile."""
WORDS = 16
"""Words of k that a turn takes: a float each, or four levels."""
THREADS = 256
_INT32 = 2**31 - 1

LIBRARY = r"""
// c plus four products of the bytes of a and b, of which each has a sign or not.
template <bool A, bool B> DEVICE int dot4(u32 a, u32 b, int c) {
  int d;
  if (A && B) asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  else if (A) asm("dp4a.s32.u32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  else if (B) asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  else asm("dp4a.u32.u32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
"""
"""What depends on the machine: the emulator of the tests has its own."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """An operand as rows [outer, inner] by k, or as k by columns: its strides in elements, of a batch and of each axis."""

    slot: Slot
    batch: int
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Scales:
    """For integers, what makes the sum a float: the factor of a, and those of b, whose distances in elements of a batch
    and of columns are given."""

    a: Slot
    b: Slot
    batch: int
    column: int


@dataclass(frozen=True, slots=True)
class TileProductSpec:
    """`b_across`: neighbours of `b` in memory are columns. Zero points are absent, or arrays whose distance between rows
    (between columns) the kernel is given."""

    a: str
    b: str
    b_across: bool
    a_zero: bool = False
    b_zero: bool = False
    scaled: bool = False

    @property
    def machine(self) -> str:
        """What of the source depends on the machine: the emulator of the tests has its own."""
        return LIBRARY if self.whole else ""

    @property
    def whole(self) -> bool:
        """Whether it is a product of integers."""
        return self.a in LEVELS

    @property
    def result(self) -> str:
        return "i32" if self.whole and not self.scaled else "f32"

    def source(self) -> str:
        a, b, y = C_TYPES[self.a], C_TYPES[self.b], C_TYPES[self.result]
        pointers = [
            f"const {a}* __restrict__ a", f"const {b}* __restrict__ b",
            *([f"const {a}* __restrict__ az"] if self.a_zero else []),
            *([f"const {b}* __restrict__ bz"] if self.b_zero else []),
            *(["const float* __restrict__ as", "const float* __restrict__ bs"] if self.scaled else []),
            f"{y}* __restrict__ y",
        ]  # fmt: skip
        strides = ["a_batch", "a_outer", "a_inner", "a_k", "b_batch", "b_k", "b_n"]
        strides += [
            *(["az_m"] if self.a_zero else []),
            *(["bz_batch", "bz_n"] if self.b_zero else []),
            *(["bs_batch", "bs_n"] if self.scaled else []),
            "y_batch",
        ]
        sizes = [f"const int {n}" for n in ("rows", "inner", "terms", "columns")]
        parameters = [*pointers, *sizes, *(f"const int {n}" for n in strides)]
        return "\n".join(
            [
                PRELUDE,
                self.machine,
                *self._words(),
                "DEVICE void put(Quad* row, int at, Word word) { ((Word*)row)[at] = word; }",
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(parameters)}) {{',
                f"  constexpr int TILE = {TILE}, WORDS = {WORDS}, PER = {self._per}, MINE = TILE * WORDS / {THREADS};",
                "  __shared__ Quad left[WORDS][TILE / 4 + 1], right[WORDS][TILE / 4 + 1];",
                "  LET_NEXT_START();",
                "  const int t = threadIdx.x, row0 = blockIdx.y * TILE, column0 = blockIdx.x * TILE, batch = blockIdx.z;",
                "  const int down = t / 16 * 4, along = t % 16 * 4;",
                "  a += (i64)batch * a_batch; b += (i64)batch * b_batch; y += (i64)batch * y_batch;",
                "  Word next_left[MINE], next_right[MINE];",
                "  const auto fetch = [&](int first) {",
                "    #pragma unroll",
                "    for (int i = 0; i < MINE; i++) {",
                f"      const int k = (first + t % WORDS) * PER, m = row0 + t / WORDS + i * {THREADS // WORDS};",
                "      next_left[i] = word_of(a + ((i64)(m / inner) * a_outer + (i64)(m % inner) * a_inner + (i64)k * a_k), a_k,",
                "                             m < rows ? terms - k : 0);",
                *self._fetch_right(),
                "    }",
                "  };",
                "  WAIT_FOR_INPUTS();",
                "  Total sums[4][4] = {};",
                *(["  Total column_sums[4] = {};"] if self.a_zero else []),
                *(["  Total row_sums[4] = {};"] if self.b_zero else []),
                "  fetch(0);",
                "  const int words = (terms + PER - 1) / PER;",
                "  for (int first = 0; first < words; first += WORDS) {",
                "    __syncthreads();",
                "    #pragma unroll",
                "    for (int i = 0; i < MINE; i++) {",
                f"      put(left[t % WORDS], t / WORDS + i * {THREADS // WORDS}, next_left[i]);",
                f"      put({self._place_right}, next_right[i]);",
                "    }",
                "    __syncthreads();",
                "    if (first + WORDS < words) fetch(first + WORDS);",
                "    #pragma unroll",
                "    for (int w = 0; w < WORDS; w++) {",
                "      const Quad l = left[w][down / 4], r = right[w][along / 4];",
                "      #pragma unroll",
                "      for (int i = 0; i < 4; i++) {",
                *self._extra_sums(),
                "        #pragma unroll",
                "        for (int j = 0; j < 4; j++) sums[i][j] = multiply_add(l.at[i], r.at[j], sums[i][j]);",
                "      }",
                "    }",
                "  }",
                "  #pragma unroll",
                "  for (int i = 0; i < 4; i++) {",
                "    const int m = row0 + down + i;",
                "    if (m >= rows) break;",
                "    #pragma unroll",
                "    for (int j = 0; j < 4; j++) {",
                "      const int n = column0 + along + j;",
                "      if (n >= columns) break;",
                *self._finish(),
                "    }",
                "  }",
                "}",
                "",
            ]
        )

    @property
    def _per(self) -> int:
        return 4 if self.whole else 1

    @property
    def _place_right(self) -> str:
        if self.b_across:
            return "right[t / TILE + i * 4], t % TILE"
        return f"right[t % WORDS], t / WORDS + i * {THREADS // WORDS}"

    def _fetch_right(self) -> list[str]:
        where = (
            "const int q = (first + t / TILE + i * 4) * PER, n = column0 + t % TILE;"
            if self.b_across
            else f"const int q = (first + t % WORDS) * PER, n = column0 + t / WORDS + i * {THREADS // WORDS};"
        )
        value = "word_of(b + ((i64)q * b_k + (i64)n * b_n), b_k, n < columns ? terms - q : 0)"
        return [f"      {where}", f"      next_right[i] = {value};"]

    def _words(self) -> list[str]:
        """What a word is, how one is read of which `left` elements are there, and how two multiply."""
        if not self.whole:
            return [
                "typedef float Word; typedef float Total;",
                "struct alignas(16) Quad { Word at[4]; };",
                "template <typename T> DEVICE float word_of(const T* from, int, int left) { return left > 0 ? load(from) : 0.0f; }",
                "DEVICE float multiply_add(float a, float b, float c) { return a * b + c; }",
            ]
        signs = ", ".join(_signed(d) for d in (self.a, self.b))
        return [
            "typedef u32 Word; typedef int Total;",
            "struct alignas(16) Quad { Word at[4]; };",
            "template <typename T> DEVICE u32 word_of(const T* from, int distance, int left) {",
            "  u32 word = 0;",
            "  if (distance == 1 && left >= 4 && (u64)from % 4 == 0) return *(const u32*)from;",
            "  #pragma unroll",
            "  for (int k = 0; k < 4; k++) if (k < left) word |= (u32)(u8)from[(i64)k * distance] << (8 * k);",
            "  return word;",
            "}",
            f"DEVICE int multiply_add(u32 a, u32 b, int c) {{ return dot4<{signs}>(a, b, c); }}",
        ]

    def _extra_sums(self) -> list[str]:
        """Of the levels of rows where b has a zero point, of columns where a has one."""
        ones = "0x01010101u"
        rows = f"        row_sums[i] = dot4<{_signed(self.a)}, true>(l.at[i], {ones}, row_sums[i]);"
        columns = f"        column_sums[i] = dot4<{_signed(self.b)}, true>(r.at[i], {ones}, column_sums[i]);"
        return [*([rows] if self.b_zero else []), *([columns] if self.a_zero else [])]

    def _finish(self) -> list[str]:
        """Sums of integers wrap, as those of the reference do."""
        target = "y[(i64)m * columns + n]"
        if not self.whole:
            return [f"      {target} = sums[i][j];"]
        lines = ["      u32 total = sums[i][j];"]
        if self.a_zero:
            lines += ["      const u32 za = (int)az[(i64)m * az_m];", "      total -= za * (u32)column_sums[j];"]
        if self.b_zero:
            lines += [
                "      const u32 zb = (int)bz[(i64)batch * bz_batch + (i64)n * bz_n];",
                "      total -= zb * (u32)row_sums[i];",
            ]
        if self.a_zero and self.b_zero:
            lines.append("      total += za * zb * (u32)terms;")
        value = "(float)(int)total * (*as * bs[(i64)batch * bs_batch + (i64)n * bs_n])" if self.scaled else "(int)total"
        return [*lines, f"      {target} = {value};"]


def _signed(dtype: str) -> str:
    return "true" if dtype == "i8" else "false"


def tile_product_call(
    dtypes: tuple[str, str],
    sizes: tuple[int, int, int, int, int],
    a: Matrix,
    b: Matrix,
    y: Slot,
    a_zero: Matrix | None = None,
    b_zero: Matrix | None = None,
    scales: Scales | None = None,
) -> Call:
    """The launch for `sizes` (batch, rows, rows of the faster axis, terms, columns). `a` has axes (outer, inner, k), `b`
    (k, n), zero points (m,) and (n,); y is dense. Raises TacticError where distances don't fit 32 bits."""
    import numpy as np

    batch, rows, inner, terms, columns = sizes
    strides: list[int] = [a.batch, *a.axes, b.batch, *b.axes]
    strides += [*(a_zero.axes if a_zero else ()), *((b_zero.batch, *b_zero.axes) if b_zero else ())]
    strides += [*((scales.batch, scales.column) if scales else ()), rows * columns]
    if max(map(abs, (*strides, rows, terms, columns))) > _INT32:
        raise TacticError("distances that don't fit 32 bits")
    spec = TileProductSpec(*dtypes, b.axes[1] == 1, a_zero is not None, b_zero is not None, scales is not None)
    slots: Sequence[Slot] = [
        a.slot, b.slot, *([a_zero.slot] if a_zero else []), *([b_zero.slot] if b_zero else []),
        *([scales.a, scales.b] if scales else []), y,
    ]  # fmt: skip
    numbers: list[Any] = [np.int32(n) for n in (rows, inner, terms, columns, *strides)]
    grid = (-(-columns // TILE), -(-rows // TILE), batch)
    return Call(spec, grid, (THREADS, 1, 1), (*slots, *numbers))

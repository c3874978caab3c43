"""What attention by warp groups (`wgmma`) consists of: how a block divides the work, and the instructions that it takes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BOOKKEEPING", "COPIES", "FETCHING", "LIBRARY", "REGISTERS", "AttentionTile", "products"]

FETCHING = 128
"""Threads that fetch."""
REGISTERS = {1: (40, 216), 2: (40, 232), 3: (32, 160)}
"""By groups: registers of a thread that fetches, and of one that multiplies. Together they are those of the multiprocessor, or half of
them where two blocks share it."""
MOST_STAGES = 4
BOOKKEEPING = 3 * 8 + 4 * 4
"""Bytes of a stage beside the keys and values."""
RESERVED = 1024
"""Bytes of shared memory that each block takes beside what it asks for."""
SHARED_IN_ALL = 228 * 1024

LIBRARY = r"""
// Groups of warps take turns: each lets the next one go.
DEVICE void await_turn(int group) { asm volatile("bar.sync %0, 256;" :: "r"(group + 1) : "memory"); }
DEVICE void give_turn(int group) { asm volatile("bar.arrive %0, 256;" :: "r"(group + 1) : "memory"); }
// Nothing that has to do with these values moves past here: the compiler does not know what waits are for.
template <int N> DEVICE void pin(float (&x)[N][4]) {
  #pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(x[i][0]), "+f"(x[i][1]), "+f"(x[i][2]), "+f"(x[i][3]) :: "memory");
}
template <int N> DEVICE void pin(u32 (&x)[N]) {
  #pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+r"(x[i]) :: "memory");
}
"""

COPIES = r"""
// A thread's chunks of ROWS rows of PLANES times 64 elements: of every 16th row; zeros from row `left` on.
template <int ROWS, int PLANES> DEVICE void copy_rows(u8* to, const u8* from, u32 stride, int left) {
  #pragma unroll
  for (int i = 0; i < ROWS / 16; i++) {
    const bool there = 16 * i < left;
    const u8* row = from + (there ? 16 * i * stride : 0u);
    #pragma unroll
    for (int p = 0; p < PLANES; p++) copy_16(to + i * 2048 + p * (ROWS * 128), row + p * 128, there);
  }
}
// Four threads have the words of each four columns of words: each gets all four of its own.
DEVICE void gather_words(u32 (&w)[4], int t) {
  const bool odd = t & 1, high = t & 2;
  #pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const u32 other = __shfl_xor_sync(~0u, odd ? w[i] : w[i + 1], 1);
    w[i] = odd ? other : w[i]; w[i + 1] = odd ? w[i + 1] : other;
  }
  #pragma unroll
  for (int i = 0; i < 2; i++) {
    const u32 other = __shfl_xor_sync(~0u, high ? w[i] : w[i + 2], 2);
    w[i] = high ? other : w[i]; w[i + 2] = high ? w[i + 2] : other;
  }
}
"""


@dataclass(frozen=True, slots=True)
class AttentionTile:
    """How a block divides the work. The text form names a tactic."""

    groups: int
    """Groups of four warps with 64 queries each."""
    keys: int
    """Keys of a stage: a multiple of 16, up to 128."""

    def __str__(self) -> str:
        return f"w{self.queries}.k{self.keys}"

    @property
    def queries(self) -> int:
        return 64 * self.groups

    @property
    def threads(self) -> int:
        return FETCHING + 128 * self.groups

    @property
    def resident(self) -> int:
        """Blocks of a multiprocessor."""
        return 2 if self.groups == 1 else 1

    def stages(self, width: int, out_width: int) -> int:
        """Rounds of keys and values in shared memory."""
        room = SHARED_IN_ALL // self.resident - RESERVED - 4 * self.queries * width - 32 - BOOKKEEPING * MOST_STAGES
        return min(MOST_STAGES, room // (2 * self.keys * (width + out_width)))

    def fits(self, width: int, out_width: int, masks: bool = False) -> bool:
        """Whether registers and shared memory suffice for these widths, and a mask by query where there is one."""
        held = self.keys // 2 + self.keys // 4 + out_width // 2 + masks * (self.keys // 4 + 16)
        return held + 32 <= REGISTERS[self.groups][1] and self.stages(width, out_width) >= 2


def products(keys: int, out_width: int, dtype: str) -> str:
    """`multiply_rows`: 64 rows of a times `keys` rows of b over 16 of their elements, added to the scores or put in their place.
    `multiply_weights`: weights of 16 keys, in registers, times their rows of v, in planes of 64 columns, each of `KEYS` rows."""
    scores, sums = keys // 2, out_width // 2

    def registers(first: int, count: int) -> str:
        return ", ".join(f"%{n}" for n in range(first, first + count))

    def operands(count: int) -> str:
        return ", ".join(f'"+f"(d[{n // 4}][{n % 4}])' for n in range(count))

    return f"""
DEVICE void multiply_rows(float (&d)[{keys // 8}][4], const void* a, const void* b, int step, bool add, {dtype}) {{
  asm volatile("{{\\n.reg .pred p;\\nsetp.ne.b32 p, %{scores + 2}, 0;\\n"
      "wgmma.mma_async.sync.aligned.m64n{keys}k16.f32.{dtype}.{dtype} {{{registers(0, scores)}}}, %{scores}, %{scores + 1}, p, 1, 1, 0, 0;\\n}}"
      : {operands(scores)} : "l"(describe(a) + 2 * step), "l"(describe(b) + 2 * step), "r"((int)add));
}}
template <int KEYS> DEVICE void multiply_weights(float (&d)[{out_width // 8}][4], const u32 (&a)[4], const void* v, int step, {dtype}) {{
  asm volatile("wgmma.mma_async.sync.aligned.m64n{out_width}k16.f32.{dtype}.{dtype} {{{registers(0, sums)}}}, "
      "{{{registers(sums, 4)}}}, %{sums + 4}, 1, 1, 1, 1;"
      : {operands(sums)} : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(describe(v) + ((u64)(KEYS * 8 - 1) << 16) + 128 * step));
}}
"""

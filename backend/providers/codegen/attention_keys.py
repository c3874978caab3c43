"""How the keys and values of an attention kernel come from memory to the registers of warps: straight there, or by way of shared
memory, where warps with different queries share them and more of them are on their way at once.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIBRARY", "STAGING", "TF32", "Tile", "direct", "staged"]

MOST_REGISTERS = 200
"""Of a thread, for fragments; what is left is for addresses."""
STATIC_SHARED, SHARED = 47 << 10, 226 << 10
"""Bytes of shared memory that a block may have without asking, and at most."""

LIBRARY = r"""
// What thread t of four has of a row of W words: 4 neighbours of each 16, 2 of a last 8. `from` is the first of them, where `swap` is 0;
// where it is 16, the halves of each 32 have changed places.
template <int W> DEVICE void fetch_terms(const u32* from, int t, int swap, u32 (&words)[W / 4]) {
  #pragma unroll
  for (int i = 0; i < W / 16; i++) {
    Lanes<u32, 4> some;
    fetch_lanes<4>(from + (16 * i ^ swap), some);
    #pragma unroll
    for (int k = 0; k < 4; k++) words[4 * i + k] = some.word[k];
  }
  if constexpr (W % 16 != 0) {
    Lanes<u32, 2> some;
    fetch_lanes<2>(from + (W / 16 * 16 - 2 * t), some);
    words[W / 4 - 2] = some.word[0]; words[W / 4 - 1] = some.word[1];
  }
}
// What thread g of eight has of a row of W words: 4 neighbours of each 32, 2 of 16 that are left, 1 of 8 that are left.
template <int W> DEVICE void fetch_columns(const u32* from, int g, u32 (&words)[W / 8]) {
  #pragma unroll
  for (int i = 0; i < W / 32; i++) {
    Lanes<u32, 4> some;
    fetch_lanes<4>(from + 32 * i, some);
    #pragma unroll
    for (int k = 0; k < 4; k++) words[4 * i + k] = some.word[k];
  }
  if constexpr (W % 32 >= 16) {
    Lanes<u32, 2> some;
    fetch_lanes<2>(from + (W / 32 * 32 - 2 * g), some);
    words[W / 32 * 4] = some.word[0]; words[W / 32 * 4 + 1] = some.word[1];
  }
  if constexpr (W % 16 != 0) words[W / 8 - 1] = from[W / 16 * 16 - 3 * g];
}
// Strides of q, k, v and y count bytes: an address is then two additions away.
template <typename T> DEVICE const T* further(const T* from, i64 bytes) { return (const T*)((const u8*)from + bytes); }
template <typename T> DEVICE const T* further(const T* from, u32 bytes) { return (const T*)((const u8*)from + bytes); }
template <typename T> DEVICE T* further(T* from, i64 bytes) { return (T*)((u8*)from + bytes); }
// Cutting off is about as good as rounding after this: numbers grow by as much as cutting takes from them on average, 2^-11.5, where
// rounding itself would take the instructions of a few such. Those that TF32 has become themselves again.
DEVICE u32 centred(float x) { return __float_as_uint(x * 1.00034527f); }
// The lower or the upper halves of two words.
DEVICE u32 halves(u32 x, u32 y, int upper) { return __byte_perm(x, y, upper ? 0x7632 : 0x5410); }
"""

TF32 = r"""
// A fragment product of f32 numbers as TF32, over 8 terms: their last 13 bits are cut off.
DEVICE void multiply(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, float) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
"""
STAGING = r"""
#define SHARED_MEMORY(name) extern __shared__ __align__(1024) u8 name[]
// 16 bytes to shared memory, or as many zeros, in the group of copies that `close_copies` ends. All groups but the last N are there,
// for the thread that asked, after `await_copies`.
DEVICE void copy_16(void* to, const void* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
      :: "r"((u32)__cvta_generic_to_shared(to)), "l"(from), "r"(there ? 16 : 0) : "memory");
}
DEVICE void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> DEVICE void await_copies() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }
// Four matrices of 8 x 8: lane k points to row k % 8 of matrix k / 8 and gets elements of column lane / 4 of rows 2 t and 2 t + 1 of each.
DEVICE void read_columns(u32 (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"((u32)__cvta_generic_to_shared(row)) : "memory");
}
"""
"""What depends on the machine, as `TF32` does: the emulator of the tests has its own."""


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
    """Keys that a warp takes at a time, in eights: 2, 4 or 8."""
    stages: int = 0
    """Rounds of `parts` times so many keys in shared memory; 0: keys don't go through it."""

    def __str__(self) -> str:
        stages = f".s{self.stages}" if self.stages else ""
        return f"q{16 * self.fragments}x{self.rows}.k{8 * self.octets}x{self.parts}{stages}"

    @property
    def queries(self) -> int:
        return 16 * self.fragments * self.rows

    @property
    def keys(self) -> int:
        """Of a round."""
        return 8 * self.octets * self.parts

    @property
    def threads(self) -> int:
        return 32 * self.rows * self.parts

    def merged(self, out_width: int) -> int:
        """Bytes of shared memory in which parts merge what they have."""
        return 0 if self.parts == 1 else 4 * self.parts * self.queries * (out_width + 2)

    def shared(self, width: int, out_width: int, itemsize: int) -> int:
        """Bytes of shared memory with stages: the rounds, then, in the same place, what parts merge."""
        return max(itemsize * self.stages * self.keys * (width + out_width), self.merged(out_width))

    def fits(self, width: int, out_width: int, itemsize: int, masks: bool = False) -> bool:
        """Whether registers and shared memory suffice for these widths, and a mask by query where there is one."""
        rows, keys = 16 * self.fragments, 8 * self.octets
        held = rows * (width * itemsize // 4 + out_width + keys) + masks * rows * keys * itemsize // 4
        held += keys * (max(width, out_width) if self.stages else width + out_width) * itemsize // 4
        if held > 32 * min(MOST_REGISTERS, 65536 // self.threads - 40):
            return False
        if self.stages:
            return self.shared(width, out_width, itemsize) <= SHARED
        return self.merged(out_width) <= STATIC_SHARED


@dataclass(frozen=True, slots=True)
class Reads:
    """Statements at the places of a kernel where something is read: before and after the wait for the inputs, around the loop over
    blocks of keys, and where a block's scores, or all of it, are done."""

    declared: list[str]
    begun: list[str]
    loop: list[str]
    scored: list[str]
    step: list[str]
    """As weights enter the sums, before step `s`."""
    entered: list[str]
    ended: list[str]
    merging: list[str]
    """Declares `held`, `tops` and `totals` in shared memory."""
    operands: tuple[str, str]
    """The fragment of v for step `s` and fragment `i` of the result."""


HELD = "[PARTS][ROWS][M][E / 8][4][32]"
BY_ROW = "[PARTS][16 * M * ROWS]"
ROWS_OF_VALUES = "  u32 value[TILES / PACKED][2 * PACKED][V / 8];"
OF_PAIRS = tuple(f"halves(value[s][{n}][i / 2], value[s][{n + 1}][i / 2], i % 2)" for n in (0, 2))
OF_WORDS = ("value[s][0][i]", "value[s][1][i]")


def direct(packed: int, *, mask: bool) -> Reads:
    """Each warp reads its own keys, one block ahead of their use. A word has `packed` elements."""
    declared = [
        "  k += 4 * t; v += 4 * g;",
        ROWS_OF_VALUES,
        "  u32 to_key[TILES], to_value[OWN];",
        "  #pragma unroll",
        "  for (int j = 0; j < TILES; j++) to_key[j] = (OWN * (g / 2) + 2 * j + g % 2) * ks;",
        "  #pragma unroll",
        "  for (int s = 0; s < OWN; s++) to_value[s] = (OWN * t + s) * vs;",
        "  auto fetch_keys = [&](int block) {",
        "    const u32* from = further(k, block * KEYS * ks);",
        # The scores of keys beyond the last are thrown away: they may be the last one's.
        "    const u32 last = (keys - 1 - block * KEYS) * ks;",
        "    #pragma unroll",
        "    for (int j = 0; j < TILES; j++) fetch_terms<K>(further(from, lower(to_key[j], last)), t, 0, key[j]);",
        *["    fetch_mask(block);"] * mask,
        "  };",
        "  auto fetch_values = [&](int block) {",
        "    const u32* from = further(v, block * KEYS * vs);",
        "    if ((block + 1) * KEYS <= keys) {",
        "      #pragma unroll",
        "      for (int s = 0; s < OWN; s++) fetch_columns<V>(further(from, to_value[s]), g, value[s / (2 * PACKED)][s % (2 * PACKED)]);",
        "    } else {",
        "      #pragma unroll",
        "      for (int s = 0; s < OWN; s++) {",
        "        u32 (&row)[V / 8] = value[s / (2 * PACKED)][s % (2 * PACKED)];",
        "        for (int i = 0; i < V / 8; i++) row[i] = 0;",
        "        if (block * KEYS + OWN * t + s < keys) fetch_columns<V>(further(from, to_value[s]), g, row);",
        "      }",
        "    }",
        "  };",
    ]
    return Reads(
        declared,
        begun=["  if (part < blocks) { fetch_keys(part); fetch_values(part); }"],
        loop=["  #pragma unroll 1", "  for (int block = part; block < blocks; block += PARTS) {"],
        scored=["    if (block + PARTS < blocks) fetch_keys(block + PARTS);"],
        step=[],
        entered=["    if (block + PARTS < blocks) fetch_values(block + PARTS);"],
        ended=["  }"],
        merging=[f"  __shared__ float held{HELD}, tops{BY_ROW}, totals{BY_ROW};"],
        operands=_operands(packed),
    )


def staged(packed: int, *, mask: bool, blocks: str, turned: bool) -> Reads:
    """All warps of a block copy rounds of keys to shared memory, some ahead of their use. `blocks` is how many its last queries look at.
    With `turned`, fragments of v are read as such, with the columns of v and y in their own order; its elements have 16 bits then.

    Rows of 32 words have 16-byte chunks in an order in which the threads that read at once meet different banks: of k, every other
    row has its halves changed; of v, each OWN rows have theirs permuted by twice their number, every other row by one more with `turned`.
    """
    declared = [
        "  SHARED_MEMORY(memory);",
        "" if turned else ROWS_OF_VALUES,
        f"  const int rounds = ({blocks} + PARTS - 1) / PARTS;",
        "  constexpr int ROUND = PARTS * KEYS;",
        "  auto stage = [&](int round) {",
        "    u32* to = (u32*)memory + round % STAGES * (ROUND * (K + V));",
        *_copy("k", "K", "r % 2 * 4"),
        "    to += ROUND * K;",
        *_copy("v", "V", f"r / OWN % 4 * 2{' + r % 2' if turned else ''}"),
        "  };",
    ]
    first = "(const u32*)memory + round % STAGES * (ROUND * (K + V))"
    return Reads(
        declared,
        begun=[
            "  #pragma unroll 1",
            "  for (int round = 0; round < STAGES - 1; round++) {",
            "    if (round < rounds) stage(round);",
            "    close_copies();",
            "  }",
            *["  if (part < blocks) fetch_mask(part);"] * mask,
        ],
        loop=[
            "  #pragma unroll 1",
            "  for (int round = 0; round < rounds; round++) {",
            "    await_copies<STAGES - 2>();",
            "    __syncthreads();",
            "    if (round + STAGES - 1 < rounds) stage(round + STAGES - 1);",
            "    close_copies();",
            "    const int block = round * PARTS + part;",
            "    if (block >= blocks) continue;",
            f"    const u32* keys_at = {first} + (part * KEYS + OWN * (g / 2) + g % 2) * K + 4 * t;",
            "    #pragma unroll",
            "    for (int j = 0; j < TILES; j++) fetch_terms<K>(keys_at + 2 * j * K, t, K % 32 ? 0 : g % 2 * 16, key[j]);",
        ],
        scored=[
            *["    if (block + PARTS < blocks) fetch_mask(block + PARTS);"] * mask,
            f"    const u32* values_at = {first} + ROUND * K;",
            *(TURNED if turned else AS_THEY_LIE),
        ],
        step=TURNED_STEP if turned else [],
        entered=[],
        ended=["  }"],
        merging=[
            f"  typedef float Held{HELD}; typedef float Row{BY_ROW};",
            "  Held& held = *(Held*)memory; Row& tops = *(Row*)(memory + sizeof(Held)); Row& totals = *(&tops + 1);",
            "  __syncthreads();",
        ],
        operands=("value[i][0]", "value[i][1]") if turned else _operands(packed),
    )


AS_THEY_LIE = [
    "    values_at += (part * KEYS + OWN * t) * V + 4 * (V % 32 ? g : g ^ 2 * t);",
    "    #pragma unroll",
    "    for (int s = 0; s < OWN; s++) fetch_columns<V>(values_at + s * V, g, value[s / (2 * PACKED)][s % (2 * PACKED)]);",
]
TURNED = [
    "    const int to = lane % 8 / 2, chunk = lane / 16, swap = V % 32 ? 0 : to * 2 + lane % 2;",
    "    values_at += (part * KEYS + OWN * to + lane / 8 % 2 * 2 + lane % 2) * V;",
]
TURNED_STEP = [
    "      u32 value[E / 8][2];",
    "      #pragma unroll",
    "      for (int i = 0; i < E / 8; i += 2) {",
    "        u32 four[4];",
    "        read_columns(four, values_at + 4 * s * V + (i + chunk ^ swap) * 4);",
    "        value[i][0] = four[0]; value[i][1] = four[1]; value[i + 1][0] = four[2]; value[i + 1][1] = four[3];",
    "      }",
]


def _operands(packed: int) -> tuple[str, str]:
    """The fragment of v, from rows as they lie."""
    return (OF_PAIRS[0], OF_PAIRS[1]) if packed == 2 else OF_WORDS


def _copy(name: str, words: str, swap: str) -> list[str]:
    """All threads copy a round of one operand, whose rows have so many words, to `to`."""
    return [
        f"    constexpr int {name}_chunks = ROUND * {words} / 4;",
        "    #pragma unroll",
        f"    for (int i = 0; i < ({name}_chunks + THREADS - 1) / THREADS; i++) {{",
        "      const u32 c = i * THREADS + threadIdx.x;",
        f"      if ({name}_chunks % THREADS == 0 || c < {name}_chunks) {{",
        f"        const int r = c / ({words} / 4), chunk = c % ({words} / 4), at = round * ROUND + r, swap = {words} % 32 ? 0 : {swap};",
        f"        copy_16(to + r * {words} + (chunk ^ swap) * 4, further({name}, lower(at, keys - 1) * {name}s) + chunk * 4, at < keys);",
        "      }",
        "    }",
    ]

"""Matrix products on tensor cores (`mma.sync`), for sizes at which waiting decides: a cluster of blocks shares a tile of the result,
each sums over a part of K, and the parts meet in shared memory.

The weight lies packed, in the very bytes that shared memory is to hold, so one thread fetches a stage of it with one instruction, and
does so before the inputs are there. Rows of 64 elements have their 16-byte chunks permuted by the row's number, so that the eight rows
of a fragment lie in different banks.
"""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.codegen import expressions, stem
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program

__all__ = ["DEPTH", "LIBRARY", "GemmSpec", "PackSpec", "Taps", "Tile"]

DEPTH = 64
"""Elements of K in a stage: 128 bytes of a row."""
ATOM = 8 * DEPTH
"""Elements of 8 packed columns of the weight in a stage."""
LANES = 4
"""Columns that a thread finishes at a time."""

LIBRARY = r"""
#define CLUSTER(blocks) __cluster_dims__(1, 1, blocks)
#define SHARED_MEMORY(name) extern __shared__ __align__(1024) u8 name[]
DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
// A barrier that opens when `count` threads have arrived and the bytes that they announced are there.
DEVICE void start_barrier(u64* barrier, u32 count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(shared_address(barrier)), "r"(count) : "memory");
}
DEVICE void publish_barriers() { asm volatile("fence.mbarrier_init.release.cluster; fence.proxy.async;" ::: "memory"); }
DEVICE void wait_at(u64* barrier, u32 parity) {
  asm volatile(
      "{\n.reg .pred p;\nWAIT:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra DONE;\nbra WAIT;\nDONE:\n}"
      :: "r"(shared_address(barrier)), "r"(parity) : "memory");
}
// Copies to shared memory that run by themselves: many bytes in one go, announced to the barrier; 16 bytes, or as many zeros.
DEVICE void copy_bytes(void* to, const void* from, u32 bytes, u64* barrier) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(shared_address(barrier)), "r"(bytes) : "memory");
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
      :: "r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier)) : "memory");
}
DEVICE void copy_16(void* to, const void* from, bool there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(shared_address(to)), "l"(from), "r"(there ? 16 : 0) : "memory");
}
// This thread arrives at the barrier when its copies so far are done.
DEVICE void arrive_copied(u64* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" :: "r"(shared_address(barrier)) : "memory");
}
// Four matrices of 8 x 8: lane k points to row k % 8 of matrix k / 8 and gets two elements of row lane / 4 of each.
DEVICE void read_fragments(u32 (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(shared_address(row)));
}
DEVICE void sync_cluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
// What another block of the cluster has where this one has `from`.
DEVICE void read_other(const float* from, u32 rank, float (&to)[4]) {
  u32 there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(from)), "r"(rank));
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3]) : "r"(there) : "memory");
}
"""
"""What depends on the machine beside the prelude and `stem.LIBRARY`: the emulator of the tests has its own."""

WARPGROUPS = r"""
// Operands of warpgroup products in shared memory: rows of 128 bytes, chunks permuted by the row's number, 8 rows every 1024 bytes.
DEVICE u64 describe(const void* tile) {
  return (u64)(shared_address(tile) >> 4 & 0x3fff) | (u64)1 << 16 | (u64)64 << 32 | (u64)1 << 62;
}
DEVICE void begin_products() { asm volatile("fence.proxy.async;\nwgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Wait until no more than N groups of products are under way.
template <int N> DEVICE void wait_products() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }
"""


def warpgroup_product(columns: int, dtype: str) -> str:
    """`multiply_rows`: 64 rows of a times `columns` rows of b, over the 16 elements of one step, added to the sums."""
    sums = columns // 2
    registers = ", ".join(f"%{n}" for n in range(sums))
    operands = ", ".join(f'"+f"(d[{n // 4}][{n % 4}])' for n in range(sums))
    return f"""
DEVICE void multiply_rows(float (&d)[{columns // 8}][4], const void* a, const void* b, int step, {dtype}) {{
  asm volatile("wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{dtype}.{dtype} {{{registers}}}, %{sums}, %{sums + 1}, 1, 1, 1, 0, 0;"
      : {operands} : "l"(describe(a) + 2 * step), "l"(describe(b) + 2 * step));
}}
"""


@dataclass(frozen=True, slots=True)
class Tile:
    """How a kernel divides the work. The text form names a tactic."""

    rows: int
    columns: int
    down: int
    """Warps along the rows of the tile."""
    across: int
    """Warps along its columns."""
    groups: int
    """Groups of `down * across` warps, each of which takes a part of every stage."""
    parts: int
    """Blocks of a cluster, each of which takes a part of K."""
    stages: int
    """Stages in shared memory."""

    def __str__(self) -> str:
        if not self.across:
            return f"{self.rows}x{self.columns}.g.c{self.parts}.s{self.stages}"
        return f"{self.rows}x{self.columns}.w{self.down}x{self.across}x{self.groups}.c{self.parts}.s{self.stages}"

    @property
    def threads(self) -> int:
        return 32 * self.down * max(self.across, 1) * self.groups

    @property
    def stage(self) -> int:
        """Bytes of a stage."""
        return 2 * DEPTH * (self.rows + self.columns)

    @property
    def pitch(self) -> int:
        """Sums of a row in shared memory: 8 more than columns, so that the rows of a fragment meet different banks."""
        return self.columns + 8

    @property
    def shared(self) -> int:
        """Bytes of shared memory: the stages, then, in the same place, the sums; after them the stages' barriers."""
        return self.held + 8 * self.stages

    @property
    def held(self) -> int:
        return max(self.stages * self.stage, 4 * self.groups * self.rows * self.pitch)


@dataclass(frozen=True, slots=True)
class Taps:
    """The window of a convolution whose rows are gathered: taps down and across, strides, dilations."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]


@dataclass(frozen=True, slots=True)
class PackSpec:
    """A weight as [stage, 8 columns][column, chunk ^ column, element], filled up with zeros. A stage has 64 channels of one tap."""

    dtype: str
    across: int = 1
    """Taps in a row of the window."""

    def source(self) -> str:
        stored = C_TYPES[self.dtype]
        return "\n".join(
            [
                PRELUDE,
                f'extern "C" __global__ void __launch_bounds__(256) kernel(const {stored}* __restrict__ w, {stored}* __restrict__ packed, '
                "const u32 count, const int octets, const int steps, const int N, const int C, "
                "const i64 sn, const i64 sc, const i64 sh, const i64 sw) {",
                "  LET_NEXT_START();",
                "  const u32 i = blockIdx.x * 256u + threadIdx.x;",
                "  WAIT_FOR_INPUTS();",
                "  if (i >= count) return;",
                f"  const int row = i / {DEPTH} % 8, chunk = i / 8 % 8 ^ row, atom = i / {ATOM}, stage = atom / octets, tap = stage / steps;",
                f"  const int n = atom % octets * 8 + row, c = stage % steps * {DEPTH} + chunk * 8 + i % 8;",
                f"  {stored} value = {{}};",
                f"  if (n < N && c < C) value = w[n * sn + c * sc + tap / {self.across} * sh + tap % {self.across} * sw];",
                "  packed[i] = value;",
                "}",
                "",
            ]
        )


@dataclass(frozen=True, slots=True)
class GemmSpec:
    """y[m, n] = epilogue(sum over k of x[m, k] * w[k, n] + bias[n])."""

    dtype: str
    tile: Tile
    taps: Taps | None
    """None: x is a matrix."""
    bias: bool
    epilogue: Program
    channel_operands: int

    @property
    def accelerated(self) -> bool:
        return not self.tile.across

    @property
    def machine(self) -> str:
        """What depends on the machine."""
        return LIBRARY if self.tile.across else LIBRARY + WARPGROUPS + warpgroup_product(self.tile.columns, self.dtype)

    @property
    def cluster(self) -> int:
        return self.tile.parts

    @property
    def channels(self) -> list[str]:
        return [f"e{n}" for n in range(self.channel_operands)]

    @property
    def tensors(self) -> list[str]:
        return [f"r{n}" for n in range(len(self.epilogue.inputs) - 1 - self.channel_operands)]

    def parameters(self) -> str:
        stored = C_TYPES[self.dtype]
        result = C_TYPES[self.epilogue.dtype(self.epilogue.results[0])]
        names = (*self.channels, *self.tensors)
        kinds = dict(zip(names, (C_TYPES[d] for d in self.epilogue.inputs[1:]), strict=True))
        pointers = [
            f"const {stored}* __restrict__ x", "const u8* __restrict__ w", *([f"const {stored}* __restrict__ bias"] * self.bias),
            *(f"const {kinds[n]}* __restrict__ {n}" for n in names), f"{result}* __restrict__ y",
        ]  # fmt: skip
        sizes = ["M", "N", "C", "octets", "stages", *(["steps", "H", "W", "P", "Q", "before", "left"] if self.taps else [])]
        strides = [*(["xn", "xh", "xw"] if self.taps else ["xm"]), *(f"{n}m" for n in (*self.tensors, "y"))]
        return ", ".join([*pointers, *(f"const int {n}" for n in sizes), *(f"const int {n}" for n in strides)])

    def source(self) -> str:
        t, stored = self.tile, C_TYPES[self.dtype]
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                stem.LIBRARY,
                self.machine,
                f'extern "C" __global__ void CLUSTER({t.parts}) __launch_bounds__({t.threads}, 1) kernel({self.parameters()}) {{',
                f"  constexpr int ROWS = {t.rows}, COLUMNS = {t.columns}, THREADS = {t.threads}, GROUPS = {t.groups}, PARTS = {t.parts};",
                f"  constexpr int STAGES = {t.stages}, STAGE = {t.stage}, RT = {t.rows // t.down // 16}, CT = {t.columns // max(t.across, 1) // 8};",
                f"  constexpr int PITCH = {t.pitch}, LOADS = ROWS * 8 / THREADS;",
                "  SHARED_MEMORY(memory);",
                f"  u64* full = (u64*)(memory + {t.held});",
                "  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32, part = blockIdx.z;",
                "  const int m0 = blockIdx.y * ROWS, n0 = blockIdx.x * COLUMNS;",
                "  const int first = stages * part / PARTS, count = stages * (part + 1) / PARTS - first;",
                "  const u32 bytes = minimum(COLUMNS / 8, octets - n0 / 8) * 1024;",
                "  const u8* own = w + ((i64)first * octets + n0 / 8) * 1024;",
                "  if (tid == 0) {",
                "    for (int s = 0; s < STAGES; s++) start_barrier(full + s, THREADS + 1);",
                "    publish_barriers();",
                "    for (int s = 0; s < STAGES && s < count; s++)",
                "      copy_bytes(memory + s * STAGE + ROWS * 128, own + (i64)s * octets * 1024, bytes, full + s);",
                "  }",
                *(self._gather(stored) if self.taps else self._rows(stored)),
                "  __syncthreads();",
                "  WAIT_FOR_INPUTS();",
                "  for (int s = 0; s < STAGES && s < count; s++) fetch(s, s);",
                "  LET_NEXT_START();",
                *(self._multiply(stored) if t.across else self._multiply_wide(stored)),
                *self._finish(),
                "}",
                "",
            ]
        )

    def _rows(self, stored: str) -> list[str]:
        """`fetch` of rows of a matrix: a thread takes one chunk of each eighth of its threads' rows."""
        return [
            "  const int chunk = tid % 8, to = tid / 8 * 128 + (chunk ^ tid / 8 % 8) * 16;",
            f"  const {stored}* from = x + ((i64)(m0 + tid / 8) * xm + first * {DEPTH} + chunk * 8);",
            "  auto fetch = [&](int stage, int slot) {",
            f"    const bool inside = (first + stage) * {DEPTH} + chunk * 8 < C;",
            "    #pragma unroll",
            "    for (int i = 0; i < LOADS; i++) {",
            "      const bool there = inside && m0 + tid / 8 + i * (THREADS / 8) < M;",
            f"      copy_16(memory + slot * STAGE + to + i * (THREADS * 16), there ? from + ((i64)i * (THREADS / 8) * xm + stage * {DEPTH}) : x, there);",
            "    }",
            "    arrive_copied(full + slot);",
            "  };",
        ]

    def _gather(self, stored: str) -> list[str]:
        """`fetch` of what one tap of the window meets: 64 channels at a place for each row."""
        assert self.taps is not None
        (_, across), (down_by, across_by), (apart, aside) = self.taps.kernel, self.taps.strides, self.taps.dilations
        return [
            "  const int chunk = tid % 8, to = tid / 8 * 128 + (chunk ^ tid / 8 % 8) * 16;",
            f"  const {stored}* from[LOADS]; int h0[LOADS], w0[LOADS];",
            "  #pragma unroll",
            "  for (int i = 0; i < LOADS; i++) {",
            "    const int m = m0 + tid / 8 + i * (THREADS / 8), n = m / (P * Q), p = m / Q % P, q = m % Q;",
            f"    h0[i] = m < M ? p * {down_by} - before : -(1 << 20); w0[i] = q * {across_by} - left;",
            "    from[i] = x + ((i64)n * xn + (i64)h0[i] * xh + (i64)w0[i] * xw + chunk * 8);",
            "  }",
            "  auto fetch = [&](int stage, int slot) {",
            "    const int tap = (first + stage) / steps, c = (first + stage - tap * steps) * " + str(DEPTH) + ";",
            f"    const int h = tap / {across} * {apart}, v = tap % {across} * {aside}, offset = h * xh + v * xw + c;",
            "    #pragma unroll",
            "    for (int i = 0; i < LOADS; i++) {",
            "      const bool there = (u32)(h0[i] + h) < (u32)H && (u32)(w0[i] + v) < (u32)W && c + chunk * 8 < C;",
            "      copy_16(memory + slot * STAGE + to + i * (THREADS * 16), there ? from[i] + offset : x, there);",
            "    }",
            "    arrive_copied(full + slot);",
            "  };",
        ]

    def _multiply(self, stored: str) -> list[str]:
        t = self.tile
        return [
            f"  const int group = warp / {t.down * t.across}, row = warp / {t.across} % {t.down} * (16 * RT), column = warp % {t.across} * (8 * CT);",
            "  const u8* a0 = memory + (row + lane % 16) * 128;",
            "  const u8* b0 = memory + (ROWS + column + lane % 8 + lane / 16 * 8) * 128;",
            f"  constexpr int STEPS = {DEPTH // 16} / GROUPS;",
            "  float sums[RT][CT][4] = {};",
            "  for (int k = 0; k < count; k++) {",
            "    if (k > 0 && k - 1 + STAGES < count) {",
            "      const int next = k - 1 + STAGES, slot = (k - 1) % STAGES;",
            "      __syncthreads();",
            "      if (tid == 0) copy_bytes(memory + slot * STAGE + ROWS * 128, own + (i64)next * octets * 1024, bytes, full + slot);",
            "      fetch(next, slot);",
            "    }",
            "    wait_at(full + k % STAGES, k / STAGES & 1);",
            "    const int at = k % STAGES * STAGE;",
            "    #pragma unroll",
            "    for (int s = 0; s < STEPS; s++) {",
            "      const int step = group * STEPS + s;",
            "      u32 a[RT][4], b[CT / 2][4];",
            "      #pragma unroll",
            "      for (int i = 0; i < RT; i++) read_fragments(a[i], a0 + at + i * 2048 + ((2 * step + lane / 16) ^ lane % 8) * 16);",
            "      #pragma unroll",
            "      for (int j = 0; j < CT / 2; j++) read_fragments(b[j], b0 + at + j * 2048 + ((2 * step + lane / 8 % 2) ^ lane % 8) * 16);",
            "      #pragma unroll",
            "      for (int i = 0; i < RT; i++)",
            "        #pragma unroll",
            f"        for (int j = 0; j < CT; j++) multiply(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1], {stored}());",
            "    }",
            "  }",
        ]

    def _multiply_wide(self, stored: str) -> list[str]:
        """By warpgroups, which read their operands from shared memory themselves."""
        return [
            "  const int group = 0, row = warp * 16, column = 0;",
            "  float sums[1][CT][4] = {};",
            # In this form the compiler sees that nothing but products touches the sums on the way.
            "  int k = 0;",
            "  #pragma unroll 1",
            "  do {",
            "    wait_at(full + k % STAGES, k / STAGES & 1);",
            "    const u8* at = memory + k % STAGES * STAGE;",
            "    begin_products();",
            "    #pragma unroll",
            f"    for (int s = 0; s < {DEPTH // 16}; s++) multiply_rows(sums[0], at + warp / 4 * 8192, at + ROWS * 128, s, {stored}());",
            "    end_products();",
            "    wait_products<1>();",
            "    if (k > 0 && k - 1 + STAGES < count) {",
            "      const int next = k - 1 + STAGES, slot = (k - 1) % STAGES;",
            "      __syncthreads();",
            "      if (tid == 0) copy_bytes(memory + slot * STAGE + ROWS * 128, own + (i64)next * octets * 1024, bytes, full + slot);",
            "      fetch(next, slot);",
            "    }",
            "  } while (++k < count);",
            "  wait_products<0>();",
        ]

    def _finish(self) -> list[str]:
        """The parts' sums meet, and each block of the cluster finishes some rows of the tile."""
        t = self.tile
        per_row = t.columns // LANES
        constants = [*["bias"] * self.bias, *self.channels]
        values = [*(f"{n}_v[j]" for n in self.channels), *(f"{n}_v[i][j]" for n in self.tensors)]
        statements, (value,) = self.epilogue.statements(["total", *values])
        return [
            "  __syncthreads();",
            "  float* sheet = (float*)memory;",
            "  #pragma unroll",
            "  for (int i = 0; i < RT; i++)",
            "    #pragma unroll",
            "    for (int j = 0; j < CT; j++)",
            "      #pragma unroll",
            "      for (int half = 0; half < 2; half++) {",
            "        const float pair[2] = {sums[i][j][2 * half], sums[i][j][2 * half + 1]};",
            "        store<2>(sheet + (group * ROWS + row + i * 16 + half * 8 + lane / 4) * PITCH + column + j * 8 + lane % 4 * 2, pair);",
            "      }",
            f"  constexpr int PART = (ROWS + PARTS - 1) / PARTS, BY = THREADS / {per_row}, TURNS = (PART + BY - 1) / BY;",
            f"  const int low = part * PART, begin = tid / {per_row}, c = tid % {per_row} * {LANES}, n = n0 + c;",
            *(f"  float {name}_v[{LANES}] = {{}};" for name in constants),
            f"  if (n < N) {{ {' '.join(f'load<{LANES}>({name} + n, {name}_v);' for name in constants)} }}" if constants else "",
            *(f"  float {name}_v[TURNS][{LANES}] = {{}};" for name in self.tensors),
            *self._tensor_reads(),
            "  if (PARTS > 1) sync_cluster(); else __syncthreads();",
            "  #pragma unroll",
            "  for (int i = 0; i < TURNS; i++) {",
            "    const int r = begin + i * BY, m = m0 + low + r;",
            "    if (r < PART && low + r < ROWS && m < M && n < N) {",
            f"      float all[{LANES}] = {{}};",
            "      #pragma unroll",
            "      for (int p = 0; p < PARTS; p++)",
            "        #pragma unroll",
            "        for (int g = 0; g < GROUPS; g++) {",
            f"          const float* at = sheet + (g * ROWS + low + r) * PITCH + c; float one[{LANES}];",
            "          if (PARTS > 1) read_other(at, p, one); else load<4>(at, one);",
            "          #pragma unroll",
            f"          for (int j = 0; j < {LANES}; j++) all[j] += one[j];",
            "        }",
            "      #pragma unroll",
            f"      for (int j = 0; j < {LANES}; j++) {{",
            f"        const float total = all[j]{' + bias_v[j]' if self.bias else ''};",
            *(f"        {line}" for line in statements),
            f"        all[j] = {value};",
            "      }",
            f"      store<{LANES}>(y + (i64)m * ym + n, all);",
            "    }",
            "  }",
            "  if (PARTS > 1) sync_cluster();",
        ]

    def _tensor_reads(self) -> list[str]:
        if not self.tensors:
            return []
        reads = " ".join(f"load<{LANES}>({name} + (i64)m * {name}m + n, {name}_v[i]);" for name in self.tensors)
        return [
            "  #pragma unroll",
            "  for (int i = 0; i < TURNS; i++) {",
            "    const int r = begin + i * BY, m = m0 + low + r;",
            f"    if (r < PART && low + r < ROWS && m < M && n < N) {{ {reads} }}",
            "  }",
        ]

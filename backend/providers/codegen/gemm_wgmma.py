"""Matrix products on the tensor cores of compute capability 9.0 (`wgmma`), for sizes at which waiting decides: a cluster of blocks shares
a tile of the result, each sums over a part of K, and the parts meet in shared memory.

Some warps of a block fetch, the others multiply: stages pass between them by two barriers each. The weight lies packed, in the very bytes
that shared memory is to hold, so one thread fetches a stage of it in one go, and does so before the inputs are there. In shared memory,
rows of 64 elements have their 16-byte chunks permuted by the row's number, as `wgmma` reads them without conflicts.
"""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.codegen import cluster, expressions
from trtn.backend.providers.codegen.gemm_tile import DEPTH, LANES, Taps, Tile
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program

__all__ = ["LIBRARY", "GemmSpec", "product"]

INSTRUCTIONS = {"f16": ("f16", 16, ", 0, 0"), "bf16": ("bf16", 16, ", 0, 0"), "f32": ("tf32", 8, "")}
"""By dtype: what products multiply, over how many elements, and that no operand is turned, where one could be."""
EARLY = 16
"""Elements of other operands that a thread reads before it multiplies; more would take registers from the sums."""

LIBRARY = r"""
DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
// A barrier that opens when `count` threads have arrived and the bytes that they announced are there.
DEVICE void start_barrier(u64* barrier, u32 count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(shared_address(barrier)), "r"(count) : "memory");
}
DEVICE void publish_barriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEVICE void arrive_at(u64* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(shared_address(barrier)) : "memory");
}
DEVICE void wait_at(u64* barrier, u32 parity) {
  asm volatile(
      "{\n.reg .pred p;\nWAIT:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra DONE;\nbra WAIT;\nDONE:\n}"
      :: "r"(shared_address(barrier)), "r"(parity) : "memory");
}
// Arrives with the announcement of bytes, and copies them.
DEVICE void copy_bytes(void* to, const void* from, u32 bytes, u64* barrier) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(shared_address(barrier)), "r"(bytes) : "memory");
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
      :: "r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier)) : "memory");
}
// This thread arrives when its copies so far are done. Their bytes are in shared memory then, so products may read them without a proxy
// fence (as in CUTLASS); one in the threads that multiply takes longer than the products of a stage.
DEVICE void arrive_copied(u64* barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" :: "r"(shared_address(barrier)) : "memory");
}
// What another block of the cluster has where this one has `from`.
DEVICE void read_other(const float* from, u32 rank, float (&to)[4]) {
  u32 there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(from)), "r"(rank));
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(to[0]), "=f"(to[1]), "=f"(to[2]), "=f"(to[3]) : "r"(there));
}
// A warp group gives registers back, or waits until it has so many a thread.
template <int N> DEVICE void lower_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(N)); }
template <int N> DEVICE void raise_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(N)); }
// Operands of products in shared memory: rows of 128 bytes, chunks permuted by the row's number, 8 rows every 1024 bytes.
DEVICE u64 describe(const void* tile) {
  return (u64)(shared_address(tile) >> 4 & 0x3fff) | (u64)1 << 16 | (u64)64 << 32 | (u64)1 << 62;
}
DEVICE void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Wait until no more than N groups of products are under way.
template <int N> DEVICE void wait_products() { asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory"); }
"""


def product(columns: int, dtype: str) -> str:
    """`multiply_rows`: 64 rows of a times `columns` rows of b, over the 32 bytes of one step, added to the sums."""
    sums, (kind, depth, turned) = columns // 2, INSTRUCTIONS[dtype]
    registers = ", ".join(f"%{n}" for n in range(sums))
    operands = ", ".join(f'"+f"(d[{n // 4}][{n % 4}])' for n in range(sums))
    return f"""
DEVICE void multiply_rows(float (&d)[{columns // 8}][4], const void* a, const void* b, int step, {C_TYPES[dtype]}) {{
  asm volatile("wgmma.mma_async.sync.aligned.m64n{columns}k{depth}.f32.{kind}.{kind} {{{registers}}}, %{sums}, %{sums + 1}, 1, 1, 1{turned};"
      : {operands} : "l"(describe(a) + 2 * step), "l"(describe(b) + 2 * step));
}}
"""


@dataclass(frozen=True, slots=True)
class GemmSpec:
    """y[m, n] = epilogue(sum over k of x[m, k] * w[k, n] + bias[n])."""

    dtype: str
    tile: Tile
    whole: bool
    """Whether all stages of a block are in shared memory at once."""
    taps: Taps | None
    """None: x is a matrix."""
    bias: bool
    epilogue: Program
    channel_operands: int

    accelerated = True

    @property
    def cluster(self) -> int:
        """Blocks of a cluster."""
        return self.tile.parts

    @property
    def machine(self) -> str:
        """What of the source depends on the machine: the emulator of the tests has its own."""
        return LIBRARY + product(self.tile.columns, self.dtype)

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
        window = ["steps", "H", "W", "P", "Q", "before", "left"] if self.taps else []
        sizes = ["M", "N", "C", "octets", "stages", *window]
        strides = [*(["xn", "xh", "xw"] if self.taps else ["xm"]), *(f"{n}m" for n in (*self.tensors, "y"))]
        return ", ".join([*pointers, *(f"const int {n}" for n in (*sizes, *strides))])

    def source(self) -> str:
        t, stored = self.tile, C_TYPES[self.dtype]
        early = len(self.tensors) * t.turns * LANES <= EARLY
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                cluster.LIBRARY,
                self.machine,
                f'extern "C" __global__ void CLUSTER({t.parts}) __launch_bounds__({t.threads}, 1) kernel({self.parameters()}) {{',
                f"  constexpr int ROWS = {t.rows}, COLUMNS = {t.columns}, PARTS = {t.parts}, STAGES = {t.stages}, STAGE = {t.stage};",
                f"  constexpr int MULTIPLYING = {2 * t.rows}, FETCHING = {32 * t.warps}, LOADS = ROWS * 8 / FETCHING, PITCH = {t.pitch};",
                f"  constexpr int PART = {t.part}, VECTORS = COLUMNS / {LANES}, BY = (FETCHING + MULTIPLYING) / VECTORS, TURNS = {t.turns};",
                "  SHARED_MEMORY(memory);",
                f"  u64 *full = (u64*)(memory + {t.held}), *empty = full + STAGES;",
                "  const int tid = threadIdx.x, lane = tid % 32, warp = __shfl_sync(~0u, tid / 32, 0), part = blockIdx.z;",
                "  const int m0 = blockIdx.y * ROWS, n0 = blockIdx.x * COLUMNS;",
                "  const int first = stages * part / PARTS, count = stages * (part + 1) / PARTS - first;",
                "  if (lane == 0) {",
                f"    for (int s = warp; s < STAGES; s += {t.threads // 32}) {{",
                "      start_barrier(full + s, FETCHING + 1);",
                *([] if self.whole else ["      start_barrier(empty + s, MULTIPLYING / 32);"]),
                "    }",
                "    publish_barriers();",
                "  }",
                "  __syncthreads();",
                *self._places(),
                f"  float sums[{t.columns // 8}][4] = {{}};",
                "  if (tid >= MULTIPLYING) {",
                *(f"    {line}" for line in self._fetch(stored)),
                *(self._tensor_reads() if early else []),
                "  } else {",
                "    WAIT_FOR_INPUTS();",
                "    LET_NEXT_START();",
                *(self._tensor_reads() if early else []),
                *(f"    {line}" for line in self._multiply(stored)),
                "  }",
                "  __syncthreads();",
                *self._finish(early),
                "}",
                "",
            ]
        )

    def _fetch(self, stored: str) -> list[str]:
        """What the fetching warps do: the weight's first stages before x is there."""
        weight = "copy_bytes(memory + slot * STAGE + ROWS * 128, own + (i64)k * octets * 1024, bytes, full + slot);"
        more = [
            "if (k >= STAGES) {",
            "  wait_at(empty + slot, k / STAGES - 1 & 1);",
            f"  if (id == 0) {weight}",
            "}",
        ]
        return [
            "const int id = tid - MULTIPLYING, chunk = id % 8, to = id / 8 * 128 + (chunk ^ id / 8 % 8) * 16;",
            "const u32 bytes = minimum(COLUMNS / 8, octets - n0 / 8) * 1024;",
            "const u8* own = w + ((i64)first * octets + n0 / 8) * 1024;",
            "if (lane == 0)",
            "  for (int k = warp - MULTIPLYING / 32; k < STAGES && k < count; k += FETCHING / 32) {",
            f"    const int slot = k; {weight}",
            "  }",
            *(self._gather_rows(stored) if self.taps else self._matrix_rows(stored)),
            "WAIT_FOR_INPUTS();",
            "LET_NEXT_START();",
            "#pragma unroll 1",
            "for (int k = 0; k < count; k++) {",
            "  const int slot = k % STAGES;",
            *([] if self.whole else (f"  {line}" for line in more)),
            *(self._gather() if self.taps else self._copy()),
            "  arrive_copied(full + slot);",
            "}",
        ]

    def _matrix_rows(self, stored: str) -> list[str]:
        """Where a thread's chunks are: one of every sixteenth row."""
        return [f"const {stored}* from = x + ((i64)(m0 + id / 8) * xm + first * {DEPTH} + chunk * 8);"]

    def _copy(self) -> list[str]:
        return [
            f"  const bool inside = (first + k) * {DEPTH} + chunk * 8 < C;",
            "  #pragma unroll",
            "  for (int i = 0; i < LOADS; i++) {",
            "    const bool there = inside && m0 + id / 8 + i * (FETCHING / 8) < M;",
            f"    copy_16(memory + slot * STAGE + to + i * (FETCHING * 16), there ? from + ((i64)i * (FETCHING / 8) * xm + k * {DEPTH}) : x, there);",
            "  }",
        ]

    def _gather_rows(self, stored: str) -> list[str]:
        """Where the windows of a thread's rows begin."""
        assert self.taps is not None
        down, across = self.taps.strides
        return [
            f"const {stored}* from[LOADS]; int h0[LOADS], w0[LOADS];",
            "#pragma unroll",
            "for (int i = 0; i < LOADS; i++) {",
            "  const int m = m0 + id / 8 + i * (FETCHING / 8), row = m / Q, n = row / P;",
            f"  h0[i] = m < M ? (row - n * P) * {down} - before : -(1 << 20); w0[i] = (m - row * Q) * {across} - left;",
            "  from[i] = x + ((i64)n * xn + (i64)h0[i] * xh + (i64)w0[i] * xw + chunk * 8);",
            "}",
        ]

    def _gather(self) -> list[str]:
        """What one tap of the window meets: 64 channels at a place for each row."""
        assert self.taps is not None
        (_, across), (apart, aside) = self.taps.kernel, self.taps.dilations
        return [
            f"  const int tap = (first + k) / steps, c = (first + k - tap * steps) * {DEPTH};",
            f"  const int h = tap / {across} * {apart}, v = tap % {across} * {aside}, offset = h * xh + v * xw + c;",
            "  #pragma unroll",
            "  for (int i = 0; i < LOADS; i++) {",
            "    const bool there = (u32)(h0[i] + h) < (u32)H && (u32)(w0[i] + v) < (u32)W && c + chunk * 8 < C;",
            "    copy_16(memory + slot * STAGE + to + i * (FETCHING * 16), there ? from[i] + offset : x, there);",
            "  }",
        ]

    def _multiply(self, stored: str) -> list[str]:
        """What the multiplying warps do, each four of them for 64 rows."""
        free = [
            "wait_products<1>();",
            "if (k > 0 && lane == 0) arrive_at(empty + (k - 1) % STAGES);",
        ]
        return [
            # In this form the compiler sees that nothing but products touches the sums on the way.
            "int k = 0;",
            "#pragma unroll 1",
            "do {",
            "  wait_at(full + k % STAGES, k / STAGES & 1);",
            "  const u8* at = memory + k % STAGES * STAGE;",
            "  begin_products();",
            "  #pragma unroll",
            f"  for (int s = 0; s < {DEPTH // 16}; s++) multiply_rows(sums, at + warp / 4 * 8192, at + ROWS * 128, s, {stored}());",
            "  end_products();",
            *([] if self.whole else (f"  {line}" for line in free)),
            "} while (++k < count);",
            "wait_products<0>();",
        ]

    def _places(self) -> list[str]:
        """Which columns and rows a thread finishes, and the constants by column."""
        constants = [*["bias"] * self.bias, *self.channels]
        reads = " ".join(f"load<{LANES}>({name} + n, {name}_v);" for name in constants)
        return [
            f"  const int low = part * PART, begin = tid / VECTORS, c = tid % VECTORS * {LANES}, n = n0 + c;",
            "  const bool mine = begin < BY && n < N;",
            "  auto finishes = [&](int r) { return mine && r < PART && low + r < ROWS && m0 + low + r < M; };",
            *(f"  float {name}_v[{LANES}] = {{}};" for name in constants),
            *([f"  if (mine) {{ {reads} }}"] if constants else []),
            *(f"  float {name}_v[TURNS][{LANES}] = {{}};" for name in self.tensors),
        ]

    def _tensor_reads(self) -> list[str]:
        if not self.tensors:
            return []
        reads = " ".join(f"load<{LANES}>({t} + (i64)(m0 + low + r) * {t}m + n, {t}_v[i]);" for t in self.tensors)
        return [
            "  #pragma unroll",
            f"  for (int i = 0; i < TURNS; i++) {{ const int r = begin + i * BY; if (finishes(r)) {{ {reads} }} }}",
        ]

    def _finish(self, early: bool) -> list[str]:
        """The parts' sums meet, and each block of the cluster finishes some rows of the tile."""
        values = [*(f"{n}_v[j]" for n in self.channels), *(f"{n}_v[i][j]" for n in self.tensors)]
        statements, (value,) = self.epilogue.statements(["total", *values])
        # The blocks begin with themselves, so that not all of them read from the same one.
        read = "read_other(at, (part + p) % PARTS, one[p]);" if self.tile.parts > 1 else "load<4>(at, one[p]);"
        return [
            "  float* sheet = (float*)memory;",
            "  if (tid < MULTIPLYING) {",
            "    #pragma unroll",
            "    for (int j = 0; j < COLUMNS / 8; j++)",
            "      #pragma unroll",
            "      for (int half = 0; half < 2; half++) {",
            "        const float pair[2] = {sums[j][2 * half], sums[j][2 * half + 1]};",
            "        store<2>(sheet + (warp * 16 + half * 8 + lane / 4) * PITCH + j * 8 + lane % 4 * 2, pair);",
            "      }",
            "  }",
            *([] if early else self._tensor_reads()),
            "  if (PARTS > 1) { cluster_arrive(); cluster_wait(); } else __syncthreads();",
            f"  float all[TURNS][{LANES}] = {{}};",
            "  #pragma unroll",
            "  for (int i = 0; i < TURNS; i++) if (finishes(begin + i * BY)) {",
            "    const float* at = sheet + (low + begin + i * BY) * PITCH + c;",
            f"    float one[PARTS][{LANES}];",
            "    #pragma unroll",
            f"    for (int p = 0; p < PARTS; p++) {{ {read} }}",
            "    #pragma unroll",
            "    for (int p = 0; p < PARTS; p++)",
            "      #pragma unroll",
            f"      for (int j = 0; j < {LANES}; j++) all[i][j] += one[p][j];",
            "  }",
            "  #pragma unroll",
            "  for (int i = 0; i < TURNS; i++) if (finishes(begin + i * BY)) {",
            "    #pragma unroll",
            f"    for (int j = 0; j < {LANES}; j++) {{",
            f"      const float total = all[i][j]{' + bias_v[j]' if self.bias else ''};",
            *(f"      {line}" for line in statements),
            f"      all[i][j] = {value};",
            "    }",
            f"    store<{LANES}>(y + (i64)(m0 + low + begin + i * BY) * ym + n, all[i]);",
            "  }",
            # No block may end while another one reads what it has. What was read is there by now: it has been stored.
            "  __syncwarp();",
            "  if (PARTS > 1) { cluster_arrive(); cluster_wait(); }",
        ]

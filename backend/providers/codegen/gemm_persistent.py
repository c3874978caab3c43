"""Matrix products on the tensor cores of compute capability 9.0 (`wgmma`), for sizes at which throughput decides: as many blocks as there
are multiprocessors, each of which finishes one tile after another.

One thread fetches, two groups of four warps multiply. The copy engine fetches tiles of x; the weight lies packed, in the very bytes that
shared memory is to hold. The blocks of a cluster have tiles below each other: each fetches a part of their weight, for all of them.
The groups either share a tile (`together`), or take tiles in turns (`turns`), so that one finishes its tile while the other multiplies.

The columns of the packed weight are permuted, such that the sums that a thread gets are 8 neighbours of a row: results are finished where
they are, in registers, and residuals and results move in 16 bytes a thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.codegen import cluster, expressions, gemm_share, gemm_wgmma
from trtn.backend.providers.codegen.gemm_tile import DEPTH, OCTETS, WIDTH, PersistentTile
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.tensor_map import COPIES
from trtn.dsl.dtypes import BY_NAME

__all__ = ["MULTIPLYING", "REGISTERS", "THREADS", "PersistentSpec"]

LANES = 8
"""Neighbouring columns of a row that a thread finishes at a time."""
MULTIPLYING = 256
"""Threads that multiply, in two groups."""
THREADS = MULTIPLYING + 128
REGISTERS = {96: (512, 24, 176), 176: (THREADS, 40, 232), 192: (THREADS, 24, 240)}
"""By the most registers for sums: threads for which those of a multiprocessor would suffice at the start, and then the registers of a thread
that fetches, and of one that multiplies. Where a block takes fewer than all, kernels before and after it have room to end and to start."""
BARRIERS = 5 * 8
"""Bytes of barriers that each block has: of the order of products and of epilogues of the two groups, and of the sums that arrive."""
PATCH = 2 * 64 * WIDTH
"""Bytes of 64 rows of 32 columns of a 16-bit tensor."""
BUSY = 32
"""Registers of a thread for all else than the sums and what the epilogue reads at once."""
FREE = 56
"""The same where that is read before the products."""

LIBRARY = r"""
// Arrives at the barrier that block `rank` has where this one has its own.
DEVICE void arrive_at_block(u64* barrier, u32 rank) {
  u32 there;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(shared_address(barrier)), "r"(rank));
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" :: "r"(there) : "memory");
}
"""


@dataclass(frozen=True, slots=True)
class PersistentSpec:
    """y[m, n] = epilogue(sum over k of x[m, k] * w[k, n] + bias[n])."""

    dtype: str
    tile: PersistentTile
    bias: bool
    epilogue: Program
    channel_operands: int

    accelerated = True

    @property
    def cluster(self) -> int:
        """Blocks of a cluster."""
        return self.tile.cluster

    @property
    def machine(self) -> str:
        """What of the source depends on the machine: the emulator of the tests has its own."""
        return gemm_wgmma.LIBRARY + COPIES + LIBRARY + gemm_wgmma.product(self.tile.columns, self.dtype)

    @property
    def channels(self) -> dict[str, str]:
        """Constants by column, and their dtypes."""
        dtypes = self.epilogue.inputs[1 : 1 + self.channel_operands]
        return {**({"bias": self.dtype} if self.bias else {}), **{f"e{n}": d for n, d in enumerate(dtypes)}}

    @property
    def tensors(self) -> dict[str, str]:
        """Operands of the result's shape, and their dtypes."""
        return {f"r{n}": d for n, d in enumerate(self.epilogue.inputs[1 + self.channel_operands :])}

    @property
    def _read(self) -> dict[str, str]:
        """The tensors that threads read where they are."""
        return {n: d for n, d in self.tensors.items() if n != self.fetched}

    @property
    def _each(self) -> int:
        """Registers for what a thread reads of a group of columns."""
        kinds = (*self.channels.values(), *(2 * self.tile.blocks * tuple(self._read.values())))
        return sum(2 * BY_NAME[d].itemsize for d in kinds)

    @property
    def registers(self) -> tuple[int, int, int]:
        """Threads that registers would suffice for, registers of a thread that fetches, and of one that multiplies."""
        sums, at_once = self.tile.sums, min(self.tile.columns // WIDTH, 4 // self.tile.blocks) * self._each
        fitting = [r for most, r in REGISTERS.items() if sums <= most]
        return next((r for r in fitting if sums + at_once + BUSY <= r[2]), fitting[-1])

    @property
    def batch(self) -> int:
        """Groups of columns whose operands are read at once: all of them before the products, where registers allow it."""
        groups = self.tile.columns // WIDTH
        if self.tile.sums + groups * self._each <= self.registers[2] - FREE:
            return groups
        return 1 if self.tile.sums > 128 else min(groups, 4 // self.tile.blocks)

    @property
    def fetched(self) -> str | None:
        """The tensor whose tiles are fetched while their products are made. Groups that take turns have no registers to read one ahead."""
        fitting = (n for n, d in self.tensors.items() if BY_NAME[d].itemsize == 2)
        return None if self.tile.together else next(fitting, None)

    @property
    def patches(self) -> int:
        """Patches of a tile of what is fetched."""
        return self.tile.columns // WIDTH * self.tile.blocks if self.fetched else 0

    @property
    def ring(self) -> int:
        """Patches that shared memory holds: at least half of a tile's, for some come only when others were read."""
        least = self.tile.stages(BARRIERS + -(-self.patches // 2) * (PATCH + 16))
        room = cluster.SHARED - BARRIERS - least * (self.tile.stage + 16)
        return min(self.patches, room // (PATCH + 16))

    @property
    def beside(self) -> int:
        """Bytes of shared memory beside the stages: patches with two barriers each or the sums of others, and barriers."""
        return self.ring * (PATCH + 16) + gemm_share.received(self.tile) + BARRIERS

    @property
    def stages(self) -> int:
        return self.tile.stages(self.beside)

    @property
    def dynamic_shared(self) -> int:
        """Bytes of shared memory that a launch asks for."""
        return self.stages * (self.tile.stage + 16) + self.beside

    def parameters(self) -> str:
        result = C_TYPES[self.epilogue.dtype(self.epilogue.results[0])]
        operands = (
            f"CONSTANT_ARGUMENT TensorMap {n}" if n == self.fetched else f"const {C_TYPES[d]}* __restrict__ {n}"
            for n, d in {**self.channels, **self.tensors}.items()
        )
        pointers = ["CONSTANT_ARGUMENT TensorMap x", "const u8* __restrict__ w", *operands, f"{result}* __restrict__ y"]
        sizes = ["M", "N", "octets", "stages", "below", "beside", "band"]
        return ", ".join([*pointers, *(f"const int {n}" for n in (*sizes, *(f"{n}m" for n in (*self.tensors, "y"))))])

    def source(self) -> str:
        t, fetched = self.tile, self.fetched
        arrivals = t.sharers * (8 if t.together else 4)
        meet = "cluster_arrive(); cluster_wait();" if t.cluster > 1 else "__syncthreads();"
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                cluster.LIBRARY,
                self.machine,
                *([gemm_share.LIBRARY] if t.split else []),
                f'extern "C" __global__ void CLUSTER({t.cluster}) __launch_bounds__({self.registers[0]}, 1) kernel({self.parameters()}) {{',
                f"  constexpr int ROWS = {t.rows}, COLUMNS = {t.columns}, BLOCKS = {t.sharers}, STAGES = {self.stages}, STAGE = {t.stage};",
                f"  constexpr int MULTIPLYING = {MULTIPLYING}, TURNS = {1 if t.together else 2}, GROUPS = COLUMNS / {WIDTH}, BATCH = {self.batch}, PARTS = {t.parts};",
                "  SHARED_MEMORY(memory);",
                "  u8* const extra = memory + STAGES * STAGE;",
                f"  u64 *full = (u64*)(extra + {self.ring * PATCH + gemm_share.received(t)}), *empty = full + STAGES, *order = empty + STAGES, *met = order + 4;",
                *(
                    [f"  constexpr int RING = {self.ring};", "  u64 *there = met + 1, *read = there + RING;"]
                    if fetched
                    else []
                ),
                "  const int tid = threadIdx.x, lane = tid % 32, warp = __shfl_sync(~0u, tid / 32, 0), rank = blockIdx.z, part = rank % PARTS;",
                "  if (tid == 0) {",
                "    fetch_map(&x);",
                f"    for (int s = 0; s < STAGES; s++) {{ start_barrier(full + s, 1); start_barrier(empty + s, {arrivals}); }}",
                *([] if t.together else ["    for (int n = 0; n < 4; n++) start_barrier(order + n, 4);"]),
                *(
                    ["    for (int n = 0; n < RING; n++) { start_barrier(there + n, 1); start_barrier(read + n, 4); }"]
                    if fetched
                    else []
                ),
                *([f"    fetch_map(&{fetched});"] if fetched else []),
                *([f"    expect_bytes(met, {gemm_share.expected(t)});"] if t.split else []),
                "    publish_barriers();",
                "  }",
                f"  {meet}",
                "  const int first = stages * part / PARTS, count = stages * (part + 1) / PARTS - first;",
                # Bands of columns whose weight stays in the cache, and in a band all its tiles beside each other, then those below.
                "  const int units = below * beside;",
                "  auto place = [&](int unit, int& m, int& n) {",
                "    const int from = unit / (below * band), inside = unit - from * below * band, wide = lower(band, beside - from * band);",
                "    const int row = inside / wide;",
                "    m = (row * BLOCKS + rank % BLOCKS) * ROWS; n = (from * band + inside - row * wide) * COLUMNS;",
                "  };",
                "  if (tid >= MULTIPLYING) {",
                *(f"    {line}" for line in self._fetch()),
                "  } else {",
                *(f"    {line}" for line in self._multiply()),
                "  }",
                "}",
                "",
            ]
        )

    def _fetch(self) -> list[str]:
        """What the fetching thread does: the weight's first stages before x is there."""
        return [
            f"lower_registers<{self.registers[1]}>();",
            "const int early = lower(STAGES, count);",
            "int m, n;",
            "auto fetch_weight = [&](int slot, int k) {",
            "  const int all = lower(COLUMNS / 8, octets - n / 8), own = lower(COLUMNS / 8 / BLOCKS, all - COLUMNS / 8 / BLOCKS * (rank % BLOCKS));",
            "  announce(full + slot, ROWS * 128 + all * 1024);",
            "  if (own > 0)",
            "    copy_to_blocks<BLOCKS>(memory + slot * STAGE + ROWS * 128 + COLUMNS / 8 / BLOCKS * (rank % BLOCKS) * 1024,",
            "                           w + ((i64)(first + k) * octets + n / 8 + COLUMNS / 8 / BLOCKS * (rank % BLOCKS)) * 1024, own * 1024, full + slot);",
            "};",
            "if (tid == MULTIPLYING) {",
            "  place(blockIdx.x, m, n);",
            "  for (int k = 0; k < early; k++) fetch_weight(k, k);",
            "}",
            "WAIT_FOR_INPUTS();",
            "LET_NEXT_START();",
            "if (tid == MULTIPLYING) {",
            "  int index = 0;",
            "  for (int unit = blockIdx.x; unit < units; unit += gridDim.x) {",
            "    place(unit, m, n);",
            "    #pragma unroll 1",
            "    for (int k = 0; k < count; k++, index++) {",
            "      const int slot = index % STAGES;",
            "      if (index >= STAGES) wait_at(empty + slot, index / STAGES - 1 & 1);",
            "      if (index >= early) fetch_weight(slot, k);",
            f"      copy_tile(memory + slot * STAGE, &x, (first + k) * {2 * DEPTH // BY_NAME[self.dtype].itemsize}, m, full + slot);",
            "    }",
            "  }",
            # The block must not end while those that share its weight have yet to arrive at its barriers.
            "  for (int k = lower(index, STAGES); k > 0; k--) wait_at(empty + (index - k) % STAGES, (index - k) / STAGES & 1);",
            "}",
            *(self._fetch_patches() if self.fetched else []),
        ]

    def _fetch_patches(self) -> list[str]:
        """Another thread fetches patches of an operand of the epilogue, in the order in which they are read."""
        return [
            "if (tid == MULTIPLYING + 32)",
            "  for (int unit = blockIdx.x, index = 0; unit < units; unit += gridDim.x) {",
            "    place(unit, m, n);",
            f"    for (int p = 0; p < {self.patches}; p++, index++) {{",
            "      const int slot = index % RING;",
            "      if (index >= RING) wait_at(read + slot, index / RING - 1 & 1);",
            f"      announce(there + slot, {PATCH});",
            f"      copy_tile(extra + slot * {PATCH}, &{self.fetched}, n + p / {self.tile.blocks} * {WIDTH}, m + p % {self.tile.blocks} * 64, there + slot);",
            "    }",
            "  }",
        ]

    def _multiply(self) -> list[str]:
        """What the multiplying warps do, tile after tile."""
        t, stored = self.tile, C_TYPES[self.dtype]
        groups = t.columns // WIDTH
        early = self.batch == groups
        rows = f"warp / 4 * {t.own_rows}" if t.together else "0"
        own, shared = "lane == 0) arrive_at(empty + last);", "lane < BLOCKS) arrive_at_block(empty + last, lane);"
        release = shared if t.sharers > 1 else own
        return [
            f"raise_registers<{self.registers[2]}>();",
            "WAIT_FOR_INPUTS();",
            "LET_NEXT_START();",
            f"const int beyond = {rows} + warp % 4 * 16 + lane / 4, aside = lane % 4 * {LANES};",
            "#pragma unroll 1",
            f"for (int turn = {'0' if t.together else 'warp / 4'}, unit = blockIdx.x + turn * gridDim.x; unit < units; unit += TURNS * gridDim.x, turn += TURNS) {{",
            "  int m0, n0;",
            "  place(unit, m0, n0);",
            *self._operands(),
            *(["  read_operands(0);"] if early and (self.channels or self._read) else []),
            f"  float sums[{t.blocks}][COLUMNS / 8][4] = {{}};",
            "  int k = 0, slot = turn * count % STAGES, phase = turn * count / STAGES & 1, last;",
            # One group after the other, or one might look for a stage before the one of a round earlier was there.
            *([] if t.together else ["  if (turn > 0) wait_at(order + turn % 2, (turn - 1) / 2 & 1);"]),
            # In this form the compiler sees that nothing but products touches the sums on the way.
            "  #pragma unroll 1",
            "  do {",
            "    wait_at(full + slot, phase);",
            "    const u8* at = memory + slot * STAGE;",
            "    begin_products();",
            "    #pragma unroll",
            f"    for (int s = 0; s < {DEPTH // 16}; s++)",
            "      #pragma unroll",
            f"      for (int b = 0; b < {t.blocks}; b++) multiply_rows(sums[b], at + ({rows} + b * 64) * 128, at + ROWS * 128, s, {stored}());",
            "    end_products();",
            "    wait_products<1>();",
            f"    if (k > 0 && {release}",
            "    last = slot;",
            "    if (++slot == STAGES) { slot = 0; phase ^= 1; }",
            "  } while (++k < count);",
            *([] if t.together else ["  if (lane == 0) arrive_at(order + (turn + 1) % 2);"]),
            "  wait_products<0>();",
            f"  if ({release}",
            *(["  share_sums<PARTS>(sums[0], (float*)extra, part, tid, MULTIPLYING, met);"] if t.split else []),
            *self._finish(early),
            "}",
        ]

    def _operands(self) -> list[str]:
        """Registers for what the epilogue reads of some groups of columns, and how it is read."""
        rows, read = 2 * self.tile.blocks, self._read
        channels = (f"fetch_lanes<{LANES}>({n} + at, {n}_l[g]);" for n in self.channels)
        tensors = (f"fetch_lanes<{LANES}>({n} + (i64)row_of(i) * {n}m + at, {n}_l[g][i]);" for n in read)
        reading = [
            "auto read_operands = [&](int from) {",
            "  #pragma unroll",
            "  for (int g = 0; g < BATCH; g++) {",
            f"    const int at = n0 + (from + g) * {WIDTH} + aside;",
            "    if (from + g < GROUPS && at < N) {",
            f"      {' '.join(channels)}",
            *(
                [
                    "      #pragma unroll",
                    f"      for (int i = 0; i < {rows}; i++) if (((from + g) * 2 + i) % PARTS == part && row_of(i) < M) {{ {' '.join(tensors)} }}",
                ]
                if read
                else []
            ),
            "    }",
            "  }",
            "};",
        ]
        return [
            "  auto row_of = [&](int i) { return m0 + beyond + i * 8 + i / 2 * 48; };",
            *(f"  Lanes<{C_TYPES[d]}, {LANES}> {n}_l[BATCH];" for n, d in self.channels.items()),
            *(f"  Lanes<{C_TYPES[d]}, {LANES}> {n}_l[BATCH][{rows}];" for n, d in read.items()),
            *(f"  {line}" for line in reading if self.channels or read),
        ]

    def _finish(self, early: bool) -> list[str]:
        """Results from the sums, 8 neighbours at a time."""
        values = [f"widen({n}_l[g].at[j])" for n in self.channels if n != "bias"]
        values += [f"widen({n}_l{'' if n == self.fetched else '[g][i]'}.at[j])" for n in self.tensors]
        statements, (value,) = self.epilogue.statements(["total", *values])
        result = C_TYPES[self.epilogue.dtype(self.epilogue.results[0])]
        bias = " + widen(bias_l[g].at[j])" if self.bias else ""
        read = [] if early or not (self.channels or self._read) else ["    read_operands(from);"]
        take, own, give, begin, end = self._patches() if self.fetched else ([],) * 5
        return [
            *begin,
            "  #pragma unroll",
            "  for (int from = 0; from < GROUPS; from += BATCH) {",
            *read,
            "    #pragma unroll",
            "    for (int g = 0; g < BATCH; g++) {",
            f"      const int at = n0 + (from + g) * {WIDTH} + aside;",
            "      if (from + g >= GROUPS) continue;",
            "      #pragma unroll",
            f"      for (int i = 0; i < {2 * self.tile.blocks}; i++) {{",
            *take,
            "        if (((from + g) * 2 + i) % PARTS == part && at < N && row_of(i) < M) {",
            *own,
            f"          float finished[{LANES}];",
            "          #pragma unroll",
            f"          for (int j = 0; j < {LANES}; j++) {{",
            f"            const float total = sums[i / 2][(from + g) % GROUPS * {OCTETS} + j / 2][i % 2 * 2 + j % 2]{bias};",
            *(f"            {line}" for line in statements),
            f"            finished[j] = {value};",
            "          }",
            f"          store<{LANES}, {result}>(y + (i64)row_of(i) * ym + at, finished);",
            "        }",
            *give,
            "      }",
            "    }",
            "  }",
            *end,
        ]

    def _patches(self) -> tuple[list[str], ...]:
        """What is done for a patch before its first and after its last row, and in a row; and at the start and the end of an epilogue, of
        which there is one at a time: who waits for a round of a barrier has to know that all rounds before it are over."""
        assert self.fetched is not None
        kind = C_TYPES[self.tensors[self.fetched]]
        index = f"const int index = turn * {self.patches} + (from + g) * {self.tile.blocks} + i / 2;"
        place = f"(const {kind}*)(extra + index % RING * {PATCH}) + ((row_of(i) - m0) % 64 * 4 + lane % 4) * {LANES}"
        return (
            [f"        {index}", "        if (i % 2 == 0) wait_at(there + index % RING, index / RING & 1);"],
            [f"          Lanes<{kind}, {LANES}> {self.fetched}_l; fetch_lanes<{LANES}>({place}, {self.fetched}_l);"],
            ["        if (i % 2) { __syncwarp(); if (lane == 0) arrive_at(read + index % RING); }"],
            ["  if (turn > 0) wait_at(order + 2 + (turn - 1) % 2, (turn - 1) / 2 & 1);"],
            ["  if (lane == 0) arrive_at(order + 2 + turn % 2);"],
        )

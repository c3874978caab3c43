"""Matrix products whose rows are normalised before they go to memory: the blocks of a cluster have a tile of rows, each some of its
columns. They exchange the statistics of their parts of the rows, so that no row is read again.

One thread of a block fetches, groups of four warps have 64 rows each. Rows of x come once for the cluster: each block fetches some of
them for all. The weight lies packed as in `gemm_persistent`, so that a thread's sums are 8 neighbours of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.codegen import cluster, expressions, gemm_persistent, gemm_wgmma
from trtn.backend.providers.codegen.expressions import literal
from trtn.backend.providers.codegen.gemm_tile import DEPTH, OCTETS, WIDTH, NormTile
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program

__all__ = ["NormalisedSpec"]

LANES = 8
"""Neighbouring columns of a row that a thread finishes at a time."""

LIBRARY = r"""
// A tile of the matrix for the first BLOCKS blocks of the cluster, each of which gets it at the same place, and is told.
template <int BLOCKS> DEVICE void copy_tile_to_blocks(void* to, const TensorMap* map, int column, int row, u64* barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;"
      :: "r"(shared_address(to)), "l"(map), "r"(column), "r"(row), "r"(shared_address(barrier)), "h"((u16)((1 << BLOCKS) - 1)) : "memory");
}
"""


@dataclass(frozen=True, slots=True)
class NormalisedSpec:
    """y[m] = (v[m] - mean) / sqrt(variance + eps) * scale + shift, with v = epilogue(x w + bias); without the mean where it is not `centred`."""

    dtype: str
    tile: NormTile
    bias: bool
    epilogue: Program
    channel_operands: int
    centred: bool
    eps: float
    scale: bool
    shift: bool

    accelerated = True

    @property
    def cluster(self) -> int:
        """Blocks of a cluster."""
        return self.tile.blocks

    @property
    def machine(self) -> str:
        """What of the source depends on the machine: the emulator of the tests has its own."""
        product = gemm_wgmma.product(self.tile.columns, self.dtype)
        return gemm_wgmma.LIBRARY + gemm_persistent.LIBRARY + LIBRARY + product

    @property
    def channels(self) -> dict[str, str]:
        """Constants by column, and their dtypes."""
        dtypes = self.epilogue.inputs[1 : 1 + self.channel_operands]
        own = [*["bias"] * self.bias, *["scale"] * self.scale, *["shift"] * self.shift]
        return {**dict.fromkeys(own, self.dtype), **{f"e{n}": d for n, d in enumerate(dtypes)}}

    @property
    def tensors(self) -> dict[str, str]:
        """Operands of the result's shape, and their dtypes."""
        return {f"r{n}": d for n, d in enumerate(self.epilogue.inputs[1 + self.channel_operands :])}

    def parameters(self) -> str:
        operands = (f"const {C_TYPES[d]}* __restrict__ {n}" for n, d in {**self.channels, **self.tensors}.items())
        pointers = ["CONSTANT_ARGUMENT TensorMap x", "const u8* __restrict__ w", *operands]
        pointers.append(f"{C_TYPES[self.dtype]}* __restrict__ y")
        sizes = ["M", "N", "octets", "stages", *(f"{n}m" for n in (*self.tensors, "y"))]
        return ", ".join([*pointers, *(f"const int {n}" for n in sizes)])

    def source(self) -> str:
        t = self.tile
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                cluster.LIBRARY,
                self.machine,
                f'extern "C" __global__ void CLUSTER({t.blocks}) __launch_bounds__({t.threads}, 1) kernel({self.parameters()}) {{',
                f"  constexpr int ROWS = {t.rows}, COLUMNS = {t.columns}, BLOCKS = {t.blocks}, LOADERS = {t.loaders};",
                f"  constexpr int STAGES = {t.stages}, STAGE = {t.stage}, GROUPS = COLUMNS / {WIDTH}, MULTIPLYING = 2 * ROWS;",
                "  SHARED_MEMORY(memory);",
                "  float* const parts = (float*)(memory + STAGES * STAGE);",
                "  u64 *full = (u64*)(parts + BLOCKS * ROWS * 2), *empty = full + STAGES, *met = empty + STAGES;",
                "  const int tid = threadIdx.x, lane = tid % 32, warp = __shfl_sync(~0u, tid / 32, 0), rank = blockIdx.z;",
                "  const int m0 = blockIdx.x * ROWS, n0 = rank * COLUMNS;",
                "  if (tid == 0) {",
                "    fetch_map(&x);",
                "    for (int s = 0; s < STAGES; s++) {",
                "      start_barrier(full + s, 1);",
                "      start_barrier(empty + s, MULTIPLYING / 32 * (rank < LOADERS ? BLOCKS : 1));",
                "    }",
                "    expect_bytes(met, BLOCKS * ROWS * 8);",
                "    publish_barriers();",
                "  }",
                "  cluster_arrive(); cluster_wait();",
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
            "const int early = lower(STAGES, stages);",
            "auto fetch_weight = [&](int slot, int k) {",
            "  const u32 bytes = lower(COLUMNS / 8, octets - n0 / 8) * 1024;",
            "  announce(full + slot, ROWS * 128 + bytes);",
            "  copy_to_blocks<1>(memory + slot * STAGE + ROWS * 128, w + ((i64)k * octets + n0 / 8) * 1024, bytes, full + slot);",
            "};",
            "if (tid == MULTIPLYING)",
            "  for (int k = 0; k < early; k++) fetch_weight(k, k);",
            "WAIT_FOR_INPUTS();",
            "LET_NEXT_START();",
            "if (tid == MULTIPLYING) {",
            "  #pragma unroll 1",
            "  for (int k = 0; k < stages; k++) {",
            "    const int slot = k % STAGES, own = ROWS / LOADERS * rank;",
            "    if (k >= STAGES) { wait_at(empty + slot, k / STAGES - 1 & 1); fetch_weight(slot, k); }",
            f"    if (rank < LOADERS) copy_tile_to_blocks<BLOCKS>(memory + slot * STAGE + own * 128, &x, k * {DEPTH}, m0 + own, full + slot);",
            "  }",
            # The block must not end while those that share its rows have yet to arrive at its barriers.
            "  for (int k = stages - early; k < stages; k++) wait_at(empty + k % STAGES, k / STAGES & 1);",
            "}",
        ]

    def _multiply(self) -> list[str]:
        """What the multiplying warps do."""
        stored = C_TYPES[self.dtype]
        release = "lane < LOADERS + (rank >= LOADERS)) arrive_at_block(empty + last, lane < LOADERS ? lane : rank);"
        return [
            "WAIT_FOR_INPUTS();",
            "LET_NEXT_START();",
            f"const int first = m0 + warp * 16 + lane / 4, aside = lane % 4 * {LANES};",
            *self._operands(),
            "float sums[COLUMNS / 8][4] = {};",
            "int k = 0, slot = 0, phase = 0, last;",
            # In this form the compiler sees that nothing but products touches the sums on the way.
            "#pragma unroll 1",
            "do {",
            "  wait_at(full + slot, phase);",
            "  const u8* at = memory + slot * STAGE;",
            "  begin_products();",
            "  #pragma unroll",
            f"  for (int s = 0; s < {DEPTH // 16}; s++) multiply_rows(sums, at + warp / 4 * 8192, at + ROWS * 128, s, {stored}());",
            "  end_products();",
            "  wait_products<1>();",
            f"  if (k > 0 && {release}",
            "  last = slot;",
            "  if (++slot == STAGES) { slot = 0; phase ^= 1; }",
            "} while (++k < stages);",
            "wait_products<0>();",
            f"if ({release}",
            *self._values(),
            *self._statistics(),
            *self._write(stored),
        ]

    def _each(self, *body: str) -> list[str]:
        """A loop over groups of a thread's columns: `at` is the first of eight."""
        return [
            "#pragma unroll",
            "for (int g = 0; g < GROUPS; g++) {",
            f"  const int at = n0 + g * {WIDTH} + aside;",
            "  if (at >= N) continue;",
            *(f"  {line}" for line in body),
            "}",
        ]

    def _operands(self) -> list[str]:
        """What the epilogue reads, into registers, while the first stages are on their way."""
        channels = " ".join(f"fetch_lanes<{LANES}>({n} + at, {n}_l[g]);" for n in self.channels)
        tensors = " ".join(
            f"fetch_lanes<{LANES}>({n} + (i64)(first + i * 8) * {n}m + at, {n}_l[g][i]);" for n in self.tensors
        )
        return [
            *(f"Lanes<{C_TYPES[d]}, {LANES}> {n}_l[GROUPS];" for n, d in self.channels.items()),
            *(f"Lanes<{C_TYPES[d]}, {LANES}> {n}_l[GROUPS][2] = {{}};" for n, d in self.tensors.items()),
            *self._each(
                channels,
                "#pragma unroll",
                f"for (int i = 0; i < 2; i++) if (first + i * 8 < M) {{ {tensors} }}",
            ),
        ]

    def _values(self) -> list[str]:
        """Sums become what is normalised."""
        values = [f"widen({n}_l[g].at[j])" for n in self.channels if n.startswith("e")]
        values += [f"widen({n}_l[g][i].at[j])" for n in self.tensors]
        statements, (value,) = self.epilogue.statements(["total", *values])
        bias = " + widen(bias_l[g].at[j])" if self.bias else ""
        return self._each(
            "#pragma unroll",
            "for (int i = 0; i < 2; i++)",
            "  #pragma unroll",
            f"  for (int j = 0; j < {LANES}; j++) {{",
            f"    float& sum = sums[g * {OCTETS} + j / 2][i * 2 + j % 2];",
            f"    const float total = sum{bias};",
            *(f"    {line}" for line in statements),
            f"    sum = {value};",
            "  }",
        )

    def _statistics(self) -> list[str]:
        """The mean and the sum of squares about it of a part of a row, then of the row: Chan, Golub and LeVeque, Updating Formulae and a
        Pairwise Algorithm for Computing Sample Variances. Without a mean, the sum of squares."""
        value = f"sums[g * {OCTETS} + j / 2][i * 2 + j % 2]"
        mean = [
            *(f"  {line}" for line in self._each(f"for (int j = 0; j < {LANES}; j++) mean[i] += {value};")),
            "  mean[i] += __shfl_xor_sync(~0u, mean[i], 1);",
            "  mean[i] += __shfl_xor_sync(~0u, mean[i], 2);",
            "  mean[i] = quick_div(mean[i], own);",
        ]
        apart = "const float d = one[2 * i] - all; " if self.centred else ""
        return [
            "const float own = lower(COLUMNS, N - n0);",
            "float mean[2] = {}, spread[2] = {};",
            "#pragma unroll",
            "for (int i = 0; i < 2; i++) {",
            *(mean if self.centred else []),
            *(
                f"  {line}"
                for line in self._each(
                    f"for (int j = 0; j < {LANES}; j++) {{ const float d = {value} - mean[i]; spread[i] += d * d; }}"
                )
            ),
            "  spread[i] += __shfl_xor_sync(~0u, spread[i], 1);",
            "  spread[i] += __shfl_xor_sync(~0u, spread[i], 2);",
            "}",
            "const float part[4] = {mean[0], spread[0], mean[1], spread[1]};",
            "float* const pair = parts + (warp * 8 + lane / 4) * 4;",
            "#pragma unroll",
            "for (int p = 0; p < BLOCKS; p += 4) if (p + lane % 4 < BLOCKS) send(pair + rank * (ROWS * 2), p + lane % 4, part, met);",
            "wait_for_bytes(met);",
            "float factor[2];",
            "#pragma unroll",
            "for (int i = 0; i < 2; i++) {",
            "  float all = 0.0f, squares = 0.0f;",
            *(
                [
                    "  #pragma unroll",
                    "  for (int p = 0; p < BLOCKS; p++) all += pair[p * (ROWS * 2) + 2 * i] * (float)lower(COLUMNS, N - p * COLUMNS);",
                    "  all = quick_div(all, (float)N);",
                ]
                if self.centred
                else []
            ),
            "  #pragma unroll",
            "  for (int p = 0; p < BLOCKS; p++) {",
            "    const float* one = pair + p * (ROWS * 2);",
            f"    {apart}squares += one[2 * i + 1]{' + d * d * (float)lower(COLUMNS, N - p * COLUMNS)' if self.centred else ''};",
            "  }",
            f"  mean[i] = all; factor[i] = rsqrtf(quick_div(squares, (float)N) + {literal(self.eps, 'f32')});",
            "}",
        ]

    def _write(self, stored: str) -> list[str]:
        value = f"(sums[g * {OCTETS} + j / 2][i * 2 + j % 2] - mean[i]) * factor[i]"
        value += " * widen(scale_l[g].at[j])" * self.scale + " + widen(shift_l[g].at[j])" * self.shift
        return self._each(
            "#pragma unroll",
            "for (int i = 0; i < 2; i++) {",
            "  if (first + i * 8 >= M) continue;",
            f"  float finished[{LANES}];",
            "  #pragma unroll",
            f"  for (int j = 0; j < {LANES}; j++) finished[j] = {value};",
            f"  store<{LANES}, {stored}>(y + (i64)(first + i * 8) * ym + at, finished);",
            "}",
        )

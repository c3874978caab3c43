"""Kernels of the middle of squeeze-and-excitation blocks, which convolve an image, average it, make a scale for each channel of the
averages, and scale the image.

One kernel: a cluster of blocks has an image, each block some channels of some rows, which stay in registers. The first product
is linear in the channels' sums, so each block sends its share of the vector between the products to every other block; one
barrier later each has all of it, finishes the scales of its own channels and writes its part, scaled.

Two kernels, for images that a cluster takes long for: one convolves, on the whole GPU, and leaves sums of some rows; in the
other every block makes the scales that it needs by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trtn.backend.providers.codegen import cluster, expressions
from trtn.backend.providers.codegen.excitation import Stage
from trtn.backend.providers.codegen.image_part import ImagePart, kernel_of, pointers_of
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.backend.providers.codegen.program import Program
from trtn.backend.providers.codegen.rows import ACCUMULATORS, MULTIPROCESSORS

__all__ = ["THREADS", "ClusterSpec", "ConvolveSpec", "Gate", "ScaleSpec", "scale_spec"]

UNIT = 8
"""Channels that are moved together."""
THREADS = 512
"""Of a block that scales."""
MOST_CHANNELS = 192
MOST_TURNS = 4
"""Channels of a block that scales, and vectors of a thread of it."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What makes scales of averages: two products with what follows them; and a program over an element, its channel's scale and
    constants by channel."""

    dtype: str
    stages: tuple[Stage, Stage]
    program: Program

    def operands(self) -> dict[str, str]:
        """Constants by channel of the program, with their C++ types."""
        return {f"g{n}": C_TYPES[d] for n, d in enumerate(self.program.inputs[2:])}

    def pointers(self) -> list[str]:
        vectors = (p for n, stage in enumerate(self.stages) for p in stage.pointers(n, C_TYPES[self.dtype]))
        return [*vectors, *(f"const {kind}* __restrict__ {n}" for n, kind in self.operands().items())]

    def begin(self) -> list[str]:
        """A thread's constants: of one element between the products, and of one channel of the block."""
        first, second = (stage.operands(n) for n, stage in enumerate(self.stages))
        return [
            "const int own_m = lower((int)threadIdx.x, M - 1), own_c = lower(c0 + (int)threadIdx.x, C - 1);",
            *(f"const float {n}_v = load({n} + own_m);" for n in first),
            *(f"const float {n}_v = load({n} + own_c);" for n in second),
        ]

    def between(self, total: str) -> list[str]:
        """Thread m's element between the products, of the sum `total`."""
        return self._stage(0, total, "middle")

    def scales(self, total: str) -> list[str]:
        """Thread k's scale, of the sum `total`."""
        return self._stage(1, total, "scale")

    def _stage(self, number: int, total: str, to: str) -> list[str]:
        stage = self.stages[number]
        names = [f"{n}_v" for n in stage.operands(number)]
        statements, (value,) = stage.epilogue.statements([f"t{number}", *names[stage.bias :]], prefix=f"v{number}_")
        sum_ = " + ".join([total, *names[: stage.bias]])
        return [f"const float t{number} = {sum_};", *statements, f"{to}[threadIdx.x] = {value};"]

    def apply(self, constant: str) -> tuple[str, str]:
        """Statements over `h` and `s`, and the value that they make."""
        statements, (value,) = self.program.statements(["h", "s", *(f"{n}_v[{constant}]" for n in self.operands())])
        return " ".join(statements), value


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """One kernel. Weights lie as [taps, channels], [middle, channels] and [middle, channels]."""

    part: ImagePart
    gate: Gate

    @property
    def cluster(self) -> int:
        return self.part.split.blocks

    @property
    def shared(self) -> int:
        return self.part.split.shared(self.part.taps, self.part.extents.middle)

    def source(self) -> str:
        part, gate = self.part, self.gate
        pointers = [
            *pointers_of(part, ("x", "w", "w0", "w1")),
            *gate.pointers(),
            f"{C_TYPES[part.dtype]}* __restrict__ y",
        ]
        where = (
            "row < KH * KW ? w + row * C : row < KH * KW + M ? w0 + (row - KH * KW) * C : w1 + (row - KH * KW - M) * C"
        )
        statements, value = gate.apply("e")
        body = [
            "LET_NEXT_START();",
            "cluster_arrive();",
            *part.begin("cluster_rank()", "KH * KW + 2 * M", where),
            "float* const scale = sums + STRIPS * OWN;  // [OWN]: first the channels' sums",
            "float* const shares = scale + OWN;  // [BLOCKS][M]",
            "float* const middle = shares + BLOCKS * M;  // [M]",
            *gate.begin(),
            *(f"float {n}_v[2]; load<2>({n} + c, {n}_v);" for n in gate.operands()),
            "WAIT_FOR_INPUTS();",
            *part.read(),
            *part.convolve(),
            *part.add_up("scale[threadIdx.x] = all;"),
            "__syncthreads();",
            "cluster_wait();  // the others have begun",
            *self._share(),
            "if (threadIdx.x < M) {",
            "  float all = 0.0f;",
            "  #pragma unroll",
            "  for (int k = 0; k < BLOCKS; k++) all += shares[k * M + threadIdx.x];",
            *(f"  {line}" for line in gate.between("all * (1.0f / (P * Q))")),
            "}",
            "__syncthreads();",
            "if (threadIdx.x < OWN) {",
            "  float all = 0.0f;",
            "  #pragma unroll 8",
            "  for (int m = 0; m < M; m++) all += load(weights + (KH * KW + M + m) * OWN + threadIdx.x) * middle[m];",
            *(f"  {line}" for line in gate.scales("all")),
            "}",
            "__syncthreads();",
            *part.write(value, f"const float s = scale[2 * pair + e]; {statements}"),
        ]
        return kernel_of(part, pointers, body, f"CLUSTER({part.split.blocks}) ")

    def _share(self) -> list[str]:
        """This block's share of the first product, to all blocks."""
        return [
            "const int lane = threadIdx.x % 32;",
            "#pragma unroll 4",
            "for (int m = threadIdx.x / 32; m < M; m += THREADS / 32) {",
            "  Sum<float> share = {0.0f};",
            "  #pragma unroll",
            "  for (int k = lane; k < OWN / 2; k += 32) {",
            "    float v[2]; load<2>(weights + (KH * KW + m) * OWN + 2 * k, v);",
            "    share.v += v[0] * scale[2 * k] + v[1] * scale[2 * k + 1];",
            "  }",
            "  share = over_team<32>(share, (Sum<float>*)0);",
            "  if (lane < BLOCKS) put_remote(shares + rank * M + m, lane, share.v);",
            "}",
            "cluster_arrive();",
            "cluster_wait();",
        ]


@dataclass(frozen=True, slots=True)
class ConvolveSpec:
    """The first of two kernels: the image as it is, and its channels' sums over the rows of each block, as f32[N, bands, C]."""

    part: ImagePart

    @property
    def shared(self) -> int:
        return self.part.split.shared(self.part.taps, 0)

    def source(self) -> str:
        part = self.part
        pointers = [
            *pointers_of(part, ("x", "w")),
            f"{C_TYPES[part.dtype]}* __restrict__ y",
            "float* __restrict__ made_sums",
        ]
        leave = "if (c0 + threadIdx.x < C) made_sums[((i64)blockIdx.x * (BLOCKS / SLICES) + rank / SLICES) * C + c0 + threadIdx.x] = all;"
        body = [
            "LET_NEXT_START();",
            *part.begin("blockIdx.y", "KH * KW", "w + row * C"),
            "WAIT_FOR_INPUTS();",
            *part.read(),
            *part.convolve(),
            *part.write("h"),
            *part.add_up(leave),
        ]
        return kernel_of(part, pointers, body)


@dataclass(frozen=True, slots=True)
class ScaleSpec:
    """The second: each block scales `turns` times THREADS groups of 8 channels of one of `slices` parts of the channels. The sums of
    `bands` parts of an image lie as f32[N, bands, C]."""

    gate: Gate
    channels: int
    middle: int
    places: int
    bands: int
    slices: int
    turns: int

    @property
    def own(self) -> int:
        """Channels of a block."""
        return UNIT * -(-self.channels // UNIT // self.slices)

    @property
    def shared(self) -> int:
        """Bytes of shared memory: both weights, the averages, the vector between, the scales."""
        return 2 * self.middle * (self.channels + self.own) + 4 * (self.channels + self.own + self.middle)

    @property
    def blocks(self) -> int:
        """Blocks that share a part of the channels of an image."""
        return -(-self.places * (self.own // UNIT) // (THREADS * self.turns))

    def source(self) -> str:
        gate, stored = self.gate, C_TYPES[self.gate.dtype]
        pointers = [
            f"const {stored}* __restrict__ w0", f"const {stored}* __restrict__ w1", *gate.pointers(), f"{stored}* y",
            "const float* sums",
        ]  # fmt: skip
        sizes = {
            "C": self.channels, "M": self.middle, "PLACES": self.places, "BANDS": self.bands, "OWN": self.own, "TURNS": self.turns,
            "THREADS": THREADS,
        }  # fmt: skip
        statements, value = gate.apply("e")
        return "\n".join(
            [
                PRELUDE,
                expressions.LIBRARY,
                ACCUMULATORS,
                cluster.LIBRARY,
                f'extern "C" __global__ void __launch_bounds__({THREADS}) kernel({", ".join(pointers)}, const i64 yn, const int wide, '
                "const int yh, const int yw) {",
                f"  typedef {stored} T;",
                f"  constexpr int {', '.join(f'{n} = {v}' for n, v in sizes.items())};",
                "  SHARED_MEMORY(memory);",
                "  LET_NEXT_START();",
                "  T* const first = (T*)memory;  // [M][C]",
                "  T* const second = first + M * C;  // [M][OWN]",
                "  float* const means = (float*)(second + M * OWN);  // [C]",
                "  float* const scale = means + C;  // [OWN]",
                "  float* const middle = scale + OWN;  // [M]",
                "  const int c0 = blockIdx.z * OWN;",
                "  #pragma unroll 4",
                "  for (int k = threadIdx.x; k < M * (C / 8); k += THREADS) copy_16(first + k * 8, w0 + k * 8, true);",
                "  for (int k = threadIdx.x; k < M * (OWN / 8); k += THREADS) {",
                "    const int at = c0 + k % (OWN / 8) * 8;",
                "    copy_16(second + k * 8, at < C ? w1 + (k / (OWN / 8) * C + at) : w1, at < C);",
                "  }",
                *(f"  {line}" for line in gate.begin()),
                "  WAIT_FOR_INPUTS();",
                "  y += blockIdx.x * yn + c0;",
                "  Lanes<T, 8> held[TURNS];",
                "  int offsets[TURNS];",
                "  #pragma unroll",
                "  for (int t = 0; t < TURNS; t++) {",
                "    const int k = (blockIdx.y * TURNS + t) * THREADS + threadIdx.x, place = k / (OWN / 8), at = k % (OWN / 8) * 8;",
                "    offsets[t] = place < PLACES && c0 + at < C ? place / wide * yh + place % wide * yw + at : -1;",
                "    if (offsets[t] >= 0) fetch_lanes<8>((const T*)y + offsets[t], held[t]);",
                "  }",
                "  sums += (i64)blockIdx.x * BANDS * C;",
                "  for (int k = threadIdx.x; k < C; k += THREADS) {",
                "    float all = 0.0f;",
                "    #pragma unroll 16",
                "    for (int b = 0; b < BANDS; b++) all += sums[b * C + k];",
                "    means[k] = all * (1.0f / PLACES);",
                "  }",
                "  copies_done();",
                "  __syncthreads();",
                *(f"  {line}" for line in self._products()),
                "  #pragma unroll",
                "  for (int t = 0; t < TURNS; t++) if (offsets[t] >= 0) {",
                "    const int at = ((blockIdx.y * TURNS + t) * THREADS + threadIdx.x) % (OWN / 8) * 8;",
                *(f"    float {n}_v[8]; load<8>({n} + c0 + at, {n}_v);" for n in gate.operands()),
                "    float v[8];",
                "    #pragma unroll",
                "    for (int e = 0; e < 8; e++) {",
                f"      const float h = widen(held[t].at[e]), s = scale[at + e]; {statements} v[e] = {value};",
                "    }",
                "    store<8>(y + offsets[t], v);",
                "  }",
                "}",
                "",
            ]
        )

    def _products(self) -> list[str]:
        """A warp makes an element between the products, a thread a scale."""
        return [
            "const int lane = threadIdx.x % 32;",
            "#pragma unroll 2",
            "for (int m = threadIdx.x / 32; m < M; m += THREADS / 32) {",
            "  Sum<float> share = {0.0f};",
            "  #pragma unroll 4",
            "  for (int k = lane; k < C / 2; k += 32) {",
            "    float v[2]; load<2>(first + m * C + 2 * k, v);",
            "    share.v += v[0] * means[2 * k] + v[1] * means[2 * k + 1];",
            "  }",
            "  share = over_team<32>(share, (Sum<float>*)0);",
            "  if (lane == 0) middle[m] = share.v;",
            "}",
            "__syncthreads();",
            "if (threadIdx.x < M) {",
            "  const float all = middle[threadIdx.x];",
            *(f"  {line}" for line in self.gate.between("all")),
            "}",
            "__syncthreads();",
            "if (threadIdx.x < OWN) {",
            "  float all = 0.0f;",
            "  #pragma unroll 8",
            "  for (int m = 0; m < M; m++) all += load(second + m * OWN + threadIdx.x) * middle[m];",
            *(f"  {line}" for line in self.gate.scales("all")),
            "}",
            "__syncthreads();",
        ]


def scale_spec(gate: Gate, channels: int, middle: int, places: int, bands: int, images: int) -> ScaleSpec:
    """The kernel for images of so many places: a vector of channels a thread, more where that fills the GPU anyway."""
    slices = -(-channels // MOST_CHANNELS)
    spec = ScaleSpec(gate, channels, middle, places, bands, slices, 1)
    while spec.turns < MOST_TURNS and images * slices * spec.blocks > 2 * MULTIPROCESSORS:
        spec = replace(spec, turns=2 * spec.turns)
    return spec

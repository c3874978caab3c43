"""Kernels of the middle of squeeze-and-excitation blocks, which convolve an image, average it, make a scale for each channel of the
averages, and scale the image.

One kernel: a cluster of blocks has an image, each block some channels of some rows, which stay in registers. The first product
is linear in the channels' sums, so each block sends its share of the vector between the products to every other block. Once
all shares are there, a block makes the scales of its own channels and writes its part, scaled.

Two kernels, for images that a cluster takes long for: one convolves, on the whole GPU, and leaves sums of some rows; in the
other every block makes the scales that it needs by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trtn.backend.providers.codegen import cluster, expressions
from trtn.backend.providers.codegen.excitation import Stage
from trtn.backend.providers.codegen.image_part import ImagePart, kernel_of, padded, pointers_of
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
        """A thread's constants: of one element between the products, and of the channel whose scale it makes."""
        first, second = (stage.operands(n) for n, stage in enumerate(self.stages))
        return [
            "const int own_m = lower((int)threadIdx.x, M - 1), own_c = lower(c0 + (int)threadIdx.x / BY_CHANNEL, C - 1);",
            *(f"const float {n}_v = load({n} + own_m);" for n in first),
            *(f"const float {n}_v = load({n} + own_c);" for n in second),
        ]

    def first_product(self, weights: str, given: str, count: str, to: str) -> list[str]:
        """Sums over `count` channels for each element between the products, by some lanes of a warp each."""
        return [
            "{",
            "  const int m = lower((int)threadIdx.x / BY_MIDDLE, M - 1), part = threadIdx.x % BY_MIDDLE;",
            "  Sum<float> own = {0.0f};",
            "  #pragma unroll 8",
            f"  for (int k = part; k < {count} / 2; k += BY_MIDDLE) {{",
            f"    float v[2], u[2]; load<2>({weights} + m * {count} + 2 * k, v); load<2>({given} + 2 * k, u);",
            "    own.v += v[0] * u[0] + v[1] * u[1];",
            "  }",
            "  own = over_team<BY_MIDDLE>(own, (Sum<float>*)0);",
            f"  if (part == 0 && threadIdx.x / BY_MIDDLE < M) {to}[m] = own.v;",
            "}",
        ]

    def second_product(self, weights: str) -> list[str]:
        """The scales of the block's channels, by some lanes of a warp each."""
        return [
            "{",
            "  const int k = lower((int)threadIdx.x / BY_CHANNEL, OWN - 1), part = threadIdx.x % BY_CHANNEL;",
            "  Sum<float> own = {0.0f};",
            "  #pragma unroll 12",
            f"  for (int m = part; m < M; m += BY_CHANNEL) own.v += load({weights} + m * OWN + k) * middle[m];",
            "  own = over_team<BY_CHANNEL>(own, (Sum<float>*)0);",
            *(f"  {line}" for line in self._stage(1, "own.v")[0]),
            f"  if (part == 0 && threadIdx.x / BY_CHANNEL < OWN) scale[k] = {self._stage(1, 'own.v')[1]};",
            "}",
        ]

    def between(self, total: str) -> list[str]:
        """Thread m's element between the products, of the sum `total`."""
        statements, value = self._stage(0, total)
        return [*statements, f"middle[threadIdx.x] = {value};"]

    def _stage(self, number: int, total: str) -> tuple[list[str], str]:
        stage = self.stages[number]
        names = [f"{n}_v" for n in stage.operands(number)]
        statements, (value,) = stage.epilogue.statements([f"t{number}", *names[stage.bias :]], prefix=f"v{number}_")
        sum_ = " + ".join([total, *names[: stage.bias]])
        return [f"const float t{number} = {sum_};", *statements], value

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
            *part.begin("cluster_rank()", "KH * KW + 2 * M", where),
            "float* const scale = sums + STRIPS * OWN;  // [OWN]: first the channels' sums",
            "float* const shares = scale + OWN;  // [BLOCKS][MP]",
            "float* const share = shares + BLOCKS * MP;  // [MP]",
            "float* const middle = share + MP;  // [MP]",
            "u64* const arrived = (u64*)(middle + MP);",
            "if (threadIdx.x == 0) expect_bytes(arrived, 4 * BLOCKS * MP);",
            "cluster_arrive();",
            *gate.begin(),
            *(f"float {n}_v[2]; load<2>({n} + c, {n}_v);" for n in gate.operands()),
            "WAIT_FOR_INPUTS();",
            *part.read(),
            *part.convolve(),
            *part.add_up("scale[threadIdx.x] = all;"),
            "__syncthreads();",
            *gate.first_product("weights + KH * KW * OWN", "scale", "OWN", "share"),
            "__syncthreads();",
            "cluster_wait();  // the others have begun",
            "for (int k = threadIdx.x; k < BLOCKS * (MP / 4); k += THREADS) {",
            "  const int four = k % (MP / 4) * 4;",
            "  float v[4]; load<4>(share + four, v);",
            "  send(shares + rank * MP + four, k / (MP / 4), v, arrived);",
            "}",
            "wait_for_bytes(arrived);",
            "if (threadIdx.x < M) {",
            "  float all = 0.0f;",
            "  #pragma unroll",
            "  for (int k = 0; k < BLOCKS; k++) all += shares[k * MP + threadIdx.x];",
            *(f"  {line}" for line in gate.between("all * (1.0f / (P * Q))")),
            "}",
            "__syncthreads();",
            *gate.second_product("weights + (KH * KW + M) * OWN"),
            "__syncthreads();",
            *part.write(value, f"const float s = scale[2 * pair + e]; {statements}"),
        ]
        teams = _teams(part.extents.middle, part.split.channels, part.split.threads)
        return kernel_of(part, pointers, [teams, *body], f"CLUSTER({part.split.blocks}) ")


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
    def parts(self) -> int:
        """Threads that add up a channel's sums."""
        return min(self.bands, max(1, THREADS // self.channels))

    @property
    def shared(self) -> int:
        """Bytes of shared memory: both weights, the averages and their parts, the vector between, the scales."""
        floats = (1 + self.parts) * self.channels + self.own + self.middle
        return 2 * self.middle * (self.channels + self.own) + 4 * floats

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
            "PARTS": self.parts, "THREADS": THREADS,
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
                f"  {_teams(self.middle, self.own, THREADS)}",
                "  SHARED_MEMORY(memory);",
                "  T* const first = (T*)memory;  // [M][C]",
                "  T* const second = first + M * C;  // [M][OWN]",
                "  float* const means = (float*)(second + M * OWN);  // [C]",
                "  float* const scale = means + C;  // [OWN]",
                "  float* const middle = scale + OWN;  // [M]",
                "  float* const partial = middle + M;  // [PARTS][C]",
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
                "  LET_NEXT_START();",
                *(f"  {line}" for line in self._means()),
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

    def _means(self) -> list[str]:
        """The averages, of sums that all threads read side by side."""
        return [
            "sums += (i64)blockIdx.x * BANDS * C;",
            "for (int k = threadIdx.x; k < PARTS * C; k += THREADS) {",
            "  float all = 0.0f;",
            "  #pragma unroll 16",
            "  for (int b = k / C; b < BANDS + k / C; b += PARTS) {",
            "    const float own = sums[lower(b, BANDS - 1) * C + k % C];",
            "    all += b < BANDS ? own : 0.0f;",
            "  }",
            "  partial[k] = all;",
            "}",
            "__syncthreads();",
            "for (int k = threadIdx.x; k < C; k += THREADS) {",
            "  float all = 0.0f;",
            "  #pragma unroll",
            "  for (int p = 0; p < PARTS; p++) all += partial[p * C + k];",
            "  means[k] = all * (1.0f / PLACES);",
            "}",
        ]

    def _products(self) -> list[str]:
        return [
            *self.gate.first_product("first", "means", "C", "middle"),
            "__syncthreads();",
            "if (threadIdx.x < M) {",
            "  const float all = middle[threadIdx.x];",
            *(f"  {line}" for line in self.gate.between("all")),
            "}",
            "__syncthreads();",
            *self.gate.second_product("second"),
            "__syncthreads();",
        ]


def _teams(middle: int, channels: int, threads: int) -> str:
    """The declaration of how many lanes share an element between the products, and a scale."""
    by_middle, by_channel = (min(32, 1 << (threads // n).bit_length() - 1) for n in (middle, channels))
    return f"constexpr int BY_MIDDLE = {by_middle}, BY_CHANNEL = {by_channel}, MP = {padded(middle)};"


def scale_spec(gate: Gate, channels: int, middle: int, places: int, bands: int, images: int) -> ScaleSpec:
    """The kernel for images of so many places: a vector of channels a thread, more where that fills the GPU anyway."""
    slices = -(-channels // MOST_CHANNELS)
    spec = ScaleSpec(gate, channels, middle, places, bands, slices, 1)
    while spec.turns < MOST_TURNS and images * slices * spec.blocks > 2 * MULTIPROCESSORS:
        spec = replace(spec, turns=2 * spec.turns)
    return spec

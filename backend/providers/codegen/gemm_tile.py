"""How a product is divided among blocks, and how its weight lies for them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trtn.backend.providers.base import TacticError
from trtn.backend.providers.codegen import cluster
from trtn.backend.providers.codegen.prelude import C_TYPES, PRELUDE
from trtn.dsl.dtypes import BY_NAME

__all__ = ["DEPTH", "LANES", "OCTETS", "WIDTH", "PackSpec", "PersistentTile", "Taps", "Tile"]

DEPTH = 64
"""16-bit elements of K in a stage: 128 bytes of a row. There are half as many of f32."""
LANES = 4
"""Columns that a thread finishes at a time."""
OCTETS = 4
"""Eights of columns that `PersistentTile` has permuted together."""
WIDTH = 8 * OCTETS
MOST_STAGES = 8
_NAME = re.compile(r"(\d+)x(\d+)\.(together|turns)\.([mk])(\d)")


@dataclass(frozen=True, slots=True)
class Tile:
    """How a kernel divides the work. The text form names a tactic."""

    rows: int
    columns: int
    parts: int
    """Blocks of a cluster, each of which takes a part of K."""
    stages: int
    """Stages in shared memory."""
    warps: int = 4
    """Warps that fetch. With 8 more is on its way at a time, with 4 a block starts sooner."""

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}.c{self.parts}.s{self.stages}.f{self.warps}"

    @property
    def threads(self) -> int:
        return 32 * self.warps + 2 * self.rows

    @property
    def stage(self) -> int:
        """Bytes of a stage."""
        return 2 * DEPTH * (self.rows + self.columns)

    @property
    def pitch(self) -> int:
        """Sums of a row in shared memory: 8 more than columns, so that the rows of a fragment meet different banks."""
        return self.columns + 8

    @property
    def held(self) -> int:
        """Bytes of shared memory that hold the stages, and then the sums."""
        return max(self.stages * self.stage, 4 * self.rows * self.pitch)

    @property
    def shared(self) -> int:
        """Bytes of shared memory: also the two barriers of each stage."""
        return self.held + 16 * self.stages

    @property
    def turns(self) -> int:
        """How often a thread finishes columns."""
        return -(-self.part // (self.threads // (self.columns // LANES)))

    @property
    def part(self) -> int:
        """Rows that a block of a cluster finishes."""
        return -(-self.rows // self.parts)


@dataclass(frozen=True, slots=True)
class PersistentTile:
    """The same for blocks that finish one tile after another, by two groups of warps."""

    rows: int
    columns: int
    together: bool
    """Whether the two groups share each tile, or take tiles in turns."""
    cluster: int
    """Blocks that share the fetched weight, or, where the tile is split, the sum over K."""
    split: bool = False

    def __str__(self) -> str:
        schedule, shared = "together" if self.together else "turns", "k" if self.split else "m"
        return f"{self.rows}x{self.columns}.{schedule}.{shared}{self.cluster}"

    @classmethod
    def parse(cls, name: str) -> PersistentTile | None:
        """The tile that a tactic names, None for another kind of name. Raises TacticError for a tile that can't be."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        rows, columns, schedule, shared, blocks = found.groups()
        tile = cls(int(rows), int(columns), schedule == "together", int(blocks), shared == "k")
        whole = (
            tile.columns % WIDTH == 0 and 0 < tile.columns <= 256 and tile.rows % (128 if tile.together else 64) == 0
        )
        clusters = (2, 3) if tile.split and tile.together else () if tile.split else (1, 2)
        if not whole or tile.blocks not in (1, 2, 3) or tile.cluster not in clusters or tile.sums > 192:
            raise TacticError(f"`{name}` is not among the tiles that there are")
        return tile

    @property
    def parts(self) -> int:
        """Blocks that share the sum over K."""
        return self.cluster if self.split else 1

    @property
    def sharers(self) -> int:
        """Blocks that share the fetched weight."""
        return 1 if self.split else self.cluster

    @property
    def own_rows(self) -> int:
        """Rows of a group."""
        return self.rows // 2 if self.together else self.rows

    @property
    def blocks(self) -> int:
        """Products of 64 rows that a group has."""
        return self.own_rows // 64

    @property
    def sums(self) -> int:
        """Registers of a thread that hold sums."""
        return self.own_rows * self.columns // 128

    @property
    def stage(self) -> int:
        """Bytes of a stage."""
        return 2 * DEPTH * (self.rows + self.columns)

    def stages(self, beside: int) -> int:
        """Stages in shared memory, with two barriers each, where so many bytes are taken by other things."""
        return min((cluster.SHARED - beside) // (self.stage + 16), MOST_STAGES)


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
    permuted: bool = False
    """Whether the columns of each 32 are permuted, such that a thread's sums of four products of 8 columns are 8 neighbours."""

    def source(self) -> str:
        stored, chunk = C_TYPES[self.dtype], 16 // BY_NAME[self.dtype].itemsize
        # In TF32 to the nearest; what comes in by tensor maps is rounded on its way.
        nearest = ["  if (value - value == 0.0f) value = __uint_as_float(__float_as_uint(value) + 0x1000 & ~0x1fff);"]
        column = "octet / 4 * 32 + row / 2 * 8 + octet % 4 * 2 + row % 2" if self.permuted else "octet * 8 + row"
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
                f"  const int row = i / {8 * chunk} % 8, chunk = i / {chunk} % 8 ^ row, atom = i / {64 * chunk}, stage = atom / octets, tap = stage / steps;",
                f"  const int octet = atom % octets, n = {column}, c = (stage % steps * 8 + chunk) * {chunk} + i % {chunk};",
                f"  {stored} value = {{}};",
                f"  if (n < N && c < C) value = w[n * sn + c * sc + tap / {self.across} * sh + tap % {self.across} * sw];",
                *(nearest if self.dtype == "f32" else []),
                "  packed[i] = value;",
                "}",
                "",
            ]
        )

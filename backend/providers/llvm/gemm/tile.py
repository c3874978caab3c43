"""What a microkernel computes at a time."""

from __future__ import annotations

from functools import cache

from trtn.backend.machine_code import has_feature
from trtn.dsl.records import record

__all__ = ["Tile", "host_tile", "tile_for"]

WORTH = 0.9
"""Of the multiplications of the usual tile: what another one has to get along with."""


@record()
class Tile:
    """`rows` by `vectors` vectors of `lanes` f32: the sums that a microkernel has in registers."""

    rows: int
    lanes: int
    vectors: int

    @property
    def columns(self) -> int:
        """The columns of a panel."""
        return self.lanes * self.vectors

    def panels(self, columns: int) -> int:
        """The panels of a matrix of so many columns."""
        return -(-columns // self.columns)


@cache
def host_tile() -> Tile | None:
    """This processor's tile: its sums, a row of a panel and one broadcast element fill the vector registers. None
    without fused multiply-adds over vectors."""
    if has_feature("avx512f"):
        return Tile(12, 16, 2)
    if has_feature("avx2") and has_feature("fma"):
        return Tile(6, 8, 2)
    return None


def tile_for(columns: int) -> Tile | None:
    """The tile for matrices of so many columns: one that is wider and lower where its panels are left less empty."""
    usual = host_tile()
    if usual is None:
        return None
    wide = Tile(usual.rows * usual.vectors // (usual.vectors + 1), usual.lanes, usual.vectors + 1)
    taken = [tile.panels(columns) * tile.columns for tile in (usual, wide)]
    return wide if taken[1] < WORTH * taken[0] else usual

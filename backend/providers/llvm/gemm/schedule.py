"""How a product is cut: chunks that threads take, and runs of terms whose panel stays in the first cache."""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.llvm.gemm.tile import Tile

__all__ = ["Schedule", "is_expected", "schedule"]

RUN = 384
"""Terms of a panel that are taken at a time: 24 KiB of panels of 16."""
BLOCK = 192 << 10
"""Bytes of the rows that are multiplied by one panel after another: they stay in the second cache."""
CHUNK = 1 << 22
"""Floating-point operations, about, that a thread takes at a time."""


@dataclass(frozen=True, slots=True)
class Schedule:
    rows: int
    """Of a chunk; a multiple of the tile's."""
    panels: int
    """Of a chunk."""
    run: int
    """Terms."""

    def row_counts(self, rows: int) -> tuple[int, ...]:
        """The rows that chunks of a product of so many have."""
        return tuple({min(self.rows, rows), rows % self.rows or self.rows})


def schedule(tile: Tile, rows: int, terms: int, columns: int) -> Schedule:
    turns = -(-terms // RUN)
    run = -(-terms // (4 * turns)) * 4
    tiles = -(-rows // tile.rows)
    most = max(BLOCK // (4 * run * tile.rows), 1)
    parts = -(-tiles // most)
    high = -(-tiles // parts) * tile.rows
    panels = tile.panels(columns)
    work = 2 * min(high, rows) * terms * tile.columns
    groups = max(panels * work // CHUNK, 1)
    return Schedule(high, -(-panels // groups), run)


def is_expected(rows: int, terms: int, columns: int) -> bool:
    """Whether the kernel is expected to beat a library's."""
    return rows >= 16 and terms >= 16 and columns >= 16

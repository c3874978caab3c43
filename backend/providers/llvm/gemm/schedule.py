"""How a product is cut: chunks that threads take, and runs of terms whose panel stays in the first cache."""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.providers.llvm.gemm.tile import Tile

__all__ = ["Schedule", "is_expected", "schedule"]

RUN = 384
"""Terms of a panel that are taken at a time: 24 KiB of panels of 16."""
BLOCK = 192 << 10
"""Bytes of the rows that are multiplied by one panel after another: they stay in the second cache."""
MATRIX = 128 << 10
"""Bytes of a whole packed matrix that stays in the second cache beside rows that come and go."""
CHUNKS = 16
"""How many there are at least, so that threads finish together, where that leaves SMALL of them."""
SMALL, LARGE = 1 << 21, 1 << 23
"""Floating-point operations of a chunk: a few times what it takes to wake a thread; no more than helps the caches."""


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
    panels = tile.panels(columns)
    work = min(max(2 * rows * terms * columns // CHUNKS, SMALL), LARGE)
    most = BLOCK // (4 * run)
    if 4 * terms * columns <= MATRIX:
        high = _evenly(tile, rows, min(most, work // (2 * terms * columns)))
        return Schedule(high, panels, run)
    high = _evenly(tile, rows, most)
    groups = max(2 * min(high, rows) * terms * columns // work, 1)
    return Schedule(high, -(-panels // groups), run)


def _evenly(tile: Tile, rows: int, most: int) -> int:
    """Rows of each part where none has more than `most`, if that is a tile's at least."""
    tiles = -(-rows // tile.rows)
    parts = -(-tiles // max(most // tile.rows, 1))
    return -(-tiles // parts) * tile.rows


def is_expected(tile: Tile, rows: int, terms: int, columns: int) -> bool:
    """Whether the kernel is expected to beat a library's: with enough terms to a tile, for what comes before and after
    them, and panels that are nearly full. Measured against oneDNN with AVX2."""
    filled = columns / (tile.panels(columns) * tile.columns)
    return rows >= tile.rows and terms >= 24 and filled >= 0.85

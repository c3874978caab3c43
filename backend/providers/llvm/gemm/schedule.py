"""How a product is cut: chunks that threads take, and runs of terms whose panel stays in the first cache."""

from __future__ import annotations

from trtn.backend.providers.llvm.gemm.tile import Tile
from trtn.dsl.records import record

__all__ = ["Schedule", "is_expected", "schedule"]

RUN = 384
"""Terms of a panel that are taken at a time: 24 KiB of panels of 16."""
BLOCK = 192 << 10
"""Bytes of the rows that are multiplied by one panel after another: they stay in the second cache."""
MATRIX = 128 << 10
"""Bytes of a whole packed matrix that stays in the second cache beside rows that come and go."""
LARGE = 1 << 23
"""Floating-point operations of a chunk: no more than helps the caches."""
SMALL = 1 << 18
"""Of a product that one thread does: some 3 us."""
CHUNK, TILE, TERM, ROW = 300, 40, 1.0, 0.25
"""Cycles beside the multiplications: of a chunk, of a tile, of a panel for each term, of a row for each term."""
LATE = 0.1
"""Of a chunk: how long threads wait for the last one where they have the same to do."""


@record()
class Schedule:
    """Chunks are the same, but for one row, and one panel."""

    across: int
    """Parts of the rows."""
    groups: int
    """Parts of the panels."""
    run: int
    """Terms."""

    def row_counts(self, rows: int) -> tuple[int, ...]:
        """The rows that chunks of a product of so many have."""
        return tuple({rows // self.across, -(-rows // self.across)})


def schedule(tile: Tile, rows: int, terms: int, columns: int, threads: int) -> Schedule:
    """How it is cut for so many threads. Results are the same however it is: each is computed alike in any chunk."""
    turns = -(-terms // RUN)
    run = -(-terms // (4 * turns)) * 4
    panels = tile.panels(columns)
    most = max(BLOCK // (4 * run), tile.rows)
    least = -(-rows // most)
    work = 2 * rows * terms * columns
    if work < SMALL:
        return Schedule(least, 1, run)
    large = -(-work // LARGE)
    if 4 * terms * columns <= MATRIX:
        cuts = [(n, 1) for n in _counts(max(least, large), max(rows // tile.rows, 1), threads)]
    else:
        cuts = [(least, n) for n in _counts(-(-large // least), panels, threads)]
    across, groups = min(cuts, key=lambda cut: _time(tile, rows, terms, panels, threads, *cut))
    return Schedule(across, groups, run)


def _counts(fewest: int, most: int, threads: int) -> range:
    """Into how many parts something may be cut."""
    fewest = min(fewest, most)
    return range(fewest, min(most, fewest + 8 * threads) + 1)


def _time(tile: Tile, rows: int, terms: int, panels: int, threads: int, across: int, groups: int) -> float:
    """About how many cycles the last thread takes."""
    high, wide, chunks = -(-rows // across), -(-panels // groups), across * groups
    tiles = -(-high // tile.rows)
    chunk = CHUNK + wide * (high * terms + tiles * TILE + terms * TERM) + high * terms * ROW
    turns = -(-chunks // threads) if chunks < 8 * threads else chunks / threads
    return (turns + LATE) * chunk


def is_expected(tile: Tile, rows: int, terms: int, columns: int) -> bool:
    """Whether the kernel is expected to beat a library's: with enough terms to a tile, for what comes before and after
    them, and panels that are nearly full. Measured against oneDNN with AVX2."""
    filled = columns / (tile.panels(columns) * tile.columns)
    return rows >= tile.rows and terms >= 24 and filled >= 0.85

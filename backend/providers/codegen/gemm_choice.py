"""Which tiles suit a product: candidates, ranked by a model of their times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from trtn.backend.providers.base import TacticError
from trtn.backend.providers.codegen import cluster
from trtn.backend.providers.codegen.gemm_tile import DEPTH, PersistentTile, Tile
from trtn.backend.providers.codegen.rows import MULTIPROCESSORS

__all__ = ["PERSISTENT", "SHAPES", "Product", "parse_tile", "tiles_for"]

SHAPES = (
    *((64, columns) for columns in (16, 32, 48, 64, 96, 128, 192)),
    *((128, columns) for columns in (32, 64, 128)),
)
"""Rows and columns of a tile that the blocks of a cluster share."""
PARTS = (1, 2, 3, 4, 6, 8)
PERSISTENT = (
    *(PersistentTile(128, columns, True, blocks) for blocks in (2, 1) for columns in range(64, 193, 32)),
    *(PersistentTile(*shape, False, 1) for shape in ((128, 128), (128, 192), (192, 96), (192, 128))),
    *(PersistentTile(128, columns, True, parts, True) for parts in (2, 3) for columns in (96, 128)),
)
"""Tiles of blocks that have one after another."""
SHARED_IN_ALL = 228 * 1024
"""Bytes of shared memory of a multiprocessor; each block takes 1 KiB more than it asks for."""
WHOLE = 16
"""Stages in shared memory at most: that many hold a block's whole part of K."""
LONG = 5
"""Stages of a part from which on more warps may fetch."""
MOST_WORK = 1 << 32
"""Multiplications from which on blocks that share tiles are not worth trying."""
FEWEST_ROWS = 200
"""Rows from which on blocks that finish one tile after another are."""
_NAME = re.compile(r"(\d+)x(\d+)\.c(\d+)\.s(\d+)\.f(\d+)")


@dataclass(frozen=True, slots=True)
class Product:
    """The sizes of a product: rows, columns, channels of x, taps, bytes of an element, and the stages of K that they make."""

    rows: int
    columns: int
    channels: int
    taps: int
    itemsize: int = 2

    @property
    def depth(self) -> int:
        """Elements of K in a stage."""
        return 2 * DEPTH // self.itemsize

    @property
    def steps(self) -> int:
        """Stages of a tap."""
        return -(-self.channels // self.depth)

    @property
    def stages(self) -> int:
        return self.taps * self.steps

    @property
    def work(self) -> int:
        """Multiplications, those of f32 counted twice: they take twice as long."""
        return self.rows * self.columns * self.stages * DEPTH

    @property
    def octets(self) -> int:
        return self.columns // 8


def parse_tile(name: str) -> Tile | PersistentTile:
    """The tile that a tactic names. Raises TacticError for a name that is none, and for a tile that does not fit."""
    if (persistent := PersistentTile.parse(name)) is not None:
        return persistent
    found = _NAME.fullmatch(name)
    if found is None:
        raise TacticError(f"`{name}` names no tile")
    tile = Tile(*map(int, found.groups()))
    if (tile.rows, tile.columns) not in SHAPES or tile.parts not in PARTS:
        raise TacticError(f"`{name}` is not among the tiles that there are")
    if not 0 < tile.stages <= WHOLE or tile.shared > cluster.SHARED or tile.warps not in (4, 8):
        raise TacticError(f"`{name}` has too many stages or warps")
    return tile


def tiles_for(product: Product, window: bool = False) -> list[Tile | PersistentTile]:
    """Tiles for a product, the likeliest first. With a window, rows of x must be gathered, which is not done for f32."""
    found: list[tuple[float, Tile | PersistentTile]] = []
    if product.work <= MOST_WORK and product.itemsize == 2:
        found += [(_time(product, tile), tile) for tile in _candidates(product)]
    if product.rows >= FEWEST_ROWS and not window:
        found += [(_persistent_time(product, tile), tile) for tile in PERSISTENT if tile.parts <= product.stages]
    return [tile for _, tile in sorted(found, key=lambda f: f[0])]


def _candidates(product: Product) -> Iterator[Tile]:
    """As many parts as leave each a stage, and stages for all of a part, or for a few of it."""
    for shape in SHAPES:
        for parts in PARTS:
            if parts > product.stages:
                continue
            part = -(-product.stages // parts)
            fits = cluster.SHARED // (Tile(*shape, parts, 1).stage + 16)
            for stages in sorted({min(part, fits, WHOLE), min(part, 4)}, reverse=True):
                yield Tile(*shape, parts, stages)
                if part >= LONG and shape[0] == 64:
                    yield Tile(*shape, parts, stages, 8)


def _time(product: Product, tile: Tile) -> float:
    """About how many microseconds a launch takes after another one: a sum fitted to measurements on an H200, of use for ranking only."""
    blocks = -(-product.rows // tile.rows) * -(-product.columns // tile.columns) * tile.parts
    part = -(-product.stages // tile.parts)
    resident = max(1, min(SHARED_IN_ALL // (tile.shared + 1024), 2048 // tile.threads))
    waves = -(-blocks // (MULTIPROCESSORS * resident))
    met = 0.4 + 0.17 * tile.parts if tile.parts > 1 else 0.0
    fetched = waves * part * (0.07 if tile.warps == 4 else 0.05) + blocks * part * tile.stage / 7.2e6
    finished = -(-blocks // MULTIPROCESSORS) * tile.rows * tile.columns / 6800
    refilled = 0.36 if part > tile.stages else 0.0
    return 1.9 * (waves - 1) + met + fetched + finished + refilled + 0.03 * (tile.warps - 4)


def _persistent_time(product: Product, tile: PersistentTile) -> float:
    """The same for blocks that finish one tile after another: products of a stage or its bytes, whichever takes longer, and what of the
    epilogues no products hide."""
    units = -(-product.rows // (tile.rows * tile.sharers)) * -(-product.columns // tile.columns)
    turns = -(-units // (MULTIPROCESSORS // tile.cluster))
    area = tile.rows * tile.columns
    stage = max(area / 48500, (tile.rows + tile.columns / tile.sharers) / 700) * (
        1.022 if turns > 1 and tile.sharers > 1 else 1
    )
    products, finished = 0.44 + -(-product.stages // tile.parts) * stage, area / tile.parts / 10300
    met = 0.4 + area / 31000 if tile.split else 0.0
    if tile.together:
        return 1.05 + turns * (products + finished) + met
    return 1.05 + turns * max(products, products / 2 + 2.2 * finished) + finished

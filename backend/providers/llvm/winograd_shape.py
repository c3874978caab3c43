"""Which convolutions Winograd's filtering is for, and with what tiles, by a model of the time on one core."""

from __future__ import annotations

from trtn.backend.evaluate import resolve_attr
from trtn.backend.problem import Problem
from trtn.backend.providers.llvm.family import Unfit
from trtn.dsl.ops.windows import actual_pads
from trtn.dsl.records import record

__all__ = ["FILTER", "TILES", "WinogradShape", "best_tile", "shape_of"]

FILTER = 3
TILES = (4, 2)
PRODUCTS = 90.0
"""GFLOP/s of the products, measured on a Zen 3 core."""
DIRECT = 75.0
"""The same of a library's direct convolution."""
FIXED = 6
"""Channels that would take as long as it takes to begin and to end a sum."""
PANEL = 16
"""What the filters are filled up to a multiple of."""
BANDWIDTH = 20.0
"""GB/s at which packed filters come from memory."""
TRANSFORMS = {2: 13.0, 4: 60.0}
"""Nanoseconds to transform a tile's vector of 8 channels, either way, by the tile's size."""
FEWEST = 16
"""Channels and filters below which there is too little between the transforms."""
MARGIN = 1.15
"""What it has to be faster by than a library's convolution; and larger tiles, whose filters take more than twice the
memory, than smaller ones."""


@record()
class WinogradShape:
    """A 3x3 convolution with stride 1; [height, width] each."""

    batch: int
    channels: int
    filters: int
    size: tuple[int, int]
    before: tuple[int, int]
    """Padding."""
    out: tuple[int, int]

    def grid(self, m: int) -> tuple[int, int]:
        """Tiles of m x m results down and across an image."""
        return -(-self.out[0] // m), -(-self.out[1] // m)

    def tiles(self, m: int) -> int:
        down, across = self.grid(m)
        return self.batch * down * across

    def seconds(self, m: int) -> float:
        """How long it is guessed to take by tiles of m x m, on one core."""
        tiles, positions, filters = self.tiles(m), (m + FILTER - 1) ** 2, -(-self.filters // PANEL) * PANEL
        products = 2 * tiles * positions * (self.channels + FIXED) * filters
        transforms = tiles * (self.channels + self.filters) / 8 * TRANSFORMS[m]
        read = 4 * positions * self.channels * filters
        return 1e-9 * (products / PRODUCTS + transforms + read / BANDWIDTH)

    def direct_seconds(self) -> float:
        """The same of a direct convolution."""
        pixels = self.batch * self.out[0] * self.out[1]
        return 1e-9 * FILTER**2 * self.channels * self.filters * (2 * pixels / DIRECT + 4 / BANDWIDTH)


def shape_of(problem: Problem) -> WinogradShape:
    """The shape of a conv group's convolution, over images channels last. Raises Unfit."""
    layer = problem.group.layers[0]
    if layer.op.name != "conv" or len(problem.outputs) != 1:
        raise Unfit("a transposed convolution, or several results")
    attrs = {name: resolve_attr(value, problem.sizes) for name, value in layer.attrs.items()}
    x, weight, *_ = (problem.layout(t) for t in layer.inputs if t is not None)
    y = problem.outputs[0]
    if weight.shape[2:] != (FILTER, FILTER) or attrs["groups"] != 1:
        raise Unfit("no 3x3 filters over all channels")
    if any(s != 1 for s in (*attrs["strides"], *attrs["dilations"])):
        raise Unfit("strides or dilations")
    if not weight.constant:
        raise Unfit("filters that are no constant")
    if any(a.dtype.name != "f32" for a in (*problem.inputs, *problem.outputs)):
        raise Unfit("numbers other than f32")
    if 0 in (*x.shape, *y.shape) or x.strides[1] != 1 or y.strides[1] != 1:
        raise Unfit("images that don't lie channels last")
    pads = actual_pads(
        x.shape[2:], weight.shape[2:], attrs["strides"], attrs["pads"], attrs["dilations"], attrs["auto_pad"]
    )
    if any(p < 0 for p in pads):
        raise Unfit("padding that takes elements away")
    height, width = x.shape[2:]
    down, across = y.shape[2:]
    return WinogradShape(x.shape[0], x.shape[1], weight.shape[0], (height, width), (pads[0], pads[1]), (down, across))


def best_tile(shape: WinogradShape) -> int | None:
    """The size of the tiles that are guessed to be the fastest; None where a direct convolution is no slower."""
    if min(shape.channels, shape.filters) < FEWEST:
        return None
    larger, smaller = (shape.seconds(m) for m in TILES)
    best, seconds = (TILES[0], larger) if larger * MARGIN < smaller else (TILES[1], smaller)
    return best if seconds * MARGIN < shape.direct_seconds() else None

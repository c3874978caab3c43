"""3x3 convolutions with stride 1 by Winograd's minimal filtering, in blocks of tiles that stay in the second cache.

The patches of a block are transformed; then, for one chunk of the filters after another, come the n^2 products by
positions, and their results are transformed back and finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from llvmlite import ir

from trtn.backend.problem import Problem
from trtn.backend.providers.llvm.conv_epilogue import epilogue_of, pixel_stride
from trtn.backend.providers.llvm.conv_work import Cut, Work, least
from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Unfit, Written
from trtn.backend.providers.llvm.gemm.blocks import heights, write_block
from trtn.backend.providers.llvm.gemm.microkernel import Spot
from trtn.backend.providers.llvm.gemm.threads import cores, share
from trtn.backend.providers.llvm.gemm.tile import Tile, host_tile
from trtn.backend.providers.llvm.winograd_shape import FILTER, WinogradShape, best_tile, shape_of
from trtn.backend.providers.llvm.winograd_transforms import pack_filters, write_input, write_output, write_patch

__all__ = ["write_winograd"]

LEAST = 16
"""Tiles of a block, at least, where there are so many: all filters are read once for each block. With 12 tiles and 512
channels that is what takes the time, and half as much again."""
ALONE = 30e-6
"""Seconds of work that a thread had better do alone: waking another one takes some of it."""
CHUNK = 4
"""Panels of a chunk of the filters."""
RUN = 256
"""Terms of a panel that stay in the first cache."""


def write_winograd(m: int, problem: Problem, tile: Tile | None = None) -> Written:
    """A conv group by tiles of m x m results, for this processor unless its `tile` of products is given. Raises
    Unfit."""
    tile = tile or host_tile()
    if tile is None:
        raise Unfit("no fused multiply-adds over vectors here")
    return _Writer(problem, shape_of(problem), m, tile).written()


class _Writer:
    def __init__(self, problem: Problem, shape: WinogradShape, m: int, tile: Tile) -> None:
        if shape.channels % tile.lanes or shape.filters % tile.lanes:
            raise Unfit("channels that don't fill vectors")
        self.problem, self.shape, self.m, self.tile = problem, shape, m, tile
        self.n = m + FILTER - 1
        self.positions = self.n**2
        self.tiles = shape.tiles(m)
        self.panels = tile.panels(shape.filters)
        self.chunks = -(-self.panels // CHUNK)
        self.width = CHUNK * tile.columns
        self.epilogue = epilogue_of(problem)
        group = problem.group
        number = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        self.x, self.weight = (number[id(t)] for t in group.layers[0].inputs[:2])
        # Rows that are no power of two apart, so that they don't share the sets of a cache.
        self.position = shape.channels + tile.columns
        room = 4 * self.positions * (self.position + self.width)
        threads = 1 if shape.seconds(m) < ALONE else cores()
        self.cut = Cut.of(self.tiles, room, LEAST, self.chunks, threads, tile)
        self.heights = heights(tile, self.cut.counts(self.tiles))
        if self.heights[0] < tile.rows - 1:
            self.heights = tuple(range(1, tile.rows + 1))  # of any other sizes: one text for all of these
        most = self.cut.counts(self.tiles)[1]
        scratch = {
            "patches": most * self.positions * self.position,
            "products": most * self.positions * self.width,
            "patch": self.positions * shape.channels,
            "results": m * m * self.width,
            "starts": 2 * most,
        }
        self.work = Work(self.cut, self.epilogue, self._numbers(), scratch)

    def written(self) -> Written:
        form = f"winograd{self.m}:{self.tile.columns}:{CHUNK}"
        return Written(
            self.text,
            self.work.numbers,
            [(self.weight, form, partial(pack_filters, self.m, self.tile.columns, CHUNK))],
            self.work.workspace,
            self.m == best_tile(self.shape),
            f"winograd {self.m} {self.tile} {self.heights} {self.x} {self.weight}\n{self.epilogue.recipe}",
            shared=self.work.is_shared,
            is_final=True,
        )

    def text(self) -> str:
        arrays = len(self.problem.inputs) + len(self.problem.outputs)
        e = self.e = Emitter(arrays + 2)
        self.input = write_input(e, self.m, self.tile.lanes)
        self.output = write_output(e, self.m, self.tile.lanes, self.width)
        self.patch = write_patch(e, self.n, self.tile.lanes)
        self.block = write_block(e, self.tile, self.heights, None, ragged=False)
        self.finish = self._write_finish()
        pointers = {"x": self.x, "y": arrays - 1, "packed": arrays, "scratch": arrays + 1}
        self.work.write(e, {name: e.pointers[n] for name, n in pointers.items()}, self._unit)
        return e.text()

    def _numbers(self) -> dict[str, int]:
        """What is not in the text."""
        shape, strides = self.shape, self.problem.inputs[self.x].strides
        return {
            "image": strides[0],
            "row": strides[2],
            "column": strides[3],
            "height": shape.size[0],
            "width": shape.size[1],
            "top": shape.before[0],
            "left": shape.before[1],
            "down": shape.grid(self.m)[0],
            "across": shape.grid(self.m)[1],
            "out_height": shape.out[0],
            "out_width": shape.out[1],
            "out_stride": pixel_stride(self.problem.outputs[0]),
            "channels": shape.channels,
            "filters": shape.filters,
            "panels": self.panels,
            "chunks": self.chunks,
            "tiles": self.tiles,
            "position": self.position,
        }

    def _unit(self, v: dict[str, Any]) -> None:
        """A block of tiles times a part of the chunks."""
        e, b = self.e, self.e.b
        first, end = share(e, v["tiles"], v["block"], v["blocks"])
        v |= {"first": first, "count": b.sub(end, first)}
        self._transform(v)
        begin, end = share(e, v["chunks"], v["part"], v["parts"])
        with e.loop(b.sub(end, begin)) as chunk:
            self._chunk(v, b.add(begin, chunk.index))

    def _place(self, v: Mapping[str, Any], tile: Any) -> tuple[Any, Any, Any]:
        """A tile's image, and the first row and column of its results."""
        b = self.e.b
        each = b.mul(v["down"], v["across"])
        rest = b.urem(tile, each)
        return (
            b.udiv(tile, each),
            b.mul(b.udiv(rest, v["across"]), I64(self.m)),
            b.mul(b.urem(rest, v["across"]), I64(self.m)),
        )

    def _transform(self, v: Mapping[str, Any]) -> None:
        """The patches of a block."""
        e, b, n = self.e, self.e.b, self.n
        vectors = b.udiv(v["channels"], I64(self.tile.lanes))
        with e.loop(v["count"]) as each:
            image, top, left = self._place(v, b.add(v["first"], each.index))
            top, left = b.sub(top, v["top"]), b.sub(left, v["left"])
            start = e.at(v["x"], b.mul(image, v["image"]), F32)
            target = e.at(v["patches"], b.mul(each.index, b.mul(v["position"], I64(self.positions))), F32)
            bounds = [
                b.icmp_signed(">=", top, I64(0)),
                b.icmp_signed(">=", left, I64(0)),
                b.icmp_signed("<=", b.add(top, I64(n)), v["height"]),
                b.icmp_signed("<=", b.add(left, I64(n)), v["width"]),
            ]
            with b.if_else(b.and_(b.and_(*bounds[:2]), b.and_(*bounds[2:]))) as (inside, outside):
                with inside:
                    source = e.at(start, b.add(b.mul(top, v["row"]), b.mul(left, v["column"])), F32)
                    b.call(self.input, [source, v["row"], v["column"], target, v["position"], vectors])
                with outside:
                    image_of = [v[name] for name in ("row", "column", "height", "width")]
                    b.call(self.patch, [start, *image_of, top, left, v["patch"], vectors])
                    step = b.mul(v["channels"], I64(n))
                    b.call(self.input, [v["patch"], step, v["channels"], target, v["position"], vectors])

    def _chunk(self, v: Mapping[str, Any], chunk: Any) -> None:
        """The products of a block with a chunk of the filters, and what becomes of them."""
        e, b, tile = self.e, self.e.b, self.tile
        row = self.positions * self.width
        panel = b.mul(chunk, I64(CHUNK))
        panels = least(e, b.sub(v["panels"], panel), I64(CHUNK))
        columns = b.mul(panels, I64(tile.columns))
        stride = b.mul(v["channels"], I64(tile.columns))
        packed = e.at(v["packed"], b.mul(b.mul(panel, I64(self.positions)), stride), F32)
        none = ir.Constant(POINTER, None)
        with e.loop(self.positions) as position:
            with e.loop(v["count"]) as each:
                at = b.add(b.mul(each.index, I64(self.positions)), position.index)
                start = e.at(v["patches"], b.mul(at, v["position"]), F32)
                e.store(start, v["starts"], each.index, POINTER)
            own = e.at(packed, b.mul(position.index, b.mul(panels, stride)), F32)
            out = e.at(v["products"], b.mul(position.index, I64(self.width)), F32)
            sizes = [v["channels"], I64(RUN), out, I64(row)]
            b.call(self.block, [v["starts"], v["count"], own, stride, *sizes, none, I64(0), I64(0), columns])
        column = b.mul(chunk, I64(self.width))
        vectors = b.udiv(least(e, b.sub(v["filters"], column), I64(self.width)), I64(tile.lanes))
        with e.loop(v["count"]) as each:
            image, top, left = self._place(v, b.add(v["first"], each.index))
            b.call(self.output, [e.at(v["products"], b.mul(each.index, I64(row)), F32), v["results"], vectors])
            down = least(e, b.sub(v["out_height"], top), I64(self.m))
            across = least(e, b.sub(v["out_width"], left), I64(self.m))
            with e.loop(down) as i:
                line = b.add(b.mul(image, v["out_height"]), b.add(top, i.index))
                pixel = b.add(b.mul(line, v["out_width"]), left)
                own = e.at(v["results"], b.mul(i.index, I64(self.m * self.width)), F32)
                b.call(self.finish, [own, v["context"], v["y"], v["out_stride"], pixel, across, column, vectors])

    def _write_finish(self) -> Any:
        """A function (results, context, y, stride, pixel, count, column, vectors), for `count` pixels of a row of a
        tile."""
        e, lanes = self.e, self.tile.lanes
        kinds = [POINTER] * 3 + [I64] * 5
        with e.function("finish", kinds, ir.VoidType()) as made:
            results, context, y, stride, first, count, column, vectors = made.args
            b = e.b
            with e.loop(count) as each, e.loop(vectors) as vector:
                channel = b.mul(vector.index, I64(lanes))
                pixel = b.add(first, each.index)
                sums = e.load_vector(results, b.add(b.mul(each.index, I64(self.width)), channel), F32, lanes)
                channel = b.add(column, channel)
                value = self.epilogue.write(e, sums, Spot(context, pixel, channel, None, lanes))
                e.store_vector(value, y, b.add(b.mul(pixel, stride), channel), F32)
            b.ret_void()
        return made

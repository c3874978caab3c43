"""3x3 convolutions with stride 1 by Winograd's minimal filtering, in blocks of tiles that stay in the second cache.

The patches of a block are transformed; then, for one chunk of the filters after another, come the n^2 products by
positions, and their results are transformed back and finished.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

from llvmlite import ir

from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Unfit, Written
from trtn.backend.providers.llvm.gemm.blocks import heights, write_block
from trtn.backend.providers.llvm.gemm.epilogue import Epilogue, Operand
from trtn.backend.providers.llvm.gemm.microkernel import Spot
from trtn.backend.providers.llvm.gemm.threads import parallel_for
from trtn.backend.providers.llvm.gemm.tile import Tile, host_tile
from trtn.backend.providers.llvm.winograd_shape import FILTER, WinogradShape, best_tile, shape_of
from trtn.backend.providers.llvm.winograd_transforms import pack_filters, write_input, write_output, write_patch

__all__ = ["write_winograd"]

BLOCK = 24
"""Tiles of a block, about."""
CHUNK = 4
"""Panels of a chunk of the filters."""
RUN = 256
"""Terms of a panel that stay in the first cache."""
BALANCED = 4
"""Blocks for each thread from which on they share the work evenly enough."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """How the work is cut: units of a block of tiles times a part of the chunks. What it has to do with the number of
    threads changes no result: each is computed alike in any block."""

    blocks: int
    parts: int
    threads: int
    """How many may be at work: each has scratch memory of its own."""

    @classmethod
    def of(cls, tiles: int, chunks: int, threads: int) -> _Cut:
        blocks = -(-tiles // BLOCK)
        parts = 1
        if blocks < BALANCED * threads:
            # Patches are transformed once for each part: a few percent of the work.
            parts = min(chunks, threads)
        blocks = min(blocks + -blocks * parts % threads, tiles)
        return cls(blocks, parts, min(threads, blocks * parts))

    def rows(self, tiles: int) -> tuple[int, int]:
        """The fewest and the most tiles that a block has."""
        return tiles // self.blocks, -(-tiles // self.blocks)


def write_winograd(m: int, problem: Problem) -> Written:
    """A conv group by tiles of m x m results. Raises Unfit."""
    tile = host_tile()
    if tile is None:
        raise Unfit("no fused multiply-adds over vectors here")
    return _Writer(problem, shape_of(problem), m, tile).write()


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
        self.cut = _Cut.of(self.tiles, self.chunks, _cores())
        self.epilogue = _epilogue(problem)
        # Rows that are no power of two apart, so that they don't share the sets of a cache.
        self.position = shape.channels + tile.columns
        most = self.cut.rows(self.tiles)[1]
        self.scratch = {
            "patches": most * self.positions * self.position,
            "products": most * self.positions * self.width,
            "patch": self.positions * shape.channels,
            "results": m * m * self.width,
            "starts": 2 * most,
        }
        """Elements of f32 of each thread's scratch memory, by what for."""

    def write(self) -> Written:
        problem, shape, tile = self.problem, self.shape, self.tile
        layer, group = problem.group.layers[0], problem.group
        number = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        x, w = (number[id(t)] for t in layer.inputs[:2])
        arrays = len(number)
        e = self.e = Emitter(arrays + 2)
        self.input = write_input(e, self.m, tile.lanes)
        self.output = write_output(e, self.m, tile.lanes, self.width)
        self.patch = write_patch(e, self.n, tile.lanes)
        rows = self.cut.rows(self.tiles)
        self.block = write_block(e, tile, heights(tile, rows), None, ragged=False)
        self.finish = self._write_finish()
        strides = problem.inputs[x].strides
        size = sum(-(-n // 16) * 16 for n in self.scratch.values())
        counter = e.table(1)
        e.store(I64(0), counter, I64(0), I64)
        numbers = {
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
            "out_stride": _pixel_stride(problem.outputs[0]),
            "channels": shape.channels,
            "filters": shape.filters,
            "panels": self.panels,
            "chunks": self.chunks,
            "tiles": self.tiles,
            "blocks": self.cut.blocks,
            "parts": self.cut.parts,
            "position": self.position,
            "size": size,
            **{f"at_{name}": at for name, at in zip(self.scratch, self._offsets(), strict=True)},
        }
        values = {
            "x": e.pointers[x],
            "y": e.pointers[arrays - 1],
            "packed": e.pointers[arrays],
            "scratch": e.pointers[arrays + 1],
            "context": self._context(),
            "counter": counter,
            **{name: e.given(value) for name, value in numbers.items()},
        }
        parallel_for(e, e.given(self.cut.threads), list(values.values()), partial(self._work, list(values)))
        form = f"winograd{self.m}:{tile.columns}:{CHUNK}"
        packing = (w, form, partial(pack_filters, self.m, tile.columns, CHUNK))
        expected = self.m == best_tile(shape)
        return Written(e.text(), e.numbers, [packing], 4 * size * self.cut.threads, expected)

    def _context(self) -> Any:
        """What the epilogue reads: address and row stride of each operand."""
        e, operands = self.e, self.epilogue.operands
        context = e.table(2 * len(operands))
        for n, operand in enumerate(operands):
            e.store(e.pointers[operand.number], context, I64(2 * n), POINTER)
            e.store(e.given(operand.stride), context, I64(2 * n + 1), I64)
        return context

    def _offsets(self) -> list[int]:
        """Where each part of the scratch memory starts: at a cache line."""
        return [0, *accumulate(-(-n // 16) * 16 for n in self.scratch.values())][:-1]

    def _work(self, names: Sequence[str], thread: Any, given: Sequence[Any]) -> None:
        """A thread's turn: units, until there are none left."""
        e, b = self.e, self.e.b
        v = dict(zip(names, given, strict=True))
        own = e.at(v["scratch"], b.mul(thread, v["size"]), F32)
        v |= {name: e.at(own, v[f"at_{name}"], F32) for name in self.scratch}
        units = b.mul(v["blocks"], v["parts"])
        head, inside, after = (b.append_basic_block() for _ in range(3))
        b.branch(head)
        b.position_at_end(head)
        unit = b.atomic_rmw("add", v["counter"], I64(1), "monotonic")
        b.cbranch(b.icmp_unsigned("<", unit, units), inside, after)
        b.position_at_end(inside)
        block, part = b.udiv(unit, v["parts"]), b.urem(unit, v["parts"])
        first, end = self._share(v["tiles"], block, v["blocks"])
        v |= {"first": first, "count": b.sub(end, first)}
        self._transform(v)
        begin, end = self._share(v["chunks"], part, v["parts"])
        with e.loop(b.sub(end, begin)) as chunk:
            self._chunk(v, b.add(begin, chunk.index))
        b.branch(head)
        b.position_at_end(after)

    def _share(self, total: Any, number: Any, parts: Any) -> tuple[Any, Any]:
        """Where a part of a total begins and ends; parts are the same but for one."""
        b = self.e.b
        return b.udiv(b.mul(number, total), parts), b.udiv(b.mul(b.add(number, I64(1)), total), parts)

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
        panels = _least(e, b.sub(v["panels"], panel), I64(CHUNK))
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
        vectors = b.udiv(_least(e, b.sub(v["filters"], column), I64(self.width)), I64(tile.lanes))
        with e.loop(v["count"]) as each:
            image, top, left = self._place(v, b.add(v["first"], each.index))
            b.call(self.output, [e.at(v["products"], b.mul(each.index, I64(row)), F32), v["results"], vectors])
            down = _least(e, b.sub(v["out_height"], top), I64(self.m))
            across = _least(e, b.sub(v["out_width"], left), I64(self.m))
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


def _epilogue(problem: Problem) -> Epilogue:
    """What follows the convolution, pixels as rows and channels as columns. Raises Unfit."""
    group = problem.group
    layer = group.layers[0]
    operands: dict[int, Operand] = {}
    for number, t in enumerate(group.inputs):
        if t is layer.inputs[0] or t is layer.inputs[1]:
            continue
        layout = problem.inputs[number]
        if layout.shape == problem.outputs[0].shape:
            operands[id(t)] = Operand(number, _pixel_stride(layout), True)
        else:
            operands[id(t)] = Operand(number, 0, layout.size > 1)
    bias = layer.inputs[2] if len(layer.inputs) > 2 else None
    own = operands.pop(id(bias)) if bias is not None else None
    return Epilogue(layer.outputs[0], own, group.layers[1:], operands)


def _pixel_stride(layout: ArrayLayout) -> int:
    """From one pixel of an image channels last to the next, the same throughout. Raises Unfit."""
    axes = [n for n in (3, 2, 0) if layout.shape[n] > 1]
    step = layout.strides[axes[0]] if axes else layout.shape[1]
    wanted = step
    for n in axes:
        if layout.strides[n] != wanted:
            raise Unfit("pixels that don't lie at equal distances")
        wanted *= layout.shape[n]
    return step


def _cores() -> int:
    """How many cores a run may have."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _least(e: Emitter, x: Any, y: Any) -> Any:
    return e.b.select(e.b.icmp_signed("<", x, y), x, y)

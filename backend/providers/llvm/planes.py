"""Convolutions of images that lie plane by plane and have few channels, as networks get them: what is read for a row of
results is copied, with its padding, to memory in the first cache; results lie channels last.

A result's terms are the elements of a few lines, one for each plane and row of the filter. Tiles of some pixels by some
channels keep their sums in registers, as in a product; in place of a row that is read term by term there is a window in
each line, so that patches are never written out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

from llvmlite import ir

from trtn.backend.evaluate import resolve_attr
from trtn.backend.problem import Problem
from trtn.backend.providers.llvm.conv_epilogue import epilogue_of, pixel_stride, write_context
from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Room, Unfit, Written
from trtn.backend.providers.llvm.gemm.microkernel import Spot
from trtn.backend.providers.llvm.gemm.packing import pack_panels
from trtn.backend.providers.llvm.gemm.threads import cores, parallel_for, parallel_region, share
from trtn.backend.providers.llvm.gemm.tile import Tile, tile_for
from trtn.dsl.ops.windows import actual_pads

__all__ = ["write_planes"]

STACK = 64 << 10
"""Bytes of lines, at most."""
CHANNELS = 8
"""Planes, at most: with more of them channels last is as good."""
CHUNK = 1 << 19
"""Floating-point operations of a piece of work, at least: some 5 us."""


def write_planes(problem: Problem) -> Written:
    """A conv group over images that lie as they are written. Raises Unfit."""
    columns = problem.outputs[0].shape[1] if len(problem.outputs[0].shape) == 4 else 0
    tile = tile_for(columns)
    if tile is None or not columns or columns % tile.columns:
        raise Unfit("no fused multiply-adds over vectors here, or channels that don't fill panels")
    return _Writer(problem, tile).written()


class _Writer:
    def __init__(self, problem: Problem, tile: Tile) -> None:
        self.problem, self.tile = problem, tile
        layer, group = problem.group.layers[0], problem.group
        attrs = {name: resolve_attr(value, problem.sizes) for name, value in layer.attrs.items()}
        x, weight, *_ = (problem.layout(t) for t in layer.inputs if t is not None)
        y = problem.outputs[0]
        if layer.op.name != "conv" or attrs["groups"] != 1 or any(d != 1 for d in attrs["dilations"]):
            raise Unfit("not a plain convolution")
        if not weight.constant or any(a.dtype.name != "f32" for a in (*problem.inputs, *problem.outputs)):
            raise Unfit("filters that are no constant, or numbers other than f32")
        if len(problem.outputs) != 1 or 0 in (*x.shape, *y.shape) or y.strides[1] != 1 or x.strides[3] != 1:
            raise Unfit("several results, or images that lie otherwise")
        if x.shape[1] > CHANNELS or min(x.strides) < 0:
            raise Unfit("images of many channels, or upside down")
        self.epilogue = epilogue_of(problem)
        number = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        self.x, self.weight = (number[id(t)] for t in layer.inputs[:2])
        self.image, self.out, self.kernel = x, y.shape, weight.shape[2:]
        self.strides: Sequence[int] = attrs["strides"]
        pads = actual_pads(x.shape[2:], self.kernel, self.strides, attrs["pads"], attrs["dilations"], attrs["auto_pad"])
        if min(pads) < 0 or y.shape[3] < tile.rows:
            raise Unfit("padding that takes elements away, or rows of a few results")
        self.top, self.left = pads[:2]
        self.lines = x.shape[1] * self.kernel[0]
        reach = (y.shape[3] - 1) * self.strides[1] + self.kernel[1]
        self.length = -(-max(self.left + x.shape[3], reach) // tile.lanes) * tile.lanes
        if 4 * self.lines * self.length > STACK:
            raise Unfit("lines that don't fit the first cache")

    def written(self) -> Written:
        shape = tuple(self.problem.inputs[self.weight].shape)
        return Written(
            self.text,
            [*self._numbers().values(), *(o.stride for o in self.epilogue.operands), parallel_region()],
            [(self.weight, f"llvm:planes{self.tile.columns}:{shape}", partial(_pack, self.tile))],
            recipe=f"planes {self.tile} {self.kernel[1]} {self.strides[1]} {self.x} {self.weight}\n"
            f"{self.epilogue.recipe}",
            shared=self._chunks() > 1,
            is_final=True,
        )

    def _chunks(self) -> int:
        rows = self.out[0] * self.out[2]
        most = 2 * prod(self.out) * self.lines * self.kernel[1] // CHUNK
        return max(min(most, rows, 8 * cores()), 1)

    def _numbers(self) -> dict[str, int]:
        """What is not in the text."""
        tile, x, out = self.tile, self.image, self.out
        return {
            "chunks": self._chunks(),
            "rows": out[0] * out[2],
            "image": x.strides[0],
            "plane": x.strides[1],
            "row": x.strides[2],
            "height": x.shape[2],
            "width": x.shape[3],
            "top": self.top,
            "left": self.left,
            "step": self.strides[0],
            "kernel": self.kernel[0],
            "lines": self.lines,
            "length": self.length,
            "out_height": out[2],
            "out_width": out[3],
            "out_stride": pixel_stride(self.problem.outputs[0]),
            "panels": tile.panels(out[1]),
            "tiles": -(-out[3] // tile.rows),
        }

    def text(self) -> str:
        arrays = len(self.problem.inputs) + len(self.problem.outputs)
        e = self.e = Emitter(arrays + 1)
        self.fill, self.multiply = self._write_fill(), self._write_tile()
        numbers = {name: e.given(value) for name, value in self._numbers().items()}
        context = write_context(e, self.epilogue)
        pointers = {"x": e.pointers[self.x], "y": e.pointers[arrays - 1], "packed": e.pointers[arrays]}
        values = {**pointers, "context": context, **numbers}
        parallel_for(e, numbers["chunks"], list(values.values()), partial(self._chunk, list(values)))
        return e.text()

    def _chunk(self, names: Sequence[str], number: Any, given: Sequence[Any]) -> None:
        """Some rows of results."""
        e, b = self.e, self.e.b
        v = dict(zip(names, given, strict=True))
        first, end = share(e, v["rows"], number, v["chunks"])
        lines = e.table(b.mul(v["lines"], b.udiv(v["length"], I64(2))), b)
        vectors = b.mul(v["lines"], b.udiv(v["length"], I64(self.tile.lanes)))
        zero = e.number(0.0, ir.VectorType(F32, self.tile.lanes))
        with e.loop(vectors) as each:  # the padding beside the image stays
            e.store_vector(zero, lines, b.mul(each.index, I64(self.tile.lanes)), F32)
        width = self.kernel[1]
        v["terms"] = b.mul(v["lines"], I64(width))
        v["offsets"] = e.table(v["terms"], b)
        with e.loop(v["lines"]) as line, e.loop(width) as tap:
            offset = b.add(b.mul(line.index, v["length"]), tap.index)
            e.store(offset, v["offsets"], b.add(b.mul(line.index, I64(width)), tap.index), I64)
        with e.loop(b.sub(end, first)) as each:
            row = b.add(first, each.index)
            self._fill(v, lines, row)
            self._row(v, lines, row)

    def _fill(self, v: Mapping[str, Any], lines: Any, row: Any) -> None:
        """The lines that a row of results is made of."""
        e, b = self.e, self.e.b
        image, down = b.udiv(row, v["out_height"]), b.urem(row, v["out_height"])
        start = b.sub(b.mul(down, v["step"]), v["top"])
        with e.loop(v["lines"]) as each:
            plane, line = b.udiv(each.index, v["kernel"]), b.add(start, b.urem(each.index, v["kernel"]))
            at = b.add(b.add(b.mul(image, v["image"]), b.mul(plane, v["plane"])), b.mul(line, v["row"]))
            target = e.at(lines, b.add(b.mul(each.index, v["length"]), v["left"]), F32)
            there = b.icmp_unsigned("<", line, v["height"])  # as unsigned, those above the image are huge
            source = b.select(there, e.at(v["x"], at, F32), POINTER(None))
            b.call(self.fill, [source, target, v["width"]])

    def _write_fill(self) -> Any:
        """A function (source, target, count): copies a line, or writes zeros where there is no source."""
        e, lanes = self.e, self.tile.lanes
        with e.function("fill", [POINTER, POINTER, I64], ir.VoidType()) as made:
            source, target, count = made.args
            b, zero = e.b, e.number(0.0, ir.VectorType(F32, lanes))
            vectors = b.udiv(count, I64(lanes))
            rest = b.urem(count, I64(lanes))
            done = b.mul(vectors, I64(lanes))
            some = (b.icmp_unsigned(">", vectors, I64(0)), b.icmp_unsigned(">", rest, I64(0)))
            with b.if_else(b.icmp_unsigned("!=", source, POINTER(None))) as (there, nothing):
                with there:
                    with b.if_then(some[0]), e.loop(vectors) as each:
                        at = b.mul(each.index, I64(lanes))
                        e.store_vector(e.load_vector(source, at, F32, lanes), target, at, F32)
                    with b.if_then(some[1]), e.loop(rest) as each:
                        at = b.add(done, each.index)
                        e.store(e.load(source, at, F32), target, at, F32)
                with nothing:
                    with b.if_then(some[0]), e.loop(vectors) as each:
                        e.store_vector(zero, target, b.mul(each.index, I64(lanes)), F32)
                    with b.if_then(some[1]), e.loop(rest) as each:
                        e.store(F32(0.0), target, b.add(done, each.index), F32)
            b.ret_void()
        return made

    def _row(self, v: Mapping[str, Any], lines: Any, row: Any) -> None:
        """A row of results: the last tile computes some of the one before it again."""
        e, b, tile = self.e, self.e.b, self.tile
        with e.loop(v["panels"]) as panel, e.loop(v["tiles"]) as each:
            column = b.mul(panel.index, I64(tile.columns))
            weights = e.at(v["packed"], b.mul(column, v["terms"]), F32)
            pixel, last = b.mul(each.index, I64(tile.rows)), b.sub(v["out_width"], I64(tile.rows))
            pixel = b.select(b.icmp_unsigned("<", pixel, last), pixel, last)
            source = e.at(lines, b.mul(pixel, I64(self.strides[1])), F32)
            first = b.add(b.mul(row, v["out_width"]), pixel)
            target = [v["y"], v["out_stride"], first, v["context"], column]
            b.call(self.multiply, [source, v["offsets"], v["terms"], weights, *target])

    def _write_tile(self) -> Any:
        """A function (source, offsets, terms, weights, y, stride, pixel, context, column): a tile's results, from `pixel`
        and `column` on. `source` is where the first pixel's window begins in the first line; the terms of all pixels lie
        at `offsets` from there, which are not in the text: elements that are several pixels' terms would take up
        registers."""
        e, tile, step = self.e, self.tile, self.strides[1]
        kinds = [POINTER, POINTER, I64, POINTER, POINTER, I64, I64, POINTER, I64]
        with e.function("multiply", kinds, ir.VoidType()) as made:
            source, offsets, terms, weights, y, stride, first, context, column = made.args
            b = e.b
            zero = e.number(0.0, ir.VectorType(F32, tile.lanes))
            with e.loop(terms, [zero] * (tile.rows * tile.vectors)) as term:
                sums = list(term.carried)
                window = e.at(source, e.load(offsets, term.index, I64), F32)
                own = e.at(weights, b.mul(term.index, I64(tile.columns)), F32)
                factors = [e.load_vector(own, I64(n * tile.lanes), F32, tile.lanes) for n in range(tile.vectors)]
                for p in range(tile.rows):
                    value = e.splat(e.load(window, I64(p * step), F32), tile.lanes)
                    for n, factor in enumerate(factors, p * tile.vectors):
                        sums[n] = e.intrinsic("fma", value, factor, sums[n])
                term.carried = sums
            self._finish(term.carried, y, stride, first, context, column)
            b.ret_void()
        return made

    def _finish(self, sums: Sequence[Any], y: Any, stride: Any, first: Any, context: Any, column: Any) -> None:
        """The epilogue, and the results' way to memory."""
        e, b, tile = self.e, self.e.b, self.tile
        for number, value in enumerate(sums):
            p, n = divmod(number, tile.vectors)
            pixel, channel = b.add(first, I64(p)), b.add(column, I64(n * tile.lanes))
            value = self.epilogue.write(e, value, Spot(context, pixel, channel, None, tile.lanes))
            e.store_vector(value, y, b.add(b.mul(pixel, stride), channel), F32)


def _pack(tile: Tile, weight: Any, *, room: Room) -> Any:
    """Filters [N, C, *k] as panels [N / columns, C * k, columns]."""
    return pack_panels(weight.reshape(weight.shape[0], prod(weight.shape[1:])).T, tile, room)

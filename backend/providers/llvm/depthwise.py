"""Convolutions of each channel by itself, channels last: a few pixels of a row at a time, whose sums stay in registers.

A row of results is a row of tiles. What the first and the last tile would read beyond the image is known when they are
written, and left out; rows of the filter that lie beyond it are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np
from llvmlite import ir

from trtn.backend.evaluate import resolve_attr
from trtn.backend.problem import Problem
from trtn.backend.providers.llvm.conv_epilogue import epilogue_of, pixel_stride, write_context
from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Room, Unfit, Written
from trtn.backend.providers.llvm.gemm.microkernel import Spot
from trtn.backend.providers.llvm.gemm.threads import cores, parallel_for, parallel_region, share
from trtn.backend.providers.llvm.gemm.tile import host_tile
from trtn.dsl.ops.windows import actual_pads
from trtn.dsl.records import record

__all__ = ["write_depthwise"]

NARROWEST, WIDEST = 4, 8
"""Pixels of a tile, whose sums are in registers."""
CHUNK = 1 << 18
"""Floating-point operations of a piece of work: some 5 us."""
WRITTEN = 25
"""Elements of a filter whose rows are written out one after another."""
TAPS = 7
"""Elements of a row of the filter, which are in registers, too."""


@record()
class Span:
    """A tile of `pixels` results side by side; of what it reads, `before` and `after` pixels are not there."""

    pixels: int
    before: int
    after: int


@record()
class Segment:
    """`count` tiles of a span, from result `start` on."""

    span: Span
    count: int
    start: int


@record()
class Shape:
    """[height, width] each."""

    size: tuple[int, int]
    out: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]

    def segments(self) -> list[Segment]:
        """What a row of results is made of: one tile, or a first one, those in between and a last one, which may compute
        some results again, so that few texts serve all widths. Raises Unfit."""
        width, step = self.out[1], self.strides[1]
        before = self.before[1]
        after = max((width - 1) * step + self.kernel[1] - before - self.size[1], 0)
        if width <= WIDEST:
            return [Segment(Span(width, before, after), 1, 0)]
        fitting = []
        for pixels in range(NARROWEST, WIDEST + 1):
            tiles = -(-width // pixels)
            own = width - (tiles - 1) * pixels  # of the last tile, what no other computes
            if (width - pixels) * step >= before and own * step >= after and pixels * step >= before:
                fitting.append((tiles * (pixels + 1), -pixels))
        if not fitting:
            raise Unfit("padding that more than one tile reaches")
        pixels = -min(fitting)[1]
        return [
            Segment(Span(pixels, before, 0), 1, 0),
            Segment(Span(pixels, 0, 0), -(-width // pixels) - 2, pixels),
            Segment(Span(pixels, 0, after), 1, width - pixels),
        ]


def write_depthwise(problem: Problem) -> Written:
    """A conv group of as many groups as channels. Raises Unfit."""
    tile = host_tile()
    if tile is None:
        raise Unfit("no fused multiply-adds over vectors here")
    return _Writer(problem, tile.lanes).written()


class _Writer:
    def __init__(self, problem: Problem, lanes: int) -> None:
        self.problem, self.lanes = problem, lanes
        self.shape = _shape_of(problem)
        self.segments = self.shape.segments()
        self.epilogue = epilogue_of(problem)
        group = problem.group
        number = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        self.x, self.weight = (number[id(t)] for t in group.layers[0].inputs[:2])
        self.image = problem.inputs[self.x]
        if self.image.shape[1] % lanes:
            raise Unfit("channels that don't fill vectors")
        self.strips, self.parts = self._pieces(cores())
        self.is_short = prod(self.shape.kernel) <= WRITTEN

    def written(self) -> Written:
        shape = self.shape
        rows = shape.kernel if self.is_short else shape.kernel[1]
        return Written(
            self.text,
            [*self._numbers().values(), *(o.stride for o in self.epilogue.operands), parallel_region()],
            [(self.weight, f"depthwise:{self.lanes}", partial(pack_filters, self.lanes))],
            recipe=f"depthwise {self.lanes} {[s.span for s in self.segments]} {rows} {shape.strides[1]} "
            f"{self.x} {self.weight}\n{self.epilogue.recipe}",
            shared=self.strips * self.parts > 1,
            is_final=True,
        )

    def _numbers(self) -> dict[str, int]:
        """What is not in the text."""
        shape, image = self.shape, self.image
        segments = list(enumerate(self.segments))
        return {
            "chunks": self.strips * self.parts,
            "parts": self.parts,
            "strips": self.strips,
            "rows": image.shape[0] * shape.out[0],
            "image": image.strides[0],
            "row": image.strides[2],
            "column": image.strides[3],
            "height": shape.size[0],
            "top": shape.before[0],
            "left": shape.before[1],
            "out_height": shape.out[0],
            "out_width": shape.out[1],
            "out_stride": pixel_stride(self.problem.outputs[0]),
            "kernel": shape.kernel[0],
            "step": shape.strides[0],
            "vectors": image.shape[1] // self.lanes,
            **{f"count{n}": segment.count for n, segment in segments},
            **{f"start{n}": segment.start for n, segment in segments},
        }

    def text(self) -> str:
        arrays = len(self.problem.inputs) + len(self.problem.outputs)
        e = self.e = Emitter(arrays + 1)
        spans = dict.fromkeys(segment.span for segment in self.segments)
        self.tiles = {span: self._write_tile(n, span, 0) for n, span in enumerate(spans)}
        lines = self.shape.kernel[0]
        self.whole = {span: self._write_tile(n, span, lines) for n, span in enumerate(spans) if self.is_short}
        numbers = {name: e.given(value) for name, value in self._numbers().items()}
        context = write_context(e, self.epilogue)
        pointers = {"x": e.pointers[self.x], "y": e.pointers[arrays - 1], "packed": e.pointers[arrays]}
        values = {**pointers, "context": context, **numbers}
        parallel_for(e, numbers["chunks"], list(values.values()), partial(self._chunk, list(values)))
        return e.text()

    def _pieces(self, threads: int) -> tuple[int, int]:
        """Into how many strips of rows, and parts of the channels, the work is cut: the same for all threads, if there is
        enough. Channels of small images: their strips would read many rows twice."""
        (y,) = self.problem.outputs
        most = min(2 * y.size * prod(self.shape.kernel) // CHUNK, 4 * threads)
        pieces = most // threads * threads or most
        rows, vectors = y.shape[0] * y.shape[2], y.shape[1] // self.lanes
        if pieces < 2:
            return 1, 1
        if rows < 4 * pieces and vectors >= pieces:
            return 1, pieces
        return min(pieces, rows), 1

    def _chunk(self, names: Sequence[str], number: Any, given: Sequence[Any]) -> None:
        e, b = self.e, self.e.b
        v = dict(zip(names, given, strict=True))
        first, end = share(e, v["rows"], b.udiv(number, v["parts"]), v["strips"])
        begin, stop = share(e, v["vectors"], b.urem(number, v["parts"]), v["parts"])
        with e.loop(b.sub(end, first)) as each:
            self._row(v, b.add(first, each.index), begin, b.sub(stop, begin))

    def _row(self, v: Mapping[str, Any], row: Any, begin: Any, count: Any) -> None:
        """`count` vectors of channels from `begin` on of a row of results."""
        e, b = self.e, self.e.b
        image, down = b.udiv(row, v["out_height"]), b.urem(row, v["out_height"])
        top = b.sub(b.mul(down, v["step"]), v["top"])
        zero = I64(0)
        first = b.select(b.icmp_signed("<", top, zero), b.neg(top), zero)
        left = b.sub(v["height"], top)
        end = b.select(b.icmp_signed("<", left, v["kernel"]), left, v["kernel"])
        at = b.add(b.mul(image, v["image"]), b.mul(b.add(top, first), v["row"]))
        skipped = b.mul(first, I64(self.shape.kernel[1] * self.lanes))
        taps = b.mul(v["kernel"], I64(self.shape.kernel[1] * self.lanes))
        for n, segment in enumerate(self.segments):
            with b.if_then(b.icmp_signed(">", v[f"count{n}"], zero)), e.loop(v[f"count{n}"]) as each:
                column = b.add(v[f"start{n}"], b.mul(each.index, I64(segment.span.pixels)))
                across = b.sub(b.mul(column, I64(self.shape.strides[1])), v["left"])
                source = e.at(v["x"], b.add(at, b.mul(across, v["column"])), F32)
                pixel = b.add(b.mul(row, v["out_width"]), column)
                weights = e.at(v["packed"], skipped, F32)
                sizes = [v["row"], v["column"], b.sub(end, first), weights, taps]
                target = [v["y"], v["out_stride"], pixel, v["context"], begin, count]
                given = [source, *sizes, *target]
                if not self.whole:
                    b.call(self.tiles[segment.span], given)
                    continue
                with b.if_else(b.icmp_unsigned("==", b.sub(end, first), v["kernel"])) as (whole, part):
                    with whole:
                        b.call(self.whole[segment.span], given)
                    with part:
                        b.call(self.tiles[segment.span], given)

    def _write_tile(self, number: int, span: Span, lines: int) -> Any:
        """A function (x, row, column, height, weights, taps, y, stride, pixel, context, begin, count): results of a tile
        from `pixel` on, `count` vectors of channels from `begin` on, for `height` rows of the filter, whose vectors of
        channels are `taps` apart. `lines` is what `height` is, if that is known."""
        e, lanes, kernel, step = self.e, self.lanes, self.shape.kernel[1], self.shape.strides[1]
        kinds = [POINTER, I64, I64, I64, POINTER, I64, POINTER, I64, I64, POINTER, I64, I64]
        with e.function(f"tile{number}_{lines}", kinds, ir.VoidType()) as made:
            x, row, column, height, weights, taps, y, stride, first, context, begin, count = made.args
            b = e.b
            zero = e.number(0.0, ir.VectorType(F32, lanes))
            there = range(span.before, (span.pixels - 1) * step + kernel - span.after)
            offsets = {j: b.mul(column, I64(j)) for j in there}
            with e.loop(count) as each:
                vector = b.add(begin, each.index)
                channel = b.mul(vector, I64(lanes))
                source, filters = e.at(x, channel, F32), e.at(weights, b.mul(vector, taps), F32)

                def add(line: Any, sums: list[Any], source: Any = source, filters: Any = filters) -> list[Any]:
                    start = e.at(source, b.mul(line, row), F32)
                    own = e.at(filters, b.mul(line, I64(kernel * lanes)), F32)
                    factors = [e.load_vector(own, I64(t * lanes), F32, lanes) for t in range(kernel)]
                    for j in there:
                        value = e.load_vector(start, offsets[j], F32, lanes)
                        for t, factor in enumerate(factors):
                            pixel, rest = divmod(j - t, step)
                            if rest == 0 and 0 <= pixel < span.pixels:
                                sums[pixel] = e.intrinsic("fma", value, factor, sums[pixel])
                    return sums

                sums = [zero] * span.pixels
                if lines:
                    for n in range(lines):
                        sums = add(I64(n), sums)
                else:
                    with e.loop(height, sums) as line:
                        line.carried = add(line.index, list(line.carried))
                    sums = line.carried
                self._finish(sums, y, stride, first, context, channel)
            b.ret_void()
        return made

    def _finish(self, sums: Sequence[Any], y: Any, stride: Any, first: Any, context: Any, channel: Any) -> None:
        """The epilogue, written out for each of the sums where it is short."""
        e, b = self.e, self.e.b

        def place(pixel: Any) -> Any:
            return b.add(b.mul(pixel, stride), channel)

        pixels = [b.add(first, I64(n)) for n in range(len(sums))]
        if self.epilogue.is_light:
            spots = [Spot(context, pixel, channel, None, self.lanes) for pixel in pixels]
            sums = [self.epilogue.write(e, value, spot) for value, spot in zip(sums, spots, strict=True)]
        for value, pixel in zip(sums, pixels, strict=True):
            e.store_vector(value, y, place(pixel), F32)
        if not self.epilogue.is_light:
            with e.loop(len(sums)) as each:
                pixel = b.add(first, each.index)
                value = e.load_vector(y, place(pixel), F32, self.lanes)
                value = self.epilogue.write(e, value, Spot(context, pixel, channel, None, self.lanes))
                e.store_vector(value, y, place(pixel), F32)


def pack_filters(lanes: int, weight: Any, *, room: Room) -> Any:
    """Filters [C, 1, *k] of f32 as [C / lanes, *k, lanes]."""
    vectors, taps = weight.shape[0] // lanes, prod(weight.shape[2:])
    packed = room(weight.nbytes).view(np.float32).reshape(vectors, taps, lanes)
    packed[...] = weight.reshape(vectors, lanes, taps).transpose(0, 2, 1)
    return packed


def _shape_of(problem: Problem) -> Shape:
    """The shape of a conv group's convolution, over images channels last. Raises Unfit."""
    layer = problem.group.layers[0]
    attrs = {name: resolve_attr(value, problem.sizes) for name, value in layer.attrs.items()}
    x, weight, *_ = (problem.layout(t) for t in layer.inputs if t is not None)
    y = problem.outputs[0]
    if layer.op.name != "conv" or len(x.shape) != 4 or not attrs["groups"] == x.shape[1] == weight.shape[0]:
        raise Unfit("not a convolution of each channel by itself")
    if any(d != 1 for d in attrs["dilations"]) or len(problem.outputs) != 1:
        raise Unfit("dilations, or several results")
    if not weight.constant or any(a.dtype.name != "f32" for a in (*problem.inputs, *problem.outputs)):
        raise Unfit("filters that are no constant, or numbers other than f32")
    if 0 in (*x.shape, *y.shape) or x.strides[1] != 1 or y.strides[1] != 1:
        raise Unfit("images that don't lie channels last")
    if weight.shape[3] > TAPS:
        raise Unfit("filters that are too wide for the registers")
    size, kernel, strides, out = x.shape[2:], weight.shape[2:], attrs["strides"], y.shape[2:]
    pads = actual_pads(size, kernel, strides, attrs["pads"], attrs["dilations"], attrs["auto_pad"])
    reach = [(o - 1) * s + k for o, s, k in zip(out, strides, kernel, strict=True)]
    beyond = [r - n - p for r, n, p in zip(reach, size, pads[:2], strict=True)]
    if min(pads) < 0 or any(not p < k > n for p, k, n in zip(pads[:2], kernel, beyond, strict=True)):
        raise Unfit("results of padding alone, or padding that takes elements away")
    return Shape(*((pair[0], pair[1]) for pair in (size, out, kernel, strides, pads)))

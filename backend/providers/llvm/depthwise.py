"""Convolutions of each channel by itself, channels last: a few pixels of a row at a time, whose sums stay in registers.

A row of results is a row of tiles. What the first and the last tile would read beyond the image is known when they are
written, and left out; rows of the filter that lie beyond it are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir

from trtn.backend.evaluate import resolve_attr
from trtn.backend.problem import Problem
from trtn.backend.providers.llvm.conv_epilogue import epilogue_of, pixel_stride
from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Room, Unfit, Written
from trtn.backend.providers.llvm.gemm.microkernel import Spot
from trtn.backend.providers.llvm.gemm.threads import parallel_for, parallel_region
from trtn.backend.providers.llvm.gemm.tile import host_tile
from trtn.dsl.ops.windows import actual_pads

__all__ = ["write_depthwise"]

WIDEST = 8
"""Pixels of a tile, whose sums are in registers."""
TAPS = 7
"""Elements of a row of the filter, which are in registers, too."""


@dataclass(frozen=True, slots=True)
class Span:
    """Tiles of `pixels` results side by side; of what each reads, `before` and `after` pixels are not there."""

    pixels: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class _Shape:
    """[height, width] each."""

    size: tuple[int, int]
    out: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]

    def spans(self) -> dict[Span, tuple[int, int]]:
        """What a row of results is made of: how many tiles of a span, from which result on. Raises Unfit."""
        width, step = self.out[1], self.strides[1]
        beyond = (width - 1) * step + self.kernel[1] - self.before[1] - self.size[1]
        tiles = -(-width // WIDEST)
        sizes = [(n + 1) * width // tiles - n * width // tiles for n in range(tiles)]
        ends = (self.before[1], max(beyond, 0))
        if self.before[1] > sizes[0] * step or ends[1] > sizes[-1] * step:
            raise Unfit("padding that is wider than a tile")
        sizes[1:-1] = sorted(sizes[1:-1])
        found: dict[Span, tuple[int, int]] = {}
        start = 0
        for n, size in enumerate(sizes):
            span = Span(size, ends[0] if n == 0 else 0, ends[1] if n == tiles - 1 else 0)
            count, first = found.get(span, (0, start))
            found[span] = (count + 1, first)
            start += size
        return found


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
        self.spans = self.shape.spans()
        self.epilogue = epilogue_of(problem)
        group = problem.group
        number = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        self.x, self.weight = (number[id(t)] for t in group.layers[0].inputs[:2])
        self.image = problem.inputs[self.x]
        if self.image.shape[1] % lanes:
            raise Unfit("channels that don't fill vectors")

    def written(self) -> Written:
        shape = self.shape
        return Written(
            self.text,
            [*self._numbers().values(), *(o.stride for o in self.epilogue.operands), parallel_region()],
            [(self.weight, f"depthwise:{self.lanes}", partial(pack_filters, self.lanes))],
            recipe=f"depthwise {self.lanes} {list(self.spans)} {shape.kernel[1]} {shape.strides[1]} {self.x} {self.weight}"
            f"\n{self.epilogue.recipe}",
            is_final=True,
        )

    def _numbers(self) -> dict[str, int]:
        """What is not in the text."""
        shape, image = self.shape, self.image
        spans = enumerate(self.spans.values())
        return {
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
            **{f"{name}{n}": value for n, pair in spans for name, value in zip(("count", "from"), pair, strict=True)},
        }

    def text(self) -> str:
        arrays = len(self.problem.inputs) + len(self.problem.outputs)
        e = self.e = Emitter(arrays + 1)
        self.tiles = [self._write_tile(n, span) for n, span in enumerate(self.spans)]
        numbers = {name: e.given(value) for name, value in self._numbers().items()}
        context = e.table(2 * len(self.epilogue.operands))
        for n, operand in enumerate(self.epilogue.operands):
            e.store(e.pointers[operand.number], context, I64(2 * n), POINTER)
            e.store(e.given(operand.stride), context, I64(2 * n + 1), I64)
        pointers = {"x": e.pointers[self.x], "y": e.pointers[arrays - 1], "packed": e.pointers[arrays]}
        values = {**pointers, "context": context, **numbers}
        parallel_for(e, numbers["rows"], list(values.values()), partial(self._row, list(values)))
        return e.text()

    def _row(self, names: Sequence[str], row: Any, given: Sequence[Any]) -> None:
        """A row of results."""
        e, b = self.e, self.e.b
        v = dict(zip(names, given, strict=True))
        image, down = b.udiv(row, v["out_height"]), b.urem(row, v["out_height"])
        top = b.sub(b.mul(down, v["step"]), v["top"])
        zero = I64(0)
        first = b.select(b.icmp_signed("<", top, zero), b.neg(top), zero)
        left = b.sub(v["height"], top)
        end = b.select(b.icmp_signed("<", left, v["kernel"]), left, v["kernel"])
        at = b.add(b.mul(image, v["image"]), b.mul(b.add(top, first), v["row"]))
        skipped = b.mul(first, I64(self.shape.kernel[1] * self.lanes))
        taps = b.mul(v["kernel"], I64(self.shape.kernel[1] * self.lanes))
        for n, (span, tile) in enumerate(zip(self.spans, self.tiles, strict=True)):
            with e.loop(v[f"count{n}"]) as each:
                column = b.add(v[f"from{n}"], b.mul(each.index, I64(span.pixels)))
                across = b.sub(b.mul(column, I64(self.shape.strides[1])), v["left"])
                source = e.at(v["x"], b.add(at, b.mul(across, v["column"])), F32)
                pixel = b.add(b.mul(row, v["out_width"]), column)
                weights = e.at(v["packed"], skipped, F32)
                sizes = [v["row"], v["column"], b.sub(end, first), weights, taps]
                b.call(tile, [source, *sizes, v["y"], v["out_stride"], pixel, v["context"], v["vectors"]])

    def _write_tile(self, number: int, span: Span) -> Any:
        """A function (x, row, column, height, weights, taps, y, stride, pixel, context, vectors): results of a tile from
        `pixel` on, for `height` rows of the filter, whose vectors of channels are `taps` apart."""
        e, lanes, kernel, step = self.e, self.lanes, self.shape.kernel[1], self.shape.strides[1]
        kinds = [POINTER, I64, I64, I64, POINTER, I64, POINTER, I64, I64, POINTER, I64]
        with e.function(f"tile{number}", kinds, ir.VoidType()) as made:
            x, row, column, height, weights, taps, y, stride, first, context, vectors = made.args
            b = e.b
            zero = e.number(0.0, ir.VectorType(F32, lanes))
            there = range(span.before, (span.pixels - 1) * step + kernel - span.after)
            offsets = {j: b.mul(column, I64(j)) for j in there}
            with e.loop(vectors) as vector:
                channel = b.mul(vector.index, I64(lanes))
                source, filters = e.at(x, channel, F32), e.at(weights, b.mul(vector.index, taps), F32)
                with e.loop(height, [zero] * span.pixels) as line:
                    sums = list(line.carried)
                    start = e.at(source, b.mul(line.index, row), F32)
                    own = e.at(filters, b.mul(line.index, I64(kernel * lanes)), F32)
                    factors = [e.load_vector(own, I64(t * lanes), F32, lanes) for t in range(kernel)]
                    for j in there:
                        value = e.load_vector(start, offsets[j], F32, lanes)
                        for t, factor in enumerate(factors):
                            pixel, rest = divmod(j - t, step)
                            if rest == 0 and 0 <= pixel < span.pixels:
                                sums[pixel] = e.intrinsic("fma", value, factor, sums[pixel])
                    line.carried = sums
                self._finish(line.carried, y, stride, first, context, channel)
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
    vectors, taps = weight.shape[0] // lanes, int(np.prod(weight.shape[2:]))
    packed = room(weight.nbytes).view(np.float32).reshape(vectors, taps, lanes)
    packed[...] = weight.reshape(vectors, lanes, taps).transpose(0, 2, 1)
    return packed


def _shape_of(problem: Problem) -> _Shape:
    """The shape of a conv group's convolution, over images channels last. Raises Unfit."""
    layer = problem.group.layers[0]
    attrs = {name: resolve_attr(value, problem.sizes) for name, value in layer.attrs.items()}
    x, weight, *_ = (problem.layout(t) for t in layer.inputs if t is not None)
    (y,) = problem.outputs
    if layer.op.name != "conv" or len(x.shape) != 4 or not attrs["groups"] == x.shape[1] == weight.shape[0]:
        raise Unfit("not a convolution of each channel by itself")
    if any(d != 1 for d in attrs["dilations"]):
        raise Unfit("dilations")
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
    return _Shape(*((pair[0], pair[1]) for pair in (size, out, kernel, strides, pads)))

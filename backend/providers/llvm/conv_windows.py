"""Convolutions as products: the windows of a block of results become rows, which are multiplied by all filters while they
are in cache."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

from llvmlite import ir

from trtn.backend.evaluate import resolve_attr
from trtn.backend.problem import Problem
from trtn.backend.providers.llvm.conv_epilogue import epilogue_of, pixel_stride
from trtn.backend.providers.llvm.conv_work import Cut, Work, cores, least, share
from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Room, Unfit, Written
from trtn.backend.providers.llvm.gemm.blocks import heights, write_block
from trtn.backend.providers.llvm.gemm.packing import pack_panels
from trtn.backend.providers.llvm.gemm.schedule import RUN
from trtn.backend.providers.llvm.gemm.tile import Tile, host_tile
from trtn.dsl.ops.windows import actual_pads

__all__ = ["write_windows"]

FEWEST = 48
"""Rows of a block, at least, where there are so many: all filters are read once for each block."""
CHANNELS, FILTERS, TERMS = 16, 32, 256
"""What a product needs at least to be worth more than what it takes to copy the windows, measured against oneDNN with
AVX2."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """[height, width] each."""

    size: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]


def write_windows(problem: Problem) -> Written:
    """A conv group of one group over images. Raises Unfit."""
    tile = host_tile()
    if tile is None:
        raise Unfit("no fused multiply-adds over vectors here")
    return _Writer(problem, _shape_of(problem), tile).written()


class _Writer:
    def __init__(self, problem: Problem, shape: _Shape, tile: Tile) -> None:
        self.problem, self.shape, self.tile = problem, shape, tile
        group, (y,) = problem.group, problem.outputs
        number = {id(t): n for n, t in enumerate((*group.inputs, *group.outputs))}
        self.x, self.weight = (number[id(t)] for t in group.layers[0].inputs[:2])
        self.channels, self.filters = problem.inputs[self.x].shape[1], y.shape[1]
        if self.channels % tile.lanes:
            raise Unfit("channels that don't fill vectors")
        self.epilogue = epilogue_of(problem)
        self.terms = self.channels * prod(shape.kernel)
        self.rows = y.shape[0] * prod(shape.out)
        self.panels = tile.panels(self.filters)
        self.cut = Cut.of(self.rows, 4 * self.terms, FEWEST, self.panels, cores(), tile)
        self.heights = heights(tile, self.cut.counts(self.rows))
        most = self.cut.counts(self.rows)[1]
        self.work = Work(self.cut, self.epilogue, self._numbers(), {"windows": most * self.terms, "starts": 2 * most})

    def written(self) -> Written:
        tile, ragged = self.tile, self.filters % self.tile.columns != 0
        return Written(
            self.text,
            self.work.numbers,
            [(self.weight, f"windows:{tile.columns}", partial(_pack, tile))],
            self.work.workspace,
            self.channels >= CHANNELS and self.filters >= FILTERS and self.terms >= TERMS and not ragged,
            f"windows {tile} {self.heights} {ragged} {self.x} {self.weight}\n{self.epilogue.recipe}",
            is_final=True,
        )

    def text(self) -> str:
        arrays = len(self.problem.inputs) + len(self.problem.outputs)
        e = self.e = Emitter(arrays + 2)
        ragged = self.filters % self.tile.columns != 0
        self.block = write_block(e, self.tile, self.heights, self.epilogue, ragged=ragged)
        self.window = self._write_window()
        pointers = {"x": self.x, "y": arrays - 1, "packed": arrays, "scratch": arrays + 1}
        self.work.write(e, {name: e.pointers[n] for name, n in pointers.items()}, self._unit)
        return e.text()

    def _numbers(self) -> dict[str, int]:
        """What is not in the text."""
        shape, strides = self.shape, self.problem.inputs[self.x].strides
        both = {"size": shape.size, "out": shape.out, "kernel": shape.kernel, "step": shape.strides}
        both |= {"dilation": shape.dilations, "before": shape.before}
        turns = -(-self.terms // RUN)
        return {
            "image": strides[0],
            "row": strides[2],
            "column": strides[3],
            **{f"{name}{axis}": value for name, pair in both.items() for axis, value in zip("yx", pair, strict=True)},
            "out_stride": pixel_stride(self.problem.outputs[0]),
            "vectors": self.channels // self.tile.lanes,
            "filters": self.filters,
            "panels": self.panels,
            "terms": self.terms,
            "run": -(-self.terms // (4 * turns)) * 4,
            "rows": self.rows,
        }

    def _unit(self, v: dict[str, Any]) -> None:
        """A block of rows times a part of the panels."""
        e, b, wide = self.e, self.e.b, I64(self.tile.columns)
        first, end = share(e, v["rows"], v["block"], v["blocks"])
        each = b.mul(v["outy"], v["outx"])
        with e.loop(b.sub(end, first)) as row:
            pixel = b.add(first, row.index)
            image, rest = b.udiv(pixel, each), b.urem(pixel, each)
            places = [b.udiv(rest, v["outx"]), b.urem(rest, v["outx"])]
            top, left = (
                b.sub(b.mul(place, v[f"step{axis}"]), v[f"before{axis}"])
                for axis, place in zip("yx", places, strict=True)
            )
            start = e.at(v["x"], b.mul(image, v["image"]), F32)
            window = e.at(v["windows"], b.mul(row.index, v["terms"]), F32)
            e.store(window, v["starts"], row.index, POINTER)
            names = ("row", "column", "sizey", "sizex", "kernely", "kernelx", "dilationy", "dilationx")
            b.call(self.window, [start, window, top, left, *(v[name] for name in names), v["vectors"]])
        begin, until = share(e, v["panels"], v["part"], v["parts"])
        column = b.mul(begin, wide)
        columns = b.sub(least(e, b.mul(until, wide), v["filters"]), column)
        stride = b.mul(v["terms"], wide)
        panels = e.at(v["packed"], b.mul(begin, stride), F32)
        out = e.at(v["y"], b.add(b.mul(first, v["out_stride"]), column), F32)
        sizes = [b.sub(end, first), panels, stride, v["terms"], v["run"], out, v["out_stride"]]
        b.call(self.block, [v["starts"], *sizes, v["context"], first, column, columns])

    def _write_window(self) -> Any:
        """A function (x, window, top, left, row, column, height, width, down, across, dilation by rows, by columns,
        vectors): what a filter of [down, across] sees of an image from `top` and `left` on, zeros beyond it."""
        e, lanes = self.e, self.tile.lanes
        with e.function("window", [POINTER, POINTER, *[I64] * 11], ir.VoidType()) as made:
            x, window, top, left, row, column, height, width, down, across, skip_down, skip_across, vectors = made.args
            b = e.b
            zero = e.number(0.0, ir.VectorType(F32, lanes))
            with e.loop(down) as i, e.loop(across) as j:
                y, z = b.add(top, b.mul(i.index, skip_down)), b.add(left, b.mul(j.index, skip_across))
                inside = b.and_(b.icmp_unsigned("<", y, height), b.icmp_unsigned("<", z, width))
                source = e.at(x, b.add(b.mul(y, row), b.mul(z, column)), F32)
                tap = b.add(b.mul(i.index, across), j.index)
                target = e.at(window, b.mul(b.mul(tap, vectors), I64(lanes)), F32)
                with b.if_else(inside) as (there, outside):
                    with there, e.loop(vectors) as vector:
                        at = b.mul(vector.index, I64(lanes))
                        e.store_vector(e.load_vector(source, at, F32, lanes), target, at, F32)
                    with outside, e.loop(vectors) as vector:
                        e.store_vector(zero, target, b.mul(vector.index, I64(lanes)), F32)
            b.ret_void()
        return made


def _pack(tile: Tile, weight: Any, *, room: Room) -> Any:
    """Filters [O, C, *k] as panels of [k and C, O]."""
    outer, inner = weight.shape[:2]
    by_place = weight.reshape(outer, inner, -1).transpose(2, 1, 0).reshape(-1, outer)
    return pack_panels(by_place, tile, room)


def _shape_of(problem: Problem) -> _Shape:
    """The shape of a conv group's convolution, over images channels last. Raises Unfit."""
    layer = problem.group.layers[0]
    attrs = {name: resolve_attr(value, problem.sizes) for name, value in layer.attrs.items()}
    x, weight, *_ = (problem.layout(t) for t in layer.inputs if t is not None)
    (y,) = problem.outputs
    if layer.op.name != "conv" or len(x.shape) != 4 or attrs["groups"] != 1:
        raise Unfit("not a convolution of images over all channels")
    if prod(weight.shape[2:]) == 1:
        raise Unfit("windows of one pixel, which need no copies")
    if not weight.constant or any(a.dtype.name != "f32" for a in (*problem.inputs, *problem.outputs)):
        raise Unfit("filters that are no constant, or numbers other than f32")
    if 0 in (*x.shape, *y.shape) or x.strides[1] != 1 or y.strides[1] != 1:
        raise Unfit("images that don't lie channels last")
    size, kernel, strides, dilations = x.shape[2:], weight.shape[2:], attrs["strides"], attrs["dilations"]
    pads = actual_pads(size, kernel, strides, attrs["pads"], dilations, attrs["auto_pad"])
    return _Shape(size, y.shape[2:], kernel, tuple(strides), tuple(dilations), tuple(pads[:2]))

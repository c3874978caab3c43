"""3x3 convolutions with stride 1, channels last, by Winograd's minimal filtering, in blocks of tiles that stay in cache.

A block of tiles is transformed, multiplied with one chunk of the filters after another (n^2 small matrix products), and
each chunk's results are transformed back and finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from llvmlite import ir

from trtn.backend.evaluate import resolve_attr
from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers.llvm.emitter import F32, I32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.expressions import EXPRESSIONS, Site, refusal
from trtn.backend.providers.llvm.family import Unfit, Written
from trtn.backend.providers.llvm.winograd_transforms import LANES, PANEL, pack_filters, write_input, write_output
from trtn.dsl.ops.windows import actual_pads

__all__ = ["write_winograd"]

CHUNK = 4
WIDTH = CHUNK * PANEL
ROWS = 6
UNROLL = 4
_VECTOR = ir.VectorType(F32, LANES)
VOID = ir.VoidType()


def write_product(e: Emitter) -> Any:
    """(a, lda, b, c, ldc, k, rows): c[rows, PANEL] = a[rows, k] b[k, PANEL]"""
    tiles = [_write_tile(e, rows) for rows in range(1, ROWS + 1)]
    with e.function("rows", [POINTER, I64, POINTER, POINTER, I64, I64, I64], VOID) as made:
        a, lda, panel, c, ldc, k, rows = made.args
        b = e.b
        groups = b.udiv(b.add(rows, I64(ROWS - 1)), I64(ROWS))
        with e.loop(groups) as group:
            first = b.udiv(b.mul(group.index, rows), groups)
            end = b.udiv(b.mul(b.add(group.index, I64(1)), rows), groups)
            last = b.append_basic_block()
            switch = b.switch(b.sub(end, first), last)
            for n, tile in enumerate(tiles, 1):
                block = b.append_basic_block()
                switch.add_case(I64(n), block)
                b.position_at_end(block)
                b.call(tile, [e.at(a, b.mul(first, lda), F32), lda, panel, e.at(c, b.mul(first, ldc), F32), ldc, k])
                b.branch(last)
            b.position_at_end(last)
        b.ret_void()
    return made


def _write_tile(e: Emitter, rows: int) -> Any:
    with e.function(f"tile{rows}", [POINTER, I64, POINTER, POINTER, I64, I64], VOID) as made:
        a, lda, panel, c, ldc, k = made.args
        b = e.b
        zero = ir.Constant(_VECTOR, [F32(0.0)] * LANES)
        starts = [e.at(a, b.mul(lda, I64(r)), F32) for r in range(rows)]
        with e.loop(b.udiv(k, I64(UNROLL)), [zero] * (rows * 2)) as loop:
            sums = list(loop.carried)
            for u in range(UNROLL):
                at = b.add(b.mul(loop.index, I64(UNROLL)), I64(u))
                row = e.at(panel, b.mul(at, I64(PANEL)), F32)
                right = [e.load_vector(row, I64(LANES * h), F32, LANES) for h in range(2)]
                for r in range(rows):
                    left = e.splat(e.load(starts[r], at, F32), LANES)
                    for h in range(2):
                        sums[2 * r + h] = e.intrinsic("fma", left, right[h], sums[2 * r + h])
            loop.carried = sums
        for r in range(rows):
            row = e.at(c, b.mul(ldc, I64(r)), F32)
            for h in range(2):
                e.store_vector(loop.carried[2 * r + h], row, I64(LANES * h), F32)
        b.ret_void()
    return made


@dataclass(frozen=True)
class Geometry:
    m: int
    batch: int
    channels: int
    filters: int
    before: tuple[int, int]
    high: tuple[int, int]
    out: tuple[int, int]

    @property
    def tiles(self) -> tuple[int, int]:
        return -(-self.out[0] // self.m), -(-self.out[1] // self.m)


def geometry(problem: Problem, m: int) -> Geometry:
    layer = problem.group.layers[0]
    if layer.op.name != "conv":
        raise Unfit("a transposed convolution")
    attrs = {name: resolve_attr(value, problem.sizes) for name, value in layer.attrs.items()}
    x, weight = (problem.layout(t) for t in layer.inputs[:2])
    (out,) = problem.outputs
    if weight.shape[2:] != (3, 3) or attrs["groups"] != 1:
        raise Unfit("not a 3x3 convolution over all channels")
    if any(s != 1 for s in (*attrs["strides"], *attrs["dilations"])):
        raise Unfit("strides or dilations")
    if not weight.constant:
        raise Unfit("filters that are no constant")
    if any(a.dtype.name != "f32" for a in (*problem.inputs, *problem.outputs)):
        raise Unfit("numbers other than f32")
    if x.strides[1] != 1 or out.strides[1] != 1 or 0 in out.shape or 0 in x.shape:
        raise Unfit("images that are not channels last")
    if weight.shape[0] % LANES or weight.shape[1] % LANES:
        raise Unfit("channels that don't fill vectors")
    pads = actual_pads(x.shape[2:], weight.shape[2:], attrs["strides"], attrs["pads"], attrs["dilations"], attrs["auto_pad"])
    if any(p < 0 for p in pads):
        raise Unfit("padding that takes elements away")
    return Geometry(m, x.shape[0], x.shape[1], weight.shape[0], pads[:2], x.shape[2:], out.shape[2:])


def write_winograd(problem: Problem, m: int, block: int = 24) -> Written:
    g = geometry(problem, m)
    n = m + 2
    group = problem.group
    layer = group.layers[0]
    for other in group.layers[1:]:
        if reason := refusal(other):
            raise Unfit(reason)
    count = len(problem.inputs) + 1
    e = Emitter(count + 2)  # packed filters, workspace
    b = e.b
    number = {id(t): i for i, t in enumerate((*group.inputs, *group.outputs))}
    x_in, w_in = (number[id(t)] for t in layer.inputs[:2])
    x, y = problem.inputs[x_in], problem.outputs[0]
    position = g.channels + PANEL
    row = n * n * position  # of a tile in v
    tiles = g.batch * g.tiles[0] * g.tiles[1]
    blocks = -(-tiles // block)
    most = -(-tiles // blocks)
    sizes = [most * row, most * n * n * WIDTH, n * n * g.channels, m * m * WIDTH]

    given = e.given
    transform, restore, product = write_input(e, m), write_output(e, m, WIDTH), write_product(e)
    patch = _write_patch(e, n)
    finish = _write_finish(e, problem)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    v, products, patched, result = (e.at(e.pointers[-1], given(s), F32) for s in starts)
    packed = e.pointers[-2]
    channels, groups = given(g.channels), given(g.channels // LANES)
    position_v, row_v = given(position), given(row)
    xs = [given(s) for s in (x.strides[0], x.strides[2], x.strides[3])]
    ys = [given(s) for s in (y.strides[0], y.strides[2], y.strides[3])]
    residual = _residual(problem)
    rs = [given(s) for s in (residual.strides[0], residual.strides[2], residual.strides[3])] if residual else None
    before = [given(p) for p in g.before]
    height, width = (given(s) for s in g.high)
    out_height, out_width = (given(s) for s in g.out)
    down, across = (given(t) for t in g.tiles)
    tiles_v, blocks_v = given(tiles), given(blocks)
    filters = given(g.filters)
    panels_v = given(-(-g.filters // PANEL))
    chunks = given(-(-g.filters // WIDTH))
    each = b.mul(down, across)

    def place(tile: Any) -> tuple[Any, Any, Any]:
        image, rest = b.udiv(tile, each), b.urem(tile, each)
        return image, b.mul(b.udiv(rest, across), I64(m)), b.mul(b.urem(rest, across), I64(m))

    with e.loop(blocks_v) as turn:
        first = b.udiv(b.mul(turn.index, tiles_v), blocks_v)
        end = b.udiv(b.mul(b.add(turn.index, I64(1)), tiles_v), blocks_v)
        here = b.sub(end, first)
        with e.loop(here) as t:
            image, top, left = place(b.add(first, t.index))
            top, left = b.sub(top, before[0]), b.sub(left, before[1])
            inside = b.and_(
                b.and_(b.icmp_signed(">=", top, I64(0)), b.icmp_signed(">=", left, I64(0))),
                b.and_(
                    b.icmp_signed("<=", b.add(top, I64(n)), height), b.icmp_signed("<=", b.add(left, I64(n)), width)
                ),
            )
            start = e.at(e.pointers[x_in], b.mul(image, xs[0]), F32)
            target = e.at(v, b.mul(t.index, row_v), F32)
            with b.if_else(inside) as (then, otherwise):
                with then:
                    source = e.at(start, b.add(b.mul(top, xs[1]), b.mul(left, xs[2])), F32)
                    b.call(transform, [source, xs[1], xs[2], target, position_v, groups])
                with otherwise:
                    b.call(patch, [start, xs[1], xs[2], top, left, height, width, channels, patched])
                    step = b.mul(channels, I64(n))
                    b.call(transform, [patched, step, channels, target, position_v, groups])
        with e.loop(chunks) as chunk:
            panel = b.mul(chunk.index, I64(CHUNK))
            panels = _least(b, b.sub(panels_v, panel), I64(CHUNK))
            size = b.mul(channels, I64(PANEL))
            weights = e.at(packed, b.mul(b.mul(panel, I64(n * n)), size), F32)
            with e.loop(I64(n * n)) as p, e.loop(panels) as column:
                at = b.add(b.mul(p.index, panels), column.index)
                own = e.at(weights, b.mul(at, size), F32)
                into = b.add(b.mul(p.index, I64(WIDTH)), b.mul(column.index, I64(PANEL)))
                left = e.at(v, b.mul(p.index, position_v), F32)
                b.call(product, [left, row_v, own, e.at(products, into, F32), I64(n * n * WIDTH), channels, here])
            channel = b.mul(chunk.index, I64(WIDTH))
            vectors = b.udiv(_least(b, b.sub(filters, channel), I64(WIDTH)), I64(LANES))
            with e.loop(here) as t:
                image, top, left = place(b.add(first, t.index))
                b.call(restore, [e.at(products, b.mul(t.index, I64(n * n * WIDTH)), F32), result, vectors])
                rows = _least(b, b.sub(out_height, top), I64(m))
                columns = _least(b, b.sub(out_width, left), I64(m))
                with e.loop(rows) as i, e.loop(columns) as j:
                    whole = [image, b.add(top, i.index), b.add(left, j.index)]
                    own = e.at(result, b.mul(b.add(b.mul(i.index, I64(m)), j.index), I64(WIDTH)), F32)
                    into = e.at(e.pointers[count - 1], b.add(e.offset(whole, ys), channel), F32)
                    added = b.add(e.offset(whole, rs), channel) if rs else I64(0)
                    b.call(finish, [own, into, added, channel, vectors, *e.pointers[: count - 1]])
    packing = (w_in, f"winograd{m}:{CHUNK}", partial(pack_filters, m, CHUNK))
    return Written(e.text(), e.numbers, [packing], 4 * sum(sizes))


def _least(b: Any, x: Any, y: Any) -> Any:
    return b.select(b.icmp_signed("<", x, y), x, y)


def _write_patch(e: Emitter, n: int) -> Any:
    """(x, row, column, top, left, height, width, channels, patch): [n, n, channels] with zeros outside."""
    kinds = [POINTER, *[I64] * 7, POINTER]
    with e.function(f"patch{n}", kinds, VOID) as made:
        x, row, column, top, left, height, width, channels, patch = made.args
        b = e.b
        bytes_ = b.mul(channels, I64(4))
        with e.loop(I64(n)) as i, e.loop(I64(n)) as j:
            at, across = b.add(top, i.index), b.add(left, j.index)
            inside = b.and_(b.icmp_unsigned("<", at, height), b.icmp_unsigned("<", across, width))
            source = e.at(x, b.add(b.mul(at, row), b.mul(across, column)), F32)
            target = e.at(patch, b.mul(b.add(b.mul(i.index, I64(n)), j.index), channels), F32)
            with b.if_else(inside) as (then, otherwise):
                with then, e.loop(b.udiv(channels, I64(LANES))) as c:
                    at = b.mul(c.index, I64(LANES))
                    e.store_vector(e.load_vector(source, at, F32, LANES), target, at, F32)
                with otherwise, e.loop(b.udiv(channels, I64(LANES))) as c:
                    e.store_vector(ir.Constant(_VECTOR, [F32(0.0)] * LANES), target, b.mul(c.index, I64(LANES)), F32)
        b.ret_void()
    return made


def _residual(problem: Problem) -> ArrayLayout | None:
    layer = problem.group.layers[0]
    for t, layout in zip(problem.group.inputs, problem.inputs, strict=True):
        if t is not layer.inputs[0] and t is not layer.inputs[1] and layout.shape == problem.outputs[0].shape:
            return layout
    return None


def _write_finish(e: Emitter, problem: Problem) -> Any:
    """(sums, out, residual offset, channel, vectors, *inputs)."""
    group = problem.group
    layer = group.layers[0]
    residual = _residual(problem)
    kinds = [POINTER, POINTER, I64, I64, I64, *[POINTER] * len(problem.inputs)]
    with e.function("finish", kinds, VOID) as made:
        sums, out, added, channel, vectors, *inputs = made.args
        b = e.b
        with e.loop(vectors) as group_:
            at = b.mul(group_.index, I64(LANES))
            values: dict[int, Any] = {}

            def operand(t: Any) -> Any:
                if id(t) not in values:
                    i = next(n for n, own in enumerate(group.inputs) if own is t)
                    layout = problem.inputs[i]
                    if layout.size == 1:
                        values[id(t)] = e.splat(e.load(inputs[i], I64(0), F32), LANES)
                    elif layout is residual:
                        values[id(t)] = e.load_vector(inputs[i], b.add(added, at), F32, LANES)
                    else:
                        values[id(t)] = e.load_vector(inputs[i], b.add(channel, at), F32, LANES)
                return values[id(t)]

            value = e.load_vector(sums, at, F32, LANES)
            if len(layer.inputs) > 2 and layer.inputs[2] is not None:
                value = b.fadd(value, operand(layer.inputs[2]))
            values[id(layer.outputs[0])] = value
            for other in group.layers[1:]:
                given = [t for t in other.inputs if t is not None]
                site = Site(e, tuple(operand(t) for t in given), tuple(t.dtype for t in given), other)
                value = values[id(other.outputs[0])] = EXPRESSIONS[other.op.name](site)
            e.store_vector(value, out, at, F32)
        b.ret_void()
    return made

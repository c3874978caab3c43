"""Exact products of 8-bit levels: rows of differences in i16 times packed columns in i8, sums in i32.

Columns lie in tiles of 16, the rows of a tile (pairs of them, as the multiply-add instructions take them) one after
another: [tiles, pairs, 16, 2]. Four tiles make a block, to which the columns are filled up with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from trtn.backend.machine_code import has_feature
from trtn.backend.providers.llvm.emitter import BYTE, F32, I16, I32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Pack, Room
from trtn.dsl.records import record

__all__ = ["BLOCK", "blocks_of", "pack_columns", "pack_numbers", "pairs_of", "write_product", "write_quantize"]

LANES = 8
TILE = 16
BLOCK = 64
ROWS = 4
"""Rows that are multiplied together, by one tile; a single row is multiplied by a block."""
_SUMS = ir.VectorType(I32, LANES)
_PAIRS = ir.VectorType(I16, 2 * LANES)


def pairs_of(terms: int) -> int:
    return -(-terms // 2)


def blocks_of(columns: int) -> int:
    return -(-columns // BLOCK)


def pack_columns(levels: Any, room: Room) -> Any:
    """[D, K, N] of i8, or of u8 (less 128), as [D, tiles, pairs, 16, 2]."""
    signed = levels if levels.dtype == np.int8 else (levels.astype(np.int16) - 128).astype(np.int8)
    directions, terms, columns = signed.shape
    pairs, width = pairs_of(terms), blocks_of(columns) * BLOCK
    whole = np.zeros((directions, 2 * pairs, width), np.int8)
    whole[:, :terms, :columns] = signed
    tiles = whole.reshape(directions, pairs, 2, width // TILE, TILE)
    return _placed(tiles.transpose(0, 3, 1, 4, 2), room)


def pack_numbers(columns: int, dtype: Any, less: int = 0) -> Pack:
    """Makes scales or zero points, [D] or [D, N], one for each column of each block; `less` is taken from them."""

    def make(values: Any, room: Room) -> Any:
        each = values.astype(dtype).reshape(len(values), -1) - dtype(less)
        whole = np.zeros((len(values), blocks_of(columns) * BLOCK), dtype)
        whole[:, :columns] = each
        return _placed(whole, room)

    return make


def _placed(array: Any, room: Room) -> Any:
    """A copy in C order in memory of `room`."""
    copy = room(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@record()
class _Operands:
    """What the product's function is given."""

    levels: Any
    """i16[rows, 2 * pairs]"""
    totals: Any
    """i32[rows], the sum of each row's levels"""
    columns: Any
    scales: Any
    zeros: Any
    out: Any
    """f32[rows, width], or i32"""
    rows: Any
    pairs: Any
    scale: Any


def write_product(e: Emitter, width: int, *, scaled: bool = True) -> Any:
    """A function (levels, totals, columns, scales, zeros, out, rows, pairs, scale): `out` becomes the sums of levels
    times (column - zero), times `scale` and the column's scale; the sums themselves unless `scaled`. `width` is a
    multiple of a block."""
    kinds = [POINTER] * 6 + [I64, I64, F32]
    with e.function("product", kinds, I32) as made:
        o = _Operands(*made.args)
        b = e.b
        together = b.udiv(o.rows, I64(ROWS))
        with b.if_then(b.icmp_unsigned(">", together, I64(0))), e.loop(width // TILE) as tile, e.loop(together) as four:
            first = b.mul(four.index, I64(ROWS))
            _tiles(e, o, [b.add(first, I64(n)) for n in range(ROWS)], [tile.index], width, scaled)
        done = b.mul(together, I64(ROWS))
        left = b.sub(o.rows, done)
        with b.if_then(b.icmp_unsigned(">", left, I64(0))), e.loop(width // BLOCK) as block, e.loop(left) as row:
            start = b.mul(block.index, I64(BLOCK // TILE))
            tiles = [b.add(start, I64(n)) for n in range(BLOCK // TILE)]
            _tiles(e, o, [b.add(done, row.index)], tiles, width, scaled)
        b.ret(I32(0))
    return made


def _tiles(e: Emitter, o: _Operands, rows: Sequence[Any], tiles: Sequence[Any], width: int, scaled: bool) -> None:
    """Some rows times some tiles."""
    b = e.b
    tile_bytes = b.mul(o.pairs, I64(2 * TILE))
    starts = [e.at(o.columns, b.mul(tile, tile_bytes), BYTE) for tile in tiles]
    row_starts = [e.at(o.levels, b.mul(row, o.pairs), I32) for row in rows]
    zero = ir.Constant(_SUMS, [I32(0)] * LANES)
    halves = TILE // LANES
    with e.loop(o.pairs, [zero] * (len(rows) * len(tiles) * halves)) as loop:
        pairs = [b.bitcast(e.splat(e.load(start, loop.index, I32), LANES), _PAIRS) for start in row_starts]
        sums = iter(list(loop.carried))
        following = []
        for start in starts:
            for half in range(halves):
                at = b.add(b.mul(loop.index, I64(2 * TILE)), I64(2 * LANES * half))
                column = b.sext(e.load_vector(start, at, BYTE, 2 * LANES), _PAIRS)
                following += [b.add(next(sums), _multiply_add(e, pair, column)) for pair in pairs]
        loop.carried = following
    found = iter(loop.carried)
    for tile in tiles:
        for half in range(halves):
            at = b.add(b.mul(tile, I64(TILE)), I64(LANES * half))
            zeros = e.load_vector(o.zeros, at, I32, LANES)
            scales = b.fmul(e.splat(o.scale, LANES), e.load_vector(o.scales, at, F32, LANES)) if scaled else None
            for row in rows:
                total = e.splat(e.load(o.totals, row, I32), LANES)
                exact = b.sub(next(found), b.mul(total, zeros))
                value = exact if scales is None else b.fmul(b.sitofp(exact, scales.type), scales)
                e.store_vector(value, o.out, b.add(b.mul(row, I64(width)), at), F32 if scaled else I32)


def _multiply_add(e: Emitter, x: Any, y: Any) -> Any:
    """The products of pairs, added up pair by pair."""
    b = e.b
    if has_feature("avx2"):
        return e.call("llvm.x86.avx2.pmadd.wd", _SUMS, x, y)
    wide = ir.VectorType(I32, 2 * LANES)
    products = b.mul(b.sext(x, wide), b.sext(y, wide))
    even, odd = (
        b.shuffle_vector(products, products, ir.Constant(_SUMS, [I32(2 * n + first) for n in range(LANES)]))
        for first in (0, 1)
    )
    return b.add(even, odd)


def write_quantize(e: Emitter, columns: int, stride: int) -> Any:
    """A function (x, levels, totals, outer, inner, outer_stride, inner_stride) -> scale, which rounds rows of
    dynamic_quantize_linear, all by one range, and leaves them less their zero point, with each row's sum.

    x has outer * inner rows of `columns` elements, `stride` apart. The scale is that of dsl.ops.quantization's
    `dynamic_levels`.
    """
    kinds = [POINTER] * 3 + [I64] * 4
    with e.function(f"quantize{columns}_{stride}", kinds, F32) as made:
        x, levels, totals, outer, inner, outer_stride, inner_stride = made.args
        b = e.b

        def element(row: Any, place: Any) -> Any:
            return e.load(row, place if stride == 1 else b.mul(place, I64(stride)), F32)

        def row_of(i: Any, j: Any) -> Any:
            return e.at(x, b.add(b.mul(i, outer_stride), b.mul(j, inner_stride)), F32)

        with e.loop(outer, [F32(0.0), F32(0.0)]) as i:
            with e.loop(inner, i.carried) as j:
                row = row_of(i.index, j.index)
                with e.loop(columns, j.carried) as k:
                    value = element(row, k.index)
                    low, high = k.carried
                    k.carried = [e.intrinsic("minimum", low, value), e.intrinsic("maximum", high, value)]
                j.carried = k.carried
            i.carried = j.carried
        low, high = i.carried
        spread = b.fdiv(b.fsub(high, low), F32(255.0))
        scale = b.select(b.fcmp_ordered("==", spread, F32(0.0)), F32(1.0), spread)
        zero = e.intrinsic("minnum", e.intrinsic("roundeven", b.fdiv(b.fneg(low), scale)), F32(255.0))
        width = 2 * pairs_of(columns)
        with e.loop(outer) as i, e.loop(inner) as j:
            row, number = row_of(i.index, j.index), b.add(b.mul(i.index, inner), j.index)
            target = e.at(levels, b.mul(number, I64(width)), I16)
            with e.loop(columns, [I32(0)]) as k:
                level = b.fadd(e.intrinsic("roundeven", b.fdiv(element(row, k.index), scale)), zero)
                level = e.intrinsic("minnum", e.intrinsic("maxnum", level, F32(0.0)), F32(255.0))
                whole = b.fptosi(b.fsub(level, zero), I32)
                e.store(b.trunc(whole, I16), target, k.index, I16)
                k.carried = [b.add(k.carried[0], whole)]
            if columns % 2:
                e.store(I16(0), target, I64(columns), I16)
            e.store(k.carried[0], totals, number, I32)
        b.ret(scale)
    return made

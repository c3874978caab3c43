"""A block of rows times some panels: runs of terms that stay in the first cache, panel by panel, tile by tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llvmlite import ir

from trtn.backend.providers.llvm.emitter import BYTE, F32, I32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.gemm.microkernel import FIRST, LAST, UNROLLED, Finish, write_microkernel
from trtn.backend.providers.llvm.gemm.tile import Tile

__all__ = ["heights", "write_block"]


def heights(tile: Tile, rows: Sequence[int]) -> tuple[int, ...]:
    """The heights of the tiles that blocks of so many rows are divided into, as evenly as can be."""
    found: set[int] = set()
    for count in rows:
        tiles = -(-count // tile.rows)
        found |= {count // tiles, -(-count // tiles)}
    if min(found) >= tile.rows - 1:
        found = {tile.rows - 1, tile.rows}  # of most sizes: one text for all of them
    return tuple(sorted(found))


def write_block(e: Emitter, tile: Tile, heights: Sequence[int], finish: Finish | None, *, ragged: bool) -> Any:
    """A function (starts, rows, panels, panel_stride, terms, run, out, stride, context, row, column, columns).

    `starts` are the addresses of `rows` rows of `terms` elements; `panels` is that of the first panel, others follow
    every `panel_stride` elements; terms are taken in runs of `run`. `out` has rows `stride` elements apart. `columns`
    counts those of the result, from `column` on: a multiple of a panel's unless `ragged`. `finish` gets `context`, and
    rows and columns counted from `row` and `column`. `heights` are those of `heights(tile, ...)` for all `rows`. While a
    panel is multiplied the next one comes in from memory, a part with each tile.
    """
    kernels = {
        masked: {n: write_microkernel(e, tile, n, finish, masked=masked) for n in heights}
        for masked in ([False, True] if ragged else [False])
    }
    kinds = [POINTER, I64, POINTER, I64, I64, I64, POINTER, I64, POINTER, I64, I64, I64]
    with e.function(e.module.get_unique_name("block"), kinds, ir.VoidType()) as made:
        starts, rows, panels, panel_stride, terms, run, out, stride, context, row, column, columns = made.args
        b = e.b
        tiles = b.udiv(b.add(rows, I64(tile.rows - 1)), I64(tile.rows))
        least = b.udiv(rows, tiles)
        higher = b.sub(rows, b.mul(least, tiles))
        turns = b.udiv(b.add(terms, b.sub(run, I64(1))), run)
        count = b.udiv(b.add(columns, I64(tile.columns - 1)), I64(tile.columns))
        with e.loop(turns) as turn:
            skip = b.mul(turn.index, run)
            left = b.sub(terms, skip)
            length = b.select(b.icmp_unsigned("<", left, run), left, run)
            ending = b.icmp_unsigned("==", left, length)
            first = b.select(b.icmp_unsigned("==", skip, I64(0)), I32(FIRST), I32(0))
            flags = b.or_(first, b.select(ending, I32(LAST), I32(0)))
            turned = b.mul(b.add(skip, length), I64(tile.columns))
            following = e.at(panels, b.select(ending, b.mul(count, panel_stride), turned), F32)
            pace = b.udiv(I64(4 * tile.columns * UNROLLED), tiles)
            with e.loop(count) as each:
                panel = e.at(panels, b.add(b.mul(each.index, panel_stride), b.mul(skip, I64(tile.columns))), F32)
                offset = b.mul(each.index, I64(tile.columns))
                width = b.sub(columns, offset)
                is_last = b.icmp_unsigned("==", each.index, b.sub(count, I64(1)))
                ahead = b.select(is_last, following, e.at(panel, panel_stride, F32))
                part = b.mul(pace, b.udiv(length, I64(UNROLLED)))
                with e.loop(tiles, [I64(0)]) as step:
                    at = step.carried[0]
                    height = b.add(least, b.zext(b.icmp_unsigned("<", step.index, higher), I64))
                    target = e.at(out, b.add(b.mul(at, stride), offset), F32)
                    given = [
                        *(e.at(starts, at, POINTER), skip, panel, length),
                        *(e.at(ahead, b.mul(step.index, part), BYTE), pace, target, stride, flags),
                        *(context, b.add(row, at), b.add(column, offset), width),
                    ]
                    _call(e, tile, kernels, height, width, given)
                    step.carried = [b.add(at, height)]
        b.ret_void()
    return made


def _call(
    e: Emitter, tile: Tile, kernels: Mapping[bool, Mapping[int, Any]], height: Any, width: Any, given: Sequence[Any]
) -> None:
    """The kernel for a tile's height and width."""
    if len(kernels) == 1:
        _call_of(e, kernels[False], height, given)
        return
    with e.b.if_else(e.b.icmp_unsigned(">=", width, I64(tile.columns))) as (full, part):
        with full:
            _call_of(e, kernels[False], height, given)
        with part:
            _call_of(e, kernels[True], height, given)


def _call_of(e: Emitter, kernels: Mapping[int, Any], height: Any, given: Sequence[Any]) -> None:
    (_, kernel), *others = sorted(kernels.items(), reverse=True)
    if not others:
        e.b.call(kernel, given)
        return
    highest = max(kernels)
    with e.b.if_else(e.b.icmp_unsigned("==", height, I64(highest))) as (this, other):
        with this:
            e.b.call(kernel, given)
        with other:
            _call_of(e, dict(others), height, given)

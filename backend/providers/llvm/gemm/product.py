"""The kernel of a product: rows, wherever they lie, times a packed constant matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.gemm.blocks import heights, write_block
from trtn.backend.providers.llvm.gemm.epilogue import Epilogue
from trtn.backend.providers.llvm.gemm.schedule import Schedule
from trtn.backend.providers.llvm.gemm.threads import parallel_for
from trtn.backend.providers.llvm.gemm.tile import Tile

__all__ = ["Product", "write_product"]


@dataclass(frozen=True, slots=True)
class Product:
    """Arrays by their numbers among the kernel's; strides in elements."""

    rows: tuple[int, ...]
    """How many along each of the axes that make up the rows, the outermost first."""
    steps: tuple[int, ...]
    """From one row to the next along each axis."""
    terms: int
    columns: int
    stride: int
    """Of the result's rows."""
    source: int
    panels: int
    target: int
    epilogue: Epilogue


def write_product(e: Emitter, tile: Tile, plan: Schedule, p: Product) -> None:
    """Into the body of a kernel."""
    b = e.b
    count = 1
    for n in p.rows:
        count *= n
    sizes = heights(tile, plan.row_counts(count))
    block = write_block(e, tile, sizes, p.epilogue, ragged=bool(p.columns % tile.columns))
    context = e.table(max(2 * len(p.epilogue.operands), 1))
    for n, operand in enumerate(p.epilogue.operands):
        b.store(e.pointers[operand.number], e.at(context, I64(2 * n), I64))
        b.store(e.given(operand.stride), e.at(context, I64(2 * n + 1), I64))
    rows, terms, columns, stride = (e.given(n) for n in (count, p.terms, p.columns, p.stride))
    high, wide, run = (e.given(n) for n in (plan.rows, plan.panels * tile.columns, plan.run))
    row_chunks = -(-count // plan.rows)
    column_chunks = -(-tile.panels(p.columns) // plan.panels)
    across = e.given(row_chunks)
    source, panels, target = e.pointers[p.source], e.pointers[p.panels], e.pointers[p.target]
    axes = [e.given(n) for n in (*p.rows[1:], *p.steps)]
    values = [source, panels, target, context, rows, terms, columns, stride, high, wide, run, across, *axes]

    def chunk(index: Any, own: list[Any]) -> None:
        source, panels, target, context, rows, terms, columns, stride, high, wide, run, across, *axes = own
        b = e.b
        column = b.mul(b.udiv(index, across), wide)
        row = b.mul(b.urem(index, across), high)
        taken = _least(e, high, b.sub(rows, row))
        broad = _least(e, wide, b.sub(columns, column))
        starts = e.table(high, b)
        with e.loop(taken) as each:
            offset = _offset(e, b.add(row, each.index), axes[: len(p.rows) - 1], axes[len(p.rows) - 1 :])
            e.store(e.at(source, offset, F32), starts, each.index, POINTER)
        panel_stride = b.mul(terms, I64(tile.columns))
        panel = e.at(panels, b.mul(column, terms), F32)
        out = e.at(target, b.add(b.mul(row, stride), column), F32)
        b.call(block, [starts, taken, panel, panel_stride, terms, run, out, stride, context, row, column, broad])

    parallel_for(e, e.given(row_chunks * column_chunks), values, chunk)


def _least(e: Emitter, x: Any, y: Any) -> Any:
    return e.b.select(e.b.icmp_unsigned("<", x, y), x, y)


def _offset(e: Emitter, number: Any, counts: Sequence[Any], steps: Sequence[Any]) -> Any:
    """Where a row starts. `counts` are those of the axes but the first."""
    b = e.b
    total = I64(0)
    for count, step in zip(reversed(counts), reversed(steps[1:]), strict=True):
        total = b.add(total, b.mul(b.urem(number, count), step))
        number = b.udiv(number, count)
    return b.add(total, b.mul(number, steps[0]))

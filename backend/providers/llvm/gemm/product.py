"""The kernel of a product: rows, wherever they lie, times a packed constant matrix."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.gemm.blocks import heights, write_block
from trtn.backend.providers.llvm.gemm.epilogue import Epilogue
from trtn.backend.providers.llvm.gemm.schedule import Schedule
from trtn.backend.providers.llvm.gemm.threads import parallel_for, share
from trtn.backend.providers.llvm.gemm.tile import Tile
from trtn.dsl.records import record

__all__ = ["Product", "write_product"]


@record()
class Product:
    """Arrays by their numbers among the kernel's; strides in elements. Chunks of rows come before those of columns: what
    is read of the packed matrix serves all rows while it is in a cache."""

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
    tile: Tile
    plan: Schedule

    @property
    def count(self) -> int:
        """All rows."""
        return prod(self.rows)

    @property
    def heights(self) -> tuple[int, ...]:
        """Of the tiles that it takes."""
        return heights(self.tile, self.plan.row_counts(self.count))

    @property
    def is_ragged(self) -> bool:
        return self.columns % self.tile.columns != 0

    @property
    def numbers(self) -> list[int]:
        """What is not in the text: the chunks and how many of them share columns or rows, what they share, the axes,
        the operands."""
        across, groups = self.plan.across, self.plan.groups
        return [
            *(across * groups, across, groups, self.count, self.tile.panels(self.columns)),
            *(self.terms, self.columns, self.stride, self.plan.run),
            *(*self.rows[1:], *self.steps),
            *(operand.stride for operand in self.epilogue.operands),
        ]

    @property
    def recipe(self) -> str:
        """All that the text follows from."""
        places = (len(self.rows), self.source, self.panels, self.target)
        return f"product {self.tile} {self.heights} {self.is_ragged} {places}\n{self.epilogue.recipe}"


def write_product(e: Emitter, p: Product) -> None:
    """Into the body of a kernel over arrays and `p.numbers`."""
    b, tile, operands = e.b, p.tile, p.epilogue.operands
    block = write_block(e, tile, p.heights, p.epilogue, ragged=p.is_ragged)
    chunks, *numbers = [e.given(n) for n in p.numbers]
    context = e.table(max(2 * len(operands), 1))
    for n, operand in enumerate(operands):
        b.store(e.pointers[operand.number], e.at(context, I64(2 * n), I64))
        b.store(numbers[len(numbers) - len(operands) + n], e.at(context, I64(2 * n + 1), I64))
    pointers = [e.pointers[p.source], e.pointers[p.panels], e.pointers[p.target], context]

    def chunk(index: Any, own: list[Any]) -> None:
        source, panels, target, context, across, groups, rows, count, terms, columns, stride, run, *axes = own
        b = e.b
        row, end = share(e, rows, b.urem(index, across), across)
        taken = b.sub(end, row)
        first, last = (b.mul(n, I64(tile.columns)) for n in share(e, count, b.udiv(index, across), groups))
        column, broad = first, b.sub(_least(e, last, columns), first)
        starts = e.table(taken, b)
        with e.loop(taken) as each:
            offset = _offset(e, b.add(row, each.index), axes[: len(p.rows) - 1], axes[len(p.rows) - 1 :])
            e.store(e.at(source, offset, F32), starts, each.index, POINTER)
        panel_stride = b.mul(terms, I64(tile.columns))
        panel = e.at(panels, b.mul(column, terms), F32)
        out = e.at(target, b.add(b.mul(row, stride), column), F32)
        b.call(block, [starts, taken, panel, panel_stride, terms, run, out, stride, context, row, column, broad])

    parallel_for(e, chunks, [*pointers, *numbers[: len(numbers) - len(operands)]], chunk)


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

"""matmul_integer of rows by a constant matrix: exact sums in i32, which wrap as the reference's do."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np

from trtn.backend.problem import Problem
from trtn.backend.providers.llvm.emitter import BYTE, F32, I16, I32, I64, POINTER
from trtn.backend.providers.llvm.family import Packing, Room, Unfit, Written
from trtn.backend.providers.llvm.products import BLOCK, blocks_of, pack_columns, pack_numbers, pairs_of, write_product
from trtn.backend.providers.llvm.team import TeamEmitter
from trtn.dsl.network import Layer, Tensor

__all__ = ["write_integer_product"]

NARROW = 16
"""Columns below which each element of the result is a sum of its own: a block would be mostly empty."""
ALONE = 1 << 19
"""Multiplications up to which one thread is faster."""
_A, _B, _A_ZERO, _B_ZERO = range(4)
"""The inputs of the op."""


def write_integer_product(problem: Problem) -> Written:
    layer = problem.group.layers[0]
    if layer.op.name != "matmul_integer":
        raise Unfit(f"no product in `{layer.op.name}`")
    return _Writer(problem, layer).write()


class _Writer:
    def __init__(self, problem: Problem, layer: Layer) -> None:
        self.problem = problem
        a, b = layer.inputs[_A], layer.inputs[_B]
        assert a is not None and b is not None
        rows, target = problem.layout(a), problem.layout(layer.output)
        if b.weight is None or b.rank != 2 or 0 in (rows.size, target.size):
            raise Unfit("the right side is not a constant matrix, or there is nothing to multiply")
        if not rows.is_contiguous or not target.is_contiguous:
            raise Unfit("rows that don't lie dense")
        self.terms, self.columns = problem.layout(b).shape
        self.rows = prod(rows.shape[:-1])
        self.signed = a.dtype.name == "i8"
        self.less = 128 if b.dtype.name == "u8" else 0
        self.arrays = {id(t): n for n, t in enumerate((*problem.group.inputs, *problem.group.outputs))}
        self.a, self.b, self.y = (self.arrays[id(t)] for t in (a, b, layer.output))
        self.a_zero, self.b_zero = (self._zero(layer, index) for index in (_A_ZERO, _B_ZERO))
        if self.a_zero is not None and problem.inputs[self.a_zero].size != 1:
            raise Unfit("a zero point for each row")
        if self.b_zero is not None and not problem.inputs[self.b_zero].constant:
            raise Unfit("a zero point that is computed")

    def _zero(self, layer: Layer, index: int) -> int | None:
        tensor: Tensor | None = layer.inputs[index] if len(layer.inputs) > index else None
        return None if tensor is None else self.arrays[id(tensor)]

    def write(self) -> Written:
        narrow = self.columns < NARROW
        packings = self._packings(narrow)
        width = blocks_of(self.columns) * BLOCK
        sizes = [] if narrow else [self.rows * 4 * pairs_of(self.terms), self.rows * 4, self.rows * 4 * width]
        starts = [sum(-(-size // BLOCK) * BLOCK for size in sizes[:n]) for n in range(len(sizes) + 1)]
        count = len(self.arrays) + len(packings) + (not narrow)
        e = self.e = TeamEmitter(count, alone=self.rows * self.terms * self.columns <= ALONE)
        self.packed = e.pointers[len(self.arrays) :]
        self.terms_value, self.columns_value = e.given(self.terms), e.given(self.columns)
        rows = e.given(self.rows)
        places = [e.given(start) for start in starts[:-1]]
        if narrow:
            self._sums(rows)
        else:
            self._product(rows, [e.at(e.pointers[-1], place, BYTE) for place in places], width)
        return Written(e.text(), e.numbers, packings, starts[-1])

    def _packings(self, narrow: bool) -> list[Packing]:
        """Of b, and of its zero points, of which there are as many as columns: their sum with the levels' where the
        matrix is narrow."""
        zero = self.b if self.b_zero is None else self.b_zero
        form = f"llvm:{self.columns}:{self.less}:{'none' if self.b_zero is None else self.b_zero}"
        if narrow:
            return [(self.b, f"{form}:rows", pack_rows), (zero, f"{form}:{pack_zeros.__name__}", self._zeros())]
        return [(self.b, f"{form}:blocks", _pack_blocks), (zero, f"{form}:zeros", self._zeros())]

    def _zeros(self) -> Any:
        return partial(pack_zeros, self.columns, self.less, self.b_zero is not None)

    def _level(self, start: Any, index: Any, zero: Any) -> Any:
        """An element of a less the zero point, as i32."""
        level = self.e.load(start, index, BYTE)
        return self.e.b.sub(self._wide(level), zero)

    def _wide(self, level: Any) -> Any:
        return self.e.b.sext(level, I32) if self.signed else self.e.b.zext(level, I32)

    def _a_zero(self) -> Any:
        e = self.e
        return I32(0) if self.a_zero is None else self._wide(e.load(e.pointers[self.a_zero], I64(0), BYTE))

    def _sums(self, rows: Any) -> None:
        """Sum by sum: of levels times columns, and of levels, times the column's zero point."""
        e, b = self.e, self.e.b
        zero = self._a_zero()
        with e.share(rows) as (first, count), e.loop(count) as turn, e.loop(self.columns_value) as column:
            row = b.add(first, turn.index)
            start = e.at(e.pointers[self.a], b.mul(row, self.terms_value), BYTE)
            other = e.at(self.packed[0], b.mul(column.index, self.terms_value), I16)
            with e.loop(self.terms_value, [I32(0), I32(0)]) as term:
                level = self._level(start, term.index, zero)
                factor = b.sext(e.load(other, term.index, I16), I32)
                total, levels = term.carried
                term.carried = [b.add(total, b.mul(level, factor)), b.add(levels, level)]
            total, levels = term.carried
            found = b.sub(total, b.mul(levels, e.load(self.packed[1], column.index, I32)))
            at = b.add(b.mul(row, self.columns_value), column.index)
            e.store(found, e.pointers[self.y], at, I32)

    def _product(self, rows: Any, parts: list[Any], width: int) -> None:
        e, b = self.e, self.e.b
        product, widen = write_product(e, width, scaled=False), self._write_widen()
        levels, totals, out = parts
        columns, zeros = self.packed[:2]
        pairs = pairs_of(self.terms)
        zero = self._a_zero()
        with e.share(rows) as (first, count):
            own = e.at(levels, b.mul(first, I64(2 * pairs)), I16)
            own_totals, own_out = e.at(totals, first, I32), e.at(out, b.mul(first, I64(width)), I32)
            source = e.at(e.pointers[self.a], b.mul(first, self.terms_value), BYTE)
            target = e.at(e.pointers[self.y], b.mul(first, self.columns_value), I32)
            b.call(widen, (source, own, own_totals, count, zero))
            b.call(product, (own, own_totals, columns, zeros, zeros, own_out, count, I64(pairs), F32(1.0)))
            with e.loop(count) as row:
                start = e.at(own_out, b.mul(row.index, I64(width)), I32)
                end = e.at(target, b.mul(row.index, self.columns_value), I32)
                with e.loop(self.columns_value) as column:
                    e.store(e.load(start, column.index, I32), end, column.index, I32)

    def _write_widen(self) -> Any:
        """A function (source, levels, totals, rows, zero): rows of levels less the zero point in i16, and their sums."""
        e, width = self.e, 2 * pairs_of(self.terms)
        with e.function("widen", [POINTER] * 3 + [I64, I32], I32) as made:
            source, levels, totals, rows, zero = made.args
            b = e.b
            with e.loop(rows) as row:
                start = e.at(source, b.mul(row.index, I64(self.terms)), BYTE)
                target = e.at(levels, b.mul(row.index, I64(width)), I16)
                with e.loop(self.terms, [I32(0)]) as term:
                    level = self._level(start, term.index, zero)
                    e.store(b.trunc(level, I16), target, term.index, I16)
                    term.carried = [b.add(term.carried[0], level)]
                if self.terms % 2:
                    e.store(I16(0), target, I64(self.terms), I16)
                e.store(term.carried[0], totals, row.index, I32)
            b.ret(I32(0))
        return made


def pack_rows(matrix: Any, room: Room) -> Any:
    """[K, N] as [N, K] in i16, less 128 where the levels have no signs."""
    packed = room(2 * matrix.size).view(np.int16).reshape(matrix.shape[::-1])
    packed[...] = matrix.T
    if matrix.dtype == np.uint8:
        packed -= 128
    return packed


def _pack_blocks(matrix: Any, room: Room) -> Any:
    return pack_columns(matrix[None], room)


def pack_zeros(columns: int, less: int, given: bool, values: Any, room: Room) -> Any:
    """The zero points, one for each column, less what the levels are less; zeros where none are `given`."""
    each = values.astype(np.int32).reshape(1, -1) if given else np.zeros((1, 1), np.int32)
    return pack_numbers(columns, np.int32, less)(each, room)

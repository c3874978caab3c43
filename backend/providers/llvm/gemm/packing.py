"""Constant matrices as panels: a few columns side by side, term by term, as a microkernel reads them."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from trtn.backend import machine_code
from trtn.backend.binaries import Binaries
from trtn.backend.providers.llvm.emitter import F32, I32, I64, NAME, POINTER, Emitter
from trtn.backend.providers.llvm.family import Room
from trtn.backend.providers.llvm.gemm.threads import parallel_for
from trtn.backend.providers.llvm.gemm.tile import Tile

__all__ = ["pack_panels", "write_packing"]

TURN = 256 << 10
"""Bytes, about, that a thread takes at a time: no second one is woken for less."""


def pack_panels(matrix: Any, tile: Tile, room: Room) -> Any:
    """f32 [.., K, N], with any strides, as [.., panels, K, columns of a panel], the last panel filled up with zeros, in
    memory of `room`."""
    *batch, inner, outer = matrix.shape
    shape = (*batch, tile.panels(outer), inner, tile.columns)
    packed = room(4 * int(np.prod(shape))).view(np.float32).reshape(shape)
    call, numbers = _packer(tile)
    together = max(TURN // (4 * inner * tile.columns), 1)
    turns = -(-shape[-3] // together)
    for index in np.ndindex(*batch):
        source, target = matrix[index], packed[index]
        strides = [s // source.itemsize for s in source.strides]
        given = np.array([turns, together, shape[-3], inner, outer, *strides, *numbers], np.int64)
        addresses = [a.__array_interface__["data"][0] for a in (source, target, given)]
        call((ctypes.c_void_p * len(addresses))(*addresses), None)
    return packed


@cache
def _packer(tile: Tile) -> tuple[Any, list[int]]:
    """A function of the addresses of a matrix, its panels and numbers: turns, panels of a turn, all panels, terms,
    columns, both strides, and those that come with it."""
    e = Emitter(2)
    numbers = [e.given(0) for _ in range(7)]
    _write(e, tile, numbers[0], [*e.pointers, *numbers[1:]])
    text, kept = e.text(), Binaries()
    key = machine_code.binary_key(text)
    code = kept.find(key)
    if code is None:
        code = machine_code.compile_object(text)
        kept.keep({key: code})
    function = machine_code.load(code, NAME)
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(function.address)
    call.held = function  # type: ignore[attr-defined]
    return call, e.numbers[len(numbers) :]


def _write(e: Emitter, tile: Tile, turns: Any, values: list[Any]) -> None:
    """Some panels in each turn."""
    pack = write_packing(e, tile)

    def turn(index: Any, own: list[Any]) -> None:
        source, target, together, panels, *matrix = own
        first = e.b.mul(index, together)
        left = e.b.sub(panels, first)
        count = e.b.select(e.b.icmp_unsigned("<", left, together), left, together)
        e.b.call(pack, [source, target, first, count, *matrix])

    parallel_for(e, turns, values, turn)


def write_packing(e: Emitter, tile: Tile) -> Any:
    """A function (matrix, packed, first, count, terms, columns, down, right): packs `count` panels from `first` on of a
    matrix with strides `down` and `right`. Rows are copied where their elements lie side by side, squares turned where
    those of columns do, and the rest is gathered element by element."""
    with e.function("pack", [POINTER, POINTER, *[I64] * 6], ir.VoidType()) as made:
        source, target, begin, count, inner, outer, down, right = made.args
        b = e.b
        with e.loop(count) as each:
            index = b.add(begin, each.index)
            first = b.mul(index, I64(tile.columns))
            width = b.sub(outer, first)
            start = e.at(source, b.mul(first, right), F32)
            end = e.at(target, b.mul(first, inner), F32)
            whole = b.icmp_signed(">=", width, I64(tile.columns))
            rows = b.select(b.and_(whole, b.icmp_signed("==", right, I64(1))), inner, I64(0))
            turned = b.select(b.and_(whole, b.icmp_signed("==", down, I64(1))), b.sub(inner, rows), I64(0))
            squares = b.udiv(turned, I64(tile.lanes))
            with b.if_then(b.icmp_unsigned(">", rows, I64(0))), e.loop(rows) as k:
                _copy_row(e, tile, e.at(start, b.mul(k.index, down), F32), _row(e, tile, end, k.index))
            with b.if_then(b.icmp_unsigned(">", squares, I64(0))), e.loop(squares) as k:
                term = b.mul(k.index, I64(tile.lanes))
                _turn_squares(e, tile, e.at(start, term, F32), right, _row(e, tile, end, term))
            done = b.add(rows, b.mul(squares, I64(tile.lanes)))
            with b.if_then(b.icmp_unsigned("<", done, inner)), e.loop(b.sub(inner, done)) as k:
                term = b.add(done, k.index)
                _gather_row(e, tile, e.at(start, b.mul(term, down), F32), right, width, _row(e, tile, end, term))
        b.ret_void()
    return made


def _row(e: Emitter, tile: Tile, panel: Any, term: Any) -> Any:
    return e.at(panel, e.b.mul(term, I64(tile.columns)), F32)


def _copy_row(e: Emitter, tile: Tile, source: Any, target: Any) -> None:
    for first in range(0, tile.columns, tile.lanes):
        e.store_vector(e.load_vector(source, I64(first), F32, tile.lanes), target, I64(first), F32)


def _turn_squares(e: Emitter, tile: Tile, source: Any, stride: Any, target: Any) -> None:
    """As many terms as a vector has lanes, of all columns: by halves of vectors that change places, log2(lanes) times."""
    lanes = tile.lanes
    low, high = (
        ir.Constant(ir.VectorType(I32, lanes), [I32(n // 2 + first + lanes * (n % 2)) for n in range(lanes)])
        for first in (0, lanes // 2)
    )
    for first in range(0, tile.columns, lanes):
        vectors = [
            e.load_vector(e.at(source, e.b.mul(stride, I64(first + n)), F32), I64(0), F32, lanes) for n in range(lanes)
        ]
        for _ in range(lanes.bit_length() - 1):
            halves = zip(vectors[: lanes // 2], vectors[lanes // 2 :], strict=True)
            vectors = [e.b.shuffle_vector(x, y, order) for x, y in halves for order in (low, high)]
        for n, vector in enumerate(vectors):
            e.store_vector(vector, target, I64(n * tile.columns + first), F32)


def _gather_row(e: Emitter, tile: Tile, source: Any, stride: Any, width: Any, target: Any) -> None:
    """Zeros for the columns from `width` on."""
    for n in range(tile.columns):
        there = e.b.icmp_signed("<", I64(n), width)
        found = e.load(source, e.b.select(there, e.b.mul(stride, I64(n)), I64(0)), F32)
        e.store(e.b.select(there, found, F32(0.0)), target, I64(n), F32)

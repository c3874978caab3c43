"""Constant matrices as panels: a few columns side by side, term by term, as a microkernel reads them."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

from trtn.backend import machine_code
from trtn.backend.binaries import Binaries
from trtn.backend.providers.llvm.emitter import F32, I32, I64, NAME, Emitter
from trtn.backend.providers.llvm.family import Room
from trtn.backend.providers.llvm.gemm.threads import parallel_for
from trtn.backend.providers.llvm.gemm.tile import Tile

__all__ = ["pack_panels"]


def pack_panels(matrix: Any, tile: Tile, room: Room) -> Any:
    """f32 [.., K, N], with any strides, as [.., panels, K, columns of a panel], the last panel filled up with zeros, in
    memory of `room`."""
    *batch, inner, outer = matrix.shape
    shape = (*batch, tile.panels(outer), inner, tile.columns)
    packed = room(4 * int(np.prod(shape))).view(np.float32).reshape(shape)
    call, numbers = _packer(tile)
    for index in np.ndindex(*batch):
        source, target = matrix[index], packed[index]
        strides = [s // source.itemsize for s in source.strides]
        given = np.array([inner, outer, *strides, shape[-3], *numbers], np.int64)
        addresses = [a.__array_interface__["data"][0] for a in (source, target, given)]
        call((ctypes.c_void_p * len(addresses))(*addresses))
    return packed


@cache
def _packer(tile: Tile) -> tuple[Any, list[int]]:
    """A function of the addresses of a matrix, its panels and numbers: terms, columns, both strides, how many panels,
    and those that come with it."""
    e = Emitter(2)
    numbers = [e.given(0) for _ in range(5)]
    _write(e, tile, *numbers)
    text, kept = e.text(), Binaries()
    key = machine_code.binary_key(text)
    code = kept.find(key)
    if code is None:
        code = machine_code.compile_object(text)
        kept.keep({key: code})
    function = machine_code.load(code, NAME)
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(function.address)
    call.held = function  # type: ignore[attr-defined]
    return call, e.numbers[len(numbers) :]


def _write(e: Emitter, tile: Tile, inner: Any, outer: Any, down: Any, right: Any, panels: Any) -> None:
    """Panel by panel: rows of it are copied where they lie side by side, else gathered element by element."""
    source, target = e.pointers
    zero = ir.Constant(ir.VectorType(F32, tile.lanes), [F32(0.0)] * tile.lanes)

    def panel(index: Any, own: list[Any]) -> None:
        source, target, inner, outer, down, right = own
        b = e.b
        first = b.mul(index, I64(tile.columns))
        width = b.sub(outer, first)
        start = e.at(source, b.mul(first, right), F32)
        end = e.at(target, b.mul(first, inner), F32)
        dense = b.and_(b.icmp_signed("==", right, I64(1)), b.icmp_signed(">=", width, I64(tile.columns)))
        with b.if_else(dense) as (rows, elements):
            with rows, e.loop(inner) as k:
                row, into = e.at(start, b.mul(k.index, down), F32), b.mul(k.index, I64(tile.columns))
                for v in range(0, tile.columns, tile.lanes):
                    e.store_vector(e.load_vector(row, I64(v), F32, tile.lanes), end, b.add(into, I64(v)), F32)
            with elements:
                there = [b.icmp_signed("<", I64(n), width) for n in range(tile.columns)]
                columns = [
                    e.at(start, b.select(known, b.mul(I64(n), right), I64(0)), F32) for n, known in enumerate(there)
                ]
                masks = [
                    _vector(e, there[v : v + tile.lanes], ir.IntType(1)) for v in range(0, tile.columns, tile.lanes)
                ]
                with e.loop(inner) as k:
                    at, into = b.mul(k.index, down), b.mul(k.index, I64(tile.columns))
                    found = [e.load(column, at, F32) for column in columns]
                    for n, mask in enumerate(masks):
                        lanes = _vector(e, found[n * tile.lanes : (n + 1) * tile.lanes], F32)
                        e.store_vector(b.select(mask, lanes, zero), end, b.add(into, I64(n * tile.lanes)), F32)

    parallel_for(e, panels, [source, target, inner, outer, down, right], panel)


def _vector(e: Emitter, values: list[Any], kind: Any) -> Any:
    """A vector of values."""
    whole = ir.Constant(ir.VectorType(kind, len(values)), ir.Undefined)
    for n, value in enumerate(values):
        whole = e.b.insert_element(whole, value, I32(n))
    return whole

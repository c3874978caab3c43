"""Attention in one step: for some queries of a head the scores, their softmax and the weighted sums, all in cache."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np
from llvmlite import ir

from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers.llvm import functions as f
from trtn.backend.providers.llvm.emitter import BYTE, F32, I32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Unfit, Written
from trtn.backend.providers.llvm.gemm.blocks import heights, write_block
from trtn.backend.providers.llvm.gemm.microkernel import Spot
from trtn.backend.providers.llvm.gemm.packing import write_packing
from trtn.backend.providers.llvm.gemm.schedule import RUN
from trtn.backend.providers.llvm.gemm.threads import parallel_for, parallel_region
from trtn.backend.providers.llvm.gemm.tile import Tile, host_tile
from trtn.dsl.records import record

__all__ = ["write_attention"]

QUERIES = 96
"""Queries that are taken at a time: what is packed of their head is used so often."""
FEW = 16
"""Queries of a head that are not worth packing its keys and values for."""
STACK = 1 << 20
"""Bytes of a thread's stack that packed keys, packed values and scores may take."""


@record()
class _Sizes:
    """Sizes, and strides by batch, head and row; those of a mask are 0 where it is the same for all."""

    batch: int
    heads: int
    sharing: int
    """Heads of q to one of k and v."""
    queries: int
    keys: int
    width: int
    out_width: int
    q: tuple[int, ...]
    k: tuple[int, ...]
    v: tuple[int, ...]
    mask: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def together(self) -> int:
        """Queries of a turn."""
        return -(-self.queries // -(-self.queries // QUERIES))

    @property
    def parts(self) -> int:
        """Turns of a head."""
        return -(-self.queries // self.together)

    def stack(self, tile: Tile) -> int:
        """Elements of the scores' rows, packed keys and packed values."""
        span, out = (tile.panels(n) * tile.columns for n in (self.keys, self.out_width))
        return self.together * span + self.width * span + self.keys * out


def write_attention(problem: Problem) -> Written:
    tile, group, layer = host_tile(), problem.group, problem.group.layers[0]
    if tile is None or len(group.layers) > 1:
        raise Unfit("no fused multiply-adds over vectors here, or more than attention")
    tensors = [t for t in layer.inputs if t is not None]
    layouts = [problem.layout(t) for t in tensors]
    places = {id(t): n for n, t in enumerate(group.inputs)}
    numbers = [places[id(t)] for t in tensors]
    s = _sizes(layouts, problem.outputs[0])
    if 4 * s.stack(tile) > STACK:
        raise Unfit("too many keys to hold their scores")
    kind = layouts[3].dtype.name if len(layouts) > 3 else ""
    scale = 1 / sqrt(s.width) if layer.attrs["scale"] is None else layer.attrs["scale"]
    given = [
        *(s.batch * s.heads * s.parts, s.parts, s.together, s.heads, s.sharing, s.queries, s.keys, s.width),
        *(s.out_width, int(np.float32(scale).view(np.int32)), *s.q, *s.k, *s.v, *s.out, *s.mask),
    ]
    high = heights(tile, (s.together, s.queries - (s.parts - 1) * s.together))
    ragged = s.out_width % tile.columns != 0
    writer = _Attention(tile, high, ragged, kind, bool(layer.attrs["causal"]), tuple(numbers), len(group.inputs))
    return Written(
        lambda: writer.text(given),
        [*given, parallel_region()],
        expected=s.queries >= FEW,
        recipe=f"attention {writer}",
        shared=given[0] > 1,
        is_final=True,
    )


def _sizes(layouts: Sequence[ArrayLayout], result: ArrayLayout) -> _Sizes:
    """Raises Unfit."""
    q, k, v, *masks = layouts
    if any(each.dtype.name != "f32" for each in (q, k, v, result)) or len(q.shape) not in (3, 4):
        raise Unfit("other numbers than f32, or more than one axis before the heads")
    if any(not each.size or each.strides[-1] != 1 or min(each.strides) < 0 for each in (q, k, v, result)):
        raise Unfit("no elements, or elements that do not lie side by side")
    batch = q.shape[0] if len(q.shape) == 4 else 1
    mask: tuple[int, ...] = (0, 0, 0)
    for each in masks:
        dense = each.shape[-1:] == k.shape[-2:-1] and each.strides[-1:] == (1,) and min(each.strides) >= 0
        if each.dtype.name not in ("bool", "f32") or not dense:
            raise Unfit("a mask of other numbers, or of fewer keys")
        mask = _walk(each)
    return _Sizes(
        *(batch, q.shape[-3], q.shape[-3] // k.shape[-3], q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1]),
        *(_walk(q), _walk(k), _walk(v), mask, _walk(result)),
    )


def _walk(layout: ArrayLayout) -> tuple[int, ...]:
    """Strides by batch, head and row, 0 along axes that there are not."""
    strides = [0 if d == 1 else s for d, s in zip(layout.shape, layout.strides, strict=True)][:-1]
    return (*[0] * (3 - len(strides)), *strides)


@record()
class _Attention:
    """What the text follows from."""

    tile: Tile
    heights: tuple[int, ...]
    ragged: bool
    mask: str
    """Its dtype; "" for none."""
    causal: bool
    inputs: tuple[int, ...]
    """The numbers of q, k, v and the mask."""
    out: int

    def text(self, numbers: Sequence[int]) -> str:
        tile = self.tile
        e = Emitter(self.out + 1)
        plain = write_block(e, tile, self.heights, None, ragged=False)
        weighted = write_block(e, tile, self.heights, _Shares(), ragged=self.ragged)
        pack, softmax = write_packing(e, tile), self._write_softmax(e)
        turns, *values = [e.given(n) for n in numbers]
        pointers = [e.pointers[n] for n in (*self.inputs[:3], self.out, self.inputs[-1])]

        def turn(index: Any, own: list[Any]) -> None:
            b = e.b
            q, k, v, out, mask, parts, together, heads, sharing, queries, keys, width, out_width, scale, *strides = own
            part, number = b.urem(index, parts), b.udiv(index, parts)
            head, batch = b.urem(number, heads), b.udiv(number, heads)
            first = b.mul(part, together)
            left = b.sub(queries, first)
            rows = b.select(b.icmp_unsigned("<", left, together), left, together)
            shared = b.udiv(head, sharing)

            def address(array: Any, which: int, head: Any, row: Any, kind: Any = F32) -> Any:
                places = zip((batch, head, row), strides[3 * which : 3 * which + 3], strict=True)
                for place, stride in places:
                    array = e.at(array, b.mul(place, stride), kind)
                return array

            panels, out_panels = (b.udiv(b.add(n, I64(tile.columns - 1)), I64(tile.columns)) for n in (keys, out_width))
            span = b.mul(panels, I64(tile.columns))
            scores, packed_keys, packed_values = (
                _room(e, b.mul(n, m))
                for n, m in ((rows, span), (width, span), (keys, b.mul(out_panels, I64(tile.columns))))
            )
            k_start, v_start = (address(x, n, shared, I64(0)) for x, n in ((k, 1), (v, 2)))
            b.call(pack, [k_start, packed_keys, I64(0), panels, width, keys, I64(1), strides[5]])
            b.call(pack, [v_start, packed_values, I64(0), out_panels, keys, out_width, strides[8], I64(1)])
            starts, shares = e.table(rows, b), _room(e, rows)
            query, result = address(q, 0, head, first), address(out, 3, head, first)

            def multiply(
                block: Any, source: Any, step: Any, panels: Any, terms: Any, target: Any, stride: Any, count: Any
            ) -> None:
                with e.loop(rows) as each:
                    e.store(e.at(source, b.mul(each.index, step), F32), starts, each.index, POINTER)
                run = b.select(b.icmp_unsigned("<", terms, I64(RUN)), terms, I64(RUN))
                apart = b.mul(terms, I64(tile.columns))
                context = [shares, I64(0), I64(0)]
                b.call(block, [starts, rows, panels, apart, terms, run, target, stride, *context, count])

            multiply(plain, query, strides[2], packed_keys, width, scores, span, span)
            seen = address(mask, 4, head, first, BYTE if self.mask == "bool" else F32)
            b.call(
                softmax,
                [scores, rows, span, keys, scale, seen, strides[14], b.add(first, b.sub(keys, queries)), shares],
            )
            multiply(weighted, scores, span, packed_values, keys, result, strides[11], out_width)

        parallel_for(e, turns, [*pointers, *values], turn)
        return e.text()

    def _write_softmax(self, e: Emitter) -> Any:
        """A function (scores, rows, span, keys, scale, mask, mask_stride, last, shares): rows of `span` scores, of which
        `keys` count, become their powers of e, the greatest one 1; `shares` what makes shares of them. With causality the
        first row's last key is `last`. Rows without any become zeros."""
        kinds = [POINTER, I64, I64, I64, I64, POINTER, I64, I64, POINTER]
        lanes = self.tile.lanes
        vector = ir.VectorType(F32, lanes)
        numbers = ir.Constant(ir.VectorType(I32, lanes), [I32(n) for n in range(lanes)])
        with e.function("softmax", kinds, ir.VoidType()) as made:
            scores, rows, span, keys, scale_bits, mask, mask_stride, last, shares = made.args
            b = e.b
            scale = e.splat(b.bitcast(b.trunc(scale_bits, I32), F32), lanes)
            never = e.number(float("-inf"), vector)
            with e.loop(rows) as row:
                start = e.at(scores, b.mul(row.index, span), F32)
                end = keys
                if self.causal:
                    own = b.add(b.add(last, row.index), I64(1))
                    end = b.select(b.icmp_signed("<", own, keys), own, keys)
                limit = e.splat(b.trunc(end, I32), lanes)
                turns = b.udiv(span, I64(lanes))
                with e.loop(turns, [never]) as each:
                    at = b.mul(each.index, I64(lanes))
                    there = b.icmp_signed("<", b.add(numbers, e.splat(b.trunc(at, I32), lanes)), limit)
                    value = b.fmul(e.load_vector(start, at, F32, lanes), scale)
                    if self.mask:
                        value = self._masked(e, value, mask, b.add(b.mul(row.index, mask_stride), at), there)
                    value = b.select(there, value, never)
                    e.store_vector(value, start, at, F32)
                    best = each.carried[0]
                    each.carried = [b.select(b.fcmp_ordered(">", best, value), best, value)]
                greatest = e.call(f"llvm.vector.reduce.fmax.v{lanes}f32", F32, each.carried[0])
                greatest = b.select(b.fcmp_ordered("==", greatest, F32(float("-inf"))), F32(0.0), greatest)
                shift = e.splat(greatest, lanes)
                with e.loop(turns, [e.number(0.0, vector)]) as each:
                    at = b.mul(each.index, I64(lanes))
                    value = e.load_vector(start, at, F32, lanes)
                    power = f.exp(e, b.fsub(value, shift))
                    power = b.select(b.fcmp_ordered("==", value, never), e.number(0.0, vector), power)
                    e.store_vector(power, start, at, F32)
                    each.carried = [b.fadd(each.carried[0], power)]
                total = e.call(f"llvm.vector.reduce.fadd.v{lanes}f32", F32, F32(0.0), each.carried[0])
                empty = b.fcmp_ordered("==", total, F32(0.0))
                e.store(b.fdiv(F32(1.0), b.select(empty, F32(1.0), total)), shares, row.index, F32)
            b.ret_void()
        return made

    def _masked(self, e: Emitter, value: Any, mask: Any, place: Any, there: Any) -> Any:
        """A vector of scores under the mask, which ends where the keys do."""
        b, lanes = e.b, self.tile.lanes
        kind = BYTE if self.mask == "bool" else F32
        form = ir.VectorType(kind, lanes)
        nothing = ir.Constant(form, [kind(0)] * lanes)
        if self.mask == "bool":
            seen = b.icmp_unsigned("!=", self._read(e, mask, place, there, nothing), nothing)
            return b.select(seen, value, e.number(float("-inf"), value))
        return b.fadd(value, self._read(e, mask, place, there, nothing))

    def _read(self, e: Emitter, mask: Any, place: Any, there: Any, nothing: Any) -> Any:
        """A vector of the mask: all of it, or at its end element by element."""
        b, form, lanes = e.b, nothing.type, self.tile.lanes
        whole = b.icmp_signed("==", b.bitcast(there, ir.IntType(lanes)), ir.IntType(lanes)(-1))
        with b.if_else(whole) as (all_of_it, some):
            with all_of_it:
                plain, first = e.load_vector(mask, place, form.element, lanes), b.block
            with some:
                name = f"llvm.masked.load.v{lanes}{'i8' if form.element == BYTE else 'f32'}.p0"
                size = I32(1 if form.element == BYTE else 4)
                part = e.call(name, form, e.at(mask, place, form.element), size, there, nothing)
                second = b.block
        found = b.phi(form)
        found.add_incoming(plain, first)
        found.add_incoming(part, second)
        return found


class _Shares:
    """Divides the weighted sums of each row by its total; the context is an array of what to multiply by."""

    is_light = True

    def write(self, e: Emitter, sums: Any, spot: Spot) -> Any:
        return e.b.fmul(sums, e.splat(e.load(spot.context, spot.row, F32), spot.lanes))


def _room(e: Emitter, elements: Any) -> Any:
    """So many f32 on the stack."""
    b = e.b
    room = e.table(b.udiv(b.add(elements, I64(1)), I64(2)), b)
    room.align = 64
    return room

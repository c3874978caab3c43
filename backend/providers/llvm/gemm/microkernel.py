"""The innermost part of a product: a few rows times one packed panel, the sums in registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from llvmlite import ir

from trtn.backend.providers.llvm.emitter import BYTE, F32, I32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.gemm.tile import Tile
from trtn.dsl.records import record

__all__ = ["FIRST", "LAST", "UNROLLED", "Finish", "Spot", "load", "store", "write_microkernel"]

FIRST, LAST = 1, 2
"""Flags of a run of terms: the sums begin at zero; they are complete at its end."""
UNROLLED = 4
"""Terms that are written out."""
LINE = 64
"""Bytes that are fetched at a time."""


@record()
class Spot:
    """Where a vector of sums belongs: for what is to be done to it."""

    context: Any
    """The pointer that the kernel was given."""
    row: Any
    column: Any
    mask: Any
    """<lanes x i1> of those that exist; None where all do."""
    lanes: int


class Finish(Protocol):
    """What becomes of complete sums before they are stored."""

    @property
    def is_light(self) -> bool:
        """Whether it is a few instructions, to be written out for each of the sums."""
        ...

    def write(self, e: Emitter, sums: Any, spot: Spot) -> Any:
        """The result of a vector of sums."""
        ...


def write_microkernel(e: Emitter, tile: Tile, rows: int, finish: Finish | None, *, masked: bool) -> Any:
    """A function (starts, skip, panel, terms, ahead, pace, out, stride, flags, context, row, column, width).

    `starts` are the addresses of `rows` rows, read from element `skip` on; `panel` is that of [terms, columns of a
    panel]; `out`, f32, has rows `stride` elements apart. With FIRST in `flags` out becomes the products, else they are
    added to it; with LAST it is finished: as `finish` says, which is told `context`, and `row` and `column`, the first.
    With `masked` only `width` columns are there. Memory from `ahead` on is fetched into the second cache, `pace` bytes
    for each UNROLLED terms.
    """
    kinds = [POINTER, I64, POINTER, I64, POINTER, I64, POINTER, I64, I32, POINTER, I64, I64, I64]
    with e.function(e.module.get_unique_name(f"multiply{rows}"), kinds, ir.VoidType()) as made:
        starts, skip, panel, terms, ahead, pace, out, stride, flags, context, row, column, width = made.args
        b, vector = e.b, ir.VectorType(F32, tile.lanes)
        masks = [_mask(e, width, n * tile.lanes, tile.lanes) if masked else None for n in range(tile.vectors)]
        addresses = [e.at(e.load(starts, I64(n), POINTER), skip, F32) for n in range(rows)]
        whole = b.and_(terms, I64(-UNROLLED))
        sums: list[Any] = [ir.Constant(vector, [F32(0.0)] * tile.lanes)] * (rows * tile.vectors)
        sums = _add_products(e, tile, addresses, panel, I64(0), whole, UNROLLED, sums, (ahead, pace))
        sums = _add_products(e, tile, addresses, panel, whole, terms, 1, sums, None)

        def place(n: Any, v: int) -> Any:
            return e.at(e.at(out, b.mul(stride, n), F32), I64(v * tile.lanes), F32)

        def spot(n: Any, v: int) -> Spot:
            return Spot(context, b.add(row, n), b.add(column, I64(v * tile.lanes)), masks[v], tile.lanes)

        grid = [(n, v) for n in range(rows) for v in range(tile.vectors)]
        with _changed(e, b.icmp_unsigned("==", b.and_(flags, I32(FIRST)), I32(0)), sums) as changed:
            changed[:] = [
                b.fadd(s, load(e, place(I64(n), v), vector, masks[v])) for s, (n, v) in zip(sums, grid, strict=True)
            ]
        sums = changed
        last = b.icmp_unsigned("!=", b.and_(flags, I32(LAST)), I32(0))
        if finish is not None and finish.is_light:
            with _changed(e, last, sums) as changed:
                changed[:] = [finish.write(e, s, spot(I64(n), v)) for s, (n, v) in zip(sums, grid, strict=True)]
            sums = changed
        for s, (n, v) in zip(sums, grid, strict=True):
            store(e, s, place(I64(n), v), masks[v])
        if finish is not None and not finish.is_light:
            with b.if_then(last), e.loop(rows) as each:
                for v in range(tile.vectors):
                    done = finish.write(e, load(e, place(each.index, v), vector, masks[v]), spot(each.index, v))
                    store(e, done, place(each.index, v), masks[v])
        b.ret_void()
    return made


def _add_products(
    e: Emitter,
    tile: Tile,
    rows: Sequence[Any],
    panel: Any,
    begin: Any,
    end: Any,
    step: int,
    sums: Sequence[Any],
    fetched: tuple[Any, Any] | None,
) -> list[Any]:
    """The sums with the products of terms `begin` to `end` added, a multiple of `step`. `fetched` says where memory that
    will be wanted starts, and how far that moves in each turn."""
    b = e.b
    before, inside, after = b.block, b.append_basic_block(), b.append_basic_block()
    b.cbranch(b.icmp_unsigned("<", begin, end), inside, after)
    b.position_at_end(inside)
    index, *carried = [_phi(e, value, before) for value in (begin, *sums)]
    current: list[Any] = list(carried)
    if fetched is not None:
        place = _phi(e, fetched[0], before)
        # Where there are so few rows that a tile is all there is, it fetches the whole of the next panel.
        lines = step * 4 * tile.columns // LINE if 2 * len(rows) <= tile.rows else 1
        for n in range(lines):
            e.call("llvm.prefetch.p0", ir.VoidType(), e.at(place, I64(n * LINE), BYTE), I32(0), I32(2), I32(1))
        place.add_incoming(e.at(place, fetched[1], BYTE), inside)
    origin = e.at(panel, b.mul(index, I64(tile.columns)), F32)
    for n in range(step):
        columns = [
            e.load_vector(origin, I64(n * tile.columns + v * tile.lanes), F32, tile.lanes) for v in range(tile.vectors)
        ]
        for r, row in enumerate(rows):
            x = e.splat(e.load(e.at(row, index, F32), I64(n), F32), tile.lanes)
            for v, y in enumerate(columns, r * tile.vectors):
                current[v] = e.intrinsic("fma", x, y, current[v])
    following = b.add(index, I64(step), flags=("nuw", "nsw"))
    for phi, value in zip((index, *carried), (following, *current), strict=True):
        phi.add_incoming(value, inside)
    b.cbranch(b.icmp_unsigned("<", following, end), inside, after)
    b.position_at_end(after)
    results = [_phi(e, value, before) for value in sums]
    for phi, value in zip(results, current, strict=True):
        phi.add_incoming(value, inside)
    return results


@contextmanager
def _changed(e: Emitter, condition: Any, values: Sequence[Any]) -> Iterator[list[Any]]:
    """Values that the body replaces where a condition holds."""
    before = e.b.block
    found = list(values)
    with e.b.if_then(condition):
        yield found
        inside = e.b.block
    changed = list(found)
    found[:] = [_phi(e, value, before) for value in values]
    for phi, value in zip(found, changed, strict=True):
        phi.add_incoming(value, inside)


def _phi(e: Emitter, value: Any, block: Any) -> Any:
    phi = e.b.phi(value.type)
    phi.add_incoming(value, block)
    return phi


def _mask(e: Emitter, width: Any, first: int, lanes: int) -> Any:
    """Which of `lanes` columns from `first` on are below `width`."""
    numbers = ir.Constant(ir.VectorType(I32, lanes), [I32(first + n) for n in range(lanes)])
    return e.b.icmp_signed("<", numbers, e.splat(e.b.trunc(width, I32), lanes))


def load(e: Emitter, pointer: Any, vector: Any, mask: Any) -> Any:
    """A vector at any address, zero where the mask says that there is nothing."""
    if mask is None:
        return e.b.load(pointer, typ=vector, align=4)
    name = f"llvm.masked.load.v{vector.count}f32.p0"
    return e.call(name, vector, pointer, I32(4), mask, ir.Constant(vector, [F32(0.0)] * vector.count))


def store(e: Emitter, value: Any, pointer: Any, mask: Any) -> None:
    """Write a vector to any address, but what the mask leaves out."""
    if mask is None:
        e.b.store(value, pointer, align=4)
    else:
        e.call(f"llvm.masked.store.v{value.type.count}f32.p0", ir.VoidType(), value, pointer, I32(4), mask)

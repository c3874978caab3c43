"""Boxes of arrays, copied element by element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers.llvm.emitter import I32, I64, Emitter
from trtn.backend.providers.llvm.team import TeamEmitter
from trtn.backend.providers.llvm.walk import Walk, walk
from trtn.dsl.dtypes import DType
from trtn.dsl.records import record

__all__ = ["Box", "box_of", "copy_box", "emitter_for", "fill_box", "loops", "raw_type"]

LONG = 1 << 16
"""Elements of the results from which on several threads are faster, some 20 us of one."""
MANY = 16
"""Turns of a loop from which on it is divided evenly enough."""
SIDE = 8
"""Of the squares that are transposed: as many elements of 4 bytes as a register of AVX2 has."""


@record()
class Box:
    """Part of array number `array`: from element `start` on, `shape` elements at distances of `strides`."""

    array: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int = 0

    def part(self, begin: Sequence[int], shape: Sequence[int]) -> Box:
        """`shape` elements from position `begin` on."""
        start = self.start + sum(n * s for n, s in zip(begin, self.strides, strict=True))
        return Box(self.array, tuple(shape), self.strides, start)


def emitter_for(problem: Problem) -> Emitter:
    """For one thread or for a team, as much as there is to do."""
    count = len(problem.inputs) + len(problem.outputs)
    return TeamEmitter(count) if sum(o.size for o in problem.outputs) >= LONG else Emitter(count)


def box_of(number: int, layout: ArrayLayout) -> Box:
    """The whole of an array."""
    return Box(number, layout.shape, layout.strides)


def _given_strides(e: Emitter, strides: Sequence[int]) -> list[Any]:
    """Strides as `Emitter.offset` takes them: 0 and 1 are in the text, since vectors are made for them."""
    return [s if s in (0, 1) else e.given(s) for s in strides]


def raw_type(dtype: DType) -> Any:
    """A whole number as wide as an element: to be moved, not to be understood."""
    return ir.IntType(dtype.itemsize * 8)


@contextmanager
def loops(
    e: Emitter, shape: Sequence[int], arrays: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> Iterator[list[Any]]:
    """Loops over `shape` as `walk` orders them; gives where the element of each array lies. Of a team each member has a
    share of them."""
    plan = walk(shape, arrays)
    strides = [_given_strides(e, own) for own in plan.strides]
    with _nest(e, plan.counts) as indexes:
        yield [e.offset(indexes, own) for own in strides]


@contextmanager
def _nest(e: Emitter, counts: Sequence[int]) -> Iterator[list[Any]]:
    """Loops inside one another, one of them shared by a team's members; gives their counters."""
    given = [e.given(count) for count in counts]
    if not isinstance(e, TeamEmitter) or not counts:
        with e.nest(given) as indexes:
            yield indexes
        return
    shared = next((n for n, count in enumerate(counts) if count >= MANY), counts.index(max(counts)))
    with (
        e.nest(given[:shared]) as before,
        e.share(given[shared]) as (first, count),
        e.loop(count) as turn,
        e.nest(given[shared + 1 :]) as after,
    ):
        yield [*before, e.b.add(first, turn.index, flags=("nuw", "nsw")), *after]


def copy_box(e: Emitter, source: Box, target: Box, element: Any) -> None:
    """The source's elements into the target; one axis of the source may stand for many of the target's."""
    if 0 in target.shape:
        return
    start, end = (e.at(e.pointers[box.array], _from(e, box), element) for box in (source, target))
    plan = walk(target.shape, [(target.shape, target.strides), (source.shape, source.strides)])
    across = _across(plan) if element == I32 else None
    if across is not None:
        _transpose(e, plan, across, start, end)
        return
    strides = [_given_strides(e, own) for own in plan.strides]
    with _nest(e, plan.counts) as indexes:
        into, at = (e.offset(indexes, own) for own in strides)
        e.store(e.load(start, at, element), end, into, element)


def _across(plan: Walk) -> int | None:
    """The loop along which the source lies dense, where the target does so along another, the innermost one, and both
    are long enough for squares."""
    targets, sources = plan.strides
    if len(plan.counts) < 2 or targets[-1] != 1 or sources[-1] in (0, 1) or plan.counts[-1] < SIDE:
        return None
    return next((n for n, stride in enumerate(sources) if stride == 1 and plan.counts[n] >= SIDE), None)


def _transpose(e: Emitter, plan: Walk, across: int, start: Any, end: Any) -> None:
    """Squares that are read row by row, along `across`, and written column by column, along the last loop. Where a side
    of all is no multiple of theirs, the last square overlaps the one before."""
    b, inner = e.b, len(plan.counts) - 1
    strides = [_given_strides(e, own) for own in plan.strides]
    apart = [e.given(stride) for stride in (plan.strides[0][across], plan.strides[1][inner])]
    lasts = {n: e.given(plan.counts[n] - SIDE) for n in (across, inner)}
    squares = [-(-count // SIDE) if n in lasts else count for n, count in enumerate(plan.counts)]
    with _nest(e, squares) as indexes:
        for n, last in lasts.items():
            whole = b.mul(indexes[n], I64(SIDE))
            indexes[n] = b.select(b.icmp_unsigned("<", whole, last), whole, last)
        into, at = (e.offset(indexes, own) for own in strides)
        rows = [e.load_vector(start, b.add(at, b.mul(apart[1], I64(n))), I32, SIDE) for n in range(SIDE)]
        for n, column in enumerate(_columns(e, rows)):
            e.store_vector(column, end, b.add(into, b.mul(apart[0], I64(n))), I32)


def _columns(e: Emitter, rows: Sequence[Any]) -> Sequence[Any]:
    """The columns of a square: its halves' rows interleaved, as often as halving the side gives 1."""
    picks = [
        ir.Constant(ir.VectorType(I32, SIDE), [I32(n // 2 + SIDE * (n % 2) + first) for n in range(SIDE)])
        for first in (0, SIDE // 2)
    ]
    for _ in range(SIDE.bit_length() - 1):
        pairs = zip(rows[: SIDE // 2], rows[SIDE // 2 :], strict=True)
        rows = [e.b.shuffle_vector(x, y, pick) for x, y in pairs for pick in picks]
    return rows


def fill_box(e: Emitter, value: Any, target: Box, element: Any) -> None:
    """A value into all elements."""
    if 0 in target.shape:
        return
    end = e.at(e.pointers[target.array], _from(e, target), element)
    with loops(e, target.shape, [(target.shape, target.strides)]) as (into,):
        e.store(value, end, into, element)


def _from(e: Emitter, box: Box) -> Any:
    return e.given(box.start) if box.start else I64(0)

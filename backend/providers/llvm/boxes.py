"""Boxes of arrays, copied element by element."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from trtn.backend.problem import ArrayLayout
from trtn.backend.providers.llvm.emitter import I64, Emitter
from trtn.backend.providers.llvm.walk import walk
from trtn.dsl.dtypes import DType

__all__ = ["Box", "box_of", "copy_box", "fill_box", "loops", "raw_type"]


@dataclass(frozen=True, slots=True)
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
    """Loops over `shape` as `walk` orders them; gives where the element of each array lies."""
    plan = walk(shape, arrays)
    strides = [_given_strides(e, own) for own in plan.strides]
    with e.nest([e.given(count) for count in plan.counts]) as indexes:
        yield [e.offset(indexes, own) for own in strides]


def copy_box(e: Emitter, source: Box, target: Box, element: Any) -> None:
    """The source's elements into the target; one axis of the source may stand for many of the target's."""
    if 0 in target.shape:
        return
    start, end = (e.at(e.pointers[box.array], _from(e, box), element) for box in (source, target))
    arrays = [(target.shape, target.strides), (source.shape, source.strides)]
    with loops(e, target.shape, arrays) as (into, at):
        e.store(e.load(start, at, element), end, into, element)


def fill_box(e: Emitter, value: Any, target: Box, element: Any) -> None:
    """A value into all elements."""
    if 0 in target.shape:
        return
    end = e.at(e.pointers[target.array], _from(e, target), element)
    with loops(e, target.shape, [(target.shape, target.strides)]) as (into,):
        e.store(value, end, into, element)


def _from(e: Emitter, box: Box) -> Any:
    return e.given(box.start) if box.start else I64(0)

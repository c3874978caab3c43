"""How a result is cut into blocks, and arrays seen as matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from trtn.dsl.records import record

__all__ = ["BLOCK", "ELEMENTARY", "Block", "Unfit", "cut", "matrix", "pixels", "row_stride", "spans", "threads_for"]

BLOCK = 1 << 17
"""Elements of a block of results: it stays in a core's second cache, or close to it, through the layers after a product.
Smaller ones make calls so short that threads wait for each other at the interpreter's lock."""
FEWEST_ROWS = 128
"""Rows of a matrix product below which packing the other operand takes a notable part of it."""
GRAIN = 16
"""What the sizes of blocks are multiples of: a register tile of a matrix product."""
SHARE = 1 << 22
"""Multiplications of a matrix product, some 80 us of them, that a thread is worth waking for: threads that make calls
shorter than this wait for each other at the interpreter's lock."""
ELEMENTARY = 8
"""How many of them an element takes in a pass over an array, about."""


class Unfit(Exception):
    """A problem that a family has no kernel for; the message says why."""


@record()
class Block:
    """Part of a matrix."""

    rows: slice
    columns: slice


def threads_for(work: int, threads: int) -> int:
    """Of some threads those that are worth waking for a number of multiplications."""
    return max(1, min(threads, work // SHARE))


def spans(total: int, pieces: int, grain: int = 1) -> list[slice]:
    """Up to `pieces` parts of 0..total of about one length, a multiple of `grain`."""
    length = -(-total // max(pieces, 1))
    length += -length % grain
    return [slice(start, min(start + length, total)) for start in range(0, total, length)]


def cut(rows: int, columns: int, threads: int) -> list[Block]:
    """The blocks of a matrix of results, a multiple of `threads` where that can be: bands of rows, or where there are
    few rows, of columns."""
    pieces = max(1, min(rows * columns // BLOCK, rows // FEWEST_ROWS))
    pieces += -pieces % threads
    if rows >= pieces * FEWEST_ROWS or threads == 1:
        return [Block(r, slice(0, columns)) for r in spans(rows, pieces, GRAIN)]
    pieces = max(1, rows * columns // BLOCK)
    return [Block(slice(0, rows), c) for c in spans(columns, pieces + -pieces % threads, GRAIN)]


def row_stride(shape: Sequence[int], strides: Sequence[int]) -> int | None:
    """The distance between rows where an array [.., columns] lies as a matrix: rows at one distance, columns next to each
    other. Both in the unit of `strides`, in which an element takes the least of them."""
    step: int | None = None
    for size, stride in reversed(list(zip(shape[:-1], strides[:-1], strict=True))):
        if size == 1:
            continue
        if step is None:
            step, reach = stride, stride * size
        elif stride != reach:
            return None
        else:
            reach *= size
    return shape[-1] if step is None else step


def matrix(array: Any) -> Any:
    """An array [.., columns] as [rows, columns] over the same memory. Raises Unfit."""
    size = array.itemsize
    step = row_stride(array.shape, [s // size for s in array.strides])
    if step is None or (array.shape[-1] > 1 and array.strides[-1] != size):
        raise Unfit("rows that don't lie at one distance")
    shape = (prod(array.shape[:-1]), array.shape[-1])
    return np.lib.stride_tricks.as_strided(array, shape, (step * size, size))


def pixels(array: Any) -> Any:
    """An image [N, C, *spatial] with the channels last."""
    return np.moveaxis(array, 1, -1)

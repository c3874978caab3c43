"""Layouts as cuDNN wants them stated: images with sensible strides for axes of size 1, matrices of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trtn.backend.problem import ArrayLayout
from trtn.backend.providers.base import TacticError

__all__ = ["Stated", "image", "pack_channels_last", "pack_transposed", "rows", "rows_as_image"]


@dataclass(frozen=True, slots=True)
class Stated:
    """Dims and strides of a tensor in a graph."""

    dims: tuple[int, ...]
    strides: tuple[int, ...]


def image(layout: ArrayLayout) -> Stated:
    """[N, C, *spatial] with two spatial dims or more. Where the channels are the fastest, axes of size 1 get the
    strides that they have in a channels-last tensor: cuDNN looks at them."""
    extra = max(0, 4 - len(layout.shape))
    dims = (*layout.shape[:2], *[1] * extra, *layout.shape[2:])
    given = (*layout.strides[:2], *[0] * extra, *layout.strides[2:])
    last = [1, *range(len(dims) - 1, 1, -1), 0]
    walked = _walk(dims, given, last)
    if walked is None:
        walked = _walk(dims, given, range(len(dims) - 1, -1, -1))
    if walked is None:
        raise TacticError(f"strides {list(layout.strides)} are no image's")
    return Stated(dims, walked)


def _walk(dims: Sequence[int], given: Sequence[int], order: Sequence[int]) -> tuple[int, ...] | None:
    """Strides with those of axes of size 1 filled in, for axes from the fastest to the slowest; None where the given
    ones are not in this order."""
    strides = [0] * len(dims)
    reach = 1
    for axis in order:
        if dims[axis] == 1:
            strides[axis] = reach
            continue
        if given[axis] < reach:
            return None
        strides[axis] = given[axis]
        reach = given[axis] * dims[axis]
    return tuple(strides)


def rows(layout: ArrayLayout) -> Stated:
    """[.., K] as one matrix [1, rows, K]. Raises TacticError where the rows are not evenly apart."""
    *lead, width = layout.shape
    step = None
    count = 1
    for d, stride in zip(reversed(lead), reversed(layout.strides[:-1]), strict=True):
        if d == 1:
            continue
        if step is None:
            step = stride
        elif stride != step * count:
            raise TacticError(f"the rows of {layout} are not evenly apart")
        count *= d
    step = width if step is None else step
    if width > 1 and layout.strides[-1] != 1:
        raise TacticError(f"the elements of the rows of {layout} do not lie side by side")
    return Stated((1, count, width), (count * step, step, 1))


def rows_as_image(layout: ArrayLayout) -> Stated:
    """The same as an image [1, K, rows, 1] with the channels last."""
    _, count, width = rows(layout).dims
    step = rows(layout).strides[1]
    return Stated((1, width, count, 1), (count * step, 1, step, step))


def pack_channels_last(weight: Any) -> Any:
    """[K, C, *kernel] with the channels last in memory."""
    import cupy

    return cupy.moveaxis(cupy.ascontiguousarray(cupy.moveaxis(weight, 1, -1)), -1, 1)


def pack_transposed(weight: Any) -> Any:
    """[K, N] with each column's elements side by side."""
    import cupy

    return cupy.ascontiguousarray(weight.T).T

"""Strides over symbolic dims: how a value lies in memory, and which views of it need no copy.

A stride is the distance, in elements, from one place to the next along an axis; `Strides` has one for each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from trtn.dsl.dims import Dim, DimError
from trtn.dsl.network import Layer, Shape, Tensor

__all__ = ["Strides", "dense", "reshaped", "viewed"]

Strides = tuple[Dim, ...]


def dense(shape: Shape, order: Sequence[int] | None = None) -> Strides | None:
    """The strides of a value that fills its memory, with its axes in `order` from the slowest to the fastest (without
    it: the logical order). None where they are too large to be written down."""
    strides: list[Dim] = [1] * len(shape)
    step: Dim = 1
    try:
        for axis in reversed(range(len(shape)) if order is None else order):
            strides[axis] = step
            step = step * shape[axis]
    except DimError:
        return None
    return tuple(strides)


def viewed(layer: Layer, source: Tensor, strides: Strides | None, result: Tensor) -> Strides | None:
    """The strides of a view layer's result, for those of its input; None where they are not known, or where there is
    no such view."""
    if strides is None:
        return None
    match layer.op.name:
        case "reshape" | "flatten":
            return reshaped(source.shape, strides, result.shape)
        case "transpose":
            return tuple(strides[axis] for axis in layer.attrs["perm"])
        case "unsqueeze":
            rest = iter(strides)
            return tuple(1 if n in layer.attrs["axes"] else next(rest) for n in range(result.rank))
        case "squeeze":
            return tuple(s for n, s in enumerate(strides) if n not in layer.attrs["axes"])
        case "slice":
            steps = dict(zip(layer.attrs["axes"], layer.attrs["step"], strict=True))
            return tuple(s * steps.get(axis, 1) for axis, s in enumerate(strides))
        case "split" | "identity":
            return strides
    return None


def reshaped(shape: Shape, strides: Strides, to: Shape) -> Strides | None:
    """The strides of a view under another shape, by NumPy's rule: axes can be split, and neighbours joined that lie in
    memory as one axis would. None where elements would have to move, or where the dims leave that open."""
    old = [(d, s) for d, s in zip(shape, strides, strict=True) if d != 1]
    result: list[Dim] = [1] * len(to)
    new = [axis for axis, d in enumerate(to) if d != 1]
    try:
        while old or new:
            taken, made = _smallest(old, [to[axis] for axis in new])
            if not taken or not made:
                return None
            if any(a != d * b for (_, a), (d, b) in pairwise(old[:taken])):
                return None
            step = old[taken - 1][1]
            for axis in reversed(new[:made]):
                result[axis] = step
                step = step * to[axis]
            old, new = old[taken:], new[made:]
    except DimError:
        return None
    return tuple(result)


def _smallest(old: Sequence[tuple[Dim, Dim]], new: Sequence[Dim]) -> tuple[int, int]:
    """How many of the first old axes have as many elements as how many of the first new ones; (0, 0) where none have."""
    sizes: dict[Dim, int] = {}
    total: Dim = 1
    for count, (d, _) in enumerate(old, 1):
        total = total * d
        sizes.setdefault(total, count)
    total = 1
    for count, d in enumerate(new, 1):
        total = total * d
        if total in sizes:
            return sizes[total], count
    return 0, 0

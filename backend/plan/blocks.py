"""Pointwise layers evaluated block by block: what lies between them stays in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

from trtn.backend.evaluate import bind_layers
from trtn.backend.problem import Problem
from trtn.dsl.network import Layer, Tensor

__all__ = ["Blocks", "pointwise_tail"]

BLOCK = 1 << 14
"""Elements of a block: a few arrays of so many fit a core's own cache, and a call of NumPy takes longer over them than
to be made."""

Index = tuple[slice, ...]


def pointwise_tail(problem: Problem) -> tuple[Layer, ...]:
    """The last layers of a group, as far as all of its results are made by them element by element, and are large enough
    for several blocks; none where that isn't so."""
    group = problem.group
    shape = group.outputs[0].shape if group.outputs else ()
    if not problem.outputs or problem.outputs[0].size < 2 * BLOCK:
        return ()
    tail: list[Layer] = []
    for layer in reversed(group.layers):
        if not layer.op.pointwise or len(layer.outputs) != 1 or layer.output.shape != shape:
            break
        tail.insert(0, layer)
    made = {id(layer.output) for layer in tail}
    return tuple(tail) if all(id(t) in made for t in group.outputs) else ()


class Blocks:
    """Layers over arrays of one shape, or that broadcast to it."""

    def __init__(self, layers: Sequence[Layer], problem: Problem) -> None:
        import numpy as np

        outputs = problem.group.outputs
        self._outputs = [id(t) for t in outputs]
        self._sizes = dict(problem.sizes)
        self._run = bind_layers(layers, outputs, problem.sizes, np)
        self._rank = len(problem.outputs[0].shape)
        self._indexes = _split(problem.outputs[0].shape)
        made = {id(layer.output) for layer in layers}
        read: dict[int, Tensor] = {id(t): t for layer in layers for t in layer.inputs if t is not None}
        self._inputs = [key for key in read if key not in made]

    def run(self, table: dict[int, Any], targets: Sequence[Any]) -> None:
        """Read what they need from the table, and write the group's results to `targets`."""
        arrays = [(key, table[key]) for key in self._inputs]
        for index in self._indexes:
            part = {key: array[_of(array, index, self._rank)] for key, array in arrays}
            self._run(part, dict(self._sizes))
            for key, target in zip(self._outputs, targets, strict=True):
                target[index] = part[key]


def _split(shape: Sequence[int]) -> list[Index]:
    """Blocks of a shape, in order: ranges of one axis at single positions of those before it."""
    axis = 0
    while prod(shape[axis + 1 :]) > BLOCK:
        axis += 1
    step = max(1, BLOCK // prod(shape[axis + 1 :]))
    ranges = [[slice(n, n + 1) for n in range(size)] for size in shape[:axis]]
    ranges.append([slice(n, n + step) for n in range(0, shape[axis], step)])
    return list(product(*ranges))


def _of(array: Any, index: Index, rank: int) -> Index:
    """The part of an array that meets a block of what it broadcasts to, which has so many axes."""
    own = index[rank - array.ndim :]
    return tuple(slice(None) if size == 1 else i for size, i in zip(array.shape, own, strict=False))

"""Groups whose layers treat what lies along one of the first axes alike: slices of it, evaluated by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from trtn.backend.devices.workers import Workers
from trtn.backend.evaluate import bind_layers
from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers.base import Launch
from trtn.backend.providers.blockwise.blocks import BLOCK, ELEMENTARY, Unfit, spans, threads_for
from trtn.dsl.dims import evaluate
from trtn.dsl.network import Layer

__all__ = ["SlicesKernel"]


class SlicesKernel:
    """The group's own evaluation of one slice after another. Only layers of functions of elements, and those that
    normalise or attend along later axes."""

    workspace = 0

    def __init__(self, problem: Problem, workers: Workers) -> None:
        """Raises Unfit."""
        group, self._workers, self._sizes = problem.group, workers, dict(problem.sizes)
        shape = problem.outputs[0].shape
        if any(o.shape != shape for o in problem.outputs):
            raise Unfit("results of several shapes")
        axes = range(min(_free_axes(layer, len(shape)) for layer in group.layers))
        work = prod(shape) * max(_products(layer, problem) for layer in group.layers)
        self._threads = threads_for(work, workers.count)
        wanted = max(self._threads, -(-prod(shape) // BLOCK))
        if wanted == 1:
            raise Unfit("too little to be cut")
        # the first axis that is long enough for blocks: the arrays lie along it in the largest pieces
        axis = next((a for a in axes if shape[a] >= wanted), None)
        axis = max(axes, key=lambda a: shape[a], default=None) if axis is None else axis
        if axis is None or shape[axis] < 2:
            raise Unfit("nothing to cut")
        self._axis = axis - len(shape)
        self._cuts = [_is_cut(layout, self._axis, shape[axis]) for layout in problem.inputs]
        pieces = min(shape[axis], wanted + -wanted % self._threads)
        self._spans = spans(shape[axis], pieces)
        self._inputs = [id(t) for t in group.inputs]
        self._outputs = [id(t) for t in group.outputs]
        self._run = bind_layers(group.layers, group.outputs, problem.sizes, np)

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        after = (slice(None),) * (-self._axis - 1)
        parts = [
            (
                {
                    key: array[(..., span, *after)] if cut else array
                    for key, array, cut in zip(self._inputs, inputs, self._cuts, strict=True)
                },
                [(key, array[(..., span, *after)]) for key, array in zip(self._outputs, outputs, strict=True)],
            )
            for span in self._spans
        ]

        def work(number: int, slot: int) -> None:
            arrays, targets = parts[number]
            table = dict(arrays)
            self._run(table, dict(self._sizes))
            for key, target in targets:
                target[...] = table[key]

        return lambda: self._workers.share(work, len(parts), self._threads)


def _is_cut(layout: ArrayLayout, axis: int, size: int) -> bool:
    """Whether an input has the axis, counted from the last; else it broadcasts along it. Raises Unfit."""
    found = layout.shape[axis] if len(layout.shape) >= -axis else 1
    if found not in (1, size):
        raise Unfit("an input that does not broadcast")
    return found == size


def _products(layer: Layer, problem: Problem) -> int:
    """What an element of a layer's result takes, in multiplications."""
    if layer.op.name != "attention":
        return ELEMENTARY
    keys = layer.inputs[1]
    assert keys is not None
    return 2 * evaluate(keys.shape[-2], problem.sizes) + ELEMENTARY


def _free_axes(layer: Layer, rank: int) -> int:
    """How many of the result's first axes a layer treats each part of alike. Raises Unfit."""
    shapes = [t.shape for t in layer.inputs if t is not None]
    match layer.op.name:
        case "attention":
            heads = all(len(s) == rank and s[-3] == shapes[0][-3] for s in shapes[1:3])
            return rank - 2 if heads else rank - 3
        case "layer_norm" | "rms_norm" | "softmax" | "log_softmax":
            return int(layer.attrs["axis"]) % rank
    if layer.op.pointwise and not layer.regions and len(layer.outputs) == 1:
        return rank
    raise Unfit(f"`{layer.op.name}` is not cut")

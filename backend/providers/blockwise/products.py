"""Products of matrices with a constant: linear, and matmul by one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from trtn.backend.devices.workers import Workers
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch
from trtn.backend.providers.blockwise.blocks import Block, Unfit, cut, matrix, threads_for
from trtn.backend.providers.blockwise.chain import Call, Chain, Finish

__all__ = ["ProductKernel", "multiplied"]


class ProductKernel:
    """x [.., K] times a matrix [K, N], a block of the result at a time."""

    workspace = 0

    def __init__(self, problem: Problem, workers: Workers) -> None:
        """Raises Unfit."""
        layer = problem.group.layers[0]
        if layer.op.name not in ("linear", "matmul"):
            raise Unfit(f"no kernel for `{layer.op.name}`")
        x, weight = layer.inputs[:2]
        assert x is not None and weight is not None
        layouts = problem.layout(x), problem.layout(weight), problem.outputs[0]
        if len(layouts[1].shape) != 2 or not layouts[1].constant or not all(layout.size for layout in layouts):
            raise Unfit("no product with one constant matrix")
        if len(layouts[0].shape) < 2 or not layouts[0].is_contiguous or not layouts[2].is_contiguous:
            raise Unfit("rows that don't lie dense")
        self._group = problem.group
        self._workers = workers
        bias = layer.inputs[2] if len(layer.inputs) > 2 else None
        self._chain = Chain(problem, bias, image=False)
        self._keys = id(x), id(weight)
        *lead, columns = layouts[2].shape
        rows = prod(lead)
        self._threads = threads_for(rows * layouts[1].size, workers.count)
        self._blocks = cut(rows, columns, self._threads)

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        arrays = dict(zip(map(id, self._group.inputs), inputs, strict=True))
        x, weight = (arrays[key] for key in self._keys)
        x, y, finish = matrix(x), matrix(outputs[0]), self._chain.bind(arrays)
        calls = [multiplied(x, weight, y, where, finish) for where in self._blocks]
        return lambda: self._workers.run(calls, self._threads)


def multiplied(x: Any, weight: Any, y: Any, where: Block, finish: Finish) -> Sequence[Call]:
    """A block of y = finish(x @ weight)."""
    block = y[where.rows, where.columns]
    return [partial(np.matmul, x[where.rows], weight[:, where.columns], block), *finish(block, where)]

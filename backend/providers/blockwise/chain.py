"""The bias and the pointwise layers after a product, on one block of it at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

import numpy as np

from trtn.backend.evaluate import evaluate_layer, resolve_attr
from trtn.backend.problem import Problem
from trtn.backend.providers.blockwise.blocks import GRAIN, Block, Unfit, matrix, pixels, row_stride, spans
from trtn.dsl.network import Layer, Tensor

__all__ = ["Call", "Chain", "Finish"]

Call = Callable[[], object]
Finish = Callable[[Any, Block], list[Call]]
"""What makes, in place, of a block of the product that block of the result. The calls are made once and called in each
run: taking views of arrays would cost as much as the arithmetic."""
_FUNCTIONS: Mapping[str, Any] = {
    "add": np.add,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "sub": np.subtract,
}
_EVALUATED = 1 << 16
"""Elements whose temporaries stay in the last cache when a layer is evaluated in several steps. With fewer the steps are so
short that threads wait for each other at the interpreter's lock: GELU takes 61 ms of BERT-base on one thread, and
with a quarter of this 135 ms of two."""
_WIDE = 512
"""Elements that a loop of NumPy's should go over at least."""


class Chain:
    """What follows the first layer of a group. The result is a matrix to it: its columns are the channels of an image
    or the features, and what a layer reads beside it is a number, a row, or a matrix of that shape."""

    def __init__(self, problem: Problem, bias: Tensor | None, *, image: bool) -> None:
        """Raises Unfit."""
        group = problem.group
        self._problem = problem
        self._layers = group.layers[1:]
        self._first = group.layers[0].output
        self._bias = bias
        self._image = image
        for layer in self._layers:
            if any(t is not None and t.dtype.name != "f32" for t in (*layer.inputs, *layer.outputs)):
                raise Unfit(f"`{layer.op.name}` of other numbers than f32")
            for t in layer.inputs:
                if t is not None and t in group.inputs and t.weight is None and not self._is_matrix(t):
                    raise Unfit(f"`{t.name}` has rows that don't lie at one distance")

    def _is_matrix(self, tensor: Tensor) -> bool:
        layout = self._problem.layout(tensor)
        axes = [0, *range(2, len(layout.shape)), 1] if self._image else range(len(layout.shape))
        shape, strides = [layout.shape[a] for a in axes], [layout.strides[a] for a in axes]
        return row_stride(shape, strides) is not None and (shape[-1] == 1 or strides[-1] == 1)

    def bind(self, arrays: Mapping[int, Any]) -> Finish:
        """`arrays` are the group's inputs by tensor id."""
        read = {id(t): t for layer in self._layers for t in layer.inputs if t is not None and id(t) in arrays}
        operands = {key: self._operand(t, arrays[key]) for key, t in read.items()}
        bias = None if self._bias is None else _Row(arrays[id(self._bias)])

        def finish(block: Any, where: Block) -> list[Call]:
            parts = {key: _part(array, where) for key, array in operands.items()}
            calls = [] if bias is None else [bias.added(block, where)]
            value = self._first
            for n, layer in enumerate(self._layers):
                functions = self._in_place(layer, value, parts, block)
                if not functions:
                    return calls + self._evaluations(self._layers[n:], value, block, where, operands)
                calls += functions
                value = layer.output
            return calls

        return finish

    def _operand(self, tensor: Tensor, array: Any) -> Any:
        """A matrix, or of a constant a row or a number."""
        if tensor.weight is None:
            return matrix(pixels(array) if self._image else array)
        return array.reshape(-1) if array.size > 1 else array.reshape(())

    def _in_place(self, layer: Layer, value: Tensor, parts: Mapping[int, Any], block: Any) -> list[Call]:
        """A layer that NumPy has functions for, and that alone reads the block's value: the block becomes its result.
        Nothing for any other."""
        if sum(t is value for other in self._layers for t in other.inputs) != 1:
            return []
        name = layer.op.name
        if name in ("relu", "clip"):
            low, high = (0.0, None) if name == "relu" else (layer.attrs["min"], layer.attrs["max"])
            bounds = [np.float32(-inf if low is None else low), np.float32(inf if high is None else high)]
            # one number is slow for `maximum` and `minimum`; `np.clip` is this method with much of Python around it
            return [partial(block.clip, *bounds, out=block)]
        arguments = [block if t is value else parts.get(id(t)) for t in layer.inputs]
        if name not in _FUNCTIONS or len(arguments) != 2 or any(a is None for a in arguments):
            return []
        return [partial(_FUNCTIONS[name], *arguments, out=block)]

    def _evaluations(
        self, layers: Sequence[Layer], value: Tensor, block: Any, where: Block, operands: Mapping[int, Any]
    ) -> list[Call]:
        """The layers from one on, some rows at a time."""
        calls: list[Call] = []
        for rows in spans(len(block), -(-block.size // _EVALUATED)):
            piece, start = block[rows], where.rows.start
            at = Block(slice(start + rows.start, start + rows.stop), where.columns)
            given = {key: _part(array, at) for key, array in operands.items()}
            calls.append(partial(self._evaluate, layers, {**given, id(value): piece}, piece))
        return calls

    def _evaluate(self, layers: Sequence[Layer], given: Mapping[int, Any], piece: Any) -> None:
        """Layers by their ops' own evaluation; the piece becomes the last one's result."""
        values = dict(given)
        for layer in layers:
            attrs = {k: resolve_attr(v, self._problem.sizes) for k, v in layer.attrs.items()}
            arrays = [None if t is None else values[id(t)] for t in layer.inputs]
            (values[id(layer.output)],) = evaluate_layer(layer, arrays, attrs, np)
        piece[...] = values[id(layers[-1].output)]


class _Row:
    """A bias. Where it is short it is added to several rows at a time."""

    def __init__(self, bias: Any) -> None:
        self._bias = bias
        self._times = 1
        while self._times < GRAIN and self._times * bias.size < _WIDE:
            self._times *= 2
        self._wide = np.tile(bias, self._times)

    def added(self, block: Any, where: Block) -> Call:
        rows, columns = block.shape
        if self._times > 1 and columns == self._bias.size and rows % self._times == 0 and block.flags.c_contiguous:
            several = block.reshape(rows // self._times, self._times * columns)
            return partial(np.add, several, self._wide, out=several)
        return partial(np.add, block, self._bias[where.columns], out=block)


def _part(array: Any, where: Block) -> Any:
    """What belongs to a block: of a matrix, a row or a number."""
    if array.ndim == 2:
        return array[where.rows, where.columns]
    return array[where.columns] if array.ndim else array

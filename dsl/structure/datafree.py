"""Tensors that follow from the dims alone (positions, masks): what they hold, seen at sample sizes.

What an exporter computes from ranges, comparisons and index arithmetic changes its form only at the constants in it. So
sizes around those constants show whether it is everywhere the mask or the grid that it looks like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from trtn.dsl.dims import DimError, Expr, Range, evaluate, symbols
from trtn.dsl.network import Layer, Tensor

if TYPE_CHECKING:
    from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["DataFree", "data_free"]

Array = np.ndarray[Any, Any]

_LARGEST_CONSTANT = 24
"""A computation with larger constants in it may look different only at sizes that are too large to try."""
_LARGEST_WEIGHT = 64
"""Bytes of a constant that may be part of it."""
_MOST_LAYERS = 100

_OPS = frozenset({
    "add", "and", "bitwise_and", "bitwise_not", "bitwise_or", "cast", "concat", "cumsum", "dims", "equal", "expand",
    "floor_div", "gather", "gather_nd", "greater", "greater_equal", "identity", "less", "less_equal", "mul", "neg",
    "not", "not_equal", "or", "range", "reshape", "slice", "squeeze", "sub", "transpose", "triangle", "trilu",
    "unsqueeze", "where", "xor", "tril", "triu", "fill", "full",
})  # fmt: skip


class DataFree:
    """The tensors of one network that depend on its dims only."""

    def __init__(self, rewriter: Rewriter) -> None:
        self._rewriter = rewriter
        self._dims = rewriter.network.dims
        self._known: set[int] = set()
        for layer in rewriter.network.layers:
            constant = layer.op.name in _OPS and all(t is None or self._is_constant(t) for t in layer.inputs)
            if constant and all(symbols(d) <= self._dims.keys() for t in layer.outputs for d in t.shape):
                self._known |= {id(t) for t in layer.outputs}
        self._samples: dict[int, list[Array] | None] = {}

    def __contains__(self, tensor: Tensor | None) -> bool:
        return id(tensor) in self._known

    def samples(self, tensor: Tensor) -> list[tuple[Mapping[str, int], Array]]:
        """The sizes that were tried, and the elements at each; none for a tensor that can't be judged by samples."""
        if id(tensor) not in self._known:
            return []
        layers = self._layers_of(tensor)
        constants = [c for layer in layers for c in _constants(layer)]
        if len(layers) > _MOST_LAYERS or any(abs(c) > _LARGEST_CONSTANT for c in constants):
            return []
        used = sorted({s for layer in layers for t in layer.outputs for d in t.shape for s in symbols(d)})
        reach = sum(map(abs, constants)) + len(layers) + 2
        found: list[tuple[Mapping[str, int], Array]] = []
        for env in _sizes({name: self._dims[name] for name in used}, min(reach, 64)):
            array = self._evaluate(layers, tensor, env)
            if array is None:
                return []
            found.append((env, array))
        return found

    def _is_constant(self, tensor: Tensor) -> bool:
        if tensor.weight is not None:
            return tensor.weight.nbytes <= _LARGEST_WEIGHT
        return id(tensor) in self._known

    def _layers_of(self, tensor: Tensor) -> list[Layer]:
        """The layers that a tensor comes from, each after those that it reads."""
        found: dict[int, Layer] = {}

        def visit(t: Tensor | None) -> None:
            layer = self._rewriter.maker(t)
            if layer is None or id(layer) in found or len(found) > _MOST_LAYERS:
                return
            for inner in layer.inputs:
                visit(inner)
            found[id(layer)] = layer

        visit(tensor)
        return list(found.values())

    def _evaluate(self, layers: list[Layer], tensor: Tensor, env: Mapping[str, int]) -> Array | None:
        known: dict[int, Array] = {}
        for layer in layers:
            arrays: list[Array | None] = [
                None if t is None else t.weight.load() if t.weight is not None else known[id(t)] for t in layer.inputs
            ]
            if not layer.op.spec.inputs or not layer.op.spec.inputs[-1].variadic:
                arrays += [None] * (len(layer.op.spec.inputs) - len(arrays))
            attrs = {name: _plain(value, env) for name, value in layer.attrs.items()}
            try:
                raw = layer.op.evaluate(np, *arrays, **attrs)
            except (ArithmeticError, IndexError, TypeError, ValueError):
                return None  # these sizes don't suit it: it can't be judged
            for t, array in zip(layer.outputs, raw if isinstance(raw, tuple) else (raw,), strict=True):
                known[id(t)] = np.asarray(array)
        return known[id(tensor)]


_CACHE: WeakKeyDictionary[Rewriter, DataFree] = WeakKeyDictionary()


def data_free(rewriter: Rewriter) -> DataFree:
    """The data-free tensors of the network that a rewriter edits, found once."""
    found = _CACHE.get(rewriter)
    if found is None:
        found = _CACHE[rewriter] = DataFree(rewriter)
    return found


def _constants(layer: Layer) -> Iterator[int]:
    """The integers in a layer that a comparison could hinge on."""
    for t in layer.inputs:
        if t is not None and t.weight is not None and t.dtype.is_integer:
            yield from (int(v) for v in t.weight.load().reshape(-1))
    for value in layer.attrs.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, int) and not isinstance(item, bool) and abs(item) < 2**31 - 1:
                yield item


def _sizes(ranges: Mapping[str, Range], reach: int) -> Iterator[dict[str, int]]:
    """Sizes to try: small ones, different ones, and such that go beyond every constant."""
    seen: set[tuple[int, ...]] = set()
    for first in (1, 2, 3, reach + 1):
        for step in (0, 1, 3):
            env = {name: ranges[name].clamp(first + step * n) for n, name in enumerate(ranges)}
            if tuple(env.values()) not in seen:
                seen.add(tuple(env.values()))
                yield env


def _plain(value: Any, env: Mapping[str, int]) -> Any:
    if isinstance(value, Expr):
        try:
            return evaluate(value, env)
        except DimError:
            return value
    return tuple(_plain(v, env) for v in value) if isinstance(value, tuple) else value

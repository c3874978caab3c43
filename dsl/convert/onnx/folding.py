"""Computes nodes at import whose inputs are known: constants by their values, shape arithmetic by dim expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from trtn.dsl.builder import Builder
from trtn.dsl.convert.onnx.registry import Handler, TensorList, Unsupported, listed
from trtn.dsl.dims import Dim
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.ops.infer import VALUE_LIMIT, InferFailure

if TYPE_CHECKING:
    from trtn.dsl.convert.onnx.call import Call

__all__ = ["FOLD_LIMIT", "Folder", "evaluate_layer"]

FOLD_LIMIT = 1 << 20
"""Bytes that a constant may take, going in or coming out, for its node to be computed at import.

Larger ones stay layers: the builder folds those, and the weight stays a reference to the model's file.
"""

_STRUCTURAL = frozenset({
    "reshape", "transpose", "slice", "concat", "gather", "squeeze", "unsqueeze", "expand", "flatten", "tile", "flip",
    "split", "identity", "add", "sub", "mul",
})  # fmt: skip
"""Ops whose reference evaluation also works on arrays of dim expressions."""


class Folder:
    """Folds nodes one by one; remembers the elements of integer tensors of rank 2 and more that have no `value`."""

    def __init__(self) -> None:
        self._elements: dict[int, tuple[Tensor, np.ndarray[Any, Any]]] = {}

    def fold(self, call: Call, handler: Handler) -> list[Tensor | None] | None:
        """The results of a node that can be computed now, or None."""
        inputs = [t for t in call.inputs if t is not None]
        if not inputs or len(inputs) < sum(map(bool, call.node.inputs)) or any(call.node.graphs):
            return None  # nothing to fold, lists of tensors, control flow
        if all(t.weight is not None for t in inputs):
            return self._constant(call, handler)
        if all(t.weight is not None or t.value is not None or id(t) in self._elements for t in inputs):
            return self._symbolic(call, handler)
        return None

    def _constant(self, call: Call, handler: Handler) -> list[Tensor | None] | None:
        if any(t.weight is not None and t.weight.nbytes > FOLD_LIMIT for t in call.inputs if t is not None):
            return None
        traced = _trace(call, handler)
        if traced is None:
            return None
        layers, results = traced
        if any(not _is_small(t) for layer in layers for t in layer.outputs):
            return None
        known: dict[int, np.ndarray[Any, Any]] = {}
        for layer in layers:
            arrays = [_array(t, known) for t in layer.inputs]
            for tensor, array in zip(layer.outputs, evaluate_layer(layer, arrays), strict=True):
                known[id(tensor)] = array
        return [
            t if t is None or t.weight is not None else _named(call, n, known[id(t)]) for n, t in enumerate(results)
        ]

    def _symbolic(self, call: Call, handler: Handler) -> list[Tensor | None] | None:
        traced = _trace(call, handler)
        if traced is None:
            return None
        layers, results = traced
        if all(t is None or t.weight is not None or t.value is not None for t in results):
            return [
                _known(call, n, t, t.value) if t is not None and t.weight is None else t for n, t in enumerate(results)
            ]
        elements = self._evaluate_dims(layers)
        if elements is None or any(t is not None and t.weight is None and id(t) not in elements for t in results):
            return None
        made: list[Tensor | None] = []
        for n, t in enumerate(results):
            if t is None or t.weight is not None:
                made.append(t)
                continue
            values = elements[id(t)]
            if values.ndim <= 1 and values.size <= VALUE_LIMIT:
                made.append(_known(call, n, t, tuple(values.reshape(-1).tolist())))
            elif all(isinstance(v, int) for v in values.reshape(-1)):
                made.append(_named(call, n, values.astype(t.dtype.numpy)))
            else:
                return self._remembered(call, handler, [elements[id(r)] if r is not None else None for r in results])
        return made

    def _remembered(
        self, call: Call, handler: Handler, elements: Sequence[np.ndarray[Any, Any] | None]
    ) -> list[Tensor | None]:
        """The node's layers as they are, with the elements of its results kept for the nodes that read them."""
        results = listed(handler(call))
        for tensor, values in zip(results, elements, strict=True):
            if tensor is not None and values is not None:
                self._elements[id(tensor)] = (tensor, values)
        return results

    def _evaluate_dims(self, layers: Sequence[Layer]) -> dict[int, np.ndarray[Any, Any]] | None:
        known: dict[int, np.ndarray[Any, Any]] = {}
        for layer in layers:
            if layer.op.name not in _STRUCTURAL or any(not o.dtype.is_integer for o in layer.outputs):
                return None
            arrays = [self._dims_of(t, known) for t in layer.inputs]
            try:
                results = evaluate_layer(layer, arrays)
            except (TypeError, ValueError):  # an attribute is itself a dim expression
                return None
            for tensor, array in zip(layer.outputs, results, strict=True):
                known[id(tensor)] = np.asarray(array, dtype=object)
        return known

    def _dims_of(self, tensor: Tensor | None, known: dict[int, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any] | None:
        if tensor is None:
            return None
        if id(tensor) in known:
            return known[id(tensor)]
        if id(tensor) in self._elements:
            return self._elements[id(tensor)][1]
        if tensor.weight is not None:
            # What indexes (a gather's indices) stays an integer array; dims among constants are small either way.
            return tensor.weight.load()
        assert tensor.value is not None
        values = np.empty(len(tensor.value), dtype=object)
        values[:] = tensor.value
        return values.reshape(() if tensor.rank == 0 else (len(tensor.value),))


def _trace(call: Call, handler: Handler) -> tuple[tuple[Layer, ...], list[Tensor | None]] | None:
    """The layers that a node would become, made aside so that they take no names; None where it becomes none."""
    aside = Builder("fold")
    with aside.region([]) as region:
        try:
            given = handler(replace(call, builder=aside, weight_name=lambda wish: wish))
        except (Unsupported, InferFailure):
            return None  # the real walk meets it again and reports it
    if isinstance(given, TensorList) or not all(layer.op.deterministic for layer in region.layers):
        return None
    return tuple(region.layers), listed(given)


def _is_small(tensor: Tensor) -> bool:
    return all(isinstance(d, int) for d in tensor.shape) and (
        prod(d for d in tensor.shape if isinstance(d, int)) * tensor.dtype.itemsize <= FOLD_LIMIT
    )


def _array(tensor: Tensor | None, known: dict[int, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any] | None:
    if tensor is None:
        return None
    return tensor.weight.load() if tensor.weight is not None else known[id(tensor)]


def _named(call: Call, number: int, array: np.ndarray[Any, Any]) -> Tensor:
    return replace(call, path=call.results[number]).constant(array)


def _known(call: Call, number: int, tensor: Tensor, value: tuple[Dim, ...] | None) -> Tensor:
    assert value is not None
    if all(isinstance(v, int) for v in value):
        shape = () if tensor.rank == 0 else (len(value),)
        return _named(call, number, np.asarray(value, dtype=tensor.dtype.numpy).reshape(shape))
    at = replace(call, path=call.results[number], results=(call.results[number],))
    return at.emit("dims", values=value, dtype=tensor.dtype, scalar=tensor.rank == 0)


def evaluate_layer(layer: Layer, inputs: Sequence[np.ndarray[Any, Any] | None]) -> tuple[np.ndarray[Any, Any], ...]:
    """The results of a layer on NumPy arrays. Narrow types are computed in f32 and i32, as the runtime does."""
    op = layer.op
    arrays = list(inputs)
    declared = op.spec.inputs
    if not (declared and declared[-1].variadic):
        arrays += [None] * (len(declared) - len(arrays))
    narrow = not op.native_low_precision
    tensors = [*layer.inputs, *[None] * (len(arrays) - len(layer.inputs))]
    operands = [_widened(a, t) if narrow else a for a, t in zip(arrays, tensors, strict=True)]
    raw = op.evaluate(np, *operands, **layer.attrs)
    listed = raw if isinstance(raw, tuple) else (raw,)
    return tuple(
        np.asarray(y) if np.asarray(y).dtype == object else np.asarray(y).astype(t.dtype.numpy, copy=False)
        for y, t in zip(listed, layer.outputs, strict=True)
    )


def _widened(array: np.ndarray[Any, Any] | None, tensor: Tensor | None) -> np.ndarray[Any, Any] | None:
    if array is None or tensor is None or array.dtype == object or not tensor.dtype.is_narrow:
        return array
    return array.astype(np.float32 if tensor.dtype.is_float else np.int32)

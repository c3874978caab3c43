"""Masks that exporters compute by index: conditions that always hold, gathers that take every element in order, and
copies along an axis that broadcasting makes anyway.
"""

from __future__ import annotations

import numpy as np

from trtn.dsl.dims import product, symbols
from trtn.dsl.dtypes import BOOL
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.ops.infer import InferFailure
from trtn.dsl.structure.constants import uniform
from trtn.dsl.structure.datafree import data_free
from trtn.dsl.structure.patterns import Replacement
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "AlwaysPattern", "BroadcastPattern", "GridPattern", "RowsPattern"]

_BROADCASTING = frozenset({
    "add", "and", "attention", "div", "equal", "greater", "greater_equal", "less", "less_equal", "mul", "not_equal", "or",
    "sub", "where",
})  # fmt: skip


class AlwaysPattern:
    """and(x, m) is x where m is true whatever the dims are."""

    name = "condition that always holds"
    ops = frozenset({"and"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        for x, other in (layer.inputs, layer.inputs[::-1]):
            if x is None or x.weight is not None or not _is_true(rewriter, other):
                continue
            if x.type == layer.output.type:
                return x
            return rewriter.layer("expand", x, outputs=layer.outputs, origin=layer.origin, shape=layer.output.shape)
        return None


class BroadcastPattern:
    """expand(x) is x for a layer that broadcasts; where all that it reads is broadcast, its result is, in its place."""

    name = "expand before broadcasting"
    ops = _BROADCASTING
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        sources = [_unexpanded(rewriter, t, layer) for t in layer.inputs]
        if all(a is b for a, b in zip(sources, layer.inputs, strict=True)):
            return None
        if not _known(rewriter, layer):
            return None
        try:
            made = rewriter.layer(
                layer.op.name, *sources, name=f"{layer.name}.narrow", origin=layer.origin, **layer.attrs
            )
        except InferFailure:
            return None
        if made.output.shape == layer.output.shape:
            return rewriter.layer(layer.op.name, *sources, outputs=layer.outputs, origin=layer.origin, **layer.attrs)
        whole = rewriter.layer(
            "expand", made.output, outputs=layer.outputs, origin=layer.origin, shape=layer.output.shape
        )
        return made, whole


class GridPattern:
    """gather_nd(x, indices) where the indices are the elements' own: x with axes of size 1 among its own."""

    name = "gather of everything"
    ops = frozenset({"gather_nd"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        x, indices = layer.inputs
        if x is None or indices is None or layer.attrs["batch_dims"] or indices not in data_free(rewriter):
            return None
        if indices.shape[-1] != x.rank or x.rank == 0:
            return None
        axes = _axes_of_grid(layer, x)
        if axes is None:
            return None
        samples = data_free(rewriter).samples(indices)
        if not samples or not all(_is_grid(array, axes) for _, array in samples):
            return None
        others = [a for a in range(layer.output.rank) if a not in axes]
        if not others:
            return x
        return rewriter.layer("unsqueeze", x, outputs=layer.outputs, origin=layer.origin, axes=others)


class RowsPattern:
    """gather(x, indices) where the indices are 0, 1, 2.. over all of the axis: x in another shape."""

    name = "gather of all rows"
    ops = frozenset({"gather"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        x, indices = layer.inputs
        if x is None or indices is None or layer.attrs["axis"] or indices not in data_free(rewriter):
            return None
        if product(indices.shape) != x.shape[0] or not _known(rewriter, layer):
            return None
        samples = data_free(rewriter).samples(indices)
        if not samples or not all(np.array_equal(a.reshape(-1), np.arange(a.size)) for _, a in samples):
            return None
        return rewriter.layer("reshape", x, outputs=layer.outputs, origin=layer.origin, shape=layer.output.shape)


PATTERNS = (AlwaysPattern(), BroadcastPattern(), GridPattern(), RowsPattern())


def _known(rewriter: Rewriter, layer: Layer) -> bool:
    """Whether the sizes of a layer's result follow from the dims."""
    return all(symbols(d) <= rewriter.network.dims.keys() for d in layer.output.shape)


def _unexpanded(rewriter: Rewriter, tensor: Tensor | None, layer: Layer) -> Tensor | None:
    """What `expand` broadcasts, for a tensor that it makes, where `layer` may read it as it is."""
    expanded = rewriter.maker(tensor, "expand")
    if expanded is None or tensor is None or len(expanded.inputs) != 1:
        return tensor
    if layer.op.name == "attention" and tensor not in layer.inputs[3:]:
        return tensor
    return expanded.inputs[0]


def _is_true(rewriter: Rewriter, tensor: Tensor | None) -> bool:
    if tensor is None or tensor.dtype is not BOOL:
        return False
    if tensor.weight is not None:
        return uniform(tensor) == 1
    samples = data_free(rewriter).samples(tensor)
    return bool(samples) and all(bool(array.all()) for _, array in samples)


def _axes_of_grid(layer: Layer, x: Tensor) -> list[int] | None:
    """The axes of the result that those of x would be, in order: all others have size 1."""
    axes: list[int] = []
    for axis, size in enumerate(layer.output.shape):
        if len(axes) < x.rank and size == x.shape[len(axes)]:
            axes.append(axis)
        elif size != 1:
            return None
    return axes if len(axes) == x.rank else None


def _is_grid(indices: np.ndarray[tuple[int, ...], np.dtype[np.int64]], axes: list[int]) -> bool:
    rank = indices.ndim - 1
    for number, axis in enumerate(axes):
        shape = tuple(-1 if n == axis else 1 for n in range(rank))
        if not np.array_equal(
            indices[..., number], np.broadcast_to(np.arange(indices.shape[axis]).reshape(shape), indices.shape[:-1])
        ):
            return False
    return True

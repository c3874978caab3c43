"""Positions and what is looked up by them: tables of 0, 1, 2.. as ranges, without axes that only broadcasting needs."""

from __future__ import annotations

import numpy as np

from trtn.dsl.dims import Dim, Relation, Verdict, prove, symbols
from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.patterns import Replacement
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "LeadingAxesPattern", "LookupPattern", "PositionsPattern"]

_LARGEST = 1 << 18
"""Bytes of a table that is looked into."""
_BROADCASTING = frozenset({"add", "and", "div", "mul", "or", "sub", "where"})


class PositionsPattern:
    """The first elements of a constant 0, 1, 2.. are a range."""

    name = "positions"
    ops = frozenset({"slice"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        table = layer.inputs[0]
        if table is None or table.rank == 0 or len(layer.inputs) > 1 or not _counts(table):
            return None
        if layer.attrs["axes"] != (table.rank - 1,) or layer.attrs["step"] != (1,) or layer.attrs["start"] != (0,):
            return None
        end = _length(rewriter, layer, table)
        if table.rank == 1:
            return rewriter.layer("range", outputs=layer.outputs, origin=layer.origin, end=end, dtype=table.dtype)
        row = rewriter.layer("range", name=_beside(layer, "range"), origin=layer.origin, end=end, dtype=table.dtype)
        axes = tuple(range(table.rank - 1))
        return row, rewriter.layer("unsqueeze", row.output, outputs=layer.outputs, origin=layer.origin, axes=axes)


class LookupPattern:
    """What is looked up for indices with leading axes of size 1: such axes are put before the result."""

    name = "axes before a lookup"
    ops = frozenset({"embedding"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        indices, *others = layer.inputs
        inner = _without_leading_axes(rewriter, indices)
        if inner is None or indices is None:
            return None
        found = rewriter.layer("embedding", inner, *others, name=_beside(layer, "embedding"), origin=layer.origin)
        axes = tuple(range(indices.rank - inner.rank))
        return found, rewriter.layer("unsqueeze", found.output, outputs=layer.outputs, origin=layer.origin, axes=axes)


class LeadingAxesPattern:
    """Leading axes of size 1 are there by broadcasting, where another operand has as many axes."""

    name = "axes before broadcasting"
    ops = _BROADCASTING
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        for place, t in enumerate(layer.inputs):
            inner = _without_leading_axes(rewriter, t)
            others = [o for n, o in enumerate(layer.inputs) if n != place and o is not None]
            if inner is None or all(o.rank < layer.output.rank for o in others):
                continue
            inputs = [inner if n == place else o for n, o in enumerate(layer.inputs)]
            return rewriter.layer(layer.op.name, *inputs, outputs=layer.outputs, origin=layer.origin, **layer.attrs)
        return None


PATTERNS = (LeadingAxesPattern(), LookupPattern(), PositionsPattern())


def _without_leading_axes(rewriter: Rewriter, tensor: Tensor | None) -> Tensor | None:
    """x, where a tensor is x with axes of size 1 put before its own."""
    view = rewriter.maker(tensor, "unsqueeze", "reshape")
    x = view.inputs[0] if view is not None else None
    if tensor is None or x is None or x.weight is not None or not 0 < x.rank < tensor.rank:
        return None
    return x if tensor.shape == (1,) * (tensor.rank - x.rank) + x.shape else None


def _beside(layer: Layer, name: str) -> str:
    """A name in the module of a layer."""
    module, dot, _ = layer.name.rpartition(".")
    return f"{module}{dot}{name}"


def _length(rewriter: Rewriter, layer: Layer, table: Tensor) -> Dim:
    """The length of a slice: its end as it is written, where the dims' ranges say that the table is that long."""
    length, end = layer.output.shape[-1], layer.attrs["end"]
    if end is None or isinstance(length, int) or not symbols(length) <= rewriter.network.dims.keys():
        return length
    fits = Relation("<=", end[0], table.shape[-1])
    return end[0] if prove(fits, rewriter.network.domain()).verdict is Verdict.PROVED else length


def _counts(table: Tensor) -> bool:
    """Whether a constant holds 0, 1, 2.. along its last axis, which is the only one."""
    weight = table.weight
    if weight is None or not table.dtype.is_integer or weight.nbytes > _LARGEST:
        return False
    if any(size != 1 for size in weight.shape[:-1]) or weight.shape[-1] < 2:
        return False
    return bool(np.array_equal(weight.load().reshape(-1), np.arange(weight.shape[-1])))

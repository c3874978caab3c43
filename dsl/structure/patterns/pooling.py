"""Means over all of an image, and images as rows: global_avg_pool and flatten."""

from __future__ import annotations

from trtn.dsl.dims import product
from trtn.dsl.network import Layer
from trtn.dsl.structure.patterns import Replacement
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "FlattenPattern", "GlobalPoolPattern"]

_POOLS = {"reduce_mean": "global_avg_pool", "reduce_max": "global_max_pool"}


class GlobalPoolPattern:
    """The mean (or greatest element) over all spatial axes: [N, C, *spatial] -> [N, C, 1, ..], or [N, C] without
    them."""

    name = "global pool"
    ops = frozenset(_POOLS)
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        x = layer.inputs[0]
        if x is None or x.rank < 4 or not x.dtype.is_float or layer.attrs["axes"] != tuple(range(2, x.rank)):
            return None
        op = _POOLS[layer.op.name]
        if layer.attrs["keepdims"]:
            return rewriter.layer(op, x, outputs=layer.outputs, origin=layer.origin)
        pool = rewriter.layer(op, x, name=f"{layer.name}.pool", origin=layer.origin)
        return pool, rewriter.layer("flatten", pool.output, outputs=layer.outputs, origin=layer.origin)


class FlattenPattern:
    """reshape(x, shape=[N, ..]) with all axes but the first in one is flatten(x)."""

    name = "flatten"
    ops = frozenset({"reshape"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        x = layer.inputs[0]
        if x is None or x.rank < 3 or layer.output.shape != (x.shape[0], product(x.shape[1:])):
            return None
        return rewriter.layer("flatten", x, outputs=layer.outputs, origin=layer.origin)


PATTERNS = (FlattenPattern(), GlobalPoolPattern())

"""Pointwise regions: connected layers that work element by element on one shape, in one pass over memory."""

from __future__ import annotations

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "PointwiseFusion"]

_LIMIT = 32


class PointwiseFusion:
    """As many layers as are connected, have results of one shape and stay convex, up to 32. Any of the
    results may leave.
    """

    name = "pointwise"
    kind = "pointwise"
    after = frozenset({"conv", "gemm", "normalisation", "reduced_pointwise"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if not _is_pointwise(seed):
            return None
        region = {id(seed): seed}
        pending = [seed]
        while pending:
            for layer in index.in_order(index.neighbours(pending.pop(0))):
                if id(layer) in region or not _is_pointwise(layer) or not index.is_free(layer):
                    continue
                reason = self._refusal(index, region, layer, seed)
                if reason:
                    index.refuse(layer, reason)
                    continue
                region[id(layer)] = layer
                pending.append(layer)
        return index.in_order(region.values())

    def _refusal(self, index: GraphIndex, region: dict[int, Layer], layer: Layer, seed: Layer) -> str:
        if layer.output.shape != seed.output.shape:
            return f"it gives {layer.output.type}, the region beside it {seed.output.type}"
        if len(region) >= _LIMIT:
            return f"the region beside it has {_LIMIT} layers already"
        if not index.joins([*region.values(), layer]):
            return "a path leaves the region beside it and comes back through it"
        return ""


FUSION = PointwiseFusion()


def _is_pointwise(layer: Layer) -> bool:
    return layer.op.pointwise and not layer.op.view and len(layer.outputs) == 1

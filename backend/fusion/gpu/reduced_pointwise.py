"""Reductions of what pointwise layers make of one tensor: the elements are computed as they are read."""

from __future__ import annotations

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "ReducedPointwiseFusion"]

_REDUCTIONS = frozenset(
    {
        "global_avg_pool",
        "global_max_pool",
        "reduce_l1",
        "reduce_l2",
        "reduce_max",
        "reduce_mean",
        "reduce_min",
        "reduce_sum",
        "reduce_sum_square",
    }
)
_LIMIT = 8


class ReducedPointwiseFusion:
    """A reduction and the chain of pointwise layers of one tensor before it, read by nothing else."""

    name = "reduced_pointwise"
    kind = "reduction"
    after = frozenset({"depthwise", "library_conv", "library_gemm", "stem"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if seed.op.name not in _REDUCTIONS:
            return None
        chain = [seed]
        while len(chain) <= _LIMIT:
            x = chain[0].inputs[0]
            maker = index.maker(x)
            if x is None or maker is None or not index.is_free(maker) or not _is_unary(maker):
                break
            if len(index.readers(x)) != 1 or index.is_yielded(x):
                break
            chain.insert(0, maker)
        return tuple(chain) if len(chain) > 1 else None


FUSION = ReducedPointwiseFusion()


def _is_unary(layer: Layer) -> bool:
    """Whether a layer makes each element of one of its only input's."""
    return layer.op.pointwise and not layer.op.view and sum(t is not None for t in layer.inputs) == 1

"""Views: layers whose result is the input's memory under another shape or with other strides. They cost nothing."""

from __future__ import annotations

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "ViewFusion"]


class ViewFusion:
    """One layer with the op's trait `view`. Where that is "contiguous", the plan copies an input that is not."""

    name = "view"
    kind = "view"
    after: frozenset[str] = frozenset()

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if not seed.op.view:
            return None
        if any(t is not None for t in seed.inputs[1:]):
            index.refuse(seed, "its shape or bounds come as a tensor, so it is not known to be a view")
            return None
        return (seed,)


FUSION = ViewFusion()

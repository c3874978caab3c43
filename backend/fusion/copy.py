"""Layers that only move elements: each element of the result is one of an input's, or a constant."""

from __future__ import annotations

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "CopyFusion"]

_MOVES = frozenset(
    {
        "compress",
        "concat",
        "depth_to_space",
        "embedding",
        "gather",
        "gather_elements",
        "gather_nd",
        "pad",
        "reverse_sequence",
        "roll",
        "scatter_elements",
        "scatter_nd",
        "space_to_depth",
        "tile",
        "trilu",
    }
)


class CopyFusion:
    """One such layer. A view whose shape or bounds come as tensors (`reshape(x, to)`) is one as well."""

    name = "copy"
    kind = "copy"
    after = frozenset({"view"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        return (seed,) if seed.op.name in _MOVES or seed.op.view else None


FUSION = CopyFusion()

"""Convolutions as GPU libraries run them."""

from __future__ import annotations

from trtn.backend.fusion.gpu.known_epilogue import with_known_epilogue
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "LibraryConvFusion"]


class LibraryConvFusion:
    """conv with a residual that is added and an activation."""

    name = "library_conv"
    kind = "conv"
    after = frozenset({"depthwise", "excitation", "stem"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        return with_known_epilogue(index, seed, 1) if seed.op.name == "conv" else None


FUSION = LibraryConvFusion()

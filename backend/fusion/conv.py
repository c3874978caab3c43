"""Convolutions and what follows them element by element."""

from __future__ import annotations

from trtn.backend.fusion.epilogue import with_epilogue
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "ConvFusion"]


class ConvFusion:
    """conv or deconv with its epilogue; channels are axis 1."""

    name = "conv"
    kind = "conv"
    after = frozenset({"library_conv"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        return with_epilogue(index, seed, 1) if seed.op.name in ("conv", "deconv") else None


FUSION = ConvFusion()

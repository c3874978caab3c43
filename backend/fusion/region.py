"""Control flow: a layer with bodies. The bodies are partitioned on their own, by whoever runs the layer."""

from __future__ import annotations

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "RegionFusion"]


class RegionFusion:
    """One layer that has regions."""

    name = "region"
    kind = "region"
    after: frozenset[str] = frozenset()

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        return (seed,) if seed.regions else None


FUSION = RegionFusion()

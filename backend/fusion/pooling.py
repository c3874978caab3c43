"""Pooling over windows or over all positions."""

from __future__ import annotations

from trtn.backend.fusion.single import SingleLayer

__all__ = ["FUSION"]

FUSION = SingleLayer(
    "pooling",
    frozenset({"avg_pool", "global_avg_pool", "global_max_pool", "lp_pool", "max_pool", "max_pool_with_indices"}),
    frozenset({"reduced_pointwise"}),
)

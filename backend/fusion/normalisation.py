"""Normalisations, with the addition of the residual before them."""

from __future__ import annotations

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "NormalisationFusion"]

_AFTER_RESIDUAL = ("layer_norm", "rms_norm")
_NORMS = frozenset({*_AFTER_RESIDUAL, "batch_norm", "group_norm", "instance_norm", "lp_norm", "lrn"})


class NormalisationFusion:
    """A normalisation. layer_norm and rms_norm take in the sum that they normalise, which may be read
    elsewhere, too.
    """

    name = "normalisation"
    kind = "normalisation"
    after = frozenset({"conv", "gemm", "norm_prologue"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if seed.op.name not in _NORMS:
            return None
        x = seed.inputs[0]
        residual = index.maker(x)
        if x is None or residual is None or residual.op.name != "add" or seed.op.name not in _AFTER_RESIDUAL:
            return (seed,)
        if not index.is_free(residual):
            index.refuse(residual, "it is in another group")
            return (seed,)
        if any(t is None or t.type != x.type for t in residual.inputs):
            index.refuse(residual, "it broadcasts, so it is not a residual")
            return (seed,)
        return (residual, seed) if index.joins((residual, seed)) else (seed,)


FUSION = NormalisationFusion()

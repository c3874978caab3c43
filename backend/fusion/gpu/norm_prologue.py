"""Normalisations of what pointwise layers make: the row is computed as it is read, from rows of tables where embeddings
are added up.
"""

from __future__ import annotations

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "NormPrologueFusion"]

_LIMIT = 12
_NORMS = ("layer_norm", "rms_norm")


class NormPrologueFusion:
    """layer_norm or rms_norm of the last axis, the pointwise layers that make what it normalises, broadcasts among them,
    and the embeddings that those read. What is normalised may be read elsewhere, too.
    """

    name = "norm_prologue"
    kind = "normalisation"
    after = frozenset({"conv", "gemm"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        x = seed.inputs[0] if seed.op.name in _NORMS else None
        if x is None or seed.attrs["axis"] != x.rank - 1:
            return None
        found = {id(seed): seed}
        pending = [x]
        while pending and len(found) <= _LIMIT:
            tensor = pending.pop()
            maker = index.maker(tensor)
            if maker is None or not index.is_free(maker) or id(maker) in found:
                continue
            leaves = index.is_yielded(tensor) or any(id(r) not in found for r in index.readers(tensor))
            if leaves and tensor is not x:
                continue
            if _is_row_lookup(maker):
                found[id(maker)] = maker
            elif maker.op.pointwise and not maker.op.view and maker.output.shape == x.shape:
                found[id(maker)] = maker
                pending += [t for t in maker.inputs if t is not None]
        layers = index.in_order(found.values())
        return layers if len(layers) > 1 and layers[-1] is seed and index.joins(layers) else None


FUSION = NormPrologueFusion()


def _is_row_lookup(layer: Layer) -> bool:
    """Whether a layer picks rows of a matrix."""
    if layer.op.name == "embedding":
        table = layer.inputs[1]
    elif layer.op.name == "gather" and layer.attrs["axis"] == 0:
        table = layer.inputs[0]
    else:
        return False
    return table is not None and table.rank == 2

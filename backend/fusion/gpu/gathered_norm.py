"""Embeddings that are added up and normalised: rows of tables are read where the normalisation reads its row."""

from __future__ import annotations

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "GatheredNormFusion"]

_LIMIT = 12
_NORMS = ("layer_norm", "rms_norm")


class GatheredNormFusion:
    """layer_norm or rms_norm of the last axis, the pointwise layers that make what it normalises, and the embeddings
    that those read. The sum may be read elsewhere, too.
    """

    name = "gathered_norm"
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
        looks_up = any(_is_row_lookup(layer) for layer in layers)
        return layers if looks_up and layers[-1] is seed and index.joins(layers) else None


FUSION = GatheredNormFusion()


def _is_row_lookup(layer: Layer) -> bool:
    """Whether a layer picks rows of a matrix."""
    if layer.op.name == "embedding":
        table = layer.inputs[1]
    elif layer.op.name == "gather" and layer.attrs["axis"] == 0:
        table = layer.inputs[0]
    else:
        return False
    return table is not None and table.rank == 2

"""Depthwise convolutions whose result is squeezed, excited and scaled: what a squeeze-and-excitation block does between its
1x1 convolutions. The image can stay where it was made until its channels' scales are known.
"""

from __future__ import annotations

from trtn.backend.fusion.gpu.depthwise import depthwise_refusal
from trtn.backend.fusion.gpu.excitation import excitation_of, with_constants
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "SqueezeFusion", "gated_refusal"]

_UNIT = 8
"""Channels that are moved together."""


class SqueezeFusion:
    """h = depthwise conv with its epilogue, s = the excitation of h's global average, h * s and what follows element by
    element. Nothing else reads h or s."""

    name = "squeeze"
    kind = "squeeze"
    after = frozenset({"stem"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if seed.op.name != "conv" or gated_refusal(seed):
            return None
        image = with_constants(index, seed)
        made = image[-1].output
        readers = index.readers(made)
        pool = next((r for r in readers if r.op.name == "global_avg_pool"), None)
        gate = next((r for r in readers if r.op.name == "mul"), None)
        if pool is None or gate is None or len(readers) != 2 or index.is_yielded(made):
            return None
        products = index.readers(pool.output)
        excitation = excitation_of(index, products[0]) if len(products) == 1 else None
        if excitation is None or index.is_yielded(pool.output):
            return None
        scale = excitation[-1].output
        if index.is_yielded(scale) or list(index.readers(scale)) != [gate] or not index.is_free(gate):
            return None
        if scale.shape[1:] != (made.shape[1], 1, 1) or gate.output.type != made.type:
            return None
        layers = index.in_order((*image, pool, *excitation, *with_constants(index, gate)))
        return layers if all(map(index.is_free, layers)) and index.joins(layers) else None


FUSION = SqueezeFusion()


def gated_refusal(conv: Layer) -> str:
    """Why a convolution is none whose image a cluster of blocks can hold; "" where it may be."""
    refusal = depthwise_refusal(conv)
    x = conv.inputs[0]
    if refusal or x is None:
        return refusal
    if x.rank != 4 or x.dtype.bits != 16:
        return "it is no image of 16-bit floats"
    if conv.output.shape[1] != x.shape[1] or not isinstance(x.shape[1], int) or x.shape[1] % _UNIT:
        return f"its channels are not a multiple of {_UNIT}"
    if max(conv.attrs["dilations"]) > 1:
        return "it is dilated"
    if not all(isinstance(d, int) for d in (*x.shape[2:], *conv.output.shape[2:])):
        return "the size of its image is not known"
    return ""

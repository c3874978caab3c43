"""Convolutions of each channel by itself, with any epilogue, and a bound from above on what they read."""

from __future__ import annotations

from trtn.backend.fusion.epilogue import with_epilogue
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "DepthwiseFusion", "depthwise_refusal", "is_ceiling"]


class DepthwiseFusion:
    """A depthwise conv and its epilogue. A clip from above before it, which nothing else reads, is done on load."""

    name = "depthwise"
    kind = "conv"
    after = frozenset({"squeeze", "stem"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if seed.op.name != "conv" or depthwise_refusal(seed):
            return None
        x = seed.inputs[0]
        before = index.maker(x)
        group = with_epilogue(index, seed, 1)
        absorbed = (
            before is not None
            and x is not None
            and is_ceiling(before)
            and index.is_free(before)
            and len(index.readers(x)) == 1
            and not index.is_yielded(x)
        )
        return (before, *group) if before is not None and absorbed else group


FUSION = DepthwiseFusion()


def is_ceiling(layer: Layer) -> bool:
    """Whether a layer only bounds from above, and leaves 0, which windows are padded with, as it is."""
    return layer.op.name == "clip" and layer.attrs["min"] is None and layer.attrs["max"] >= 0


def depthwise_refusal(conv: Layer) -> str:
    """Why a convolution is none of those that depthwise kernels are for; "" where it is."""
    x, weight, *rest = conv.inputs
    assert x is not None and weight is not None
    if weight.shape[1] != 1 or conv.attrs["groups"] == 1 or weight.shape[0] != conv.attrs["groups"]:
        return "its channels are not convolved one by one"
    if x.rank > 4:
        return f"it has {x.rank - 2} spatial axes"
    if weight.weight is None or any(t is not None and t.weight is None for t in rest):
        return "its weight or bias is not a constant"
    if x.dtype.name not in ("f16", "bf16", "f32") or any(t is not None and t.dtype is not x.dtype for t in conv.inputs):
        return f"generated convolutions don't take {x.dtype}"
    if conv.attrs["dilations"][0] > 1 and conv.attrs["strides"][0] > 1 and x.rank == 4:
        return "it has both strides and dilations"
    if max(weight.weight.shape[2:]) > 9:
        return f"its window of {max(weight.weight.shape[2:])} is long"
    return ""

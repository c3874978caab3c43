"""The first convolution of an image network, with the cast of the image before it and what follows element by element."""

from __future__ import annotations

from trtn.backend.fusion.epilogue import with_epilogue
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer, Tensor

__all__ = ["FUSION", "StemFusion", "stem_refusal"]

_MOST_CHANNELS = 4
"""Libraries pad these to 8, which costs a pass over the image and half of the arithmetic."""
_IMAGES = frozenset({"f32", "f16", "bf16", "u8"})


class StemFusion:
    """conv of an image of up to 4 channels in a 16-bit float, its epilogue, the cast that made the image such, and the
    max-pooling that alone reads the result."""

    name = "stem"
    kind = "stem"
    after: frozenset[str] = frozenset()

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        if seed.op.name != "conv" or stem_refusal(seed):
            return None
        group = with_epilogue(index, seed, 1)
        while any(t.weight is None for t in _others(group)):  # a residual
            group = group[:-1]
        group = (*group, *_pooling(index, group[-1].output))
        cast = index.maker(seed.inputs[0])
        return (cast, *group) if cast is not None and _is_absorbed(index, cast) else group


FUSION = StemFusion()


def _pooling(index: GraphIndex, result: Tensor) -> tuple[Layer, ...]:
    """The max-pooling that alone reads a convolution's result, if one does."""
    readers = index.readers(result)
    if (
        len(readers) != 1
        or index.is_yielded(result)
        or readers[0].op.name != "max_pool"
        or not index.is_free(readers[0])
    ):
        return ()
    return (readers[0],) if max(readers[0].attrs["dilations"]) == 1 else ()


def _is_absorbed(index: GraphIndex, cast: Layer) -> bool:
    """Whether a layer casts an image that nothing else reads so."""
    source = cast.inputs[0] if cast.op.name == "cast" else None
    if source is None or source.dtype.name not in _IMAGES or not index.is_free(cast):
        return False
    return len(index.readers(cast.output)) == 1 and not index.is_yielded(cast.output)


def _others(group: tuple[Layer, ...]) -> list[Tensor]:
    """What the epilogue reads beside the group's own results."""
    made = {id(layer.output) for layer in group}
    return [t for layer in group[1:] for t in layer.inputs if t is not None and id(t) not in made]


def stem_refusal(conv: Layer) -> str:
    """Why a convolution is none of those that stem kernels are for; "" where it is."""
    x, weight, *rest = conv.inputs
    assert x is not None and weight is not None
    if x.rank != 4 or conv.attrs["groups"] != 1 or x.shape[1] not in range(1, _MOST_CHANNELS + 1):
        return f"x is no image of up to {_MOST_CHANNELS} channels"
    if all(d == 1 for d in x.shape[2:]):
        return "its image has one place"
    if weight.weight is None or any(t is not None and t.weight is None for t in rest):
        return "its weight or bias is not a constant"
    if x.dtype.name not in ("f16", "bf16"):
        return f"tensor cores take f16 and bf16 here, not {x.dtype}"
    outputs, channels, *kernel = weight.weight.shape
    if outputs % 8:
        return f"its {outputs} channels are not a multiple of 8"
    if conv.attrs["strides"][1] * channels % 2:
        return "neighbouring places start at odd elements"
    if max(conv.attrs["dilations"]) > 1 or max(kernel) > 11:
        return "its window is dilated or large"
    return ""

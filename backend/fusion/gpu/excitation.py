"""Two products of one vector a sample, each with what follows it: the excitation of a squeeze-and-excitation block. Hardly
any work: what counts is that it is one launch.
"""

from __future__ import annotations

from trtn.backend.fusion.epilogue import with_epilogue
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["FUSION", "ExcitationFusion", "excitation_of", "vector_product_refusal", "with_constants"]

_MOST_WEIGHTS = 1 << 17
"""Elements of each of the two matrices: a block reads them all, for each sample anew."""
_WIDEST = 4096
"""Elements of a vector: some of them are to fit into shared memory."""


_SQUEEZES = frozenset({"global_avg_pool", "global_max_pool", "reduce_max", "reduce_mean"})


class ExcitationFusion:
    """conv of an image of one place, or linear of a matrix, with its epilogue, twice, after a squeeze: there are as many
    vectors as samples then, not as many as a batch of table rows may have.
    """

    name = "excitation"
    kind = "excitation"
    after = frozenset({"squeeze", "stem"})

    def grow(self, index: GraphIndex, seed: Layer) -> tuple[Layer, ...] | None:
        found = excitation_of(index, seed)
        return found if found is not None and _is_squeezed(index, seed) else None


FUSION = ExcitationFusion()


def excitation_of(index: GraphIndex, first: Layer) -> tuple[Layer, ...] | None:
    """Two small products of one vector a sample, the second of the first one's result alone, with their epilogues."""
    if vector_product_refusal(first):
        return None
    half = with_constants(index, first)
    between = half[-1].output
    readers = index.readers(between)
    if len(readers) != 1 or index.is_yielded(between) or vector_product_refusal(second := readers[0]):
        return None
    if second.inputs[0] is not between or not index.is_free(second):
        return None
    return (*half, *with_constants(index, second))


def _is_squeezed(index: GraphIndex, layer: Layer) -> bool:
    """Whether a layer reads a pooled image."""
    maker = index.maker(layer.inputs[0])
    while maker is not None and maker.op.view:
        maker = index.maker(maker.inputs[0])
    return maker is not None and maker.op.name in _SQUEEZES


def with_constants(index: GraphIndex, product: Layer) -> tuple[Layer, ...]:
    """A layer and its epilogue, up to the first layer that reads another activation."""
    group = with_epilogue(index, product, 1)
    made = {id(layer.output) for layer in group}
    for count, layer in enumerate(group):
        if count and any(t is not None and t.weight is None and id(t) not in made for t in layer.inputs):
            return group[:count]
    return group


def vector_product_refusal(layer: Layer) -> str:
    """Why a layer is no small product of one vector a sample; "" where it is."""
    if layer.op.name not in ("conv", "linear"):
        return "it is no product"
    x, weight, *rest = layer.inputs
    assert x is not None and weight is not None
    if weight.weight is None or any(t is not None and t.weight is None for t in rest):
        return "its weight or bias is not a constant"
    if layer.op.name == "linear" and x.rank != 2:
        return "it has several vectors a sample"
    if layer.op.name == "conv":
        attrs = layer.attrs
        if any(d != 1 for d in (*x.shape[2:], *layer.output.shape[2:], *weight.weight.shape[2:])):
            return "its image has more than one place"
        if attrs["groups"] != 1 or any(attrs["pads"]) or attrs["auto_pad"] != "none":
            return "it is padded or grouped"
    outputs, inputs = weight.weight.shape[:2]
    if max(outputs, inputs) > _WIDEST:
        return f"its vectors of {max(outputs, inputs)} elements are long"
    if outputs * inputs > _MOST_WEIGHTS:
        return f"its {outputs * inputs} weights are too many to be read for each sample"
    if x.dtype.name not in ("f16", "bf16", "f32") or any(
        t is not None and t.dtype is not x.dtype for t in layer.inputs
    ):
        return f"generated products don't take {x.dtype}"
    return ""

"""One slice of a tensor is a view of it: a gather by a single known index."""

from __future__ import annotations

from trtn.dsl.network import Layer, Network
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "SelectPass"]


class SelectPass:
    """gather(x, i), i a scalar that is known, becomes squeeze(slice(x, i, i + 1)), neither of which copies. Exact."""

    name = "select"
    after = frozenset({"fold", "sizes"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            index = _index(layer)
            if index is not None:
                _take_view(rewriter, layer, index)
        return rewriter.finish()


PASS = SelectPass()


def _index(layer: Layer) -> int | None:
    """The index from the beginning, where it is one, known, and in the range of an axis whose size is known: out of
    it a gather fails and a slice is empty."""
    if layer.op.name != "gather":
        return None
    x, indices = layer.inputs
    if x is None or indices is None or indices.weight is None or indices.shape:
        return None
    size = x.shape[layer.attrs["axis"]]
    if not isinstance(size, int):
        return None
    index = int(indices.weight.load())
    return index % size if -size <= index < size else None


def _take_view(rewriter: Rewriter, layer: Layer, index: int) -> None:
    axis = layer.attrs["axis"]
    part = rewriter.layer(
        "slice",
        layer.inputs[0],
        name=f"{layer.name}.slice",
        origin=layer.origin,
        start=(index,),
        end=(index + 1,),
        axes=(axis,),
    )
    whole = rewriter.layer("squeeze", part.output, outputs=layer.outputs, origin=layer.origin, axes=(axis,))
    rewriter.exchange(layer, part, whole)

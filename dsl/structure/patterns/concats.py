"""Joined tensors that are joined further, and padding with nothing."""

from __future__ import annotations

from trtn.dsl.network import Layer
from trtn.dsl.structure.patterns import Replacement
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "GrowingPattern", "NoPadPattern"]


class GrowingPattern:
    """concat(a, b, c) where concat(a, b) is there already is concat(concat(a, b), c).

    Layers that read the results of all before them (a dense block) become equal by it.
    """

    name = "concat that grows"
    ops = frozenset({"concat"})
    late = True

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        best: Layer | None = None
        for other in rewriter.readers(layer.inputs[0]) if layer.inputs and layer.inputs[0] is not None else ():
            count = len(other.inputs)
            if other.op.name != "concat" or other.attrs != layer.attrs or not 1 < count < len(layer.inputs):
                continue
            if any(a is not b for a, b in zip(other.inputs, layer.inputs, strict=False)):
                continue
            if rewriter.graph_of(other) is not rewriter.graph_of(layer) or rewriter.first([other, layer]) is layer:
                continue
            if best is None or count > len(best.inputs):
                best = other
        if best is None or not rewriter.untouched(best):
            return None
        rest = layer.inputs[len(best.inputs) :]
        return rewriter.layer("concat", best.output, *rest, outputs=layer.outputs, origin=layer.origin, **layer.attrs)


class NoPadPattern:
    """pad(x, pads=[0, 0, ..]) is x."""

    name = "no padding"
    ops = frozenset({"pad"})
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        x, pads = layer.inputs[0], layer.attrs["pads"]
        return x if x is not None and pads is not None and not any(p != 0 for p in pads) else None


PATTERNS = (GrowingPattern(), NoPadPattern())

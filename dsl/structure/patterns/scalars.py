"""Constants of one element as plain numbers."""

from __future__ import annotations

import numpy as np

from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.patterns import Replacement
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PATTERNS", "ScalarPattern"]


class ScalarPattern:
    """x * [c] is x * c: an axis of size 1 that broadcasting makes anyway is no part of a number."""

    name = "number"
    ops = frozenset({
        "add", "div", "equal", "greater", "greater_equal", "less", "less_equal", "max", "min", "mul", "pow", "sub",
        "where",
    })  # fmt: skip
    late = False

    def replace(self, rewriter: Rewriter, layer: Layer) -> Replacement:
        rank = max((t.rank for t in layer.inputs if t is not None and not _is_number(t)), default=-1)
        wide = [t for t in layer.inputs if t is not None and _is_number(t) and 0 < t.rank <= rank]
        if not wide or layer.output.rank != rank:
            return None
        inputs = [_number(rewriter, t) if t is not None and t in wide else t for t in layer.inputs]
        return rewriter.layer(layer.op.name, *inputs, outputs=layer.outputs, origin=layer.origin, **layer.attrs)


PATTERNS = (ScalarPattern(),)


def _is_number(tensor: Tensor) -> bool:
    weight = tensor.weight
    return weight is not None and not weight.name and all(d == 1 for d in weight.shape)


def _number(rewriter: Rewriter, tensor: Tensor) -> Tensor:
    assert tensor.weight is not None
    return rewriter.nameless(np.reshape(tensor.weight.load(), ()))

"""Constant folding: what follows from weights, or from the dims alone, is computed once, when the engine is built."""

from __future__ import annotations

import logging

from trtn.backend.evaluate import evaluate_layer
from trtn.backend.mentions import dims_of_attrs
from trtn.dsl.dims import symbols
from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "FoldPass"]

_log = logging.getLogger(__name__)

KEPT = frozenset({"dequantize_linear"})
"""Never folded: a quantised weight would be stored as floats again, and what it feeds would not be seen to be
quantised.
"""
FREE_BYTES = 1 << 20
GROWTH = 16


class FoldPass:
    """Layers over weights become weights, integers that the dims decide become constants or one `dims` layer.

    A result of more than 1 MiB that is over 16 times as large as what it is made of (`expand`, `fill`, ..)
    stays a layer. Exact.
    """

    name = "fold"
    after: frozenset[str] = frozenset()

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            if _is_foldable(rewriter, layer):
                constants = _evaluate(rewriter, layer)
                if constants is not None:
                    rewriter.bypass(layer, *constants)
            elif _is_size_arithmetic(rewriter, layer):
                _fold_value(rewriter, layer)
        return rewriter.finish()


PASS = FoldPass()


def _is_foldable(rewriter: Rewriter, layer: Layer) -> bool:
    if layer.regions or not layer.op.deterministic or not layer.outputs or layer.op.name in KEPT:
        return False
    inputs = [rewriter.current(t) for t in layer.inputs if t is not None]
    if any(t.weight is None for t in inputs):
        return False
    if dims_of_attrs(layer):
        return False
    if any(not isinstance(d, int) for t in layer.outputs for d in t.shape):
        return False
    if layer.op.name == "identity" and layer.output in rewriter.network.outputs:
        return False  # a constant output: there is nothing left to compute
    made = sum(_nbytes(t) for t in layer.outputs)
    return made <= FREE_BYTES or made <= GROWTH * sum(map(_nbytes, inputs))


def _nbytes(tensor: Tensor) -> int:
    total = tensor.dtype.itemsize
    for d in tensor.shape:
        total *= d if isinstance(d, int) else 1
    return total


def _evaluate(rewriter: Rewriter, layer: Layer) -> list[Tensor] | None:
    """The layer's results as weights; None where its evaluation fails (an index out of range): the runtime says so."""
    import numpy as np

    inputs = [rewriter.current(t) if t is not None else None for t in layer.inputs]
    declared = layer.op.spec.inputs
    absent = 0 if declared and declared[-1].variadic else len(declared) - len(inputs)
    arrays = [t.weight.load() if t is not None and t.weight is not None else None for t in inputs]
    try:
        with np.errstate(all="ignore"):
            results = evaluate_layer(layer, [*arrays, *[None] * absent], layer.attrs, np)
    except (ArithmeticError, IndexError, ValueError) as e:
        _log.info("`%s` can't be folded: %s", layer.name, e)
        return None
    if any(r.shape != t.shape for r, t in zip(results, layer.outputs, strict=True)):
        return None
    return [
        rewriter.constant(np.array(r, order="C"), f"{t.name}.folded")
        for r, t in zip(results, layer.outputs, strict=True)
    ]


def _is_size_arithmetic(rewriter: Rewriter, layer: Layer) -> bool:
    """Whether a layer computes integers that the dims decide, in another way than by `dims` itself."""
    if len(layer.outputs) != 1 or layer.output.value is None or layer.output.rank > 1:
        return False
    if layer.regions or layer.op.name == "dims" or not layer.output.dtype.is_integer:
        return False
    if layer.op.name == "identity" and layer.output in rewriter.network.outputs:
        return False
    return all(symbols(v) <= rewriter.network.dims.keys() for v in layer.output.value)


def _fold_value(rewriter: Rewriter, layer: Layer) -> None:
    import numpy as np

    out = layer.output
    values = out.value or ()
    if all(isinstance(v, int) for v in values):
        array = np.array(values, dtype=out.dtype.numpy).reshape(tuple(map(int, out.shape)))  # type: ignore[arg-type]
        rewriter.bypass(layer, rewriter.constant(array, f"{out.name}.folded"))
        return
    dims = rewriter.layer(
        "dims", outputs=[out], origin=layer.origin, values=values, dtype=out.dtype, scalar=out.rank == 0
    )
    rewriter.exchange(layer, dims)

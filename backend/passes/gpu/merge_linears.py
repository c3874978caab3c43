"""Products of one activation become one product: the queries, keys and values of attention, gate and up of a gated
feed-forward. A GPU is filled by one large product where several small ones leave it idle.
"""

from __future__ import annotations

from collections.abc import Sequence

from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "MergeLinearsPass"]

_MOST = 4
"""Products that become one. More would only keep results alive that are read much later."""
_UNIT = 8
"""Parts start at multiples of this many elements, so that 16 bits of each can be read in vectors."""
_STRIDED = frozenset({"attention", "concat", "layer_norm", "rms_norm"})
"""Ops, beside pointwise ones, whose kernels take any strides."""


class MergeLinearsPass:
    """linear(x, a), linear(x, b), .. become the parts of linear(x, [a b ..]), taken by a split of the last axis: a view.

    Left alone is what would lose an epilogue of its own, or whose readers would have to copy a part first. Exact, but
    for the order in which a library adds up.
    """

    name = "merge_linears"
    after = frozenset({"algebra", "batch_norm", "cse", "fold", "lower", "precision"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        found: dict[object, list[Layer]] = {}
        for layer in rewriter.layers():
            if layer.op.name == "linear" and not _refusal(rewriter, layer):
                found.setdefault(_shared(rewriter, layer), []).append(layer)
        for siblings in found.values():
            fitting = [s for s in siblings if _has_no_epilogue(rewriter, s, siblings)]
            for start in range(0, len(fitting), _MOST):
                if len(fitting[start : start + _MOST]) > 1:
                    _merge(rewriter, fitting[start : start + _MOST])
        return rewriter.finish()


PASS = MergeLinearsPass()


def _shared(rewriter: Rewriter, layer: Layer) -> object:
    """What products that become one have in common."""
    precision = layer.origin.precision
    return id(layer.inputs[0]), id(rewriter.graph_of(layer)), layer.output.dtype, precision and precision.name


def _refusal(rewriter: Rewriter, layer: Layer) -> str:
    x, weight, bias = (*layer.inputs, None)[:3]
    if x is None or x.weight is not None:
        return "it reads a constant"
    if weight is None or weight.weight is None or (bias is not None and bias.weight is None):
        return "its weight or bias is not a constant"
    if weight.dtype is not layer.output.dtype or (bias is not None and bias.dtype is not weight.dtype):
        return "its operands differ in dtype"
    if weight.weight.shape[1] % _UNIT:
        return f"its {weight.weight.shape[1]} columns are not a multiple of {_UNIT}"
    if rewriter.reader_count(layer.output) != len(rewriter.readers(layer.output)):
        return "its graph yields it"
    return ""


def _has_no_epilogue(rewriter: Rewriter, layer: Layer, siblings: Sequence[Layer]) -> bool:
    """Whether nothing is lost when the layer's result is a part of another one."""
    readers = rewriter.readers(layer.output)
    if all(reader.op.view and reader.op.name != "identity" for reader in readers):
        return all(_takes_strides(rewriter, reader) for reader in readers)
    return len(readers) == 1 and _joins(rewriter, layer.output, siblings)


def _takes_strides(rewriter: Rewriter, view: Layer) -> bool:
    """Whether what reads a view, and views of it, takes it as it lies in memory."""
    for t in view.outputs:
        readers = rewriter.readers(t)
        if rewriter.reader_count(t) != len(readers):
            return False
        for reader in readers:
            if reader.op.view:
                if not _takes_strides(rewriter, reader):
                    return False
            elif not (reader.op.pointwise or reader.op.name in _STRIDED):
                return False
    return True


def _joins(rewriter: Rewriter, tensor: Tensor, siblings: Sequence[Layer]) -> bool:
    """Whether a result meets a sibling's before anything else, as in silu(gate) * up: one step over both follows then."""
    (reader, *others) = rewriter.readers(tensor) or (None,)
    if reader is None or others or not reader.op.pointwise or reader.op.view:
        return False
    dynamic = [t for t in reader.inputs if t is not None and t.weight is None]
    if len(dynamic) == 1:
        return _joins(rewriter, reader.output, siblings)
    sources = {id(_source(rewriter, t)) for t in dynamic}
    return len(sources) == len(dynamic) and sources <= {id(s) for s in siblings}


def _source(rewriter: Rewriter, tensor: Tensor) -> Layer | None:
    """The layer whose result a tensor is made of by pointwise layers of one input."""
    maker = rewriter.maker(tensor)
    while maker is not None and maker.op.pointwise:
        dynamic = [t for t in maker.inputs if t is not None and t.weight is None]
        if len(dynamic) != 1:
            return None
        maker = rewriter.maker(dynamic[0])
    return maker


def _merge(rewriter: Rewriter, layers: Sequence[Layer]) -> None:
    import numpy as np

    first = rewriter.first(layers)
    weights = [t.weight.load() for t in (layer.inputs[1] for layer in layers) if t is not None and t.weight is not None]
    biases = [layer.inputs[2] if len(layer.inputs) > 2 else None for layer in layers]
    weight = rewriter.constant(np.concatenate(weights, axis=1), f"{first.name}.merged.weight")
    bias = None
    if any(t is not None for t in biases):
        given = [
            t.weight.load().reshape(-1) if t is not None and t.weight is not None else np.zeros(w.shape[1], w.dtype)
            for t, w in zip(biases, weights, strict=True)
        ]
        bias = rewriter.constant(np.concatenate(given), f"{first.name}.merged.bias")
    merged = rewriter.layer("linear", first.inputs[0], weight, bias, name=f"{first.name}.merged", origin=first.origin)
    parts = rewriter.layer(
        "split",
        merged.output,
        outputs=[layer.output for layer in layers],
        origin=first.origin,
        axis=merged.output.rank - 1,
        sizes=tuple(w.shape[1] for w in weights),
    )
    for layer in layers:
        rewriter.exchange(layer, *((merged, parts) if layer is first else ()))

"""Masks of attention as numbers that are added to the scores, of the shape that libraries take: made once, not in each
layer that reads them.
"""

from __future__ import annotations

import numpy as np

from trtn.dsl.dtypes import BOOL
from trtn.dsl.network import Layer, Network
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "AdditiveMasksPass"]


class AdditiveMasksPass:
    """attention(q, k, v, keep) becomes attention(q, k, v, where(keep, 0, -inf)), over all queries and keys; so does a
    mask of numbers that is the same for all queries. Layers of one mask share it, by `cse`.

    For 16-bit floats, whose attention is a library's. Exact: -inf keeps a key out as false does, and a query that may
    look at no key gives zeros both ways.
    """

    name = "additive_masks"
    after = frozenset({"algebra", "cse", "fold", "precision", "sizes"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            if layer.op.name == "attention" and not _refusal(layer):
                _lower(rewriter, layer)
        return rewriter.finish()


PASS = AdditiveMasksPass()


def _refusal(layer: Layer) -> str:
    q, k, _, mask = (*layer.inputs, None)[:4]
    if mask is None:
        return "it has no mask"
    assert q is not None and k is not None
    if q.rank != 4:
        return "its heads are not on the second of four axes"
    if q.dtype.bits != 16:
        return f"no library has an attention of {q.dtype}"
    if layer.attrs["causal"]:
        return "it is causal as well"
    whole = (q.shape[2], k.shape[2])
    if mask.rank == 0:
        return "its mask is one value"
    if any(have not in (1, want) for have, want in zip(mask.shape[-2:], whole[-mask.rank :], strict=True)):
        return "how its mask broadcasts is not settled"
    if mask.dtype is not BOOL and mask.rank == 4 and mask.shape[2:] == whole:
        return "its mask is what it is to be"
    return ""


def _lower(rewriter: Rewriter, layer: Layer) -> None:
    q, k, v, mask = layer.inputs[:4]
    assert q is not None and k is not None and mask is not None
    name, origin = mask.name or layer.name, layer.origin
    axes = tuple(range(4 - mask.rank))
    ranked = rewriter.layer("unsqueeze", mask, name=f"{name}.ranked", origin=origin, axes=axes)
    have, want = ranked.output.shape, (*ranked.output.shape[:2], q.shape[2], k.shape[2])
    if mask.dtype is BOOL:
        whole = rewriter.layer("expand", ranked.output, name=f"{name}.whole", origin=origin, shape=want)
        numbers = (rewriter.nameless(np.array(value).astype(q.dtype.numpy)) for value in (0.0, -np.inf))
        added = rewriter.layer("where", whole.output, *numbers, name=f"{name}.added", origin=origin)
        steps = [ranked, whole, added]
    else:
        times = tuple(1 if a == b else b for a, b in zip(have, want, strict=True))
        steps = [ranked, rewriter.layer("tile", ranked.output, name=f"{name}.whole", origin=origin, times=times)]
    new = rewriter.layer("attention", q, k, v, steps[-1].output, outputs=layer.outputs, origin=origin, **layer.attrs)
    rewriter.exchange(layer, *steps, new)

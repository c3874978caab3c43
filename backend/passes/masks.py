"""Constant masks of attention that a word can say: none, or `causal`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.rewriter import Rewriter

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PASS", "MasksPass"]

READ_LIMIT = 1 << 26
"""Bytes of a mask that is looked into."""
HIDDEN = -1e9
"""What exporters add to the scores of keys that are not to be seen is this, or less: down to the least float, or
-infinity."""


class MasksPass:
    """A mask that hides nothing goes; one that hides what comes after each query, and nothing else, becomes `causal`.
    Kernels then read no mask, and skip what it hides.

    Exact as long as scores differ by less than 1e9.
    """

    name = "masks"
    after = frozenset({"fold", "identity"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        known: dict[int, np.ndarray[Any, Any] | None] = {}
        for layer in rewriter.layers():
            mask = layer.inputs[3] if layer.op.name == "attention" and len(layer.inputs) > 3 else None
            if mask is None:
                continue
            if id(mask) not in known:
                known[id(mask)] = _kept(mask)
            causal = _is_causal(layer, known[id(mask)])
            if causal is not None:
                attrs = {**layer.attrs, "causal": causal}
                rewriter.exchange(
                    layer,
                    rewriter.layer("attention", *layer.inputs[:3], outputs=layer.outputs, origin=layer.origin, **attrs),
                )
        return rewriter.finish()


PASS = MasksPass()


def _kept(mask: Tensor) -> np.ndarray[Any, Any] | None:
    """bool[S, L], or with 1 for either: whether a query sees a key; None where the mask is no constant, says more
    than that, or not the same of each head and sample."""
    import numpy as np

    if mask.weight is None or mask.weight.nbytes > READ_LIMIT or 0 in mask.weight.shape:
        return None
    values = mask.weight.load()
    kept = values if mask.dtype.name == "bool" else values == 0
    if mask.dtype.name != "bool" and not np.all(kept | (values <= HIDDEN)):
        return None
    rows = kept.reshape(-1, *(1, 1, *kept.shape)[-2:])
    return rows[0] if np.all(rows == rows[:1]) else None


def _is_causal(layer: Layer, kept: np.ndarray[Any, Any] | None) -> bool | None:
    """Whether attention is causal with such a mask and what it says itself; None where only a mask can say it."""
    import numpy as np

    if kept is None:
        return None
    if kept.all():
        return bool(layer.attrs["causal"])
    q, k = layer.inputs[:2]
    assert q is not None and k is not None
    rows, columns = kept.shape
    if (q.shape[-2], k.shape[-2]) != (rows, columns) or rows > columns:  # queries without a key are an op's own affair
        return None
    seen = np.tri(rows, columns, columns - rows, dtype=bool)
    return True if np.array_equal(kept, seen) else None

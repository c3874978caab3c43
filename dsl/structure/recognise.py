"""Known patterns become their op: `recognise` is what an import does before its network is written as text."""

from __future__ import annotations

from collections.abc import Iterable

from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.deadcode import without_dead_layers
from trtn.dsl.structure.patterns import Pattern, discover
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["apply_patterns", "recognise"]

_MOST_ROUNDS = 32
"""A pattern may make another one visible. Each takes layers away, so the rounds end long before this."""


def recognise(network: Network, patterns: Iterable[Pattern] | None = None) -> Network:
    """The network with every pattern (by default all that are known) in the place of its layers. The results are the
    same up to rounding; inputs, outputs, dims and weights that are still read keep their names.
    """
    chosen = tuple(discover() if patterns is None else patterns)
    early = tuple(p for p in chosen if not p.late)
    for _ in range(_MOST_ROUNDS):
        changed = apply_patterns(network, early) or apply_patterns(network, chosen)
        if changed is None:
            break
        network = without_dead_layers(changed)
    return network


def apply_patterns(network: Network, patterns: Iterable[Pattern]) -> Network | None:
    """One walk over the layers: each is replaced by the first pattern that fits. None where none does."""
    by_op: dict[str, list[Pattern]] = {}
    for pattern in patterns:
        for op in pattern.ops:
            by_op.setdefault(op, []).append(pattern)
    rewriter = Rewriter(network)
    for layer in rewriter.layers():
        for pattern in by_op.get(layer.op.name, ()):
            if not rewriter.untouched(layer):
                break
            found = pattern.replace(rewriter, layer)
            if found is None:
                continue
            if isinstance(found, Tensor):
                rewriter.bypass(layer, found)
            else:
                rewriter.exchange(layer, *([found] if isinstance(found, Layer) else found))
            break
    return rewriter.finish()

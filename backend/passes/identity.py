"""Layers that give what they are given: identities, casts to the same dtype, reshapes to the same shape, x +
0, x * 1, ..
"""

from __future__ import annotations

from collections.abc import Callable

from trtn.dsl.network import Layer, Network, Tensor
from trtn.dsl.structure.constants import is_uniform
from trtn.dsl.structure.rewriter import Rewriter

__all__ = ["PASS", "IdentityPass"]


class IdentityPass:
    """Readers of such a layer read its input. Exact, but that x + 0 has +0 where x has -0."""

    name = "identity"
    after = frozenset({"fold", "sizes"})

    def run(self, network: Network) -> Network | None:
        rewriter = Rewriter(network)
        for layer in rewriter.layers():
            rule = _RULES.get(layer.op.name)
            source = rule(layer) if rule is not None else None
            if source is not None and source.type == layer.output.type and len(layer.outputs) == 1:
                rewriter.bypass(layer, source)
        return rewriter.finish()


PASS = IdentityPass()

Rule = Callable[[Layer], Tensor | None]
"""The input that the layer gives back, if its type is the result's."""


def _always(layer: Layer) -> Tensor | None:
    return layer.inputs[0]


def _alone(layer: Layer) -> Tensor | None:
    """For lists of one: concat, max, min."""
    return layer.inputs[0] if len(layer.inputs) == 1 else None


def _in_place(layer: Layer) -> Tensor | None:
    perm = layer.attrs["perm"]
    return layer.inputs[0] if perm == tuple(range(len(perm))) else None


def _unpadded(layer: Layer) -> Tensor | None:
    pads = layer.attrs["pads"]
    if pads is None:
        amounts = layer.inputs[1]
        pads = amounts.value if amounts is not None else None
    return layer.inputs[0] if pads is not None and all(p == 0 for p in pads) else None


def _whole(layer: Layer) -> Tensor | None:
    """A slice with steps of 1 that takes as much as there is takes everything."""
    steps = layer.attrs["step"]
    if len(layer.inputs) > 3 and layer.inputs[3] is not None:
        steps = layer.inputs[3].value
    return layer.inputs[0] if steps is not None and all(s == 1 for s in steps) else None


def _once(layer: Layer) -> Tensor | None:
    """A tile of once along each axis."""
    times = layer.attrs["times"]
    return layer.inputs[0] if times is not None and all(t == 1 for t in times) else None


def _unbounded(layer: Layer) -> Tensor | None:
    return layer.inputs[0] if layer.attrs["min"] is None and layer.attrs["max"] is None else None


def _unmoved(layer: Layer) -> Tensor | None:
    x = layer.inputs[0]
    return x if x is not None and all(x.shape[a] == 1 for a in layer.attrs["axes"]) else None


def _neutral(value: float, *, commutes: bool) -> Rule:
    def rule(layer: Layer) -> Tensor | None:
        x, y = layer.inputs
        if is_uniform(y, value) and x is not None and x.shape == layer.output.shape:
            return x
        return y if commutes and is_uniform(x, value) else None

    return rule


def _chosen(layer: Layer) -> Tensor | None:
    condition, x, y = layer.inputs
    if is_uniform(condition, 1):
        return x
    return y if is_uniform(condition, 0) else None


_RULES: dict[str, Rule] = {
    "add": _neutral(0, commutes=True),
    "cast": _always,
    "clip": _unbounded,
    "concat": _alone,
    "div": _neutral(1, commutes=False),
    "expand": _always,
    "flatten": _always,
    "flip": _unmoved,
    "identity": _always,
    "max": _alone,
    "min": _alone,
    "mul": _neutral(1, commutes=True),
    "pad": _unpadded,
    "pow": _neutral(1, commutes=False),
    "reshape": _always,
    "slice": _whole,
    "split": _always,
    "squeeze": _always,
    "sub": _neutral(0, commutes=False),
    "tile": _once,
    "transpose": _in_place,
    "unsqueeze": _always,
    "where": _chosen,
}

"""The epilogues that GPU libraries have. What they lack is a generated pointwise kernel after the product: a group with
it would be for nobody.
"""

from __future__ import annotations

from trtn.backend.fusion.epilogue import with_epilogue
from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer

__all__ = ["with_known_epilogue"]

_ACTIVATIONS = frozenset({"gelu", "leaky_relu", "relu", "sigmoid", "silu", "tanh"})


def with_known_epilogue(index: GraphIndex, seed: Layer, axis: int) -> tuple[Layer, ...]:
    """The seed and what follows it (`with_epilogue`), up to the first layer that no library has there. Only the last
    result is read outside."""
    group = with_epilogue(index, seed, axis)
    count = 1
    while count < len(group) and _is_known(seed, group[count]):
        count += 1
    if count < len(group):
        index.refuse(group[count], f"no GPU library has `{group[count].op.name}` in an epilogue")
    while any(_leaves(index, layer, group[:count]) for layer in group[: count - 1]):
        count -= 1
    return group[:count]


def _is_known(product: Layer, layer: Layer) -> bool:
    if layer.op.name == "clip":
        return layer.attrs["min"] is not None and layer.attrs["max"] is not None
    if layer.op.name == "add":
        return all(t is not None and t.shape == product.output.shape for t in layer.inputs)
    return layer.op.name in _ACTIVATIONS


def _leaves(index: GraphIndex, layer: Layer, group: tuple[Layer, ...]) -> bool:
    return any(all(reader is not inner for inner in group) for reader in index.readers(layer.output))

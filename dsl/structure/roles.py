"""What tensors are to the layers that read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from trtn.dsl.network import Layer, Tensor
from trtn.dsl.structure.views import VIEWS

__all__ = ["attended", "past_of", "role_of"]


def attended(layers: Sequence[Layer]) -> dict[int, str]:
    """What an attention takes tensors for, by id: `q`, `k` or `v`, for those that only it reads, and for those that one
    of these alone is made of.
    """
    makers = {id(t): layer for layer in layers for t in layer.outputs}
    reads = Counter(id(t) for layer in layers for t in layer.inputs)
    found: dict[int, str] = {}
    for layer in layers:
        for t, name in zip(layer.inputs, "qkv", strict=False) if layer.op.name == "attention" else ():
            while t is not None and reads[id(t)] == 1:
                found[id(t)] = name
                maker = makers.get(id(t))
                t = maker.inputs[0] if maker is not None and maker.op.name in VIEWS else None
    return found


def past_of(layers: Sequence[Layer], tensor: Tensor) -> str:
    """`past_k` or `past_v` for a tensor that new keys or values are joined to; "" for any other."""
    used = {id(t): name for x in layers if x.op.name == "attention" for t, name in zip(x.inputs, "qkv", strict=False)}
    joined = (layer for layer in layers if layer.op.name == "concat" and tensor in layer.inputs)
    return next((f"past_{used[id(layer.output)]}" for layer in joined if id(layer.output) in used), "")


def role_of(layers: Sequence[Layer], tensor: Tensor) -> str:
    """What a tensor is to the first layer that reads it, by the op's signature."""
    for layer in layers:
        declared = layer.op.spec.inputs
        for n, t in enumerate(layer.inputs):
            if t is tensor or (t is not None and t.weight is not None and t.weight is tensor.weight):
                return declared[min(n, len(declared) - 1)].name
    return "x"

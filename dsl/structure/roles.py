"""What tensors are to the layers that read them."""

from __future__ import annotations

from collections.abc import Sequence

from trtn.dsl.network import Layer, Tensor

__all__ = ["attended", "role_of"]


def attended(layers: Sequence[Layer]) -> dict[int, str]:
    """For layers without weights, by id, whose result an attention reads alone: `q`, `k` or `v`."""
    makers = {id(t): layer for layer in layers for t in layer.outputs}
    reads: dict[int, int] = {}
    for layer in layers:
        for t in layer.inputs:
            reads[id(t)] = reads.get(id(t), 0) + 1
    found: dict[int, str] = {}
    for layer in layers:
        if layer.op.name == "attention":
            for t, name in zip(layer.inputs[:3], "qkv", strict=True):
                maker = makers.get(id(t))
                if maker is not None and reads[id(t)] == 1 and len(maker.outputs) == 1:
                    found[id(maker)] = name
    return found


def role_of(layers: Sequence[Layer], tensor: Tensor) -> str:
    """What a tensor is to the first layer that reads it, by the op's signature."""
    for layer in layers:
        declared = layer.op.spec.inputs
        for n, t in enumerate(layer.inputs):
            if t is tensor or (t is not None and t.weight is not None and t.weight is tensor.weight):
                return declared[min(n, len(declared) - 1)].name
    return "x"

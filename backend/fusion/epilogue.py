"""The epilogue of a product: what is done to each element of its result before that goes to memory."""

from __future__ import annotations

from trtn.backend.fusion.index import GraphIndex
from trtn.dsl.network import Layer, Tensor

__all__ = ["with_epilogue"]

_LIMIT = 12
"""Layers in an epilogue."""
_DIAMOND = 8
"""Layers of an activation that is spelled out with several paths, as x * sigmoid(x) is."""
_BINARY = frozenset({"add", "div", "max", "min", "mul", "pow", "prelu", "sub"})


def with_epilogue(index: GraphIndex, seed: Layer, axis: int) -> tuple[Layer, ...]:
    """The seed and the pointwise layers after it that can be done in one step with it.

    Bias and scale are constants along `axis` (the channels) or of one element. A residual, a tensor of the
    result's shape that is added, may come once. Every intermediate result is read inside the group only, so
    no path can leave the group and come back.
    """
    group = [seed]
    tensor = seed.output
    residual = False
    while len(group) <= _LIMIT and not index.is_yielded(tensor):
        readers = index.readers(tensor)
        if len(readers) > 1:
            step = _diamond(index, tensor, axis)
            if not step:
                for reader in readers:
                    index.refuse(reader, f"`{tensor.name}` is read by {len(readers)} layers")
                break
        elif readers:
            reason = _refusal(index, readers[0], tensor, axis, residual)
            if reason:
                index.refuse(readers[0], reason)
                break
            step = [readers[0]]
            residual = residual or _is_residual(readers[0], tensor, axis)
        else:
            break
        group += step
        tensor = group[-1].output
    return tuple(group)


def _refusal(index: GraphIndex, layer: Layer, tensor: Tensor, axis: int, residual: bool) -> str:
    """Why a layer that reads `tensor` can't join its group; "" where it can."""
    reason = _unfit(index, layer, tensor)
    if reason:
        return reason
    for other in layer.inputs:
        if other is None or other is tensor or _is_per_channel(other, tensor.rank, axis):
            continue
        if not _is_residual(layer, tensor, axis):
            return f"`{other.name}` is neither a constant per channel nor a residual that is added"
        if residual:
            return "the group adds a residual already"
    return ""


def _unfit(index: GraphIndex, layer: Layer, tensor: Tensor) -> str:
    if not index.is_free(layer):
        return "it is in another group"
    if not layer.op.pointwise or layer.op.view or len(layer.outputs) != 1:
        return f"`{layer.op.name}` is not done element by element"
    if layer.output.type != tensor.type:
        return f"it gives {layer.output.type}, not {tensor.type}"
    if sum(t is not None for t in layer.inputs) > 1 and layer.op.name not in _BINARY:
        return f"`{layer.op.name}` takes several tensors"
    return ""


def _is_per_channel(tensor: Tensor, rank: int, axis: int) -> bool:
    """Whether a tensor is a constant of one element, or of one for each channel."""
    if tensor.weight is None or tensor.rank > rank:
        return False
    padded = (1,) * (rank - tensor.rank) + tensor.weight.shape
    return all(size == 1 or n == axis for n, size in enumerate(padded))


def _is_residual(layer: Layer, tensor: Tensor, axis: int) -> bool:
    """Whether a layer adds another tensor of the same type."""
    if layer.op.name != "add":
        return False
    others = [t for t in layer.inputs if t is not None and t is not tensor]
    return len(others) == 1 and others[0].type == tensor.type and not _is_per_channel(others[0], tensor.rank, axis)


def _diamond(index: GraphIndex, tensor: Tensor, axis: int) -> list[Layer]:
    """Layers that read `tensor` and nothing else but constants, and of whose results only the last is read outside."""
    inside: list[Layer] = []
    made = {id(tensor): tensor}
    while len(inside) < _DIAMOND:
        waiting = {id(r): r for t in made.values() for r in index.readers(t) if r not in inside}
        ready = [
            layer
            for layer in index.in_order(waiting.values())
            if not _unfit(index, layer, tensor)
            and all(t is None or id(t) in made or _is_per_channel(t, tensor.rank, axis) for t in layer.inputs)
        ]
        if not ready or any(index.is_yielded(t) for t in made.values()):
            return []
        inside.append(ready[0])
        made[id(ready[0].output)] = ready[0].output
        leaving = [t for t in made.values() if any(r not in inside for r in index.readers(t))]
        last = inside[-1].output
        if all(t is last for t in leaving) and (leaving or index.is_yielded(last)):
            return inside
    return []

"""What follows a convolution in its group, as a program over its result and other operands."""

from __future__ import annotations

from dataclasses import dataclass

from trtn.backend.group import Group
from trtn.backend.providers.codegen.program import Program, cannot_write, constant_of, program_of
from trtn.dsl.network import Tensor

__all__ = ["Epilogue", "epilogue_of", "epilogue_refusal"]


@dataclass(frozen=True, slots=True)
class Epilogue:
    """A program whose first input is the convolution's result, then the constants by channel, then tensors of the
    result's shape.

    `channels` and `tensors` are their numbers among the group's inputs.
    """

    program: Program
    channels: tuple[int, ...]
    tensors: tuple[int, ...]


def epilogue_refusal(group: Group, main: int = 0, axis: int = 1) -> str:
    """Why the layers after layer `main`, whose channels are on `axis`, can't be an epilogue; "" where they can."""
    first, rest = group.layers[main], group.layers[main + 1 :]
    if len(group.outputs) != 1 or group.outputs[0] is not group.layers[-1].output:
        return "something else than the last result leaves the group"
    if any(not layer.op.pointwise or layer.output.shape != first.output.shape for layer in rest):
        return "what follows is not done element by element"
    inside = {id(layer.output) for layer in group.layers}
    for layer in rest:
        for t in layer.inputs:
            if t is not None and id(t) not in inside and _role(t, first.output, axis) == "":
                return f"`{t.name}` is neither a constant by channel nor of the result's shape"
    return cannot_write(rest)


def epilogue_of(group: Group, main: int = 0, axis: int = 1) -> Epilogue:
    """The program of a group that `epilogue_refusal` has nothing against."""
    first, rest = group.layers[main], group.layers[main + 1 :]
    number = {id(t): n for n, t in enumerate(group.inputs)}
    read: dict[int, Tensor] = {}
    for layer in rest:
        for t in layer.inputs:
            if t is not None and id(t) in number:
                read.setdefault(id(t), t)
    channels = [t for t in read.values() if _role(t, first.output, axis) == "channel"]
    tensors = [t for t in read.values() if _role(t, first.output, axis) == "tensor"]
    program = program_of(rest, [first.output, *channels, *tensors], [group.layers[-1].output])
    return Epilogue(program, tuple(number[id(t)] for t in channels), tuple(number[id(t)] for t in tensors))


def _role(tensor: Tensor, result: Tensor, axis: int) -> str:
    """`one` element, one by `channel`, a `tensor` of the result's shape, or "" for anything else."""
    if constant_of(tensor) is not None:
        return "one"
    if tensor.shape == result.shape:
        return "tensor"
    padded = (1,) * (result.rank - tensor.rank) + tensor.shape
    by_channel = all(d == (result.shape[n] if n == axis % result.rank else 1) for n, d in enumerate(padded))
    return "channel" if by_channel and tensor.weight is not None else ""

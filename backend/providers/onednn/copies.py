"""Padding and concatenation as reorders into parts of the result, casts as reorders into another dtype."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trtn.backend.evaluate import resolve_attr
from trtn.backend.group import Group
from trtn.backend.providers.base import Launch
from trtn.backend.providers.onednn.memory import MemoryDesc
from trtn.backend.providers.onednn.program import Lookup, Program, Unfit, Value
from trtn.dsl.network import Layer

__all__ = ["is_cast", "plan_cast", "plan_copy"]


def plan_copy(program: Program) -> None:
    layer = program.problem.group.layers[0]
    match layer.op.name:
        case "concat":
            _concat(program, layer)
        case "pad":
            _pad(program, layer)
        case _:
            raise Unfit(f"no primitive for `{layer.op.name}`")


def is_cast(group: Group) -> bool:
    """Whether a group is one cast, from a float to another."""
    layer = group.layers[0]
    x = layer.inputs[0] if layer.inputs else None
    alone = len(group.layers) == 1 and layer.op.name == "cast"
    return alone and x is not None and x.dtype.is_float and layer.output.dtype.is_float


def plan_cast(program: Program) -> None:
    group = program.problem.group
    program.copy(program.value(group.inputs[0]), program.value(group.outputs[0]))


def _concat(program: Program, layer: Layer) -> None:
    target = program.value(layer.outputs[0])
    axis = layer.attrs["axis"]
    start = 0
    for t in layer.inputs:
        assert t is not None
        size = program.problem.layout(t).shape[axis]
        if size:
            source = program.value(t)
            program.copy(source, _part(program, target, {axis: start}, source.desc.shape))
        start += size


def _pad(program: Program, layer: Layer) -> None:
    """With a constant around, mirrored or repeated; the border is filled slab by slab."""
    mode = layer.attrs["mode"]
    if mode == "wrap" or any(t is not None for t in layer.inputs[1:]):
        raise Unfit("padding that goes on at the other end, or by tensors")
    x = layer.inputs[0]
    assert x is not None
    source, target = program.value(x), program.value(layer.outputs[0])
    axes = layer.attrs["axes"]
    pads = resolve_attr(layer.attrs["pads"], program.problem.sizes)
    shape = source.desc.shape
    before = dict.fromkeys(range(len(shape)), 0) | dict(zip(axes, pads, strict=False))
    if any(p < 0 for p in pads):
        raise Unfit("padding that takes elements away")
    if mode == "reflect" and any(p >= shape[a] for p, a in zip(pads, axes * 2, strict=True)):
        raise Unfit("padding that mirrors more than there is")
    program.copy(source, _part(program, target, before, shape))
    program.python(_Border(shape, before, mode, layer.attrs["fill"], target).bind)


def _part(program: Program, value: Value, start: dict[int, int], shape: Sequence[int]) -> Value:
    """A box of an array: `shape` elements from `start` on (0 on axes that it doesn't name)."""
    assert value.desc.strides is not None
    elements = sum(value.desc.strides[axis] * at for axis, at in start.items())
    itemsize = program.problem.outputs[0].dtype.itemsize
    return Value(
        MemoryDesc.strided(shape, value.desc.dtype, value.desc.strides), value.array, value.offset + elements * itemsize
    )


class _Border:
    """What is around a box in an array. Axis after axis, each slab over the whole of the others: what an earlier axis
    has put into a corner the later one puts right."""

    def __init__(self, inner: Sequence[int], before: dict[int, int], mode: str, fill: float, target: Value) -> None:
        self._target = target
        self._mode = mode
        self._fill = fill
        whole = target.desc.shape
        self._spans = [(axis, before[axis], before[axis] + size, whole[axis]) for axis, size in enumerate(inner)]

    def bind(self, lookup: Lookup) -> Launch:
        array, fill = lookup(self._target), self._fill
        copies: list[tuple[Any, Any]] = []
        for axis, start, stop, end in self._spans:
            for slab, source in ((slice(0, start), _mirrored(start, start)), (slice(stop, end), _back(stop, end))):
                if slab.start == slab.stop:
                    continue
                if self._mode == "edge":
                    source = slice(start, start + 1) if slab.start == 0 else slice(stop - 1, stop)
                lead = (slice(None),) * axis
                copies.append((array[(*lead, slab)], fill if self._mode == "constant" else array[(*lead, source)]))

        def launch() -> None:
            for target, source in copies:
                target[...] = source

        return launch


def _mirrored(start: int, count: int) -> slice:
    """`count` elements after `start`, the farthest first."""
    return slice(start + count, start, -1)


def _back(stop: int, end: int) -> slice:
    """As many elements before the last one of those up to `stop` as there are from there to `end`, the nearest first."""
    last = stop - 2 - (end - stop)
    return slice(stop - 2, last if last >= 0 else None, -1)

"""Padding and concatenation as reorders into parts of the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trtn.backend.evaluate import resolve_attr
from trtn.backend.providers.base import Launch
from trtn.backend.providers.onednn.memory import MemoryDesc
from trtn.backend.providers.onednn.program import Lookup, Program, Unfit, Value
from trtn.dsl.network import Layer

__all__ = ["plan_copy"]


def plan_copy(program: Program) -> None:
    layer = program.problem.group.layers[0]
    match layer.op.name:
        case "concat":
            _concat(program, layer)
        case "pad":
            _pad(program, layer)
        case _:
            raise Unfit(f"no primitive for `{layer.op.name}`")


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
    """With a constant around; the border is filled slab by slab."""
    if layer.attrs["mode"] != "constant" or any(t is not None for t in layer.inputs[1:]):
        raise Unfit("padding other than by a constant that is known")
    source, target = program.value(_only(layer)), program.value(layer.outputs[0])
    axes = layer.attrs["axes"]
    pads = resolve_attr(layer.attrs["pads"], program.problem.sizes)
    before = dict.fromkeys(range(len(source.desc.shape)), 0) | dict(zip(axes, pads, strict=False))
    if any(p < 0 for p in pads):
        raise Unfit("padding that takes elements away")
    program.python(_Border(source.desc.shape, before, layer.attrs["fill"], target).bind)
    program.copy(source, _part(program, target, before, source.desc.shape))


def _only(layer: Layer) -> Any:
    return layer.inputs[0]


def _part(program: Program, value: Value, start: dict[int, int], shape: Sequence[int]) -> Value:
    """A box of an array: `shape` elements from `start` on (0 on axes that it doesn't name)."""
    assert value.desc.strides is not None
    elements = sum(value.desc.strides[axis] * at for axis, at in start.items())
    itemsize = program.problem.outputs[0].dtype.itemsize
    return Value(
        MemoryDesc.strided(shape, value.desc.dtype, value.desc.strides), value.array, value.offset + elements * itemsize
    )


class _Border:
    """What is around a box in an array, as slabs that don't overlap."""

    def __init__(self, inner: Sequence[int], before: dict[int, int], fill: float, target: Value) -> None:
        self._target = target
        self._fill = fill
        self._slabs: list[tuple[slice, ...]] = []
        inside: list[slice] = []
        for axis, (size, whole) in enumerate(zip(inner, target.desc.shape, strict=True)):
            start = before[axis]
            for slab in (slice(0, start), slice(start + size, whole)):
                if slab.stop > slab.start:
                    self._slabs.append((*inside, slab))
            inside.append(slice(start, start + size))

    def bind(self, lookup: Lookup) -> Launch:
        array, fill = lookup(self._target), self._fill
        slabs = [array[slab] for slab in self._slabs]

        def launch() -> None:
            for slab in slabs:
                slab.fill(fill)

        return launch

"""Copies: views whose result needs memory of its own, concat, tile, depth_to_space and space_to_depth. Elements only move."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from trtn.backend.evaluate import resolve_attr
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.codegen.elementwise import copy_program, elementwise_call
from trtn.backend.providers.codegen.family import Call, Operand, Plan, Slot
from trtn.backend.providers.codegen.prelude import SUPPORTED

__all__ = ["FAMILY", "CopyFamily", "dense_strides", "view_of"]


@dataclass(frozen=True, slots=True)
class Place:
    """An operand and where it starts."""

    operand: Operand
    slot: Slot


class CopyFamily:
    """Layers whose result is made of strided pieces of their inputs."""

    name = "copy"

    def refusal(self, group: Group) -> str:
        layer = group.layers[0]
        if len(group.layers) != 1 or not (layer.op.name in PLANS or layer.op.view):
            return "it is not a copy of strided pieces"
        if len(group.outputs) != len(layer.outputs):
            return "one of its results is not used"
        if layer.op.name != "concat" and any(t is not None for t in layer.inputs[1:]):
            return "what goes where comes as a tensor"
        dtype = layer.output.dtype.name
        return "" if dtype in SUPPORTED else f"generated kernels don't take {dtype}"

    def tactics(self, group: Group) -> Sequence[Tactic]:
        return (Tactic("strided"),)

    def plan(
        self, group: Group, tactic: str, sizes: Mapping[str, int], inputs: Sequence[Operand], outputs: Sequence[Operand]
    ) -> Plan:
        layer = group.layers[0]
        attrs = {k: resolve_attr(v, sizes) for k, v in layer.attrs.items()}
        number = {id(t): n for n, t in enumerate(group.inputs)}
        sources = [Place(inputs[number[id(t)]], Slot(number[id(t)])) for t in layer.inputs if t is not None]
        targets = [Place(o, Slot(len(inputs) + n)) for n, o in enumerate(outputs)]
        if layer.op.name in ("reshape", "flatten"):
            return _reshape(sources[0], targets[0], Slot(len(inputs) + len(outputs)))
        if layer.op.view:
            pairs = list(
                zip(_views(layer.op.evaluate, sources[0], len(layer.op.spec.inputs) - 1, attrs), targets, strict=True)
            )
        else:
            pairs = PLANS[layer.op.name](sources, targets[0], attrs)
        return Plan(tuple(call for source, target in pairs for call in _copy(source, target)))


def _copy(source: Place, target: Place) -> list[Call]:
    program = copy_program(source.operand.dtype.name, target.operand.dtype.name)
    slots = (source.slot, target.slot)
    return elementwise_call(program, target.operand.shape, (source.operand,), (target.operand,), slots)


def view_of(place: Place, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Place:
    """Other axes over the same memory, from `offset` elements on."""
    distance = offset * place.operand.dtype.itemsize
    align = place.operand.align if distance % 16 == 0 else min(place.operand.align, distance & -distance)
    return Place(
        replace(place.operand, shape=tuple(shape), strides=tuple(strides), align=align),
        Slot(place.slot.index, place.slot.offset + distance),
    )


def dense_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of an array in logical order."""
    return tuple(prod(shape[n + 1 :]) for n in range(len(shape)))


def _views(evaluate: Callable[..., Any], source: Place, absent: int, attrs: Mapping[str, Any]) -> list[Place]:
    """The views that an op's own evaluation takes: of an array with the operand's strides whose memory is never read."""
    import numpy as np

    size = source.operand.dtype.itemsize
    base = np.lib.stride_tricks.as_strided(
        np.empty(1, f"V{size}"), source.operand.shape, [s * size for s in source.operand.strides]
    )
    results = evaluate(np, base, *(None,) * absent, **attrs)
    views = results if isinstance(results, tuple) else (results,)
    start = base.__array_interface__["data"][0]
    return [
        view_of(source, v.shape, [s // size for s in v.strides], (v.__array_interface__["data"][0] - start) // size)
        for v in views
    ]


def _is_dense(operand: Operand) -> bool:
    dense = dense_strides(operand.shape)
    return all(d == 1 or s == e for d, s, e in zip(operand.shape, operand.strides, dense, strict=True))


def _reshape(source: Place, target: Place, scratch: Slot) -> Plan:
    """In logical order one side has the other's shape as a view; where neither is, the elements are put in order first."""
    if _is_dense(target.operand):
        shape = source.operand.shape
        return Plan(tuple(_copy(source, view_of(target, shape, dense_strides(shape)))))
    shape = target.operand.shape
    if _is_dense(source.operand):
        return Plan(tuple(_copy(view_of(source, shape, dense_strides(shape)), target)))
    given = source.operand.shape
    middle = Place(Operand(given, dense_strides(given), source.operand.dtype), scratch)
    calls = (*_copy(source, middle), *_copy(view_of(middle, shape, dense_strides(shape)), target))
    return Plan(calls, scratch=(source.operand.size * source.operand.dtype.itemsize,))


Pairs = list[tuple[Place, Place]]


def _concat(sources: Sequence[Place], target: Place, attrs: Mapping[str, Any]) -> Pairs:
    pairs, start = [], 0
    for source in sources:
        offset = start * target.operand.strides[attrs["axis"]]
        pairs.append((source, view_of(target, source.operand.shape, target.operand.strides, offset)))
        start += source.operand.shape[attrs["axis"]]
    return pairs


def _tile(sources: Sequence[Place], target: Place, attrs: Mapping[str, Any]) -> Pairs:
    """Each axis of the result as two: which repetition, and where in it."""
    x, y = sources[0].operand, target.operand
    shape = [d for times, own in zip(attrs["times"], x.shape, strict=True) for d in (times, own)]
    out = [s for own, stride in zip(x.shape, y.strides, strict=True) for s in (own * stride, stride)]
    read = [s for stride in x.strides for s in (0, stride)]
    return [(view_of(sources[0], shape, read), view_of(target, shape, out))]


def _depth_to_space(sources: Sequence[Place], target: Place, attrs: Mapping[str, Any]) -> Pairs:
    (n, c, h, w), (sn, sc, sh, sw) = sources[0].operand.shape, sources[0].operand.strides
    tn, tc, th, tw = target.operand.strides
    block = attrs["block"]
    depth = c // (block * block)
    row, column, channel = (block * depth, depth, 1) if attrs["mode"] == "dcr" else (block, 1, block * block)
    shape = (n, depth, h, block, w, block)
    read = (sn, sc * channel, sh, sc * row, sw, sc * column)
    return [(view_of(sources[0], shape, read), view_of(target, shape, (tn, tc, th * block, th, tw * block, tw)))]


def _space_to_depth(sources: Sequence[Place], target: Place, attrs: Mapping[str, Any]) -> Pairs:
    (n, c, h, w), (sn, sc, sh, sw) = sources[0].operand.shape, sources[0].operand.strides
    tn, tc, th, tw = target.operand.strides
    block = attrs["block"]
    shape = (n, c, h // block, block, w // block, block)
    out = (tn, tc, th, tc * block * c, tw, tc * c)
    return [(view_of(sources[0], shape, (sn, sc, sh * block, sh, sw * block, sw)), view_of(target, shape, out))]


PLANS: Mapping[str, Callable[[Sequence[Place], Place, Mapping[str, Any]], Pairs]] = {
    "concat": _concat,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
    "tile": _tile,
}

FAMILY = CopyFamily()

"""Pointwise regions: one loop nest over the region's shape, each input read and each result written once."""

from __future__ import annotations

from typing import Any

from trtn.backend.problem import Problem
from trtn.backend.providers.llvm.boxes import emitter_for, loops
from trtn.backend.providers.llvm.emitter import BYTE, Emitter, memory_type
from trtn.backend.providers.llvm.expressions import EXPRESSIONS, Site, refusal
from trtn.backend.providers.llvm.family import Unfit, Written
from trtn.dsl.dtypes import DType
from trtn.dsl.network import Tensor

__all__ = ["write_pointwise"]


def write_pointwise(problem: Problem) -> Written:
    group = problem.group
    for layer in group.layers:
        if reason := refusal(layer):
            raise Unfit(reason)
    arrays = (*problem.inputs, *problem.outputs)
    shape = problem.outputs[0].shape
    if any(o.shape != shape for o in problem.outputs) or 0 in shape:
        raise Unfit("no elements, or results of several shapes")
    e = emitter_for(problem)
    with loops(e, shape, [(a.shape, a.strides) for a in (problem.outputs[0], *arrays)]) as (_, *offsets):
        values: dict[int, Any] = {}
        places = dict(zip((id(t) for t in (*group.inputs, *group.outputs)), range(len(arrays)), strict=True))

        def address(tensor: Tensor) -> tuple[Any, Any]:
            number = places[id(tensor)]
            return e.pointers[number], offsets[number]

        for t in group.inputs:
            values[id(t)] = _load(e, *address(t), t.dtype)
        for layer in group.layers:
            inputs = [t for t in layer.inputs if t is not None]
            site = Site(e, tuple(values[id(t)] for t in inputs), tuple(t.dtype for t in inputs), layer)
            values[id(layer.outputs[0])] = EXPRESSIONS[layer.op.name](site)
        for t in group.outputs:
            _store(e, values[id(t)], *address(t), t.dtype)
    return Written(e.text(), e.numbers, shared=False)


def _load(e: Emitter, pointer: Any, index: Any, dtype: DType) -> Any:
    """An element; truth values as i1."""
    found = e.load(pointer, index, memory_type(dtype))
    return e.b.icmp_unsigned("!=", found, BYTE(0)) if dtype.kind == "b" else found


def _store(e: Emitter, value: Any, pointer: Any, index: Any, dtype: DType) -> None:
    """Write an element; truth values as bytes."""
    element = memory_type(dtype)
    e.store(e.b.zext(value, element) if dtype.kind == "b" else value, pointer, index, element)

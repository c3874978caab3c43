"""Groups that only move elements: views that have to be written out, concat, pad, gather and embedding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from trtn.backend.evaluate import bind_layer, resolve_attr
from trtn.backend.problem import Problem, dense_strides
from trtn.backend.providers.llvm.boxes import Box, box_of, copy_box, emitter_for, fill_box, loops, raw_type
from trtn.backend.providers.llvm.emitter import I64, Emitter, memory_type
from trtn.backend.providers.llvm.family import Unfit, Written
from trtn.dsl.network import Layer, Tensor

__all__ = ["write_copy", "write_view"]


def write_copy(problem: Problem) -> Written:
    layer = problem.group.layers[0]
    writers = {"concat": _concat, "pad": _pad, "gather": _gather, "embedding": _gather}
    write = writers.get(layer.op.name)
    if write is None:
        raise Unfit(f"no kernel for `{layer.op.name}`")
    e = _emitter(problem, together=write is not _gather)  # its loops are several
    write(e, problem, layer)
    return Written(e.text(), e.numbers, shared=False)


def write_view(problem: Problem) -> Written:
    """What the view shows, copied."""
    layer = problem.group.layers[0]
    if len(problem.inputs) != 1:
        raise Unfit("a view of several arrays")
    source = box_of(0, problem.inputs[0])
    e = _emitter(problem)
    element = raw_type(problem.inputs[0].dtype)
    targets = {
        id(t): box_of(1 + n, o) for n, (t, o) in enumerate(zip(problem.group.outputs, problem.outputs, strict=True))
    }
    if layer.op.view == "always":
        for tensor, shown in zip(layer.outputs, _shown(problem, layer, source), strict=True):
            if id(tensor) in targets:
                copy_box(e, shown, targets[id(tensor)], element)
        return Written(e.text(), e.numbers, shared=False)
    # The elements keep their order: one of the two has to lie dense, to be seen in the other's shape.
    (target,) = targets.values()
    if problem.inputs[0].is_contiguous:
        source = Box(0, target.shape, dense_strides(target.shape))
    elif problem.outputs[0].is_contiguous:
        target = Box(1, source.shape, dense_strides(source.shape))
    else:
        raise Unfit("neither the view nor what it shows lies dense")
    copy_box(e, source, target, element)
    return Written(e.text(), e.numbers, shared=False)


def _emitter(problem: Problem, *, together: bool = True) -> Emitter:
    if any(o.size == 0 for o in problem.outputs):
        raise Unfit("no elements")
    return emitter_for(problem) if together else Emitter(len(problem.inputs) + len(problem.outputs))


def _shown(problem: Problem, layer: Layer, source: Box) -> list[Box]:
    """What the op's own evaluation shows of its input's memory. None is read: of these ops it only takes views."""
    size = problem.inputs[0].dtype.itemsize
    address = np.zeros(1, problem.inputs[0].dtype.numpy)
    array = np.lib.stride_tricks.as_strided(address, source.shape, [s * size for s in source.strides], writeable=False)
    start = array.__array_interface__["data"][0]
    found = []
    for view in bind_layer(layer, problem.sizes, np)({id(problem.group.inputs[0]): array}, dict(problem.sizes)):
        offset = (view.__array_interface__["data"][0] - start) // size
        found.append(Box(0, view.shape, tuple(s // size for s in view.strides), offset))
    return found


def _box(problem: Problem, tensor: Tensor | None) -> Box:
    """One of the group's inputs or outputs."""
    arrays = zip((*problem.group.inputs, *problem.group.outputs), (*problem.inputs, *problem.outputs), strict=True)
    for number, (known, layout) in enumerate(arrays):
        if known is tensor:
            return box_of(number, layout)
    raise Unfit("an input that is not there")


def _concat(e: Emitter, problem: Problem, layer: Layer) -> None:
    target = _box(problem, layer.outputs[0])
    axis, begin = layer.attrs["axis"], [0] * len(target.shape)
    for tensor in layer.inputs:
        source = _box(problem, tensor)
        copy_box(e, source, target.part(begin, source.shape), raw_type(problem.outputs[0].dtype))
        begin[axis] += source.shape[axis]


def _pad(e: Emitter, problem: Problem, layer: Layer) -> None:
    """Box by box: on each axis there is what comes before, the input, and what comes after."""
    mode, dtype = layer.attrs["mode"], problem.outputs[0].dtype
    if mode == "wrap" or any(t is not None for t in layer.inputs[1:]):
        raise Unfit("padding that goes on at the other end, or by tensors")
    source, target = _box(problem, layer.inputs[0]), _box(problem, layer.outputs[0])
    axes, pads = layer.attrs["axes"], resolve_attr(layer.attrs["pads"], problem.sizes)
    before = dict(zip(axes, pads, strict=False))
    if any(p < 0 for p in pads):
        raise Unfit("padding that takes elements away")
    if mode == "constant":
        if dtype.name not in ("f32", "f64") and layer.attrs["fill"] != int(layer.attrs["fill"]):
            raise Unfit(f"{dtype} that is no whole number")
        if dtype.is_float and dtype.name not in ("f32", "f64"):
            raise Unfit(f"numbers of {dtype}")
        element = memory_type(dtype)
        fill = e.number(layer.attrs["fill"] if dtype.is_float else int(layer.attrs["fill"]), element)
        begin = [before.get(axis, 0) for axis in range(len(source.shape))]
        for border in _borders(target, begin, source.shape):
            fill_box(e, fill, border, element)
        copy_box(e, source, target.part(begin, source.shape), raw_type(dtype))
        return
    spans = []
    for axis, (size, whole) in enumerate(zip(source.shape, target.shape, strict=True)):
        lead = before.get(axis, 0)
        spans.append(_spans(mode, size, lead, whole - size - lead))
    for pieces in product(*spans):
        strides = tuple(s * step for s, (_, _, _, step) in zip(source.strides, pieces, strict=True))
        start = sum(s * first for s, (_, _, first, _) in zip(source.strides, pieces, strict=True))
        shape = tuple(count for _, count, _, _ in pieces)
        seen = Box(source.array, shape, strides, source.start + start)
        copy_box(e, seen, target.part([at for at, _, _, _ in pieces], shape), raw_type(dtype))


def _borders(target: Box, begin: Sequence[int], shape: Sequence[int]) -> Iterator[Box]:
    """What is around the box `shape` at `begin`, in boxes that don't overlap: before and after it on each axis, as far as
    it reaches on the axes before that one."""
    for axis, (at, size, whole) in enumerate(zip(begin, shape, target.shape, strict=True)):
        for start, stop in ((0, at), (at + size, whole)):
            first = (*begin[:axis], start, *(0 for _ in target.shape[axis + 1 :]))
            yield target.part(first, (*shape[:axis], stop - start, *target.shape[axis + 1 :]))


def _spans(mode: str, size: int, before: int, after: int) -> list[tuple[int, int, int, int]]:
    """The parts of a padded axis: where each begins, its length, the input's element there, and the step from one to the
    next."""
    mirrored = mode == "reflect"
    if mirrored and max(before, after) >= size:
        raise Unfit("padding that mirrors more than there is")
    spans = [(before, size, 0, 1)]
    if before:
        spans.append((0, before, before, -1) if mirrored else (0, before, 0, 0))
    if after:
        spans.append((before + size, after, size - 2, -1) if mirrored else (before + size, after, size - 1, 0))
    return spans


def _gather(e: Emitter, problem: Problem, layer: Layer) -> None:
    """y[a, i, b] = x[a, indices[i], b]; an embedding's table is x, its axis the first."""
    b = e.b
    table, indices = layer.inputs[:2] if layer.op.name == "gather" else layer.inputs[1::-1]
    axis = layer.attrs.get("axis", 0)
    source, picks, target = _box(problem, table), _box(problem, indices), _box(problem, layer.outputs[0])
    axis %= len(source.shape)
    assert indices is not None
    whole = memory_type(indices.dtype)
    element, count = raw_type(problem.outputs[0].dtype), len(picks.shape)
    lead, middle, trail = (target.strides[:axis], target.strides[axis : axis + count], target.strides[axis + count :])
    shapes = source.shape[:axis], picks.shape, source.shape[axis + 1 :]
    if prod(shapes[2]) > 1 and not any(s == 1 for s in trail):
        raise Unfit("slices that don't lie dense")
    size, step = e.given(source.shape[axis]), e.given(source.strides[axis])
    with (
        loops(e, shapes[0], [(shapes[0], lead), (shapes[0], source.strides[:axis])]) as (into, at),
        loops(e, shapes[1], [(shapes[1], middle), (shapes[1], picks.strides)]) as (row, place),
    ):
        pick = e.load(e.pointers[picks.array], place, whole)
        pick = pick if indices.dtype.bits == 64 else b.sext(pick, I64)
        pick = b.add(pick, b.select(b.icmp_signed("<", pick, I64(0)), size, I64(0)))
        e.fail_if(b.icmp_unsigned(">=", pick, size))
        start = e.at(e.pointers[source.array], b.add(at, b.mul(pick, step)), element)
        end = e.at(e.pointers[target.array], b.add(into, row), element)
        with loops(e, shapes[2], [(shapes[2], trail), (shapes[2], source.strides[axis + 1 :])]) as (to, where):
            e.store(e.load(start, where, element), end, to, element)

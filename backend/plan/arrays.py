"""The arrays of a plan over given memory, and how they lie there: what the runtime binds and what problems are made
of, by the same code."""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from trtn.backend.evaluate import bind_layer
from trtn.backend.group import Group
from trtn.backend.plan.roles import Role, roles_of
from trtn.backend.plan.storage import Place, StoragePlan
from trtn.backend.problem import ArrayLayout, Problem, dense_strides, make_problem
from trtn.dsl.dims import evaluate
from trtn.dsl.network import Network, Tensor

__all__ = ["plan_problems", "take_arrays", "take_views"]

Table = dict[int, Any]
"""Arrays by tensor id."""
WIDEST = 16
"""The alignment, in bytes, beyond which no kernel asks."""


def take_arrays(
    groups: Sequence[Group], storage: StoragePlan, sizes: Mapping[str, int], memory: Any, outer: Table, xp: Any
) -> Table:
    """The arrays that follow from the arena's memory (uint8) and from `outer` (weights, and inputs and outputs where
    they stay): buffers, parts of concats, views."""
    table = dict(outer)
    for t, offset in zip(storage.buffers, storage.layout(sizes).offsets, strict=True):
        shape = tuple(evaluate(d, sizes) for d in t.shape)
        order = storage.orders.get(id(t), tuple(range(len(shape))))
        flat = memory[offset : offset + prod(shape) * t.dtype.itemsize].view(t.dtype.numpy)
        table[id(t)] = flat.reshape([shape[a] for a in order]).transpose([order.index(a) for a in range(len(shape))])
    for group in groups:
        for t in group.outputs:
            if storage.places[id(t)] is Place.PART:
                _take_part(t, storage, sizes, table)
    for group, role in zip(groups, roles_of(groups, storage), strict=True):
        if role is Role.VIEW and all(id(t) in table for t in group.inputs):
            take_views(group, sizes, table, xp)
    return table


def take_views(group: Group, sizes: Mapping[str, int], table: Table, xp: Any) -> None:
    """Put the results of a view group into the table."""
    layer = group.layers[0]
    results = bind_layer(layer, sizes, xp)(table, dict(sizes))
    table.update((id(t), array) for t, array in zip(layer.outputs, results, strict=True))


def _take_part(tensor: Tensor, storage: StoragePlan, sizes: Mapping[str, int], table: Table) -> None:
    """The range of its concat's result that a value is written to; the result may itself be a part."""
    if id(tensor) in table:
        return
    part = storage.parts[id(tensor)]
    if id(part.parent) not in table:
        _take_part(part.parent, storage, sizes, table)
    start = evaluate(part.offset, sizes)
    size = evaluate(tensor.shape[part.axis], sizes)
    table[id(tensor)] = table[id(part.parent)][(slice(None),) * part.axis + (slice(start, start + size),)]


def plan_problems(
    network: Network, groups: Sequence[Group], storage: StoragePlan, sizes: Mapping[str, int], alignment: int
) -> tuple[Problem | None, ...]:
    """The problem of each group that a kernel runs, None for the others. Nothing but sizes is looked at: no memory is
    touched. `alignment` is what the device promises for all memory. Raises MemoryError for sizes beyond
    the address space."""
    import numpy as np

    roles = roles_of(groups, storage)
    constants = {id(t): t for g in groups for t in g.inputs if t.weight is not None}
    outputs = [t for t in network.outputs if storage.places.get(id(t)) is Place.OUTPUT]
    apart = [*network.inputs, *constants.values(), *outputs]
    shapes = {id(t): tuple(evaluate(d, sizes) for d in t.shape) for t in apart}
    need = max((prod(shapes[id(t)]) * t.dtype.itemsize for t in apart), default=0)
    arena, other = _unbacked(storage.layout(sizes).nbytes), _unbacked(need)
    outer = {
        id(t): other[: prod(shapes[id(t)]) * t.dtype.itemsize].view(t.dtype.numpy).reshape(shapes[id(t)]) for t in apart
    }
    table = take_arrays(groups, storage, sizes, arena, outer, np)

    def layout(tensor: Tensor) -> ArrayLayout:
        return _layout(tensor, table[id(tensor)], max(alignment, tensor.dtype.itemsize))

    return tuple(
        make_problem(g, sizes, [layout(t) for t in g.inputs], [layout(t) for t in g.outputs])
        if role is Role.KERNEL
        else None
        for g, role in zip(groups, roles, strict=True)
    )


def _layout(tensor: Tensor, array: Any, promised: int) -> ArrayLayout:
    """An array's layout; its address counts up to the alignment that is `promised` for where it lies."""
    address = array.ctypes.data
    align = min(promised, WIDEST, (address & -address) or WIDEST)
    shape = tuple(array.shape)
    strides = tuple(s // array.itemsize for s in array.strides) if array.size else dense_strides(shape)
    plain: list[int] = []
    for d, stride in zip(reversed(shape), reversed(strides), strict=True):
        after = plain[-1] * shape[len(shape) - len(plain)] if plain else 1
        plain.append(stride if d != 1 else after)
    return ArrayLayout(shape, tuple(reversed(plain)), tensor.dtype, tensor.weight is not None, align)


def _unbacked(nbytes: int) -> Any:
    """Addresses without memory behind them: arrays over them have shapes and strides, and are never read."""
    import numpy as np

    try:
        pages = mmap.mmap(-1, max(nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
    except (OSError, OverflowError) as e:
        raise MemoryError(f"{nbytes} bytes are beyond the address space: {e}") from None
    return np.frombuffer(pages, np.uint8)

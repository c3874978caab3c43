"""Control flow as the text can say it: what its syntax has no words for is said with one more layer or carried value.

`scan` stacks on axis 0, forward: other axes are a `transpose` behind it, a reversed one a `flip`. `loop` counts to a stated scalar
limit, and goes on while one of its carried values is true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trtn.dsl.builder import make_weight
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BOOL, BY_NAME
from trtn.dsl.network import Graph, Layer, Tensor
from trtn.dsl.ops.base import find_op
from trtn.dsl.ops.infer import infer_layer

__all__ = ["expressible"]


def expressible(layer: Layer) -> list[Layer]:
    """The layer, or layers that compute the same and that the syntax has words for."""
    match layer.op.name:
        case "scan":
            return _scan(layer)
        case "loop":
            return _loop(layer)
    return [layer]


def _scan(layer: Layer) -> list[Layer]:
    carried = layer.attrs["carried"]
    after: list[Layer] = []
    outputs = list(layer.outputs)
    for n, (axis, backwards) in enumerate(zip(layer.attrs["out_axes"], layer.attrs["out_reverse"], strict=True)):
        wanted = layer.outputs[carried + n]
        axis %= wanted.rank
        if not axis and not backwards:
            continue
        length = wanted.shape[axis]
        shape = (length, *wanted.shape[:axis], *wanted.shape[axis + 1 :])
        made = outputs[carried + n] = Tensor(f"{wanted.name}.stacked", wanted.dtype, shape)
        if backwards:
            target = wanted if not axis else Tensor(f"{wanted.name}.flipped", wanted.dtype, shape)
            after.append(_layer("flip", [made], target, axes=(0,)))
            made = target
        if axis:
            after.append(_layer("transpose", [made], wanted, perm=(*range(1, axis + 1), 0, *range(axis + 1, wanted.rank))))
    if not after:
        return [layer]
    count = len(layer.outputs) - carried
    attrs = {**layer.attrs, "out_axes": (0,) * count, "out_reverse": (False,) * count}
    return [replace(layer, outputs=tuple(outputs), attrs=attrs), *after]


def _loop(layer: Layer) -> list[Layer]:
    before: list[Layer] = []
    limit, cond, *initial = (*layer.inputs, None, None)[: max(2, len(layer.inputs))]
    region, results = layer.regions[0], layer.outputs
    count = len(initial)
    if limit is None:
        limit = _scalar(layer.attrs["maximum"], layer.name, before)
    elif limit.rank:
        scalar = Tensor(f"{layer.name}.limit", limit.dtype, ())
        before.append(_layer("reshape", [limit], scalar, shape=()))
        limit = scalar
    going = region.outputs[0]
    if cond is not None and not any(x is cond and y is going for x, y in zip(initial, region.outputs[1:], strict=False)):
        initial.append(cond)
        outputs = (*region.outputs[: 1 + count], going, *region.outputs[1 + count :])
        region = Graph((*region.inputs, Tensor("go_on", BOOL, ())), outputs, region.layers)
        results = (*results[:count], Tensor(f"{layer.name}.go_on", BOOL, ()), *results[count:])
    return [*before, replace(layer, inputs=(limit, cond, *initial), outputs=results, regions=(region,))]


def _scalar(value: Dim, name: str, before: list[Layer]) -> Tensor:
    """A dim as an i64[] tensor."""
    dtype = BY_NAME["i64"]
    if isinstance(value, int):
        weight = make_weight(np.asarray(value, np.int64))
        return Tensor("", dtype, (), weight=weight, value=(value,))
    limit = Tensor(f"{name}.limit", dtype, (), value=(value,))
    before.append(_layer("dims", [], limit, values=(value,), dtype=dtype, scalar=True))
    return limit


def _layer(name: str, inputs: Sequence[Tensor], output: Tensor, **attrs: Any) -> Layer:
    op = find_op(name)
    assert op is not None
    return Layer(output.name, op, tuple(inputs), (output,), infer_layer(op, inputs, attrs).attrs)

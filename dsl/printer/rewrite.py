"""Control flow as the text can say it: what its syntax has no words for is said with one more layer or carried value.

`scan` stacks on axis 0, forward: other axes are a `transpose` behind it, a reversed one a `flip`. `loop` counts to a
stated scalar limit, and goes on while one of its carried values is true. A constant output comes from an `identity`,
a list of integers that types depend on and that is too long for the text from a `dims`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trtn.dsl.builder import make_weight
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BOOL, BY_NAME
from trtn.dsl.elaborate.expressions import CONSTANT_LIMIT
from trtn.dsl.network import Graph, Layer, Tensor
from trtn.dsl.ops.base import find_op
from trtn.dsl.ops.infer import infer_layer
from trtn.dsl.printer.attributes import follows_value
from trtn.dsl.printer.placement import role

__all__ = ["expressible", "made_layer"]


def expressible(graph: Graph) -> Graph:
    """A network's graph with layers that the syntax has words for. Tensors that it keeps are the same objects."""
    layers = list(_region(graph).layers)
    outputs: list[Tensor] = []
    for tensor in graph.outputs:
        if tensor.weight is not None:
            made = Tensor(tensor.name, tensor.dtype, tensor.shape)
            layers.append(made_layer("identity", [tensor], made))
            tensor = made
        outputs.append(tensor)
    return Graph(graph.inputs, tuple(outputs), tuple(layers))


def _region(graph: Graph) -> Graph:
    layers: list[Layer] = []
    for layer in graph.layers:
        layer = _with_known_lists(layer, layers)
        if layer.regions:
            layer = replace(layer, regions=tuple(_region(region) for region in layer.regions))
        match layer.op.name:
            case "scan":
                layers += _scan(layer)
            case "loop":
                layers += _loop(layer)
            case _:
                layers.append(layer)
    return replace(graph, layers=tuple(layers))


def _with_known_lists(layer: Layer, before: list[Layer]) -> Layer:
    """The layer with a `dims` for each long constant whose elements its types depend on: those of a manifest are not
    known when a text is checked.
    """
    inputs = list(layer.inputs)
    for n, t in enumerate(inputs):
        if t is None or t.weight is None or t.value is None or len(t.value) <= CONSTANT_LIMIT:
            continue
        if t.dtype.is_integer and follows_value(layer, n):
            made = Tensor(role(layer, n), t.dtype, t.shape, value=t.value)
            before.append(made_layer("dims", [], made, values=t.value, dtype=t.dtype))
            inputs[n] = made
    return layer if inputs == list(layer.inputs) else replace(layer, inputs=tuple(inputs))


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
            after.append(made_layer("flip", [made], target, axes=(0,)))
            made = target
        if axis:
            after.append(
                made_layer("transpose", [made], wanted, perm=(*range(1, axis + 1), 0, *range(axis + 1, wanted.rank)))
            )
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
    if limit is None and cond is None and len(results) > count:
        cond = _constant(np.asarray(True))  # a counted loop would have a length that is known
        region = replace(region, outputs=(cond, *region.outputs[1:]))
    if limit is None:
        limit = _scalar(layer.attrs["maximum"], layer.name, before)
    elif limit.rank:
        scalar = Tensor(f"{layer.name}.limit", limit.dtype, (), value=limit.value)
        before.append(made_layer("reshape", [limit], scalar, shape=()))
        limit = scalar
    going = region.outputs[0]
    if cond is not None and not any(
        x is cond and y is going for x, y in zip(initial, region.outputs[1:], strict=False)
    ):
        initial.append(cond)
        outputs = (*region.outputs[: 1 + count], going, *region.outputs[1 + count :])
        region = replace(region, inputs=(*region.inputs, Tensor("go_on", BOOL, ())), outputs=outputs)
        results = (*results[:count], Tensor(f"{layer.name}.go_on", BOOL, ()), *results[count:])
    return [*before, replace(layer, inputs=(limit, cond, *initial), outputs=results, regions=(region,))]


def _constant(array: np.ndarray[Any, Any]) -> Tensor:
    weight = make_weight(array)
    return Tensor("", weight.dtype, weight.shape, weight=weight, value=tuple(map(int, array.reshape(-1))))


def _scalar(value: Dim, name: str, before: list[Layer]) -> Tensor:
    """A dim as an i64[] tensor."""
    if isinstance(value, int):
        return _constant(np.asarray(value, np.int64))
    dtype = BY_NAME["i64"]
    limit = Tensor(f"{name}.limit", dtype, (), value=(value,))
    before.append(made_layer("dims", [], limit, values=(value,), dtype=dtype, scalar=True))
    return limit


def made_layer(name: str, inputs: Sequence[Tensor], output: Tensor, **attrs: Any) -> Layer:
    """A layer with the given result, its attributes completed."""
    op = find_op(name)
    assert op is not None
    return Layer(output.name, op, tuple(inputs), (output,), infer_layer(op, inputs, attrs).attrs)

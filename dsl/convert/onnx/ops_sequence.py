"""Lists of tensors and optional tensors, which exist at import only: exporters write `SplitToSequence` and
`SequenceAt` for unbinding.
"""

from __future__ import annotations

import numpy as np

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.computed import split_by
from trtn.dsl.convert.onnx.registry import Results, TensorList, onnx_op, refuse
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BY_NAME

__all__: list[str] = []

_MOST = 4096
"""The longest list."""


@onnx_op("SequenceEmpty", since=11)
def _empty(n: Call) -> Results:
    return TensorList()


@onnx_op("SequenceConstruct", since=11)
def _construct(n: Call) -> Results:
    return TensorList(n.tensors())


@onnx_op("SequenceAt", since=11)
def _at(n: Call) -> Results:
    items = n.tensor_list(0)
    return items[_position(n, 1, len(items), len(items) - 1)]


@onnx_op("SequenceLength", since=11)
def _length(n: Call) -> Results:
    return n.dims((len(n.tensor_list(0)),), BY_NAME["i64"], scalar=True)


@onnx_op("SequenceInsert", since=11)
def _insert(n: Call) -> Results:
    items = list(n.tensor_list(0))
    at = len(items) if n.maybe(2) is None else _position(n, 2, len(items), len(items))
    return TensorList((*items[:at], n.tensor(1), *items[at:]))


@onnx_op("SequenceErase", since=11)
def _erase(n: Call) -> Results:
    items = list(n.tensor_list(0))
    del items[-1 if n.maybe(1) is None else _position(n, 1, len(items), len(items) - 1)]
    return TensorList(items)


@onnx_op("ConcatFromSequence", since=11)
def _concat(n: Call) -> Results:
    items, axis = n.tensor_list(0), n.integer("axis")
    if not items:
        refuse("its list is empty")
    if n.flag("new_axis"):
        items = TensorList(n.emit("unsqueeze", t, part=f"item{i}", axes=(axis,)) for i, t in enumerate(items))
    return items[0] if len(items) == 1 else n.emit("concat", *items, axis=axis)


@onnx_op("SplitToSequence", since=11)
def _split(n: Call) -> Results:
    x, axis = n.tensor(0), n.integer("axis", 0)
    if not -x.rank <= axis < x.rank:
        refuse(f"axis {axis} of {x.type}")
    if n.is_computed(1) and n.tensor(1).rank == 1 and isinstance(count := n.tensor(1).shape[0], int):
        return TensorList(split_by(n, x, n.tensor(1), axis, [f"{n.path}.item{i}" for i in range(count)]))
    sizes = _sizes(n, x.shape[axis], x.shape[axis])
    parts = [f"{n.path}.item{i}" for i in range(len(sizes))]
    items = n.builder.layer("split", x, name=parts[0], results=parts, axis=axis, sizes=sizes)
    if n.maybe(1) is None and not n.flag("keepdims", True):
        items = tuple(n.emit("squeeze", t, part=f"row{i}", axes=(axis,)) for i, t in enumerate(items))
    return TensorList(items)


@onnx_op("SequenceMap", since=17)
def _map(n: Call) -> Results:
    """The body once for each place of the lists; a tensor beside them is the same in each place."""
    body, names = n.graph("body"), n.node.inputs
    lists = [n.translator.tensor_list(name) for name in names]
    count = len(n.tensor_list(0))
    if len(body.inputs) != len(names) or any(items is not None and len(items) != count for items in lists):
        refuse(f"its body takes {len(body.inputs)} inputs for {len(names)}, or its lists differ in length")
    rows = []
    for place in range(count):
        given = (n.tensor(k) if items is None else items[place] for k, items in enumerate(lists))
        rows.append(n.translator.body(body, dict(zip((v.name for v in body.inputs), given, strict=True))))
    if len(n.node.outputs) != 1:
        refuse("several lists as results are not supported")
    return TensorList(row[0] for row in rows)


@onnx_op("Optional", since=15)
def _optional(n: Call) -> Results:
    """Something that is there for certain; what is absent for certain has no tensor to stand for it."""
    if not n.node.inputs or not n.node.inputs[0]:
        refuse("an absent value is not supported")
    return _element(n)


@onnx_op("OptionalGetElement", since=15)
def _element(n: Call) -> Results:
    items = n.translator.tensor_list(n.node.inputs[0])
    return n.tensor(0) if items is None else items


@onnx_op("OptionalHasElement", since=15)
def _has_element(n: Call) -> Results:
    return n.constant(np.asarray(any(n.node.inputs)))


def _sizes(n: Call, whole: Dim, total: Dim) -> tuple[int, ...]:
    if n.maybe(1) is None:
        step: tuple[int, ...] | None = (1,)
    else:
        step = n.constants(1, "the sizes")
        if n.tensor(1).rank == 1:
            return step or ()
    if not isinstance(whole, int):
        refuse(f"a list whose length depends on the dims ({total}) is not supported")
    size = step[0] if step else 0
    if size < 1 or whole > _MOST * size or whole == 0:
        refuse(f"{whole} elements in pieces of {size}")
    return (size,) * (whole // size) + ((whole % size,) if whole % size else ())


def _position(n: Call, index: int, length: int, last: int) -> int:
    """A constant position in a list, counted from the front."""
    given = n.constants(index, "the position")
    if not given or not -length <= given[0] <= last:
        refuse(f"position {given[0] if given else 'none'} of a list of {length}")
    return given[0] + length if given[0] < 0 else given[0]

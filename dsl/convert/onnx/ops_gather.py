"""Ops that pick or place elements by index."""

from __future__ import annotations

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.registry import Results, onnx_op
from trtn.dsl.dtypes import BY_NAME

__all__: list[str] = []


@onnx_op("Gather")
def _gather(n: Call) -> Results:
    x, indices, axis = n.tensor(0), n.tensor(1), n.integer("axis", 0)
    if x.weight is not None and x.rank == 2 and axis in (0, -2) and indices.value is None:
        return n.emit("embedding", indices, x)
    return n.emit("gather", x, indices, axis=axis)


@onnx_op("GatherElements")
def _gather_elements(n: Call) -> Results:
    return n.emit("gather_elements", n.tensor(0), n.tensor(1), axis=n.integer("axis", 0))


@onnx_op("GatherND")
def _gather_nd(n: Call) -> Results:
    return n.emit("gather_nd", n.tensor(0), n.tensor(1), batch_dims=n.integer("batch_dims", 0))


@onnx_op("Scatter", "ScatterElements")
def _scatter_elements(n: Call) -> Results:
    reduction, axis = n.text("reduction", "none"), n.integer("axis", 0)
    return n.emit("scatter_elements", n.tensor(0), n.tensor(1), n.tensor(2), axis=axis, reduction=reduction)


@onnx_op("ScatterND")
def _scatter_nd(n: Call) -> Results:
    return n.emit("scatter_nd", n.tensor(0), n.tensor(1), n.tensor(2), reduction=n.text("reduction", "none"))


@onnx_op("Compress")
def _compress(n: Call) -> Results:
    return n.emit("compress", n.tensor(0), n.tensor(1), axis=n.integer("axis") if n.has("axis") else None)


@onnx_op("NonZero")
def _nonzero(n: Call) -> Results:
    return n.emit("nonzero", n.tensor(0))


@onnx_op("ReverseSequence")
def _reverse_sequence(n: Call) -> Results:
    time, batch = n.integer("time_axis", 0), n.integer("batch_axis", 1)
    lengths = n.cast(n.tensor(1), BY_NAME["i64"], "lengths")
    return n.emit("reverse_sequence", n.tensor(0), lengths, time_axis=time, batch_axis=batch)

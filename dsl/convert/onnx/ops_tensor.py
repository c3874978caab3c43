"""Ops on whole tensors that are no family: unique, determinants, bits, caches, columns and windows put back."""

from __future__ import annotations

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.initializers import dtype_of
from trtn.dsl.convert.onnx.ops_window import window
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

__all__: list[str] = []

_I64 = BY_NAME["i64"]


@onnx_op("Unique", since=11)
def _unique(n: Call) -> Results:
    axis = n.integer("axis") if n.has("axis") else None
    return n.emit_all("unique", n.tensor(0), axis=axis, sorted=n.flag("sorted", True))


@onnx_op("Det", since=11)
def _det(n: Call) -> Results:
    return n.emit("det", n.tensor(0))


@onnx_op("BitCast", since=26)
def _bit_cast(n: Call) -> Results:
    return n.emit("bit_cast", n.tensor(0), to=dtype_of(n.integer("to")))


@onnx_op("Col2Im", since=18)
def _col2im(n: Call) -> Results:
    image, block = n.known(1), n.known(2)
    tensors = n.tensor(1) if image is None else None, n.tensor(2) if block is None else None
    return n.emit("col2im", n.tensor(0), *tensors, image=image, block=block, **window(n))


@onnx_op("MaxUnpool", since=9)
def _max_unpool(n: Call) -> Results:
    sizes, kernel = n.known(2), n.ints("kernel_shape")
    to = n.maybe(2) if sizes is None else None
    return n.emit("max_unpool", n.tensor(0), n.tensor(1), to, kernel=kernel, shape=sizes, **window(n))


@onnx_op("TensorScatter", since=24)
def _tensor_scatter(n: Call) -> Results:
    """New elements written into a cache from a place on that each batch has for itself."""
    cache, update, begin = n.tensor(0), n.tensor(1), n.maybe(2)
    axis = n.integer("axis", -2)
    axis = axis + cache.rank if axis < 0 else axis
    if not 0 < axis < cache.rank or update.rank != cache.rank:
        refuse(f"axis {axis} of {cache.type} and {update.type}")
    inner = cache.rank - axis
    places = _column(n, n.emit("range", part="steps", end=update.shape[axis], dtype=_I64), inner - 1, "step")
    if begin is not None:
        places = n.emit("add", places, _column(n, begin, cache.rank - 1, "begin"), part="places")
    if n.text("mode", "linear") == "circular":
        length = n.dims((cache.shape[axis],), _I64, scalar=True, part="length")
        places = n.emit("mod", places, length, part="wrapped")
    index = n.emit("expand", places, part="index", shape=update.shape)
    return n.emit("scatter_elements", cache, index, update, axis=axis)


def _column(n: Call, x: Tensor, count: int, part: str) -> Tensor:
    """x with `count` axes of size 1 behind it."""
    axes = tuple(range(x.rank, x.rank + count))
    return n.emit("unsqueeze", x, part=f"{part}_column", axes=axes) if axes else x

"""Products of 8-bit levels through f32, which holds their sums exactly as long as these stay below 2^24.

The library's own 8-bit kernels add pairs of products in 16 bits, saturating, on CPUs without instructions for 8-bit dot
products: no way to exact results.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

from trtn.backend.providers.base import Launch
from trtn.backend.providers.onednn.conv import weight_form, window_of
from trtn.backend.providers.onednn.enums import Alg, Arg, Prop
from trtn.backend.providers.onednn.memory import MemoryDesc, dims
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.program import Lookup, Program, Unfit, Value
from trtn.dsl.network import Layer, Tensor

__all__ = ["plan_integers"]

EXACT = 1 << 24
"""Whole numbers up to here are f32 numbers."""
WRAPS = 1 << 31
BYTES = 4
"""Of an f32."""


def plan_integers(program: Program) -> None:
    """matmul_integer of rows by a constant matrix, in pieces of the inner dim; conv_integer by a constant filter."""
    layer = program.problem.group.layers[0]
    if layer.op.name == "matmul_integer":
        _matmul(program, layer)
    else:
        _conv(program, layer)


def _matmul(program: Program, layer: Layer) -> None:
    a, b = _given(layer, 0), _given(layer, 1)
    if b.weight is None or b.rank != 2:
        raise Unfit("the right side is not a constant matrix")
    shape = program.problem.layout(a).shape
    rows, inner, outer = prod(shape[:-1]), shape[-1], program.problem.layout(b).shape[1]
    source, target = program.value(a), program.value(layer.output)
    if target.desc != MemoryDesc.dense(target.desc.shape, "i32"):
        raise Unfit("a result with gaps or in another order")
    wide = _differences(program, layer, source, MemoryDesc.dense(shape, "f32"))
    zero = _level(layer, 3)
    largest = _reach(a, _tensor(layer, 2) is not None) * _reach(b, zero is not None, zero)
    if inner * largest >= WRAPS:
        raise Unfit("sums that i32 may not hold")
    terms = EXACT // largest
    result = MemoryDesc.dense((rows, outer), "f32")
    sums = program.scratch(result)
    for start in range(0, inner, terms):
        count = min(terms, inner - start)
        piece = MemoryDesc.strided((rows, count), "f32", (inner, 1))
        columns = MemoryDesc.strided((count, outer), "f32", (1, count))
        levels = program.packed(
            b, f"levels-{zero}-{start}", partial(_piece, zero, start, start + count), columns, columns
        )
        operands = {
            Arg.SRC: Value(piece, wide.array, wide.offset + start * BYTES),
            Arg.WEIGHTS: levels,
            Arg.DST: sums,
        }
        program.step(Primitive("matmul", piece, columns, None, result), operands)
        if not start:
            program.copy(sums, target.seen_as(MemoryDesc.dense((rows, outer), "i32")))
        else:
            program.python(partial(_bind_add, sums, target))


def _conv(program: Program, layer: Layer) -> None:
    x, weight = _given(layer, 0), _given(layer, 1)
    if weight.weight is None:
        raise Unfit("the filter is not a constant")
    zero = _level(layer, 3)
    shape = program.problem.layout(weight).shape
    if prod(shape[1:]) * _reach(x, _tensor(layer, 2) is not None) * _reach(weight, zero is not None, zero) > EXACT:
        raise Unfit("sums that f32 does not hold")
    source, target = program.value(x), program.value(layer.output)
    wide = _differences(program, layer, source, MemoryDesc.channels_last(source.desc.shape, "f32"))
    result = MemoryDesc.channels_last(target.desc.shape, "f32")
    filters = weight_form(layer, MemoryDesc.dense(shape, "f32"))
    primitive = Primitive(
        "convolution_forward",
        *(int(Prop.FORWARD_INFERENCE), int(Alg.CONV_DIRECT), wide.desc, MemoryDesc.any(filters.shape, "f32")),
        *(None, result, *map(dims, window_of(program, layer))),
    )
    packed = program.packed(
        weight, f"levels-{zero}", partial(_levels, zero), filters, primitive.memory_desc(Arg.WEIGHTS)
    )
    sums = program.scratch(result)
    program.step(primitive, {Arg.SRC: wide, Arg.WEIGHTS: packed, Arg.DST: sums})
    program.copy(sums, target)


def _differences(program: Program, layer: Layer, source: Value, form: MemoryDesc) -> Value:
    """The left side in f32, less its zero point (a scalar), in a form."""
    wide = program.scratch(form)
    program.copy(source, wide)
    zero = _tensor(layer, 2)
    if zero is None:
        return wide
    if prod(program.problem.layout(zero).shape) != 1:
        raise Unfit("a zero point for each row")
    one = (1,) * len(form.shape)
    level = program.scratch(MemoryDesc.dense(one, "f32"))
    program.copy(program.value(zero).seen_as(MemoryDesc.dense(one, zero.dtype.name)), level)
    primitive = Primitive("binary", int(Alg.BINARY_SUB), form, level.desc, form)
    program.step(primitive, {Arg.SRC: wide, Arg.SRC_1: level, Arg.DST: wide})
    return wide


def _reach(tensor: Tensor, shifted: bool, zero: int | None = None) -> int:
    """The largest size that a level less its zero point can have, whatever that point is where it is not known."""
    low, high = (-128, 127) if tensor.dtype.name == "i8" else (0, 255)
    if not shifted:
        return max(-low, high)
    return 255 if zero is None else max(high - zero, zero - low)


def _level(layer: Layer, index: int) -> int | None:
    """A constant zero point of one element, which is part of the problem's key. Raises Unfit."""
    tensor = _tensor(layer, index)
    if tensor is None:
        return None
    if tensor.weight is None or prod(tensor.weight.shape) != 1:
        raise Unfit("zero points of the constant that are several or computed")
    return int(tensor.weight.load().reshape(()))


def _levels(zero: int | None, array: Any) -> Any:
    return array.astype("float32") - (zero or 0)


def _piece(zero: int | None, start: int, stop: int, array: Any) -> Any:
    """Rows of [K, N] as [N, rows]."""
    return _levels(zero, array[start:stop]).T


def _bind_add(sums: Value, target: Value, lookup: Lookup) -> Launch:
    import numpy as np

    more, total = lookup(sums), lookup(target)
    flat = total.reshape(more.shape)
    return partial(np.add, flat, more, out=flat, casting="unsafe")  # in f64


def _tensor(layer: Layer, index: int) -> Tensor | None:
    return layer.inputs[index] if len(layer.inputs) > index else None


def _given(layer: Layer, index: int) -> Tensor:
    tensor = layer.inputs[index]
    assert tensor is not None
    return tensor

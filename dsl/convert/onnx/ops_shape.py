"""Ops on shapes: reshape, transpose, slice, pad, concat, split; shapes as tensors; constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.computed import pad_by, slice_by, split_by, squeeze_by, trilu_by, unsqueeze_by
from trtn.dsl.convert.onnx.initializers import TransposedSource, dtype_of, tensor_source
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dims import Dim, product
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor

__all__: list[str] = []

_I64 = BY_NAME["i64"]
_FAR = 1 << 31


# --- constants and sizes ---


@onnx_op("Constant")
def _constant(n: Call) -> Results:
    for name in ("value_float", "value_floats"):
        if n.has(name):
            return n.constant(np.asarray(n.node.attributes[name], dtype=np.float32))
    for name in ("value_int", "value_ints"):
        if n.has(name):
            return n.constant(np.asarray(n.node.attributes[name], dtype=np.int64))
    if not n.has("value"):
        refuse("its value is of a kind that is not supported (text, sparse)")
    model = n.translator.model
    _, _, source = tensor_source(n.tensor_proto("value"), model.folder, model.allow_outside)
    return n.constant(source.load())


@onnx_op("Shape")
def _shape(n: Call) -> Results:
    shape = n.tensor(0).shape
    end = n.integer("end") if n.has("end") else None
    return n.dims(shape[n.integer("start", 0) : end], _I64)


@onnx_op("Size")
def _size(n: Call) -> Results:
    return n.dims((product(n.tensor(0).shape),), _I64, scalar=True)


@onnx_op("ConstantOfShape")
def _fill(n: Call) -> Results:
    value: Any = np.float32(0)
    if n.has("value"):
        value = tensor_source(n.tensor_proto("value"), None, False)[2].load().reshape(-1)[0]
    dtype = dtype_of(n.node.attributes["value"].data_type) if n.has("value") else BY_NAME["f32"]
    sizes = n.known(0)
    attrs: dict[str, Any] = {"value": _plain(value), "dtype": dtype}
    if dtype.kind == "b":  # a fill is of numbers
        attrs["dtype"] = BY_NAME["u8"]
        ones = (
            n.emit("fill", part="bits", shape=sizes, **attrs)
            if sizes is not None
            else n.emit("fill", n.tensor(0), part="bits", **attrs)
        )
        return n.emit("cast", ones, to=dtype)
    return n.emit("fill", shape=sizes, **attrs) if sizes is not None else n.emit("fill", n.tensor(0), **attrs)


def _plain(value: Any) -> float:
    return tidy(float(value)) if value.dtype == np.float32 else float(value)


@onnx_op("Range")
def _range(n: Call) -> Results:
    known = [n.translator.ratios.dims(n.tensor(i)) for i in range(3)]
    dtype = n.tensor(0).dtype
    if all(k is not None for k in known):
        first, end, step = (k[0] for k in known if k is not None)
        return n.emit("range", first=first, end=end, step=step, dtype=dtype)
    return n.emit("range", n.tensor(0), n.tensor(1), n.tensor(2))


@onnx_op("EyeLike")
def _eye_like(n: Call) -> Results:
    dtype = dtype_of(n.integer("dtype")) if n.has("dtype") else None
    return n.emit("eye_like", n.tensor(0), k=n.integer("k", 0), dtype=dtype)


@onnx_op("OneHot")
def _one_hot(n: Call) -> Results:
    depth, array = n.known(1), n.array(1)
    size = depth[0] if depth else int(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
    axis = n.integer("axis", -1)
    return n.emit("one_hot", n.tensor(0), None if size is not None else n.tensor(1), n.tensor(2), size=size, axis=axis)


# --- the same elements under another shape ---


@onnx_op("Reshape")
def _reshape(n: Call) -> Results:
    """The shape is an attribute before opset 5."""
    x, wanted = n.tensor(0), n.ints("shape") if n.has("shape") else n.known(1)
    if wanted is None:
        return n.emit("reshape", x, n.tensor(1) if n.flag("allowzero") else _with_copies(n, x, n.tensor(1)))
    if not n.flag("allowzero"):
        if any(d == 0 and i >= x.rank for i, d in enumerate(wanted)):
            refuse(f"0 in the shape {list(wanted)} copies a dim that {x.type} doesn't have")
        wanted = tuple(x.shape[i] if d == 0 else d for i, d in enumerate(wanted))
    return n.reshape(x, _with_symbols(x, wanted))


def _with_copies(n: Call, x: Tensor, to: Tensor) -> Tensor:
    """A computed shape in which 0 stands for the dim of x."""
    count = to.shape[0] if to.rank == 1 else None
    if not isinstance(count, int):
        refuse(f"its shape has no constant length: {to.type}")
    own = n.dims((*x.shape, *(1,) * count)[:count], to.dtype, part="own")
    zero = n.emit("equal", to, n.like(0, to), part="copied")
    return n.emit("where", zero, own, to, part="shape")


def _with_symbols(x: Tensor, wanted: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """-1 as the dim that it stands for, where that is plain; the spec then says what it is."""
    if wanted.count(-1) != 1:
        return wanted
    rest = [d for d in wanted if d != -1]
    left = list(x.shape)
    for d in rest:
        if d not in left:
            return wanted
        left.remove(d)
    return tuple(product(left) if d == -1 else d for d in wanted)


@onnx_op("Flatten")
def _flatten(n: Call) -> Results:
    return n.emit("flatten", n.tensor(0), axis=n.integer("axis", 1))


def _axes(n: Call, index: int = 1) -> tuple[int, ...] | None:
    axes = n.ints("axes")
    return axes if axes is not None else n.constants(index, "axes")


@onnx_op("Squeeze")
def _squeeze(n: Call) -> Results:
    if n.is_computed(1):
        return squeeze_by(n, n.tensor(0), n.tensor(1))
    x, axes = n.tensor(0), _axes(n)
    axes = _ones(n, x) if axes is None else tuple(a + x.rank if a < 0 else a for a in axes)
    if n.translator.depth and (open_axes := [a for a in axes if 0 <= a < x.rank and not isinstance(x.shape[a], int)]):
        return _squeezed_in_region(n, x, axes, open_axes)
    return _same_condition(n, x, n.emit("squeeze", x, axes=axes))


def _squeezed_in_region(n: Call, x: Tensor, axes: tuple[int, ...], open_axes: list[int]) -> Tensor:
    """Open dims that must be 1, but only where this body runs, so that the network's dims can't say it.

    Of such an axis position d*(d - 1) is taken, which exists only where d is 1: elsewhere it is an error when run.
    """
    rest = tuple(a - sum(o < a for o in open_axes) for a in axes if a not in open_axes)
    for number, axis in enumerate(sorted(open_axes, reverse=True)):
        size = x.shape[axis]
        n.translator.held_to_one.add(size)
        only = n.dims((size * (size - 1),), _I64, scalar=True, part=f"only{number or ''}")
        last = number + 1 == len(open_axes) and not rest
        x = n.emit("gather", x, only, part="" if last else f"of{number}", axis=axis)
    return n.emit("squeeze", x, axes=rest) if rest else x


def _ones(n: Call, x: Tensor) -> tuple[int, ...]:
    """The axes that go where the node names none: those of size 1, and open ones where the declared rank says so."""
    ones = tuple(axis for axis, d in enumerate(x.shape) if d == 1)
    possible = tuple(axis for axis, d in enumerate(x.shape) if d == 1 or not isinstance(d, int))
    if ones == possible:
        return ones
    return possible if n.translator.choose(n.node, likely=n.declared_ranks() == [x.rank - len(possible)]) else ones


@onnx_op("Unsqueeze")
def _unsqueeze(n: Call) -> Results:
    if n.is_computed(1):
        return unsqueeze_by(n, n.tensor(0), n.tensor(1))
    x, axes = n.tensor(0), _axes(n)
    if axes is None:
        refuse("it has no axes")
    return _same_condition(n, x, n.emit("unsqueeze", x, axes=axes))


def _same_condition(n: Call, x: Tensor, y: Tensor) -> Tensor:
    relation = n.translator.conditions.relation(x)
    if relation is not None:
        n.translator.conditions.remember(y, relation)
    return y


@onnx_op("Transpose")
def _transpose(n: Call) -> Results:
    x, perm = n.tensor(0), n.ints("perm")
    if (
        x.weight is not None
        and x.rank == 2
        and perm in (None, (1, 0))
        and not isinstance(x.weight.source, TransposedSource)
    ):
        return n.transposed(x)
    if perm is not None and list(perm) == list(range(x.rank)):
        return x
    return n.emit("transpose", x, perm=perm)


@onnx_op("Expand")
def _expand(n: Call) -> Results:
    x, sizes = n.tensor(0), n.known(1)
    if sizes is None:
        return n.emit("expand", x, n.tensor(1))
    missing = x.rank - len(sizes)
    if missing >= 0 and all(d in (1, x.shape[missing + i]) for i, d in enumerate(sizes)):
        return x
    return n.emit("expand", x, shape=sizes)


@onnx_op("DepthToSpace")
def _depth_to_space(n: Call) -> Results:
    return n.emit("depth_to_space", n.tensor(0), block=n.integer("blocksize"), mode=n.text("mode", "DCR").lower())


@onnx_op("SpaceToDepth")
def _space_to_depth(n: Call) -> Results:
    mode = n.text("mode", "DCR").lower()
    return n.emit("space_to_depth", n.tensor(0), block=n.integer("blocksize"), mode=mode if mode != "dcr" else None)


# --- pieces ---


@onnx_op("Concat")
def _concat(n: Call) -> Results:
    tensors = n.tensors()
    return tensors[0] if len(tensors) == 1 else n.emit("concat", *tensors, axis=n.integer("axis", 1))


@onnx_op("Split")
def _split(n: Call) -> Results:
    """The sizes are an attribute before opset 13, then an input; without them the pieces are equal."""
    x, axis, count = n.tensor(0), n.integer("axis", 0), len(n.node.outputs)
    sizes: tuple[Dim, ...] | None = n.ints("split")
    if sizes is None:
        sizes = n.known(1)
        if sizes is None and n.maybe(1) is not None:
            return split_by(n, x, n.tensor(1), axis, n.results)
    parts = None if sizes is not None else n.integer("num_outputs", count)
    return n.emit_all("split", x, axis=axis, sizes=sizes, parts=parts)


@onnx_op("Slice")
def _slice_by_attributes(n: Call) -> Results:
    starts, ends = n.ints("starts"), n.ints("ends")
    if starts is None or ends is None:
        refuse("it has no starts or no ends")
    return _sliced(n, starts, ends, n.ints("axes"), None)


@onnx_op("Slice", since=10)
def _slice(n: Call) -> Results:
    starts, ends = n.known(1), n.known(2)
    if n.is_computed(3):
        return slice_by(n, n.tensor(0), n.tensor(1), n.tensor(2), n.tensor(3), n.maybe(4))
    axes = n.constants(3, "axes")
    if n.is_computed(4):
        return n.emit("slice", n.tensor(0), n.tensor(1), n.tensor(2), n.tensor(4), axes=axes)
    steps = n.constants(4, "steps")
    if starts is not None and ends is not None:
        return _sliced(n, starts, ends, axes, steps)
    return n.emit("slice", n.tensor(0), n.tensor(1), n.tensor(2), axes=axes, step=steps)


def _sliced(
    n: Call,
    starts: tuple[Dim, ...],
    ends: tuple[Dim, ...],
    axes: tuple[int, ...] | None,
    steps: tuple[int, ...] | None,
) -> Results:
    x = n.tensor(0)
    count = len(starts)
    axes = tuple(range(count)) if axes is None else axes
    steps = (1,) * count if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        refuse(f"{len(starts)} starts, {len(ends)} ends, {len(axes)} axes and {len(steps)} steps are not of one number")
    kept = [i for i in range(count) if not _is_whole(x, starts[i], ends[i], axes[i], steps[i])]
    if not kept:
        return x
    start, end = tuple(starts[i] for i in kept), tuple(ends[i] for i in kept)
    on, step = tuple(axes[i] for i in kept), tuple(steps[i] for i in kept)
    if all(s > 0 and _is_far(e) for s, e in zip(step, end, strict=True)):
        return n.emit("slice", x, start=start, axes=on, step=step)
    ends = tuple(_near(x, *bound) for bound in zip(end, on, step, strict=True))
    return n.emit("slice", x, start=start, end=ends, axes=on, step=step)


def _is_far(end: Dim) -> bool:
    return isinstance(end, int) and end >= _FAR - 1


def _near(x: Tensor, end: Dim, axis: int, step: int) -> Dim:
    """The end of a slice; "as far as it goes" as the dim itself, which is what a person would write."""
    return x.shape[axis] if step > 0 and _is_far(end) and -x.rank <= axis < x.rank else end


def _is_whole(x: Tensor, start: Dim, end: Dim, axis: int, step: int) -> bool:
    """Whether a slice takes all of an axis: exporters write such ones."""
    if start != 0 or step != 1 or not -x.rank <= axis < x.rank:
        return False
    size = x.shape[axis]
    return end == size or _is_far(end) or (isinstance(end, int) and isinstance(size, int) and end >= size)


@onnx_op("Pad")
def _pad_by_attributes(n: Call) -> Results:
    pads = n.ints("pads") or n.ints("paddings")
    if pads is None:
        refuse("it has no pads")
    return n.emit("pad", n.tensor(0), pads=pads, mode=n.text("mode", "constant"), fill=tidy(n.number("value", 0.0)))


@onnx_op("Pad", since=11)
def _pad(n: Call) -> Results:
    x, pads = n.tensor(0), n.known(1)
    fill, value = n.scalar(2), n.maybe(2)
    if fill is not None or value is None:
        value, fill = None, fill or 0.0
    amounts = n.tensor(1) if pads is None else None
    if n.is_computed(3):
        axes, pads, amounts = None, None, pad_by(n, x, n.tensor(1), n.tensor(3))
    else:
        axes = n.constants(3, "axes")
    fill = tidy(float(fill)) if fill is not None and x.dtype.name == "f32" else fill
    return n.emit("pad", x, amounts, value, pads=pads, mode=n.text("mode", "constant"), fill=fill, axes=axes)


@onnx_op("Tile", since=6)
def _tile(n: Call) -> Results:
    times = n.known(1)
    return n.emit("tile", n.tensor(0), times=times) if times is not None else n.emit("tile", n.tensor(0), n.tensor(1))


@onnx_op("Trilu")
def _trilu(n: Call) -> Results:
    if n.is_computed(1):
        return trilu_by(n, n.tensor(0), n.tensor(1), n.flag("upper", True))
    k = n.constants(1, "k")
    return n.emit("trilu", n.tensor(0), upper=n.flag("upper", True), k=k[0] if k else 0)

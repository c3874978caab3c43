"""Convolutions, pooling, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.network import Shape, Tensor

__all__ = ["window"]

_AUTO_PAD = {"NOTSET": "none", "VALID": "none", "SAME_UPPER": "same_upper", "SAME_LOWER": "same_lower"}


def _uniform(values: Sequence[int] | None) -> Any:
    """One entry for a list of equal ones: the short way to write it."""
    return None if values is None else values[0] if len(values) and len(set(values)) == 1 else tuple(values)


def window(n: Call) -> dict[str, Any]:
    """Strides, pads, dilations, auto_pad, as every windowed op has them. What is a default is left out."""
    auto_pad = n.text("auto_pad", "NOTSET") or "NOTSET"
    if auto_pad not in _AUTO_PAD:
        refuse(f"its auto_pad is `{auto_pad}`")
    attrs: dict[str, Any] = {
        "strides": _uniform(n.ints("strides")),
        "dilations": _uniform(n.ints("dilations")),
    }
    if auto_pad == "NOTSET":
        attrs["pads"] = _uniform(n.ints("pads"))
    if _AUTO_PAD[auto_pad] != "none":
        attrs["auto_pad"] = _AUTO_PAD[auto_pad]
    return attrs


@onnx_op("Conv")
def _conv(n: Call) -> Results:
    return n.emit("conv", n.tensor(0), n.tensor(1), n.maybe(2), groups=n.integer("group", 1), **window(n))


@onnx_op("ConvInteger")
def _conv_integer(n: Call) -> Results:
    tensors = n.tensor(0), n.tensor(1), n.maybe(2), n.maybe(3)
    return n.emit("conv_integer", *tensors, groups=n.integer("group", 1), **window(n))


@onnx_op("ConvTranspose")
def _deconv(n: Call) -> Results:
    shape = n.ints("output_shape")
    x = n.tensor(0)
    if shape is not None and len(shape) == x.rank:  # some exporters list the batch and the channels too
        shape = shape[2:]
    attrs = {
        "output_pads": _uniform(n.ints("output_padding")),
        "output_shape": shape,
        "groups": n.integer("group", 1),
    }
    return n.emit("deconv", x, n.tensor(1), n.maybe(2), **attrs, **window(n))


def _by_columns(n: Call, places: Tensor, spatial: Shape) -> Tensor:
    """Places that count along rows as places that count along columns: the first spatial axis runs fastest."""
    sizes = [d for d in spatial if isinstance(d, int)]
    if len(sizes) < len(spatial):
        refuse(f"indices in column-major order over [{', '.join(map(str, spatial))}] are not supported")
    rest, total, stride = places, places, 1
    for axis in reversed(range(len(sizes))):
        size = n.like(sizes[axis], places)
        at, rest = n.emit("mod", rest, size, part=f"at{axis}"), n.emit("floor_div", rest, size, part=f"rest{axis}")
        change = prod(sizes[:axis]) - stride
        stride *= sizes[axis]
        if change:
            moved = n.emit("mul", at, n.like(change, at), part=f"moved{axis}")
            total = n.emit("add", total, moved, part=f"by_axis{axis}")
    return total


def _kernel(n: Call) -> tuple[int, ...]:
    kernel = n.ints("kernel_shape")
    if kernel is None:
        refuse("attribute `kernel_shape` is missing")
    return kernel


@onnx_op("MaxPool")
def _max_pool(n: Call) -> Results:
    attrs = {"kernel": _kernel(n), "ceil_mode": n.flag("ceil_mode"), **window(n)}
    if not any(n.node.outputs[1:]):
        return n.emit("max_pool", n.tensor(0), **attrs)
    if not n.flag("storage_order"):
        return n.emit_all("max_pool_with_indices", n.tensor(0), **attrs)
    names = n.results[0], f"{n.path}.by_rows"
    given = {name: value for name, value in attrs.items() if value is not None}
    y, places = n.builder.layer("max_pool_with_indices", n.tensor(0), name=names[0], results=names, **given)
    return y, _by_columns(n, places, n.tensor(0).shape[2:])


@onnx_op("AveragePool")
def _avg_pool(n: Call) -> Results:
    padded, ceil = n.flag("count_include_pad"), n.flag("ceil_mode")
    return n.emit("avg_pool", n.tensor(0), kernel=_kernel(n), count_include_pad=padded, ceil_mode=ceil, **window(n))


@onnx_op("LpPool")
def _lp_pool(n: Call) -> Results:
    return n.emit(
        "lp_pool",
        n.tensor(0),
        kernel=_kernel(n),
        p=n.integer("p", 2),
        ceil_mode=n.flag("ceil_mode"),
        **window(n),
    )


@onnx_op("GlobalAveragePool")
def _global_avg_pool(n: Call) -> Results:
    return n.emit("global_avg_pool", n.tensor(0))


@onnx_op("GlobalMaxPool")
def _global_max_pool(n: Call) -> Results:
    return n.emit("global_max_pool", n.tensor(0))


@onnx_op("GlobalLpPool")
def _global_lp_pool(n: Call) -> Results:
    x, p = n.tensor(0), n.integer("p", 2)
    if p not in (1, 2):
        refuse(f"the norm with p={p} is not supported; 1 and 2 are")
    return n.emit(f"reduce_l{p}", x, axes=tuple(range(2, x.rank)), keepdims=True)

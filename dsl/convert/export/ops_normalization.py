"""Softmax and its kin, normalisation by mean and variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import F32, Site
from trtn.dsl.convert.export.values import Value
from trtn.dsl.dims import product

__all__: list[str] = []

_ALONG = {"softmax": "Softmax", "log_softmax": "LogSoftmax", "hardmax": "Hardmax"}


@writes(*_ALONG)
def _along(s: Site) -> None:
    s.emit(_ALONG[s.layer.op.name], s.x(0), axis=s["axis"])


@writes("lp_norm")
def _lp_norm(s: Site) -> None:
    s.emit("LpNormalization", s.x(0), axis=s["axis"], p=s["p"])


@writes("batch_norm")
def _batch_norm(s: Site) -> None:
    s.emit("BatchNormalization", *s.xs(), epsilon=s["eps"])


@writes("instance_norm")
def _instance_norm(s: Site) -> None:
    s.emit("InstanceNormalization", *s.xs(), epsilon=s["eps"])


@writes("group_norm")
def _group_norm(s: Site) -> None:
    """Before opset 21, whose op has a scale for each channel, the groups are normalised as instances."""
    x, scale, bias = s.x(0), s.x(1), s.x(2)
    if s.opset >= 21:
        s.emit("GroupNormalization", x, scale, bias, num_groups=s["groups"], epsilon=s["eps"])
        return
    shape, groups = s.shape(0), s["groups"]
    folded = (shape[0], groups, product(shape[1:]) // groups)
    ones, zeros = (s.constant(np.full(groups, v), x.dtype) for v in (1, 0))
    rows = s.reshape(x, shape, folded, part="groups")
    standard = s.emit("InstanceNormalization", rows, ones, zeros, part="standard", epsilon=s["eps"])
    back = s.reshape(standard, folded, shape, part="channels")
    s.emit("Add", s.emit("Mul", back, _across(s, scale, "scale"), part="scaled"), _across(s, bias, "bias"))


def _across(s: Site, parameter: Value, part: str) -> Value:
    """A per-channel parameter in a shape that broadcasts to x."""
    trailing = s.rank(0) - 2
    return s.fold_axes(parameter, tuple(range(1, 1 + trailing)), "Unsqueeze", part=part) if trailing else parameter


@writes("layer_norm")
def _layer_norm(s: Site) -> None:
    axis = s["axis"]
    inner = s.shape(0)[axis:]
    x, scale, bias = s.x(0), s.maybe(1), s.maybe(2)
    if scale is None and all(isinstance(d, int) for d in inner):
        scale = s.constant(np.ones(inner), x.dtype)
    whole = scale is not None and all(s.shape(n) == inner for n in (1, 2) if s.given(n))
    if whole and x.dtype.name != "f64":
        s.emit("LayerNormalization", x, scale, bias, axis=axis, epsilon=s["eps"])
        return
    axes = tuple(range(axis, s.rank(0)))
    wide = _wide(s, x)
    centred = s.emit("Sub", wide, s.reduce("ReduceMean", wide, axes, keepdims=True, part="mean"), part="centred")
    _scaled(s, _over_root(s, centred, axes), (("Mul", scale), ("Add", bias)))


@writes("rms_norm")
def _rms_norm(s: Site) -> None:
    axis = s["axis"]
    inner = s.shape(0)[axis:]
    x, scale = s.x(0), s.maybe(1)
    if scale is None and all(isinstance(d, int) for d in inner):
        scale = s.constant(np.ones(inner), x.dtype)
    if s.has("RMSNormalization") and scale is not None and (not s.given(1) or s.shape(1) == inner):
        s.emit("RMSNormalization", x, scale, axis=axis, epsilon=s["eps"])
        return
    root = _over_root(s, _wide(s, x), tuple(range(axis, s.rank(0))))
    _scaled(s, root, (("Mul", s.maybe(1)),))


def _wide(s: Site, x: Value) -> Value:
    return s.cast(x, F32, "wide") if x.dtype.bits < 32 else x


def _over_root(s: Site, x: Value, axes: Sequence[int]) -> Value:
    """x divided by the root of its mean square plus eps."""
    square = s.emit("Mul", x, x, part="square")
    mean = s.reduce("ReduceMean", square, axes, keepdims=True, part="mean_square")
    root = s.emit("Sqrt", s.emit("Add", mean, s.like(x, s["eps"]), part="shifted"), part="root")
    return s.emit("Div", x, root, part="standard")


def _scaled(s: Site, x: Value, steps: Sequence[tuple[str, Value | None]]) -> None:
    """x times and plus what is given, as the layer's result."""
    for op, parameter in steps:
        if parameter is not None:
            x = s.emit(op, x, s.cast(parameter, x.dtype, f"{op.lower()}_wide"), part=op.lower())
    s.cast_out(x)


@writes("lrn")
def _lrn(s: Site) -> None:
    """ONNX Runtime takes odd sizes; the sums of even ones are averages over the channels as an axis of an image."""
    x, shape, size = s.x(0), s.shape(0), s["size"]
    alpha, beta, bias = s["alpha"], s["beta"], s["bias"]
    if size % 2:
        s.emit("LRN", x, size=size, alpha=alpha, beta=beta, bias=bias)
        return
    image = (shape[0], 1, shape[1], product(shape[2:]))
    squares = s.reshape(s.emit("Mul", x, x, part="squares"), shape, image, part="image")
    before = (size - 1) // 2
    pads = [before, 0, size - 1 - before, 0]
    means = s.emit("AveragePool", squares, part="means", kernel_shape=[size, 1], pads=pads, count_include_pad=1)
    back = s.reshape(means, image, shape, part="neighbours")
    base = s.emit("Add", s.emit("Mul", back, s.like(x, alpha), part="scaled"), s.like(x, bias), part="base")
    s.emit("Div", x, s.emit("Pow", base, s.like(x, beta), part="norm"))

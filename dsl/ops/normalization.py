"""Softmax and its kin, and normalisation by mean and variance. f16 is computed in f32 and rounded once."""

from __future__ import annotations

from math import prod
from typing import Any

from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.pointwise import FLOATS, fits_into

__all__ = ["widened"]


def widened(xp: Any, x: Any) -> Any:
    """x in the dtype that it is computed in: f32 for f16, its own otherwise."""
    return x.astype(xp.float32) if x.dtype == xp.float16 else x


class AlongAxis(Op):
    """A function of the elements along one axis that keeps the shape."""

    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.axis(i.rank(0, at_least=1))
        return i.shape(0)


class Softmax(AlongAxis):
    """exp(x) divided by its sum along `axis`, computed as exp(x - max). NaN where all are -inf."""

    signature = "softmax(x: T, *, axis: int = -1) -> T"

    def evaluate(self, xp: Any, x: Any, *, axis: int) -> Any:
        if x.size == 0:
            return x
        work = widened(xp, x)
        t = work - xp.max(work, axis=axis, keepdims=True)
        xp.exp(t, out=t)
        t /= xp.sum(t, axis=axis, keepdims=True)
        return t.astype(x.dtype, copy=False)


class LogSoftmax(AlongAxis):
    """The logarithm of the softmax along `axis`: x - max - log(sum(exp(x - max)))."""

    signature = "log_softmax(x: T, *, axis: int = -1) -> T"

    def evaluate(self, xp: Any, x: Any, *, axis: int) -> Any:
        if x.size == 0:
            return x
        work = widened(xp, x)
        t = work - xp.max(work, axis=axis, keepdims=True)
        t -= xp.log(xp.sum(xp.exp(t), axis=axis, keepdims=True))
        return t.astype(x.dtype, copy=False)


class Hardmax(AlongAxis):
    """1 at the first greatest element along `axis`, 0 elsewhere."""

    signature = "hardmax(x: T, *, axis: int = -1) -> T"

    def evaluate(self, xp: Any, x: Any, *, axis: int) -> Any:
        if x.size == 0:
            return x
        positions = xp.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - 1 - axis))
        return (xp.expand_dims(xp.argmax(x, axis=axis), axis) == positions).astype(x.dtype)


class LpNorm(AlongAxis):
    """x divided by its p-norm along `axis` (p is 1 or 2); 0 where the norm is 0."""

    signature = "lp_norm(x: T, *, axis: int = -1, p: int = 2) -> T"

    def infer(self, i: Infer) -> Shape:
        if i["p"] not in (1, 2):
            i.fail("E0304", f"`p` of `lp_norm` is 1 or 2, not {i['p']}", attr="p")
        return super().infer(i)

    def evaluate(self, xp: Any, x: Any, *, axis: int, p: int) -> Any:
        work = widened(xp, x)
        powers = xp.abs(work) if p == 1 else xp.square(work)
        norm = xp.sum(powers, axis=axis, keepdims=True)
        if p == 2:
            xp.sqrt(norm, out=norm)
        norm[norm == 0] = 1
        return (work / norm).astype(x.dtype, copy=False)


def _per_channel(i: Infer, *indexes: int) -> None:
    """Demand that inputs are of shape [C], with C dim 1 of x."""
    for index in indexes:
        i.rank(index, 1)
        name = i.input_name(index)
        i.equal(
            i.shape(0)[1],
            i.shape(index)[0],
            f"channels of `x` and `{name}` of `{i.op.name}` differ",
            inputs=[0, index],
        )


def _across(parameter: Any, x: Any) -> Any:
    """A per-channel parameter in a shape that broadcasts to x."""
    return parameter.reshape((-1,) + (1,) * (x.ndim - 2))


def _standardised(xp: Any, rows: Any, eps: float) -> Any:
    """Each row minus its mean, divided by sqrt(variance + eps), in a new array."""
    t = rows - xp.mean(rows, axis=1, keepdims=True)
    variance = xp.einsum("ij,ij->i", t, t)  # the dot product of each row with itself, without a temporary
    t *= _inverse_root(xp, variance, rows.shape[1], eps)
    return t


def _inverse_root(xp: Any, squares: Any, count: int, eps: float) -> Any:
    """1 / sqrt(squares / count + eps) as a column, in the storage of `squares`."""
    squares /= count
    squares += eps
    xp.sqrt(squares, out=squares)
    return xp.reciprocal(squares, out=squares)[:, None]


class BatchNorm(Op):
    """(x - mean) / sqrt(variance + eps) * scale + bias, per channel (dim 1), with given means and variances.

    x: T[N, C, ..], the others T[C].
    """

    signature = "batch_norm(x: T, scale: T, bias: T, mean: T, variance: T, *, eps: float = 1e-5) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, at_least=2)
        _per_channel(i, 1, 2, 3, 4)
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, scale: Any, bias: Any, mean: Any, variance: Any, *, eps: float) -> Any:
        slope = widened(xp, scale) / xp.sqrt(widened(xp, variance) + xp.asarray(eps, widened(xp, variance).dtype))
        offset = bias - mean * slope
        t = widened(xp, x) * _across(slope, x)
        t += _across(offset, x)
        return t.astype(x.dtype, copy=False)


class InstanceNorm(Op):
    """Each channel of each sample minus its mean, divided by sqrt(variance + eps), times scale, plus bias.

    x: T[N, C, ..], scale and bias T[C].
    """

    signature = "instance_norm(x: T, scale: T, bias: T, *, eps: float = 1e-5) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, at_least=3)
        _per_channel(i, 1, 2)
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, scale: Any, bias: Any, *, eps: float) -> Any:
        return _grouped(xp, x, scale, bias, x.shape[1], eps)


class GroupNorm(Op):
    """Each of `groups` runs of channels of each sample minus its mean, divided by sqrt(variance + eps).

    Then per channel times scale, plus bias.
    x: T[N, C, ..], scale and bias T[C]; `groups` divides C.
    """

    signature = "group_norm(x: T, scale: T, bias: T, *, groups: int, eps: float = 1e-5) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, at_least=2)
        _per_channel(i, 1, 2)
        groups = i["groups"]
        if groups < 1:
            i.fail("E0304", f"`groups` of `group_norm` is at least 1, not {groups}", attr="groups")
        channels = i.shape(0)[1]
        i.require(
            "==",
            channels % groups,
            0,
            f"`groups` ({groups}) of `group_norm` must divide {channels}",
            inputs=[0],
        )
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, scale: Any, bias: Any, *, groups: int, eps: float) -> Any:
        return _grouped(xp, x, scale, bias, groups, eps)


def _grouped(xp: Any, x: Any, scale: Any, bias: Any, groups: int, eps: float) -> Any:
    if x.size == 0:
        return x
    t = _standardised(xp, widened(xp, x).reshape(x.shape[0] * groups, -1), eps).reshape(x.shape)
    t *= _across(scale, x)
    t += _across(bias, x)
    return t.astype(x.dtype, copy=False)


class LayerNorm(Op):
    """x minus its mean, divided by sqrt(variance + eps); then times scale, plus bias, where they are given.

    Mean and variance are over the axes from `axis` to the last; scale and bias broadcast to their shape.
    """

    signature = "layer_norm(x: T, scale: T?, bias: T?, *, axis: int = -1, eps: float = 1e-5) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        axis = i.axis(i.rank(0, at_least=1))
        for index in (1, 2):
            if i.has(index):
                fits_into(i, index, i.shape(0)[axis:])
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, scale: Any, bias: Any, *, axis: int, eps: float) -> Any:
        if x.size == 0:
            return x
        rows = widened(xp, x).reshape(prod(x.shape[:axis]), -1)
        t = _standardised(xp, rows, eps).reshape(x.shape)
        if scale is not None:
            t *= scale
        if bias is not None:
            t += bias
        return t.astype(x.dtype, copy=False)


class RmsNorm(Op):
    """x divided by sqrt(mean(x^2) + eps) over the axes from `axis` to the last; then times scale.

    scale, where given, broadcasts to the shape of those axes.
    """

    signature = "rms_norm(x: T, scale: T?, *, axis: int = -1, eps: float = 1e-6) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        axis = i.axis(i.rank(0, at_least=1))
        if i.has(1):
            fits_into(i, 1, i.shape(0)[axis:])
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, scale: Any, *, axis: int, eps: float) -> Any:
        if x.size == 0:
            return x
        rows = widened(xp, x).reshape(prod(x.shape[:axis]), -1)
        squares = xp.einsum("ij,ij->i", rows, rows)
        t = (rows * _inverse_root(xp, squares, rows.shape[1], eps)).reshape(x.shape)
        if scale is not None:
            t *= scale
        return t.astype(x.dtype, copy=False)


class Lrn(Op):
    """Local response normalisation: x / (bias + alpha / size * s)^beta.

    s is the sum of the squares of `size` neighbouring channels, (size - 1) / 2 of them (rounded down) before
    each. x: T[N, C, ..].
    """

    signature = "lrn(x: T, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        i.rank(0, at_least=2)
        if i["size"] < 1:
            i.fail("E0304", f"`size` of `lrn` is at least 1, not {i['size']}", attr="size")
        return i.shape(0)

    def evaluate(self, xp: Any, x: Any, *, size: int, alpha: float, beta: float, bias: float) -> Any:
        work = widened(xp, x)
        squares = xp.square(work)
        channels = x.shape[1]
        total = xp.zeros_like(squares)
        before = (size - 1) // 2
        for offset in range(-before, size - before):
            first, last = max(0, -offset), min(channels, channels - offset)
            if first < last:
                total[:, first:last] += squares[:, first + offset : last + offset]
        total *= alpha / size
        total += bias
        xp.power(total, -beta, out=total)
        total *= work
        return total.astype(x.dtype, copy=False)

"""Matrix products, Einstein sums, attention."""

from __future__ import annotations

from math import sqrt

import numpy as np

from trtn.dsl.convert.export.registry import writes
from trtn.dsl.convert.export.site import F32, Site
from trtn.dsl.convert.export.values import Value
from trtn.dsl.dtypes import BOOL, BY_NAME

__all__: list[str] = []

_I32 = BY_NAME["i32"]


@writes("matmul")
def _matmul(s: Site) -> None:
    s.emit("MatMul", s.x(0), s.x(1))


@writes("linear")
def _linear(s: Site) -> None:
    x, weight, bias = s.x(0), s.x(1), s.maybe(2)
    if bias is None:
        s.emit("MatMul", x, weight)
    elif s.rank(0) == 2:
        s.emit("Gemm", x, weight, bias)
    else:
        s.emit("Add", s.emit("MatMul", x, weight, part="product"), bias)


@writes("det")
def _det(s: Site) -> None:
    s.emit("Det", s.x(0))


@writes("einsum")
def _einsum(s: Site) -> None:
    s.emit("Einsum", *s.xs(), equation=s["equation"])


@writes("matmul_integer")
def _matmul_integer(s: Site) -> None:
    """Zero points that runtimes take: one number of a, one for each column of b. Others are subtracted first."""
    a_plain = not s.given(2) or s.shape(2) in ((), (1,))
    b_plain = not s.given(3) or s.rank(3) <= 1
    if a_plain and b_plain:
        s.emit("MatMulInteger", *s.xs())
        return
    a, b = (s.cast(s.x(n), _I32, f"{name}_wide") for n, name in ((0, "a"), (1, "b")))
    if s.given(2):
        zero = s.cast(s.x(2), _I32, "a_zero_wide")
        if s.rank(2) == 1 and s.shape(2) != (1,):
            zero = s.fold_axes(zero, [1], "Unsqueeze", part="a_zero")
        a = s.emit("Sub", a, zero, part="a")
    if s.given(3):
        b = s.emit("Sub", b, s.cast(s.x(3), _I32, "b_zero_wide"), part="b")
    s.emit("MatMul", a, b)


# --- attention ---


@writes("attention")
def _attention(s: Site) -> None:
    """ONNX's op where it means the same: it has 4 axes, and lets query s look at the keys up to s."""
    aligned = not s["causal"] or s.shape(0)[-2] == s.shape(1)[-2]
    if s.has("Attention") and s.rank(0) == 4 and aligned and not s.given(3) and s.dtype(0).name != "f64":
        s.emit("Attention", s.x(0), s.x(1), s.x(2), scale=s["scale"], is_causal=int(s["causal"]) or None)
    else:
        _spelled_out(s)


def _spelled_out(s: Site) -> None:
    q, k, v = (_wide(s, s.x(n), name) for n, name in enumerate("qkv"))
    *lead, heads, queries, width = s.shape(0)
    shared, keys, out_width = s.shape(1)[-3], s.shape(1)[-2], s.shape(2)[-1]
    rank = s.rank(0)
    grouped = heads != shared
    scaled = s.emit("Mul", q, _scale(s, q), part="scaled")
    if grouped:  # heads of q that share one of k are an axis of their own, on which k and v are repeated
        scaled = s.reshape(scaled, s.shape(0), (*lead, shared, heads // shared, queries, width), part="groups")
        k, v = (s.fold_axes(t, [rank - 2], "Unsqueeze", part=f"{n}_groups") for t, n in ((k, "k"), (v, "v")))
    axes = rank + grouped
    turned = s.transpose(k, (*range(axes - 2), axes - 1, axes - 2), part="k_turned")
    scores = s.emit("MatMul", scaled, turned, part="products")
    full = (*lead, heads, queries, keys)
    split = (*lead, shared, heads // shared, queries, keys)
    if grouped:
        scores = s.reshape(scores, split, full, part="scores")
    weights = _weights(s, scores)
    if grouped:
        weights = s.reshape(weights, full, split, part="group_weights")
        mixed = s.emit("MatMul", weights, v, part="mixed")
        mixed = s.reshape(mixed, (*split[:-1], out_width), (*full[:-1], out_width), part="heads")
        s.cast_out(mixed)
    elif weights.dtype is s.out.dtype:
        s.emit("MatMul", weights, v)
    else:
        s.cast_out(s.emit("MatMul", weights, v, part="mixed"))


def _wide(s: Site, x: Value, name: str) -> Value:
    return s.cast(x, F32, f"{name}_wide") if x.dtype.bits < 32 else x


def _scale(s: Site, q: Value) -> Value:
    if s["scale"] is not None:
        return s.like(q, s["scale"])
    width = s.shape(0)[-1]
    if isinstance(width, int):
        return s.like(q, 1 / sqrt(width))
    root = s.emit("Sqrt", s.cast(s.sizes.scalar(width), q.dtype, "width"), part="root")
    return s.emit("Reciprocal", root, part="scale")


def _weights(s: Site, scores: Value) -> Value:
    """The softmax of the scores where a query may look, 0 elsewhere."""
    mask, allowed = s.maybe(3), _causal(s) if s["causal"] else None
    if mask is not None and mask.dtype is not BOOL:
        scores = s.emit("Add", scores, s.cast(mask, scores.dtype, "mask_wide"), part="masked")
    elif mask is not None:
        allowed = mask if allowed is None else s.emit("And", mask, allowed, part="allowed")
    if allowed is not None:
        scores = s.emit("Where", allowed, scores, s.like(scores, -np.inf), part="visible")
    weights = s.emit("Softmax", scores, part="weights", axis=-1)
    if allowed is None and mask is None:
        return weights
    # A query that may look nowhere has only -inf, whose softmax is no number.
    greatest = s.reduce("ReduceMax", scores, [-1], keepdims=True, part="greatest")
    blind = s.emit("Equal", greatest, s.like(scores, -np.inf), part="blind")
    return s.emit("Where", blind, s.like(scores, 0), weights, part="clean")


def _causal(s: Site) -> Value:
    """Query s may look at the keys up to s + keys - queries."""
    queries, keys = s.shape(0)[-2], s.shape(1)[-2]
    zero, one = s.sizes.scalar(0), s.sizes.scalar(1)
    rows = s.emit("Range", s.sizes.scalar(keys - queries), s.sizes.scalar(keys), one, part="last_keys")
    columns = s.emit("Range", zero, s.sizes.scalar(keys), one, part="keys")
    return s.emit("LessOrEqual", columns, s.fold_axes(rows, [1], "Unsqueeze", part="rows"), part="causal")

"""Scaled dot-product attention, with grouped heads, masks and causality."""

from __future__ import annotations

from math import sqrt
from typing import Any

from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BOOL, FLOATS
from trtn.dsl.network import Shape
from trtn.dsl.ops.base import Op
from trtn.dsl.ops.infer import Infer
from trtn.dsl.ops.normalization import widened
from trtn.dsl.ops.pointwise import fits_into

__all__: list[str] = []


class Attention(Op):
    """softmax(q @ k^T * scale + mask) @ v, per head.

    q[.., H, S, D], k[.., G, L, D], v[.., G, L, E] -> [.., H, S, E]. G divides H: each head of k and v serves
    H / G successive heads of q. `scale` is 1 / sqrt(D) unless given. The mask broadcasts to [.., H, S, L]:
    true where a query may look at a key, or numbers that are added to the scores. With `causal` the last
    query looks at all keys and each one before it at one less (query s at the keys up to s + L - S). A query
    that may look at no key gives zeros.
    """

    signature = "attention(q: T, k: T, v: T, mask: any?, *, scale: float?, causal: bool = false) -> T"
    where = {"T": FLOATS}

    def infer(self, i: Infer) -> Shape:
        rank = i.rank(0, at_least=3)
        i.rank(1, rank)
        i.rank(2, rank)
        q, k, v = i.shape(0), i.shape(1), i.shape(2)
        i.equal(q[-1], k[-1], "widths of `q` and `k` of `attention` differ", inputs=[0, 1])
        i.equal(k[-2], v[-2], "lengths of `k` and `v` of `attention` differ", inputs=[1, 2])
        i.equal(k[-3], v[-3], "heads of `k` and `v` of `attention` differ", inputs=[1, 2])
        if q[-3] != k[-3]:
            _check_groups(i, q[-3], k[-3])
        lead = []
        for n, (a, b, c) in enumerate(zip(q[:-3], k[:-3], v[:-3], strict=True)):
            same = i.equal(a, b, f"dim {n} of `q` and `k` of `attention` differ", inputs=[0, 1])
            lead.append(i.equal(same, c, f"dim {n} of `q` and `v` of `attention` differ", inputs=[0, 2]))
        if i.has(3):
            if i.dtype(3) not in (BOOL, i.dtype(0)):
                i.fail("E0302", f"`mask` of `attention` is bool or {i.dtype(0)}, not {i.dtype(3)}", inputs=[3])
            fits_into(i, 3, (*lead, q[-3], q[-2], k[-2]))
        return (*lead, q[-3], q[-2], v[-1])

    def evaluate(self, xp: Any, q: Any, k: Any, v: Any, mask: Any, *, scale: float | None, causal: bool) -> Any:
        *lead, heads, queries, width = q.shape
        shared, keys, out_width = k.shape[-3], k.shape[-2], v.shape[-1]
        scores_shape = (*lead, heads, queries, keys)
        result_shape = (*lead, heads, queries, out_width)
        if not keys or 0 in q.shape[:-1]:
            return xp.zeros(result_shape, q.dtype)
        # Heads of q that share a head of k become more rows of one product.
        grouped = (*lead, shared, heads // shared * queries)
        scaled = widened(xp, q) * xp.asarray(1 / sqrt(width) if scale is None else scale, widened(xp, q).dtype)
        product = xp.matmul(scaled.reshape(*grouped, width), xp.swapaxes(widened(xp, k), -1, -2))
        scores = product.reshape(scores_shape)
        if mask is not None and mask.dtype == bool:
            xp.copyto(scores, float("-inf"), where=~mask)
        elif mask is not None:
            scores += mask
        if causal:
            xp.copyto(scores, float("-inf"), where=~xp.tri(queries, keys, keys - queries, dtype=bool))
        _softmax_or_zero(xp, scores)
        y = xp.matmul(scores.reshape(*grouped, keys), widened(xp, v))
        return y.reshape(result_shape).astype(q.dtype, copy=False)


def _check_groups(i: Infer, heads: Dim, shared: Dim) -> None:
    if isinstance(shared, int) and shared < 1:
        i.fail("E0313", "`k` of `attention` has no heads", inputs=[1])
    i.require("==", heads % shared, 0, f"heads of `k` ({shared}) must divide those of `q` ({heads})", inputs=[0, 1])


def _softmax_or_zero(xp: Any, scores: Any) -> None:
    """Softmax of the last axis in place, with zeros where all scores are -inf."""
    greatest = xp.max(scores, axis=-1, keepdims=True)
    greatest[greatest == float("-inf")] = 0
    scores -= greatest
    xp.exp(scores, out=scores)
    total = xp.sum(scores, axis=-1, keepdims=True)
    total[total == 0] = 1
    scores /= total

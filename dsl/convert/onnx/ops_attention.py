"""Attention, ONNX's own and ONNX Runtime's fused one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, elaborate, onnx_op, refuse
from trtn.dsl.dims import Dim
from trtn.dsl.dtypes import BOOL, BY_NAME
from trtn.dsl.network import Tensor

__all__ = ["join_heads", "split_heads"]

_I64 = BY_NAME["i64"]


@elaborate("Attention")
def _is_elaborate(node: Any) -> bool:
    """Soft caps, windows, padded caches and the inner product as a result: the op's definition spells those out."""
    return _asks_more({a.name: a.f or a.i for a in node.attribute}, node.input, node.output)


def _asks_more(numbers: Mapping[str, Any], inputs: Sequence[str], outputs: Sequence[str]) -> bool:
    windows = [numbers.get(f"{side}_window_size", -1) for side in ("left", "right")]
    return any(inputs[6:]) or any(outputs[3:]) or bool(numbers.get("softcap")) or max(windows) >= 0


@onnx_op("Attention", since=23)
def _attention(n: Call) -> Results:
    """q, k, v as [B, H, S, D], or as [B, S, H*D] with the numbers of heads; a past of k and v goes before them."""
    if _asks_more(n.node.attributes, n.node.inputs, n.node.outputs):
        refuse("soft caps, windows, padded caches and its inner product are not supported")
    q, k, v = n.tensor(0), n.tensor(1), n.tensor(2)
    flat = q.rank == 3
    if flat:
        heads, shared = n.integer("q_num_heads"), n.integer("kv_num_heads")
        q, k, v = split_heads(n, q, heads, "q"), split_heads(n, k, shared, "k"), split_heads(n, v, shared, "v")
    past: Dim = 0
    if (past_key := n.maybe(4)) is not None:
        past = past_key.shape[2]
        k = n.emit("concat", past_key, k, part="present_key", axis=2)
        v = n.emit("concat", n.tensor(5), v, part="present_value", axis=2)
    mask = n.maybe(3)
    causal = n.flag("is_causal")
    if causal and past + q.shape[2] != k.shape[2]:
        mask, causal = _causal_mask(n, mask, q, k, past), False
    scale = tidy(n.number("scale")) if n.has("scale") else None
    y = n.emit("attention", q, k, v, mask, part="heads" if flat else "", scale=scale, causal=causal or None)
    return (join_heads(n, y) if flat else y), k, v


def split_heads(n: Call, x: Tensor, heads: int, part: str) -> Tensor:
    """[B, S, H * D] as [B, H, S, D]."""
    width = x.shape[2]
    if heads < 1 or (isinstance(width, int) and width % heads):
        refuse(f"{x.type} can't be split into {heads} heads")
    apart = n.emit("reshape", x, part=f"{part}_heads", shape=(x.shape[0], x.shape[1], heads, width // heads))
    return n.emit("transpose", apart, part=part, perm=(0, 2, 1, 3))


def join_heads(n: Call, y: Tensor) -> Tensor:
    """[B, H, S, D] as [B, S, H * D]."""
    batch, heads, length, width = y.shape
    rows = n.emit("transpose", y, part="rows", perm=(0, 2, 1, 3))
    return n.emit("reshape", rows, shape=(batch, length, heads * width))


def _causal_mask(n: Call, mask: Tensor | None, q: Tensor, k: Tensor, past: Dim) -> Tensor:
    """Query s may look at the keys up to s + past, whatever the number of keys is."""
    rows = n.emit("range", part="rows", first=past, end=past + q.shape[2], dtype=_I64)
    column = n.emit("unsqueeze", rows, part="row_column", axes=(1,))
    keys = n.emit("range", part="keys", end=k.shape[2], dtype=_I64)
    seen = n.emit("less_equal", keys, column, part="seen")
    if mask is None:
        return seen
    if mask.dtype is BOOL:
        return n.emit("and", mask, seen, part="mask")
    return n.emit("where", seen, mask, n.constant(np.asarray(-np.inf, mask.dtype.numpy)), part="mask")


@onnx_op("MultiHeadAttention", domain="com.microsoft")
def _multi_head_attention(n: Call) -> Results:
    """ONNX Runtime's: q, k, v as [B, S, H*D], a bias for each of them in one row, a number added to the scores."""
    if n.maybe(1) is None or n.maybe(2) is None or n.tensor(1).rank != 3:
        refuse("packed keys and values are not supported")
    if n.maybe(4) is not None:
        refuse("a key padding mask is not supported")
    if any(n.maybe(i) is not None for i in range(6, len(n.inputs))) or any(n.node.outputs[1:]):
        refuse("a cache of keys and values is not supported")
    heads = n.integer("num_heads")
    tensors = [n.tensor(i) for i in range(3)]
    if (bias := n.maybe(3)) is not None:
        sizes = tuple(t.shape[2] for t in tensors)
        names = [f"{n.path}.{p}_bias" for p in "qkv"]
        biases = n.builder.layer("split", bias, name=names[0], results=names, sizes=sizes)
        tensors = [n.emit("add", t, b, part=f"{p}_biased") for t, b, p in zip(tensors, biases, "qkv", strict=True)]
    q, k, v = (split_heads(n, t, heads, p) for t, p in zip(tensors, "qkv", strict=True))
    scale = tidy(n.number("scale")) if n.number("scale", 0.0) else None
    y = n.emit("attention", q, k, v, n.maybe(5), part="heads", scale=scale, causal=n.flag("unidirectional") or None)
    return join_heads(n, y)

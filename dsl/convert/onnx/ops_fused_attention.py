"""ONNX Runtime's `Attention`: the projections of q, k and v, and the attention, in one node."""

from __future__ import annotations

import numpy as np

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.ops_attention import join_heads, split_heads
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.dtypes import BOOL
from trtn.dsl.network import Tensor

__all__: list[str] = []


@onnx_op("Attention", domain="com.microsoft")
def _attention(n: Call) -> Results:
    """x [B, S, I] through one weight [I, q + k + v]; a mask of keys as [B, S] or as the number of them, [B]."""
    x, weight, heads = n.tensor(0), n.tensor(1), n.integer("num_heads")
    if any(n.maybe(k) is not None for k in (4, 6)) or any(n.node.outputs[1:]):
        refuse("a cache of keys and values is not supported")
    if n.flag("do_rotary"):
        refuse("rotary positions are not supported")
    if x.rank != 3 or weight.rank != 2:
        refuse(f"x and its weight are {x.type} and {weight.type}")
    whole = weight.shape[1]
    sizes = n.ints("qkv_hidden_sizes") or ((whole // 3,) * 3 if isinstance(whole, int) and not whole % 3 else ())
    if len(sizes) != 3:
        refuse(f"{whole} columns are not those of q, k and v")
    projected = n.emit("linear", x, weight, n.maybe(2), part="projected")
    names = [f"{n.path}.{p}_rows" for p in "qkv"]
    rows = n.builder.layer("split", projected, name=names[0], results=names, axis=-1, sizes=sizes)
    q, k, v = (split_heads(n, t, heads, p) for t, p in zip(rows, "qkv", strict=True))
    scale = tidy(n.number("scale")) if n.number("scale", 0.0) else None
    causal = n.flag("unidirectional") or None
    return join_heads(n, n.emit("attention", q, k, v, _mask(n, x), part="heads", scale=scale, causal=causal))


def _mask(n: Call, x: Tensor) -> Tensor | None:
    """Which keys each query may look at, with what is added to the scores where that is given too."""
    given, bias = n.maybe(3), n.maybe(5)
    if given is None:
        return bias
    if given.rank == 1 and given.shape == (x.shape[0],):
        places = n.emit("range", part="places", end=x.shape[1], dtype=given.dtype)
        seen = n.emit("less", places, n.emit("unsqueeze", given, part="lengths", axes=(1,)), part="seen")
    elif given.rank == 2:
        seen = n.cast(given, BOOL, "seen")
    else:
        refuse(f"a mask of {given.type} is not supported")
    mask = n.emit("unsqueeze", seen, part="mask", axes=(1, 2))
    if bias is None:
        return mask
    return n.emit("where", mask, bias, n.constant(np.asarray(-np.inf, bias.dtype.numpy)), part="added")

"""ONNX Runtime's ops around embeddings: several tables summed and normalised, positions as rotations."""

from __future__ import annotations

import numpy as np

from trtn.dsl.convert.onnx.call import Call
from trtn.dsl.convert.onnx.ops_attention import join_heads, split_heads
from trtn.dsl.convert.onnx.ops_pointwise import tidy
from trtn.dsl.convert.onnx.registry import Results, onnx_op, refuse
from trtn.dsl.network import Tensor

__all__: list[str] = []

_MICROSOFT = "com.microsoft"


@onnx_op("EmbedLayerNormalization", domain=_MICROSOFT)
def _embed_layer_norm(n: Call) -> Results:
    """Rows of a table of words, of one of positions and (where there are segments) of one of segments."""
    words, segments = n.tensor(0), n.maybe(1)
    if words.rank != 2:
        refuse(f"its ids are {words.type}, not [batch, length]")
    total = n.emit("embedding", words, n.tensor(2), part="words")
    places = n.maybe(8)
    if places is None:
        places = n.emit("range", part="places", end=words.shape[1], dtype=words.dtype)
    total = n.emit("add", total, n.emit("embedding", places, n.tensor(3), part="positions"), part="placed")
    if segments is not None:
        total = n.emit("add", total, n.emit("embedding", segments, n.tensor(4), part="segments"), part="sum")
    y = n.emit("layer_norm", total, n.tensor(5), n.maybe(6), axis=-1, eps=tidy(n.number("epsilon", 1e-12)))
    asked = len(n.node.outputs) > 1 and n.node.outputs[1]
    return y, _lengths(n, words) if asked else None, total


def _lengths(n: Call, words: Tensor) -> Tensor:
    """How many places of each row the mask leaves, and 0 without a mask."""
    mask = n.maybe(7)
    if mask is None:
        return n.emit("expand", n.constant(np.int32(0)), part="lengths", shape=(words.shape[0],))
    return n.emit("reduce_sum", mask, part="lengths", axes=(1,), keepdims=False)


@onnx_op("RotaryEmbedding", domain=_MICROSOFT)
def _rotary(n: Call) -> Results:
    """x as [B, S, H * D] or [B, H, S, D]; pairs of its elements turned by the angles of their places."""
    x, places, cosines, sines = (n.tensor(k) for k in range(4))
    if n.flag("is_packed_batching"):
        refuse("packed batches are not supported")
    turned, flat = n.integer("rotary_embedding_dim", 0), x.rank == 3
    half = cosines.shape[1]
    if not isinstance(half, int) or turned not in (0, 2 * half):
        refuse(f"its table of cosines is {cosines.type}")
    if flat:
        width = x.shape[2]
        heads = n.integer("num_heads", 0) or (width // (2 * half) if isinstance(width, int) and half else 0)
        x = split_heads(n, x, heads, "x")
    cos, sin = (_angles(n, t, places, x, part) for t, part in ((cosines, "cos"), (sines, "sin")))
    y = _turned(n, x, cos, sin, half, "turned" if flat else "")
    return join_heads(n, y) if flat else y


def _angles(n: Call, table: Tensor, places: Tensor, x: Tensor, part: str) -> Tensor:
    """The rows of the places, as [B, 1, S, D / 2]. One place alone is that of the first element."""
    if places.rank == 1:
        counted = n.emit("range", part=f"{part}_range", end=x.shape[2], dtype=places.dtype)
        places = n.emit(
            "unsqueeze", n.emit("add", counted, places, part=f"{part}_places"), part=f"{part}_row", axes=(0,)
        )
    rows = n.emit("embedding", places, table, part=f"{part}_rows")
    return n.emit("unsqueeze", rows, part=part, axes=(1,))


def _turned(n: Call, x: Tensor, cos: Tensor, sin: Tensor, half: int, part: str) -> Tensor:
    """Elements i and i + half make a pair, or, `interleaved`, neighbours do; what is behind them stays."""
    rest = x.shape[3] - 2 * half
    interleaved = n.flag("interleaved")
    kept = None
    if rest != 0:
        names = [f"{n.path}.moving", f"{n.path}.kept"]
        x, kept = n.builder.layer("split", x, name=names[0], results=names, axis=-1, sizes=(2 * half, rest))
    if interleaved:
        a, b = (n.emit("slice", x, part=f"half{k}", start=(k,), axes=(3,), step=(2,)) for k in (0, 1))
    else:
        names = [f"{n.path}.half0", f"{n.path}.half1"]
        a, b = n.builder.layer("split", x, name=names[0], results=names, axis=-1, sizes=(half, half))
    first = n.emit("sub", n.emit("mul", a, cos, part="a_cos"), n.emit("mul", b, sin, part="b_sin"), part="first")
    second = n.emit("add", n.emit("mul", a, sin, part="a_sin"), n.emit("mul", b, cos, part="b_cos"), part="second")
    if interleaved:
        columns = [n.emit("unsqueeze", t, part=p, axes=(4,)) for t, p in ((first, "evens"), (second, "odds"))]
        pairs = n.emit("concat", *columns, part="pairs", axis=-1)
        done = n.emit("reshape", pairs, part="joined" if kept is not None else part, shape=x.shape)
    else:
        done = n.emit("concat", first, second, part="joined" if kept is not None else part, axis=-1)
    return done if kept is None else n.emit("concat", done, kept, part=part, axis=-1)

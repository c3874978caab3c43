"""A small spec for each op: what its page shows, and what a test checks.

An entry reads `inputs -> results = call`; statements before the last are separated by `; `.
"""

from __future__ import annotations

import re

from trtn.dsl.diagnostics import Source
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.ops import Op
from trtn.dsl.syntax import format_source

__all__ = ["example"]

_ENTRIES = {
    "affine_grid": "theta: f32[N, 2, 3] -> grid: f32[N, 16, 16, 2] = affine_grid(theta, shape=[N, 3, 16, 16])",
    "arg_max": "x: f32[N, 10] -> y: i64[N] = arg_max(x, axis=1)",
    "arg_min": "x: f32[N, 10] -> y: i64[N, 1] = arg_min(x, axis=1, keepdims=true)",
    "attention": "q: f32[N, 8, S, 64], k: f32[N, 8, S, 64], v: f32[N, 8, S, 64] -> y: f32[N, 8, S, 64] "
    "= attention(q, k, v, causal=true)",
    "avg_pool": "x: f32[N, 8, 32, 32] -> y: f32[N, 8, 16, 16] = avg_pool(x, kernel=[2, 2], strides=2)",
    "batch_norm": "x: f32[N, 8, 16, 16], scale: f32[8], bias: f32[8], mean: f32[8], variance: f32[8] "
    "-> y: f32[N, 8, 16, 16] = batch_norm(x, scale, bias, mean, variance)",
    "bit_cast": "x: f32[N, 8] -> y: i32[N, 8] = bit_cast(x, to=i32)",
    "cast": "x: f32[N, 8] -> y: f16[N, 8] = cast(x, to=f16)",
    "clip": "x: f32[N, 8] -> y: f32[N, 8] = clip(x, min=0.0, max=6.0)",
    "col2im": "x: f32[N, 27, 64] -> y: f32[N, 3, 10, 10] = col2im(x, image=[10, 10], block=[3, 3])",
    "compress": "x: f32[N, 8], keep: bool[N] -> y: f32[K, 8] = compress(x, keep, axis=0) : f32[K in 0..N, 8]",
    "concat": "a: f32[N, 8], b: f32[N, 4] -> y: f32[N, 12] = concat(a, b, axis=1)",
    "conv": "x: f32[N, 3, 32, 32], weight: f32[8, 3, 3, 3], bias: f32[8] -> y: f32[N, 8, 16, 16] "
    "= conv(x, weight, bias, strides=2, pads=1)",
    "conv_integer": "x: u8[N, 3, 32, 32], weight: i8[8, 3, 3, 3], zero: u8[] -> y: i32[N, 8, 30, 30] "
    "= conv_integer(x, weight, zero)",
    "cumprod": "x: f32[N, S] -> y: f32[N, S] = cumprod(x, axis=1)",
    "cumsum": "x: f32[N, S] -> y: f32[N, S] = cumsum(x, axis=1, reverse=true)",
    "deconv": "x: f32[N, 8, 16, 16], weight: f32[8, 4, 2, 2] -> y: f32[N, 4, 32, 32] = deconv(x, weight, strides=2)",
    "deform_conv": "x: f32[N, 4, 16, 16], weight: f32[8, 4, 3, 3], offset: f32[N, 18, 14, 14] "
    "-> y: f32[N, 8, 14, 14] = deform_conv(x, weight, offset)",
    "depth_to_space": "x: f32[N, 12, 8, 8] -> y: f32[N, 3, 16, 16] = depth_to_space(x, block=2)",
    "dequantize_linear": "x: i8[N, 8], scale: f32[] -> y: f32[N, 8] = dequantize_linear(x, scale)",
    "det": "x: f32[N, 3, 3] -> y: f32[N] = det(x)",
    "dft": "x: f32[N, 64, 1] -> y: f32[N, 33, 2] = dft(x, axis=1, onesided=true)",
    "dims": "x: f32[N, S, 8] -> y: i64[3], z: f32[N, S, 8] = z = relu(x); y = dims(values=[N, S, 8])",
    "dynamic_quantize_linear": "x: f32[N, 8] -> y: u8[N, 8], scale: f32[], zero: u8[] = dynamic_quantize_linear(x)",
    "dynamic_quantize_lstm": "x: f32[S, N, 8], w: i8[1, 8, 64], r: i8[1, 16, 64], w_scale: f32[1], w_zero: i8[1], "
    "r_scale: f32[1], r_zero: i8[1] -> y: f32[S, 1, N, 16], h: f32[1, N, 16], c: f32[1, N, 16] "
    "= dynamic_quantize_lstm(x, w, r, w_scale, w_zero, r_scale, r_zero, hidden=16)",
    "einsum": 'a: f32[N, S, 8], b: f32[N, 8, 4] -> y: f32[N, S, 4] = einsum(a, b, equation="nsk,nkm->nsm")',
    "embedding": "ids: i32[N, S], table: f32[1000, 64] -> y: f32[N, S, 64] = embedding(ids, table)",
    "expand": "x: f32[1, 8] -> y: f32[4, 8] = expand(x, shape=[4, 8])",
    "eye_like": "x: f32[N, N] -> y: f32[N, N] = eye_like(x)",
    "fill": "x: f32[N, 8] -> y: f32[N, 8] = x + fill(shape=[N, 8], value=0.5)",
    "flatten": "x: f32[N, 8, 4, 4] -> y: f32[N, 128] = flatten(x)",
    "flip": "x: f32[N, 8] -> y: f32[N, 8] = flip(x, axes=[1])",
    "gather": "x: f32[N, 8], indices: i64[3] -> y: f32[N, 3] = gather(x, indices, axis=1)",
    "gather_elements": "x: f32[N, 8], indices: i64[N, 3] -> y: f32[N, 3] = gather_elements(x, indices, axis=1)",
    "gather_nd": "x: f32[N, 8], indices: i64[5, 2] -> y: f32[5] = gather_nd(x, indices)",
    "global_avg_pool": "x: f32[N, 8, 7, 7] -> y: f32[N, 8, 1, 1] = global_avg_pool(x)",
    "global_max_pool": "x: f32[N, 8, 7, 7] -> y: f32[N, 8, 1, 1] = global_max_pool(x)",
    "grid_sample": "x: f32[N, 3, 16, 16], grid: f32[N, 8, 8, 2] -> y: f32[N, 3, 8, 8] = grid_sample(x, grid)",
    "group_norm": "x: f32[N, 8, 4, 4], scale: f32[8], bias: f32[8] -> y: f32[N, 8, 4, 4] "
    "= group_norm(x, scale, bias, groups=2)",
    "gru": "x: f32[S, N, 8], w: f32[1, 48, 8], r: f32[1, 48, 16] -> y: f32[S, 1, N, 16], h: f32[1, N, 16] "
    "= gru(x, w, r, hidden=16)",
    "hardmax": "x: f32[N, 10] -> y: f32[N, 10] = hardmax(x)",
    "if": "x: f32[N, 8], flag: bool[] -> y: f32[N, 8] = if flag { yield relu(x) } else { yield -x }",
    "instance_norm": "x: f32[N, 8, 4, 4], scale: f32[8], bias: f32[8] -> y: f32[N, 8, 4, 4] "
    "= instance_norm(x, scale, bias)",
    "layer_norm": "x: f32[N, S, 64], scale: f32[64], bias: f32[64] -> y: f32[N, S, 64] = layer_norm(x, scale, bias)",
    "linear": "x: f32[N, 8], weight: f32[8, 4], bias: f32[4] -> y: f32[N, 4] = linear(x, weight, bias)",
    "log_softmax": "x: f32[N, 10] -> y: f32[N, 10] = log_softmax(x)",
    "loop": "x: f32[N, 8], n: i64[] -> y: f32[N, 8] = loop i in 0..n max 10 carry h = x { h = h * 2.0 }",
    "lp_norm": "x: f32[N, 8] -> y: f32[N, 8] = lp_norm(x)",
    "lp_pool": "x: f32[N, 8, 32, 32] -> y: f32[N, 8, 16, 16] = lp_pool(x, kernel=[2, 2], strides=2)",
    "lrn": "x: f32[N, 8, 16, 16] -> y: f32[N, 8, 16, 16] = lrn(x, size=5)",
    "lstm": "x: f32[S, N, 8], w: f32[1, 64, 8], r: f32[1, 64, 16] "
    "-> y: f32[S, 1, N, 16], h: f32[1, N, 16], c: f32[1, N, 16] = lstm(x, w, r, hidden=16)",
    "masked_mean": "x: f32[N, S, 64], mask: bool[N, S] -> y: f32[N, 64] = masked_mean(x, mask, axis=1)",
    "matmul": "a: f32[N, S, 8], b: f32[8, 4] -> y: f32[N, S, 4] = matmul(a, b)",
    "matmul_integer": "a: u8[N, 8], b: i8[8, 4] -> y: i32[N, 4] = matmul_integer(a, b)",
    "max": "a: f32[N, 8], b: f32[8] -> y: f32[N, 8] = max(a, b)",
    "max_pool": "x: f32[N, 8, 32, 32] -> y: f32[N, 8, 16, 16] = max_pool(x, kernel=[3, 3], strides=2, pads=1)",
    "max_pool_with_indices": "x: f32[N, 8, 32, 32] -> y: f32[N, 8, 16, 16], at: i64[N, 8, 16, 16] "
    "= max_pool_with_indices(x, kernel=[2, 2], strides=2)",
    "max_unpool": "x: f32[N, 8, 4, 4], at: i64[N, 8, 4, 4] -> y: f32[N, 8, 8, 8] "
    "= max_unpool(x, at, kernel=[2, 2], strides=2)",
    "mel_weights": "x: f32[N, 129] -> y: f32[N, 20] = bands = constant(20, dtype=i64); "
    "length = constant(256, dtype=i64); rate = constant(16000, dtype=i64); low = constant(0.0, dtype=f32); "
    "high = constant(8000.0, dtype=f32); y = x @ mel_weights(bands, length, rate, low, high)",
    "min": "a: f32[N, 8], b: f32[8] -> y: f32[N, 8] = min(a, b)",
    "non_max_suppression": "boxes: f32[N, 100, 4], scores: f32[N, 1, 100] -> y: i64[K, 3] "
    "= most = constant(10, dtype=i64); overlap = constant(0.5, dtype=f32); "
    "y = non_max_suppression(boxes, scores, most, overlap) : i64[K in 0..10 * N, 3]",
    "nonzero": "x: f32[N] -> y: i64[1, K] = nonzero(x) : i64[1, K in 0..N]",
    "one_hot": "labels: i64[N] -> y: f32[N, 10] = one_hot(labels, none, constant([0, 1], dtype=f32), size=10)",
    "pad": "x: f32[N, 3, 16, 16] -> y: f32[N, 3, 18, 18] = pad(x, pads=[0, 0, 1, 1, 0, 0, 1, 1])",
    "prelu": "x: f32[N, 8, 4, 4], slope: f32[8, 1, 1] -> y: f32[N, 8, 4, 4] = prelu(x, slope)",
    "quantize_linear": "x: f32[N, 8], scale: f32[] -> y: i8[N, 8] = quantize_linear(x, scale, dtype=i8)",
    "random_normal": "x: f32[N, 8] -> y: f32[N, 8] = x + random_normal(shape=[N, 8], std=0.1, seed=7)",
    "random_uniform": "x: f32[N, 8] -> y: f32[N, 8] = x + random_uniform(shape=[N, 8], seed=7)",
    "range": "x: i64[N, S] -> y: i64[N, S] = x + range(end=S)",
    "reduce_by": 'x: f32[N, S, 8] -> y: f32[N, 8] = reduce_by(x, constant([1], dtype=i64), function="mean")',
    "reshape": "x: f32[N, S, 8] -> y: f32[N, 8 * S] = reshape(x, shape=[N, 8 * S])",
    "resize": 'x: f32[N, 3, 16, 16] -> y: f32[N, 3, 32, 32] = resize(x, sizes=[N, 3, 32, 32], mode="linear")',
    "reverse_sequence": "x: f32[S, N, 8], lengths: i64[N] -> y: f32[S, N, 8] = reverse_sequence(x, lengths)",
    "rms_norm": "x: f32[N, S, 64], scale: f32[64] -> y: f32[N, S, 64] = rms_norm(x, scale)",
    "rnn": "x: f32[S, N, 8], w: f32[1, 16, 8], r: f32[1, 16, 16] -> y: f32[S, 1, N, 16], h: f32[1, N, 16] "
    "= rnn(x, w, r, hidden=16)",
    "roi_align": "x: f32[N, 8, 32, 32], rois: f32[R, 4], batch: i64[R] -> y: f32[R, 8, 7, 7] "
    "= roi_align(x, rois, batch, height=7, width=7)",
    "roll": "x: f32[N, 8, 8] -> y: f32[N, 8, 8] = roll(x, shifts=[-2, -2], axes=[1, 2])",
    "scan": "x: f32[S, 8] -> last: f32[8], sums: f32[S, 8] = zero = constant([0, 0, 0, 0, 0, 0, 0, 0], dtype=f32); "
    "last, sums = scan over row = x carry s = zero { s = s + row yield s }",
    "scatter_elements": "x: f32[N, 8], indices: i64[N, 3], updates: f32[N, 3] -> y: f32[N, 8] "
    '= scatter_elements(x, indices, updates, axis=1, reduction="add")',
    "scatter_nd": "x: f32[N, 8], indices: i64[5, 2], updates: f32[5] -> y: f32[N, 8] = scatter_nd(x, indices, updates)",
    "slice": "x: f32[N, 8] -> y: f32[N, 3] = slice(x, start=[1], end=[7], axes=[1], step=[2])",
    "softmax": "x: f32[N, 10] -> y: f32[N, 10] = softmax(x)",
    "space_to_depth": "x: f32[N, 3, 16, 16] -> y: f32[N, 12, 8, 8] = space_to_depth(x, block=2)",
    "split": "x: f32[N, 12] -> a: f32[N, 8], b: f32[N, 4] = split(x, axis=1, sizes=[8, 4])",
    "squeeze": "x: f32[N, 1, 8] -> y: f32[N, 8] = squeeze(x, axes=[1])",
    "stft": "x: f32[N, 256, 1] -> y: f32[N, 7, 33, 2] = stft(x, step=32, length=64)",
    "tf_idf": "x: i64[N, 6] -> y: f32[N, 3] = tf_idf(x, pool=[2, 3, 5], starts=[0], columns=[0, 1, 2])",
    "tile": "x: f32[N, 8] -> y: f32[N, 24] = tile(x, times=[1, 3])",
    "top_k": "x: f32[N, 10] -> values: f32[N, 3], indices: i64[N, 3] = top_k(x, k=3)",
    "transpose": "x: f32[N, S, 8] -> y: f32[N, 8, S] = transpose(x, perm=[0, 2, 1])",
    "trilu": "x: f32[N, 8, 8] -> y: f32[N, 8, 8] = trilu(x, upper=false)",
    "unique": "x: f32[N] -> y: f32[K], first: i64[K], inverse: i64[N], counts: i64[K] "
    "= y, first, inverse, counts = unique(x) : f32[K in 0..N], i64[K], i64[N], i64[K]",
    "unsqueeze": "x: f32[N, 8] -> y: f32[N, 1, 8] = unsqueeze(x, axes=[1])",
    "where": "keep: bool[N, 1], x: f32[N, 8], y: f32[N, 8] -> z: f32[N, 8] = where(keep, x, y)",
}

_ENTRY = re.compile(r"(.*?) -> (.*?\]) = (.*)", re.S)
_ITEM = re.compile(r"(\w+): (\w+)\[([^\]]*)\]")


def example(op: Op) -> str | None:
    """A whole spec with a layer of this op, formatted; None where there is none."""
    entry = _ENTRIES.get(op.name) or _pointwise(op) or _reduction(op)
    if entry is None:
        return None
    match = _ENTRY.fullmatch(entry)
    assert match, entry
    inputs, outputs = (_ITEM.findall(part) for part in match.groups()[:2])
    dims = sorted({dim for _, _, shape in inputs for dim in re.findall(r"\b[A-Z]\b", shape)})
    body = match[3].split("; ")
    if not re.match(r"[\w, ]+ = ", body[-1]):
        body = [*body[:-1], f"{', '.join(name for name, _, _ in outputs)} = {body[-1]}"]
    lines = [
        *(f"dim {d} in 1..16" for d in dims),
        *(f"input {name}: {dtype}[{shape}]" for name, dtype, shape in inputs),
        *(f"output {name}: {dtype}[{shape}]" for name, dtype, shape in outputs),
        "",
        *body,
    ]
    text = f"trtn 1\n\nnetwork {op.name}_example {{\n" + "\n".join(lines) + "\n}\n"
    return format_source(Source("example.trtn", text))


def _pointwise(op: Op) -> str | None:
    """x, or x and y broadcast, and no attribute that must be given."""
    inputs, result = op.spec.inputs, op.spec.results[0]
    if not op.pointwise or len(inputs) > 2 or any(a.required for a in op.spec.attrs):
        return None
    dtypes = [_dtype(op, i.type) for i in inputs]
    made = dtypes[0] if result.type == inputs[0].type else result.type
    names = ["x", "y"][: len(inputs)]
    shapes = ["N, 8", "8"]
    given = ", ".join(f"{n}: {d}[{s}]" for n, d, s in zip(names, dtypes, shapes, strict=False))
    return f"{given} -> result: {made}[N, 8] = {op.name}({', '.join(names)})"


def _reduction(op: Op) -> str | None:
    if not op.name.startswith("reduce_") or op.spec.attr("axes") is None:
        return None
    return f"x: f32[N, S, 8] -> y: f32[N, 8] = {op.name}(x, axes=[1])"


def _dtype(op: Op, variable: str) -> str:
    """f32 where it is allowed, else the first dtype that is."""
    if variable in BY_NAME:
        return variable
    names = [d.name for d in op.dtypes(variable)]
    return next((n for n in ("f32", "i32") if n in names), names[0])

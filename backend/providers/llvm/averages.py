"""Means of whole images that lie channels last: some vectors of channels at a time, pixel after pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

from llvmlite import ir

from trtn.backend.problem import Problem
from trtn.backend.providers.llvm.conv_epilogue import pixel_stride
from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.family import Unfit, Written
from trtn.backend.providers.llvm.gemm.threads import cores, parallel_for, share

__all__ = ["write_average"]

LANES = 8
TOGETHER = 8
"""Vectors whose sums are in registers: enough additions on their way at a time."""
CHUNK = 64 << 10
"""Bytes that a thread reads, at least: some 4 us."""


def write_average(problem: Problem) -> Written:
    """global_avg_pool alone. Raises Unfit."""
    group, (x,), y = problem.group, problem.inputs, problem.outputs[0]
    if len(group.layers) != 1 or len(x.shape) != 4 or any(a.dtype.name != "f32" for a in (x, y)):
        raise Unfit("more than a mean, or of other numbers than f32")
    if x.shape[1] % LANES or x.strides[1] != 1 or y.strides[1] != 1 or 0 in x.shape:
        raise Unfit("channels that don't fill vectors, or don't lie side by side")
    pixels, vectors = x.shape[2] * x.shape[3], x.shape[1] // LANES
    parts = min(4 * prod(x.shape) // CHUNK, cores(), vectors)
    numbers = {
        "parts": max(parts, 1),
        "images": x.shape[0],
        "image": x.strides[0],
        "pixel": pixel_stride(x),
        "pixels": pixels,
        "vectors": vectors,
        "out": y.strides[0],
    }
    e = Emitter(2)
    means = {width: _write_means(e, width) for width in (1, TOGETHER)}
    given = {"x": e.pointers[0], "y": e.pointers[1], **{name: e.given(n) for name, n in numbers.items()}}
    parallel_for(e, given["parts"], list(given.values()), partial(_part, e, means, list(given)))
    return Written(e.text(), e.numbers, shared=parts > 1)


def _part(e: Emitter, means: Mapping[int, Any], names: Sequence[str], number: Any, values: Sequence[Any]) -> None:
    """Some channels of all images."""
    b, v = e.b, dict(zip(names, values, strict=True))
    first, end = share(e, v["vectors"], number, v["parts"])
    count = b.sub(end, first)
    whole = b.udiv(count, I64(TOGETHER))
    with e.loop(v["images"]) as image:
        source = e.at(v["x"], b.mul(image.index, v["image"]), F32)
        target = e.at(v["y"], b.mul(image.index, v["out"]), F32)
        rest = b.add(first, b.mul(whole, I64(TOGETHER)))
        for width, begin, turns in ((TOGETHER, first, whole), (1, rest, b.sub(end, rest))):
            with b.if_then(b.icmp_unsigned(">", turns, I64(0))), e.loop(turns) as each:
                channel = b.mul(b.add(begin, b.mul(each.index, I64(width))), I64(LANES))
                b.call(means[width], [e.at(source, channel, F32), v["pixel"], v["pixels"], e.at(target, channel, F32)])


def _write_means(e: Emitter, width: int) -> Any:
    """A function (x, stride, count, y): the means of `count` pixels of `width` vectors of channels."""
    with e.function(f"means{width}", [POINTER, I64, I64, POINTER], ir.VoidType()) as made:
        x, stride, count, y = made.args
        b, zero = e.b, e.number(0.0, ir.VectorType(F32, LANES))
        with e.loop(count, [zero] * width) as each:
            pixel = e.at(x, b.mul(each.index, stride), F32)
            each.carried = [
                b.fadd(s, e.load_vector(pixel, I64(n * LANES), F32, LANES)) for n, s in enumerate(each.carried)
            ]
        pixels = e.splat(b.uitofp(count, F32), LANES)
        for n, s in enumerate(each.carried):
            e.store_vector(b.fdiv(s, pixels), y, I64(n * LANES), F32)
        b.ret_void()
    return made

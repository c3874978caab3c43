"""Winograd's minimal filtering F(m x m, 3 x 3): its matrices, packed weights, and the two transforms of images.

A tile of m x m results of a 3x3 convolution with stride 1 is A' [(G g G') * (B' d B)] A, of a patch d of n x n elements
and a filter g, n = m + 2 (S. Winograd, 1980; A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks,
2016). Summed over channels the product by elements is n^2 matrix products, m^2 9 / n^2 times cheaper than the
convolution. The matrices interpolate at 0, pairs of +-p, and infinity. Which points decides how much is rounded off: for
m = 4 the pairs +-sqrt(1/2), +-sqrt(2) keep the largest error, over 128 channels, at 2e-6 of the largest result; 0, +-1,
+-2 have 9e-6, and a direct sum 5e-7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import sqrt
from typing import Any

import numpy as np
from llvmlite import ir

from trtn.backend.providers.llvm.emitter import F32, I64, POINTER, Emitter
from trtn.backend.providers.llvm.winograd_shape import FILTER

__all__ = ["POINTS", "matrices", "pack_filters", "write_input", "write_output", "write_patch"]

POINTS = {2: (1.0,), 4: (sqrt(0.5), sqrt(2.0))}
"""The positive points of each pair, by m."""


@cache
def matrices(m: int) -> tuple[Any, Any, Any]:
    """A' [m, n], G [n, 3], B' [n, n] of F(m, 3) in f64, for the points 0, +p, -p, .., infinity."""
    n = m + FILTER - 1
    points = [0.0, *(s * p for p in POINTS[m] for s in (1.0, -1.0))]
    a, g, b = np.zeros((m, n)), np.zeros((n, FILTER)), np.zeros((n, n))
    for j, p in enumerate(points):
        others = [q for q in points if q != p]
        a[:, j] = p ** np.arange(m)
        g[j] = p ** np.arange(FILTER) / np.prod([p - q for q in others])
        b[j, : n - 1] = np.poly(others)[::-1]
    a[m - 1, n - 1] = g[n - 1, FILTER - 1] = 1
    b[n - 1] = np.poly(points)[::-1]
    return a, g, b


def pack_filters(m: int, width: int, chunk: int, weight: Any, *, room: Callable[[int], Any]) -> Any:
    """Filters [O, C, 3, 3] of f32, transformed in f64, as f32: chunks of up to `chunk` panels one after another, each
    [n^2, panels, C, width]; columns are filled up with zeros."""
    _, g, _ = matrices(m)
    both = np.kron(g, g)  # [n^2, 9]
    outer, inner = weight.shape[:2]
    count = -(-outer // width)
    packed = room(4 * len(both) * count * inner * width).view(np.float32)
    # panel by panel, in the same memory: new pages for each would take longer than the arithmetic
    plain = np.empty((FILTER**2, inner, width))
    transformed = np.empty((len(both), inner * width))
    for first in range(0, count, chunk):
        panels = min(chunk, count - first)
        start = len(both) * first * inner * width
        end = start + len(both) * panels * inner * width
        places = packed[start:end].reshape(len(both), panels, -1)
        for n in range(panels):
            own = weight[(first + n) * width : (first + n + 1) * width].reshape(-1, inner, FILTER**2)
            plain[:, :, : len(own)] = own.transpose(2, 1, 0)
            plain[:, :, len(own) :] = 0
            places[:, n] = np.matmul(both, plain.reshape(FILTER**2, -1), out=transformed)
    return packed


def write_patch(e: Emitter, n: int, lanes: int) -> Any:
    """A function (x, row, column, height, width, top, left, patch, vectors): the patch [n, n, channels] whose first
    element is at `top` and `left` of an image, zeros where that has none."""
    with e.function("patch", [POINTER, *[I64] * 6, POINTER, I64], ir.VoidType()) as made:
        x, row, column, height, width, top, left, patch, vectors = made.args
        b = e.b
        zero = e.number(0.0, ir.VectorType(F32, lanes))
        with e.loop(n) as i, e.loop(n) as j:
            y, z = b.add(top, i.index), b.add(left, j.index)
            inside = b.and_(b.icmp_unsigned("<", y, height), b.icmp_unsigned("<", z, width))
            source = e.at(x, b.add(b.mul(y, row), b.mul(z, column)), F32)
            pixel = b.mul(b.add(b.mul(i.index, I64(n)), j.index), vectors)
            target = e.at(patch, b.mul(pixel, I64(lanes)), F32)
            with b.if_else(inside) as (there, outside):
                with there, e.loop(vectors) as vector:
                    channel = b.mul(vector.index, I64(lanes))
                    e.store_vector(e.load_vector(source, channel, F32, lanes), target, channel, F32)
                with outside, e.loop(vectors) as vector:
                    e.store_vector(zero, target, b.mul(vector.index, I64(lanes)), F32)
        b.ret_void()
    return made


def write_input(e: Emitter, m: int, lanes: int) -> Any:
    """A function (x, row, column, v, position, vectors): B' d B of a patch at x, whose elements are `row` and `column`
    apart, to v, whose n^2 positions are `position` apart, for so many vectors of channels."""
    n = m + FILTER - 1
    with e.function("input", [POINTER, I64, I64, POINTER, I64, I64], ir.VoidType()) as made:
        x, row, column, v, position, vectors = made.args
        b = e.b
        starts = [[b.add(b.mul(row, I64(i)), b.mul(column, I64(j))) for j in range(n)] for i in range(n)]
        ends = [b.mul(position, I64(k)) for k in range(n * n)]
        with e.loop(vectors) as vector:
            channel = b.mul(vector.index, I64(lanes))
            source, target = e.at(x, channel, F32), e.at(v, channel, F32)
            columns = [
                _from_patch(e, m, [e.load_vector(source, starts[i][j], F32, lanes) for i in range(n)]) for j in range(n)
            ]
            for i in range(n):
                for j, value in enumerate(_from_patch(e, m, [columns[j][i] for j in range(n)])):
                    e.store_vector(value, target, ends[i * n + j], F32)
        b.ret_void()
    return made


def write_output(e: Emitter, m: int, lanes: int, width: int) -> Any:
    """A function (products, out, vectors): A' t A of a tile of products [n^2, width] to out [m^2, width], for so many
    vectors of channels."""
    n = m + FILTER - 1
    with e.function("output", [POINTER, POINTER, I64], ir.VoidType()) as made:
        products, out, vectors = made.args
        b = e.b
        with e.loop(vectors) as vector:
            channel = b.mul(vector.index, I64(lanes))
            source, target = e.at(products, channel, F32), e.at(out, channel, F32)
            columns = [
                _to_tile(e, m, [e.load_vector(source, I64((i * n + j) * width), F32, lanes) for i in range(n)])
                for j in range(n)
            ]
            for i in range(m):
                for j, value in enumerate(_to_tile(e, m, [columns[j][i] for j in range(n)])):
                    e.store_vector(value, target, I64((i * m + j) * width), F32)
        b.ret_void()
    return made


def _from_patch(e: Emitter, m: int, d: Sequence[Any]) -> list[Any]:
    """B' d for n vectors. The rows of +p and -p have their even terms in common, and their odd ones but for the sign."""
    b = e.b
    if m == 2:
        return [b.fsub(d[2], d[0]), b.fadd(d[2], d[1]), b.fsub(d[2], d[1]), b.fsub(d[3], d[1])]
    # The squares of the points multiply to 1.
    p, q = POINTS[m]
    total = -(p * p + q * q)
    found = [_multiply_add(e, d[2], total, b.fadd(d[0], d[4]))]
    for point, other in ((p, q), (q, p)):
        even = _multiply_add(e, d[2], -other * other, d[4])
        odd = _multiply_add(e, d[1], -other * other, d[3])
        found += [_multiply_add(e, odd, point, even), _multiply_add(e, odd, -point, even)]
    return [*found, _multiply_add(e, d[3], total, b.fadd(d[1], d[5]))]


def _to_tile(e: Emitter, m: int, t: Sequence[Any]) -> list[Any]:
    """A' t for n vectors: sums of the powers of points, of which a pair's even ones are alike."""
    b = e.b
    sums = [b.fadd(t[k], t[k + 1]) for k in range(1, len(t) - 1, 2)]
    differences = [b.fsub(t[k], t[k + 1]) for k in range(1, len(t) - 1, 2)]
    found = []
    for power in range(m):
        terms = differences if power % 2 else sums
        value = t[0] if power == 0 else t[-1] if power == m - 1 else None
        for point, term in zip(POINTS[m], terms, strict=True):
            factor = point**power
            if value is None:
                value = term if factor == 1.0 else b.fmul(term, e.number(factor, term))
            elif factor == 1.0:
                value = b.fadd(value, term)
            else:
                value = _multiply_add(e, term, factor, value)
        found.append(value)
    return found


def _multiply_add(e: Emitter, x: Any, factor: float, y: Any) -> Any:
    return e.intrinsic("fma", x, e.number(factor, x), y)

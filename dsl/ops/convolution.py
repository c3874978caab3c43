"""How the reference computes convolutions: as matrix products over gathered windows, and by taps where each
channel is alone.

Arrays are [N, C, *spatial], already in the dtype to accumulate in.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from trtn.dsl.ops.windows import pad_spatial, taps

__all__ = ["convolve", "deconvolve"]

_COLUMN_BYTES = 8 << 20
"""The memory that gathered windows take at a time: little enough to stay near, enough for fast matrix
products.
"""
_FEW_PLACES = 64
"""Up to this many positions of the kernel the images of a batch share one matrix product."""
_CACHE_BYTES = 256 << 10
"""What one step of a depthwise convolution should touch, to stay in a core's cache."""


def convolve(
    xp: Any,
    x: Any,
    weight: Any,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Any:
    """x [N, C, *in] with weight [O, C / groups, *k] -> a new array [N, O, *out]. `pads` are begins, then
    ends.
    """
    kernel = weight.shape[2:]
    x = pad_spatial(xp, x, pads)
    out = tuple(
        (n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)
    )
    batch, outputs = x.shape[0], weight.shape[0]
    shape = (batch, outputs, *out)
    if 0 in shape or 0 in weight.shape:
        return xp.zeros(shape, dtype=x.dtype)
    if groups == x.shape[1] and weight.shape[1] == 1 and groups > 1:
        return _depthwise(xp, x, weight, out, strides, dilations)
    matrix = weight.reshape(groups, outputs // groups, -1)
    if prod(kernel) == 1:
        picked = x[(..., *(slice(0, (n - 1) * s + 1, s) for n, s in zip(out, strides, strict=True)))]
        return _product(xp, matrix, picked.reshape(batch, groups, -1, prod(out))).reshape(shape)
    windows = _windows(xp, x, kernel, out, strides, dilations)
    if groups == 1 and batch > 1 and prod(out) < _FEW_PLACES:
        columns = xp.moveaxis(windows, 0, 1 + len(kernel)).reshape(matrix.shape[2], -1)
        y = xp.matmul(matrix[0], columns).reshape(outputs, batch, *out)
        return xp.ascontiguousarray(xp.moveaxis(y, 1, 0))
    return _by_rows(xp, matrix, windows, 2 + len(kernel))


def _by_rows(xp: Any, matrix: Any, windows: Any, places: int) -> Any:
    """matrix [G, O / G, K] times windows [N, C, *k, *out] (`out` from axis `places` on), some rows of the
    result at a time.
    """
    batch, out = windows.shape[0], windows.shape[places:]
    groups, each, depth = matrix.shape
    row = prod(out[1:])
    count = max(1, min(out[0], _COLUMN_BYTES // (groups * depth * row * windows.dtype.itemsize)))
    y = xp.empty((batch, groups, each, out[0] * row), dtype=windows.dtype)
    scratch = xp.empty(groups * depth * row * count, dtype=windows.dtype)
    for n in range(batch):
        for first in range(0, out[0], count):
            part = windows[(n, *(slice(None),) * (places - 1), slice(first, first + count))]
            columns = scratch[: part.size]
            columns.reshape(part.shape)[...] = part
            columns = columns.reshape(groups, depth, -1)
            xp.matmul(matrix, columns, out=y[n, :, :, first * row : first * row + columns.shape[2]])
    return y.reshape(batch, groups * each, *out)


def _windows(
    xp: Any,
    x: Any,
    kernel: Sequence[int],
    out: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Any:
    """A view of the padded x: [N, C, *kernel, *out]."""
    steps = x.strides[2:]
    return xp.lib.stride_tricks.as_strided(
        x,
        shape=(*x.shape[:2], *kernel, *out),
        strides=(
            *x.strides[:2],
            *(step * d for step, d in zip(steps, dilations, strict=True)),
            *(step * s for step, s in zip(steps, strides, strict=True)),
        ),
    )


def _product(xp: Any, matrix: Any, columns: Any) -> Any:
    """[G, O, K] times [N, G, K, P] -> [N, G, O, P]. Many small products of one group are made one."""
    batch, groups, depth, places = columns.shape
    if groups > 1:
        return xp.matmul(matrix, columns)
    if batch > 1 and places < _FEW_PLACES:
        folded = columns.reshape(batch, depth, places).transpose(1, 0, 2).reshape(depth, batch * places)
        y = xp.matmul(matrix[0], folded).reshape(-1, batch, places)
        return xp.ascontiguousarray(y.transpose(1, 0, 2))
    return xp.matmul(matrix[0], columns.reshape(batch, depth, places))


def _depthwise(
    xp: Any, x: Any, weight: Any, out: tuple[int, ...], strides: Sequence[int], dilations: Sequence[int]
) -> Any:
    """Every channel with its own kernels: multiply and add in place, tap by tap."""
    batch, channels = x.shape[:2]
    each = weight.shape[0] // channels
    kernel = weight.shape[2:]
    moves = list(taps(kernel, out, strides, dilations))
    if each == 1 and channels > 4 * out[-1]:
        # Rows are too short to be worth a loop of their own: let the channels be the innermost axis.
        last = xp.ascontiguousarray(xp.moveaxis(x, 1, -1))
        scale = xp.ascontiguousarray(xp.moveaxis(weight[:, 0], 0, -1))
        y = _accumulate(xp, [(last[(slice(None), *where)], scale[at]) for at, where in moves])
        return xp.ascontiguousarray(xp.moveaxis(y, -1, 1))
    y = xp.empty((batch, channels, each, *out), dtype=x.dtype)
    scale = weight.reshape(channels, each, *kernel, *(1,) * len(out))
    step = max(1, _CACHE_BYTES // (each * prod(out) * x.dtype.itemsize))
    for n in range(batch):
        for c in range(0, channels, step):
            part = slice(c, c + step)
            pairs = [(x[(n, part, None, *where)], scale[(part, slice(None), *at)]) for at, where in moves]
            _accumulate(xp, pairs, y[n, part])
    return y.reshape(batch, channels * each, *out)


def _accumulate(xp: Any, pairs: Sequence[tuple[Any, Any]], y: Any = None) -> Any:
    """The sum of the products of all pairs, into `y` where it is given."""
    y = xp.multiply(*pairs[0], out=y)
    term = xp.empty_like(y)
    for a, b in pairs[1:]:
        xp.multiply(a, b, out=term)
        xp.add(y, term, out=y)
    return y


def deconvolve(
    xp: Any,
    x: Any,
    weight: Any,
    out: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    groups: int,
) -> Any:
    """x [N, C, *in] with weight [C, O / groups, *k] -> a new array [N, O, *out]: the transpose of convolve.

    Each input element adds its multiple of the kernel to the result, from which `pads` elements are cut at
    the beginnings.
    """
    batch, channels, *spatial = x.shape
    kernel = weight.shape[2:]
    each = weight.shape[1]
    count = len(spatial)
    reach = [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(spatial, kernel, strides, dilations, strict=True)]
    full = [max(r, b + o) for r, b, o in zip(reach, pads[:count], out, strict=True)]
    y = xp.zeros((batch, groups * each, *full), dtype=x.dtype)
    if x.size and weight.size:
        matrix = weight.reshape(groups, channels // groups, -1).transpose(0, 2, 1)
        rows = max(1, _COLUMN_BYTES // (groups * matrix.shape[1] * prod(spatial) * x.dtype.itemsize))
        for n in range(0, batch, rows):
            part = x[n : n + rows].reshape(-1, groups, channels // groups, prod(spatial))
            columns = xp.matmul(matrix, part).reshape(-1, groups * each, *kernel, *spatial)
            for at, where in taps(kernel, spatial, strides, dilations):
                y[(slice(n, n + rows), slice(None), *where)] += columns[(slice(None), slice(None), *at)]
    return xp.ascontiguousarray(y[(..., *(slice(b, b + o) for b, o in zip(pads[:count], out, strict=True)))])

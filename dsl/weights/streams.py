"""Reproducible random elements: the same bits on every machine, NumPy version and chunk size.

Only operations that IEEE 754 rounds exactly (+ - * / and square root, in float64) and 64-bit integers are
used. NumPy's own distributions may change between its versions, and its logarithms and cosines differ in the
last bit between processors.

**Words.** Word `i` (from 0) of a seed is `mix(mix(seed) + (i + 1) * 0x9E3779B97F4A7C15)` modulo 2^64:
SplitMix64 started at `mix(seed)`, where `mix` is its finaliser (xor with >> 30, times 0xBF58476D1CE4E5B9, xor
with >> 27, times 0x94D049BB133111EB, xor with >> 31). A stream depends on the seed alone: tensors of one seed
start alike, and a longer tensor continues a shorter one.

**Uniform.** Element `i` is `low + (high - low) * u`, `u = (word i >> 11) * 2^-53`; for an integer dtype the
floor of that.

**Normal.** Word `i` gives elements `2i` and `2i + 1` by the method of Box and Muller. With `a` the word's
upper 32 bits, `r = sqrt(-ln((2a + 1) / 2^33))`; with `b` bits 0..29, `p = (b + 1/2 - 2^29) * (pi / 2^31)`,
between -pi/4 and pi/4. The elements are `r * (cos p - sin p)` and `r * (cos p + sin p)`, negated where bit 31
(for the first) or bit 30 (for the second) is set, times std. They are at most 6.8 std long. ln, cos and sin
are the polynomials below, whose errors are below 1e-12.

Elements are computed in float64, in C order, and rounded to float32 and from there to narrower floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["normal", "uniform"]

_CHUNK = 1 << 12  # words at a time: the temporaries stay in the processor's cache
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))

_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")  # sqrt(1/2)
_LN2 = float.fromhex("0x1.62e42fefa39efp-1")
_ANGLE = float.fromhex("0x1.921fb54442d18p-30")  # pi / 2^31
# atanh(t) = t * (1 + t^2/3 + t^4/5 ..) for |t| < 0.172, and Taylor's series of sin(p)/p and cos(p), all
# highest power first.
_ATANH = tuple(1.0 / n for n in range(15, 0, -2))
_SIN = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(6, -1, -1))
_COS = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(6, -1, -1))

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]


def normal(seed: int, std: float, count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """`count` elements of a normal distribution around 0, of a float dtype."""
    out = np.empty(count, dtype)

    def fill(start: int, words: Words) -> None:
        part = out[2 * start : 2 * (start + len(words))]
        for offset, values in enumerate(_box_muller(words)):
            values *= std
            # An odd count leaves the last word's second element out.
            _store(values[: (len(part) + 1 - offset) // 2], part[offset::2])

    _each_chunk(seed, (count + 1) // 2, fill)
    return out


def uniform(seed: int, low: float, high: float, count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """`count` elements from `low` up to `high`; of an integer dtype they stay below `high`."""
    out = np.empty(count, dtype)
    integers = dtype.kind in "iu" or dtype.name in ("int4", "uint4")

    def fill(start: int, words: Words) -> None:
        values = (words >> np.uint64(11)).astype(np.float64)
        values *= 2.0**-53
        values *= high - low
        values += low
        if integers:
            np.floor(values, out=values)
            np.minimum(values, high - 1, out=values)  # the sum may round up to `high` itself
        _store(values, out[start : start + len(words)])

    _each_chunk(seed, count, fill)
    return out


def _store(values: Floats, out: npt.NDArray[Any]) -> None:
    exact = out.dtype.kind in "iu" or out.dtype == np.float64
    out[:] = values if exact else values.astype(np.float32)


def _each_chunk(seed: int, count: int, fill: Callable[[int, Words], None]) -> None:
    """Calls `fill` with the first `count` words of a seed's stream in chunks, each with the index of its first."""
    origin = _mix_int(seed)
    steps = np.arange(1, min(count, _CHUNK) + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    for start in range(0, count, _CHUNK):
        words = steps[: count - start] + np.uint64((origin + start * _GOLDEN) & _MASK)
        for shift, factor in _MIX:
            words ^= words >> np.uint64(shift)
            words *= np.uint64(factor)
        fill(start, words)


def _mix_int(word: int) -> int:
    for shift, factor in _MIX:
        word = (word ^ word >> shift) * factor & _MASK
    return word


def _box_muller(words: Words) -> tuple[Floats, Floats]:
    """Two normal elements a word, without std: all first ones, all second ones."""
    angle = (words & np.uint64((1 << 30) - 1)).astype(np.float64)
    angle += 0.5 - (1 << 29)
    angle *= _ANGLE
    square = angle * angle
    cos = _polynomial(_COS, square)
    sin = _polynomial(_SIN, square)
    sin *= angle
    radius = _minus_log(words >> np.uint64(32))
    np.sqrt(radius, out=radius)
    first = cos - sin
    second = np.add(cos, sin, out=cos)
    first *= radius
    second *= radius
    first.view(np.uint64)[:] ^= (words & np.uint64(1 << 31)) << np.uint64(32)
    second.view(np.uint64)[:] ^= (words & np.uint64(1 << 30)) << np.uint64(33)
    return first, second


def _minus_log(a: Words) -> Floats:
    """`-ln((2a + 1) / 2^33)` for integers below 2^32, above 0."""
    x = a.astype(np.float64)
    x *= 2.0
    x += 1.0
    bits = x.view(np.uint64)
    # x = m * 2^e with m from 1/2 to 1, taken from the bits: ln x = (e - 1/2) * ln 2 + ln(m / sqrt(1/2)).
    powers = (bits >> np.uint64(52)).astype(np.float64)
    np.subtract(33.5 + 1022, powers, out=powers)
    powers *= _LN2
    bits &= np.uint64((1 << 52) - 1)
    bits |= np.uint64(0x3FE << 52)
    t = (x - _HALF) / (x + _HALF)
    series = _polynomial(_ATANH, t * t)
    series *= t
    series *= 2.0
    return np.subtract(powers, series, out=powers)


def _polynomial(coefficients: tuple[float, ...], x: Floats) -> Floats:
    """Horner's scheme, each product and sum rounded on its own."""
    value = x * coefficients[0]
    value += coefficients[1]
    for coefficient in coefficients[2:]:
        value *= x
        value += coefficient
    return value

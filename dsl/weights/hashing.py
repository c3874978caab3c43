"""The hash of a tensor: over its dtype, its shape and its elements, whatever file they come from."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from trtn.dsl.dtypes import DType, from_numpy
from trtn.dsl.weights.mapped import forget

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SCHEME", "chunks", "combine", "digest", "hasher", "is_digest", "short"]

SCHEME = "sha256:"
_CHUNK = 1 << 20
_WINDOW = 1 << 25
"""Bytes of a mapped file that stay in memory while it is read through."""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest(array: npt.NDArray[Any]) -> str:
    """`sha256:` and 64 lower-case hex digits: the SHA-256 of a header and the elements.

    The header is ASCII: the dtype's name in the language, the dims in brackets with commas and no spaces, a
    line feed; `f16[768,3072]\\n`, and `f32[]\\n` for a scalar. The elements follow in C order (last axis
    fastest) without padding: little-endian two's complement or IEEE 754 for numbers (bf16: the upper half of
    an f32; 8-bit floats: their 8 bits, f4e2m1: its 4 bits in a byte of its own, as in the OCP formats), one
    byte 0 or 1 for a bool, one byte for a smaller integer (i4 and i2 sign-extended: unpacked). Bits count:
    -0.0 and 0.0 differ, and so do two NaNs with different payloads.

    An array of any strides and byte order is taken; at most one chunk (1 MiB) of it is copied at a time.
    Raises TypeError where the language has no such dtype.
    """
    dtype = from_numpy(array.dtype)
    if dtype is None:
        raise TypeError(f"no dtype of the language is {array.dtype}")
    state = hasher(dtype, array.shape)
    for chunk in chunks(array):
        state.update(chunk)
    return SCHEME + state.hexdigest()


def hasher(dtype: DType, shape: Iterable[int]) -> hashlib._Hash:
    """A SHA-256 that has read the header of `digest`; the caller feeds it what `chunks` gives."""
    return hashlib.sha256(f"{dtype}[{','.join(map(str, shape))}]\n".encode())


def chunks(array: npt.NDArray[Any]) -> Iterator[memoryview]:
    """The elements' canonical bytes (see `digest`), in order, in pieces of at most 1 MiB, or one element.

    Mapped files are let go of piece by piece: a pass over a tensor of any size takes little memory.
    """
    if array.flags.c_contiguous and not _needs_change(array.dtype):
        octets = array.reshape(-1).view("u1")
        for start in range(0, len(octets), _WINDOW):
            window = octets[start : start + _WINDOW]
            yield from (window[at : at + _CHUNK].data for at in range(0, len(window), _CHUNK))
            forget(window)
    elif array.nbytes <= _CHUNK:
        yield _canonical(array).reshape(-1).view("u1").data
    else:
        rows = _CHUNK // (array.nbytes // len(array))
        parts = (array[i : i + rows] for i in range(0, len(array), rows)) if rows else iter(array)
        for part in parts:
            yield from chunks(part)


_SMALL = frozenset({"int4", "uint4", "int2", "uint2"})


def _needs_change(dtype: np.dtype[Any]) -> bool:
    foreign_order = dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big")
    return (foreign_order and dtype.itemsize > 1) or dtype.name in _SMALL


def _canonical(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    import numpy as np

    if array.dtype.name in _SMALL:  # ml_dtypes leaves the upper half of the byte open
        return np.ascontiguousarray(array.astype(np.int8 if array.dtype.name[0] == "i" else np.uint8))
    bits = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    return bits.byteswap() if _needs_change(array.dtype) else bits


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def short(text: str) -> str:
    """A digest as findings show it: `sha256:5d8b1c02..`."""
    return f"{text[: len(SCHEME) + 8]}.." if is_digest(text) else text


def combine(named: Iterable[tuple[str, str]]) -> str:
    """One digest over named digests, independent of their order: a two-level Merkle tree.

    The SHA-256 of one line `<digest> <name>\\n` (UTF-8) for each tensor, sorted by name's code points.
    """
    state = hashlib.sha256()
    for name, value in sorted(named):
        state.update(f"{value} {name}\n".encode())
    return SCHEME + state.hexdigest()

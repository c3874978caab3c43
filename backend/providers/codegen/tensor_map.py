"""Tensor maps: what the copy engine of compute capability 9.0 must know of a matrix to fetch tiles of it, as an argument of a kernel.

The driver writes them; structures and numbers are those of cuda.h.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

from trtn.backend.providers.codegen.family import Slot
from trtn.backend.providers.codegen.launching import LIBRARY

__all__ = ["BYTES", "MatrixMap"]

BYTES = 128
"""Of a map."""
_ALIGNED = 64
_KINDS = {"f16": 6, "bf16": 9}
_SWIZZLE_128 = 3
_PROMOTE_256 = 3


@dataclass(frozen=True, slots=True)
class MatrixMap:
    """A matrix of 16-bit floats whose tiles have `box` rows of `width` elements. In shared memory rows follow each other; the 16-byte chunks
    of one of 64 elements are permuted by its number. What lies outside of the matrix reads as 0."""

    slot: Slot
    dtype: str
    rows: int
    columns: int
    distance: int
    """Elements from one row to the next: a multiple of 8."""
    box: int
    width: int = 64

    def encode(self, address: int) -> Any:
        """The map of the matrix at an address, as a NumPy scalar. Raises OSError where the driver has no such maps."""
        import numpy as np

        held = ctypes.create_string_buffer(BYTES + _ALIGNED)
        skip = -ctypes.addressof(held) % _ALIGNED
        sizes = (ctypes.c_uint64 * 2)(self.columns, self.rows)
        strides = (ctypes.c_uint64 * 1)(2 * self.distance)
        box, steps = (ctypes.c_uint32 * 2)(self.width, self.box), (ctypes.c_uint32 * 2)(1, 1)
        swizzle = _SWIZZLE_128 if self.width == 64 else 0
        status = _encoder()(
            ctypes.addressof(held) + skip, _KINDS[self.dtype], 2, address, sizes, strides, box, steps, 0, swizzle, _PROMOTE_256, 0
        )  # fmt: skip
        if status:
            raise OSError(f"the driver refuses a tensor map ({status}): {self}")
        return np.frombuffer(held.raw[skip : skip + BYTES], f"V{BYTES}")[0]


@cache
def _encoder() -> Any:
    try:
        encode = ctypes.CDLL(LIBRARY).cuTensorMapEncodeTiled
    except AttributeError:
        raise OSError("the driver has no tensor maps") from None
    pointer, number = ctypes.c_void_p, ctypes.c_int
    encode.argtypes = [pointer, number, ctypes.c_uint, pointer, *[pointer] * 4, *[number] * 4]
    return encode

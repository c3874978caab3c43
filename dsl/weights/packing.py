"""Elements of less than a byte as files pack them: several in a byte, the first in its lowest bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from trtn.dsl.dtypes import DType

__all__ = ["pack", "packed_size", "unpack"]


def packed_size(shape: tuple[int, ...], dtype: DType) -> int:
    """The bytes that elements take, packed."""
    return (math.prod(shape) * dtype.bits + 7) // 8


def unpack(octets: npt.NDArray[np.uint8], dtype: DType, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """One element a byte from packed ones: as `dtype`, of the given shape."""
    shifts = np.arange(0, 8, dtype.bits, dtype=np.uint8)
    parts = (octets[:, None] >> shifts).reshape(-1)[: math.prod(shape)] & np.uint8((1 << dtype.bits) - 1)
    # ml_dtypes' own bits are in the low half of a byte, the upper half is zero.
    return parts.view(dtype.numpy).reshape(shape)


def pack(array: npt.NDArray[Any], dtype: DType) -> bytes:
    """The elements, packed; the last byte is filled with zeros."""
    per_byte = 8 // dtype.bits
    parts = np.ascontiguousarray(array).reshape(-1).view(np.uint8) & np.uint8((1 << dtype.bits) - 1)
    parts = np.append(parts, np.zeros(-parts.size % per_byte, np.uint8)).reshape(-1, per_byte)
    return bytes((parts << np.arange(0, 8, dtype.bits, dtype=np.uint8)).sum(axis=1, dtype=np.uint8))

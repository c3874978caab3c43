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
from trtn.dsl.dtypes import BY_NAME

__all__ = ["BYTES", "COPIES", "MatrixMap"]

BYTES = 128
"""Of a map."""
_ALIGNED = 64
_KINDS = {"f16": 6, "bf16": 9, "f32": 11}
"""By dtype. f32 is rounded to TF32 on its way."""
_SWIZZLE_128 = 3
_PROMOTE_256 = 3

COPIES = r"""
struct __align__(64) TensorMap { u64 at[16]; };
#define CONSTANT_ARGUMENT const __grid_constant__
DEVICE void fetch_map(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" :: "l"(map) : "memory"); }
// Arrives with the announcement of bytes that copies will bring.
DEVICE void announce(u64* barrier, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(shared_address(barrier)), "r"(bytes) : "memory");
}
// A tile of the matrix, from this column and row on.
DEVICE void copy_tile(void* to, const TensorMap* map, int column, int row, u64* barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
      :: "r"(shared_address(to)), "l"(map), "r"(column), "r"(row), "r"(shared_address(barrier)) : "memory");
}
// Bytes for the first BLOCKS blocks of the cluster, each of which gets them at the same place, and is told.
template <int BLOCKS> DEVICE void copy_to_blocks(void* to, const void* from, u32 bytes, u64* barrier) {
  if (BLOCKS == 1)
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
        :: "r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier)) : "memory");
  else
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], %4;"
        :: "r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(barrier)), "h"((u16)((1 << BLOCKS) - 1)) : "memory");
}
"""
"""What the copy engine does, with barriers of `gemm_wgmma.LIBRARY`."""


@dataclass(frozen=True, slots=True)
class MatrixMap:
    """A matrix whose tiles have `box` rows of `width` elements. In shared memory rows follow each other; the 16-byte chunks of one of 128
    bytes are permuted by its number. What lies outside of the matrix reads as 0."""

    slot: Slot
    dtype: str
    rows: int
    columns: int
    distance: int
    """Elements from one row to the next: multiples of 16 bytes."""
    box: int
    width: int = 64

    @property
    def itemsize(self) -> int:
        return BY_NAME[self.dtype].itemsize

    def encode(self, address: int) -> Any:
        """The map of the matrix at an address, as a NumPy scalar. Raises OSError where the driver has no such maps."""
        import numpy as np

        held = ctypes.create_string_buffer(BYTES + _ALIGNED)
        skip = -ctypes.addressof(held) % _ALIGNED
        sizes = (ctypes.c_uint64 * 2)(self.columns, self.rows)
        strides = (ctypes.c_uint64 * 1)(self.itemsize * self.distance)
        box, steps = (ctypes.c_uint32 * 2)(self.width, self.box), (ctypes.c_uint32 * 2)(1, 1)
        swizzle = _SWIZZLE_128 if self.width * self.itemsize == 128 else 0
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

"""Memory descriptors (what lies where) and memory objects (a descriptor at an address)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_int32, c_int64, c_void_p
from math import prod

from trtn.backend.blocking import Blocking, blocking_of
from trtn.backend.providers.onednn.enums import DATA_TYPES, Query, Tag
from trtn.backend.providers.onednn.library import check, engine, library
from trtn.dsl.dtypes import BY_NAME

__all__ = ["Memory", "MemoryDesc", "dims"]

MAX_RANK = 12
"""DNNL_MAX_NDIMS"""


def dims(values: Sequence[int]) -> ctypes.Array[c_int64]:
    """dnnl_dims_t: the first `len(values)` of twelve numbers count."""
    return (c_int64 * MAX_RANK)(*values)


class MemoryDesc:
    """dnnl_memory_desc_t. `dtype` is one of the language's names: f32, bf16, f16, i32, i8, u8."""

    __slots__ = ("dtype", "handle", "shape", "strides")

    def __init__(
        self, handle: c_void_p, shape: tuple[int, ...] = (), dtype: str = "", strides: tuple[int, ...] | None = None
    ) -> None:
        """Takes the handle over. `strides` are None where the form is the library's own."""
        self.handle = handle
        self.shape = shape
        self.dtype = dtype
        self.strides = strides

    @classmethod
    def strided(cls, shape: Sequence[int], dtype: str, strides: Sequence[int]) -> MemoryDesc:
        """Elements at the given distances, in elements; those of axes of size 1 don't count."""
        handle = c_void_p()
        rank = len(shape)
        check(
            "dnnl_memory_desc_create_with_strides",
            *(byref(handle), rank, dims(shape), DATA_TYPES[dtype], dims(strides)),
        )
        return cls(handle, tuple(shape), dtype, tuple(strides))

    @classmethod
    def matrices(cls, shape: Sequence[int], dtype: str, strides: Sequence[int]) -> MemoryDesc:
        """The same for the products, which take leading dimensions from the strides of axes of one element, too, and
        want them to reach over the axes after; a row with gaps is a matrix turned round, whose rows have one element."""
        reach = [0] * len(shape)
        own = list(strides)
        for axis in reversed(range(len(shape))):
            later = max(reach[axis + 1 :], default=1)
            if shape[axis] == 1:
                own[axis] = later
            reach[axis] = max(later, shape[axis] * own[axis])
        if len(shape) > 1 and shape[-2] == 1 and own[-1] != 1:
            own[-2] = 1
        return cls.strided(shape, dtype, own)

    @classmethod
    def dense(cls, shape: Sequence[int], dtype: str, order: Sequence[int] | None = None) -> MemoryDesc:
        """Without gaps, the axes of `order` from the slowest to the fastest; in C order without it."""
        strides, step = [0] * len(shape), 1
        for axis in reversed(range(len(shape)) if order is None else order):
            strides[axis] = step
            step *= shape[axis]
        return cls.strided(shape, dtype, strides)

    @classmethod
    def channels_last(cls, shape: Sequence[int], dtype: str) -> MemoryDesc:
        """[N, C, *spatial] as N, *spatial, C."""
        return cls.dense(shape, dtype, (0, *range(2, len(shape)), 1))

    @classmethod
    def any(cls, shape: Sequence[int], dtype: str) -> MemoryDesc:
        """As the primitive likes it best; what that is, the primitive's descriptor tells."""
        handle = c_void_p()
        check(
            "dnnl_memory_desc_create_with_tag", byref(handle), len(shape), dims(shape), DATA_TYPES[dtype], int(Tag.ANY)
        )
        return cls(handle, tuple(shape))

    @property
    def text(self) -> str:
        """What identifies a form of a weight: dtype, padded dims, outer strides, inner blocks. No blanks."""
        return ",".join(
            [
                str(self._number(Query.DATA_TYPE)),
                "x".join(map(str, self._dims(Query.PADDED_DIMS))),
                "x".join(map(str, self._dims(Query.STRIDES))),
                "x".join(map(str, self._blocks(Query.INNER_BLKS))),
                "x".join(map(str, self._blocks(Query.INNER_IDXS))),
            ]
        )

    def blocking(self, target: MemoryDesc) -> Blocking | None:
        """The order that elements which lie as this says come to lie in as `target` says; None where that is none, or
        has another dtype."""
        if self.strides is None or self._number(Query.DATA_TYPE) != target._number(Query.DATA_TYPE):
            return None
        blocks = list(zip(target._blocks(Query.INNER_IDXS), target._blocks(Query.INNER_BLKS), strict=True))
        strides, step = target._dims(Query.STRIDES), prod(size for _, size in blocks)
        order = sorted(range(len(strides)), key=lambda axis: -strides[axis])
        for axis in reversed(order):
            count = target._dims(Query.PADDED_DIMS)[axis] // prod(size for a, size in blocks if a == axis)
            if count > 1 and strides[axis] != step:
                return None
            step *= count
        found = blocking_of(self.shape, self.strides, order, blocks)
        whole = found is not None and found.size * BY_NAME[self.dtype].itemsize == target.nbytes
        return found if whole else None

    def _number(self, what: Query) -> int:
        found = c_int32()
        check("dnnl_memory_desc_query", self.handle, int(what), byref(found))
        return found.value

    def _dims(self, what: Query) -> list[int]:
        found = ctypes.POINTER(c_int64)()
        check("dnnl_memory_desc_query", self.handle, int(what), byref(found))
        return found[: self._number(Query.NDIMS)]

    def _blocks(self, what: Query) -> list[int]:
        found = ctypes.POINTER(c_int64)()
        check("dnnl_memory_desc_query", self.handle, int(what), byref(found))
        return found[: self._number(Query.INNER_NBLKS)]

    @property
    def block(self) -> int:
        """Elements of the innermost block that the library's own forms lay together; 1 in plain forms."""
        return self._blocks(Query.INNER_BLKS)[-1] if self._number(Query.INNER_NBLKS) else 1

    @property
    def nbytes(self) -> int:
        return int(library().dnnl_memory_desc_get_size(self.handle))

    def __eq__(self, other: object) -> bool:
        """Whether the bytes mean the same: strides of axes of one element don't count."""
        if not isinstance(other, MemoryDesc):
            return False
        if self.strides is None or other.strides is None:
            return bool(library().dnnl_memory_desc_equal(self.handle, other.handle))
        walks = [
            [(d, s) for d, s in zip(desc.shape, desc.strides or (), strict=True) if d != 1] for desc in (self, other)
        ]
        return self.shape == other.shape and self.dtype == other.dtype and walks[0] == walks[1]

    __hash__ = None  # type: ignore[assignment]

    def __del__(self) -> None:
        library().dnnl_memory_desc_destroy(self.handle)


class Memory:
    """dnnl_memory_t: a descriptor at an address. Whoever owns the bytes must outlive it."""

    __slots__ = ("handle",)

    def __init__(self, desc: MemoryDesc, address: int) -> None:
        self.handle = c_void_p()
        check("dnnl_memory_create", byref(self.handle), desc.handle, engine(), c_void_p(address))

    def __del__(self) -> None:
        library().dnnl_memory_destroy(self.handle)

"""cuBLASLt in software: the C functions that the provider calls, over host memory, with NumPy doing the sums in f64.

It is written from the library's documentation (https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api), not from
the provider: sizes of attributes, column-major order, leading dimensions and strides are checked and followed here as
they are described there. Functions are real C function pointers, so calls go through ctypes as they would to the library.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from ctypes import CFUNCTYPE, c_int, c_int64, c_size_t, c_uint64, c_void_p
from math import sqrt
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["HostArray", "HostDevice", "SoftwareCublasLt", "host"]

SUCCESS, INVALID_VALUE, NOT_SUPPORTED = 0, 7, 15
DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 3: np.int8, 10: np.int32, 14: ml_dtypes.bfloat16}
"""By cudaDataType."""
SCALES = {68: 0, 70: 1, 72: 10, 77: 0}
"""The scale type of each compute type."""
DESC = {3: "i", 4: "i", 7: "I", 8: "P"}
"""TRANSA, TRANSB, EPILOGUE, BIAS_POINTER"""
LAYOUT = {5: "i", 6: "q"}
"""BATCH_COUNT, STRIDED_BATCH_OFFSET"""
PREFERENCE = {1: "Q", 3: "I", 5: "I", 6: "I", 7: "I", 8: "I"}
"""MAX_WORKSPACE_BYTES, REDUCTION_SCHEME_MASK, MIN_ALIGNMENT_A..D_BYTES"""
CONFIG = {0: "i", 1: "I", 2: "i", 3: "I", 4: "I", 5: "I", 6: "I", 7: "H", 8: "H"}
"""ID, TILE_ID, SPLITK_NUM, REDUCTION_SCHEME, CTA_SWIZZLING, CUSTOM_OPTION, STAGES_ID, INNER_SHAPE_ID, CLUSTER_SHAPE_ID"""
OFFERED = (
    {0: 66, 1: 20, 6: 36, 8: 2},
    {0: 66, 1: 18, 2: 4, 3: 2, 6: 30, 7: 1},
    {0: 24, 1: 5, 4: 1, 5: 3},
)
"""What the heuristic lists: fields that are not the default."""
TAKEN = (*OFFERED, {0: 66, 1: 18, 2: 4, 3: 2, 6: 30, 7: 1, 8: 2})
"""What runs: one combination of two that are listed, beside them."""
WORKSPACE = 4096
"""Bytes, for each part of a split sum."""


class HostArray(np.ndarray[Any, Any]):
    """A NumPy array that shows its address as CuPy's do."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)


def host(array: Any) -> HostArray:
    view = array.view(HostArray)
    assert isinstance(view, HostArray)
    return view


class HostDevice:
    """A GPU that is none: arrays lie in the process's memory."""

    name = "cuda:sm_90"
    alignment = 16
    model = "software"

    def __init__(self) -> None:
        self.packs: dict[tuple[int, str], Any] = {}
        runtime = SimpleNamespace(getDevice=lambda: 0)
        stream = SimpleNamespace(ptr=0)
        self.xp: Any = SimpleNamespace(
            ascontiguousarray=lambda a: host(np.ascontiguousarray(a)),
            cuda=SimpleNamespace(runtime=runtime, get_current_stream=lambda: stream),
        )

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return host(np.empty(shape, dtype))

    def upload(self, array: Any) -> Any:
        return host(np.array(array))

    def packed(self, array: Any, form: str, make: Callable[[Any], Any]) -> Any:
        key = (array.ctypes.data, form)
        if key not in self.packs:
            self.packs[key] = make(array)
        return self.packs[key]


class SoftwareCublasLt:
    """The library object. `calls` has the names of the functions that were called, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.alive: dict[int, Any] = {}
        self.preferences: list[dict[int, int]] = []
        """The attributes of each search."""
        self._next = 0x1000
        handle, pointer, layouts = c_void_p, c_void_p, [c_void_p] * 4
        self._add("Create", self._create, pointer)
        for kind, attributes in (("MatmulDesc", DESC), ("MatrixLayout", LAYOUT), ("MatmulPreference", PREFERENCE)):
            self._add(f"{kind}Destroy", self._destroy, pointer)
            self._add(f"{kind}SetAttribute", self._setter(attributes), pointer, c_int, pointer, c_size_t)
        self._add("MatmulDescCreate", self._new_desc, pointer, c_int, c_int)
        self._add("MatrixLayoutCreate", self._new_layout, pointer, c_int, c_uint64, c_uint64, c_int64)
        self._add("MatmulPreferenceCreate", self._new_preference, pointer)
        search = [handle, pointer, *layouts, pointer, c_int, pointer, pointer]
        self._add("MatmulAlgoGetHeuristic", self._heuristic, *search)
        self._add("MatmulAlgoInit", self._algo_init, handle, *[c_int] * 7, pointer)
        self._add("MatmulAlgoCheck", self._algo_check, handle, pointer, *layouts, pointer, pointer)
        self._add("MatmulAlgoConfigSetAttribute", self._config_set, pointer, c_int, pointer, c_size_t)
        self._add("MatmulAlgoConfigGetAttribute", self._config_get, pointer, c_int, pointer, c_size_t, pointer)
        self._add("Matmul", self._matmul, handle, *[pointer] * 13, c_size_t, pointer)
        self.cublasLtGetVersion = CFUNCTYPE(c_size_t)(lambda: 130100)
        self.cublasLtGetStatusName = CFUNCTYPE(c_void_p, c_int)(lambda status: ctypes.addressof(_NAMES[status]))

    def _add(self, name: str, run: Callable[..., int], *arguments: Any) -> None:
        def called(*values: Any) -> int:
            self.calls.append(name)
            return run(*values)

        setattr(self, f"cublasLt{name}", CFUNCTYPE(c_int, *arguments)(called))

    # --- objects ---

    def _make(self, out: int, made: Any) -> int:
        self._next += 0x100
        self.alive[self._next] = made
        c_void_p.from_address(out).value = self._next
        return SUCCESS

    def _create(self, out: int) -> int:
        return self._make(out, "handle")

    def _destroy(self, key: int) -> int:
        del self.alive[key]
        return SUCCESS

    def _new_desc(self, out: int, compute: int, scale: int) -> int:
        assert SCALES[compute] == scale
        return self._make(out, {"compute": compute, 3: 0, 4: 0, 7: 1, 8: 0})

    def _new_layout(self, out: int, dtype: int, rows: int, cols: int, ld: int) -> int:
        assert rows > 0 and cols > 0 and ld >= rows, (rows, cols, ld)
        return self._make(out, {"dtype": dtype, "rows": rows, "cols": cols, "ld": ld, 5: 1, 6: 0})

    def _new_preference(self, out: int) -> int:
        return self._make(out, {})

    def _setter(self, formats: dict[int, str]) -> Callable[[int, int, int, int], int]:
        def set_attribute(key: int, attribute: int, value: int, size: int) -> int:
            code = formats.get(attribute)
            if code is None or struct.calcsize(code) != size:
                return INVALID_VALUE
            (self.alive[key][attribute],) = struct.unpack(code, ctypes.string_at(value, size))
            return SUCCESS

        return set_attribute

    # --- algorithms ---

    def _heuristic(
        self, handle: int, desc: int, a: int, b: int, c: int, d: int, wish: int, count: int, out: int, found: int
    ) -> int:
        preference = self.alive[wish]
        self.preferences.append(dict(preference))
        fitting = [
            f for f in OFFERED if (f.get(2, 1) - 1) * WORKSPACE <= preference[1] and not f.get(3, 0) & ~preference[3]
        ][:count]
        for n, fields in enumerate(fitting):
            result = out + n * 96
            self._init(result, self.alive[desc]["compute"], fields)
            self._algo_check(handle, desc, a, b, c, d, result, result)
        c_int.from_address(found).value = len(fitting)
        return SUCCESS if fitting else NOT_SUPPORTED

    def _init(self, algo: int, compute: int, fields: dict[int, int]) -> None:
        values = [fields.get(n, 1 if n == 2 else 0) for n in CONFIG]
        ctypes.memmove(algo, struct.pack("10i", compute, *values).ljust(64, b"\0"), 64)

    def _algo_init(
        self, handle: int, compute: int, scale: int, a: int, b: int, c: int, d: int, number: int, out: int
    ) -> int:
        assert SCALES[compute] == scale and a == b and c == d
        if all(f[0] != number for f in OFFERED):
            return INVALID_VALUE
        self._init(out, compute, {0: number})
        return SUCCESS

    def _fields(self, algo: int) -> tuple[int, list[int]]:
        compute, *values = struct.unpack("10i", ctypes.string_at(algo, 40))
        return compute, values

    def _config_set(self, algo: int, attribute: int, value: int, size: int) -> int:
        if attribute == 0 or struct.calcsize(CONFIG[attribute]) != size:
            return INVALID_VALUE
        compute, values = self._fields(algo)
        (values[attribute],) = struct.unpack(CONFIG[attribute], ctypes.string_at(value, size))
        self._init(algo, compute, dict(enumerate(values)))
        return SUCCESS

    def _config_get(self, algo: int, attribute: int, out: int, size: int, written: int) -> int:
        if struct.calcsize(CONFIG[attribute]) != size:
            return INVALID_VALUE
        ctypes.memmove(out, struct.pack(CONFIG[attribute], self._fields(algo)[1][attribute]), size)
        c_size_t.from_address(written).value = size
        return SUCCESS

    def _algo_check(self, handle: int, desc: int, a: int, b: int, c: int, d: int, algo: int, out: int) -> int:
        compute, values = self._fields(algo)
        known = [[f.get(n, 1 if n == 2 else 0) for n in CONFIG] for f in TAKEN]
        if compute != self.alive[desc]["compute"] or values not in known:
            return NOT_SUPPORTED
        self._shapes(desc, a, b, c, d)
        c_size_t.from_address(out + 64).value = (values[2] - 1) * WORKSPACE
        c_int.from_address(out + 72).value = SUCCESS
        return SUCCESS

    # --- the product ---

    def _shapes(self, desc: int, a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
        """m, n, k and the batch's size; everything that the library would not put up with fails here."""
        operation = self.alive[desc]
        x, y, z, w = (self.alive[key] for key in (a, b, c, d))
        (m, k), (summed, n) = _turned(x, operation[3]), _turned(y, operation[4])
        assert k == summed and (w["rows"], w["cols"]) == (z["rows"], z["cols"]) == (m, n)
        assert x["dtype"] == y["dtype"] and z["dtype"] == w["dtype"]
        assert len({layout[5] for layout in (x, y, z, w)}) == 1
        return m, n, k, w[5]

    def _matmul(self, *arguments: int) -> int:
        _, desc, alpha, a, x, b, y, beta, c, z, d, w, algo, scratch, size, _ = arguments
        operation = self.alive[desc]
        compute, values = self._fields(algo)
        m, n, _, batch = self._shapes(desc, x, y, z, w)
        if compute != operation["compute"] or size < (values[2] - 1) * WORKSPACE or (size and not scratch):
            return INVALID_VALUE
        scale = DTYPES[SCALES[compute]]
        first, second = (float(_at(p, scale, (1,), (1,))[0]) for p in (alpha, beta))
        target = self._array(w, d)
        left, right = self._array(x, a, operation[3]), self._array(y, b, operation[4])
        value = first * np.matmul(left.astype(np.float64), right.astype(np.float64))
        if second:
            value = value + second * self._array(z, c).astype(np.float64)
        mode = operation[7]
        if mode & 4:
            bias = _at(operation[8], DTYPES[self.alive[w]["dtype"]], (m,), (1,))
            value = value + bias.astype(np.float64)[:, None]
        if mode & 2:
            value = np.maximum(value, 0)
        if mode & 32:
            value = value / 2 * (1 + np.tanh(sqrt(2 / np.pi) * (value + 0.044715 * value**3)))
        assert mode in (1, 2, 4, 6, 32, 36) and value.shape == (batch, m, n)
        target[...] = value.astype(target.dtype)
        return SUCCESS

    def _array(self, layout: dict[Any, int], address: int, transpose: int = 0) -> Any:
        """[batch, rows, cols] over the memory that a layout describes."""
        layout = self.alive[layout] if isinstance(layout, int) else layout
        shape = (layout[5], layout["rows"], layout["cols"])
        array = _at(address, DTYPES[layout["dtype"]], shape, (layout[6], 1, layout["ld"]))
        return array.swapaxes(1, 2) if transpose else array


_NAMES = {
    INVALID_VALUE: ctypes.create_string_buffer(b"CUBLAS_STATUS_INVALID_VALUE"),
    NOT_SUPPORTED: ctypes.create_string_buffer(b"CUBLAS_STATUS_NOT_SUPPORTED"),
}


def _turned(layout: dict[Any, int], transpose: int) -> tuple[int, int]:
    rows, cols = layout["rows"], layout["cols"]
    return (cols, rows) if transpose else (rows, cols)


def _at(address: int, dtype: Any, shape: Sequence[int], strides: Sequence[int]) -> Any:
    """An array over memory; strides count elements."""
    size = np.dtype(dtype).itemsize
    reach = sum((d - 1) * s for d, s in zip(shape, strides, strict=True)) + 1
    raw = np.frombuffer((ctypes.c_char * (reach * size)).from_address(address), dtype)
    return np.lib.stride_tricks.as_strided(raw, shape, [s * size for s in strides])

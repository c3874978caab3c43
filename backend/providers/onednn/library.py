"""oneDNN's C API (v3), found at run time: prototypes, error codes as exceptions, one CPU engine and stream a process.

Names and numbers are those of `dnnl.h` and `dnnl_types.h`, https://github.com/uxlfoundation/oneDNN.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import POINTER, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from trtn.backend.devices.openmp import short_spins

__all__ = ["ExecArg", "OneDnnError", "check", "engine", "has_bf16", "library", "stream", "unavailable", "version"]

SONAME = "libdnnl.so.3"
UNIMPLEMENTED = 3
ISA_BF16 = 0x80
"""The bit of dnnl_cpu_isa_t for products of bf16: dnnl_cpu_isa_avx512_core_bf16 is 0xe7."""


class OneDnnError(Exception):
    """A call that oneDNN did not carry out. `unimplemented` tells "no kernel for this" from a mistake."""

    def __init__(self, call: str, status: int) -> None:
        text = library().dnnl_status2str(status).decode()
        super().__init__(f"{call.removeprefix('dnnl_').removesuffix('_create')}: {text}")
        self.unimplemented = status == UNIMPLEMENTED


class ExecArg(ctypes.Structure):
    """dnnl_exec_arg_t: which argument, and its memory object."""

    _fields_ = [("arg", c_int), ("memory", c_void_p)]


_HANDLE = c_void_p
_OUT = POINTER(c_void_p)
_DIMS = POINTER(c_int64)

_PROTOTYPES: dict[str, list[Any]] = {
    "dnnl_engine_create": [_OUT, c_int, c_size_t],
    "dnnl_stream_create": [_OUT, _HANDLE, c_uint],
    "dnnl_memory_desc_create_with_strides": [_OUT, c_int, _DIMS, c_int, _DIMS],
    "dnnl_memory_desc_create_with_tag": [_OUT, c_int, _DIMS, c_int, c_int],
    "dnnl_memory_desc_clone": [_OUT, _HANDLE],
    "dnnl_memory_desc_query": [_HANDLE, c_int, c_void_p],
    "dnnl_memory_desc_destroy": [_HANDLE],
    "dnnl_memory_create": [_OUT, _HANDLE, _HANDLE, c_void_p],
    "dnnl_memory_destroy": [_HANDLE],
    "dnnl_primitive_attr_create": [_OUT],
    "dnnl_primitive_attr_destroy": [_HANDLE],
    "dnnl_primitive_attr_set_post_ops": [_HANDLE, _HANDLE],
    "dnnl_primitive_attr_set_scratchpad_mode": [_HANDLE, c_int],
    "dnnl_post_ops_create": [_OUT],
    "dnnl_post_ops_destroy": [_HANDLE],
    "dnnl_post_ops_append_eltwise": [_HANDLE, c_int, c_float, c_float],
    "dnnl_post_ops_append_prelu": [_HANDLE, c_int],
    "dnnl_post_ops_append_binary": [_HANDLE, c_int, _HANDLE],
    "dnnl_primitive_desc_destroy": [_HANDLE],
    "dnnl_primitive_desc_next_impl": [_HANDLE],
    "dnnl_primitive_desc_query": [_HANDLE, c_int, c_int, c_void_p],
    "dnnl_primitive_create": [_OUT, _HANDLE],
    "dnnl_primitive_destroy": [_HANDLE],
    "dnnl_primitive_execute": [_HANDLE, _HANDLE, c_int, POINTER(ExecArg)],
    "dnnl_convolution_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, c_int, _HANDLE, _HANDLE, _HANDLE, _HANDLE],
        *[_DIMS, _DIMS, _DIMS, _DIMS, _HANDLE],
    ],
    "dnnl_deconvolution_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, c_int, _HANDLE, _HANDLE, _HANDLE, _HANDLE],
        *[_DIMS, _DIMS, _DIMS, _DIMS, _HANDLE],
    ],
    "dnnl_matmul_primitive_desc_create": [_OUT, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE],
    "dnnl_inner_product_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE],
    ],
    "dnnl_pooling_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, c_int, _HANDLE, _HANDLE, _DIMS, _DIMS, _DIMS, _DIMS, _DIMS, _HANDLE],
    ],
    "dnnl_softmax_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, c_int, _HANDLE, _HANDLE, c_int, _HANDLE],
    ],
    "dnnl_layer_normalization_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, _HANDLE, _HANDLE, _HANDLE, c_float, c_uint, _HANDLE],
    ],
    "dnnl_eltwise_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, c_int, _HANDLE, _HANDLE, c_float, c_float, _HANDLE],
    ],
    "dnnl_binary_primitive_desc_create": [_OUT, _HANDLE, c_int, _HANDLE, _HANDLE, _HANDLE, _HANDLE],
    "dnnl_reduction_primitive_desc_create": [_OUT, _HANDLE, c_int, _HANDLE, _HANDLE, c_float, c_float, _HANDLE],
    "dnnl_resampling_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, c_int, POINTER(c_float), _HANDLE, _HANDLE, _HANDLE],
    ],
    "dnnl_reorder_primitive_desc_create": [_OUT, _HANDLE, _HANDLE, _HANDLE, _HANDLE, _HANDLE],
    "dnnl_lrn_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, c_int, _HANDLE, _HANDLE, c_int64, c_float, c_float, c_float, _HANDLE],
    ],
    "dnnl_vanilla_rnn_forward_primitive_desc_create": [
        *[_OUT, _HANDLE, c_int, c_int, c_int, *[_HANDLE] * 7, c_uint, c_float, c_float, _HANDLE],
    ],
    "dnnl_lstm_forward_primitive_desc_create": [_OUT, _HANDLE, c_int, c_int, *[_HANDLE] * 11, c_uint, _HANDLE],
    "dnnl_gru_forward_primitive_desc_create": [_OUT, _HANDLE, c_int, c_int, *[_HANDLE] * 7, c_uint, _HANDLE],
    "dnnl_lbr_gru_forward_primitive_desc_create": [_OUT, _HANDLE, c_int, c_int, *[_HANDLE] * 7, c_uint, _HANDLE],
}


class _Version(ctypes.Structure):
    _fields_ = [("major", c_int), ("minor", c_int), ("patch", c_int), ("hash", ctypes.c_char_p)]


@cache
def _load() -> ctypes.CDLL | str:
    """The library, or why it can't be had."""
    with short_spins():
        return _open()


def _open() -> ctypes.CDLL | str:
    found = ""
    for place in (str(Path(sys.prefix) / "lib" / SONAME), SONAME):
        try:
            lib = ctypes.CDLL(place)
        except OSError as e:
            found = found or str(e)
            continue
        for name, arguments in _PROTOTYPES.items():
            function = getattr(lib, name, None)
            if function is None:
                return f"{place} has no `{name}`"
            function.argtypes = arguments
            function.restype = c_int
        lib.dnnl_status2str.argtypes = [c_int]
        lib.dnnl_status2str.restype = ctypes.c_char_p
        lib.dnnl_memory_desc_get_size.argtypes = [_HANDLE]
        lib.dnnl_memory_desc_get_size.restype = c_size_t
        lib.dnnl_memory_desc_equal.argtypes = [_HANDLE, _HANDLE]
        lib.dnnl_memory_desc_equal.restype = c_int
        lib.dnnl_primitive_desc_query_md.argtypes = [_HANDLE, c_int, c_int]
        lib.dnnl_primitive_desc_query_md.restype = c_void_p
        lib.dnnl_version.restype = POINTER(_Version)
        lib.dnnl_get_effective_cpu_isa.argtypes = []
        lib.dnnl_get_effective_cpu_isa.restype = c_int
        return lib
    return f"oneDNN is not installed ({found})"


def unavailable() -> str | None:
    """Why oneDNN can't be used, or None."""
    found = _load()
    return found if isinstance(found, str) else None


def library() -> ctypes.CDLL:
    """The library. Raises ImportError where it can't be had."""
    found = _load()
    if isinstance(found, str):
        raise ImportError(found)
    return found


def version() -> str:
    found = library().dnnl_version().contents
    return f"{found.major}.{found.minor}.{found.patch}"


def has_bf16() -> bool:
    """Whether the library is here and the CPU has instructions for products of bf16; without them its kernels emulate
    bf16, or there are none."""
    return unavailable() is None and bool(library().dnnl_get_effective_cpu_isa() & ISA_BF16)


def check(call: str, *arguments: Any) -> None:
    """Call a function of the library. Raises OneDnnError with oneDNN's own word for the status."""
    status = getattr(library(), call)(*arguments)
    if status:
        raise OneDnnError(call, status)


@cache
def engine() -> c_void_p:
    """The CPU engine of the process."""
    handle = c_void_p()
    check("dnnl_engine_create", ctypes.byref(handle), 1, 0)
    return handle


@cache
def stream() -> c_void_p:
    """A stream on it. On the CPU a primitive has run when `execute` returns, so that all threads may share it."""
    handle = c_void_p()
    check("dnnl_stream_create", ctypes.byref(handle), engine(), 1)
    return handle

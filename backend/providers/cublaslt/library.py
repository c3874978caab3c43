"""cuBLASLt's C API, found at run time: prototypes, and error codes as exceptions.

Names and prototypes are those of `cublasLt.h`, https://docs.nvidia.com/cuda/cublas/#using-the-cublaslt-api.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
from ctypes import c_char_p, c_int, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache
from typing import Any

__all__ = ["Algo", "CublasLt", "CublasLtError", "HeuristicResult", "library", "unavailable"]


class CublasLtError(Exception):
    """A call that cuBLASLt did not carry out, with its own word for the status."""


class Algo(ctypes.Structure):
    """cublasLtMatmulAlgo_t: opaque, trivially copied, good for one version of the library."""

    _fields_ = [("data", c_uint64 * 8)]


class HeuristicResult(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t"""

    _fields_ = [
        ("algo", Algo),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", ctypes.c_float),
        ("reserved", c_int * 4),
    ]


_OUT = c_void_p
_HANDLE = c_void_p
_LAYOUTS = [c_void_p] * 4

_PROTOTYPES: dict[str, list[Any]] = {
    "cublasLtCreate": [_OUT],
    "cublasLtMatmulDescCreate": [_OUT, c_int, c_int],
    "cublasLtMatmulDescDestroy": [c_void_p],
    "cublasLtMatmulDescSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
    "cublasLtMatrixLayoutCreate": [_OUT, c_int, c_uint64, c_uint64, c_int64],
    "cublasLtMatrixLayoutDestroy": [c_void_p],
    "cublasLtMatrixLayoutSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
    "cublasLtMatmulPreferenceCreate": [_OUT],
    "cublasLtMatmulPreferenceDestroy": [c_void_p],
    "cublasLtMatmulPreferenceSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
    "cublasLtMatmulAlgoGetHeuristic": [_HANDLE, c_void_p, *_LAYOUTS, c_void_p, c_int, _OUT, _OUT],
    "cublasLtMatmulAlgoInit": [_HANDLE, c_int, *[c_int] * 5, c_int, _OUT],
    "cublasLtMatmulAlgoCheck": [_HANDLE, c_void_p, *_LAYOUTS, c_void_p, _OUT],
    "cublasLtMatmulAlgoConfigGetAttribute": [c_void_p, c_int, c_void_p, c_size_t, _OUT],
    "cublasLtMatmulAlgoConfigSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
    "cublasLtMatmul": [
        *[_HANDLE, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p],
        *[c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p],
    ],
}


class CublasLt:
    """A loaded library. Handles are made for a device when they are first asked for: cuBLASLt binds one to the current
    device, and lets all threads and streams share it, since scratch memory comes with each call."""

    def __init__(self, lib: Any) -> None:
        for name, arguments in _PROTOTYPES.items():
            function = getattr(lib, name)
            function.argtypes = arguments
            function.restype = c_int
        lib.cublasLtGetStatusName.argtypes = [c_int]
        lib.cublasLtGetStatusName.restype = c_char_p
        lib.cublasLtGetVersion.argtypes = []
        lib.cublasLtGetVersion.restype = c_size_t
        self._lib = lib
        self._handles: dict[int, c_void_p] = {}
        self._lock = threading.Lock()
        self.matmul = lib.cublasLtMatmul
        """cublasLtMatmul as it is, for launches, which come often; its result goes to `check`."""

    @property
    def version(self) -> str:
        number = self._lib.cublasLtGetVersion()
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"

    def handle(self, device: int) -> c_void_p:
        """The handle of a device, which is the current one. Raises CublasLtError where CUDA can't be used."""
        with self._lock:
            if device not in self._handles:
                self._handles[device] = self.create("cublasLtCreate")
            return self._handles[device]

    def create(self, call: str, *arguments: Any) -> c_void_p:
        """Call a function whose first argument takes what it makes."""
        made = c_void_p()
        self(call, ctypes.byref(made), *arguments)
        return made

    def __call__(self, call: str, *arguments: Any) -> None:
        """Call a function. Raises CublasLtError."""
        self.check(call, getattr(self._lib, call)(*arguments))

    def check(self, call: str, status: int) -> None:
        if status:
            name = self._lib.cublasLtGetStatusName(status).decode()
            raise CublasLtError(f"{call.removeprefix('cublasLt')}: {name.removeprefix('CUBLAS_STATUS_')}")


SONAMES = ("libcublasLt.so.13", "libcublasLt.so.12")


@cache
def _load() -> CublasLt | str:
    """The library, or why it can't be had. CUDA's own finder, which comes with CuPy, knows wheels, conda and toolkits."""
    try:
        names = [importlib.import_module("cuda.pathfinder").load_nvidia_dynamic_lib("cublasLt").abs_path]
    except (ImportError, RuntimeError):  # RuntimeError is what its "not found" derives from
        names = [*SONAMES]
    reasons = []
    for name in names:
        try:
            return CublasLt(ctypes.CDLL(name))
        except (OSError, AttributeError) as e:
            reasons.append(str(e))
    return f"cuBLASLt is not installed: {reasons[0]}"


def unavailable() -> str | None:
    """Why cuBLASLt can't be used, or None."""
    found = _load()
    return found if isinstance(found, str) else None


def library() -> CublasLt:
    """The process's library. Raises ImportError where it can't be had."""
    found = _load()
    if isinstance(found, str):
        raise ImportError(found)
    return found

"""Compilation of kernels by NVRTC, which needs no GPU, and their loading, which does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import Any

from trtn.backend.binaries import Binaries, BinaryKey
from trtn.backend.providers.codegen.family import KernelSpec, digest

__all__ = [
    "ARCHITECTURE",
    "OPTIONS",
    "CompileError",
    "binary_key",
    "compile_all",
    "compile_cubin",
    "cubin_of",
    "is_at_hand",
    "load_kernel",
    "nvrtc_version",
    "unavailable",
]

OPTIONS = ("-std=c++17",)
ARCHITECTURE = "sm_90"


class CompileError(Exception):
    """NVRTC refused a source; the message is its log. It would be a defect of the generator."""


@cache
def unavailable() -> str | None:
    """Why nothing can be compiled here, or None."""
    try:
        from cupy.cuda import nvrtc

        nvrtc.getVersion()
    except ImportError as e:
        return f"NVRTC is not installed: {e}"
    except RuntimeError as e:
        return f"NVRTC can't be loaded: {e}"
    return None


def nvrtc_version() -> str:
    """`13.0`, or `none` where there is no NVRTC."""
    if unavailable() is not None:
        return "none"
    from cupy.cuda import nvrtc

    return ".".join(map(str, nvrtc.getVersion()))


def compile_cubin(source: str, architecture: str = ARCHITECTURE, options: tuple[str, ...] = ()) -> tuple[bytes, str]:
    """The machine code for an architecture (`sm_90`), and the compiler's log. Raises CompileError."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(source, "kernel.cu", [], [])
    try:
        nvrtc.compileProgram(program, [*OPTIONS, f"-arch={architecture}", *options])
        return bytes(nvrtc.getCUBIN(program)), str(nvrtc.getProgramLog(program))
    except nvrtc.NVRTCError as e:
        raise CompileError(f"{e}\n{nvrtc.getProgramLog(program)}") from None
    finally:
        nvrtc.destroyProgram(program)


def compile_all(specs: Iterable[KernelSpec], architecture: str, binaries: Binaries) -> None:
    """Compile kernels side by side, so that loading them afterwards costs nothing. Raises CompileError."""
    wanted = list(dict.fromkeys(specs))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(lambda spec: cubin_of(spec, architecture, binaries), wanted):
            pass


def load_kernel(spec: KernelSpec, architecture: str, binaries: Binaries) -> Any:
    """The function of a kernel, ready to be called as `f(grid, block, arguments)`. Raises CompileError."""
    return _load(cubin_of(spec, architecture, binaries))


def cubin_of(spec: KernelSpec, architecture: str, binaries: Binaries) -> bytes:
    """A kernel's machine code: found, or compiled, once a process. Raises CompileError."""
    found = binaries.find(binary_key(spec, architecture))
    return _compile(spec, architecture) if found is None else found


def is_at_hand(spec: KernelSpec, architecture: str, binaries: Binaries) -> bool:
    """Whether a kernel's machine code is there without compiling."""
    key = binary_key(spec, architecture)
    return key in _compiled or binaries.find(key) is not None


_compiled: set[BinaryKey] = set()
"""What was compiled in this process."""


@lru_cache(maxsize=4096)
def binary_key(spec: KernelSpec, architecture: str) -> BinaryKey:
    """Under what a kernel's machine code is kept."""
    text = "\n".join((*OPTIONS, digest(spec)))
    return BinaryKey(f"nvrtc-{nvrtc_version()}", architecture, hashlib.sha256(text.encode()).hexdigest())


@lru_cache(maxsize=4096)
def _load(cubin: bytes) -> Any:
    from cupy.cuda.function import Module

    module = Module()
    module.load(cubin)
    return module.get_function("kernel")


@lru_cache(maxsize=4096)
def _compile(spec: KernelSpec, architecture: str) -> bytes:
    suffix = "a" if getattr(spec, "accelerated", False) else ""
    cubin = compile_cubin(spec.source(), architecture + suffix)[0]
    _compiled.add(binary_key(spec, architecture))
    return cubin

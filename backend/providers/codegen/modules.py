"""Compilation of kernels by NVRTC, which needs no GPU, and their loading, which does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import Any

from trtn.backend.providers.codegen.family import KernelSpec

__all__ = [
    "ARCHITECTURE",
    "OPTIONS",
    "CompileError",
    "compile_all",
    "compile_cubin",
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


def compile_all(specs: Iterable[KernelSpec], architecture: str) -> None:
    """Compile kernels side by side, so that loading them afterwards costs nothing. Raises CompileError."""
    wanted = list(dict.fromkeys(specs))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(lambda spec: _cubin(spec, architecture), wanted):
            pass


@lru_cache(maxsize=4096)
def load_kernel(spec: KernelSpec, architecture: str) -> Any:
    """The function of a kernel, ready to be called as `f(grid, block, arguments)`. Compiled once a process."""
    from cupy.cuda.function import Module

    module = Module()
    module.load(_cubin(spec, architecture))
    return module.get_function("kernel")


@lru_cache(maxsize=4096)
def _cubin(spec: KernelSpec, architecture: str) -> bytes:
    return compile_cubin(spec.source(), architecture)[0]

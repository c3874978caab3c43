"""Compilation of kernels by NVRTC, which needs no GPU, and their loading, which does."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from trtn.backend.providers.codegen.family import KernelSpec

__all__ = ["ARCHITECTURE", "OPTIONS", "CompileError", "compile_cubin", "load_kernel", "unavailable"]

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


@lru_cache(maxsize=4096)
def load_kernel(spec: KernelSpec, architecture: str) -> Any:
    """The function of a kernel, ready to be called as `f(grid, block, arguments)`. Compiled once a process."""
    from cupy.cuda.function import Module

    cubin, _ = compile_cubin(spec.source(), architecture)
    module = Module()
    module.load(cubin)
    return module.get_function("kernel")

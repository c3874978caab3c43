"""What a measurement depends on: the machine (never its name) and the versions of the packages that took part."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["load_average", "machine", "versions"]

_NOTED_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
_PACKAGES = ("trtn", "numpy", "onnx", "onnxruntime", "lark", "ml_dtypes", "safetensors", "typer")
_GPU_PACKAGES = (
    "cupy-cuda12x",
    "cupy-cuda13x",
    "nvidia-cudnn-frontend",
    "torch",
    "torchvision",
    "transformers",
    "triton",
)


def machine() -> dict[str, Any]:
    """CPU, usable cores, memory in bytes, operating system."""
    fields = _cpu_fields()
    flags = fields.get("flags", "").split()
    return {
        "cpu": _cpu_name(fields),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "features": [f for f in _NOTED_FLAGS if f in flags],
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        **_gpu(),
    }


def versions() -> dict[str, str]:
    """Python and the packages that are installed of those that are measured or compared with."""
    found = {"python": platform.python_version()}
    for name in (*_PACKAGES, *(_GPU_PACKAGES if _gpu() else ())):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _gpu() -> dict[str, str]:
    """The first GPU's name with its driver, CUDA's and cuDNN's versions; empty where there is none."""
    try:
        import cupy

        device = cupy.cuda.runtime.getDeviceProperties(0)
        driver, runtime = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    except (ImportError, RuntimeError):  # no CuPy, no driver, no device
        return {}
    versions = f"driver's CUDA {driver // 1000}.{driver % 1000 // 10}, CUDA {runtime // 1000}.{runtime % 1000 // 10}"
    return {"gpu": f"{device['name'].decode()} ({versions}{_cudnn()})"}


def _cudnn() -> str:
    try:
        import cudnn

        return f", cuDNN {cudnn.backend_version()}"
    except (ImportError, OSError, RuntimeError):  # not there, or its library is not
        return ""


def load_average() -> float:
    """How many processes wanted a core during the last minute."""
    return round(os.getloadavg()[0], 2)


def _cpu_fields() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is no such file."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    block = path.read_text().partition("\n\n")[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _cpu_name(fields: dict[str, str]) -> str:
    """The model as the CPU calls itself, with family and model number, since virtual machines shorten the name."""
    if "model name" not in fields:
        return platform.processor() or platform.machine() or sys.platform
    numbers = f"family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"
    return f"{fields['model name']} ({numbers})"

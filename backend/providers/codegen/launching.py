"""Launches of loaded kernels with everything looked up beforehand, and with programmatic dependent launch where the
driver has it: a kernel then starts while the one before it still runs, and waits inside for what that one writes
(`WAIT_FOR_INPUTS` of the prelude).

CuPy launches plainly, so this calls the driver. Under stream capture such launches become programmatic edges of the
graph. Structures and numbers are those of cuda.h.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any

from trtn.backend.providers.base import Launch
from trtn.backend.providers.codegen.family import Extent

__all__ = ["Attribute", "Configuration", "bind_launch", "pack_arguments", "programmatic"]

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
CAPTURABLE = 12030
"""The driver's version from which on stream capture takes programmatic launches."""
CAPABLE = 90
"""The compute capability from which on kernels can wait inside."""
STATIC_SHARED = 48 << 10
"""Bytes of shared memory that a kernel may use without being allowed more."""
_PROGRAMMATIC_STREAM_SERIALIZATION = 6
_INVALID_CONTEXT = 201
_ARGUMENT_BYTES = 8


class Attribute(ctypes.Structure):
    """CUlaunchAttribute: a number, and a value in 64 bytes."""

    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_char * 4), ("value", ctypes.c_int), ("rest", ctypes.c_char * 60)]


class Configuration(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(Attribute)),
        ("attribute_count", ctypes.c_uint),
    ]


def pack_arguments(arguments: Sequence[Any]) -> ctypes.Array[ctypes.c_void_p]:
    """Pointers to the arguments' values, which they keep alive. Addresses are Python integers, the others NumPy scalars."""
    raw = [a.to_bytes(_ARGUMENT_BYTES, "little") if isinstance(a, int) else a.tobytes() for a in arguments]
    places = [0, *accumulate(-(-len(value) // _ARGUMENT_BYTES) * _ARGUMENT_BYTES for value in raw)]
    values = (ctypes.c_char * max(places[-1], 1))()
    start = ctypes.addressof(values)
    for value, place in zip(raw, places, strict=False):
        ctypes.memmove(start + place, value, len(value))
    pointers = (ctypes.c_void_p * max(len(arguments), 1))(*(start + place for place in places[: len(arguments)]))
    pointers.values = values  # type: ignore[attr-defined]
    return pointers


@cache
def programmatic(architecture: str) -> Any:
    """cuLaunchKernelEx, or None where kernels of an architecture (`sm_90a`) can't be launched programmatically."""
    if int("".join(c for c in architecture.removeprefix("sm_") if c.isdigit()) or 0) < CAPABLE:
        return None
    try:
        library = ctypes.CDLL(LIBRARY)
        launch, ask = library.cuLaunchKernelEx, library.cuDriverGetVersion
    except (OSError, AttributeError):
        return None
    version = ctypes.c_int()
    if ask(ctypes.byref(version)) or version.value < CAPTURABLE:
        return None
    launch.argtypes = [ctypes.POINTER(Configuration), ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return launch


def bind_launch(
    function: Any, grid: Extent, block: Extent, shared: int, arguments: Sequence[Any], architecture: str
) -> Launch:
    """A launch of one of CuPy's functions with `shared` bytes of dynamic shared memory. It enqueues on the current
    stream; one thread at a time may call it."""
    from cupy.cuda import driver, get_current_stream

    if shared > STATIC_SHARED:
        driver.funcSetAttribute(function.ptr, driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
    enter = programmatic(architecture)
    if enter is None:
        return lambda: function(grid, block, tuple(arguments), shared)
    attribute = Attribute(id=_PROGRAMMATIC_STREAM_SERIALIZATION, value=1)
    given = Configuration(
        grid=grid, block=block, shared=shared, attributes=ctypes.pointer(attribute), attribute_count=1
    )
    reference, address, packed = ctypes.byref(given), function.ptr, pack_arguments(arguments)

    def launch() -> None:
        given.stream = get_current_stream().ptr
        status = enter(reference, address, packed, None)
        if status == _INVALID_CONTEXT:  # nothing has used the GPU in this thread yet
            _enter_context()
            status = enter(reference, address, packed, None)
        if status:
            raise driver.CUDADriverError(status)

    launch.held = (function, attribute)  # type: ignore[attr-defined]
    return launch


def _enter_context() -> None:
    """Make the current device's context that of this thread."""
    from cupy.cuda import Device

    Device().use()

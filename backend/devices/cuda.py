"""An NVIDIA GPU through CuPy. Importing this module imports no CuPy; `unavailable` says why there is no GPU to be
had."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property
from typing import Any

from trtn.backend.binaries import Binaries
from trtn.backend.devices.packing import PackedWeights

__all__ = ["CudaDevice", "unavailable"]

DLPACK_CUDA = 2
"""DLPack's number for CUDA device memory (dlpack.h, kDLCUDA)."""


@cache
def unavailable() -> str | None:
    """Why CUDA can't be used on this machine, or None."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed"
    try:
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return "CuPy sees no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as e:
        return f"the CUDA driver can't be used: {e}"
    return None


class CudaDevice:
    """The current GPU of the process."""

    alignment = 16
    """The widest access of a thread."""

    def __init__(self) -> None:
        import cupy

        self.xp: Any = cupy
        self.name = f"cuda:sm_{cupy.cuda.Device().compute_capability}"
        self.binaries = Binaries()
        self._packed = PackedWeights()

    @cached_property
    def model(self) -> str:
        properties = self.xp.cuda.runtime.getDeviceProperties(self.xp.cuda.Device().id)
        return f"{properties['name'].decode()}, {properties['multiProcessorCount']} SMs"

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        with self._memory():
            return self.xp.empty(shape, dtype)

    def arena(self, nbytes: int) -> Any:
        return self.empty((max(nbytes, 1),), self.xp.uint8)

    def upload(self, array: Any) -> Any:
        with self._memory():
            return self.xp.asarray(array)

    def adopt(self, array: Any) -> Any:
        if isinstance(array, self.xp.ndarray) or not hasattr(array, "__dlpack_device__"):
            return array
        kind, _ = array.__dlpack_device__()
        return self.xp.from_dlpack(array) if kind == DLPACK_CUDA else array

    def owns(self, array: Any) -> bool:
        return isinstance(array, self.xp.ndarray)

    def running(self, *, compiled: bool, arrays: bool) -> AbstractContextManager[None]:
        return nullcontext()

    def packed(self, array: Any, form: str, make: Callable[[Any], Any]) -> Any:
        def made(array: Any) -> Any:
            result = make(array)
            self.xp.cuda.get_current_stream().synchronize()  # other streams read it, too
            return result

        return self._packed.get(array, int(array.data.ptr), form, made)

    def room(self, nbytes: int) -> Any:
        return self.arena(nbytes)

    def forget_packed(self) -> None:
        self._packed.clear()

    def _memory(self) -> _Memory:
        return _Memory(self.xp)


class _Memory:
    """CuPy's word for no memory left, as Python's."""

    def __init__(self, xp: Any) -> None:
        self.error: type[BaseException] = xp.cuda.memory.OutOfMemoryError

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self.error):
            raise MemoryError(str(error)) from None

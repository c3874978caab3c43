"""What the runtime asks of a device, and the finding of one."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError

__all__ = ["Device", "find_device"]


class Device(Protocol):
    """Memory and arrays of one kind of processor."""

    name: str
    """`cpu`, or `cuda:sm_90`."""
    xp: Any
    """The array namespace: NumPy or CuPy."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array of the device, not initialised. Raises MemoryError."""
        ...

    def arena(self, nbytes: int) -> Any:
        """Memory for an arena: uint8[nbytes], aligned to 64 bytes or more. Raises MemoryError."""
        ...

    def upload(self, array: Any) -> Any:
        """A NumPy array as one of the device, read-only for the caller; on the CPU the same."""
        ...

    def adopt(self, array: Any) -> Any:
        """Anybody's array in the device's memory (by DLPack) as one of `xp`, not copied; whatever else, as it is."""
        ...

    def owns(self, array: Any) -> bool:
        """Whether an array lies in the device's memory."""
        ...


@cache
def find_device(name: str | None) -> Device:
    """The device of a name. None stands for a GPU where CuPy sees one, else the CPU. Raises BuildError with the
    reason."""
    from trtn.backend.devices.cpu import CPU

    if name == "cpu":
        return CPU()
    from trtn.backend.devices.cuda import CudaDevice, unavailable

    reason = unavailable()
    if name is None:
        return CPU() if reason is not None else CudaDevice()
    message = f"no device is called `{name}`"
    if name == "cuda" or name.startswith("cuda:sm_"):
        if reason is None:
            device = CudaDevice()
            if name in ("cuda", device.name):
                return device
            reason = f"the GPU here is {device.name}"
        message = f"device `{name}` is not available: {reason}"
    raise BuildError(
        message, [Diagnostic("E0702", message, help="build for `cpu`, or install `trtn[cuda12]` beside a GPU")]
    )

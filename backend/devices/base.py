"""What the runtime and the providers ask of a device, and the finding of one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from trtn.backend.binaries import Binaries
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError

__all__ = ["Device", "find_device"]


class Device(Protocol):
    """Memory and arrays of one kind of processor. Each engine has a device object of its own, so that what is packed
    for it goes when it goes."""

    name: str
    """`cpu`, or `cuda:sm_90`."""
    xp: Any
    """The array namespace: NumPy or CuPy."""
    alignment: int
    """What the addresses of all arrays that kernels meet start at multiples of, in bytes; 1 where nothing is
    promised."""

    binaries: Binaries
    """The compiled code that kernels are made of without compiling it again."""

    @property
    def model(self) -> str:
        """What processor it is: timings are kept by it."""
        ...

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

    def running(self, *, compiled: bool, arrays: bool) -> AbstractContextManager[None]:
        """What a run on the calling thread goes on in: the threads that it takes, where steps are kernels of libraries
        (`compiled`) and where some multiply matrices through the array namespace (`arrays`)."""
        ...

    def packed(self, array: Any, form: str, make: Callable[[Any], Any]) -> Any:
        """`make(array)` for a weight, made once for each `form`. Both live as long as the device object."""
        ...

    def room(self, nbytes: int) -> Any:
        """Memory for what `packed` makes: uint8[nbytes], aligned as an arena. Raises MemoryError."""
        ...

    def forget_packed(self) -> None:
        """Let go of all packed weights."""
        ...


def find_device(name: str | None, threads: int | None = None) -> Device:
    """A device object of a name. None stands for a GPU where CuPy sees one, else the CPU, whose runs take `threads`
    threads. Raises BuildError with the reason."""
    from trtn.backend.devices.cpu import CPU

    if name == "cpu":
        return CPU(threads)
    from trtn.backend.devices.cuda import CudaDevice, unavailable

    reason = unavailable()
    if name is None:
        return CPU(threads) if reason is not None else CudaDevice()
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

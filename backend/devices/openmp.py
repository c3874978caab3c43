"""GNU's OpenMP library, whose threads compiled kernels share: opened once, with short waits."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["address", "one_thread", "open_library", "set_threads", "short_spins", "threads"]

SONAME = "libgomp.so.1"
SPINS = 10_000
"""Some 0.2 ms of pause instructions. ResNet-50 on two threads of a Zen 3: 48 ms with this and with five times this, 57 with
2,000: the second thread has to be woken for most steps. Longer waits cost where another process has a core."""


@contextmanager
def short_spins() -> Iterator[None]:
    """What libgomp reads when it is loaded. Its threads spin at the end of each primitive, for milliseconds if nobody
    says otherwise: where another process wants the core, that takes a multiple of the primitive's time. They shall
    wait out the gap between two steps and no more."""
    # The second one is for processes where several threads run engines: libgomp then counts more threads of its own
    # than processors, and waits a tenth as long otherwise.
    wanted = {"GOMP_SPINCOUNT": str(SPINS), "OMP_WAIT_POLICY": "active"}
    if any(name in os.environ for name in wanted):
        yield
        return
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            del os.environ[name]


@cache
def open_library() -> ctypes.CDLL | None:
    """The library, or None where there is none. One that somebody else has loaded before is that one."""
    with short_spins():
        try:
            return ctypes.CDLL(SONAME)
        except OSError:
            return None


def threads() -> int:
    """How many threads the calling thread's parallel regions take; 1 without the library."""
    library = open_library()
    return 1 if library is None else int(library.omp_get_max_threads())


def set_threads(count: int) -> None:
    library = open_library()
    if library is not None:
        library.omp_set_num_threads(count)


def address(function: str) -> int:
    """The address of one of the library's functions, or of the C library's; 0 without the library."""
    library = open_library()
    return 0 if library is None else ctypes.cast(getattr(library, function), ctypes.c_void_p).value or 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it the calling thread's parallel regions take itself alone."""
    before = threads()
    if before == 1:
        yield
        return
    set_threads(1)
    try:
        yield
    finally:
        set_threads(before)

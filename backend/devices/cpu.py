"""The CPU: NumPy arrays in the process's memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import cache
from math import prod
from typing import Any

import numpy as np

from trtn.backend.binaries import Binaries
from trtn.backend.devices.packing import PackedWeights
from trtn.backend.devices.threads import ThreadPools, thread_count
from trtn.backend.devices.workers import Workers, worker_count
from trtn.dsl.weights.mapped import forget

__all__ = ["CPU"]

ALIGNMENT = 64
"""A cache line, and the widest vector register."""
HUGE_PAGE = 2 << 20
"""Of x86-64 and of most ARM systems: what large pieces of memory start at a multiple of, so that they come in them."""
_POOLS = ThreadPools()


class CPU:
    name = "cpu"
    xp: Any = np
    alignment = 1

    def __init__(self, threads: int | None = None) -> None:
        """Raises BuildError where `threads`, or TRTN_NUM_THREADS in its place, is no positive number."""
        self.threads = thread_count(threads)
        """How many threads a run takes; None leaves it to the libraries."""
        self.binaries = Binaries()
        self._packed = PackedWeights()

    @property
    def model(self) -> str:
        return f"{_processor()}, {self.threads or os.cpu_count()} threads"

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.empty(shape, dtype)

    def arena(self, nbytes: int) -> Any:
        alignment = HUGE_PAGE if nbytes >= 2 * HUGE_PAGE else ALIGNMENT
        try:
            raw = np.empty(nbytes + alignment, np.uint8)
        except ValueError as e:  # NumPy's word for sizes beyond the address space
            raise MemoryError(str(e)) from None
        start = -raw.ctypes.data % alignment
        return raw[start : start + nbytes]

    def upload(self, array: Any) -> Any:
        view = array.view()
        view.flags.writeable = False
        return view

    def adopt(self, array: Any) -> Any:
        return array

    def owns(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def running(self, *, compiled: bool, arrays: bool) -> AbstractContextManager[None]:
        blas = 1 if compiled else self.threads
        return _POOLS.running(self.threads if compiled else None, blas=blas if arrays else None)

    def spread(self, work: Callable[[int, int], None], count: int) -> None:
        """Have `work` done for each number below `count` in as many threads as a run takes; what libraries do within
        it takes one each. See `Workers.share`."""

        def alone(number: int, slot: int) -> None:
            with _POOLS.running(1, blas=None):
                work(number, slot)

        # Threads of its own, which end: libraries make pools for a thread that calls them, and with more of these than
        # processors OpenMP's threads go to sleep after each step.
        workers = Workers(worker_count(self.threads))
        try:
            with _POOLS.running(None, blas=1):
                workers.share(alone, count)
        finally:
            workers.end()

    def packed(self, array: Any, form: str, make: Callable[[Any], Any]) -> Any:
        def once(plain: Any) -> Any:
            made = make(plain)
            forget(plain)  # of a mapped file: otherwise both forms would count as the process's memory
            return made

        return self._packed.get(array, array.ctypes.data, form, once)

    def stored(self, packed: Any, form: str, shape: tuple[int, ...]) -> Any:
        """A weight of which there is only the packed form, flat and no smaller: an array of its shape by which `packed`
        finds that. Its elements mean nothing."""
        if packed.ctypes.data % ALIGNMENT:  # of an engine that is no mapped file
            aligned = self.room(packed.nbytes).view(packed.dtype)
            aligned[...] = packed
            packed = aligned
        array = self.upload(packed[: prod(shape)].reshape(shape))
        self._packed.put(array, array.ctypes.data, form, packed)
        return array

    def room(self, nbytes: int) -> Any:
        return self._packed.room(nbytes, self.arena)

    def forget_packed(self) -> None:
        self._packed.clear()


@cache
def _processor() -> str:
    """The processor's name as Linux knows it, else the architecture."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()

"""How many threads a run takes, where several libraries in one process have pools of their own.

OpenBLAS's workers spin when they wait, and so do OpenMP's: a run that alternates between the two pools takes twice its
time. So one of them works at a time.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from trtn.backend.devices.openmp import open_library
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError

__all__ = ["ENVIRONMENT", "ThreadPools", "thread_count"]

ENVIRONMENT = "TRTN_NUM_THREADS"


def thread_count(wanted: int | None) -> int | None:
    """The number of threads that was asked for, by argument or else by the environment; None where the libraries are
    to decide. Raises BuildError for what is no positive number."""
    given: object = os.environ.get(ENVIRONMENT) or None if wanted is None else wanted
    if given is None:
        return None
    try:
        count = int(str(given))
    except ValueError:
        count = 0
    if count < 1 or isinstance(given, bool):
        name = "threads" if wanted is not None else ENVIRONMENT
        message = f"`{name}` is a positive number of threads, not {given!r}"
        raise BuildError(message, [Diagnostic("E0422", message)])
    return count


class ThreadPools:
    """The pools of the process. Needs threadpoolctl; without it nothing is limited."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._blas: list[tuple[Any, int]] = []
        """BLAS libraries that are held, with the threads that they had."""

    def running(self, count: int | None, *, blas: int | None) -> AbstractContextManager[None]:
        """Within it this thread's OpenMP regions take `count` threads, and BLAS takes `blas` in the whole process."""
        return _Running(self, count, blas)

    def hold(self, count: int) -> None:
        """BLAS takes `count` threads until every hold is released; the first one decides."""
        with self._lock:
            self._running += 1
            if self._running == 1:
                held = [
                    (library, library.get_num_threads()) for library in _libraries(False) if library.user_api == "blas"
                ]
                self._blas = [(library, had) for library, had in held if had != count]
                for library, _ in self._blas:
                    library.set_num_threads(count)

    def release(self) -> None:
        """End one hold; with the last one, BLAS takes as many threads as before."""
        with self._lock:
            self._running -= 1
            if self._running == 0:
                for library, had in self._blas:
                    library.set_num_threads(had)
                self._blas = []


class _Running:
    """A run's hold of the pools: a class, since it is entered for each run of a network that takes microseconds."""

    __slots__ = ("_before", "_blas", "_count", "_pools")

    def __init__(self, pools: ThreadPools, count: int | None, blas: int | None) -> None:
        self._pools = pools
        self._count = count
        self._blas = blas
        self._before: list[tuple[Any, int]] = []

    def __enter__(self) -> None:
        if self._count is not None:
            for get, change in _openmp():
                had = get()
                if had != self._count:
                    change(self._count)
                    self._before.append((change, had))
        if self._blas is not None:
            self._pools.hold(self._blas)

    def __exit__(self, *_: object) -> None:
        if self._blas is not None:
            self._pools.release()
        for change, had in self._before:
            change(had)


@cache
def _openmp() -> list[tuple[Any, Any]]:
    """The functions that tell and set the threads of the OpenMP libraries among those that are loaded when the first
    compiled kernel runs, GNU's in any case: generated kernels use it."""
    open_library()
    found = [library for library in _libraries(True) if library.user_api == "openmp"]
    return [(library.dynlib.omp_get_max_threads, library.dynlib.omp_set_num_threads) for library in found]


@cache
def _libraries(compiled: bool) -> list[Any]:
    """What threadpoolctl finds of libraries with pools among those that are loaded by now: NumPy's before, those of
    compiled kernels too when the first of these runs."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return []
    return list(ThreadpoolController().lib_controllers)

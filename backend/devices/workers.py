"""Threads that share the blocks of one step. NumPy leaves the interpreter's lock alone while it computes, so blocks of
some ten thousand elements run side by side.

To wake a thread takes longer than many a step where its processor has gone to sleep, so threads wait for each other
as those of OpenMP do: they spin for a moment, without the interpreter's lock.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from weakref import WeakSet

import numpy as np

from trtn.backend.devices.openmp import SONAME, open_library

__all__ = ["Call", "Work", "Workers", "worker_count", "workers_for"]

Work = Callable[[int, int], None]
"""What is done for block `number` by thread `slot`, 0 for the one that asked."""
Call = Callable[[], object]
_LINE = 64
"""Bytes of a cache line, which what one thread waits for has to itself."""
_ALL: WeakSet[Workers] = WeakSet()


class Workers:
    """`count` threads, the caller's among them. One caller at a time has them; others meanwhile work alone."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._helpers: list[_Helper] = []
        self._taken = threading.Lock()
        _ALL.add(self)

    def share(self, work: Work, blocks: int, threads: int | None = None) -> None:
        """Have `work` done for each number below `blocks` by up to so many threads, or by all; whoever is free takes
        the next. What it raises is raised here, when nobody works any more."""
        wanted = min(self.count, blocks, threads or blocks) - 1
        if wanted <= 0 or not self._taken.acquire(blocking=False):
            for number in range(blocks):
                work(number, 0)
            return
        try:
            if not self._helpers:
                self._helpers = [_Helper(slot) for slot in range(1, self.count)]
            helpers = self._helpers[:wanted]
            numbers = iter(range(blocks))  # one iterator for all: taking its next number is one step of the interpreter
            for helper in helpers:
                helper.begin(work, numbers)
            failures = [_work_off(work, numbers, 0), *[helper.end() for helper in helpers]]
        except BaseException:  # an interruption: nobody knows who is still at work, or for how long
            self._helpers = []
            raise
        finally:
            self._taken.release()
        for failure in failures:
            if failure is not None:
                raise failure

    def run(self, pieces: Sequence[Sequence[Call]], threads: int | None = None) -> None:
        """Have the calls of each piece made, one after another; pieces side by side, as by `share`."""

        def work(number: int, slot: int) -> None:
            for call in pieces[number]:
                call()

        self.share(work, len(pieces), threads)

    def end(self) -> None:
        """Let the threads end, and wait for that."""
        with self._taken:
            for helper in self._helpers:
                helper.leave()
            self._helpers = []

    def forget(self) -> None:
        """In a process that was forked there are no threads but the one that forked."""
        self._helpers = []
        self._taken = threading.Lock()


class _Helper:
    """A thread that waits for work."""

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._job: tuple[Work, Iterator[int]] | None = None
        self._failure: BaseException | None = None
        self._begun, self._done = _Gate(), _Gate()
        self._thread = threading.Thread(target=self._serve, name="trtn-blocks", daemon=True)
        self._thread.start()

    def begin(self, work: Work, numbers: Iterator[int]) -> None:
        self._job = work, numbers
        self._begun.open()

    def end(self) -> BaseException | None:
        """Wait until it is done; what went wrong."""
        self._done.wait()
        failure, self._job, self._failure = self._failure, None, None
        return failure

    def leave(self) -> None:
        self._begun.open()
        self._thread.join()

    def _serve(self) -> None:
        with np.errstate(all="ignore"):  # as in the threads that runs begin in
            while True:
                self._begun.wait()
                if self._job is None:
                    return
                self._failure = _work_off(*self._job, self._slot)
                self._done.open()


class _Gate:
    """One thread waits at it, another opens it; each opening lets through once."""

    open: Call
    wait: Call

    def __init__(self) -> None:
        library = open_library()
        if library is None:
            lock = threading.Lock()
            lock.acquire()
            self.open, self.wait = lock.release, lock.acquire
            return
        # A lock of GNU's OpenMP is a word that any thread may set and unset. Who waits for it spins, then sleeps.
        word = ctypes.create_string_buffer(2 * _LINE)
        address = ctypes.c_void_p(ctypes.addressof(word) + -ctypes.addressof(word) % _LINE)
        self._held = word
        library.omp_init_lock(address)
        library.omp_set_lock(address)
        self.wait = partial(library.omp_set_lock, address)
        # with the interpreter's lock: who gave it up here would find it taken by the other
        self.open = partial(ctypes.PyDLL(SONAME, handle=library._handle).omp_unset_lock, address)


def _work_off(work: Work, numbers: Iterator[int], slot: int) -> BaseException | None:
    """Take numbers until there are none; what went wrong."""
    try:
        for number in numbers:
            work(number, slot)
    except BaseException as e:  # raised again by `share`
        for _ in numbers:  # the others need not go on
            pass
        return e
    return None


@cache
def workers_for(threads: int | None) -> Workers:
    """The process's threads for runs that take `threads`; see `worker_count`."""
    return Workers(worker_count(threads))


def worker_count(threads: int | None) -> int:
    """`threads`; without a number, one for each processor that the process may use."""
    if threads is not None:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _forget_all() -> None:
    for workers in list(_ALL):
        workers.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

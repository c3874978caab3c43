"""Threads that share the blocks of one step. NumPy leaves the interpreter's lock alone while it computes, so blocks of
some ten thousand elements run side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from queue import SimpleQueue

import numpy as np

__all__ = ["Workers", "worker_count", "workers_for"]

Work = Callable[[int, int], None]
"""What is done for block `number` by thread `slot`, 0 for the one that asked."""
Call = Callable[[], object]
Outcomes = SimpleQueue["BaseException | None"]


class Workers:
    """`count` threads, the caller's among them. For any number of callers at a time."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._jobs: SimpleQueue[tuple[Work, Iterator[int], int, Outcomes] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def share(self, work: Work, blocks: int) -> None:
        """Have `work` done for each number below `blocks`; whoever is free takes the next. What it raises is raised
        here, when nobody works any more."""
        helpers = min(self.count, blocks) - 1
        numbers = iter(range(blocks))  # one iterator for all: taking its next number is one step of the interpreter
        outcomes: Outcomes = SimpleQueue()
        if helpers > 0:
            self._start()
        for slot in range(1, helpers + 1):
            self._jobs.put((work, numbers, slot, outcomes))
        _work_off(work, numbers, 0, outcomes)
        failures = [outcomes.get() for _ in range(helpers + 1)]
        for failure in failures:
            if failure is not None:
                raise failure

    def run(self, pieces: Sequence[Sequence[Call]]) -> None:
        """Have the calls of each piece made, one after another; pieces side by side."""

        def work(number: int, slot: int) -> None:
            for call in pieces[number]:
                call()

        self.share(work, len(pieces))

    def end(self) -> None:
        """Let the threads end, and wait for that. Nothing may be shared meanwhile."""
        with self._lock:
            for _ in self._threads:
                self._jobs.put(None)
            for thread in self._threads:
                thread.join()
            self._threads = []

    def _start(self) -> None:
        if self._threads:
            return
        with self._lock:
            if self._threads:
                return
            threads = [
                threading.Thread(target=self._serve, name="trtn-blocks", daemon=True) for _ in range(self.count - 1)
            ]
            for thread in threads:
                thread.start()
            self._threads = threads

    def _serve(self) -> None:
        with np.errstate(all="ignore"):  # as in the threads that runs begin in
            while (job := self._jobs.get()) is not None:
                _work_off(*job)


def _work_off(work: Work, numbers: Iterator[int], slot: int, outcomes: Outcomes) -> None:
    """Take numbers until there are none."""
    try:
        for number in numbers:
            work(number, slot)
    except BaseException as e:  # raised again by `share`
        for _ in numbers:  # the others need not go on
            pass
        outcomes.put(e)
    else:
        outcomes.put(None)


@cache
def workers_for(threads: int | None) -> Workers:
    """The process's threads for runs that take `threads`; see `worker_count`."""
    return Workers(worker_count(threads))


def worker_count(threads: int | None) -> int:
    """`threads`; without a number, one for each processor that the process may use."""
    if threads is not None:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


os.register_at_fork(after_in_child=workers_for.cache_clear) if hasattr(os, "register_at_fork") else None

"""Threads that share the blocks of one step. NumPy leaves the interpreter's lock alone while it computes, so blocks of
some ten thousand elements run side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from queue import SimpleQueue

import numpy as np

__all__ = ["Workers", "workers_for"]

Work = Callable[[int, int], None]
"""What is done for block `number` by thread `slot`, 0 for the one that asked."""
Call = Callable[[], object]
Outcomes = SimpleQueue["BaseException | None"]


class Workers:
    """`count` threads, the caller's among them. For any number of callers at a time."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._jobs: SimpleQueue[tuple[Work, Iterator[int], int, Outcomes]] = SimpleQueue()
        self._started = False
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

    def _start(self) -> None:
        if self._started:
            return
        with self._lock:
            for _ in range(0 if self._started else self.count - 1):
                threading.Thread(target=self._serve, name="trtn-blocks", daemon=True).start()
            self._started = True

    def _serve(self) -> None:
        with np.errstate(all="ignore"):  # as in the threads that runs begin in
            while True:
                _work_off(*self._jobs.get())


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
    """The process's threads for runs that take `threads`; without a number, one for each processor that it may use."""
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Workers(threads)


os.register_at_fork(after_in_child=workers_for.cache_clear) if hasattr(os, "register_at_fork") else None

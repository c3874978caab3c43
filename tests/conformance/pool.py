"""Runs tests in worker processes: one that hangs is stopped, one that crashes its worker is a failure."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from tests.conformance.suite import Outcome, Suite

__all__ = ["outcomes"]


def outcomes(
    suite: Suite, names: Sequence[str], *, workers: int = 2, seconds: float = 180.0
) -> Iterator[tuple[str, Outcome]]:
    """Each test's outcome as it comes. The workers are forks of this process, which has loaded the suite."""
    context = multiprocessing.get_context("fork")
    waiting = list(reversed(names))
    busy: dict[Any, _Worker] = {}
    while waiting or busy:
        while waiting and len(busy) < workers:
            worker = _Worker(context, suite)
            worker.give(waiting.pop())
            busy[worker.pipe] = worker
        for pipe in wait(list(busy), timeout=0.5):
            worker = busy.pop(pipe)
            try:
                outcome = worker.pipe.recv()
            except EOFError:
                worker.stop()
                yield worker.name, Outcome("fail", "the process died")
                continue
            yield worker.name, outcome
            if waiting:
                worker.give(waiting.pop())
                busy[pipe] = worker
            else:
                worker.stop()
        for pipe, worker in list(busy.items()):
            if time.monotonic() - worker.since > seconds:
                del busy[pipe]
                worker.stop()
                yield worker.name, Outcome("fail", f"not done after {seconds:.0f} s")


class _Worker:
    def __init__(self, context: Any, suite: Suite) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(suite.run, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.name = ""
        self.since = 0.0

    def give(self, name: str) -> None:
        self.name, self.since = name, time.monotonic()
        self.pipe.send(name)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(run: Callable[[str], Outcome], pipe: Connection) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    while True:
        pipe.send(run(pipe.recv()))

"""Recordings without a GPU: a stream that notes what is enqueued, and graphs that enqueue it again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from trtn.backend.plan.arrays import Table
from trtn.backend.runtime.cuda import Recording
from trtn.backend.runtime.schedule import Run, Step

Work = Callable[[], None]


class Stream:
    """Does what is enqueued at once, or notes it while a recording goes on."""

    def __init__(self) -> None:
        self._noted: list[Work] | None = None

    def enqueue(self, work: Work) -> None:
        if self._noted is None:
            work()
        else:
            self._noted.append(work)

    def synchronize(self) -> None:
        assert self._noted is None

    def is_capturing(self) -> bool:
        return self._noted is not None

    def begin_capture(self) -> None:
        self._noted = []

    def end_capture(self) -> Graph:
        noted, self._noted = self._noted, None
        assert noted is not None
        return Graph(noted)


class Graph:
    def __init__(self, noted: list[Work]) -> None:
        self._noted = noted

    def upload(self, stream: Stream) -> None:
        assert self._noted

    def launch(self, stream: Stream) -> None:
        for work in self._noted:
            work()


@contextmanager
def using_allocator(allocator: Any) -> Iterator[None]:
    yield


def recording(steps: list[Step], table: Table, stream: Stream) -> Recording:
    pool = SimpleNamespace(malloc=None)
    xp: Any = SimpleNamespace(cuda=SimpleNamespace(MemoryPool=lambda: pool, using_allocator=using_allocator))
    schedule: Any = SimpleNamespace(steps=steps, sizes={})
    return Recording(xp, schedule, table, stream)


class Memory:
    """Device memory: a graph knows its address, and so finds nothing there once it is let go."""

    def __init__(self, values: list[float]) -> None:
        self.values = np.array(values)


def test_what_bound_steps_hold_stays_for_the_graph() -> None:
    stream, result = Stream(), np.zeros(3)

    def bind(table: Table) -> Run:
        held = Memory([1.0, 2.0, 3.0])  # such as the results of a layer that depends on sizes alone
        address = weakref.ref(held)

        def copy() -> None:
            memory = address()
            result[...] = np.nan if memory is None else memory.values

        def run(sizes: dict[str, int]) -> None:
            assert held
            stream.enqueue(copy)

        return run

    made = recording([Step("range", bind)], {}, stream)
    gc.collect()
    assert made.is_one_graph
    result[...] = 0
    made.replay(stream)
    np.testing.assert_array_equal(result, [1, 2, 3])

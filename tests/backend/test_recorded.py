"""Launches that become graphs, without a GPU: a stream that notes what is enqueued while it is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from trtn.backend.devices.recording import record, recorded

Work = Callable[[], None]


class Stream:
    def __init__(self, ptr: int = 1) -> None:
        self.ptr = ptr
        self.graphs = 0
        self._noted: list[Work] | None = None

    def enqueue(self, work: Work) -> None:
        if self._noted is None:
            work()
        else:
            self._noted.append(work)

    def wait(self) -> None:
        if self._noted is not None:
            raise RuntimeError("the current stream is capturing")

    def is_capturing(self) -> bool:
        return self._noted is not None

    def begin_capture(self) -> None:
        assert self._noted is None
        self._noted = []

    def end_capture(self) -> Any:
        noted, self._noted = self._noted or [], None

        def launch(stream: Stream) -> None:
            self.graphs += 1
            for work in noted:
                stream.enqueue(work)

        return SimpleNamespace(launch=launch)


def library(stream: Stream) -> Any:
    @contextmanager
    def using_allocator(allocator: object) -> Iterator[None]:
        yield

    pool = SimpleNamespace(malloc=None)
    return SimpleNamespace(
        cuda=SimpleNamespace(
            MemoryPool=lambda: pool, using_allocator=using_allocator, get_current_stream=lambda: stream
        )
    )


def test_a_launch_runs_plainly_once_then_as_a_graph() -> None:
    stream, done, entered = Stream(), [], []

    def launch() -> None:
        entered.append(1)
        stream.enqueue(lambda: done.append(1))

    enqueue = recorded(launch, library(stream))
    for turn in range(1, 5):
        enqueue()
        assert len(done) == turn and stream.graphs == turn - 1
    assert len(entered) == 2


@pytest.mark.parametrize("ptr", [0, 1])
def test_what_cannot_be_recorded_runs_plainly(ptr: int) -> None:
    """A launch that waits, and any launch on the null stream."""
    stream, done = Stream(ptr), []

    def launch() -> None:
        if ptr:
            stream.wait()
        stream.enqueue(lambda: done.append(1))

    enqueue = recorded(launch, library(stream))
    for turn in range(1, 4):
        enqueue()
        assert len(done) == turn and not stream.graphs and not stream.is_capturing()


def test_inside_of_a_recording_it_is_a_part_of_that() -> None:
    stream, done = Stream(), []
    enqueue = recorded(lambda: stream.enqueue(lambda: done.append(1)), library(stream))
    enqueue()
    graph = record(enqueue, stream)
    assert len(done) == 1 and not stream.graphs
    graph.launch(stream)
    assert len(done) == 2


def test_a_failed_recording_is_over() -> None:
    stream = Stream()
    with pytest.raises(RuntimeError, match="capturing"):
        record(stream.wait, stream)
    assert not stream.is_capturing()

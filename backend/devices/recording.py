"""Launches recorded as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["abandon", "record", "recorded"]

Launch = Callable[[], None]


def recorded(launch: Launch, xp: Any) -> Launch:
    """What enqueues the same work on CuPy's current stream: as it is the first time, which may compile and take memory,
    then as a graph, where it can be recorded as one. For steps that the host decides on in each run."""
    pool = xp.cuda.MemoryPool()  # what launches take of it inside of a recording belongs to the graph
    graph: Any = None
    refused, ran = False, False

    def run() -> None:
        nonlocal ran
        with xp.cuda.using_allocator(pool.malloc):
            launch()
        ran = True

    def enqueue() -> None:
        nonlocal graph, refused
        stream = xp.cuda.get_current_stream()
        if graph is None and ran and not refused and stream.ptr and not stream.is_capturing():
            try:
                graph = record(run, stream)
            except Exception:  # CUDA and CuPy have several for what a recording does not take
                refused = True
        run() if graph is None else graph.launch(stream)

    return enqueue


def record(launch: Launch, stream: Any) -> Any:
    """The graph of a launch on a stream, which is the current one. Raises what the launch does; what waits for the GPU
    raises RuntimeError."""
    stream.begin_capture()
    try:
        launch()
        return stream.end_capture()
    except Exception:
        if stream.is_capturing():
            abandon(stream)
        raise


def abandon(stream: Any) -> None:
    """End a recording that has failed; CUDA reports the failure once more, which says nothing new."""
    try:
        stream.end_capture()
    except Exception:  # whatever it is, the stream is out of the recording
        return

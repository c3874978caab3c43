"""Engines of the specs of this repository on a GPU: their networks at given shapes, feeds, runs and times."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

__all__ = [
    "QUEUE",
    "SECONDS",
    "back_to_back",
    "bound",
    "make_feeds",
    "network_at",
    "resident_bytes",
    "shapes_of",
    "timed",
]

SPECS = Path(__file__).resolve().parent.parent / "specs"
QUEUE = 16
"""Runs that are enqueued at once where the host's time counts: a full queue would make it wait."""
SECONDS = 0.2
"""How long a throughput is measured."""


def network_at(spec: str, *boxes: Mapping[str, tuple[int, int, int]]) -> Any:
    """A spec's network with a profile for each box, (min, opt, max) by dim; as it is without."""
    import trtn
    from trtn.dsl.network import Profile, ProfileRange

    network = trtn.load(SPECS / f"{spec}.trtn")
    if not boxes:
        return network
    profiles = [Profile(f"box{n}", {d: ProfileRange(*r) for d, r in box.items()}) for n, box in enumerate(boxes)]
    return replace(network, profiles=tuple(profiles))


def shapes_of(engine: Any, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    from trtn.dsl.dims import evaluate

    return {t.name: tuple(evaluate(d, sizes) for d in t.shape) for t in engine.network.inputs}


def make_feeds(network: Any, sizes: Mapping[str, int]) -> dict[str, Any]:
    import numpy as np

    from trtn.dsl.dims import evaluate

    rng = np.random.default_rng(0)
    shapes = {t: tuple(evaluate(d, sizes) for d in t.shape) for t in network.inputs}
    return {
        t.name: (rng.standard_normal(shape) if t.dtype.is_float else rng.integers(0, 2, shape)).astype(t.dtype.numpy)
        for t, shape in shapes.items()
    }


def bound(engine: Any, sizes: Mapping[str, int]) -> tuple[Callable[[], None], Any]:
    """A run on bound buffers, warm, and its stream."""
    import cupy

    context, stream = engine.create_context(), cupy.cuda.Stream(non_blocking=True)
    feeds = {name: cupy.asarray(a) for name, a in make_feeds(engine.network, sizes).items()}
    buffers = {name: cupy.empty_like(a) for name, a in context.run(feeds).items()}
    context.bind({**feeds, **buffers})
    for _ in range(QUEUE):
        context.execute_async(stream)
    stream.synchronize()
    return lambda: context.execute_async(stream), stream


def back_to_back(engine: Any, sizes: Mapping[str, int]) -> float:
    """Seconds of one run among many that are enqueued one behind the other: the median of a few tries."""
    import cupy

    run, stream = bound(engine, sizes)
    start, end = cupy.cuda.Event(), cupy.cuda.Event()

    def once(count: int) -> float:
        start.record(stream)
        for _ in range(count):
            run()
        end.record(stream)
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(start, end)) / 1e3 / count

    count = max(5, min(500, int(SECONDS / 3 / once(5))))
    once(count)
    return statistics.median(once(count) for _ in range(3))


def resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def timed() -> Iterator[Callable[[], float]]:
    """The seconds between its begin and its end, once it has ended."""
    began = time.perf_counter()
    took = [0.0]
    yield lambda: took[0]
    took[0] = time.perf_counter() - began

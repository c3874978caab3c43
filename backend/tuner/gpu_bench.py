"""Timing of tactics on a GPU: many launches inside one captured graph, so that no launch waits for the host.

Weights change from launch to launch where the network's don't fit into the L2 cache together: in a run each layer finds
its own cold. What the layer before has just written is warm, as in a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from statistics import median
from typing import Any

from trtn.backend.devices import Device
from trtn.backend.devices.recording import record
from trtn.backend.problem import Problem
from trtn.backend.providers import Launch, Prepared, Tactic, TacticError
from trtn.backend.tuner.bench import DeviceLostError
from trtn.backend.tuner.oracle import Oracle, allocate, fill, poison

__all__ = ["GpuBench"]

SPAN = 400e-6
"""Seconds of launches in a graph, roughly."""
FEWEST, MOST = 4, 64
"""Launches in a graph."""
REPEATS = 5
"""Graph launches of which the median counts."""
ROOM = 256 << 20
"""Bytes that copies of weights may take."""
HOLD = 300e-6
"""For so many seconds the GPU is kept busy while the host enqueues a single launch that is to be timed: otherwise the
events around a kernel of 5 us see the 50 to 100 us that the host takes to launch it."""
EVENTS = 2e-6
"""What the events around a single launch see besides it, in seconds."""


class GpuBench:
    """Arrays for one problem on the GPU, `cold` bytes of weights among them where that many are to be gone through."""

    def __init__(self, problem: Problem, device: Device, stream: Any, cold: int = 0) -> None:
        self._problem = problem
        self._device = device
        self._xp: Any = device.xp
        self.stream = stream
        with self.stream:
            self._outputs = [allocate(layout, device) for layout in problem.outputs]
            self._sets = [self._make_inputs()]
            constants = sum(a.nbytes for a in problem.inputs if a.constant)
            self._copies = min(MOST, -(-min(cold, ROOM) // constants)) if constants else 1
            self._oracle = Oracle(problem, self._sets[0], device)
        self.stream.synchronize()
        self._workspace: Any = None

    def check(self, prepared: Prepared, tactic: Tactic) -> None:
        with self._at_work():
            self._launched(prepared, tactic, self._scratch(prepared.workspace), self._xp.cuda.MemoryPool())

    def trial(self, prepared: Prepared, tactic: Tactic, limit: float) -> GpuTrial:
        with self._at_work():
            return self._trial(prepared, tactic, limit)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self.stream:
            try:
                yield
            except RuntimeError as e:  # a library's word for what it can't do after all, or the GPU's
                reason = f"{type(e).__name__}: {' '.join(str(e).split())[:200]}"
                self._demand_alive(reason)
                raise TacticError(reason) from None

    def _demand_alive(self, reason: str) -> None:
        """After some errors every further call to the GPU gives the same one."""
        try:
            self.stream.synchronize()
        except RuntimeError:
            raise DeviceLostError(reason) from None

    def _trial(self, prepared: Prepared, tactic: Tactic, limit: float) -> GpuTrial:
        workspace = self._scratch(prepared.workspace)
        pool = self._xp.cuda.MemoryPool()  # what a recorded launch has taken must not be given to others
        launch = self._launched(prepared, tactic, workspace, pool)
        _hold_gpu()
        first = _time(self.stream, launch) - EVENTS
        if first > limit:
            raise TacticError(f"its first launch takes {first * 1e6:.0f} us")
        count = max(FEWEST, min(MOST, int(SPAN / max(first, 1e-6))))
        while len(self._sets) < self._copies:
            self._sets.append(self._copy_constants())
        launches = [launch, *(prepared.bind(s, self._outputs, workspace) for s in self._sets[1:count])]
        with self._xp.cuda.using_allocator(pool.malloc):
            waits = any(layer.regions for layer in self._problem.group.layers)
            return GpuTrial(self.stream, launches, count, (pool, workspace), waits)

    def _launched(self, prepared: Prepared, tactic: Tactic, workspace: Any, pool: Any) -> Launch:
        """A launch that was made once and gave what it has to. Raises TacticError."""
        launch = prepared.bind(self._sets[0], self._outputs, workspace)
        for array, tensor in zip(self._outputs, self._problem.group.outputs, strict=True):
            poison(array, tensor)
        with self._xp.cuda.using_allocator(pool.malloc):
            launch()
        objection = self._oracle.objection(self._outputs, tactic.numerics)
        if objection:
            raise TacticError(objection)
        return launch

    def _make_inputs(self) -> list[Any]:
        arrays = []
        for n, (layout, tensor) in enumerate(zip(self._problem.inputs, self._problem.group.inputs, strict=True)):
            array = allocate(layout, self._device)
            fill(array, tensor, self._device, n)
            arrays.append(array)
        return arrays

    def _copy_constants(self) -> list[Any]:
        arrays = []
        for layout, array in zip(self._problem.inputs, self._sets[0], strict=True):
            copy = allocate(layout, self._device) if layout.constant else array
            if layout.constant:
                copy[...] = array
            arrays.append(copy)
        return arrays

    def _scratch(self, nbytes: int) -> Any:
        if nbytes and (self._workspace is None or self._workspace.nbytes < nbytes):
            self._workspace = self._device.arena(nbytes)
        return self._workspace if nbytes else None


class GpuTrial:
    """A graph of launches; launches of the host's where they wait for the GPU, which is then a part of their time."""

    def __init__(self, stream: Any, launches: Sequence[Launch], count: int, held: object, waits: bool) -> None:
        """`waits`: they may wait for the GPU."""
        self._stream = stream
        self._count = count
        self._held = (launches, held)
        self._run: Launch

        def enqueue() -> None:
            for n in range(count):
                launches[n % len(launches)]()

        try:
            graph = record(enqueue, stream)
        except RuntimeError:
            if not waits:
                raise
            self._run = enqueue
        else:
            graph.upload(stream)
            self._run = lambda: graph.launch(stream)

    def sample(self) -> float:
        return median(self._once() for _ in range(REPEATS)) / self._count

    def _once(self) -> float:
        self._run()  # the events wait behind it, so the host is ahead
        return _time(self._stream, self._run)


_HOLD_SOURCE = r"""
extern "C" __global__ void hold(unsigned long long nanoseconds) {
  unsigned long long start, now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
  do asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now)); while (now - start < nanoseconds);
}
"""


@cache
def _hold_kernel() -> Any:
    import cupy

    return cupy.RawKernel(_HOLD_SOURCE, "hold")


def _hold_gpu() -> None:
    """Keep the current stream busy for a while."""
    import numpy as np

    _hold_kernel()((1,), (1,), (np.uint64(HOLD * 1e9),))


def _time(stream: Any, run: Launch) -> float:
    """Seconds on the GPU."""
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record(stream)
    run()
    end.record(stream)
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, end)) * 1e-3

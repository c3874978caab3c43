"""Timing of tactics: what the tuner asks for, and how it is done on a CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Protocol

from trtn.backend.devices import Device
from trtn.backend.problem import Problem
from trtn.backend.providers import Launch, Prepared, Tactic, TacticError
from trtn.backend.tuner.oracle import Oracle, allocate, fill, poison

__all__ = ["Bench", "BenchMaker", "CpuBench", "DeviceLostError", "Trial"]


class DeviceLostError(Exception):
    """A tactic has left the device in a state in which nothing runs any more."""


class Trial(Protocol):
    """A tactic ready to be timed."""

    def sample(self) -> float:
        """The seconds of one launch among many, back to back: the median of a few tries."""
        ...


class Bench(Protocol):
    """Arrays for one problem, and the tactics that run on them."""

    def check(self, prepared: Prepared, tactic: Tactic) -> None:
        """Launch a tactic once and check its results. Raises TacticError where they are wrong, DeviceLostError."""
        ...

    def trial(self, prepared: Prepared, tactic: Tactic, limit: float) -> Trial:
        """Launch a tactic once and check its results; then make it ready for timing. Raises TacticError where it is
        wrong, or so much slower than `limit` seconds that the first launch shows it; MemoryError where there is no room
        for it now; DeviceLostError."""
        ...


BenchMaker = Callable[[Problem, Device], Bench]
REPEATS = 3
"""Tries of which the median counts."""
SPAN = 2e-3
"""Seconds that a try takes at least: the clock and the scheduler are noise beside it."""


class CpuBench:
    """Launches in a loop, by the process's clock."""

    def __init__(self, problem: Problem, device: Device) -> None:
        self._problem = problem
        self._device = device
        group = problem.group
        self._inputs = [allocate(layout, device) for layout in problem.inputs]
        self._outputs = [allocate(layout, device) for layout in problem.outputs]
        for n, (array, tensor) in enumerate(zip(self._inputs, group.inputs, strict=True)):
            fill(array, tensor, device, n)
        self._oracle = Oracle(problem, self._inputs, device)

    def check(self, prepared: Prepared, tactic: Tactic) -> None:
        self._launched(prepared, tactic)

    def trial(self, prepared: Prepared, tactic: Tactic, limit: float) -> CpuTrial:
        launch = self._launched(prepared, tactic)
        begin = time.perf_counter()
        launch()
        first = time.perf_counter() - begin
        if first > limit:
            raise TacticError(f"its first launch takes {first * 1e6:.0f} us")
        return CpuTrial(launch, max(1, min(1000, int(SPAN / max(first, 1e-9)))))

    def _launched(self, prepared: Prepared, tactic: Tactic) -> Launch:
        """A launch that was made once and gave what it has to. Raises TacticError."""
        workspace = self._device.arena(prepared.workspace) if prepared.workspace else None
        launch = prepared.bind(self._inputs, self._outputs, workspace)
        for array, tensor in zip(self._outputs, self._problem.group.outputs, strict=True):
            poison(array, tensor)
        launch()
        objection = self._oracle.objection(self._outputs, tactic.numerics)
        if objection:
            raise TacticError(objection)
        return launch


class CpuTrial:
    def __init__(self, launch: Launch, count: int) -> None:
        self._launch = launch
        self._count = count

    def sample(self) -> float:
        return median(self._once() for _ in range(REPEATS))

    def _once(self) -> float:
        launch = self._launch
        begin = time.perf_counter()
        for _ in range(self._count):
            launch()
        return (time.perf_counter() - begin) / self._count

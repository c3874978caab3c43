"""How long each step of an engine takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from trtn.backend.runtime.context import Context
from trtn.backend.runtime.cuda import CudaContext
from trtn.backend.runtime.schedule import Run, Schedule
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import EngineError

if TYPE_CHECKING:
    from trtn.backend.runtime.engine import Engine

__all__ = ["StepProfile", "profile_steps", "read_profile"]

FORMAT_VERSION = "1.0"
AHEAD = 40_000
"""For how many cycles of its clock, for each step, a GPU is held up, so that the host has enqueued the steps of a run
before the first begins: what lies between two events then is the GPU's time alone."""
SPIN = (
    'extern "C" __global__ void spin(long long cycles) { long long t = clock64(); while (clock64() - t < cycles) {} }'
)


@dataclass(frozen=True, slots=True)
class StepProfile:
    """Times in milliseconds. `steps`: the median of each step over the runs, by the step's name; views that cost nothing
    are not there. `total` is their sum."""

    engine: str
    network: str
    """The digest of the spec that it was built from."""
    device: str
    sizes: Mapping[str, int]
    runs: int
    total: float
    steps: Mapping[str, float]

    def to_json(self) -> str:
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=2)


def profile_steps(engine: Engine, feeds: Mapping[str, Any], runs: int = 20, profile: str | None = None) -> StepProfile:
    """Run an engine step by step: on the CPU by the clock, on a GPU between events, without its graphs. Raises
    ShapeError and EngineError as a run does."""
    kind = _CpuProfiler if engine.device == "cpu" else _GpuProfiler
    context = kind(engine, profile)
    for _ in range(1 + runs):  # the first one prepares kernels
        context.run(feeds)
    steps = {name: median(seconds[1:]) * 1e3 for name, seconds in context.seconds.items()}
    digest = str(engine.provenance.get("network", ""))
    return StepProfile(engine.name, digest, engine.device, context.sizes, runs, sum(steps.values()), steps)


def read_profile(path: str | Path) -> StepProfile:
    """A profile's file. Raises EngineError where it is none."""
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
        if fields.pop("format_version") != FORMAT_VERSION:
            raise ValueError("it is of another format version")
        found = StepProfile(**fields)
        steps = {str(name): float(ms) for name, ms in found.steps.items()}
        sizes = {str(name): int(size) for name, size in found.sizes.items()}
        texts = (str(found.engine), str(found.network), str(found.device))
        return StepProfile(*texts, sizes, int(found.runs), float(found.total), steps)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as e:
        message = f"{path} is not a profile of an engine's steps: {getattr(e, 'strerror', None) or e}"
        cure = "write one with `trtn bench ENGINE --profile-out FILE`"
        raise EngineError(message, [Diagnostic("E0703", message, help=cure)]) from None


class _CpuProfiler(Context):
    def __init__(self, engine: Engine, profile: str | None) -> None:
        super().__init__(engine, profile)
        self.seconds: dict[str, list[float]] = {}
        self.sizes: Mapping[str, int] = {}

    def _execute(self, arrays: Mapping[str, Any], into: Mapping[str, Any]) -> dict[str, Any]:
        """A run as it is, which leaves the inputs where steps read them; then its steps once more, one by one."""
        results = super()._execute(arrays, into)
        schedule = self._schedule(arrays)
        table = {id(t): arrays[t.name] for t in self.engine.network.inputs}
        table |= {id(t): self.engine.hardware.empty(shape, dtype) for t, shape, dtype in schedule.outputs}
        table.update(schedule.fixed)
        self.sizes, now = schedule.sizes, dict(schedule.sizes)
        with np.errstate(all="ignore"):  # as in a run
            for name, run in _bound(schedule, table):
                begin = time.perf_counter()
                run(now)
                self.seconds.setdefault(name, []).append(time.perf_counter() - begin)
        return results


class _GpuProfiler(CudaContext):
    def __init__(self, engine: Engine, profile: str | None) -> None:
        super().__init__(engine, profile)
        self.seconds: dict[str, list[float]] = {}
        self.sizes: Mapping[str, int] = {}
        self._spin = self._xp.RawKernel(SPIN, "spin")

    def _on_stream(self, arrays: Mapping[str, Any], into: Mapping[str, Any]) -> dict[str, Any]:
        results = super()._on_stream(arrays, into)
        recording = self._recording(arrays, into)
        event: Callable[[], Any] = self._xp.cuda.Event
        self.sizes, now = recording.schedule.sizes, dict(recording.schedule.sizes)
        steps = _bound(recording.schedule, recording.table)
        marks = [event() for _ in range(len(steps) + 1)]
        self._spin((1,), (1,), (AHEAD * len(steps),))
        marks[0].record(self.stream)
        for (_, run), mark in zip(steps, marks[1:], strict=True):
            run(now)
            mark.record(self.stream)
        self.stream.synchronize()
        for (name, _), begin, end in zip(steps, marks, marks[1:], strict=False):
            milliseconds = self._xp.cuda.get_elapsed_time(begin, end)
            self.seconds.setdefault(name, []).append(milliseconds * 1e-3)
        return results


def _bound(schedule: Schedule, table: dict[int, Any]) -> list[tuple[str, Run]]:
    return [(step.name, step.bind(table)) for step in schedule.steps]

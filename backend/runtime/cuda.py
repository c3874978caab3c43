"""A context on a GPU: the steps are recorded once for a shape, as CUDA graphs, and replayed; a run is a few copies
and a launch.

Steps that wait for the GPU (their result's size is in the data) can't be recorded: they run from the host, between
graphs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from trtn.backend.devices.recording import abandon
from trtn.backend.plan.storage import Place
from trtn.backend.runtime.context import SCHEDULE_LIMIT, Context
from trtn.backend.runtime.io import refuse
from trtn.backend.runtime.schedule import Run, Schedule, Step
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dims import evaluate
from trtn.dsl.errors import EngineError

if TYPE_CHECKING:
    from trtn.backend.runtime.engine import Engine

__all__ = ["CudaContext"]

T = TypeVar("T")
BoundStep = tuple[Step, Run]
WARM_RUNS = 1
"""Runs before the recording: kernels are compiled and memory is taken then, neither of which may happen inside."""


class CudaContext(Context):
    """Runs an engine on a stream of its own (or the caller's).

    `run` takes NumPy or CuPy arrays, and gives what it was given. `execute_async` returns at once; the caller's
    stream orders it.
    """

    def __init__(self, engine: Engine, profile: str | None = None, stream: Any = None) -> None:
        super().__init__(engine, profile)
        self._xp = engine.hardware.xp
        self.stream = stream if stream is not None else self._xp.cuda.Stream(non_blocking=True)
        self._recordings: OrderedDict[tuple[object, ...], Recording] = OrderedDict()
        self._ready: Recording | None = None
        """What a run on the bound buffers comes down to, where that is one graph."""
        self._broken = ""

    def bind(self, buffers: Mapping[str, Any]) -> None:
        self._ready = None
        super().bind(buffers)
        alignment = self.engine.hardware.alignment
        for name in buffers:
            if self._bound[name].data.ptr % alignment:
                del self._bound[name]
                raise refuse("E0705", f"the buffer of `{name}` must start at a multiple of {alignment} bytes")

    def execute_async(self, stream: Any = None) -> None:
        """Enqueue a run on the bound buffers on `stream` (the context's own without it); returns before it has
        finished."""
        if self._ready is not None:
            with self._exclusive:
                self._replay(self._ready, self.stream if stream is None else stream)
            return
        own, self.stream = self.stream, stream if stream is not None else self.stream
        try:
            super().execute_async()
        finally:
            self.stream = own

    def _execute(self, arrays: Mapping[str, Any], into: Mapping[str, Any]) -> dict[str, Any]:
        return self._on_gpu(lambda: self._on_stream(arrays, into))

    def _warm(self, arrays: Mapping[str, Any]) -> None:
        self._on_gpu(lambda: self._recording(arrays, {}))

    def _on_gpu(self, work: Callable[[], T]) -> T:
        """Work on the context's stream, what the GPU reports as errors that a caller knows."""
        self._demand_alive()
        try:
            with self.stream:
                return work()
        except self._xp.cuda.memory.OutOfMemoryError as e:
            raise MemoryError(str(e)) from None
        except self._errors as e:
            raise self._lost(e) from e

    def _replay(self, recording: Recording, stream: Any) -> None:
        """A run of a few microseconds on the host."""
        self._demand_alive()
        try:
            recording.replay(stream)
        except self._errors as e:
            raise self._lost(e) from e

    @property
    def _errors(self) -> tuple[type[Exception], ...]:
        return self._xp.cuda.runtime.CUDARuntimeError, self._xp.cuda.driver.CUDADriverError

    def _demand_alive(self) -> None:
        if self._broken:
            raise EngineError(self._broken, [Diagnostic("E0701", self._broken)])

    def _lost(self, error: Exception) -> EngineError:
        self._broken = f"the GPU reported an error, the context can't be used again: {error}"
        return EngineError(self._broken, [Diagnostic("E0701", self._broken)])

    def _on_stream(self, arrays: Mapping[str, Any], into: Mapping[str, Any]) -> dict[str, Any]:
        engine, xp = self.engine, self._xp
        on_host = not any(engine.hardware.owns(a) for a in arrays.values())
        if not on_host and not into:
            self._wait_for_caller()
        recording = self._recording(arrays, into)
        if not into:
            for t in engine.network.inputs:
                recording.table[id(t)].set(arrays[t.name]) if on_host else _copy(recording.table[id(t)], arrays[t.name])
        recording.replay(self.stream)
        if into:
            self._copy_late_outputs(recording, into)
            self._ready = recording if self._is_all_of_it(recording) else None
            return dict(into)
        outputs = {t.name: recording.table[id(t)] for t in engine.network.outputs}
        if on_host:
            return {name: xp.asnumpy(a) for name, a in outputs.items()}
        copies = {name: a.copy() for name, a in outputs.items()}
        self.stream.synchronize()
        return copies

    def _is_all_of_it(self, recording: Recording) -> bool:
        """Whether a run on the bound buffers is the replay of one graph, whatever the buffers hold."""
        engine = self.engine
        written = all(engine.storage.places.get(id(t)) is Place.OUTPUT for t in engine.network.outputs)
        return written and recording.is_one_graph and not any(p.values for p in engine.profiles)

    def _recording(self, arrays: Mapping[str, Any], into: Mapping[str, Any]) -> Recording:
        """The recording for the feeds' shapes, or for the buffers that are bound."""
        schedule = self._schedule(arrays)
        key = (id(schedule), *(a.data.ptr for a in into.values()), *(arrays[n].data.ptr for n in arrays if into))
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._recordings[key] = self._record(schedule, arrays, into)
            while len(self._recordings) > SCHEDULE_LIMIT:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        return recording

    def _schedule(self, arrays: Mapping[str, Any]) -> Schedule:
        before = self._memory
        schedule = super()._schedule(arrays)
        if self._memory is not before:
            self._recordings.clear()  # they hold addresses of the arena that was replaced
            self._ready = None
        return schedule

    def _wait_for_caller(self) -> None:
        """What the caller has enqueued on the current device's default stream comes first."""
        event = self._xp.cuda.Event(disable_timing=True)
        event.record(self._xp.cuda.Stream.null)
        self.stream.wait_event(event)

    def _record(self, schedule: Schedule, arrays: Mapping[str, Any], into: Mapping[str, Any]) -> Recording:
        engine = self.engine
        table: dict[int, Any] = dict(schedule.fixed)
        for t in engine.network.inputs:
            given = arrays[t.name]
            table[id(t)] = given if into else self._xp.asarray(given).copy()
        for t in engine.network.outputs:
            if engine.storage.places.get(id(t)) is not Place.OUTPUT:
                continue
            shape = tuple(evaluate(d, schedule.sizes) for d in t.shape)
            target = into.get(t.name)
            if target is not None and target.shape != shape:
                raise refuse(
                    "E0705",
                    f"the buffer of `{t.name}` has shape {list(target.shape)}; it is {list(shape)} for these inputs",
                )
            table[id(t)] = target if target is not None else engine.hardware.empty(shape, t.dtype.numpy)
        return Recording(self._xp, schedule, table, self.stream)

    def _copy_late_outputs(self, recording: Recording, into: Mapping[str, Any]) -> None:
        """Outputs that no step writes in place: inputs, weights, sizes that the data decided."""
        for t in self.engine.network.outputs:
            if self.engine.storage.places.get(id(t)) is not Place.OUTPUT:
                result = recording.table[id(t)]
                if result.shape != into[t.name].shape:
                    raise refuse(
                        "E0705",
                        f"the buffer of `{t.name}` has shape {list(into[t.name].shape)}; the result has {list(result.shape)}",
                    )
                into[t.name][...] = result


def _copy(target: Any, source: Any) -> None:
    target[...] = source


class Recording:
    """The steps of a schedule over fixed addresses, as graphs and host steps in turn. Scratch memory of recorded
    steps comes from a pool
    that nothing else uses while the graphs live."""

    def __init__(self, xp: Any, schedule: Schedule, table: dict[int, Any], stream: Any) -> None:
        self.table = table
        self.schedule = schedule  # recordings are found by its identity, which must stay its own
        self.sizes = dict(schedule.sizes)
        self._now = dict(schedule.sizes)
        """The dims' values in the run that goes on, those that the data has shown among them."""
        self._xp = xp
        self._pool = xp.cuda.MemoryPool()
        self._segments: list[Callable[[Any], None]] = []
        self.refused: dict[str, str] = {}
        """Why steps run from the host, by name."""
        self._steps = [(step, step.bind(self.table)) for step in schedule.steps]
        """Bound, and kept so: what a launch holds, a graph has the addresses of."""
        with xp.cuda.using_allocator(self._pool.malloc):
            for _ in range(WARM_RUNS):
                for _, run in self._steps:
                    run(self._now)
            stream.synchronize()
            self._record(self._steps, stream)

    def replay(self, stream: Any) -> None:
        self._now.clear()
        self._now.update(self.sizes)
        for segment in self._segments:
            segment(stream)

    @property
    def graphs(self) -> int:
        """How many graphs the steps were recorded into."""
        return sum(1 for s in self._segments if s.__name__ == "launch")

    @property
    def is_one_graph(self) -> bool:
        return len(self._segments) == self.graphs == 1

    def _record(self, steps: list[BoundStep], stream: Any) -> None:
        """Record the longest runs of steps that can be recorded. A step that can't stops a recording, which is then
        taken up to it."""
        pending = list(steps)
        while pending:
            count = next((n for n, (step, _) in enumerate(pending) if step.late), len(pending))
            count = self._try(pending[:count], stream)
            if count:
                pending = pending[count:]
                continue
            self._segments.append(self._host(pending.pop(0)[1]))

    def _try(self, steps: list[BoundStep], stream: Any) -> int:
        """Record as many of the steps as can be, one graph; gives how many. Steps that wait for the GPU raise inside
        a recording."""
        while steps:
            done = 0
            stream.begin_capture()
            try:
                for _, run in steps:
                    run(dict(self.sizes))
                    done += 1
                graph = stream.end_capture()
            except Exception as e:
                self.refused[steps[min(done, len(steps) - 1)][0].name] = f"{type(e).__name__}: {e}"
                if stream.is_capturing():
                    abandon(stream)
                steps = steps[: min(done, len(steps) - 1)]
                continue
            graph.upload(stream)
            self._segments.append(_launcher(graph))
            return len(steps)
        return 0

    def _host(self, run: Run) -> Callable[[Any], None]:
        def host(stream: Any) -> None:
            run(self._now)

        return host


def _launcher(graph: Any) -> Callable[[Any], None]:
    def launch(stream: Any) -> None:
        graph.launch(stream)

    return launch

"""A context: the state of one execution of an engine. It owns the arena; an engine has as many contexts as run at
one time."""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from trtn.backend.devices.cpu import CPU
from trtn.backend.plan.storage import Place
from trtn.backend.runtime.io import check_sizes, fit_feeds, pick_profile, refuse, sizes_of
from trtn.backend.runtime.schedule import Schedule
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.dims import evaluate
from trtn.dsl.errors import EngineError, ShapeError, TrtnError
from trtn.dsl.network import Profile, Tensor

if TYPE_CHECKING:
    from trtn.backend.runtime.engine import Engine

__all__ = ["Context"]

T = TypeVar("T")
STAGED = 1 << 18
"""Bytes of an input or output of which a copy is cheaper than binding steps to it."""
SCHEDULE_LIMIT = 32
"""For how many recent shapes the bound steps are kept."""


class Context:
    """Runs an engine. Not for several threads at once: each thread takes a context of its own.

    `run` takes and gives NumPy arrays. With `bind`, inputs are read from and outputs written to the caller's buffers by
    `execute_async` (which, on the CPU, returns when the work is done).
    """

    def __init__(self, engine: Engine, profile: str | None = None) -> None:
        self.engine = engine
        self.wanted = profile
        self._schedules: OrderedDict[tuple[tuple[int, ...], ...], Schedule] = OrderedDict()
        self._last: Schedule | None = None
        """The one of the last run: the same shapes have the same profile, unless that depends on the feeds' values."""
        self._by_values = any(p.values for p in engine.profiles)
        self._memory: Any = None
        self._exclusive = _Exclusive()
        self._bound: dict[str, Any] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.profile: Profile | None = None
        """The profile of the last shapes."""

    @property
    def memory(self) -> int:
        """Bytes of arena and workspace that the context holds."""
        return 0 if self._memory is None else int(self._memory.nbytes)

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name for feeds by name. The outputs are the caller's: nothing writes to them later.

        Raises ShapeError for feeds that don't fit, or that no profile serves.
        """
        with self._exclusive:
            arrays = fit_feeds(self.engine.network, feeds, self.engine.hardware)
            return self._run(arrays, {})

    def warm(self, shapes: Mapping[str, Sequence[int]] | Sequence[Mapping[str, Sequence[int]]]) -> None:
        """Prepare for input shapes ahead of their first run: kernels, memory, and on a GPU recorded graphs.

        shapes: one or several; input names to shapes. Inputs whose shape is fixed may be left out. Up to 32 are kept.
        Raises ShapeError for shapes that no profile serves.
        """
        listed = [shapes] if isinstance(shapes, Mapping) else list(shapes)
        with self._exclusive:
            blanks = [self._blank(each) for each in listed]
            blanks.sort(key=lambda arrays: -sum(a.nbytes for a in arrays.values()))
            for arrays in (*blanks, *blanks):  # where the memory has grown, those before are prepared once more
                self._guarded(partial(self._warm, arrays))

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """State an input's shape ahead of a run, so that `output_shape` can tell what comes."""
        tensor = self._io(name, self.engine.network.inputs)
        try:
            sizes = tuple(operator.index(s) for s in shape)
        except TypeError:
            raise refuse("E0705", f"the shape of input `{name}` is a tuple of integers, not {shape!r}") from None
        if len(sizes) != len(tensor.shape) or any(s < 0 for s in sizes):
            raise refuse("E0705", f"input `{name}` is {tensor.type}; the shape {list(sizes)} does not fit")
        self._shapes[name] = sizes

    def output_shape(self, name: str) -> tuple[int, ...]:
        """An output's shape for the input shapes that were stated or bound. Sizes that only the data decides raise
        ShapeError."""
        tensor = self._io(name, self.engine.network.outputs)
        missing = [
            t.name
            for t in self.engine.network.inputs
            if t.name not in self._shapes and any(not isinstance(d, int) for d in t.shape)
        ]
        if missing:
            raise refuse("E0705", f"the shape of input `{missing[0]}` has not been set")
        shapes = {
            t.name: self._shapes.get(t.name) or tuple(int(d) for d in t.shape if isinstance(d, int))
            for t in self.engine.network.inputs
        }
        sizes = sizes_of(self.engine.network, shapes)
        check_sizes(self.engine.network, sizes)
        try:
            return tuple(evaluate(d, sizes) for d in tensor.shape)
        except ValueError:
            raise refuse("E0705", f"the shape of `{name}` ({tensor.type}) is known only after a run") from None

    def bind(self, buffers: Mapping[str, Any]) -> None:
        """Buffers of inputs and outputs for `execute_async`: C-contiguous arrays of the declared dtypes; outputs are
        written in place."""
        network, device = self.engine.network, self.engine.hardware
        if not isinstance(buffers, Mapping):
            raise refuse("E0705", f"buffers are arrays by name, not {type(buffers).__name__}")
        bound = dict(self._bound)
        for name, buffer in buffers.items():
            tensor = self._io(name, (*network.inputs, *network.outputs))
            buffer = device.adopt(buffer)
            if not device.owns(buffer) or buffer.dtype != tensor.dtype.numpy or not buffer.flags.c_contiguous:
                kind = "NumPy" if device.name == "cpu" else "CuPy"
                raise refuse("E0705", f"the buffer of `{name}` must be a C-contiguous {kind} array of {tensor.dtype}")
            if buffer.ndim != len(tensor.shape):
                raise refuse("E0705", f"`{name}` is {tensor.type}; its buffer has rank {buffer.ndim}")
            if tensor in network.outputs and device.name == "cpu" and not buffer.flags.writeable:
                raise refuse("E0705", f"the buffer of output `{name}` is read-only")
            bound[name] = buffer
        for t in network.outputs:
            for name, other in bound.items():
                if t.name in bound and name != t.name and device.xp.may_share_memory(bound[t.name], other):
                    raise refuse("E0705", f"the buffers of output `{t.name}` and of `{name}` share memory")
        self._bound = bound
        self._shapes.update({t.name: bound[t.name].shape for t in network.inputs if t.name in buffers})

    def execute_async(self, stream: Any = None) -> None:
        """Run on the bound buffers. On the CPU it has finished when it returns; `stream` is for GPUs."""
        with self._exclusive:
            network = self.engine.network
            missing = [t.name for t in (*network.inputs, *network.outputs) if t.name not in self._bound]
            if missing:
                raise refuse("E0705", f"`{missing[0]}` has no buffer", cure="bind every input and output first")
            self._run(
                {t.name: self._bound[t.name] for t in network.inputs},
                {t.name: self._bound[t.name] for t in network.outputs},
            )

    # --- inside ---

    def _warm(self, arrays: Mapping[str, Any]) -> None:
        self._schedule(arrays)

    def _blank(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """Feeds of the given shapes without meaning: zeros, and for inputs that are read as shapes a profile's values."""
        network = self.engine.network
        for name in shapes:
            self._io(name, network.inputs)
        feeds = {}
        for t in network.inputs:
            shape = tuple(shapes.get(t.name, t.shape))
            if len(shape) != len(t.shape) or not all(isinstance(d, int) and d >= 0 for d in shape):
                raise refuse("E0705", f"input `{t.name}` is {t.type}; the shape {list(map(str, shape))} does not fit")
            feeds[t.name] = self.engine.hardware.xp.zeros(shape, t.dtype.numpy)
        for profile in self.engine.profiles[:1]:
            for name, ranges in profile.values.items():
                feeds[name].reshape(-1)[:] = self.engine.hardware.xp.asarray([r.optimum for r in ranges])
        return feeds

    def _io(self, name: str, tensors: tuple[Tensor, ...]) -> Tensor:
        for t in tensors:
            if t.name == name:
                return t
        raise refuse(
            "E0705",
            f"the engine has no `{name}` here",
            cure=f"there are {', '.join(f'`{t.name}`' for t in tensors)}",
        )

    def _schedule(self, arrays: Mapping[str, Any]) -> Schedule:
        network = self.engine.network
        key = tuple(arrays[t.name].shape for t in network.inputs)
        found = self._schedules.get(key)
        if found is not None:
            self._schedules.move_to_end(key)
            if found is not self._last or self._by_values:
                self.profile = pick_profile(self.engine.profiles, found.sizes, arrays, self.wanted)
                self._last = found
            return found
        sizes = sizes_of(network, {name: a.shape for name, a in arrays.items()})
        check_sizes(network, sizes)
        self.profile = pick_profile(self.engine.profiles, sizes, arrays, self.wanted)
        engine = self.engine
        kernels = engine.kernels.at(sizes)
        schedule = Schedule(
            network,
            engine.groups,
            kernels,
            engine.storage,
            engine.weight_arrays.for_kernels(kernels),
            sizes,
            engine.hardware.xp,
            staging=STAGED if engine.device == "cpu" else 0,
            spread=engine.hardware.spread if isinstance(engine.hardware, CPU) else None,
        )
        self._reserve(schedule.nbytes)
        schedule.attach(self._memory)
        self._schedules[key] = self._last = schedule
        while len(self._schedules) > SCHEDULE_LIMIT:
            self._schedules.popitem(last=False)
        return schedule

    def _reserve(self, nbytes: int) -> None:
        """An arena of at least `nbytes`. A larger one replaces the old; what was bound to that is bound anew when it
        is needed."""
        if self._memory is not None and self._memory.nbytes >= nbytes:
            return
        self._schedules.clear()
        self._last = None
        self._memory = None  # the old one goes before the new one comes
        try:
            self._memory = self.engine.hardware.arena(nbytes)
        except MemoryError:
            message = f"out of memory: the arena needs {nbytes} bytes for these shapes"
            raise ShapeError(message, [Diagnostic("E0709", message)]) from None

    def _run(self, arrays: Mapping[str, Any], into: Mapping[str, Any]) -> dict[str, Any]:
        return self._guarded(lambda: self._execute(arrays, into))

    def _guarded(self, work: Callable[[], T]) -> T:
        """What goes wrong in a run, as errors that a caller knows."""
        try:
            with self.engine.hardware.running(**self.engine.steps_by):
                return work()
        except TrtnError:
            raise
        except MemoryError:
            message = "out of memory during the run; the context can be used again"
            raise ShapeError(message, [Diagnostic("E0709", message)]) from None
        except (ValueError, TypeError, IndexError, ArithmeticError) as e:
            message = f"a layer can't be evaluated for these values: {type(e).__name__}: {e}"
            raise EngineError(message, [Diagnostic("E0701", message)]) from e

    def _execute(self, arrays: Mapping[str, Any], into: Mapping[str, Any]) -> dict[str, Any]:
        engine = self.engine
        schedule = self._schedule(arrays)
        table: dict[int, Any] = {id(t): arrays[t.name] for t in engine.network.inputs}
        for t, shape, dtype in schedule.outputs:
            target = into.get(t.name)
            if target is None:
                target = engine.hardware.empty(shape, dtype)
            elif target.shape != shape:
                raise refuse(
                    "E0705",
                    f"the buffer of `{t.name}` has shape {list(target.shape)}; it is {list(shape)} for these inputs",
                )
            table[id(t)] = target
        with np.errstate(all="ignore"):  # overflow to inf and nan is a layer's business, not news
            schedule.run(table)
        return {t.name: self._result(t, table, into) for t in engine.network.outputs}

    def _result(self, tensor: Tensor, table: Mapping[int, Any], into: Mapping[str, Any]) -> Any:
        """An output's array. Outputs that are inputs, weights or dynamic values are copied, so that the caller owns
        them."""
        array = table[id(tensor)]
        if self.engine.storage.places.get(id(tensor)) is Place.OUTPUT:
            return array
        target = into.get(tensor.name)
        if target is None:
            return array.copy()
        if target.shape != array.shape:
            raise refuse(
                "E0705",
                f"the buffer of `{tensor.name}` has shape {list(target.shape)}; the result has {list(array.shape)}",
            )
        target[...] = array
        return target


class _Exclusive:
    """Holds a context for one run; a second thread is told instead of being let in."""

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __enter__(self) -> None:
        if not self.lock.acquire(blocking=False):
            message = "the context is running on another thread; every thread needs a context of its own"
            raise EngineError(message, [Diagnostic("E0705", message)])

    def __exit__(self, *_: object) -> None:
        self.lock.release()

"""A program: the few primitives that run one problem, over its inputs, outputs, packed weights and scratch memory.

Families write programs; `Program.bind` turns one into a call for arrays at fixed addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from trtn.backend.blocking import Blocking
from trtn.backend.devices import Device
from trtn.backend.devices.openmp import set_threads, threads
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch
from trtn.backend.providers.onednn.enums import DATA_TYPES, Arg
from trtn.backend.providers.onednn.library import engine
from trtn.backend.providers.onednn.memory import Memory, MemoryDesc
from trtn.backend.providers.onednn.primitive import Primitive
from trtn.backend.providers.onednn.work import is_small
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Tensor
from trtn.dsl.records import record

__all__ = ["Lookup", "Program", "Unfit", "Value"]

ALIGNMENT = 64


class Unfit(Exception):
    """A problem that a family has no program for; the message says why."""


@record()
class Value:
    """Bytes that a primitive reads or writes: of `inputs + outputs` number `array` (packed where `packed`), of an array
    that the program holds, or of the scratch memory from `offset` on."""

    desc: MemoryDesc
    array: int = -1
    offset: int = 0
    packed: str = ""
    held: Any = None

    def seen_as(self, desc: MemoryDesc) -> Value:
        """The same bytes under another shape or other strides."""
        return replace(self, desc=desc)


Lookup = Callable[[Value], Any]


@record()
class _Step:
    primitive: Primitive
    operands: Mapping[int, Value]


@record()
class _Packing:
    """How a weight gets into another form: a reorder from the array as it is, or as `first` has made it."""

    source: MemoryDesc
    target: MemoryDesc
    reorder: Primitive
    first: Callable[[Any], Any] | None = None
    blocking: Blocking | None = None

    def run(self, device: Device, array: Any) -> Any:
        import numpy as np

        if self.first is not None:
            array = np.ascontiguousarray(self.first(array))
        packed = device.room(self.target.nbytes)
        memories = {
            int(Arg.SRC): Memory(self.source, _address(array)),
            int(Arg.DST): Memory(self.target, _address(packed)),
        }
        scratch = self.reorder.memory_desc(Arg.SCRATCHPAD)
        spare = device.arena(scratch.nbytes)
        if scratch.nbytes:
            memories[int(Arg.SCRATCHPAD)] = Memory(scratch, _address(spare))
        self.reorder.bind(memories)()
        return packed


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


class Program:
    """Written once by a family, immutable afterwards, shared by all contexts: a `Prepared`."""

    def __init__(self, problem: Problem, device: Device) -> None:
        self.problem = problem
        self.workspace = 0
        """Bytes of scratch memory: values between the steps, and the primitives' own."""
        self.is_favourite = False
        """Whether the family guesses that it is faster than its other programs for the problem."""
        self.alone = is_small(problem)
        """Whether the calling thread makes and runs the primitives by itself: threads that would have to meet take
        longer than the work."""
        self._device = device
        self._steps: list[_Step | Callable[[Lookup], Launch]] = []
        self._packings: dict[tuple[int, str], _Packing] = {}
        self._index = {id(t): n for n, t in enumerate((*problem.group.inputs, *problem.group.outputs))}

    def __len__(self) -> int:
        """How many calls it takes."""
        return len(self._steps)

    @property
    def blockings(self) -> Mapping[int, Blocking]:
        """The constants that all steps read in one other order, by number."""
        if not all(isinstance(step, _Step) for step in self._steps):
            return {}
        values = [v for step in self._steps if isinstance(step, _Step) for v in step.operands.values()]
        forms = {v.array: {w.packed for w in values if w.array == v.array} for v in values if v.packed}
        return {
            number: packing.blocking
            for (number, form), packing in self._packings.items()
            if packing.blocking is not None and forms.get(number) == {form}
        }

    # --- values ---

    def value(self, tensor: Tensor) -> Value:
        """One of the group's inputs or outputs, as it lies in memory. Raises Unfit."""
        number = self._index[id(tensor)]
        layout = (*self.problem.inputs, *self.problem.outputs)[number]
        if layout.dtype.name not in DATA_TYPES:
            raise Unfit(f"oneDNN has no {layout.dtype}")
        if layout.size == 0:
            raise Unfit(f"`{tensor.name}` is empty")
        if any(s < 0 for s in layout.strides) or _overlaps(layout.shape, layout.strides):
            raise Unfit(f"`{tensor.name}` has strides {list(layout.strides)}")
        shape, strides = layout.shape or (1,), layout.strides or (1,)
        return Value(MemoryDesc.strided(shape, layout.dtype.name, strides), number)

    def array(self, tensor: Tensor) -> Value:
        """One of the group's inputs or outputs, of any dtype, for a step in Python."""
        return Value(MemoryDesc.dense((1,), "f32"), self._index[id(tensor)])

    def scratch(self, desc: MemoryDesc) -> Value:
        """Memory that lasts for one run of the program."""
        start = self.workspace
        self.workspace += -(-desc.nbytes // ALIGNMENT) * ALIGNMENT
        return Value(desc, offset=start)

    def constant(self, array: Any) -> Value:
        """A C-contiguous f32 array that the program keeps."""
        return Value(MemoryDesc.dense(array.shape, "f32"), held=array)

    def arranged(self, value: Value, wanted: MemoryDesc) -> Value:
        """The value in the form `wanted`: a constant is packed once for the engine, anything else in each run."""
        if value.desc == wanted:
            return value.seen_as(wanted)
        if value.array >= 0 and value.array < len(self.problem.inputs) and self.problem.inputs[value.array].constant:
            blocking = value.desc.blocking(wanted)
            form = f"onednn:{value.desc.text}>{wanted.text}" if blocking is None else str(blocking)
            if (value.array, form) not in self._packings:
                reorder = Primitive("reorder", *_both(value.desc, wanted), reference=True)
                self._packings[value.array, form] = _Packing(value.desc, wanted, reorder, blocking=blocking)
            return replace(value, desc=wanted, packed=form)
        target = self.scratch(wanted)
        self.copy(value, target)
        return target

    def packed(
        self, tensor: Tensor, name: str, first: Callable[[Any], Any], source: MemoryDesc, wanted: MemoryDesc
    ) -> Value:
        """A constant that a function, known by its name, turns into the dense array `source`, in the form `wanted`.
        Raises Unfit."""
        number = self._index[id(tensor)]
        if tensor.weight is None:
            raise Unfit(f"`{tensor.name}` is not a constant")
        form = f"onednn:{name}:{source.text}>{wanted.text}"
        reorder = Primitive("reorder", *_both(source, wanted), reference=True)
        self._packings[number, form] = _Packing(source, wanted, reorder, first)
        return Value(wanted, number, packed=form)

    # --- steps ---

    def step(self, primitive: Primitive, operands: Mapping[Arg, Value] | Mapping[int, Value]) -> None:
        """Run a primitive; its operands must be in the forms that it asks for."""
        taken = {int(arg): value for arg, value in operands.items()}
        scratch = primitive.memory_desc(Arg.SCRATCHPAD)
        if scratch.nbytes:
            taken[int(Arg.SCRATCHPAD)] = self.scratch(scratch)
        self._steps.append(_Step(primitive, taken))

    def copy(self, source: Value, target: Value) -> None:
        self.step(
            Primitive("reorder", *_both(source.desc, target.desc), reference=True),
            {Arg.SRC: source, Arg.DST: target},
        )

    def python(self, make: Callable[[Lookup], Launch]) -> None:
        """A step that is not a primitive: `make` gets what finds a value's array, and gives the call."""
        self._steps.append(make)

    # --- binding ---

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        import numpy as np

        arrays = (*inputs, *outputs)
        addresses = [_address(a) for a in arrays]
        base = _address(workspace) if self.workspace else 0
        held: list[Any] = [arrays, workspace]

        def lookup(value: Value) -> Any:
            if value.held is not None:
                return value.held
            if value.array >= 0:
                return arrays[value.array]
            assert value.desc.strides is not None
            dtype = BY_NAME[value.desc.dtype].numpy
            flat = workspace[value.offset : value.offset + value.desc.nbytes].view(dtype)
            steps = [s * dtype.itemsize for s in value.desc.strides]
            return np.lib.stride_tricks.as_strided(flat, value.desc.shape, steps)

        def memory(value: Value) -> Memory:
            if value.held is not None:
                return Memory(value.desc, _address(value.held))
            if value.array < 0:
                return Memory(value.desc, base + value.offset)
            if not value.packed:
                return Memory(value.desc, addresses[value.array] + value.offset)
            packing = self._packings[value.array, value.packed]
            packed = self._device.packed(arrays[value.array], value.packed, partial(packing.run, self._device))
            held.append(packed)
            return Memory(value.desc, _address(packed))

        calls: list[Launch] = []
        for step in self._steps:
            if isinstance(step, _Step):
                calls.append(step.primitive.bind({arg: memory(v) for arg, v in step.operands.items()}))
            else:
                calls.append(step(lookup))
        launch = _sequence(calls, held)
        return _by_one_thread(launch) if self.alone else launch


def _both(source: MemoryDesc, target: MemoryDesc) -> tuple[Any, ...]:
    return source, engine(), target, engine()


def _overlaps(shape: Sequence[int], strides: Sequence[int]) -> bool:
    return any(s == 0 and d > 1 for d, s in zip(shape, strides, strict=True))


def _sequence(calls: Sequence[Launch], held: Sequence[Any]) -> Launch:
    """The calls one after another. `held` is what their addresses point into."""
    if len(calls) == 1:
        only = calls[0]
        only.held = held  # type: ignore[attr-defined]
        return only

    def launch() -> None:
        for call in calls:
            call()

    launch.held = held  # type: ignore[attr-defined]
    if all(hasattr(call, "calls") for call in calls):
        launch.calls = [made for call in calls for made in call.calls]  # type: ignore[attr-defined]
    return launch


def _by_one_thread(launch: Launch) -> Launch:
    def alone() -> None:
        usual = threads()
        set_threads(1)
        try:
            launch()
        finally:
            set_threads(usual)

    alone.held = launch  # type: ignore[attr-defined]
    if hasattr(launch, "calls"):
        alone.calls = [call._replace(alone=True) for call in launch.calls]  # type: ignore[attr-defined]
    return alone

"""Control flow whose bodies are planned like networks: groups, kernels of the other providers, one arena."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from trtn.backend.binaries import BinaryKey
from trtn.backend.demands import check_guards
from trtn.backend.devices import Device
from trtn.backend.devices.recording import recorded
from trtn.backend.evaluate import resolve_attr
from trtn.backend.fusion import partition_graph
from trtn.backend.group import Group
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.plan.layout import plan_orders
from trtn.backend.plan.storage import Place, StoragePlan, plan_storage
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch, Prepared, Tactic, TacticError, binaries_of, discover
from trtn.dsl.dims import DimError, evaluate
from trtn.dsl.errors import ShapeError
from trtn.dsl.network import Graph, Layer, Network, Tensor, captures

__all__ = ["PROVIDER", "ControlFlowProvider"]

PLANNED = Tactic("planned", numerics="reassociated")
GRAIN = 256
"""What buffers of the workspace start at multiples of, in bytes."""
KINDS = ("cpu", "cuda")


class ControlFlowProvider:
    """Runs `if`, `scan` and `loop` over bodies that are bound once: an iteration copies slices and states, and runs the
    body's kernels. Each of a body's groups takes the first tactic of the most specialised provider that has one."""

    name = "control_flow"
    after: frozenset[str] = frozenset({"reference"})
    devices = frozenset(KINDS)
    is_reference = False

    def unavailable(self, device: str) -> str | None:
        return None if device.partition(":")[0] in KINDS else f"bodies are planned for {' and '.join(KINDS)}"

    def version(self) -> str:
        return "1"

    def refusal(self, group: Group) -> str:
        return "" if group.kind == "region" else "it has no bodies"

    def tactics(self, problem: Problem, device: Device, effort: int = 3) -> Sequence[Tactic]:
        return () if self.refusal(problem.group) else (PLANNED,)

    def prepare(self, problem: Problem, tactic: Tactic, device: Device) -> _Region:
        if tactic.name != PLANNED.name or self.refusal(problem.group):
            raise TacticError(f"there is no tactic `{tactic.name}` for {problem.group.kind} groups")
        return _Region(problem, device)


PROVIDER = ControlFlowProvider()


@dataclass(frozen=True, slots=True)
class _Body:
    """A body at known sizes. `objection` is what a guard says of them; then the body must not run."""

    graph: Graph
    network: Network
    groups: Sequence[Group]
    kernels: Sequence[Prepared | None]
    storage: StoragePlan
    nbytes: int
    objection: ShapeError | None


def _plan(graph: Graph, layer: Layer, problem: Problem, device: Device) -> _Body:
    """Raises TacticError."""
    from trtn.backend.runtime.schedule import Schedule

    sizes = problem.sizes
    objection = None
    try:
        check_guards(graph.guards, sizes)
    except ShapeError as e:
        objection = e
    network = Network(layer.name, Graph((*graph.inputs, *captures(layer)), graph.outputs, graph.layers))
    groups = partition_graph(graph, device=device.name)
    storage = plan_storage(network, groups, plan_orders(groups))
    try:
        problems = plan_problems(network, groups, storage, sizes, device.alignment)
    except (DimError, ValueError, MemoryError) as e:  # a body that does not run for these sizes
        raise TacticError(f"a body has no sizes here: {e}") from None
    kernels = [None if p is None else _kernel(p, device) for p in problems]
    nbytes = Schedule(network, groups, kernels, storage, {}, dict(sizes), device.xp).nbytes
    return _Body(graph, network, groups, kernels, storage, nbytes, objection)


def _kernel(problem: Problem, device: Device) -> Prepared:
    kind = device.name.partition(":")[0]
    for provider in reversed(discover()):
        if kind not in provider.devices or provider.unavailable(device.name) or provider.refusal(problem.group):
            continue
        for tactic in provider.tactics(problem, device):
            if tactic.numerics == "reduced":
                continue  # nobody is here to ask whether it may be
            try:
                return provider.prepare(problem, tactic, device)
            except TacticError:
                continue
    raise TacticError(f"nothing runs {problem}")


class _Region:
    """A layer of control flow at known sizes. The workspace holds what goes into and comes out of a body, then its
    arena; the bodies of an `if` share it."""

    def __init__(self, problem: Problem, device: Device) -> None:
        self.problem = problem
        self.device = device
        self.layer = problem.group.layers[0]
        if any(t is None for t in self.layer.inputs[0 if self.layer.op.name != "loop" else 2 :]):
            raise TacticError("values that are not there")
        self.bodies = [_plan(graph, self.layer, problem, device) for graph in self.layer.regions]
        self.workspace = max(_Rooms(self, body).nbytes + body.nbytes for body in self.bodies)

    def is_plain(self, tensor: Tensor) -> bool:
        """Whether a tensor's array lies dense, where the device would have put it."""
        layout = self.problem.layout(tensor)
        return layout.is_contiguous and layout.align >= min(self.device.alignment, 16)

    def binaries(self) -> Mapping[BinaryKey, bytes]:
        return binaries_of(kernel for body in self.bodies for kernel in body.kernels if kernel is not None)

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        group = self.problem.group
        arrays = dict(zip((id(t) for t in (*group.inputs, *group.outputs)), (*inputs, *outputs), strict=True))
        bound = [_Bound(self, body, arrays, workspace) for body in self.bodies]
        return _LAUNCHES[self.layer.op.name](self, bound, arrays)


class _Rooms:
    """Where buffers lie in the workspace: of a body's inputs, of its results, and of outer values that don't lie as its
    plan takes for granted."""

    def __init__(self, region: _Region, body: _Body) -> None:
        self.nbytes = 0
        problem = region.problem
        read = (*captures(region.layer), *body.network.weights)
        self.inputs = [self._room(t, problem.sizes) for t in body.graph.inputs]
        self.outputs = [self._room(t, problem.sizes) for t in body.graph.outputs]
        self.dense = {id(t): self._room(t, problem.sizes) for t in read if not region.is_plain(t)}

    def _room(self, tensor: Tensor, sizes: Mapping[str, int]) -> Callable[[Any], Any]:
        shape = tuple(evaluate(d, sizes) for d in tensor.shape)
        start = self.nbytes
        end = start + prod(shape) * tensor.dtype.itemsize
        self.nbytes += -(-(end - start) // GRAIN) * GRAIN
        return lambda memory: memory[start:end].view(tensor.dtype.numpy).reshape(shape)


class _Bound:
    """A body bound to addresses: `inputs` are filled before `run`, which fills `outputs`."""

    def __init__(self, region: _Region, body: _Body, arrays: Mapping[int, Any], workspace: Any) -> None:
        from trtn.backend.runtime.schedule import Schedule

        rooms = _Rooms(region, body)
        self._objection = body.objection
        self.inputs = [room(workspace) for room in rooms.inputs]
        self.outputs = [room(workspace) for room in rooms.outputs]
        targets = region.layer.outputs if region.layer.op.name == "if" else ()
        for n, t in enumerate(targets):
            target = arrays.get(id(t))
            if target is not None and region.is_plain(t):
                self.outputs[n] = target
        table = {id(t): a for t, a in zip(body.graph.inputs, self.inputs, strict=True)}
        self._before: list[tuple[Any, Any]] = []
        for t in (*captures(region.layer), *body.network.weights):
            array = arrays[id(t)]
            if id(t) in rooms.dense:
                dense = rooms.dense[id(t)](workspace)
                self._before.append((dense, array))
                array = dense
            table[id(t)] = array
        written: set[int] = set()
        copied = []
        for t, array in zip(body.graph.outputs, self.outputs, strict=True):
            if body.storage.places.get(id(t)) is Place.OUTPUT and id(t) not in written:
                table[id(t)] = array
                written.add(id(t))
            else:
                copied.append((array, t))
        schedule = Schedule(
            body.network, body.groups, body.kernels, body.storage, table, dict(region.problem.sizes), region.device.xp
        )
        schedule.attach(workspace[rooms.nbytes :])
        self._steps = schedule.launches()
        self._after = [(array, schedule.fixed[id(t)]) for array, t in copied]
        for n, t in enumerate(targets):
            target = arrays.get(id(t))
            if target is not None and target is not self.outputs[n]:
                self._after.append((target, self.outputs[n]))

    def run(self) -> None:
        if self._objection is not None:
            raise self._objection
        for target, source in self._before:
            target[...] = source
        self._steps()
        for target, source in self._after:
            target[...] = source


def _if(region: _Region, bound: Sequence[_Bound], arrays: Mapping[int, Any]) -> Launch:
    condition = arrays[id(region.layer.inputs[0])].reshape(-1)
    xp = region.device.xp
    # A GPU's condition is read by the host, so that the bodies are in no graph but their own.
    then, otherwise = (body.run if xp is np else recorded(body.run, xp) for body in bound)

    def launch() -> None:
        then() if condition[0] else otherwise()

    return launch


def _scan(region: _Region, bound: Sequence[_Bound], arrays: Mapping[int, Any]) -> Launch:
    (body,) = bound
    layer, attrs = region.layer, region.layer.attrs
    carried = attrs["carried"]
    values = [arrays[id(t)] for t in layer.inputs]
    cut = [
        np.moveaxis(x, axis, 0)[:: -1 if back else 1]
        for x, axis, back in zip(values[carried:], attrs["axes"], attrs["reverse"], strict=True)
    ]
    stacked = [
        (np.moveaxis(arrays[id(t)], axis, 0)[:: -1 if back else 1], result)
        for t, result, axis, back in zip(
            layer.outputs[carried:], body.outputs[carried:], attrs["out_axes"], attrs["out_reverse"], strict=True
        )
        if id(t) in arrays
    ]
    states = list(zip(body.inputs[:carried], body.outputs[:carried], values[:carried], strict=True))
    slices = list(zip(body.inputs[carried:], cut, strict=True))
    finals = [
        (arrays[id(t)], s) for t, (s, _, _) in zip(layer.outputs[:carried], states, strict=True) if id(t) in arrays
    ]
    steps = len(cut[0])

    def launch() -> None:
        for state, _, first in states:
            state[...] = first
        for step in range(steps):
            for target, source in slices:
                target[...] = source[step]
            body.run()
            for state, new, _ in states:
                state[...] = new
            for rows, row in stacked:
                rows[step] = row
        for target, state in finals:
            target[...] = state

    return launch


def _loop(region: _Region, bound: Sequence[_Bound], arrays: Mapping[int, Any]) -> Launch:
    (body,) = bound
    layer = region.layer
    limit, condition, *values = (None if t is None else arrays[id(t)] for t in layer.inputs)
    maximum = resolve_attr(layer.attrs["maximum"], region.problem.sizes)
    number, *states = body.inputs
    go, *results = body.outputs
    carried = len(values)
    states = list(zip(states, results[:carried], values, strict=True))
    finals = [
        (arrays[id(t)], s) for t, (s, _, _) in zip(layer.outputs[:carried], states, strict=True) if id(t) in arrays
    ]
    stacked = [
        (arrays[id(t)], result)
        for t, result in zip(layer.outputs[carried:], results[carried:], strict=True)
        if id(t) in arrays
    ]

    def launch() -> None:
        trips = maximum if limit is None else min(maximum, int(limit.reshape(-1)[0]))
        going = condition is None or bool(condition.reshape(-1)[0])
        for state, _, first in states:
            state[...] = first
        step = 0
        while going and step < trips:
            number[...] = step
            body.run()
            for state, new, _ in states:
                state[...] = new
            for rows, row in stacked:
                rows[step] = row
            going = condition is None or bool(go.reshape(-1)[0])
            step += 1
        for target, state in finals:
            target[...] = state

    return launch


_LAUNCHES = {"if": _if, "loop": _loop, "scan": _scan}

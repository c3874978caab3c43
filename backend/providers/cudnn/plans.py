"""cuDNN's plans as tactics, and as kernels: built here, by other processes, or read back from the user's cache.

A tactic is called after the graph's form, cuDNN's engine and its knobs: `matmul:e12,SPLIT_K=2,TILE_SIZE=5`.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import prod
from typing import Any

from trtn.backend.binaries import BinaryKey
from trtn.backend.devices import Device
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch, TacticError
from trtn.backend.providers.cudnn.builders import FEWEST, Job, Pool
from trtn.backend.providers.cudnn.graphs import Graph, graph_of
from trtn.backend.providers.cudnn.library import CudnnError, Plan, build_plan, list_plans, read_plan
from trtn.backend.providers.cudnn.spec import GraphSpec, PlanName

__all__ = ["CudnnKernel", "PlanMaker", "tactic_names"]

_log = logging.getLogger(__name__)

GRAIN = 256


def tactic_names(problem: Problem, form: str) -> list[str]:
    """The tactics of a problem in a form, cuDNN's best guess first. Raises TacticError where it has none."""
    try:
        return [f"{form}:{name}" for name in list_plans(graph_of(problem, form).spec, _stream())]
    except CudnnError as e:
        raise TacticError(str(e)) from None


class PlanMaker:
    """Makes kernels of tactics' names. Plans that were announced are built ahead, by other processes."""

    def __init__(self) -> None:
        self._pools: list[Pool] = []

    def announce(self, wanted: Sequence[tuple[Problem, str]], device: Device) -> None:
        """Begin to build what will be asked for, where it is enough to be worth it."""
        jobs: list[Job] = []
        for problem, tactic in wanted:
            try:
                graph, name = _parse(problem, tactic)
            except TacticError:
                continue
            if device.binaries.find(_key(graph.spec, name, device)) is None:
                jobs.append((graph.spec, name))
        for pool in self._pools:
            pool.cancel()
        self._pools = [Pool(jobs)] if len(jobs) >= FEWEST else []

    def make(self, problem: Problem, tactic: str, device: Device) -> CudnnKernel:
        """The kernel of a tactic. Raises TacticError where cuDNN does not build it."""
        graph, name = _parse(problem, tactic)
        key, stream = _key(graph.spec, name, device), _stream()
        try:
            data = device.binaries.find(key) or self._from_pools((graph.spec, name))
            plan = _read(data, stream)
            again = None if plan is None else partial(build_plan, graph.spec, name)
            plan = plan or build_plan(graph.spec, name, stream)
        except CudnnError as e:
            raise TacticError(str(e)) from None
        return CudnnKernel(graph, plan, device, key, None if again is None else data, again)

    def _from_pools(self, job: Job) -> bytes | None:
        return next((data for pool in self._pools if (data := pool.result(job)) is not None), None)


class CudnnKernel:
    """A built plan. `data` are its bytes where they are there, `key` what they are kept under; `again` builds it on a
    stream, for the case that one that was read back does not run."""

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        device: Device,
        key: BinaryKey,
        data: bytes | None,
        again: Callable[[int], Plan] | None,
    ) -> None:
        self._graph = graph
        self._plan = plan
        self._device = device
        self._key = key
        self._data = data
        self._again = again
        self._lock = threading.Lock()
        self._scratch = -(-plan.workspace // GRAIN) * GRAIN
        self.workspace = self._scratch
        if graph.mask is not None:
            self.workspace += prod(graph.mask.shape) * 2

    def binaries(self) -> Mapping[BinaryKey, bytes]:
        try:
            self._data = self._data or self._plan.write()
        except CudnnError as e:
            _log.debug("a plan can't be kept: %s", e)
            return {}
        return {self._key: self._data}

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        graph = self._graph
        arrays = [*inputs, *outputs]
        held = {uid: arrays[number] for uid, number in graph.arguments.items()}
        for uid, (form, pack) in graph.packs.items():
            held[uid] = self._device.packed(held[uid], form, pack)
        write = None
        if graph.mask is not None:
            target = workspace[self._scratch : self.workspace].view(outputs[0].dtype).reshape(graph.mask.shape)
            write = _MaskWriter(self._device.xp.broadcast_to(arrays[graph.mask.number], graph.mask.shape), target)
            held[graph.mask.uid] = target
        pointers = {uid: int(array.data.ptr) for uid, array in held.items()}
        scratch = int(workspace.data.ptr) if workspace is not None else 0

        def launch() -> None:
            assert held  # the arrays, whose addresses these are
            if write is not None:
                write()
            with self._lock:
                self._execute(pointers, scratch, _stream())

        return launch

    def _execute(self, pointers: dict[int, int], scratch: int, stream: int) -> None:
        again, self._again = self._again, None
        try:
            self._plan.execute(pointers, scratch, stream)
        except RuntimeError as e:
            if again is None:
                raise
            _log.info("a plan that was read back does not run, it is built again: %s", e)
            self._plan, self._data = again(stream), None
            self._plan.execute(pointers, scratch, stream)


class _MaskWriter:
    """Writes a mask out in full: one of what to keep becomes what is to be added."""

    def __init__(self, source: Any, target: Any) -> None:
        self._source = source
        self._target = target

    def __call__(self) -> None:
        if self._source.dtype == bool:
            _additive()(self._source, self._target)
        else:
            self._target[...] = self._source


@cache
def _additive() -> Any:
    import cupy

    # NVRTC knows no INFINITY: its bits.
    written = "bias = T(keep ? 0.0f : __int_as_float(0xff800000))"
    return cupy.ElementwiseKernel("bool keep", "T bias", written, "trtn_mask")


def _read(data: bytes | None, stream: int) -> Plan | None:
    """A plan that was built elsewhere, None where it can't be used here."""
    if data is None:
        return None
    try:
        return read_plan(data, stream)
    except CudnnError as e:
        _log.info("a plan that was built elsewhere is built again: %s", e)
        return None


def _parse(problem: Problem, tactic: str) -> tuple[Graph, PlanName]:
    """The graph and the plan that a tactic names. Raises TacticError."""
    form, _, plan = tactic.partition(":")
    try:
        return graph_of(problem, form), PlanName.parse(plan)
    except ValueError:
        raise TacticError(f"`{tactic}` names no plan") from None


def _key(spec: GraphSpec, name: PlanName, device: Device) -> BinaryKey:
    """Under what a plan is kept: it is good for this cuDNN, its frontend and this model of GPU only."""
    import cudnn

    digest = hashlib.sha256(f"{spec.digest()}\n{name}".encode()).hexdigest()
    return BinaryKey(f"cudnn-{cudnn.backend_version()}-{cudnn.__version__}", device.model, digest)


def _stream() -> int:
    import cupy

    return int(cupy.cuda.get_current_stream().ptr)

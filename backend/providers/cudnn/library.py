"""The calls into cuDNN: graphs from their specs, lists of plans, plans built or read back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from trtn.backend.providers.cudnn.handles import handle_of
from trtn.backend.providers.cudnn.rules import DTYPES
from trtn.backend.providers.cudnn.spec import GraphSpec, PlanName, TensorSpec

__all__ = ["CudnnError", "Plan", "build_plan", "list_plans", "read_plan", "without_count"]

OWN_ENGINES = 10_000
"""Engines from this number on are not the library's: the frontend compiles them with tools of its own."""


class CudnnError(RuntimeError):
    """cuDNN does not do what it was asked for; the message is its reason."""


def list_plans(spec: GraphSpec, stream: int) -> list[PlanName]:
    """The plans that cuDNN proposes, its best guess first. Raises CudnnError where it has none."""
    import cudnn

    graph = _graph(spec, stream)
    try:
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    except (RuntimeError, ValueError, cudnn.cudnnGraphNotSupportedError) as e:
        raise CudnnError(_first_line(e)) from None
    names: dict[PlanName, None] = {}
    for index in range(graph.get_execution_plan_count()):
        try:
            engine, knobs = graph.get_engine_and_knobs_at_index(index)
        except (NotImplementedError, RuntimeError, ValueError):
            continue  # one that can't be made again by name
        if engine < OWN_ENGINES:
            names[PlanName(engine, tuple(sorted((knob.name, int(value)) for knob, value in knobs.items())))] = None
    return list(names)


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan of a graph, ready to run."""

    graph: Any
    index: int
    workspace: int

    def execute(self, pointers: dict[int, int], workspace: int, stream: int) -> None:
        """Enqueue it on a stream, for addresses by uid. Raises RuntimeError."""
        import cudnn

        try:
            self.graph.execute_plan_at_index(pointers, workspace, self.index, handle_of(stream))
        except cudnn.cudnnGraphNotSupportedError as e:
            raise CudnnError(_first_line(e)) from None

    def write(self) -> bytes:
        """The plan with its kernels, for this version of cuDNN and this GPU. Raises CudnnError."""
        import cudnn

        try:
            return without_count(bytes(self.graph.serialize(as_bytes=True)))
        except (RuntimeError, ValueError, TypeError, cudnn.cudnnGraphNotSupportedError) as e:
            raise CudnnError(_first_line(e)) from None


def build_plan(spec: GraphSpec, name: PlanName, stream: int) -> Plan:
    """A plan built anew: kernels are compiled here, which may take a second. Raises CudnnError."""
    import cudnn

    known = cudnn.knob_type.__members__
    if any(knob not in known for knob, _ in name.knobs):
        raise CudnnError(f"`{name}` has a knob that this cuDNN does not have")
    graph = _graph(spec, stream)
    try:
        graph.create_execution_plan(name.engine, {known[knob]: value for knob, value in name.knobs})
        graph.check_support()
        index = graph.get_execution_plan_count() - 1
        graph.build_plan_at_index(index)
        return Plan(graph, index, graph.get_workspace_size())
    except (RuntimeError, ValueError, cudnn.cudnnGraphNotSupportedError) as e:
        raise CudnnError(_first_line(e)) from None


def read_plan(data: bytes, stream: int) -> Plan:
    """The plan that `Plan.write` wrote. Raises CudnnError."""
    import cudnn

    try:
        handle = handle_of(stream)
        graph = cudnn.pygraph(handle=handle)
        graph.deserialize(handle, data)
        return Plan(graph, 0, graph.get_workspace_size())
    except (RuntimeError, ValueError, TypeError, cudnn.cudnnGraphNotSupportedError) as e:
        raise CudnnError(_first_line(e)) from None


def without_count(data: bytes) -> bytes:
    """A written plan without the number of graphs that the process had made before it, which the frontend notes (as
    `gid`, in UBJSON, and prints in its log): the same plan is the same bytes whoever built it."""
    found = _COUNT.findall(data)
    return _COUNT.sub(b"\\1i\x01", data) if len(found) == 1 else data


_COUNT = re.compile(rb"(i\x03gid)(?:[iU].|I..|l.{4}|L.{8})", re.DOTALL)


def _graph(spec: GraphSpec, stream: int) -> Any:
    """The graph, its operations checked by cuDNN, without plans."""
    import cudnn

    real = cudnn.data_type.FLOAT
    try:
        graph = cudnn.pygraph(
            io_data_type=_data_type(spec.output.dtype),
            intermediate_data_type=real,
            compute_data_type=real,
            handle=handle_of(stream),
        )
        values = {t.uid: _tensor(graph, t) for t in spec.tensors}
        result: Any = None
        for n, node in enumerate(spec.nodes, 1):
            options = {name: list(v) if isinstance(v, tuple) else v for name, v in node.options}
            result = getattr(graph, node.call)(**{name: values[i] for name, i in node.operands}, **options)
            result = result[0] if isinstance(result, tuple | list) else result
            values[-n] = result
        result.set_output(True).set_data_type(_data_type(spec.output.dtype)).set_uid(spec.output.uid)
        result.set_dim(list(spec.output.dims)).set_stride(list(spec.output.strides))
        graph.validate()
        graph.build_operation_graph()
    except (RuntimeError, ValueError, TypeError, cudnn.cudnnGraphNotSupportedError) as e:
        raise CudnnError(_first_line(e)) from None
    return graph


def _tensor(graph: Any, t: TensorSpec) -> Any:
    return graph.tensor(
        name=f"t{t.uid}", uid=t.uid, dim=list(t.dims), stride=list(t.strides), data_type=_data_type(t.dtype)
    )


def _data_type(dtype: str) -> Any:
    import cudnn

    return getattr(cudnn.data_type, DTYPES[dtype])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]

"""Generated kernels on a GPU, every tactic of every case, against f64; and that a recorded launch replays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.backend.providers.codegen_cases import CASES
from tests.backend.providers.codegen_harness import Array, Case, base_of, check
from trtn.backend.devices import find_device
from trtn.backend.problem import ArrayLayout, make_problem
from trtn.backend.providers import Launch, Tactic
from trtn.backend.providers.codegen import PROVIDER, modules
from trtn.backend.providers.codegen.kernel import operand_of
from trtn.dsl.network import Tensor


@pytest.fixture(scope="module")
def compiled() -> None:
    """All kernels compiled side by side, which takes a fraction of one after another."""
    specs = [
        call.spec
        for case in CASES
        for family, tactic in case.tactics
        for plan in [case.plan(family, tactic, [*case.inputs, *case.outputs()])]
        for call in (*plan.once, *plan.calls)
    ]
    device = find_device("cuda")
    modules.compile_all(specs, device.name.removeprefix("cuda:"), device.binaries)


class Mirror:
    """An array on the GPU in the same order, at the same alignment, between the same guards."""

    def __init__(self, array: Array) -> None:
        import cupy

        self.host = array
        raw = base_of(array)
        start = array.ctypes.data - raw.ctypes.data
        shift = raw.ctypes.data % 16
        self.memory = cupy.empty(raw.size + 16, cupy.uint8)
        self.bytes = self.memory[shift : shift + raw.size]
        self.bytes.set(raw)
        dtype = np.uint16 if array.dtype.name == "bfloat16" else array.dtype
        self.array = cupy.ndarray(array.shape, dtype, self.bytes.data + start, array.strides)

    def fetch(self) -> Array:
        """The host's array with the GPU's bytes, guards included."""
        base_of(self.host)[...] = self.bytes.get()
        return self.host


def launch_of(case: Case, family: str, tactic: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> Launch:
    """The launch on arrays of the GPU."""
    group, device = case.group, find_device("cuda")
    layouts = [_layout(t, a) for t, a in zip((*group.inputs, *group.outputs), (*inputs, *outputs), strict=True)]
    problem = make_problem(group, case.sizes, layouts[: len(inputs)], layouts[len(inputs) :])
    prepared = PROVIDER.prepare(problem, Tactic(f"{family}.{tactic}"), device)
    return prepared.bind(inputs, outputs, device.arena(prepared.workspace) if prepared.workspace else None)


def _layout(tensor: Tensor, array: Any) -> ArrayLayout:
    operand = operand_of(tensor, array.shape, array.strides, array.data.ptr)
    return ArrayLayout(operand.shape, operand.strides, tensor.dtype, tensor.weight is not None, operand.align)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_kernels_are_right(case: Case, compiled: None) -> None:
    import cupy

    for family, tactic in case.tactics:
        inputs, outputs = [Mirror(a) for a in case.inputs], [Mirror(a) for a in case.outputs()]
        launch_of(case, family, tactic, [m.array for m in inputs], [m.array for m in outputs])()
        cupy.cuda.Device().synchronize()
        check(case, [m.fetch() for m in outputs])


@pytest.mark.parametrize("name", ["squeeze_f16", "gemv_1"])
def test_tactics_pack_weights_for_themselves(name: str, compiled: None) -> None:
    """What one tactic has packed of the same weights may lie elsewhere in another one's memory."""
    import cupy

    case = next(c for c in CASES if c.name == name)
    inputs = [Mirror(a) for a in case.inputs]
    for family, tactic in case.tactics:
        outputs = [Mirror(a) for a in case.outputs()]
        launch_of(case, family, tactic, [m.array for m in inputs], [m.array for m in outputs])()
        cupy.cuda.Device().synchronize()
        check(case, [m.fetch() for m in outputs])


@pytest.mark.parametrize(
    "name", ["layer_norm_768", "group_norm_f16", "reduce_long", "to_last_f16", "recurrent_lstm_cluster"]
)
def test_launches_are_recorded(name: str, compiled: None) -> None:
    """Binding may compile and allocate, launches only launch: so they can be captured and replayed."""
    import cupy

    case = next(c for c in CASES if c.name == name)
    family, tactic = case.tactics[0]
    inputs, outputs = [Mirror(a) for a in case.inputs], [Mirror(a) for a in case.outputs()]
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        launch = launch_of(case, family, tactic, [m.array for m in inputs], [m.array for m in outputs])
        stream.begin_capture()
        launch()
        graph = stream.end_capture()
        for m in outputs:
            m.bytes.set(base_of(m.host), stream=stream)
        graph.launch(stream)
        stream.synchronize()
    check(case, [m.fetch() for m in outputs])

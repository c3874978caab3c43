"""cuBLASLt on a GPU: every tactic of every case against f64, recorded into a graph and replayed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backend.providers.cublaslt_cases import ATTENTION, CASES, LARGE_SUM, Array, Case, check, untouched
from trtn.backend.devices import Device, find_device
from trtn.backend.providers import Tactic
from trtn.backend.providers.cublaslt import PROVIDER
from trtn.backend.providers.cublaslt.descriptors import AlgoFields, Descriptors, Preference
from trtn.backend.providers.cublaslt.epilogue import cuts
from trtn.backend.providers.cublaslt.formulation import formulations
from trtn.backend.providers.cublaslt.library import library


@pytest.fixture(scope="module")
def device() -> Device:
    return find_device("cuda")


class Mirror:
    """An array on the GPU, in the same order, as aligned, in the midst of the same bytes."""

    def __init__(self, array: Array) -> None:
        import cupy

        raw = array
        while raw.base is not None:
            raw = raw.base
        self.host, self.raw = array, raw
        shift = raw.ctypes.data % 16
        memory = cupy.empty(raw.size * raw.itemsize + 16, cupy.uint8)
        self.bytes = memory[shift : shift + raw.size * raw.itemsize]
        self.bytes.set(raw.view(np.uint8).ravel())
        dtype = np.uint16 if array.dtype.name == "bfloat16" else array.dtype
        start = array.ctypes.data - raw.ctypes.data
        self.array = cupy.ndarray(array.shape, dtype, self.bytes.data + start, array.strides)

    def fetch(self) -> Array:
        """The host's array with the GPU's bytes."""
        self.raw.view(np.uint8).ravel()[...] = self.bytes.get()
        return self.host


def tactics_of(case: Case, device: Device, effort: int) -> list[Tactic]:
    tactics = list(PROVIDER.tactics(case.problem, device, effort))
    assert tactics, "no algorithm"
    return tactics


def bound(case: Case, tactic: Tactic, inputs: list[Any], output: Mirror, device: Device) -> Any:
    kernel = PROVIDER.prepare(case.problem, tactic, device)
    workspace = device.empty((kernel.workspace,), np.uint8) if kernel.workspace else None
    return kernel.bind([m.array for m in inputs], [output.array], workspace)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_tactic_gives_the_product(case: Case, device: Device) -> None:
    inputs = [Mirror(a) for a in case.inputs]
    for tactic in tactics_of(case, device, 5):
        output = Mirror(case.output())
        bound(case, tactic, inputs, output, device)()
        found = output.fetch()
        check(case, found, reduced=tactic.numerics == "reduced")
        assert untouched(found), tactic.name


@pytest.mark.parametrize(
    "name", ["linear-f32", "conv-residual-relu", "keys-transposed", "exact-gelu", "exact-gelu-f32", "gelu"]
)
def test_launches_can_be_recorded(name: str, device: Device) -> None:
    """Also those of split sums, whose scratch memory comes from outside."""
    import cupy

    case = next(c for c in CASES if c.name == name)
    inputs = [Mirror(a) for a in case.inputs]
    stream = cupy.cuda.Stream(non_blocking=True)
    for tactic in tactics_of(case, device, 5):
        output = Mirror(case.output())
        launch = bound(case, tactic, inputs, output, device)
        with stream:
            stream.begin_capture()
            launch()
            graph = stream.end_capture()
        assert np.isnan(output.fetch()).all(), "a recording must not run"
        for _ in range(2):
            graph.launch(stream)
        stream.synchronize()
        check(case, output.fetch(), reduced=tactic.numerics == "reduced")


@pytest.mark.parametrize("case", ATTENTION, ids=lambda c: c.name)
def test_attention_in_steps(case: Case, device: Device) -> None:
    import cupy

    inputs = [Mirror(a) for a in case.inputs]
    stream = cupy.cuda.Stream(non_blocking=True)
    for tactic in tactics_of(case, device, 3)[:12]:
        output = Mirror(case.output())
        launch = bound(case, tactic, inputs, output, device)
        with stream:
            stream.begin_capture()
            launch()
            graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
        check(case, output.fetch(), reduced=tactic.numerics == "reduced")


def test_names_are_the_same_in_every_search(device: Device) -> None:
    case = next(c for c in CASES if c.name == "linear-f16")
    names = [[t.name for t in tactics_of(case, device, effort)] for effort in (5, 5, 1)]
    assert names[0] == names[1] and set(names[2]) <= set(names[0])
    assert len(set(names[0])) == len(names[0])


def test_large_products_split_their_sum(device: Device) -> None:
    """A sum of 8192 halves, in parts: as exact as in one go."""
    inputs = [Mirror(a) for a in LARGE_SUM.inputs]
    split = [t for t in tactics_of(LARGE_SUM, device, 5) if "splitk" in t.name]
    assert split and any(t.workspace for t in split)
    for tactic in split:
        output = Mirror(LARGE_SUM.output())
        bound(LARGE_SUM, tactic, inputs, output, device)()
        check(LARGE_SUM, output.fetch())


@pytest.mark.parametrize("name", ["linear-f16", "linear-f32", "keys-transposed", "conv"])
def test_a_name_makes_the_same_algorithm_again(name: str, device: Device) -> None:
    """To the byte: nothing that the library sets is missing from the fields."""
    lib = library()
    case = next(c for c in CASES if c.name == name)
    for plan in formulations(case.problem, next(cuts(case.group))):
        described = Descriptors(lib, plan.gemm, plan.numbers, plan.cut.fused.mode)
        if plan.bias is not None:
            described.set_bias(plan.bias_alignment)
        handle = lib.handle(0)
        for listed in described.candidates(handle, Preference(1 << 25, plan.numbers.reductions, plan.alignments), 32):
            again = described.candidate(handle, AlgoFields.parse(str(listed.fields)))
            assert (bytes(again.algo), again.workspace) == (bytes(listed.algo), listed.workspace), listed.fields

"""The cuBLASLt provider without a GPU: over a library in software, which follows orders, leading dimensions and strides
as the documentation has them."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.cublaslt_cases import ATTENTION, CASES, Case, Lie, check, group_of, problem_of, untouched
from tests.backend.providers.software_cublaslt import HostDevice, SoftwareCublasLt, host
from trtn.backend.devices.cpu import CPU
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.cublaslt.descriptors import AlgoFields, Descriptors, Preference
from trtn.backend.providers.cublaslt.epilogue import Cut, cuts
from trtn.backend.providers.cublaslt.formulation import Formulation, formulations
from trtn.backend.providers.cublaslt.gemm import NoGemmError
from trtn.backend.providers.cublaslt.library import CublasLt, CublasLtError
from trtn.backend.providers.cublaslt.provider import CublasLtProvider
from trtn.backend.providers.cublaslt.search import crossings, search
from trtn.backend.providers.reference import PROVIDER as REFERENCE


class Finisher:
    """Runs the rest of a group by the reference."""

    name = "finisher"
    after: frozenset[str] = frozenset()
    is_reference = False

    def unavailable(self, device: str) -> str | None:
        return None

    def version(self) -> str:
        return "7"

    def refusal(self, group: Any) -> str:
        known = all(layer.op.pointwise or layer.op.name == "softmax" for layer in group.layers)
        return "" if known else "not element by element"

    def tactics(self, problem: Problem, device: Any, effort: int = 3) -> list[Tactic]:
        return [Tactic("rest.it", 512)]

    def prepare(self, problem: Problem, tactic: Tactic, device: Any) -> Any:
        assert tactic.name == "rest.it"
        return REFERENCE.prepare(problem, REFERENCE.tactics(problem, CPU())[0], CPU())


class Bench:
    """A provider over a library in software."""

    def __init__(self) -> None:
        self.software = SoftwareCublasLt()
        self.library = CublasLt(self.software)
        self.device = HostDevice()
        self.provider = CublasLtProvider(lambda: self.library, Finisher)

    def tactics(self, case: Case, effort: int = 3) -> list[Tactic]:
        return list(self.provider.tactics(case.problem, self.device, effort))

    def run(self, case: Case, tactic: Tactic) -> Any:
        kernel = self.provider.prepare(case.problem, tactic, self.device)
        assert kernel.workspace <= max(tactic.workspace, 512)
        output = case.output()
        inputs = [host(a) for a in case.inputs]
        workspace = self.device.empty((kernel.workspace,), np.uint8) if kernel.workspace else None
        launch = kernel.bind(inputs, [host(output)], workspace)
        del self.software.calls[:]
        launch()
        assert set(self.software.calls) == {"Matmul"}, "a launch does nothing but launch"
        assert len(self.software.calls) == case.launches
        return output


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_every_tactic_gives_the_product(case: Case, bench: Bench) -> None:
    assert bench.provider.refusal(case.group) == ""
    tactics = bench.tactics(case)
    epilogue, more, _ = case.epilogue.partition("+")
    precisions = ("", "tf32.") if case.inputs[0].dtype == np.float32 else ("",)
    forms = [f"{precision}{order}.{epilogue}" for precision in precisions for order in case.forms.split()]
    assert [t.name.partition(".66")[0] for t in tactics[: len(forms)]] == forms
    assert {t.name for t in tactics if t.numerics == "reduced"} == {t.name for t in tactics if "tf32" in t.name}
    assert all(t.name.endswith("+rest.it") == bool(more) for t in tactics)
    for tactic in tactics:
        output = bench.run(case, tactic)
        check(case, output)
        assert untouched(output)
    assert all(untouched(a) for t, a in zip(case.group.inputs, case.inputs, strict=True))


def case(name: str) -> Case:
    return next(c for c in CASES if c.name == name)


@pytest.mark.parametrize("case", ATTENTION, ids=lambda c: c.name)
def test_attention_in_steps(case: Case, bench: Bench) -> None:
    assert bench.provider.refusal(case.group) == ""
    tactics = bench.tactics(case, 1)
    assert len({t.name for t in tactics}) == len(tactics) == (3 if "f64" in case.name else 6)
    for tactic in tactics:
        kernel = bench.provider.prepare(case.problem, tactic, bench.device)
        assert kernel.workspace <= tactic.workspace
        output = case.output()
        workspace = bench.device.empty((kernel.workspace,), np.uint8)
        launch = kernel.bind([host(a) for a in case.inputs], [host(output)], workspace)
        for _ in range(2):
            workspace[...] = 0xFF
            del bench.software.calls[:]
            launch()
            assert set(bench.software.calls) == {"Matmul"}
            check(case, output)
    for name in ("attention.kn.scale.66.tile20", "kn.plain.66/kn.plain.66", "eval"):
        with pytest.raises(TacticError):
            bench.provider.prepare(case.problem, Tactic(name), bench.device)


@pytest.mark.parametrize(("effort", "count"), [(0, 2), (1, 6), (2, 6), (3, 8), (5, 8)])
def test_effort_decides_how_many_there_are(effort: int, count: int, bench: Bench) -> None:
    names = [t.name for t in bench.tactics(case("relu"), effort)]
    assert len(names) == len(set(names)) == count
    assert names[:2] == ["kn.bias_relu.66.tile20.stages36.cluster2", "nk.bias_relu.66.tile20.stages36.cluster2"]


def test_a_name_makes_the_same_algorithm_again(bench: Bench) -> None:
    """The blob that goes to cublasLtMatmul is the one that the heuristic gave."""
    for name in ("relu", "scaled-scores", "exact-gelu"):
        for tactic in bench.tactics(case(name)):
            (plan,) = (
                p
                for cut in cuts(case(name).group)
                for p in _formulations(case(name), cut)
                if tactic.name.startswith(f"{p.name}.")
            )
            described = Descriptors(bench.library, plan.gemm, plan.numbers, plan.cut.fused.mode)
            handle = bench.library.handle(0)
            preference = Preference(1 << 25, plan.numbers.reductions, plan.alignments)
            listed = {str(c.fields): c for c in search(described, handle, preference, 5)}
            fields = tactic.name.partition("+")[0].removeprefix(f"{plan.name}.")
            again = described.candidate(handle, AlgoFields.parse(fields))
            assert bytes(again.algo) == bytes(listed[fields].algo) and again.workspace == listed[fields].workspace


def _formulations(case: Case, cut: Cut) -> list[Formulation]:
    try:
        return formulations(case.problem, cut)
    except NoGemmError:
        return []


@given(st.integers(0, 99), st.lists(st.integers(-1, 2**15), min_size=8, max_size=8))
def test_the_fields_of_an_algorithm_read_as_they_print(number: int, values: list[int]) -> None:
    fields = AlgoFields(number, *values)
    assert AlgoFields.parse(str(fields)) == fields


def test_combinations_of_what_is_listed() -> None:
    listed = [AlgoFields(66, 20, cluster=2), AlgoFields(66, 18, custom=1), AlgoFields(24, 5), AlgoFields(66, 15)]
    made = list(crossings(listed))
    assert made[0] == AlgoFields(66, 20, custom=1) and AlgoFields(66, 15, cluster=2) in made
    assert len(made) == len(set(made)) == 6 and not {*made} & {*listed} and all(f.id == 66 for f in made)


@pytest.mark.parametrize(
    "name",
    [
        "kn.bias_relu",
        "kn.bias_relu.x",
        "kn.bias_relu.66.tile",
        "kn.bias_relu.66.id7",
        "kn.bias_relu.66.tile20.tile20",
        "kn.bias_gelu.66.tile20.stages36.cluster2",
        "up.bias_relu.66.tile20.stages36.cluster2",
        "kn.bias_relu.67.tile20.stages36.cluster2",
        "kn.bias_relu.66.tile21.stages36.cluster2",
        "kn.bias_relu.66.tile20.stages36.cluster2+rest.it",
        "kn.bias.66.tile20.stages36.cluster2",
        "eval",
        "",
    ],
)
def test_other_names_are_refused(name: str, bench: Bench) -> None:
    with pytest.raises(TacticError):
        bench.provider.prepare(case("relu").problem, Tactic(name), bench.device)


def test_a_tactic_of_one_size_is_tried_at_another(bench: Bench) -> None:
    small, large = case("one-row"), case("linear-f16")
    for tactic in bench.tactics(small):
        check(large, bench.run(large, tactic))


@pytest.mark.parametrize("name", ["linear-f16", "linear-f32"])
def test_sizes_that_were_not_timed_get_the_library_s_guess(name: str, bench: Bench) -> None:
    """In the precision that was chosen for others. Where another provider was chosen in f32, it may have been in TF32."""
    found = case(name)
    elastic = bench.provider.elastic
    for chosen in bench.tactics(found, 5):
        tactic = elastic(found.problem, chosen, bench.device)
        assert tactic is not None
        assert tactic.numerics == chosen.numerics
        check(found, bench.run(found, tactic), reduced=tactic.numerics == "reduced")
    assert (elastic(found.problem, None, bench.device) is None) == (name == "linear-f32")


def test_split_sums_of_halves_are_kept_in_f32(bench: Bench) -> None:
    wanted = {"linear-f16": {2}, "linear-bf16": {2}, "linear-f32": {7}, "linear-f64": {7}, "integers": {7}}
    for name, masks in wanted.items():
        del bench.software.preferences[:]
        bench.tactics(case(name))
        assert {p[3] for p in bench.software.preferences} == masks


def test_searches_know_how_addresses_are_aligned(bench: Bench) -> None:
    found = {}
    for name in ("linear-f16", "odd-start", "conv-into-slice", "heads-inside-of-a-batch"):
        del bench.software.preferences[:]
        bench.tactics(case(name))
        found[name] = {tuple(p[n] for n in (5, 6, 7, 8)) for p in bench.software.preferences}
    assert found == {
        "linear-f16": {(16, 16, 16, 16)},
        "odd-start": {(16, 2, 16, 16)},
        "conv-into-slice": {(16, 16, 16, 16)},
        "heads-inside-of-a-batch": {(16, 16, 16, 16)},
    }


def test_a_bias_of_each_binding_is_its_own(bench: Bench) -> None:
    linear = case("linear-f16")
    kernel = bench.provider.prepare(linear.problem, bench.tactics(linear)[0], bench.device)
    x, weight, bias = (host(a) for a in linear.inputs)
    outputs = [host(linear.output()) for _ in range(2)]
    shift = np.float16(8)
    launches = [
        kernel.bind([x, weight, b], [o], None) for b, o in zip((bias, host(bias + shift)), outputs, strict=True)
    ]
    for launch in launches:
        launch()
    check(linear, outputs[0])
    np.testing.assert_allclose(outputs[1].astype(np.float32) - outputs[0], shift, atol=0.02)


def test_a_weight_is_packed_once(bench: Bench) -> None:
    linear = case("linear-f16")
    tactics = [t for t in bench.tactics(linear) if t.name.startswith("nk.")]
    for tactic in (*tactics, *tactics):
        bench.run(linear, tactic)
    ((form, packed),) = bench.device.packs.items()
    assert form[1] == "axes(1, 0)"
    np.testing.assert_array_equal(packed, np.asarray(linear.inputs[1]).T)


def test_descriptors_go_with_their_owners(bench: Bench) -> None:
    linear = case("linear-f16")
    bench.run(linear, bench.tactics(linear)[0])
    gc.collect()
    assert list(bench.software.alive.values()) == ["handle"]


def test_a_launch_that_fails_says_why(bench: Bench) -> None:
    split = case("relu")
    tactic = next(t for t in bench.tactics(split) if "splitk" in t.name)
    kernel = bench.provider.prepare(split.problem, tactic, bench.device)
    assert kernel.workspace == tactic.workspace == 3 * 4096
    launch = kernel.bind([host(a) for a in split.inputs], [host(split.output())], bench.device.empty((1 << 14,), "u1"))
    bench.software.alive[launch.descriptors.operation.pointer.value]["compute"] = 70
    with pytest.raises(CublasLtError, match="Matmul: INVALID_VALUE"):
        launch()


def refused(make: Callable[[Net], Any]) -> str:
    return CublasLtProvider(lambda: pytest.fail("loaded"), lambda: None).refusal(group_of(make))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda n: n.relu(n.x("f16", 8, 8)), "no matrix product in pointwise groups"),
        (lambda n: n.conv(n.x("f16", 1, 8, 9, 9), n.random("f16", 8, 8, 3, 3)), "a kernel of more than one place"),
        (lambda n: n.conv(n.x("f16", 1, 8, 9, 9), n.random("f16", 8, 4, 1, 1), groups=2), "a grouped convolution"),
        (lambda n: n.conv(n.x("f16", 1, 8, 9, 9), n.random("f16", 8, 8, 1, 1), strides=2), "a stride"),
        (lambda n: n.conv(n.x("f16", 1, 8, 9, 9), n.random("f16", 8, 8, 1, 1), pads=1), "padding"),
        (lambda n: n.matmul_integer(n.x("i8", 8, 8), n.random("i8", 8, 8), n.w(3, "i8")), "zero points"),
        (lambda n: n.matmul_integer(n.x("u8", 8, 8), n.random("u8", 8, 8)), "no product of u8 and u8 in i32"),
        (lambda n: n.gelu(n.linear(n.x("f16", 8, 8), n.random("f16", 8, 8))), "what follows: `gelu`"),
        (lambda n: n.clip(n.linear(n.x("f16", 8, 8), n.random("f16", 8, 8)), min=0.0, max=6.0), "follows: `clip`"),
        (lambda n: n.clip(n.linear(n.x("f16", 8, 8), n.random("f16", 8, 8)), min=0.5), "follows: `clip`"),
    ],
)
def test_refusals_have_a_reason(make: Callable[[Net], Any], reason: str) -> None:
    assert reason in refused(make)


def test_generated_code_that_is_not_there_is_not_counted_on(bench: Bench) -> None:
    alone = CublasLtProvider(lambda: bench.library, lambda: None)
    assert bench.provider.version() == "13.1.0-1+7" and alone.version() == "13.1.0-1"
    assert "`clip`" in alone.refusal(case("relu6").group) and not alone.tactics(case("relu6").problem, bench.device)
    assert [t.name.partition("+")[2] for t in alone.tactics(case("relu").problem, bench.device)] == [""] * 8


def test_arrays_that_no_product_takes_have_no_tactics(bench: Bench) -> None:
    made = case("linear-f16")
    output = Lie((1, 0)).place(np.zeros((24, 32), np.float16))
    assert bench.provider.tactics(problem_of(made.group, made.inputs, output), bench.device) == ()


def test_nothing_is_loaded_for_a_cpu() -> None:
    code = (
        "import sys, trtn; from trtn.backend.providers.cublaslt import PROVIDER; assert PROVIDER.unavailable('cpu');"
        "assert not {'cupy', 'cuda', 'cuda.pathfinder'} & sys.modules.keys();"
        "assert 'cublasLt' not in open('/proc/self/maps').read()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

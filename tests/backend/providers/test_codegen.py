"""Generated kernels without a GPU: what their sources are, that they compile for sm_90, and, in an emulator, that
they are right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.backend.providers import emulator
from tests.backend.providers.codegen_cases import CASES, Net, case
from tests.backend.providers.codegen_harness import Case, check
from trtn.backend.binaries import Binaries
from trtn.backend.fusion import partition
from trtn.backend.problem import ArrayLayout, Problem, make_problem
from trtn.backend.providers import discover
from trtn.backend.providers.codegen import PROVIDER, modules
from trtn.backend.providers.codegen.elementwise import ElementwiseSpec, TiledSpec
from trtn.backend.providers.codegen.family import KernelSpec, Plan, digest
from trtn.backend.providers.codegen.kernel import operand_of
from trtn.backend.providers.codegen.prelude import PRELUDE
from trtn.backend.providers.codegen.provider import families
from trtn.dsl.builder import Builder
from trtn.dsl.dtypes import BY_NAME

BY_CASE = {c.name: c for c in CASES}


def plan_of(case: Case) -> Plan:
    family, tactic = case.tactics[0]
    return case.plan(family, tactic, [*case.inputs, *case.outputs()])


def problem_of(case: Case) -> Problem:
    """The case with arrays as they are."""
    tensors, arrays = (*case.group.inputs, *case.group.outputs), (*case.inputs, *case.outputs())
    operands = [operand_of(t, a.shape, a.strides, a.ctypes.data) for t, a in zip(tensors, arrays, strict=True)]
    layouts = [
        ArrayLayout(o.shape, o.strides, o.dtype, t.weight is not None, o.align)
        for t, o in zip(tensors, operands, strict=True)
    ]
    return make_problem(case.group, case.sizes, layouts[: len(case.inputs)], layouts[len(case.inputs) :])


def spec_of(name: str) -> KernelSpec:
    (call,) = plan_of(BY_CASE[name]).calls
    return call.spec


def all_specs() -> Iterator[tuple[str, KernelSpec]]:
    for c in CASES:
        for family, tactic in c.few_tactics:
            plan = c.plan(family, tactic, [*c.inputs, *c.outputs()])
            for call in (*plan.once, *plan.calls):
                yield c.name, call.spec


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> emulator.Emulator:
    reason = emulator.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return emulator.Emulator([spec for _, spec in all_specs()], tmp_path_factory.mktemp("emulator"))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_kernels_are_right(case: Case, machine: emulator.Emulator) -> None:
    assert case.tactics, [f.refusal(case.group) for f in families()]
    for family, tactic in case.few_tactics:
        outputs = case.outputs()
        arrays = [*case.inputs, *outputs]
        machine.run(case.plan(family, tactic, arrays), arrays)
        check(case, outputs)


def test_kernels_compile() -> None:
    reason = modules.unavailable()
    if reason is not None:
        pytest.skip(reason)
    specs = [call.spec for c in CASES for plan in [plan_of(c)] for call in (*plan.once, *plan.calls)]
    modules.compile_all(specs, "sm_90", Binaries())


def test_the_provider_is_found() -> None:
    assert PROVIDER in discover()
    assert PROVIDER.unavailable("cpu") and "8.0" in (PROVIDER.unavailable("cuda:sm_75") or "")


def test_tactics_for_a_problem_are_the_likeliest_of_all() -> None:
    """Families that look at the sizes offer a few of their tactics, each of which they know by its name."""
    device: Any = SimpleNamespace(name="cuda:sm_90a")
    for name in ("attention_plain", "layer_norm_768"):
        case = BY_CASE[name]
        problem = problem_of(case)
        offered = [[t.name for t in PROVIDER.tactics(problem, device, effort)] for effort in (0, 3, 5)]
        known = {f"{family}.{tactic}" for family, tactic in case.tactics}
        assert all(found and set(found) <= known and len(set(found)) == len(found) for found in offered), name
        assert offered[0][0] == offered[1][0] == offered[2][0] and len(offered[1]) <= len(offered[2]), name
        assert PROVIDER.refusal(problem.group) == ""


def test_names_do_not_clash() -> None:
    assert len({f.name for f in families()}) == len(families())
    tactics = [f"{family}.{tactic}" for family, tactic in BY_CASE["layer_norm_768"].tactics]
    assert len(set(tactics)) == len(tactics) > 1


def test_a_group_that_nobody_takes_is_refused_with_reasons() -> None:
    b = Builder("net")
    n = Net(b)
    network = b.finish([("y", n.det(n.x("f32", 4, 4), name="y"))])
    (group,) = partition(network)
    assert "softmax: it is not a softmax" in PROVIDER.refusal(group)


def test_dtypes_that_kernels_do_not_take_are_refused() -> None:
    b = Builder("net")
    n = Net(b)
    network = b.finish([("y", n.cast(n.x("f32", 4), to=BY_NAME["f8e4m3"], name="y"))])
    (group,) = partition(network)
    assert "f8e4m3" in PROVIDER.refusal(group)


def test_sources_are_pure_and_whole() -> None:
    for name, spec in all_specs():
        source = spec.source()
        assert source == spec.source() and source.startswith(PRELUDE), name
        assert source.count('extern "C" __global__') == 1 and "#include" not in source, name


def test_every_thread_waits_for_what_came_before() -> None:
    """Kernels start before the one ahead of them is done. Every thread waits once, at the kernel's own level or in both
    arms of a branch there, so that who waits for it waits for those before it, too."""
    for name, spec in all_specs():
        source = spec.source()
        body = source[source.index('extern "C" __global__') :]
        before, *after = body.split("WAIT_FOR_INPUTS();")
        assert source.count("WAIT_FOR_INPUTS();") == body.count("LET_NEXT_START();") == len(after) in (1, 2), name
        assert "return;" not in before, f"{name}: a thread may leave without waiting"
        assert before.count("{") - before.count("}") == len(after), f"{name}: it waits inside of a branch"
        if len(after) == 2:
            between = after[0]
            while (inner := re.sub(r"\{[^{}]*\}", "", between)) != between:
                between = inner
            assert re.fullmatch(r"[^{}]*\} else \{[^{}]*", between), f"{name}: one arm of a branch does not wait"
            assert "return;" not in between, name


def test_a_kernel_is_known_by_its_digest() -> None:
    specs = dict.fromkeys(spec for _, spec in all_specs())
    assert len({digest(s) for s in specs}) == len(specs)
    assert digest(spec_of("tail")) == digest(spec_of("tail"))


def test_other_sizes_take_the_same_kernel() -> None:
    """A new shape of a dynamic network is not to wait for the compiler."""
    for small, large in ((24, 4000), (3, 7)):

        def region(n: Net, rows: str = "N") -> object:
            return n.gelu(n.add(n.x("f16", rows, 64), n.x("f16", 64, name="b")), name="y")

        plans = [plan_of(case("region", region, sizes={"N": count})) for count in (small, large)]  # type: ignore[arg-type]
        assert plans[0].calls[0].spec == plans[1].calls[0].spec


def test_most_batches_take_the_same_kernels() -> None:
    """Those whose form goes by how many images there are, too."""
    for name in ("squeeze_pair", "squeeze_f16"):
        few, more = (replace(BY_CASE[name], sizes={"N": images}) for images in (4, 31))
        for tactic in {t for _, t in few.tactics} - {"steps"}:
            plans = [c.plan("squeeze", tactic, [*c.inputs, *c.outputs()]) for c in (few, more)]
            assert [c.spec for c in plans[0].calls] == [c.spec for c in plans[1].calls], tactic


def test_dense_operands_move_in_vectors() -> None:
    for name, lanes in (("image_last_f16", 8), ("image_last_f32", 4), ("image_slice", 8), ("region", 8), ("tail", 8)):
        spec = spec_of(name)
        assert isinstance(spec, ElementwiseSpec) and spec.vector == lanes, name
    odd = spec_of("image_odd_address")
    assert isinstance(odd, ElementwiseSpec) and odd.vector == 1


def test_a_change_of_layout_goes_through_tiles() -> None:
    for name, staged in (("to_last_f16", (True, False)), ("to_first_f32", (True, False))):
        spec = spec_of(name)
        assert isinstance(spec, TiledSpec) and spec.staged == staged, name


def test_nothing_to_do_is_no_launch() -> None:
    empty = case("empty", lambda n: n.exp(n.x("f32", 0, 4), name="y"))
    assert plan_of(empty).calls == ()

"""Products with what generated kernels do after and between them: the kernels run in the emulator, the products by the
library in software, over the same memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.backend.providers import emulator
from tests.backend.providers.cublaslt_cases import ATTENTION, CASES, check, untouched
from tests.backend.providers.software_cublaslt import HostDevice, SoftwareCublasLt, host
from trtn.backend.group import Group
from trtn.backend.problem import Problem
from trtn.backend.providers.base import Launch, Tactic
from trtn.backend.providers.codegen import PROVIDER as CODEGEN
from trtn.backend.providers.codegen.family import Plan
from trtn.backend.providers.codegen.kernel import operands_of
from trtn.backend.providers.codegen.provider import families
from trtn.backend.providers.cublaslt.library import CublasLt
from trtn.backend.providers.cublaslt.provider import CublasLtProvider


class Generated:
    """The provider of generated kernels, its launches left to an emulator that is made when all plans are known."""

    name = "codegen"
    after: frozenset[str] = frozenset()
    is_reference = False

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.machine: emulator.Emulator | None = None

    def unavailable(self, device: str) -> str | None:
        return None

    def version(self) -> str:
        return "1"

    def refusal(self, group: Group) -> str:
        return CODEGEN.refusal(group)

    def tactics(self, problem: Problem, device: Any, effort: int = 3) -> Sequence[Tactic]:
        return CODEGEN.tactics(problem, device, effort)

    def prepare(self, problem: Problem, tactic: Tactic, device: Any) -> Emulated:
        name, _, rest = tactic.name.partition(".")
        family = next(f for f in families() if f.name == name)
        plan = family.plan(problem.group, rest, problem.sizes, *operands_of(problem))
        self.plans.append(plan)
        return Emulated(self, plan)


class Emulated:
    workspace = 0

    def __init__(self, maker: Generated, plan: Plan) -> None:
        self.maker = maker
        self.plan = plan

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        def launch() -> None:
            assert self.maker.machine is not None and not self.plan.scratch
            self.maker.machine.run(self.plan, [*inputs, *outputs])

        return launch


def test_products_and_generated_kernels_work_together(tmp_path_factory: pytest.TempPathFactory) -> None:
    if reason := emulator.unavailable():
        pytest.skip(reason)
    generated, library, device = Generated(), CublasLt(SoftwareCublasLt()), HostDevice()
    provider = CublasLtProvider(lambda: library, lambda: generated)
    cases = [*ATTENTION, *(case for case in CASES if "+" in case.epilogue)]
    tactics = [provider.tactics(case.problem, device, 0)[0] for case in cases]
    kernels = [provider.prepare(c.problem, t, device) for c, t in zip(cases, tactics, strict=True)]
    specs = [call.spec for plan in generated.plans for call in (*plan.once, *plan.calls)]
    generated.machine = emulator.Emulator(specs, tmp_path_factory.mktemp("emulator"))
    for case, kernel in zip(cases, kernels, strict=True):
        output = case.output()
        workspace = device.empty((kernel.workspace,), np.uint8) if kernel.workspace else None
        if workspace is not None:
            workspace[...] = 0xFF
        kernel.bind([host(a) for a in case.inputs], [host(output)], workspace)()
        check(case, output)
        assert untouched(output)

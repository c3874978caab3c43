"""The kernels that are generated for the specs compile for a GPU that is not here. Needs NVRTC, which comes with CuPy's
CUDA wheels; TRTN_FULL_TESTS takes all specs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

import trtn
from trtn.backend.binaries import Binaries
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.providers import TacticError
from trtn.backend.providers.codegen import PROVIDER, modules
from trtn.backend.providers.codegen.provider import _plan
from trtn.backend.tuner.ahead import AbsentGpu

FOLDER = Path(__file__).parents[2] / "specs"
SPECS = [
    "lenet",
    "mobilenet_v2",
    *(["resnet50", "bert_base", "gpt2_small"] if os.environ.get("TRTN_FULL_TESTS") else []),
]
GPU = "cuda:sm_90"


@pytest.mark.skipif(modules.unavailable() is not None, reason=str(modules.unavailable()))
@pytest.mark.parametrize("spec", SPECS)
def test_they_compile(spec: str) -> None:
    engine = trtn.build(trtn.load(FOLDER / f"{spec}.trtn"), device=GPU, precision="f16", effort=0)
    problems = plan_problems(engine.network, engine.groups, engine.storage, engine.points[0].sizes, 16)
    kernels = set()
    for problem in {p.key: p for p in problems if p is not None and not PROVIDER.refusal(p.group)}.values():
        tactics = PROVIDER.tactics(problem, AbsentGpu(GPU))  # type: ignore[arg-type]
        for tactic in {t.name.partition(".")[0]: t for t in reversed(tactics)}.values():  # the first of each family
            with suppress(TacticError):  # a family may find these sizes too large for it
                plan = _plan(problem, tactic)
                kernels |= {call.spec for call in (*plan.once, *plan.calls)}
    assert kernels
    modules.compile_all(kernels, GPU.removeprefix("cuda:"), Binaries())

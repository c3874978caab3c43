"""The kernels that are generated for the specs compile for a GPU that is not here. Needs NVRTC, which comes with CuPy's
CUDA wheels; TRTN_FULL_TESTS takes all specs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import trtn
from trtn.backend.binaries import Binaries
from trtn.backend.devices.cpu import CPU
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.providers.codegen import PROVIDER, modules
from trtn.backend.providers.codegen.provider import _plan

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
    point = engine.points[0]
    problems = plan_problems(engine.network, engine.groups, engine.storage, point.sizes, 16)
    wanted = {
        problem.key: problem
        for problem, choice in zip(problems, point.choices, strict=True)
        if problem is not None and choice.provider == PROVIDER.name
    }
    kernels = {
        call.spec
        for problem in wanted.values()
        for tactic in PROVIDER.tactics(problem, CPU())[:1]
        for call in _plan(problem, tactic).calls
    }
    assert kernels
    modules.compile_all(kernels, GPU.removeprefix("cuda:"), Binaries())

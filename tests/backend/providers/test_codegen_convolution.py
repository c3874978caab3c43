"""Which convolutions generated kernels take, and by which tiles."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.backend.providers.codegen_cases import Net
from trtn.backend.fusion import partition
from trtn.backend.group import Group
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.problem import Problem
from trtn.backend.providers.base import TacticError
from trtn.backend.providers.codegen import PROVIDER
from trtn.backend.providers.codegen.convolution import FAMILY
from trtn.backend.providers.codegen.kernel import operands_of
from trtn.backend.runtime.engine import storage_on
from trtn.dsl.builder import Builder

GPU = "cuda:sm_90"


def problem_of(shape: tuple[int, ...], outputs: int, kernel: int, dtype: str = "f32", **attrs: Any) -> Problem:
    """A convolution whose x and result lie channels last."""
    b = Builder("net")
    n = Net(b)
    groups = attrs.get("groups", 1)
    weight = n.random(dtype, outputs, shape[1] // groups, kernel, kernel, scale=0.1)
    h = n.relu(n.conv(n.relu(n.x(dtype, *shape)), weight, pads=kernel // 2, **attrs))
    network = b.finish([("y", n.softmax(h, axis=1, name="y"))])
    found = partition(network, device=GPU)
    problems = plan_problems(network, found, storage_on(GPU, network, found, ()), {}, 16)
    problem = next(p for p in problems if p is not None and p.group.kind == "conv")
    assert problem.inputs[0].strides[1] == 1
    return problem


def first_tile(problem: Problem) -> str:
    device: Any = SimpleNamespace(name=GPU)
    offered = [[t.name for t in FAMILY.tactics_for(problem, device, effort)] for effort in (0, 1, 3)]
    assert [len(names) for names in offered] == [1, 2, 6]
    assert offered[2][:2] == offered[1] and offered[1][:1] == offered[0]
    return offered[0][0]


def test_large_images_get_large_tiles_and_small_ones_share_sums() -> None:
    assert first_tile(problem_of((1, 128, 300, 160), 64, 3)).startswith("128x64.8x8.k")
    _, _, parts = first_tile(problem_of((1, 256, 10, 10), 128, 3)).partition(".k")
    assert int(parts) > 4


def test_few_channels_get_narrow_tiles() -> None:
    assert first_tile(problem_of((1, 16, 300, 200), 8, 3)).startswith("128x8.")


@pytest.mark.parametrize("name", ["64x64.4x4.k1", "64x64.8x4.k5", "64x64.8x4.k16", "64x64", "auto"])
def test_other_tiles_are_refused(name: str) -> None:
    problem = problem_of((1, 16, 8, 8), 64, 1)
    with pytest.raises(TacticError):
        FAMILY.plan(problem.group, name, {}, *operands_of(problem))


@pytest.mark.parametrize(
    ("dtype", "attrs", "reason"),
    [
        ("f32", {}, ""),
        ("f32", {"groups": 2}, ""),
        ("f32", {"groups": 16}, "every channel has a filter of its own"),
        ("f16", {}, "tensor cores take it"),
        ("f16", {"groups": 2}, ""),
        ("f64", {}, "generated convolutions don't take f64"),
    ],
)
def test_what_others_are_better_at_is_left_to_them(dtype: str, attrs: dict[str, int], reason: str) -> None:
    group: Group = problem_of((1, 16, 8, 8), 16, 3, dtype, **attrs).group
    assert FAMILY.refusal(group) == reason


def test_less_precision_comes_first() -> None:
    """Where it is allowed it is the fastest; where not, it is left out."""
    device: Any = SimpleNamespace(name=GPU)
    offered = [t.numerics for t in PROVIDER.tactics(problem_of((1, 64, 28, 28), 64, 1), device)]
    count = offered.count("reduced")
    assert 0 < count < len(offered) and set(offered[:count]) == {"reduced"}


def test_sizes_are_arguments_of_the_kernels() -> None:
    """Convolutions that differ in their channels and sizes alone are compiled once."""
    specs = set()
    for channels, outputs, size in ((16, 64, 40), (64, 128, 20), (128, 256, 10)):
        problem = problem_of((1, channels, size, size), outputs, 3)
        plan = FAMILY.plan(problem.group, "64x64.8x4.k4", {}, *operands_of(problem))
        specs.add(tuple(call.spec for call in (*plan.once, *plan.calls)))
    assert len(specs) == 1

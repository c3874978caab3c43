"""Products of 8-bit levels that LLVM compiles: exactly what the op's own evaluation gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backend.providers.onednn_harness import group_of, problem_for
from tests.backend.providers.test_onednn_integers import levels
from trtn.backend import machine_code
from trtn.backend.devices.cpu import CPU
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, reference_provider
from trtn.backend.providers.llvm.provider import PROVIDER

pytestmark = pytest.mark.skipif(machine_code.unavailable() is not None, reason=str(machine_code.unavailable()))


def product(a: str, b: str, shape: tuple[int, ...], columns: int, zeros: str = "", each: bool = False) -> Group:
    drawn = np.random.default_rng(1).integers(-100 if b == "i8" else 0, 100, columns if each else ())
    return group_of(
        lambda n: n.matmul_integer(
            n.x(a, *shape),
            n.w(levels(b, shape[-1], columns), b),
            n.x(a, name="zero") if "a" in zeros else None,
            n.w(drawn, b) if "b" in zeros else None,
        )
    )


def check(group: Group, threads: int = 2) -> None:
    shapes = [tuple(int(str(d)) for d in t.shape) for t in (*group.inputs, *group.outputs)]
    inputs: list[Any] = [
        t.weight.load() if t.weight is not None else levels(t.dtype.name, *shape)
        for t, shape in zip(group.inputs, shapes, strict=False)
    ]
    results = [np.full(shapes[-1], 7, np.int32)]
    expected = [np.zeros_like(r) for r in results]
    problem = problem_for(group, inputs, results, {})
    reference = reference_provider()
    reference.prepare(problem, reference.tactics(problem, CPU())[0], CPU()).bind(inputs, expected, None)()
    assert PROVIDER.tactics(problem, CPU()) == [Tactic("rows", numerics="reassociated")]
    device = CPU(threads)
    kernel = PROVIDER.prepare(problem, Tactic("rows"), device)
    with device.running(compiled=True, arrays=False):
        kernel.bind(inputs, results, device.arena(kernel.workspace))()
    np.testing.assert_array_equal(results[0], expected[0])


@pytest.mark.parametrize("columns", [7, 70], ids=["narrow", "in blocks"])
@pytest.mark.parametrize("a", ["u8", "i8"])
@pytest.mark.parametrize("b", ["u8", "i8"])
@pytest.mark.parametrize("zeros", ["", "ab"])
def test_levels_and_zero_points(a: str, b: str, zeros: str, columns: int) -> None:
    check(product(a, b, (2, 5, 31), columns, zeros))


@pytest.mark.parametrize("columns", [7, 70], ids=["narrow", "in blocks"])
def test_a_zero_point_for_each_column(columns: int) -> None:
    check(product("u8", "u8", (3, 30), columns, "b", each=True))


@pytest.mark.parametrize("columns", [1, 64], ids=["narrow", "in blocks"])
@pytest.mark.parametrize("threads", [1, 3])
def test_rows_that_threads_share(columns: int, threads: int) -> None:
    check(product("u8", "i8", (4100 // columns, 300), columns, "ab"), threads)

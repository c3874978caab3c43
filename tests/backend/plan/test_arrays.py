"""Layouts as they are planned are those of the arrays that kernels are bound to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.backend.harness import network
from tests.backend.passes.nets import feeds_for, networks
from trtn.backend.build import build
from trtn.backend.fusion import partition
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.plan.layout import plan_orders
from trtn.backend.plan.roles import Role, roles_of
from trtn.backend.plan.storage import plan_storage
from trtn.backend.problem import ArrayLayout, Problem
from trtn.backend.providers import Launch
from trtn.backend.providers.reference import ReferenceKernel
from trtn.backend.runtime import kernels
from trtn.dsl.network import Network


class Checking(ReferenceKernel):
    """Holds the arrays that it is bound to against its problem."""

    bound = 0

    def __init__(self, problem: Problem, xp: Any) -> None:
        super().__init__(problem, xp)
        self.problem = problem

    def bind(self, inputs: Sequence[Any], outputs: Sequence[Any], workspace: Any) -> Launch:
        for layout, array in zip((*self.problem.inputs, *self.problem.outputs), (*inputs, *outputs), strict=True):
            assert_as_planned(layout, array)
        Checking.bound += 1
        return super().bind(inputs, outputs, workspace)


def assert_as_planned(layout: ArrayLayout, array: Any) -> None:
    assert array.shape == layout.shape
    assert array.dtype == layout.dtype.numpy
    assert array.ctypes.data % layout.align == 0
    if array.size:
        steps = [
            (s // array.itemsize, p)
            for d, s, p in zip(array.shape, array.strides, layout.strides, strict=True)
            if d > 1
        ]
        assert all(step == planned for step, planned in steps), (array.strides, layout)


def run_checked(net: Network, feeds: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "prepare_all", lambda p, wanted, device: [Checking(w[0], device.xp) for w in wanted])
        context = build(net, device="cpu").create_context()
        for _ in range(2):
            context.run(feeds)


@given(networks())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_planned_layouts_are_the_arrays(net: Network) -> None:
    Checking.bound = 0
    run_checked(net, dict(feeds_for(net)))
    assert Checking.bound or not partition(net)


def test_views_and_parts_of_inputs_and_outputs() -> None:
    net = network(
        "network n { dim N in 1..8 input x: f32[N, 4, 6] output y: f32[N, 6, 8] output z: f32[4, N]"
        " a, b = split(transpose(x, perm=[0, 2, 1]), axis=2, parts=2)"
        " c = concat(relu(a), tanh(b), axis=2) y = concat(softmax(c), softmax(c), axis=2)"
        " z = transpose(reduce_sum(x, axes=[2])) }"
    )
    run_checked(net, {"x": np.ones((3, 4, 6), np.float32)})


def test_problems_touch_no_memory() -> None:
    """A plan for arrays of a terabyte is made in no time and no space."""
    net = network(
        "network n { input x: f32[1048576, 262144] output y: f32[1048576, 262144] y = softmax(tanh(softmax(x))) }"
    )
    groups = partition(net)
    problems = plan_problems(net, groups, plan_storage(net, groups), {}, 16)
    assert [p.outputs[0].nbytes for p in problems if p is not None] == [1 << 40] * 3


def test_axes_of_one_element_have_one_layout() -> None:
    """However an array came to be, equal layouts compare equal."""
    net = network(
        "network n { input x: f32[1, 4, 1, 6] output y: f32[4, 6] output z: f32[4, 6]"
        " a = softmax(x) b = softmax(transpose(a, perm=[2, 1, 0, 3]))"
        " y = squeeze(b, axes=[0, 2]) * 2.0 z = squeeze(softmax(b), axes=[0, 2]) * 2.0 }"
    )
    groups = partition(net)
    problems = plan_problems(net, groups, plan_storage(net, groups), {}, 16)
    softmaxes = [p for p in problems if p is not None and p.group.kind == "softmax"]
    assert len({p.inputs[0].strides for p in softmaxes}) == 1


def test_roles() -> None:
    net = network(
        "network n { dim N in 1..8 input x: f32[N, 4] output y: f32[N, 8] output k: i64[2, K]"
        " a = softmax(x) b = transpose(transpose(a)) y = relu(concat(tanh(a), b, axis=1))"
        " k = nonzero(x) : i64[2, K in 0..4 * N] }"
    )
    groups = partition(net)
    found = dict(zip((g.layers[0].op.name for g in groups), roles_of(groups, plan_storage(net, groups)), strict=True))
    assert found["softmax"] is Role.KERNEL
    assert found["transpose"] is Role.VIEW
    assert found["concat"] is Role.CONCAT
    assert found["nonzero"] is Role.LATE


def test_images_lie_channels_last_for_a_gpu() -> None:
    net = network("network n { input x: f16[2, 8, 4, 4] output y: f16[2, 8, 4, 4] y = softmax(max_pool(x, kernel=1)) }")
    groups = partition(net)
    problems = plan_problems(net, groups, plan_storage(net, groups, plan_orders(groups)), {}, 16)
    (pool, softmax) = [p for p in problems if p is not None]
    assert pool.inputs[0].strides == (128, 16, 4, 1)
    assert pool.outputs[0].strides == softmax.inputs[0].strides == (128, 1, 32, 8)
    assert {a.align for p in (pool, softmax) for a in (*p.inputs, *p.outputs)} == {16}

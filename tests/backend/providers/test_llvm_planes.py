"""Generated convolutions of images that lie plane by plane, against the reference in f64.

Tolerance: sums of up to 150 products, all in f32: 3e-6 of the largest result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.onednn_harness import arrange, group_of, problem_for, run
from trtn.backend import machine_code
from trtn.backend.devices.cpu import CPU
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError, reference_provider
from trtn.backend.providers.llvm.provider import PROVIDER
from trtn.dsl.network import Tensor

pytestmark = pytest.mark.skipif(
    machine_code.unavailable() is not None or not machine_code.has_feature("fma"),
    reason="needs llvmlite, and fused multiply-adds",
)

TOLERANCE = 3e-6
LAST = (0, 2, 3, 1)
PLANES = Tactic("planes")
Epilogue = Callable[[Net, Tensor], Tensor]


def conv(
    x: tuple[int, ...],
    channels: int,
    kernel: tuple[int, int],
    epilogue: Epilogue = lambda n, y: y,
    *,
    bias: bool = True,
    **attrs: Any,
) -> Callable[[Net], Tensor]:
    def make(n: Net) -> Tensor:
        weight = n.random("f32", channels, x[1], *kernel, scale=0.3)
        return epilogue(n, n.conv(n.x("f32", *x), weight, n.random("f32", channels, seed=1) if bias else None, **attrs))

    return make


def arrays_of(group: Group) -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(3)
    inputs = [
        t.weight.load()
        if t.weight is not None
        else rng.standard_normal([int(str(d)) for d in t.shape]).astype(np.float32)
        for t in group.inputs
    ]
    for n, t in enumerate(group.inputs[1:], 1):
        if t.weight is None:  # a residual lies as the results do
            inputs[n] = arrange(inputs[n], LAST)
    return inputs, [arrange(np.zeros([int(str(d)) for d in t.shape], np.float32), LAST) for t in group.outputs]


def check(make: Callable[[Net], Tensor]) -> None:
    group = group_of(make)
    inputs, outputs = arrays_of(group)
    problem = problem_for(group, inputs, outputs, {})
    run(PROVIDER, PLANES, problem, inputs, outputs)
    wanted = arrange(np.empty(outputs[0].shape), LAST)
    reference = reference_provider()
    tactic = reference.tactics(problem, CPU())[0]
    reference.prepare(problem, tactic, CPU()).bind([a.astype(np.float64) for a in inputs], [wanted], None)()
    assert np.abs(outputs[0] - wanted).max() <= TOLERANCE * np.abs(wanted).max()


SHAPES: dict[str, tuple[tuple[int, ...], int, tuple[int, int], dict[str, Any]]] = {
    "3x3, stride 2": ((1, 3, 33, 40), 48, (3, 3), {"pads": 1, "strides": 2}),
    "7x7, stride 2": ((2, 3, 30, 31), 48, (7, 7), {"pads": 3, "strides": 2}),
    "several images": ((3, 2, 14, 17), 48, (3, 3), {"pads": 1}),
    "no padding": ((1, 3, 20, 29), 96, (5, 5), {}),
    "one plane": ((1, 1, 28, 28), 48, (5, 5), {"pads": 2}),
    "rows that the filter leaves out": ((1, 3, 20, 50), 48, (2, 2), {"strides": 3}),
    "one side": ((1, 3, 15, 31), 48, (3, 3), {"pads": (0, 2, 1, 0)}),
    "other side": ((1, 3, 15, 31), 48, (3, 3), {"pads": (2, 0, 0, 1), "strides": 2}),
    "strides of both axes": ((1, 4, 15, 40), 48, (3, 2), {"strides": (1, 2)}),
    "padding alone above": ((1, 3, 2, 16), 48, (5, 3), {"pads": (4, 1, 4, 1)}),
    "patches": ((1, 3, 32, 224), 96, (16, 16), {"strides": 16}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    x, channels, kernel, attrs = SHAPES[name]
    check(conv(x, channels, kernel, lambda n, y: n.relu(y), **attrs))


EPILOGUES: dict[str, Epilogue] = {
    "none": lambda n, y: y,
    "clip": lambda n, y: n.clip(y, min=0.0, max=6.0),
    "hard_swish": lambda n, y: n.hard_swish(y),
    "residual": lambda n, y: n.relu(n.add(y, n.x("f32", *(int(str(d)) for d in y.shape), name="r"))),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", EPILOGUES)
def test_epilogues(name: str, bias: bool) -> None:
    check(conv((2, 3, 9, 21), 48, (3, 3), EPILOGUES[name], bias=bias, pads=1))


@pytest.mark.parametrize(
    ("x", "channels", "attrs"),
    [
        ((1, 3, 9, 20), 48, {"dilations": 2}),
        ((1, 3, 9, 20), 45, {}),  # half empty panels
        ((1, 16, 9, 20), 48, {}),  # many planes
        ((1, 3, 9, 4), 48, {}),  # rows of two results
    ],
    ids=str,
)
def test_what_is_left_to_others(x: tuple[int, ...], channels: int, attrs: dict[str, Any]) -> None:
    group = group_of(conv(x, channels, (3, 3), **attrs))
    inputs, outputs = arrays_of(group)
    with pytest.raises(TacticError):
        PROVIDER.prepare(problem_for(group, inputs, outputs, {}), PLANES, CPU())


def test_images_that_lie_channels_last_are_left_to_others() -> None:
    group = group_of(conv((1, 3, 9, 20), 48, (3, 3)))
    inputs, outputs = arrays_of(group)
    inputs[0] = arrange(inputs[0], LAST)
    with pytest.raises(TacticError):
        PROVIDER.prepare(problem_for(group, inputs, outputs, {}), PLANES, CPU())

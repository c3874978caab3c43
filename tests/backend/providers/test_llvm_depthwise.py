"""Generated convolutions of each channel by itself against the ops' own evaluation in f64.

Tolerance: sums of up to 49 products, all in f32: 3e-6 of the largest result.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.backend.providers.codegen_cases import Net
from tests.backend.providers.onednn_harness import arrange, group_of, problem_for, run
from trtn.backend import machine_code
from trtn.backend.devices.cpu import CPU
from trtn.backend.group import Group
from trtn.backend.providers.base import Tactic, TacticError
from trtn.backend.providers.llvm.provider import PROVIDER
from trtn.dsl.network import Tensor

pytestmark = pytest.mark.skipif(
    machine_code.unavailable() is not None or not machine_code.has_feature("fma"),
    reason="needs llvmlite, and fused multiply-adds",
)

TOLERANCE = 3e-6
LAST = (0, 2, 3, 1)
DEPTHWISE = Tactic("depthwise")
Epilogue = Callable[[Net, Tensor], Tensor]


def conv(
    x: tuple[int, ...], kernel: tuple[int, int], epilogue: Epilogue = lambda n, y: y, **attrs: Any
) -> Callable[[Net], Tensor]:
    def make(n: Net) -> Tensor:
        weight = n.random("f32", x[1], 1, *kernel, scale=0.3)
        return epilogue(n, n.conv(n.x("f32", *x), weight, n.random("f32", x[1], seed=1), groups=x[1], **attrs))

    return make


def arrays_of(group: Group) -> tuple[list[Any], list[Any]]:
    rng = np.random.default_rng(3)
    inputs = [
        t.weight.load()
        if t.weight is not None
        else arrange(rng.standard_normal([int(str(d)) for d in t.shape]).astype(np.float32), LAST)
        for t in group.inputs
    ]
    return inputs, [arrange(np.zeros([int(str(d)) for d in t.shape], np.float32), LAST) for t in group.outputs]


def exact(group: Group, inputs: list[Any]) -> Any:
    """The group's layers by their own evaluation, in f64."""
    values = {id(t): a.astype(np.float64) for t, a in zip(group.inputs, inputs, strict=True)}
    for layer in group.layers:
        given = [values[id(t)] for t in layer.inputs if t is not None]
        values[id(layer.outputs[0])] = layer.op.evaluate(np, *given, **layer.attrs)
    return values[id(group.outputs[0])]


def check(make: Callable[[Net], Tensor]) -> None:
    group = group_of(make)
    inputs, outputs = arrays_of(group)
    run(PROVIDER, DEPTHWISE, problem_for(group, inputs, outputs, {}), inputs, outputs)
    wanted = exact(group, inputs)
    assert np.abs(outputs[0] - wanted).max() <= TOLERANCE * np.abs(wanted).max()


SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, int], dict[str, Any]]] = {
    "one tile": ((1, 8, 5, 7), (3, 3), {"pads": 1}),
    "overlapping tiles": ((2, 16, 9, 27), (3, 3), {"pads": 1}),
    "many tiles": ((1, 8, 4, 66), (3, 3), {"pads": 1}),
    "no padding": ((1, 24, 6, 40), (3, 3), {}),
    "stride 2": ((1, 8, 11, 35), (3, 3), {"pads": 1, "strides": 2}),
    "even stride 2": ((2, 8, 12, 34), (3, 3), {"pads": 1, "strides": 2}),
    "stride 3 and 1": ((1, 8, 12, 13), (3, 3), {"pads": 1, "strides": (3, 1)}),
    "5x5": ((1, 40, 9, 19), (5, 5), {"pads": 2}),
    "5x5, stride 2": ((1, 8, 9, 19), (5, 5), {"pads": 2, "strides": 2}),
    "7x7": ((1, 8, 3, 3), (7, 7), {"pads": 3}),
    "2x2": ((1, 8, 6, 20), (2, 2), {}),
    "1x5": ((1, 8, 6, 20), (1, 5), {"pads": (0, 2, 0, 2)}),
    "5x1": ((1, 8, 6, 20), (5, 1), {"pads": (2, 0, 2, 0)}),
    "one side": ((1, 8, 7, 21), (3, 3), {"pads": (0, 2, 1, 0)}),
    "other side": ((1, 8, 7, 21), (3, 3), {"pads": (2, 0, 0, 1), "strides": 2}),
    "same": ((1, 8, 7, 21), (4, 4), {"auto_pad": "same_lower"}),
    "one pixel": ((3, 8, 1, 1), (3, 3), {"pads": 1}),
    "column": ((1, 8, 20, 1), (3, 3), {"pads": 1}),
    "rows without images": ((1, 8, 1, 9), (5, 3), {"pads": (2, 1, 2, 1)}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str) -> None:
    x, kernel, attrs = SHAPES[name]
    check(conv(x, kernel, lambda n, y: n.relu(y), **attrs))


@pytest.mark.parametrize("shape", [(2, 48, 7, 9), (1, 16, 40, 9)], ids=["parts of the channels", "strips of the rows"])
def test_pieces(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """However the work is cut, each result is computed alike."""
    from trtn.backend.providers.llvm import depthwise

    group = group_of(conv(shape, (3, 3), EPILOGUES["clip"], pads=1))
    found = []
    for threads, chunk in ((1, 1 << 30), (2, 1 << 11), (3, 1 << 11)):
        monkeypatch.setattr(depthwise, "CHUNK", chunk)
        monkeypatch.setattr(depthwise, "cores", lambda count=threads: count)
        inputs, outputs = arrays_of(group)
        problem = problem_for(group, inputs, outputs, {})
        assert (PROVIDER.prepare(problem, DEPTHWISE, CPU()).is_shared) == (threads > 1)
        run(PROVIDER, DEPTHWISE, problem, inputs, outputs)
        wanted = exact(group, inputs)
        assert np.abs(outputs[0] - wanted).max() <= TOLERANCE * np.abs(wanted).max()
        found.append(outputs[0])
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_segments() -> None:
    """Every result is in a tile, and a tile reads what is there of its windows and nothing else, whatever the width."""
    from trtn.backend.providers.llvm.depthwise import Shape

    for width, kernel, step, before in product(range(1, 41), (1, 3, 4, 5), (1, 2, 3), (0, 1, 2)):
        for after in range(min(kernel, 3)):
            size = (width - 1) * step + kernel - before - after
            if size < 1 or before >= kernel:
                continue
            shape = Shape((1, size), (1, width), (1, kernel), (1, step), (0, before))
            found = set()
            for segment in shape.segments():
                span = segment.span
                reads = range(span.before, (span.pixels - 1) * step + kernel - span.after)
                for n in range(segment.count):
                    start = segment.start + n * span.pixels
                    found |= set(range(start, start + span.pixels))
                    left = start * step - before
                    for column in range((span.pixels - 1) * step + kernel):
                        assert (column in reads) == (0 <= left + column < size)
            assert found == set(range(width))


EPILOGUES: dict[str, Epilogue] = {
    "none": lambda n, y: y,
    "residual": lambda n, y: n.relu(n.add(y, n.x("f32", *(int(str(d)) for d in y.shape), name="r"))),
    "clip": lambda n, y: n.clip(y, min=0.0, max=6.0),
    "hard_swish": lambda n, y: n.hard_swish(y),
    "silu": lambda n, y: n.mul(y, n.sigmoid(y)),
    "scale": lambda n, y: n.relu(n.mul(y, n.random("f32", 1, 16, 1, 1, seed=5))),
}


@pytest.mark.parametrize("name", EPILOGUES)
def test_epilogues(name: str) -> None:
    check(conv((2, 16, 5, 19), (3, 3), EPILOGUES[name], pads=1))


def test_nan_stays() -> None:
    """Where a window has one, and nowhere else, also through bounds."""
    group = group_of(conv((1, 8, 6, 12), (3, 3), EPILOGUES["clip"], pads=1))
    inputs, outputs = arrays_of(group)
    inputs[0][0, 3, 2, 7] = np.nan
    kernel = PROVIDER.prepare(problem_for(group, inputs, outputs, {}), DEPTHWISE, CPU())
    kernel.bind(inputs, outputs, None)()
    np.testing.assert_array_equal(np.isnan(outputs[0]), np.isnan(exact(group, inputs)))
    assert np.isnan(outputs[0]).sum() == 9


def test_threads_give_the_same() -> None:
    group = group_of(conv((2, 24, 17, 30), (3, 3), EPILOGUES["silu"], pads=1))
    inputs, outputs = arrays_of(group)
    kernel = PROVIDER.prepare(problem_for(group, inputs, outputs, {}), DEPTHWISE, CPU())
    launch = kernel.bind(inputs, outputs, None)
    results = []
    for threads in (1, 2):
        with CPU(threads).running(compiled=True, arrays=False):
            launch()
        results.append(outputs[0].copy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    "made",
    [
        conv((1, 12, 9, 9), (3, 3), pads=1),
        conv((1, 8, 9, 9), (3, 3), pads=2, dilations=2),
        conv((1, 8, 9, 9), (3, 3), pads=3),
        conv((1, 8, 9, 19), (9, 9), pads=4),
        lambda n: n.conv(n.x("f32", 1, 8, 9, 9), n.random("f32", 16, 1, 3, 3), groups=8),
        lambda n: n.conv(n.x("f32", 1, 8, 9, 9), n.x("f32", 8, 1, 3, 3, name="w"), groups=8),
    ],
)
def test_refused(made: Callable[[Net], Tensor]) -> None:
    group = group_of(made)
    inputs, outputs = arrays_of(group)
    with pytest.raises(TacticError):
        PROVIDER.prepare(problem_for(group, inputs, outputs, {}), DEPTHWISE, CPU())


def test_is_offered_before_a_library() -> None:
    group = group_of(conv((1, 32, 14, 14), (3, 3), pads=1))
    inputs, outputs = arrays_of(group)
    assert [t.name for t in PROVIDER.tactics(problem_for(group, inputs, outputs, {}), CPU(), 0)] == ["depthwise"]

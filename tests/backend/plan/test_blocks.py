"""Pointwise layers block by block against the whole arrays at once: the same numbers, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import floats, network, run_both
from trtn.backend.fusion import partition
from trtn.backend.plan.arrays import plan_problems
from trtn.backend.plan.blocks import BLOCK, pointwise_tail
from trtn.backend.plan.storage import plan_storage
from trtn.dsl.network import Network


def tails(net: Network, **sizes: int) -> list[list[str]]:
    groups = partition(net)
    problems = plan_problems(net, groups, plan_storage(net, groups), sizes, 1)
    return [[layer.op.name for layer in pointwise_tail(p)] for p in problems if p is not None]


IMAGE = (
    "network n { dim N in 1..4 input x: f32[N, 3, 90, 130] input r: f32[N, 8, 90, 130] output y: f32[N, 8, 90, 130]"
    " y = relu(conv(x, w.k, pads=1) * w.s + r) }"
)
WEIGHTS = "tensor k: f32[8, 3, 3, 3] = normal(1, 0.5)\ntensor s: f32[8, 1, 1] = normal(2, 0.5)"


@pytest.mark.parametrize("batch", [1, 3])
def test_after_a_convolution(tmp_path: Path, batch: int) -> None:
    """With a scale that broadcasts, and a residual."""
    net = network(IMAGE, tmp_path, WEIGHTS)
    assert tails(net, N=batch) == [["mul", "add", "relu"]]
    run_both(net, [{"x": floats(batch, 3, 90, 130), "r": floats(batch, 8, 90, 130, seed=1)}], tmp_path, exact=False)


SHAPES: list[tuple[int, ...]] = [(3 * BLOCK + 17,), (5, BLOCK), (700, 1, 131), (2, 2, 2, BLOCK - 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_regions_with_several_results(tmp_path: Path, shape: tuple[int, ...]) -> None:
    dims = ", ".join(map(str, shape))
    net = network(
        f"network n {{ input x: f32[{dims}] input row: f32[{shape[-1]}] input c: f32[]"
        f" output y: f32[{dims}] output b: bool[{dims}] t = x * row + c b = t > 0.5 y = where(b, tanh(t), x) }}"
    )
    assert all(tails(net))
    feeds: dict[str, Any] = {"x": floats(*shape), "row": floats(shape[-1], seed=1), "c": np.array(0.25, np.float32)}
    run_both(net, [feeds], tmp_path)


def test_what_is_evaluated_at_once(tmp_path: Path) -> None:
    """Small results, and groups that end with something else or of which an earlier result leaves."""
    assert tails(network("network n { input x: f32[64] output y: f32[64] y = relu(x + 1) }")) == [[]]
    long = f"f32[{4 * BLOCK}]"
    assert tails(network(f"network n {{ input x: {long} output y: {long} y = softmax(x, axis=0) }}")) == [[]]

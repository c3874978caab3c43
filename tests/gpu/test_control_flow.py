"""Bodies of control flow on a GPU that are planned as networks are, against the CPU's reference.

Tolerance: a few sums of f32 in another order: 1e-5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.backend.harness import floats, network
from trtn.backend.build import build

BODIES = {
    "if": (
        "network n { dim N in 1..4 input x: f32[N, 6] input c: bool[] output y: f32[N, 5]"
        " t = relu(x) * 2 + 1"
        " y = if c { a = linear(t, w.k) b = sigmoid(a) * a yield b } else { a = linear(x - t, w.k) yield tanh(a) } }"
    ),
    "scan": (
        "network n { dim N in 1..4 input x: f32[N, 6] input c: bool[] output y: f32[N, 5] output z: f32[5]"
        " first = constant([0, 0, 0, 0, 0], dtype=f32) z, y = scan over row = x carry s = first"
        " { a = linear(reshape(row, shape=[1, 6]), w.k) s = tanh(s + reshape(a, shape=[5])) yield s } }"
    ),
}


@pytest.mark.parametrize("kind", BODIES)
def test_bodies_are_right_in_every_run(kind: str, tmp_path: Path) -> None:
    """The first run, the one that records, and those that replay; of each body in turns."""
    net = network(BODIES[kind], tmp_path, "tensor k: f32[6, 5] = normal(1, 0.5)")
    engine, plain = build(net, device="cuda", effort=0), build(net, device="cpu", providers=())
    chosen = [c.provider for g, c in zip(engine.groups, engine.choices, strict=True) if g.kind == "region"]
    assert chosen == ["control_flow"]
    context = engine.create_context()
    for turn in range(8):
        feeds = {"x": floats(3, 6) + turn, "c": np.array(turn % 3 == 0)}
        found, expected = context.run(feeds), plain.run(feeds)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, 1e-5, 1e-5, err_msg=f"{name} in run {turn}")

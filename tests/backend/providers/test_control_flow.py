"""Bodies of control flow that are planned, against their evaluation layer by layer.

Tolerance: a few sums of f32 in another order, and functions that are good to a few ulp: 1e-5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import floats, network
from trtn.backend.build import build
from trtn.dsl.errors import ShapeError
from trtn.dsl.network import Network

Feeds = Mapping[str, Any]


def check(net: Network, feeds: Sequence[Feeds]) -> None:
    """Twice on each of the feeds, in one context: what an earlier run has left must not show."""
    planned, plain = build(net, device="cpu", effort=0), build(net, device="cpu", providers=())
    chosen = [c.provider for g, c in zip(planned.groups, planned.choices, strict=True) if g.kind == "region"]
    assert chosen and set(chosen) == {"control_flow"}
    context = planned.create_context()
    for given in (*feeds, *feeds):
        found, expected = context.run(given), plain.run(given)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, 1e-5, 1e-5, err_msg=name)
    assert not planned.kernels.fallbacks


def test_if_with_products_inside(tmp_path: Path) -> None:
    net = network(
        "network n { dim N in 1..4 input x: f32[N, 6] input c: bool[] output y: f32[N, 5] output z: f32[N, 6]"
        " t = x * 2 + 1"
        " y, z = if c { a = linear(relu(t), w.k) b = sigmoid(a) * a yield b, t }"
        " else { a = linear(x - t, w.k) yield a, exp(neg(abs(x))) } }",
        tmp_path,
        "tensor k: f32[6, 5] = normal(1, 0.5)",
    )
    check(net, [{"x": floats(n, 6), "c": np.array(c)} for n in (1, 3) for c in (True, False)])


def test_bodies_that_hand_on_what_they_are_given(tmp_path: Path) -> None:
    """Weights, outer values, and one value twice."""
    net = network(
        "network n { input x: f32[4] input c: bool[] output y: f32[4] output z: f32[4]"
        " t = relu(x) y, z = if c { yield w.k, t } else { a = x * 3 yield a, a } }",
        tmp_path,
        "tensor k: f32[4] = normal(3, 0.5)",
    )
    check(net, [{"x": floats(4), "c": np.array(c)} for c in (True, False)])


def test_scan_forwards_backwards_and_along_another_axis() -> None:
    net = network(
        "network n { dim S in 0..8 input x: f32[4, S] input h0: f32[4]"
        " output h: f32[4] output ys: f32[S, 4] output zs: f32[S, 4]"
        " h, ys = scan over v = x axis 1 carry s = h0 { s = tanh(s + v) yield s * 2 }"
        " last, zs = scan over v = x axis 1 reverse carry s = h0 { s = tanh(s - v) yield s } }"
    )
    check(net, [{"x": floats(4, n), "h0": floats(4, seed=1)} for n in (5, 1)])


def test_states_that_change_places() -> None:
    """Both new states are old ones: neither may be overwritten before the other has been read."""
    net = network(
        "network n { input x: f32[3, 4] input a0: f32[4] input b0: f32[4] output a: f32[4] output b: f32[4]"
        " a, b = scan over v = x carry a = a0, b = b0 { t = a + 0 a = b b = t } }"
    )
    check(net, [{"x": floats(3, 4), "a0": floats(4, seed=1), "b0": floats(4, seed=2)}])


@pytest.mark.parametrize("trips", [0, 3, 9])
def test_loop_with_a_condition(trips: int) -> None:
    net = network(
        "network n { input x: f32[4] input n: i64[] output y: f32[4]"
        " y, go_on = loop i in 0..n max 5 carry a = x, go = less(n, n + 1) while go {"
        " a = a * 0.5 + cast(i, to=f32) go = less(reduce_sum(a, axes=[0]), 7.0) } : f32[4], bool[] }"
    )
    check(net, [{"x": floats(4), "n": np.array(trips)}])


@pytest.mark.parametrize("trips", [0, 2, 4])
def test_control_flow_nests(tmp_path: Path, trips: int) -> None:
    net = network(
        "network n { input x: f32[4] input n: i64[] input c: bool[] output y: f32[4]"
        " y = loop i in 0..n max 5 carry a = x { b = loop j in 0..i max 5 carry d = a {"
        " d = if c { yield d * w.k + x } else { yield d - a } } a = b + w.k } }",
        tmp_path,
        "tensor k: f32[4] = normal(1, 0.5)",
    )
    check(net, [{"x": floats(4), "n": np.array(trips), "c": np.array(c)} for c in (True, False)])


def test_a_known_number_of_rounds_with_yields() -> None:
    net = network(
        "network n { dim N in 1..3 input x: f32[N, 4] output y: f32[N, 4] output ys: f32[3, N, 4]"
        " y, ys = loop i in 0..3 carry a = x { a = a * 0.5 + 1.0 yield a } }"
    )
    check(net, [{"x": floats(n, 4)} for n in (2, 3)])


def test_a_guard_of_the_body_that_runs() -> None:
    """What a body needs of the dims must hold when it runs, and need not where the other one does."""
    net = network(
        "network n { dim N in 2..8 input x: f32[N] input c: bool[] output y: f32[N]"
        ' y = if c { assert N >= 4, "four" yield x * 2 } else { yield x + 1 } }'
    )
    engine = build(net, device="cpu", effort=0)
    with pytest.raises(ShapeError):
        engine.run({"x": floats(3), "c": np.array(True)})
    x = floats(3)
    np.testing.assert_array_equal(engine.run({"x": x, "c": np.array(False)})["y"], x + 1)

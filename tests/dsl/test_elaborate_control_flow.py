"""Bodies that stay: branches, scans and loops, and what they capture."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dsl.checking import OUT, X, codes, made, run, spec
from trtn.dsl.network import captures

FLAG = "input c: bool[]\n"


def test_branches_capture() -> None:
    body = (
        FLAG
        + """
      z = exp(x)
      y = if c {
        a = z + x
        yield a
      } else {
        b = if c {
          yield z
        } else {
          yield z * 2
        }
        yield b
      }
    """
    )
    network = made(body)
    (branch,) = [layer for layer in network.layers if layer.op.name == "if"]
    assert [t.name for t in captures(branch)] == ["z", "x", "c"]
    np.testing.assert_allclose(run(body, c=np.array(True)), np.exp(X) + X, rtol=1e-6)
    np.testing.assert_allclose(run(body, c=np.array(False)), np.exp(X) * 2, rtol=1e-6)


def test_names_of_a_branch_stay_inside() -> None:
    assert codes(spec(OUT + FLAG + "y = if c {\n a = x\n yield a\n } else {\n yield a\n }")) == ["E0201"]
    assert codes(spec(OUT + FLAG + "z = if c {\n a = x\n yield a\n } else {\n yield x\n }\n y = a + z")) == ["E0201"]
    assert codes(spec(OUT + FLAG + "a = x\n y = if c {\n a = exp(x)\n yield a\n } else {\n yield x\n }")) == ["E0202"]


def test_scan() -> None:
    body = """
      z = x * 2
      h, ys = scan over r = x, q = x reverse carry h = constant([0.0, 0.0, 0.0, 0.0]) {
        h = h + r + reduce_sum(z)
        yield h - q
      }
      y = ys + h
    """
    total = np.float32((2 * X).sum())
    states = [X[: n + 1].sum(0) + (n + 1) * total for n in range(3)]
    np.testing.assert_allclose(
        run(body), np.stack([s - X[2 - n] for n, s in enumerate(states)]) + states[-1], rtol=1e-5
    )
    columns = """
      h, ys = scan over r = x axis 1 carry h = reduce_sum(x, axes=[1]) {
        h = h + r
        yield h
      }
      y = transpose(ys)
    """
    np.testing.assert_allclose(run(columns), X.sum(1, keepdims=True) + X.cumsum(1), rtol=1e-5)
    assert codes(spec(OUT + "h, y = scan over r = x axis 2 carry h = x {\n yield r\n }")) == ["E0304"]
    assert codes(spec(OUT + "h, y = scan over r = x carry h = x {\n h = r\n yield r\n }")) == ["E0315"]


def test_loop() -> None:
    counted = """
      h, ys = loop i in 0..N carry h = x {
        h = h + cast(i, to=f32)
        yield reduce_sum(h)
      } : f32[N, 4], f32[N]
      y = h
    """
    np.testing.assert_allclose(run(counted), X + 3)
    until = (
        FLAG
        + """
      h, go = loop i in 0..10 max 10 carry h = x, go = c while go {
        h = h + 1
        go = reduce_max(h) < 5.5
      }
      y = h
    """
    )
    np.testing.assert_allclose(run(until, c=np.array(True)), X + 4)
    np.testing.assert_allclose(run(until, c=np.array(False)), X)
    limit = """
      input k: i64[]
      h, ys = loop i in 0..k max 5 carry h = x {
        h = h * 2
        yield h
      } : f32[N, 4], f32[K in 0..5, N, 4]
      y = h
    """
    np.testing.assert_allclose(run(limit, k=np.array(3)), X * 8)
    network = made(limit)
    assert [str(t.type) for t in network.layers[-1].outputs] == ["f32[N, 4]", "f32[K, N, 4]"]


@pytest.mark.parametrize(
    ("loop", "code"),
    [
        ("loop i in 0..k carry h = x {\n h = h\n yield h\n }", "E0212"),
        ("loop i in 0..k max 5 carry h = x {\n h = h\n yield h\n }", "E0314"),
        ("loop i in 0..x max 5 carry h = x {\n h = h * 2\n yield h\n }", "E0302"),
        ("loop i in 0..3 carry h = x while g {\n h = h * 2\n yield h\n }", "E0201"),
        ("loop i in 0..3 carry h = x while h {\n h = h * 2\n yield h\n }", "E0302"),
        ("loop i in 0..3 carry h = x {\n h = transpose(h)\n yield h\n }", "E0315"),
        ("loop i in 0..3 carry h = x {\n h = cast(h, to=f16)\n yield h\n }", "E0315"),
    ],
)
def test_loops_that_fail(loop: str, code: str) -> None:
    assert set(codes(spec(OUT + f"input k: i64[]\n h, ys = {loop}\n y = x"))) == {code}


def test_branches_that_differ() -> None:
    for other in ("cast(x, to=f16)", "x, x", "reduce_sum(x)", "transpose(x)"):
        body = f"z = if c {{\n yield x\n }} else {{\n yield {other}\n }}\n y = x"
        assert set(codes(spec(OUT + FLAG + body))) == {"E0315"}
    assert codes(spec(OUT + "z = if x {\n yield x\n } else {\n yield x\n }\n y = x")) == ["E0302"]


def test_control_flow_nests_with_captures_from_every_level() -> None:
    body = (
        FLAG
        + """
      s = reduce_sum(x)
      h, ys = scan over r = x carry h = constant([0.0, 0.0, 0.0, 0.0]) {
        a = r + s
        b = if c {
          p, q = loop i in 0..2 carry p = a {
            p = p + h + s + cast(i, to=f32)
            yield p
          } : f32[4], f32[2, 4]
          yield p
        } else {
          yield a
        }
        h = h + b
        yield b
      }
      y = ys
    """
    )
    s, h, rows = X.sum(), np.zeros(4, np.float32), []
    for r in X:
        b = (r + s) + (h + s) + (h + s + 1)
        h = h + b
        rows.append(b)
    np.testing.assert_allclose(run(body, c=np.array(True)), np.stack(rows), rtol=1e-4)

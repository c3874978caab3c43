"""Asserts and guards at run time: of the network for each shape, of a body each time it runs, of sizes that the data
decides once they are known.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import network
from trtn.backend.build import build
from trtn.backend.engine.file import load_engine
from trtn.backend.runtime import Engine
from trtn.dsl.errors import ShapeError

Reload = Callable[[str], list[Engine]]


@pytest.fixture
def engines(tmp_path: Path) -> Reload:
    """The engine of a network's text as it is built, and as its file is read."""

    def make(text: str) -> list[Engine]:
        built = build(network(text))
        built.save(tmp_path / "e.engine")
        return [built, load_engine(tmp_path / "e.engine")]

    return make


def refused(engine: Engine, words: str, **feeds: Any) -> None:
    with pytest.raises(ShapeError, match=words) as caught:
        engine.run(feeds)
    assert [d.code for d in caught.value.diagnostics] == ["E0707"]


def rows(count: int, value: float = 1.0) -> np.ndarray[Any, Any]:
    return np.full((count, 4), value, np.float32)


BRANCH = """
network n {
  dim N in 1..8
  input x: f32[N, 4]
  input c: bool[]
  output y: f32[N, 4]
  y = if c {
    %s
    t = slice(x, start=[4])
    yield x + reduce_sum(t)
  } else {
    yield x * 2
  }
}
"""


@pytest.mark.parametrize(
    ("stated", "words"),
    [("", "layer `y.then.t`: slice of dim N"), ('assert N >= 5, "long"', r"`assert N >= 5` \(long\) does not hold")],
)
def test_a_branch_is_guarded_where_it_runs(engines: Reload, stated: str, words: str) -> None:
    for engine in engines(BRANCH % stated):
        np.testing.assert_array_equal(engine.run({"x": rows(2), "c": np.array(False)})["y"], rows(2, 2))
        np.testing.assert_array_equal(engine.run({"x": rows(6), "c": np.array(True)})["y"], rows(6, 9))
        refused(engine, words, x=rows(2), c=np.array(True))
        np.testing.assert_array_equal(engine.run({"x": rows(2), "c": np.array(False)})["y"], rows(2, 2))


def test_a_divisor_that_is_0_where_a_branch_does_not_run(engines: Reload) -> None:
    text = BRANCH.replace("slice(x, start=[4])", "fill(shape=[8 // (N - 1)], value=1.0)") % ""
    for engine in engines(text):
        np.testing.assert_array_equal(engine.run({"x": rows(1), "c": np.array(False)})["y"], rows(1, 2))
        np.testing.assert_array_equal(engine.run({"x": rows(3), "c": np.array(True)})["y"], rows(3, 5))
        refused(engine, "divides by `N - 1`", x=rows(1), c=np.array(True))


def test_a_loop_is_guarded_where_it_runs(engines: Reload) -> None:
    text = """
network n {
  dim N in 1..8
  input x: f32[N, 4]
  input n: i64[]
  output y: f32[N, 4]
  y = loop i in 0..n max 4 carry h = x {
    assert N >= 3
    h = h + h
  }
}
"""
    for engine in engines(text):
        np.testing.assert_array_equal(engine.run({"x": rows(2), "n": np.int64(0)})["y"], rows(2))
        np.testing.assert_array_equal(engine.run({"x": rows(3), "n": np.int64(2)})["y"], rows(3, 4))
        refused(engine, "assert N >= 3", x=rows(2), n=np.int64(1))


COUNTED = """
network n {
  dim N in 1..8
  input x: f32[N, 4]
  input c: bool[]
  output y: %s
  %s
}
"""
COUNT = 'k = nonzero(x) : i64[2, K in 0..4 * N]\n assert K <= 3, "few"\n'


@pytest.mark.parametrize(
    ("output", "body"),
    [
        ("i64[2, K]", f"{COUNT} y = k"),
        ("i64[2]", f"{COUNT} y = reduce_sum(k, axes=[1])"),
        ("i64[1]", f"{COUNT} y = dims(values=[K])"),
        ("f32[N, 4]", f"{COUNT} y = relu(x)"),
        ("i64[2]", f"y = if c {{\n {COUNT} yield reduce_sum(k, axes=[1])\n }} else {{\n yield constant([0, 0])\n }}"),
        ("f32[N, 4]", f"y = if c {{\n {COUNT} yield relu(x)\n }} else {{\n yield x\n }}"),
    ],
)
def test_asserts_about_sizes_that_the_data_decides(engines: Reload, output: str, body: str) -> None:
    few = np.zeros((8, 4), np.float32)
    few[1, :3] = 1
    for engine in engines(COUNTED % (output, body)):
        engine.run({"x": few, "c": np.array(True)})
        refused(engine, r"`assert K <= 3` \(few\) does not hold for .*K = 8", x=rows(2), c=np.array(True))
        if " if " in body:
            engine.run({"x": rows(2), "c": np.array(False)})


@pytest.mark.parametrize("body", ["y = {}", "y = if c {{\n yield {}\n }} else {{\n yield x\n }}"])
def test_a_bound_of_a_size_that_the_data_decides(engines: Reload, body: str) -> None:
    count, add = "k = nonzero(x) : i64[2, K in 0..3]\n", "x + cast(reduce_sum(k), to=f32)"
    stated = body.format(add).replace("yield x +", f"{count} yield x +") if "if" in body else count + body.format(add)
    for engine in engines(COUNTED % ("f32[N, 4]", stated)):
        engine.run({"x": rows(2, 0), "c": np.array(True)})
        refused(engine, "K", x=rows(2), c=np.array(True))


DIVIDED = """
network n {
  dim N in 0..8
  dim M in 0..8
  assert M >= 1
  input a: f32[N]
  input b: f32[M]
  input c: f32[N // M]
  output y: f32[N // M]
  y = relu(c)
}
"""


def test_a_feed_that_makes_a_divisor_0(engines: Reload) -> None:
    for engine in engines(DIVIDED):
        engine.run({"a": np.ones(6, np.float32), "b": np.ones(3, np.float32), "c": np.ones(2, np.float32)})
        with pytest.raises(ShapeError, match=r"division by zero|M >= 1"):
            engine.run({"a": np.ones(6, np.float32), "b": np.ones(0, np.float32), "c": np.ones(2, np.float32)})
        context = engine.create_context()
        with pytest.raises(ShapeError):
            for name, size in (("a", 6), ("b", 0), ("c", 2)):
                context.set_input_shape(name, (size,))
            context.output_shape("y")


def test_an_assert_that_divides_by_what_the_data_makes_0(engines: Reload) -> None:
    body = "k = nonzero(x) : i64[2, K in 0..4 * N]\n assert 8 // max(K, 1) >= 2\n y = relu(x)"
    for engine in engines(COUNTED % ("f32[N, 4]", body)):
        engine.run({"x": rows(1), "c": np.array(True)})
        engine.run({"x": rows(2, 0), "c": np.array(True)})
        refused(engine, "assert 8//max", x=rows(2), c=np.array(True))

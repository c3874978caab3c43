"""Contexts: bound buffers, stated shapes, memory, and what is kept for recent shapes."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import floats, network
from trtn.backend.build import build
from trtn.backend.runtime import Engine
from trtn.backend.runtime import context as context_module
from trtn.backend.runtime import schedule as schedule_module
from trtn.dsl.errors import ShapeError

TEXT = """
network n {
  dim N in 0..64
  input x: f32[N, 4]
  input s: f32[]
  output y: f32[N, 4]
  output z: f32[4, N]
  a = softmax(x) * s
  y = softmax(a + x)
  z = transpose(relu(a))
}
"""


@pytest.fixture(scope="module")
def engine() -> Engine:
    return build(network(TEXT))


def feeds(n: int, seed: int = 0) -> dict[str, Any]:
    return {"x": floats(n, 4, seed=seed), "s": np.array(2, np.float32)}


def buffers(n: int) -> dict[str, Any]:
    return {**feeds(n), "y": np.full((n, 4), 7, np.float32), "z": np.full((4, n), 7, np.float32)}


def refused(match: str) -> Any:
    return pytest.raises(ShapeError, match=match)


# bound buffers


def test_execute_writes_the_bound_outputs(engine: Engine) -> None:
    context = engine.create_context()
    bound = buffers(5)
    context.bind(bound)
    for seed in (1, 2):
        bound["x"][...] = floats(5, 4, seed=seed)
        context.execute_async()
        expected = engine.run({"x": bound["x"], "s": bound["s"]})
        np.testing.assert_array_equal(bound["y"], expected["y"])
        np.testing.assert_array_equal(bound["z"], expected["z"])


def test_buffers_are_bound_one_by_one_and_exchanged(engine: Engine) -> None:
    context = engine.create_context()
    bound = buffers(5)
    for name in ("x", "y", "s"):
        context.bind({name: bound[name]})
        with refused("`z` has no buffer" if name == "s" else "has no buffer"):
            context.execute_async()
    context.bind({"z": bound["z"]})
    context.execute_async()
    larger = buffers(9)
    context.bind({name: larger[name] for name in ("x", "y", "z")})
    context.execute_async()
    np.testing.assert_array_equal(larger["z"], engine.run(feeds(9))["z"])


def test_a_bound_output_of_the_wrong_shape(engine: Engine) -> None:
    context = engine.create_context()
    context.bind({**buffers(5), "y": np.zeros((4, 4), np.float32)})
    with refused(r"buffer of `y` has shape \[4, 4\]; it is \[5, 4\]"):
        context.execute_async()


@pytest.mark.parametrize(
    ("name", "buffer", "words"),
    [
        ("q", np.zeros(1, np.float32), "no `q` here"),
        ("x", np.zeros((2, 4)), "C-contiguous NumPy array of f32"),
        ("x", np.zeros((2, 8), np.float32)[:, ::2], "C-contiguous"),
        ("x", [[1.0]], "C-contiguous NumPy array"),
        ("x", np.zeros(4, np.float32), "rank 1"),
        ("y", np.broadcast_to(np.zeros(4, np.float32), (1, 4)), "read-only"),
    ],
)
def test_buffers_that_can_not_be_bound(engine: Engine, name: str, buffer: Any, words: str) -> None:
    context = engine.create_context()
    with refused(words):
        context.bind({name: buffer})


def test_buffers_that_share_memory(engine: Engine) -> None:
    memory = np.zeros((12, 4), np.float32)
    context = engine.create_context()
    with refused("`y` and of `x` share memory"):
        context.bind({"x": memory[:8], "y": memory[4:]})
    context.bind({"x": memory[:6]})
    with refused("share memory"):
        context.bind({"y": memory[:6]})
    context.bind({"y": memory[6:]})


def test_a_refused_binding_changes_nothing(engine: Engine) -> None:
    context = engine.create_context()
    bound = buffers(5)
    context.bind(bound)
    with refused("rank"):
        context.bind({"y": np.zeros((9, 4), np.float32), "x": np.zeros(3, np.float32)})
    context.execute_async()
    np.testing.assert_array_equal(bound["y"], engine.run(feeds(5))["y"])


def test_data_dependent_outputs_into_buffers() -> None:
    text = "network n { dim N in 0..8 input x: f32[N] output i: i64[1, K] i = nonzero(relu(x)) : i64[1, K in 0..N] }"
    context = build(network(text)).create_context()
    x = np.array([1, -1, 1], np.float32)
    out = np.zeros((1, 2), np.int64)
    context.bind({"x": x, "i": out})
    context.execute_async()
    np.testing.assert_array_equal(out, [[0, 2]])
    x[1] = 1
    with refused(r"buffer of `i` has shape \[1, 2\]; the result has \[1, 3\]"):
        context.execute_async()


# stated shapes


def test_output_shapes_follow_from_stated_input_shapes(engine: Engine) -> None:
    context = engine.create_context()
    with refused("shape of input `x` has not been set"):
        context.output_shape("y")
    context.set_input_shape("x", (6, 4))
    assert context.output_shape("y") == (6, 4)
    assert context.output_shape("z") == (4, 6)
    context.bind({"x": floats(3, 4)})
    assert context.output_shape("z") == (4, 3)
    context.set_input_shape("x", (np.int64(0), 4))
    assert context.output_shape("z") == (4, 0)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4,), "does not fit"),
        ((-1, 4), "does not fit"),
        (("a", 4), "tuple of integers"),
        (5, "tuple of integers"),
        ((1.5, 4), "integers"),
    ],
)
def test_shapes_that_can_not_be_stated(engine: Engine, shape: Any, words: str) -> None:
    with refused(words):
        engine.create_context().set_input_shape("x", shape)


def test_shapes_that_the_network_is_not_defined_for(engine: Engine) -> None:
    context = engine.create_context()
    context.set_input_shape("x", (65, 4))
    with refused(r"`N` is 65; the network is defined for 0\.\.64"):
        context.output_shape("y")
    context.set_input_shape("x", (5, 3))
    with refused("dim 1 is 3"):
        context.output_shape("y")
    with refused("no `w` here"):
        context.set_input_shape("w", (5, 3))
    with refused("no `x` here"):
        context.output_shape("x")


# memory


def test_memory_grows_to_the_largest_shape_and_results_stay_right(engine: Engine) -> None:
    context = engine.create_context()
    assert context.memory == 0
    most = 0
    for n in (1, 64, 3, 64, 0, 17, 1):
        got = context.run(feeds(n, seed=n))
        expected = engine.create_context().run(feeds(n, seed=n))
        for name in got:
            np.testing.assert_array_equal(got[name], expected[name])
        most = max(most, n)
        assert context.memory == engine.arena({"N": most}).nbytes


def test_recent_shapes_are_kept_ready(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Counted(schedule_module.Schedule):
        def attach(self, memory: Any) -> None:
            made.append(self.sizes["N"])
            super().attach(memory)

    monkeypatch.setattr(context_module, "Schedule", Counted)
    monkeypatch.setattr(context_module, "SCHEDULE_LIMIT", 3)
    context = engine.create_context()
    for n in (9, 1, 2, 9, 1, 9, 4, 2, 9):
        context.run(feeds(n))
    assert made == [9, 1, 2, 4, 2]  # 4 pushed out 2, the oldest; 2 then pushed out 1


def test_an_arena_that_does_not_fit_into_memory() -> None:
    text = (
        "network n { dim N in 1..2000000000 input x: bool[N] output y: f32[]"
        " y = reduce_sum(softmax(fill(shape=[N, N]))) }"
    )
    engine = build(network(text))
    context = engine.create_context()
    with refused("out of memory"):
        context.run({"x": np.zeros(40_000_000, np.bool_)})
    assert context.run({"x": np.zeros(4, np.bool_)})["y"] == 4


def test_an_output_that_does_not_fit_into_memory() -> None:
    text = "network n { dim N in 1..2000000000 input x: bool[N] output y: f32[N, N] y = fill(shape=[N, N]) }"
    context = build(network(text)).create_context()
    with refused("out of memory"):
        context.run({"x": np.zeros(40_000_000, np.bool_)})
    assert context.run({"x": np.zeros(1, np.bool_)})["y"].shape == (1, 1)


# arrays of the caller's that steps are bound to


LARGE = """
network n {
  dim N in 1..4
  input x: f32[N, 80000]
  output y: f32[N, 80000]
  y = softmax(relu(x))
}
"""


def exact(x: Any) -> Any:
    positive = np.exp(np.maximum(x, 0) - np.maximum(x, 0).max(-1, keepdims=True))
    return positive / positive.sum(-1, keepdims=True)


def test_feeds_that_lie_where_the_last_ones_did() -> None:
    """Steps are bound anew only where arrays lie elsewhere; what is read is what is there now."""
    context = build(network(LARGE)).create_context()
    first, second = floats(1, 80000, seed=1), floats(1, 80000, seed=2)
    for x in (first, first, second, first, floats(2, 80000, seed=3), second):
        for _ in range(3):
            x += 0.5
            np.testing.assert_allclose(context.run({"x": x})["y"], exact(x), 1e-4)


def test_feeds_are_not_held_after_a_run() -> None:
    context = build(network(LARGE)).create_context()
    for _ in range(5):
        x = floats(1, 80000)
        result = context.run({"x": x})
        gone = [weakref.ref(x), weakref.ref(result["y"])]
        del x, result
        assert [ref() for ref in gone] == [None, None]

"""One engine, many threads: every result is that of a serial run, to the bit. Set TRTN_FULL_TESTS for the
long version.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import assert_same, floats, network
from trtn.backend.build import build
from trtn.backend.engine.file import load_engine
from trtn.backend.runtime import Context, Engine
from trtn.dsl.errors import EngineError

SECONDS = 30.0 if os.environ.get("TRTN_FULL_TESTS") else 1.5
THREADS = 8
SHAPES = (1, 2, 5, 8, 13, 21, 32, 40, 55, 64, 3, 7)  # more than a context keeps ready

TEXT = """
network n {
  dim N in 0..64
  input x: f32[N, 8]
  input c: bool[]
  output y: f32[N, 8]
  output i: i64[2, K]
  output z: f32[8]
  a = softmax(x)
  b = tanh(linear(a, w.k))
  both = concat(a, b, axis=1)
  y = if c { yield softmax(linear(both, w.k2)) } else { yield relu(b) }
  i = nonzero(relu(b)) : i64[2, K in 0..8*N]
  z = scan_sum(both)
}
"""
BLOCK = """
block scan_sum(x: f32[N, 16]) -> f32[8] {
  s = scan over v = x carry s = w.zero { s = tanh(s + slice(v, start=[4], end=[12], axes=[0])) }
  return s
}
"""
WEIGHTS = """
tensor k: f32[8, 8] = normal(1, 0.5)
tensor k2: f32[16, 8] = normal(2, 0.5)
tensor zero: f32[8] = zeros
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("threads")
    build(network(BLOCK + TEXT, folder, WEIGHTS)).save(folder / "net.engine")
    return load_engine(folder / "net.engine")  # never run: what is made on first use is made by many at once


def feeds(n: int) -> dict[str, Any]:
    return {"x": floats(n, 8, seed=n), "c": np.array(n % 2 == 0)}


@pytest.fixture(scope="module")
def expected(engine: Engine) -> dict[int, dict[str, Any]]:
    copy = Engine(engine.network, engine.groups, engine.points, engine.provenance)
    return {n: copy.create_context().run(feeds(n)) for n in SHAPES}


def hammer(jobs: list[Callable[[int], None]]) -> None:
    """Run each job in a thread of its own, round after round, until the time is over. What one raises is
    raised here.
    """
    failures: list[BaseException] = []
    end = time.monotonic() + SECONDS
    start = threading.Barrier(len(jobs))

    def work(job: Callable[[int], None]) -> None:
        try:
            start.wait()
            turn = 0
            while time.monotonic() < end and not failures:
                job(turn)
                turn += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_engine_run_from_many_threads(engine: Engine, expected: dict[int, dict[str, Any]]) -> None:
    def job(number: int) -> Callable[[int], None]:
        def run(turn: int) -> None:
            n = SHAPES[(number + turn) % len(SHAPES)]
            assert_same(engine.run(feeds(n)), expected[n])

        return run

    hammer([job(number) for number in range(THREADS)])


def test_a_context_for_each_thread(engine: Engine, expected: dict[int, dict[str, Any]]) -> None:
    """Half of the threads keep to a shape, half change it with each run."""

    def job(number: int) -> Callable[[int], None]:
        context = engine.create_context()

        def run(turn: int) -> None:
            n = SHAPES[(number + (turn if number % 2 else 0)) % len(SHAPES)]
            assert_same(context.run(feeds(n)), expected[n])

        return run

    hammer([job(number) for number in range(THREADS)])


def test_a_context_is_refused_to_a_second_thread() -> None:
    engine = build(network("network n { dim N in 1..8 input x: f32[N] output y: f32[N] y = relu(x) }"))
    context = engine.create_context()
    inside, leave = threading.Event(), threading.Event()

    class Slow(dict[str, Any]):
        """Feeds that hold the context for as long as the test wants."""

        def __iter__(self) -> Any:
            inside.set()
            leave.wait(10)
            return super().__iter__()

    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(context.run(Slow(x=floats(4)))))
    thread.start()
    assert inside.wait(10)
    try:
        for attempt in (lambda: context.run({"x": floats(4)}), context.execute_async):
            with pytest.raises(EngineError, match="running on another thread"):
                attempt()
        engine.run({"x": floats(4)})  # has a context of its own
    finally:
        leave.set()
        thread.join()
    assert_same(results[0], context.run({"x": floats(4)}))  # free again


def test_a_context_is_free_after_an_error() -> None:
    context: Context = build(
        network("network n { dim N in 1..8 input x: f32[N] output y: f32[N] y = relu(x) }")
    ).create_context()
    for _ in range(2):
        with pytest.raises(Exception, match="no feed"):
            context.run({})
    context.run({"x": floats(2)})

"""Engines on a GPU: the CPU's results, whatever way the feeds come and the outputs go.

How fast an engine is does not matter here, so little is timed: the tuner has tests of its own. TRTN_FULL_TESTS takes
more of the large specs.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
import pytest

import trtn
from tests.gpu.nets import assert_close, fixed_at, load, make_feeds
from trtn.backend.runtime import Engine
from trtn.dsl.load import load_text

RTOL = 2e-4
"""Of the reference's norm: float32 sums in other orders, through up to 160 layers."""
CASES: dict[str, dict[str, int]] = {
    "lenet": {"N": 3},
    "mobilenet_v2": {"N": 2},
    "resnet50": {"N": 2},
    "encoder": {"B": 2, "S": 16},
    "decoder": {"B": 1, "S": 24},
}
LARGE = {"bert_base": {"B": 2, "S": 16}, "gpt2_small": {"B": 1, "S": 24}}
"""More than 100 million weights, which take seconds to be made up."""
FULL = bool(os.environ.get("TRTN_FULL_TESTS"))
SIZES = CASES | LARGE
HALF_RTOL = {"mobilenet_v2": 2e-2}
"""Of f16 engines where it is not 5e-3: random weights lose more through 52 convolutions."""


@cache
def on_cpu(spec: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Feeds of a case and the CPU's results for them."""
    feeds = make_feeds(load(spec), SIZES[spec])
    return feeds, trtn.build(load(spec), device="cpu").run(feeds)


@cache
def lenet(device: str) -> Engine:
    return trtn.build(load("lenet"), device=device, effort=0)


@pytest.mark.parametrize("spec", [*CASES, *(LARGE if FULL else ())])
def test_specs_give_the_cpu_results(spec: str) -> None:
    feeds, reference = on_cpu(spec)
    context = trtn.build(load(spec), device="cuda", effort=0).create_context()
    for _ in range(3):
        assert_close(context.run(feeds), reference, RTOL)


@pytest.mark.parametrize("spec", [*CASES, *(LARGE if FULL else ["bert_base"])])
def test_f16_is_one_graph_and_near_f32(spec: str) -> None:
    feeds, reference = on_cpu(spec)
    network = fixed_at(load(spec), SIZES[spec])
    context = trtn.build(network, device="cuda", precision="f16", effort=1).create_context()
    for _ in range(2):
        assert_close(context.run(feeds), reference, HALF_RTOL.get(spec, 5e-3))
    assert [r.graphs for r in context._recordings.values()] == [1], "the steps were not recorded as one graph"


DYNAMIC = """trtn 1
network m {
  dim N in 1..64
  input  x: f32[N, 8]
  output y: f32[N, 8]
  output k: i64[2, K]
  output s: f32[8]
  y = softmax(x * 2.0)
  k = nonzero(max(x, 0.0)) : i64[2, K in 0..8 * N]
  zero = constant([0, 0, 0, 0, 0, 0, 0, 0], dtype=f32)
  s, _ = scan over row = x carry t = zero {
    t = t + row
    yield t
  }
}
"""


def test_sizes_in_the_data_and_several_shapes() -> None:
    network = load_text(DYNAMIC)
    cpu, gpu = trtn.build(network, device="cpu"), trtn.build(network, device="cuda", effort=0)
    context = gpu.create_context()
    for seed, n in enumerate((4, 64, 1, 4, 33)):
        feeds = make_feeds(network, {"N": n}, seed)
        assert_close(context.run(feeds), cpu.run(feeds), RTOL)


def test_cupy_in_cupy_out() -> None:
    import cupy

    network = load("lenet")
    feeds = make_feeds(network, {"N": 2})
    engine = lenet("cuda")
    out = engine.run({n: cupy.asarray(a) for n, a in feeds.items()})
    assert all(isinstance(a, cupy.ndarray) for a in out.values())
    assert_close({n: a.get() for n, a in out.items()}, lenet("cpu").run(feeds), RTOL)


def test_bound_buffers() -> None:
    import cupy

    network = load("lenet")
    engine = lenet("cuda")
    context = engine.create_context()
    image, prob = cupy.empty((2, 1, 28, 28), cupy.float32), cupy.empty((2, 10), cupy.float32)
    context.bind({"image": image, "prob": prob})
    reference = lenet("cpu")
    stream = cupy.cuda.Stream(non_blocking=True)
    for seed in range(3):
        feeds = make_feeds(network, {"N": 2}, seed)
        image.set(feeds["image"], stream=stream)
        context.execute_async(stream)
        stream.synchronize()
        assert_close({"prob": prob.get()}, reference.run(feeds), RTOL)


def test_buffers_bound_anew() -> None:
    """Runs on bound buffers replay a graph at once; other buffers and other shapes take another."""
    import cupy

    network = load("lenet")
    context = lenet("cuda").create_context()
    reference = lenet("cpu")
    kept = []
    for seed, n in enumerate((2, 2, 5, 1)):
        feeds = make_feeds(network, {"N": n}, seed)
        image, prob = cupy.asarray(feeds["image"]), cupy.empty((n, 10), cupy.float32)
        context.bind({"image": image, "prob": prob})
        for _ in range(3):
            prob.fill(0)
            cupy.cuda.get_current_stream().synchronize()
            context.execute_async()
            context.stream.synchronize()
            assert_close({"prob": prob.get()}, reference.run(feeds), RTOL)
        context.run(make_feeds(network, {"N": 40 + n}, seed))  # the memory grows under the graph
        kept.append((image, prob))
        context.execute_async()
        context.stream.synchronize()
        assert_close({"prob": prob.get()}, reference.run(feeds), RTOL)


def test_two_contexts_on_two_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    network = load("lenet")
    engine = lenet("cuda")
    cases = [make_feeds(network, {"N": n}, n) for n in (1, 5, 9, 16)]
    references = [lenet("cpu").run(f) for f in cases]
    with ThreadPoolExecutor(2) as pool:
        for found, expected in zip(pool.map(engine.run, cases * 5), references * 5, strict=True):
            assert_close(found, expected, RTOL)


def test_wrong_feeds_are_refused_and_the_context_lives() -> None:
    network = load("lenet")
    context = lenet("cuda").create_context()
    with pytest.raises(trtn.ShapeError):
        context.run({"image": np.zeros((65, 1, 28, 28), np.float32)})
    assert context.run(make_feeds(network, {"N": 1}))["prob"].shape == (1, 10)


NUMBERED = """trtn 1
network m {
  dim N in 1..64
  input  x: f32[N, 8]
  output k: i64[2, K]
  output y: f32[N, 8]
  k = nonzero(max(x, 0.0)) : i64[2, K in 0..8 * N]
  y = x + unsqueeze(range(end=N, dtype=f32), axes=1)
}
"""


def test_what_depends_on_sizes_alone_outlasts_what_the_host_allocates() -> None:
    """A graph copies such results from where they are. A layer that can't be recorded takes memory in each run."""
    network = load_text(NUMBERED)
    context = trtn.build(network, device="cuda", effort=0).create_context()
    cpu = trtn.build(network, device="cpu")
    for seed, n in enumerate((16, 16, 64, 16, 64)):
        feeds = {"x": np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)}
        assert_close(context.run(feeds), cpu.run(feeds), RTOL)

"""Engines on a GPU: the CPU's results, whatever way the feeds come and the outputs go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtn
from trtn.dsl.load import load_text
from trtn.dsl.network import Network

SPECS = Path(__file__).parent.parent.parent / "specs"
RTOL = 2e-4
"""Of the reference's norm: float32 sums in other orders, through up to 160 layers."""


def make_feeds(network: Network, sizes: dict[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    from trtn.dsl.dims import evaluate

    rng = np.random.default_rng(seed)
    feeds = {}
    for t in network.inputs:
        shape = tuple(evaluate(d, sizes) for d in t.shape)
        if t.dtype.is_float:
            feeds[t.name] = rng.standard_normal(shape).astype(t.dtype.numpy)
        else:
            feeds[t.name] = rng.integers(0, 2, shape).astype(t.dtype.numpy)
    return feeds


def assert_close(ours: dict[str, Any], reference: dict[str, Any], rtol: float = RTOL) -> None:
    for name, expected in reference.items():
        found = ours[name]
        assert found.shape == expected.shape and found.dtype == expected.dtype
        norm = np.linalg.norm(expected.astype(np.float64)) or 1.0
        assert np.linalg.norm(found.astype(np.float64) - expected.astype(np.float64)) <= rtol * norm, name


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ("lenet", {"N": 3}),
        ("mobilenet_v2", {"N": 2}),
        ("resnet50", {"N": 1}),
        ("bert_base", {"B": 2, "S": 16}),
        ("gpt2_small", {"B": 1, "S": 24}),
    ],
)
def test_specs_give_the_cpu_results(spec: str, sizes: dict[str, int]) -> None:
    network = trtn.load(SPECS / f"{spec}.trtn")
    feeds = make_feeds(network, sizes)
    reference = trtn.build(network, device="cpu").run(feeds)
    context = trtn.build(network, device="cuda").create_context()
    for _ in range(3):
        assert_close(context.run(feeds), reference)


@pytest.mark.parametrize(
    ("spec", "sizes", "rtol"),
    [
        ("mobilenet_v2", {"N": 2}, 2e-2),  # random weights: what f16 itself loses through its 52 convolutions
        ("resnet50", {"N": 8}, 5e-3),
        ("bert_base", {"B": 2, "S": 16}, 5e-3),
        ("gpt2_small", {"B": 1, "S": 24}, 5e-3),
    ],
)
def test_f16_is_one_graph_and_near_f32(spec: str, sizes: dict[str, int], rtol: float) -> None:
    network = trtn.load(SPECS / f"{spec}.trtn")
    feeds = make_feeds(network, sizes)
    reference = trtn.build(network, device="cpu").run(feeds)
    context = trtn.build(network, device="cuda", precision="f16").create_context()
    for _ in range(2):
        assert_close(context.run(feeds), reference, rtol)
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
    cpu, gpu = trtn.build(network, device="cpu"), trtn.build(network, device="cuda")
    context = gpu.create_context()
    for seed, n in enumerate((4, 64, 1, 4, 33)):
        feeds = make_feeds(network, {"N": n}, seed)
        assert_close(context.run(feeds), cpu.run(feeds))


def test_cupy_in_cupy_out() -> None:
    import cupy

    network = trtn.load(SPECS / "lenet.trtn")
    feeds = make_feeds(network, {"N": 2})
    engine = trtn.build(network, device="cuda")
    out = engine.run({n: cupy.asarray(a) for n, a in feeds.items()})
    assert all(isinstance(a, cupy.ndarray) for a in out.values())
    assert_close({n: a.get() for n, a in out.items()}, trtn.build(network, device="cpu").run(feeds))


def test_bound_buffers() -> None:
    import cupy

    network = trtn.load(SPECS / "lenet.trtn")
    engine = trtn.build(network, device="cuda")
    context = engine.create_context()
    image, prob = cupy.empty((2, 1, 28, 28), cupy.float32), cupy.empty((2, 10), cupy.float32)
    context.bind({"image": image, "prob": prob})
    reference = trtn.build(network, device="cpu")
    stream = cupy.cuda.Stream(non_blocking=True)
    for seed in range(3):
        feeds = make_feeds(network, {"N": 2}, seed)
        image.set(feeds["image"], stream=stream)
        context.execute_async(stream)
        stream.synchronize()
        assert_close({"prob": prob.get()}, reference.run(feeds))


def test_buffers_bound_anew() -> None:
    """Runs on bound buffers replay a graph at once; other buffers and other shapes take another."""
    import cupy

    network = trtn.load(SPECS / "lenet.trtn")
    context = trtn.build(network, device="cuda").create_context()
    reference = trtn.build(network, device="cpu")
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
            assert_close({"prob": prob.get()}, reference.run(feeds))
        context.run(make_feeds(network, {"N": 40 + n}, seed))  # the memory grows under the graph
        kept.append((image, prob))
        context.execute_async()
        context.stream.synchronize()
        assert_close({"prob": prob.get()}, reference.run(feeds))


def test_two_contexts_on_two_threads() -> None:
    from concurrent.futures import ThreadPoolExecutor

    network = trtn.load(SPECS / "lenet.trtn")
    engine = trtn.build(network, device="cuda")
    cases = [make_feeds(network, {"N": n}, n) for n in (1, 5, 9, 16)]
    references = [trtn.build(network, device="cpu").run(f) for f in cases]
    with ThreadPoolExecutor(2) as pool:
        for found, expected in zip(pool.map(engine.run, cases * 5), references * 5, strict=True):
            assert_close(found, expected)


def test_saved_engine(tmp_path: Path) -> None:
    network = trtn.load(SPECS / "lenet.trtn")
    engine = trtn.build(network, device="cuda")
    engine.save(tmp_path / "lenet.engine")
    loaded = trtn.load_engine(tmp_path / "lenet.engine")
    feeds = make_feeds(network, {"N": 4})
    np.testing.assert_array_equal(loaded.run(feeds)["prob"], engine.run(feeds)["prob"])


def test_wrong_feeds_are_refused_and_the_context_lives() -> None:
    network = trtn.load(SPECS / "lenet.trtn")
    context = trtn.build(network, device="cuda").create_context()
    with pytest.raises(trtn.ShapeError):
        context.run({"image": np.zeros((65, 1, 28, 28), np.float32)})
    assert context.run(make_feeds(network, {"N": 1}))["prob"].shape == (1, 10)

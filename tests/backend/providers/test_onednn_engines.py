"""Whole engines through oneDNN against ONNX Runtime and the reference: layouts between steps, files, threads, machines
without the library.

Tolerance: both sides round in f32, in another order; results agree to 1e-4 of the largest value, where one step's
rounding (1e-6) has room to grow through the 50 steps of the deepest network.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import trtn
from trtn.backend.providers import find_provider
from trtn.backend.providers.onednn import library
from trtn.backend.runtime import Engine
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network

pytestmark = pytest.mark.skipif(library.unavailable() is not None, reason=str(library.unavailable()))

SPECS = Path(__file__).resolve().parents[3] / "specs"
LARGEST = 1e-4
BF16_LARGEST = 2e-2
SIZES = {"N": 1, "B": 1, "S": 16}


def feeds_for(network: Network) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    feeds: dict[str, Any] = {}
    for t in network.inputs:
        shape = [d if isinstance(d, int) else SIZES[str(d)] for d in t.shape]
        whole = rng.integers(0, 2, shape) if not t.dtype.is_float else rng.standard_normal(shape)
        feeds[t.name] = whole.astype(t.dtype.numpy)
    return feeds


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, array in expected.items():
        assert np.abs(found[name] - array).max() <= LARGEST * np.abs(array).max(), name


def steps_of(engine: Engine) -> list[str]:
    """The kinds of groups that the reference runs."""
    return [g.kind for g, c in zip(engine.groups, engine.choices, strict=True) if c.provider == "reference"]


@pytest.mark.parametrize("name", ["lenet", "mobilenet_v2", "resnet50"])
def test_specs_against_onnx_runtime(name: str) -> None:
    network = trtn.load(SPECS / f"{name}.trtn")
    engine = trtn.build(network, device="cpu")
    assert set(steps_of(engine)) <= {"view"} and not engine.kernels.fallbacks
    feeds = feeds_for(network)
    session = onnxruntime.InferenceSession(trtn.export_onnx(network).SerializeToString())
    names = [o.name for o in session.get_outputs()]
    assert_close(engine.run(feeds), dict(zip(names, session.run(names, feeds), strict=True)))


TEXT = """trtn 1
network net {
  dim N in 1..4
  dim S in 1..8
  input x: f32[N, 4, 12, 12]
  input q: f32[N, S, 16]
  output y: f32[N, 8, 6, 6]
  output z: f32[N, S, 16]
  a = relu(conv(x, normal_k, pads=1))
  y = max_pool(concat(a, sigmoid(a), axis=1), kernel=[2, 2], strides=2)
  h = transpose(reshape(q, shape=[N, S, 2, 8]), perm=[0, 2, 1, 3])
  c = attention(h, h, h, causal=true)
  z = layer_norm(reshape(transpose(c, perm=[0, 2, 1, 3]), shape=[N, S, 16]) + q)
}
"""
"""`normal_k` stands for a weight."""


@pytest.fixture
def net(tmp_path: Path) -> Network:
    (tmp_path / "w.weights.trtn").write_text("trtn 1\nmanifest w {\ntensor k: f32[4, 4, 3, 3] = normal(3, 0.3)\n}\n")
    text = TEXT.replace("normal_k", "w.k").replace("trtn 1\n", 'trtn 1\nweights w = "w.weights.trtn"\n')
    (tmp_path / "net.trtn").write_text(text)
    return trtn.load(tmp_path / "net.trtn")


def feeds(n: int, s: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = {"x": (n, 4, 12, 12), "q": (n, s, 16)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def test_shapes_that_come_and_go(net: Network) -> None:
    """One context, several shapes, each against the reference's engine."""
    context = trtn.build(net, device="cpu").create_context()
    plain = trtn.build(net, device="cpu", providers=())
    assert {c.provider for c in plain.choices} == {"reference"}
    for n, s in ((1, 8), (4, 3), (1, 8), (2, 1)):
        assert_close(context.run(feeds(n, s)), plain.run(feeds(n, s)))


def test_bf16(net: Network) -> None:
    """To bf16's rounding (2^-9), which has room to grow; where the CPU has instructions for it, nothing is left to the
    reference. Without them it is the f32 engine."""
    plain, engine = (trtn.build(net, device="cpu", precision=p, providers=["onednn"]) for p in ("f32", "bf16"))
    expected, found = plain.run(feeds(3, 7)), engine.run(feeds(3, 7))
    for name, array in expected.items():
        assert np.abs(found[name] - array).max() <= BF16_LARGEST * np.abs(array).max(), name
    if library.has_bf16():
        assert "bf16" in {g.outputs[0].dtype.name for g in engine.groups}
        assert set(steps_of(engine)) <= {"view"} and not engine.kernels.fallbacks
    else:
        assert_close(found, expected)


def test_bound_buffers(net: Network) -> None:
    engine = trtn.build(net, device="cpu")
    given = feeds(2, 5)
    expected = engine.run(given)
    outputs = {name: np.empty_like(array) for name, array in expected.items()}
    context = engine.create_context()
    context.bind(given | outputs)
    for _ in range(2):
        context.execute_async()
        for name, array in expected.items():
            np.testing.assert_array_equal(outputs[name], array)
            outputs[name][...] = np.nan


def test_a_saved_engine_runs_without_the_library(net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the reference, to the same results but for rounding."""
    engine = trtn.build(net, device="cpu")
    engine.save(tmp_path / "net.engine")
    expected = engine.run(feeds(2, 4))
    again = trtn.load_engine(tmp_path / "net.engine")
    assert_close(again.run(feeds(2, 4)), expected)
    assert not again.kernels.fallbacks
    provider = find_provider("onednn")
    assert provider is not None
    monkeypatch.setattr(type(provider), "unavailable", lambda self, device: "oneDNN is not installed")
    bare = trtn.load_engine(tmp_path / "net.engine")
    assert_close(bare.run(feeds(2, 4)), expected)
    assert all("not installed" in why for why in bare.kernels.fallbacks.values())
    assert "onednn" not in {c.provider for c in trtn.build(net, device="cpu").choices}


def test_contexts_on_several_threads(net: Network) -> None:
    engine = trtn.build(net, device="cpu", threads=1)
    expected = [engine.run(feeds(2, 4, seed)) for seed in range(4)]
    wrong: list[int] = []

    def work(seed: int) -> None:
        context = engine.create_context(threads=1 + seed % 2)
        for _ in range(20):
            found = context.run(feeds(2, 4, seed))
            if any(np.abs(found[name] - array).max() > 1e-5 for name, array in expected[seed].items()):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.parametrize("threads", [0, -1, "many", True])
def test_threads_are_a_positive_number(net: Network, threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BuildError, match="positive number of threads"):
        trtn.build(net, device="cpu", threads=threads)
    monkeypatch.setenv("TRTN_NUM_THREADS", str(threads))
    if threads is not True:
        with pytest.raises(BuildError, match="TRTN_NUM_THREADS"):
            trtn.build(net, device="cpu")


def test_pools_are_given_back(net: Network) -> None:
    """A run takes the threads that it was told to; before and after it the process has its own."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    engine = trtn.build(net, device="cpu", threads=1)
    before = threadpoolctl.threadpool_info()
    engine.run(feeds(1, 1))
    assert threadpoolctl.threadpool_info() == before
    with engine.hardware.running(compiled=True, arrays=True):
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}


def test_the_names_of_providers_are_checked(net: Network) -> None:
    with pytest.raises(BuildError, match="no provider is called `onedn`") as caught:
        trtn.build(net, device="cpu", providers=["onedn"])
    assert "onednn" in caught.value.diagnostics[0].help

"""The tuner on a GPU: times in graphs, plans from other processes and from disk, locks, shapes in the box, engines with
compiled kernels."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trtn
from tests.gpu.nets import SPECS, assert_close, fixed_at, make_feeds
from trtn.backend.devices import find_device
from trtn.backend.providers import TacticError
from trtn.backend.providers.codegen import modules
from trtn.backend.providers.cudnn import plans
from trtn.backend.runtime import Engine
from trtn.backend.runtime.foresight import scattered_sizes
from trtn.backend.tuner.gpu_bench import GpuBench
from trtn.dsl.network import Network

CONVOLUTIONS = """trtn 1
weights w = "w.weights.trtn"
network convolutions {
  dim N in 1..8
  input  x: f32[N, 64, 28, 28]
  output y: f32[N, 256]
  a = relu(conv(x, w.k0, pads=1))
  b = relu(conv(a, w.k1, strides=2, pads=1))
  c = relu(conv(b, w.k2, pads=1))
  d = conv(c, w.k3, strides=2, pads=1)
  y = reduce_mean(d, axes=[2, 3])
}
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def net() -> Network:
    return trtn.load(SPECS / "lenet.trtn")


@dataclass(frozen=True)
class Tuned:
    """An engine that was tuned with nothing known before, and what it left behind."""

    engine: Engine
    cache: Path
    lock: Path
    file: Path


@pytest.fixture(scope="module")
def tuned(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuned]:
    folder = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRTN_CACHE", str(folder / "cache"))
        engine = f16(net, lock=folder / "n.lock", effort=2)
        engine.save(folder / "n.engine")
        yield Tuned(engine, folder / "cache", folder / "n.lock", folder / "n.engine")


def f16(net: Network, **options: Any) -> Engine:
    return trtn.build(net, device="cuda", precision="f16", **options)


def test_tactics_are_timed(tuned: Tuned) -> None:
    assert "measured" in {c.origin for c in tuned.engine.choices}
    assert list(tuned.cache.rglob("*.json"))


def test_two_builds_with_one_cache_are_the_same_to_the_byte(net: Network, tuned: Tuned, tmp_path: Path) -> None:
    second = f16(net, lock=tmp_path / "n.lock", effort=2)
    second.save(tmp_path / "b")
    assert tuned.file.read_bytes() == (tmp_path / "b").read_bytes()
    origins = {c.origin for c in second.choices}
    assert "measured" not in origins
    assert "cache" in origins


def test_a_locked_build_times_nothing(net: Network, tuned: Tuned, tmp_path: Path, cache: Path) -> None:
    second = f16(net, lock=tuned.lock, locked=True)
    second.save(tmp_path / "b")
    assert tuned.file.read_bytes() == (tmp_path / "b").read_bytes()
    assert not list(cache.rglob("*.json"))


def test_shapes_in_the_box_run_without_a_build(net: Network, tuned: Tuned) -> None:
    reference = trtn.build(net, device="cpu")
    context = tuned.engine.create_context()
    for n in (1, 3, 8, 17, 64):
        feeds = make_feeds(net, {"N": n}, n)
        assert_close(context.run(feeds), reference.run(feeds), 5e-3)


def test_warm_shapes_run_at_once(net: Network, tuned: Tuned) -> None:
    context = tuned.engine.create_context()
    shapes = [{"image": (n, 1, 28, 28)} for n in (1, 4, 16)]
    context.warm(shapes)
    recordings = dict(context._recordings)
    assert len(recordings) == 3
    for n in (16, 1, 4):
        context.run(make_feeds(net, {"N": n}))
    assert dict(context._recordings) == recordings


def test_misaligned_buffers_are_refused(tuned: Tuned) -> None:
    import cupy

    context = tuned.engine.create_context()
    memory = cupy.empty(28 * 28 + 1, cupy.float32)
    with pytest.raises(trtn.ShapeError, match="multiple of 16"):
        context.bind({"image": memory[1:].reshape(1, 1, 28, 28)})


@pytest.fixture
def convolutions(tmp_path: Path) -> Network:
    """A network that cuDNN runs and generated kernels."""
    weights = "\n".join(
        f"  tensor k{n}: f32[{o}, {i}, 3, 3] = normal({n}, 0.03)"
        for n, (o, i) in enumerate([(64, 64), (128, 64), (128, 128), (256, 128)])
    )
    (tmp_path / "w.weights.trtn").write_text(f"trtn 1\nmanifest w {{\n{weights}\n}}\n")
    path = tmp_path / "n.trtn"
    path.write_text(CONVOLUTIONS)
    return fixed_at(trtn.load(path), {"N": 2})


def test_compiled_code_is_kept_on_disk(convolutions: Network, cache: Path, tmp_path: Path) -> None:
    """A damaged piece is compiled again."""
    feeds = make_feeds(convolutions, {"N": 2})
    engine = f16(convolutions, effort=0)
    engine.save(tmp_path / "n.engine", kernels=True)
    assert {c.provider for c in engine.choices} >= {"cudnn", "codegen"}
    expected = engine.run(feeds)
    pieces = sorted(cache.rglob("*.bin"))
    assert len(pieces) == len(trtn.load_engine(tmp_path / "n.engine").compiled) > 4
    for piece in pieces[::2]:
        piece.write_bytes(piece.read_bytes()[:-5] + b"wrong")
    assert_close(trtn.load_engine(tmp_path / "n.engine", trusted=False).run(feeds), expected, 1e-2)


def test_a_trusted_engine_compiles_nothing(
    convolutions: Network, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not trusted does. By default those are trusted that were written here."""
    compiled: list[str] = []
    for module, name in ((modules, "compile_cubin"), (plans, "build_plan")):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, o=original, n=name: compiled.append(n) or o(*a))
    feeds, path = make_feeds(convolutions, {"N": 2}), tmp_path / "n.engine"
    modules._compile.cache_clear()
    engine = f16(convolutions, effort=0)
    engine.save(path, kernels=True)
    expected = engine.run(feeds)
    assert {*compiled} == {"compile_cubin", "build_plan"}

    for trusted, off in ((None, False), (True, True), (False, True)):
        if off:
            monkeypatch.setenv("TRTN_CACHE", "off")
        modules._compile.cache_clear()
        compiled.clear()
        assert_close(trtn.load_engine(path, trusted=trusted).run(feeds), expected, 1e-2)
        assert bool(compiled) == (trusted is False)
    assert not trtn.load_engine(path).trusted, "without the cache folder nobody knows who wrote it"


LINEARS = """trtn 1
weights w = "w.weights.trtn"
network linears {
  dim N in 1..4096
  input  x: f32[N, 256]
  output y: f32[N, 512]
  y = linear(relu(linear(x, w.up)), w.down)
}
profile p for linears { N: min 16, opt 128, max 2048 }
"""


def test_shapes_all_over_a_profile_wait_for_no_compiler(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was foreseen at the build is found by another process, here one that forgot what it compiled."""
    (tmp_path / "w.weights.trtn").write_text(
        "trtn 1\nmanifest w {\n  tensor up: f32[256, 512] = normal(1, 0.1)\n"
        "  tensor down: f32[512, 512] = normal(2, 0.1)\n}\n"
    )
    (tmp_path / "n.trtn").write_text(LINEARS)
    net = trtn.load(tmp_path / "n.trtn")
    f16(net, effort=1).save(tmp_path / "n.engine")
    foreseen = [s for s in scattered_sizes(net) if s["N"] not in (16, 128, 2048)][::6]
    modules._compile.cache_clear()
    modules._compiled.clear()
    compiled: list[str] = []
    original = modules.compile_cubin
    monkeypatch.setattr(modules, "compile_cubin", lambda *a, **k: compiled.append(a[0]) or original(*a, **k))
    engine = trtn.load_engine(tmp_path / "n.engine")
    plain = trtn.build(net, device="cuda", providers=())
    for sizes in foreseen:
        feeds = make_feeds(net, sizes)
        assert_close(engine.run(feeds), plain.run(feeds), 1e-2)
    assert len(foreseen) >= 3 and not compiled


def test_a_wrong_tactic_is_left_out_of_a_build_that_times_nothing(
    convolutions: Network, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here every result of cuDNN's is called wrong."""
    original = GpuBench.check

    def check(self: GpuBench, prepared: Any, tactic: Any) -> None:
        if type(prepared).__module__.startswith("trtn.backend.providers.cudnn"):
            raise TacticError("it differs from the reference")
        original(self, prepared, tactic)

    monkeypatch.setattr(GpuBench, "check", check)
    engine = f16(convolutions, effort=0)
    assert {c.provider for c in engine.choices}.isdisjoint({"cudnn"})
    feeds = make_feeds(convolutions, {"N": 2})
    assert_close(engine.run(feeds), trtn.build(convolutions, device="cuda", providers=()).run(feeds), 2e-2)


def test_plans_read_back_do_what_built_ones_do() -> None:
    import cupy

    from trtn.backend.providers.cudnn.library import build_plan, list_plans, read_plan
    from trtn.backend.providers.cudnn.spec import GraphSpec, NodeSpec, TensorSpec

    device = find_device("cuda")
    spec = GraphSpec(
        (
            TensorSpec(1, (1, 64, 128), (64 * 128, 128, 1), "f16"),
            TensorSpec(2, (1, 128, 256), (128 * 256, 256, 1), "f16"),
        ),
        (NodeSpec("matmul", (("A", 1), ("B", 2))), NodeSpec("gelu", (("input", -1),))),
        TensorSpec(3, (1, 64, 256), (64 * 256, 256, 1), "f16"),
    )
    assert GraphSpec.from_json(spec.to_json()) == spec
    rng = np.random.default_rng(0)
    a, b = (device.upload(rng.standard_normal(s).astype(np.float16)) for s in ((64, 128), (128, 256)))
    stream = cupy.cuda.get_current_stream().ptr
    built = build_plan(spec, list_plans(spec, stream)[0], stream)
    read = read_plan(built.write(), stream)
    results = []
    for plan in (built, read):
        y = cupy.full((64, 256), cupy.nan, cupy.float16)
        scratch = device.arena(max(plan.workspace, 256))
        plan.execute({1: a.data.ptr, 2: b.data.ptr, 3: y.data.ptr}, scratch.data.ptr, stream)
        results.append(y.get())
    np.testing.assert_array_equal(*results)
    assert np.isfinite(results[0]).all()


def test_plans_built_by_other_processes(caplog: pytest.LogCaptureFixture) -> None:
    from trtn.backend.providers.cudnn.builders import Pool
    from trtn.backend.providers.cudnn.library import list_plans
    from trtn.backend.providers.cudnn.spec import GraphSpec, NodeSpec, TensorSpec

    spec = GraphSpec(
        (
            TensorSpec(1, (1, 64, 128), (64 * 128, 128, 1), "f16"),
            TensorSpec(2, (1, 128, 256), (128 * 256, 256, 1), "f16"),
        ),
        (NodeSpec("matmul", (("A", 1), ("B", 2))),),
        TensorSpec(3, (1, 64, 256), (64 * 256, 256, 1), "f16"),
    )
    names = list_plans(spec, 0)[:3]
    with caplog.at_level(logging.WARNING):
        pool = Pool([(spec, name) for name in names])
        found = [pool.result((spec, name)) for name in names]
    assert all(found)
    assert not caplog.records

"""Builds for a GPU that is not here: planned, with the lock's tactics where there is a lock, and loaded where it is."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backend.harness import network
from trtn.backend.build import build
from trtn.backend.devices import cuda
from trtn.backend.devices.cpu import CPU
from trtn.backend.engine.file import load_engine
from trtn.backend.providers import discover, find_provider, reference_provider
from trtn.backend.runtime import Engine, kernels
from trtn.backend.tuner.choice import UNTUNED
from trtn.backend.tuner.lock import Entry, Lock, Section, write_lock
from trtn.dsl.diagnostics import Diagnostic
from trtn.dsl.errors import BuildError, EngineError
from trtn.dsl.network import Network

pytestmark = pytest.mark.skipif(cuda.unavailable() is None, reason="there is a GPU")

TEXT = """network n {
  dim N in 1..8
  input x: f32[N, 16]
  output y: f32[N, 16]
  y = softmax(linear(x, w.k))
}"""
GPU = "cuda:sm_90"


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return network(TEXT, tmp_path, "tensor k: f32[16, 16] = normal(1, 0.1)")


def planned(net: Network, **options: object) -> tuple[Engine, list[Diagnostic]]:
    found: list[Diagnostic] = []
    engine = build(net, device=GPU, precision="f16", diagnose=found.append, **options)  # type: ignore[arg-type]
    return engine, found


def test_an_engine_is_planned_without_its_gpu(net: Network) -> None:
    engine, found = planned(net)
    assert engine.device == GPU
    assert {c.tactic for g, c in zip(engine.groups, engine.choices, strict=True) if g.kind != "view"} == {UNTUNED}
    assert {g.kind: c.provider for g, c in zip(engine.groups, engine.choices, strict=True)}["softmax"] == "codegen"
    assert [d.code for d in found] == ["W0703"]
    assert f"{engine.untuned} of {len(engine.groups)} steps" in found[0].message
    with pytest.raises(EngineError, match="not available"):
        engine.hardware  # noqa: B018


def test_it_says_so_when_it_is_loaded(net: Network, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    planned(net)[0].save(tmp_path / "n.engine")
    with caplog.at_level(logging.WARNING):
        loaded = load_engine(tmp_path / "n.engine")
    assert "not tuned for cuda:sm_90" in caplog.text
    assert loaded.untuned


def test_only_architectures_are_planned_for(net: Network) -> None:
    for device in ("cuda", "cuda:sm_", "cuda:9", "tpu"):
        with pytest.raises(BuildError):
            build(net, device=device)


def test_on_the_gpu_the_first_tactics_run(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU stands in for it, with the reference's alone."""
    monkeypatch.setattr(kernels, "discover", lambda: (reference_provider(),))
    engine, _ = planned(net)
    there = Engine(engine.network, engine.groups, engine.points, engine.provenance, hardware=CPU())
    assert all(k is not None for k in there.kernels.at({"N": 1}))
    assert not there.kernels.fallbacks


def locked(net: Network, engine: Engine, path: Path, version: str) -> None:
    """A lock with a tactic for each problem of a planned engine."""
    from trtn.backend.plan.arrays import plan_problems

    entries = {}
    for point in engine.points:
        problems = plan_problems(engine.network, engine.groups, engine.storage, point.sizes, 16)
        for problem, choice in zip(problems, point.choices, strict=True):
            if problem is not None:
                kind, name = problem.group.kind, f"t{len(entries)}"
                known = {p.name: p.version() for p in discover() if p.unavailable(GPU) is None}
                entries[problem.key] = Entry(
                    kind, problem.key, choice.provider, known.get(choice.provider, version), name
                )
    write_lock(path, Lock(sections={GPU: Section(GPU, {}, entries)}).with_dependencies(net.dependencies or ()))


def test_a_lock_tunes_it(net: Network, tmp_path: Path) -> None:
    path = tmp_path / "n.lock"
    locked(net, planned(net)[0], path, "9.9-1")
    before = path.read_bytes()
    engine, found = planned(net, lock=path, locked=True)
    assert not found
    assert not engine.untuned
    assert {c.origin for p in engine.points for c in p.choices} == {"lock"}
    assert path.read_bytes() == before
    assert str(engine.provenance["lock"]).startswith("sha256:")
    for name in ("a", "b"):
        planned(net, lock=path, locked=True)[0].save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_lock_of_other_libraries_is_said(net: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked(net, planned(net)[0], tmp_path / "n.lock", "9.9-1")
    cudnn = find_provider("cudnn")
    assert cudnn is not None
    monkeypatch.setattr(type(cudnn), "unavailable", lambda self, device: None)
    monkeypatch.setattr(type(cudnn), "version", lambda self: "9.8-1")
    engine, found = planned(net, lock=tmp_path / "n.lock")
    assert [d.code for d in found] == ["W0701", "W0703"]
    assert "cudnn 9.9-1; here is 9.8-1" in found[0].message
    assert 0 < engine.untuned < len(engine.groups)


def test_a_lock_that_misses_something_is_an_error(net: Network, tmp_path: Path) -> None:
    path = tmp_path / "n.lock"
    smaller = replace(net, profiles=())
    write_lock(path, Lock().with_dependencies(smaller.dependencies or ()))
    with pytest.raises(BuildError, match="no valid entry"):
        planned(net, lock=path, locked=True)
    engine, found = planned(net, lock=path)
    assert engine.untuned and [d.code for d in found] == ["W0703"]


def test_an_engine_for_another_gpu_says_what_to_do(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    from trtn.backend.devices import base

    class Here:
        name = "cuda:sm_80"

    monkeypatch.setattr(cuda, "unavailable", lambda: None)
    monkeypatch.setattr(cuda, "CudaDevice", Here)
    engine, _ = planned(net)
    assert base.find_device("cuda").name == "cuda:sm_80"
    with pytest.raises(EngineError, match="is for cuda:sm_90, the GPU here is cuda:sm_80") as caught:
        engine.hardware  # noqa: B018
    assert "--device cuda:sm_80" in caught.value.diagnostics[0].help

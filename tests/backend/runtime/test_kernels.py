"""An engine's kernels: chosen at the nearest tuned point, shared by equal problems and all contexts, replaced where a
tactic does not fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import floats, network
from tests.backend.tuner.fakes import FakeProvider
from tests.interpreter import evaluate_network
from trtn.backend.binaries import BinaryKey
from trtn.backend.build import build
from trtn.backend.devices import Device
from trtn.backend.devices.cpu import CPU
from trtn.backend.devices.packing import GRAIN, SLAB
from trtn.backend.plan.points import nearest, tuned_points
from trtn.backend.problem import Problem
from trtn.backend.providers import Provider, Tactic
from trtn.backend.providers.reference import PROVIDER as REFERENCE
from trtn.backend.runtime import Choice, Engine, TunedPoint, kernels
from trtn.backend.runtime.foresight import scattered_sizes
from trtn.dsl.network import Profile, ProfileRange
from trtn.dsl.weights.mapped import map_file

TEXT = """
network n {
  dim N in 1..64
  input x: f32[N, 16]
  output y: f32[N, 16]
  a = softmax(x)
  b = tanh(a)
  c = softmax(b)
  d = tanh(c)
  y = softmax(d) + x
}
"""


def engine_of(
    monkeypatch: pytest.MonkeyPatch, provider: Provider, *points: tuple[int, str], text: str = TEXT
) -> Engine:
    """An engine whose softmaxes run by tactics of a provider, at each point (N, tactic)."""
    built = build(network(text), device="cpu", effort=0)
    known = {provider.name: provider, REFERENCE.name: REFERENCE}
    monkeypatch.setattr(kernels, "find_provider", known.get)
    others = Choice(REFERENCE.name, "eval")
    tuned = [
        TunedPoint({"N": n}, tuple(Choice("fake", t) if g.kind == "softmax" else others for g in built.groups))
        for n, t in points
    ]
    return Engine(built.network, built.groups, tuned, built.provenance)


def expected(x: Any) -> Any:
    return evaluate_network(network(TEXT), {"x": x})["y"]


def tactics(*names: str, workspace: int = 0) -> list[Tactic]:
    return [Tactic(name, workspace) for name in names]


def test_equal_problems_share_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = FakeProvider(tactics_=tactics("t"))
    engine = engine_of(monkeypatch, provider, (4, "t"))
    x = floats(4, 16)
    contexts = [engine.create_context() for _ in range(3)]
    for context in contexts:
        np.testing.assert_array_equal(context.run({"x": x})["y"], expected(x))
    assert provider.prepared == {"t": 1}
    contexts[0].run({"x": floats(5, 16)})
    assert provider.prepared == {"t": 2}


def test_another_shape_takes_the_nearest_points_tactic(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = FakeProvider(tactics_=tactics("small", "large"))
    engine = engine_of(monkeypatch, provider, (2, "small"), (64, "large"))
    context = engine.create_context()
    for n, name in ((1, "small"), (8, "small"), (16, "large"), (60, "large")):
        provider.prepared.clear()
        x = floats(n, 16)
        np.testing.assert_array_equal(context.run({"x": x})["y"], expected(x))
        assert list(provider.prepared) == [name], n


def test_a_tactic_that_does_not_fit_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the provider's first that does, else by the reference; the engine tells why."""
    provider = FakeProvider(tactics_=tactics("t0", "t1", "t2"), broken=["t0", "t1"])
    engine = engine_of(monkeypatch, provider, (4, "t0"))
    x = floats(4, 16)
    np.testing.assert_array_equal(engine.run({"x": x})["y"], expected(x))
    assert list(provider.prepared) == ["t2"]
    assert all("t0 does not work" in why for why in engine.kernels.fallbacks.values())
    provider.broken = ["t0", "t1", "t2"]
    engine = engine_of(monkeypatch, provider, (4, "t0"))
    np.testing.assert_array_equal(engine.run({"x": x})["y"], expected(x))
    provider.kinds = ()  # what a stranger's file names for a group that the provider does not take
    engine = engine_of(monkeypatch, provider, (4, "t2"))
    np.testing.assert_array_equal(engine.run({"x": x})["y"], expected(x))
    assert any("another kind" in why for why in engine.kernels.fallbacks.values())


@pytest.mark.parametrize(("numerics", "taken"), [("reduced", "t1"), ("exact", "t2")])
def test_what_replaces_a_tactic_is_no_less_precise(monkeypatch: pytest.MonkeyPatch, numerics: str, taken: str) -> None:
    offered = [Tactic("t0", numerics=numerics), Tactic("t1", numerics="reduced"), Tactic("t2")]
    provider = FakeProvider(tactics_=offered, broken=["t0"])
    engine = engine_of(monkeypatch, provider, (4, "t0"))
    engine.run({"x": floats(4, 16)})
    assert list(provider.prepared) == [taken]


def test_a_provider_that_is_not_there_is_replaced_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the reference, which runs every plan; the engine tells why."""
    provider = FakeProvider(tactics_=tactics("t"))
    engine = engine_of(monkeypatch, provider, (4, "t"))
    monkeypatch.setattr(provider, "unavailable", lambda device: "it is broken")
    x = floats(4, 16)
    np.testing.assert_array_equal(engine.run({"x": x})["y"], expected(x))
    assert engine.kernels.fallbacks and all("it is broken" in why for why in engine.kernels.fallbacks.values())


def test_workspace_is_shared_by_the_steps_and_overlaps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels fill theirs before they compute."""
    provider = FakeProvider(tactics_=tactics("t", workspace=1000))
    engine = engine_of(monkeypatch, provider, (4, "t"))
    context = engine.create_context()
    x = floats(4, 16)
    np.testing.assert_array_equal(context.run({"x": x})["y"], expected(x))
    arena = engine.arena({"N": 4}).nbytes
    assert context.memory == -(-arena // 256) * 256 + 1000


def test_kernels_of_the_builder_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = FakeProvider(tactics_=tactics("t"))
    first = engine_of(monkeypatch, provider, (4, "t"))
    first.run({"x": floats(4, 16)})
    second = engine_of(monkeypatch, provider, (4, "t"))
    second.kernels.adopt(first.kernels._prepared)
    provider.prepared.clear()
    second.run({"x": floats(4, 16)})
    assert not provider.prepared


def test_packed_weights_are_made_once() -> None:
    device = CPU()
    weight, other = floats(3, 4), floats(3, 4)
    made = []

    def transpose(array: Any) -> Any:
        made.append(array)
        return array.T.copy()

    assert device.packed(weight, "transposed", transpose) is device.packed(weight, "transposed", transpose)
    device.packed(weight, "other", transpose)
    device.packed(other, "transposed", transpose)
    assert len(made) == 3
    device.forget_packed()
    device.packed(weight, "transposed", transpose)
    assert len(made) == 4


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's memory")
def test_the_plain_form_of_a_packed_weight_leaves_the_memory(tmp_path: Path) -> None:
    def mapped() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssFile:"))

    nbytes = 32 << 20
    (tmp_path / "weights").write_bytes(bytes(nbytes - 1) + b"\1")
    weight = map_file(tmp_path / "weights")
    before = mapped()
    assert weight.sum() == 1 and mapped() >= before + nbytes
    CPU().packed(weight, "plain", lambda array: array.copy())
    assert mapped() < before + nbytes // 2
    assert weight.sum() == 1  # it is read again


def test_room_for_packed_weights_is_aligned_and_nobody_elses() -> None:
    device = CPU()
    rooms = [device.room(n) for n in (1, 100, SLAB // 4, 3, SLAB // 4, SLAB // 4, SLAB // 4, SLAB, 7)]
    assert [r.nbytes for r in rooms] == [1, 100, SLAB // 4, 3, SLAB // 4, SLAB // 4, SLAB // 4, SLAB, 7]
    places = sorted((r.ctypes.data, r.nbytes) for r in rooms)
    assert all(start % GRAIN == 0 for start, _ in places)
    assert all(start + n <= after for (start, n), (after, _) in pairwise(places))


def profile(minimum: int, optimum: int, maximum: int) -> Profile:
    return Profile("p", {"N": ProfileRange(minimum, optimum, maximum)})


def test_points_are_opt_and_corners_that_are_far() -> None:
    assert tuned_points([profile(4, 8, 16)]) == ([{"N": 8}], [])
    assert tuned_points([profile(1, 8, 16)]) == ([{"N": 8}], [{"N": 1}])
    assert tuned_points([profile(1, 8, 64), profile(8, 64, 64)]) == ([{"N": 8}, {"N": 64}], [{"N": 1}])
    assert tuned_points([]) == ([], [])


def test_the_nearest_point_is_so_by_the_work_then_by_factors() -> None:
    points = [{"N": 1, "S": 128}, {"N": 32, "S": 128}, {"N": 1, "S": 512}]
    assert nearest(points, {"N": 2, "S": 100}) == 0
    assert nearest(points, {"N": 16, "S": 128}) == 1
    assert nearest(points, {"N": 4, "S": 128}) == 2
    assert nearest(points, {"N": 1, "S": 400}) == 2
    assert nearest([{}], {}) == 0
    assert nearest([{"N": 0}], {"N": 0}) == 0


class Elastic(FakeProvider):
    """One whose tactics serve any sizes, those from 32 rows on it leaves to others' where they were faster."""

    def elastic(self, problem: Problem, chosen: Tactic | None, device: Device) -> Tactic | None:
        return chosen or (self.tactics_[0] if problem.outputs[0].shape[0] < 32 else None)


def test_shapes_that_were_not_tuned_wait_for_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, quick = FakeProvider(tactics_=tactics("s")), Elastic(name="quick", tactics_=tactics("q"))
    on_cpu = engine_of(monkeypatch, slow, (4, "s"))
    providers = {p.name: p for p in (slow, quick, REFERENCE)}
    monkeypatch.setattr(kernels, "find_provider", providers.get)
    monkeypatch.setattr(kernels, "discover", lambda: (REFERENCE, slow, quick))
    provenance = {**on_cpu.provenance, "device": "cuda:sm_90"}
    engine = Engine(on_cpu.network, on_cpu.groups, on_cpu.points, provenance, hardware=CPU())
    for n, expected in ((4, {"s": 1}), (5, {"s": 1, "q": 1}), (40, {"s": 2, "q": 1})):
        engine.kernels.at({"N": n})
        assert {**slow.prepared, **quick.prepared} == expected
    points = [
        TunedPoint(p.sizes, tuple(replace(c, provider="quick", tactic="q") for c in p.choices)) for p in on_cpu.points
    ]
    engine = Engine(on_cpu.network, on_cpu.groups, points, provenance, hardware=CPU())
    engine.kernels.at({"N": 40})
    assert quick.prepared == {"q": 2}, "what was chosen for another size, where it serves this one"


class Bulk(Elastic):
    """One that compiles many at once, which it counts."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.bulks: list[int] = []

    def prepare_all(self, wanted: Any, device: Device) -> Any:
        self.bulks.append(len(wanted))
        return [Compiled(p.key) for p, _ in wanted]


class Compiled:
    workspace = 0

    def __init__(self, key: str) -> None:
        self.key = key

    def binaries(self) -> dict[BinaryKey, bytes]:
        return {BinaryKey("nvrtc", "sm_90", self.key): b"code"}


def test_what_shapes_all_over_the_profiles_need_is_compiled_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    bulk = Bulk(tactics_=tactics("s"))
    text = TEXT + "profile p for n { N: min 2, opt 4, max 64 }"
    on_cpu = engine_of(monkeypatch, bulk, (4, "s"), text=text)
    monkeypatch.setattr(kernels, "discover", lambda: (REFERENCE, bulk))
    engine = Engine(
        on_cpu.network, on_cpu.groups, on_cpu.points, {**on_cpu.provenance, "device": "cuda:sm_90"}, hardware=CPU()
    )
    sizes = [s["N"] for s in scattered_sizes(engine.network)]
    assert len({*sizes}) == len(sizes) > 10 and min(sizes) < 4 and max(sizes) > 32
    assert all(2 <= n <= 64 for n in sizes)
    engine.kernels.foresee()
    assert bulk.bulks == [len(sizes)]
    assert len(engine.kernels.binaries()) == len({*sizes, 4})


def test_shapes_that_asserts_forbid_are_not_foreseen() -> None:
    text = TEXT.replace("dim N in 1..64", 'dim N in 1..64 step 3\n  assert N <= 40, "enough"')
    assert text != TEXT
    found = scattered_sizes(network(text + "profile p for n { N: min 1, opt 4, max 40 }"))
    assert found and all(s["N"] % 3 == 1 and s["N"] <= 40 for s in found)
    assert not scattered_sizes(network(TEXT)), "no profile, nothing to go by"


def test_an_engine_keeps_its_points(tmp_path: Any) -> None:
    from trtn.backend.engine.file import load_engine

    net = network(TEXT + "profile p for n { N: min 1, opt 8, max 64 }")
    engine = build(net, device="cpu")
    assert [p.sizes["N"] for p in engine.points] == [8, 1, 64]
    engine.save(tmp_path / "n.engine")
    copy = load_engine(tmp_path / "n.engine")
    assert [(p.sizes, [(c.provider, c.tactic) for c in p.choices]) for p in copy.points] == [
        (p.sizes, [(c.provider, c.tactic) for c in p.choices]) for p in engine.points
    ]


def test_warm_prepares_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = FakeProvider(tactics_=tactics("t"))
    engine = engine_of(monkeypatch, provider, (4, "t"))
    context = engine.create_context()
    context.warm([{"x": (n, 16)} for n in (1, 32, 4)])
    assert provider.prepared == {"t": 3}
    memory = context.memory
    for n in (4, 1, 32):
        x = floats(n, 16)
        np.testing.assert_array_equal(context.run({"x": x})["y"], expected(x))
    assert provider.prepared == {"t": 3}
    assert context.memory == memory


@pytest.mark.parametrize("shapes", [{"x": (65, 16)}, {"x": (4, 17)}, {"x": (4,)}, {"z": (4, 16)}, {}, {"x": (-1, 16)}])
def test_shapes_that_do_not_fit_are_refused_by_warm(shapes: Any) -> None:
    from trtn.dsl.errors import ShapeError

    with pytest.raises(ShapeError):
        build(network(TEXT), device="cpu").create_context().warm(shapes)

"""What a plan says is what a build does, and why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backend.harness import network
from trtn.backend.build import build
from trtn.backend.providers import discover
from trtn.backend.report import Plan, plan_build
from trtn.backend.report.model import GroupPlan
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.errors import BuildError
from trtn.dsl.network import Network, Precision

WEIGHTS = """
tensor a.weight: f32[64, 64] = normal(1, 0.1)
tensor a.bias: f32[64] = normal(2, 0.1)
tensor g: f32[64] = ones
tensor b: f32[64] = zeros
"""
SPEC = """
network net {
  dim B in 1..64
  input x: f32[B, 64]
  output y: f32[B, 64]
  output mid: f32[B, 64]

  mid = linear(x, w.a.weight, w.a.bias)
  h = relu(mid)
  n = layer_norm(h + x, w.g, w.b)
  @precision(f32)
  s = softmax(n, axis=1)
  t = transpose(s, perm=[1, 0])
  y = transpose(exp(t), perm=[1, 0])
}
profile small for net {
  B: min 1, opt 2, max 4
}
profile large for net {
  B: min 2, opt 32, max 64
}
"""
HALF = Precision(BY_NAME["f16"], {"layer_norm": BY_NAME["f32"]})


@pytest.fixture
def net(tmp_path: Path) -> Network:
    return network(SPEC, tmp_path, WEIGHTS)


def group_of(plan: Plan, layer: str) -> GroupPlan:
    return next(g for g in plan.groups if layer in (plan.layers[n].name for n in g.layers))


def reasons(plan: Plan) -> dict[tuple[str, str], str]:
    return {(plan.groups[a.first].name, plan.groups[a.second].name): a.reason for a in plan.apart}


def test_a_plan_is_what_the_build_does(net: Network, tmp_path: Path) -> None:
    lock = tmp_path / "net.lock"
    engine = build(net, device="cpu", lock=lock)
    plan = plan_build(net, device="cpu", lock=lock)
    assert [(g.name, g.kind) for g in plan.groups] == [(g.name, g.kind) for g in engine.groups]
    for number, point in enumerate(plan.points):
        at = next(p for p in engine.points if p.sizes == point)
        for group, choice in zip(plan.groups, at.choices, strict=True):
            decided = group.decisions[number]
            if decided is not None:
                assert (decided.by, decided.provider, decided.tactic) == ("lock", choice.provider, choice.tactic)
    for planned, profile in zip(plan.profiles, engine.profiles, strict=True):
        arena = engine.arena(profile.corner("maximum"))
        assert planned.memory is not None
        assert (planned.memory.arena, planned.memory.lower_bound) == (arena.nbytes, arena.lower_bound)
        assert planned.memory.live[planned.memory.peak] == max(planned.memory.live) == arena.lower_bound


def test_no_device_is_needed(net: Network) -> None:
    plan = plan_build(net, device="cuda:sm_90", precision="f16")
    assert plan.device == "cuda:sm_90"
    assert {p.name for p in plan.libraries} == {"codegen", "control_flow", "cublaslt", "cudnn", "reference"}
    assert plan.effort == 3 and plan.problems["timing"] > 0
    product = group_of(plan, "mid.f16")
    assert {"cudnn", "cublaslt", "reference"} <= set(product.providers)
    takers = {*product.providers, *(r.provider for r in product.refusals)}
    assert takers == {p.name for p in plan.libraries}
    assert all(r.reason for g in plan.groups for r in g.refusals)


def test_what_this_machine_lacks_is_no_taker_on_its_own_device(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in discover():
        if not provider.is_reference:
            monkeypatch.setattr(type(provider), "unavailable", lambda self, device: "it was uninstalled")
    plan = plan_build(net, device="cpu")
    assert {p for g in plan.groups for p in g.providers} == {"reference"}
    assert "it was uninstalled" in {r.reason for g in plan.groups for r in g.refusals}
    assert plan.problems.keys() == {"only"}
    engine = build(net, device="cpu")
    assert [p.memory.arena for p in plan.profiles if p.memory] == [
        engine.arena(p.corner("maximum")).nbytes for p in engine.profiles
    ]


def test_products_with_generated_epilogues_are_cublaslt_s_even_where_nothing_can_be_compiled(tmp_path: Path) -> None:
    text = "network net {\n dim B in 1..8\n input x: f16[B, 64]\n output y: f16[B, 64]\n y = gelu(linear(x, w.a)) \n}"
    net = network(text, tmp_path, "tensor a: f16[64, 64] = normal(1, 0.1)")
    assert "cublaslt" in group_of(plan_build(net, device="cuda:sm_90"), "y").providers


def test_the_deciders_of_dtypes(net: Network) -> None:
    plan = plan_build(net, device="cuda:sm_90", precision=HALF, target="t")
    by = {t.name: t.decided_by for t in plan.tensors}
    assert by["x"] == "the spec: an input keeps its dtype"
    assert by["h"] == "default f16 (target t)"
    assert by["n"] == "keep f32 for layer_norm (target t)"
    assert by["s"] == "@precision(f32)"
    assert by["t"] == "its input: elements are only moved"
    assert by["g"] == "the manifest"
    assert by["y"] == "a cast that the policy needs"
    assert by["a.weight.f16.folded"] == "its readers: folded by a pass"
    written = plan_build(net, device="cpu")
    assert {t.decided_by for t in written.tensors if t.name in ("h", "n", "t")} == {"the spec"}


def test_every_value_between_groups_has_a_reason(net: Network) -> None:
    plan = plan_build(net, device="cpu")
    made = {t: n for n, g in enumerate(plan.groups) for t in g.outputs}
    crossing = {(made[t], n) for n, g in enumerate(plan.groups) for t in g.inputs if t in made}
    assert {(a.first, a.second) for a in plan.apart} == crossing
    assert all(a.reason for a in plan.apart)


@pytest.mark.parametrize(
    ("body", "pair", "reason"),
    [
        ("a = linear(x, w.p)\n y = relu(a)\n z = a + 1.0", ("a", "y"), "is an output of the network"),
        ("b = linear(x, w.p)\n y = relu(b)\n z = softmax(b, axis=1)", ("b", "y"), "`b` is read by 2 layers"),
        ("b = linear(x, w.p)\n y = softmax(b, axis=1)\n z = x", ("b", "y"), "`softmax` is not done element by element"),
        ("b = softmax(x, axis=1)\n y = exp(b)\n z = x", ("b", "y"), "softmax groups take no epilogue"),
        ("b = exp(x)\n y = linear(b, w.p)\n z = x", ("b", "y"), "`linear` starts a group of its own"),
        ("b = transpose(x, perm=[1, 0])\n y = transpose(exp(b), perm=[1, 0])\n z = x", ("b", "y.exp"), "a view"),
    ],
)
def test_reasons(tmp_path: Path, body: str, pair: tuple[str, str], reason: str) -> None:
    more = " output a: f32[B, 8]\n" if body.startswith("a =") else ""
    text = f"network net {{\n dim B in 1..8\n input x: f32[B, 8]\n output y: f32[B, 8]\n output z: f32[B, 8]\n{more} {body}\n}}"
    plan = plan_build(network(text, tmp_path, "tensor p: f32[8, 8] = ones"), device="cpu")
    found = reasons(plan)
    assert pair in found, found
    assert reason in found[pair]


def test_a_cpu_computes_narrow_floats_in_f32(net: Network) -> None:
    by = {t.name: t.decided_by for t in plan_build(net, device="cpu", precision=HALF).tensors}
    assert by["h"] == "the CPU: it has no kernels for `relu` over f16"
    assert by["s"] == "@precision(f32)"


def test_lines_of_the_spec(net: Network) -> None:
    plan = plan_build(net, device="cpu")
    layer = next(layer for layer in plan.layers if layer.name == "h")
    assert layer.text == "h = relu(mid)"
    assert ":11:" in layer.source
    assert any(":11:" in place for place in group_of(plan, "h").sources)


def test_what_a_lock_pins(net: Network, tmp_path: Path) -> None:
    lock = tmp_path / "net.lock"
    assert plan_build(net, device="cpu", lock=lock).lock is not None
    build(net, device="cpu", lock=lock)
    lines = lock.read_text().splitlines()
    entries = [line for line in lines if line.startswith("tactic ")]
    total = len(entries)
    _, _, kind, key, provider, _, tactic, *_ = entries[0].split()
    stale = f"tactic cpu {kind} {key} {provider} 0.1 {tactic}"
    other = f"tactic cpu softmax {'0' * 24} reference 1 eval"
    lock.write_text("\n".join([*(x for x in lines if x not in entries), stale, *entries[2:], other]) + "\n")
    found = plan_build(net, device="cpu", lock=lock).lock
    assert found is not None
    assert (found.pinned, found.stale, found.missing, found.unused) == (total - 2, 1, 1, 1)
    assert found.changed == ()
    with pytest.raises(BuildError, match=f"2 of {total} problems"):
        plan_build(net, device="cpu", lock=lock, locked=True)


def test_stale_entries_say_why(net: Network, tmp_path: Path) -> None:
    lock = tmp_path / "net.lock"
    build(net, device="cpu", lock=lock)
    lock.write_text("".join(x.replace(" reference 1 ", " gone 1 ") for x in lock.read_text().splitlines(keepends=True)))
    plan = plan_build(net, device="cpu", lock=lock)
    said = {d.stale for g in plan.groups for d in g.decisions if d is not None and d.stale}
    assert said in (set(), {"no provider is called `gone`"})
    assert said or all(d.by == "lock" for g in plan.groups for d in g.decisions if d is not None)


def test_against_its_own_engine_nothing_changes(net: Network, tmp_path: Path) -> None:
    lock = tmp_path / "net.lock"
    engine = build(net, device="cpu", lock=lock)
    found = plan_build(net, device="cpu", lock=lock, against=engine).against
    assert found is not None and found.is_same
    assert found.notes == ("built from this very network",)


def test_against_another_engine(net: Network, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    older = network(SPEC.replace("relu(mid)", "gelu(mid)"), tmp_path / "old", WEIGHTS)
    engine = build(older, device="cpu", providers=())
    found = plan_build(net, device="cpu", precision="f64", against=engine).against
    assert found is not None and not found.is_same
    assert "built from another network" in found.notes
    assert any("gelu" in line for line in found.network)
    verbs = {c.name: c.verb for c in found.groups}
    assert verbs["n"] == "changed"
    assert found.memory.keys() == {"small", "large"}
    assert all(before and after for before, after in found.memory.values())


def test_tactics_that_change(net: Network, tmp_path: Path) -> None:
    engine = build(net, device="cpu", providers=())
    lock = tmp_path / "net.lock"
    build(net, device="cpu", lock=lock)
    plan = plan_build(net, device="cpu", lock=lock, against=engine)
    assert plan.against is not None
    pinned = [d for g in plan.groups for d in g.decisions if d is not None and d.provider != "reference"]
    assert len(plan.against.tactics) == len(pinned)
    assert all(c.before == "reference eval" for c in plan.against.tactics)


def test_sizes_that_the_data_decides(tmp_path: Path) -> None:
    text = """
network net {
  dim N in 1..8
  input x: f32[N]
  output y: i64[1, K]
  y = nonzero(relu(x)) : i64[1, K in 0..N]
}"""
    plan = plan_build(network(text, tmp_path), device="cuda:sm_90")
    assert group_of(plan, "y").role == "late"
    assert next(t for t in plan.tensors if t.name == "y").nbytes is None


def test_the_document_is_plain_data(net: Network) -> None:
    plan = plan_build(net, device="cpu", precision=HALF)
    document = json.loads(json.dumps(plan.to_json(), allow_nan=False))
    assert document["format_version"] == "1.0"
    assert len(document["tensors"]) == len(plan.tensors)
    layers = [n for g in document["groups"] for n in g["layers"]]
    assert layers == list(range(len(document["layers"])))


@pytest.mark.parametrize("device", ["tpu", "cuda:90", "cpu:1", "cuda:sm_x"])
def test_devices_that_are_none(net: Network, device: str) -> None:
    with pytest.raises(BuildError, match="no device is called"):
        plan_build(net, device=device)


def test_profiles_are_chosen_as_by_a_build(net: Network) -> None:
    plan = plan_build(net, device="cpu", profiles=["small"])
    assert [p.name for p in plan.profiles] == ["small"]
    with pytest.raises(BuildError, match="no profile `smal`"):
        plan_build(net, profiles=["smal"])
    bare = replace(net, profiles=())
    assert [p.name for p in plan_build(bare, device="cpu").profiles] == ["default"]

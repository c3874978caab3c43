"""The driver: order, fixed point, bound, checks, traces; the IR's rules."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from tests.backend.passes.nets import F32, N, Net
from trtn.backend.discovery import in_order
from trtn.backend.passes import BrokenNetwork, discover, run_passes, verify
from trtn.dsl.network import Graph, Network, Tensor


class Fake:
    def __init__(self, name: str, after: frozenset[str] = frozenset(), results: int = 0, broken: bool = False) -> None:
        self.name, self.after, self.results, self.broken = name, after, results, broken

    def run(self, network: Network) -> Network | None:
        if not self.results:
            return None
        self.results -= 1
        if self.broken:
            return replace(network, graph=Graph(network.inputs, (Tensor("y", F32, ()),), ()))
        return replace(network, doc=network.doc + self.name)


def _network() -> Network:
    b = Net()
    return b.done(b.of("relu", b.x(4)))


def test_passes_are_found_and_each_comes_after_those_it_names() -> None:
    names = [p.name for p in discover()]
    assert {"fold", "identity", "dead", "cse", "algebra", "batch_norm", "lower", "sizes", "recognise", "norms"} <= set(
        names
    )
    for n, step in enumerate(discover()):
        assert step.after <= set(names[:n])


def test_order_is_by_after_then_by_name() -> None:
    b, a, c = Fake("b"), Fake("a", frozenset({"c"})), Fake("c")
    assert [p.name for p in in_order([a, c, b])] == ["b", "c", "a"]
    with pytest.raises(ValueError, match="wait for each other"):
        in_order([Fake("a", frozenset({"b"})), Fake("b", frozenset({"a"}))])
    with pytest.raises(ValueError, match="two plug-ins"):
        in_order([Fake("a"), Fake("a")])


def test_passes_repeat_until_nothing_changes() -> None:
    seen: list[tuple[str, int]] = []
    result = run_passes(
        _network(), [Fake("a", results=1), Fake("b", results=2)], trace=lambda name, n, _: seen.append((name, n))
    )
    assert seen == [("a", 1), ("b", 1), ("b", 2)]
    assert result.doc == "abb"


def test_rounds_are_bounded() -> None:
    assert run_passes(_network(), [Fake("a", results=100)], max_rounds=3).doc == "aaa"


def test_progress_counts_the_passes() -> None:
    seen: list[tuple[int, int]] = []
    run_passes(_network(), [Fake("a"), Fake("b")], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_a_breach_names_the_pass_and_the_round() -> None:
    with pytest.raises(BrokenNetwork, match=r"after pass `bad` in round 1: output `y` is made by nothing"):
        run_passes(_network(), [Fake("bad", results=1, broken=True)], verify=True)


def _with_layer(**changes: object) -> Network:
    network = _network()
    (layer,) = network.layers
    graph = Graph(network.inputs, network.outputs, (replace(layer, **changes),))  # type: ignore[arg-type]
    return replace(network, graph=graph)


def test_rules() -> None:
    verify(_network())
    stranger = Tensor("stranger", F32, (N, 4))
    with pytest.raises(BrokenNetwork, match="reads `stranger`, which nothing before it makes"):
        verify(_with_layer(inputs=(stranger,)))
    with pytest.raises(BrokenNetwork, match="not called as its first output"):
        verify(_with_layer(name="other"))
    with pytest.raises(BrokenNetwork, match="attributes of `y`"):
        verify(_with_layer(attrs=MappingProxyType({"alpha": 1.0})))


def test_rules_on_types_and_names() -> None:
    network = _network()
    (layer,) = network.layers
    wrong = Tensor("y", F32, (N, 5))
    bad = replace(network, graph=Graph(network.inputs, (wrong,), (replace(layer, outputs=(wrong,)),)))
    with pytest.raises(BrokenNetwork, match=r"`y` is f32\[N, 5\], but its layer gives f32\[N, 4\]"):
        verify(bad)
    twice = replace(network, graph=Graph(network.inputs, network.outputs, (layer, layer)))
    with pytest.raises(BrokenNetwork, match="made twice"):
        verify(twice)

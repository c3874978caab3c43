"""Passes keep what networks compute: random networks before and after."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.backend.passes.nets import F16, assert_same, networks
from trtn.backend.passes import discover, run_passes
from trtn.backend.passes.rules import verify
from trtn.dsl.network import Network, Precision

EXACT = ("fold", "identity", "algebra", "cse", "sizes", "lower", "dead")
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@given(networks())
@QUICK
def test_all_passes_together_keep_results(network: Network) -> None:
    assert_same(network, run_passes(network, verify=True), rtol=1e-3, atol=1e-3)


@given(networks())
@settings(QUICK, max_examples=20)
def test_passes_for_gpus_keep_results(network: Network) -> None:
    assert_same(network, run_passes(network, device="cuda:sm_90", verify=True), rtol=1e-3, atol=1e-3)


@given(networks())
@QUICK
def test_exact_passes_keep_results_to_the_bit(network: Network) -> None:
    passes = [p for p in discover() if p.name in EXACT and p.name != "lower"]
    assert_same(network, run_passes(network, passes, verify=True))


@given(networks())
@settings(QUICK, max_examples=15)
def test_results_are_a_fixed_point_and_repeatable(network: Network) -> None:
    once = run_passes(network)
    assert run_passes(once) is once
    again = run_passes(network)
    assert [repr(layer) for layer in again.layers] == [repr(layer) for layer in once.layers]


@given(networks())
@settings(QUICK, max_examples=15)
def test_lower_precision_keeps_the_interface_and_the_rules(network: Network) -> None:
    result = run_passes(network, precision=Precision(F16), verify=True)
    assert [(t.name, t.type) for t in result.outputs] == [(t.name, t.type) for t in network.outputs]
    again = run_passes(result, precision=Precision(F16))
    assert again is result


@given(networks())
@settings(QUICK, max_examples=10)
def test_the_network_that_came_in_stays_as_it_was(network: Network) -> None:
    layers = list(network.layers)
    names = [layer.name for layer in layers]
    run_passes(network)
    assert list(network.layers) == layers
    assert [layer.name for layer in layers] == names
    verify(network)


@pytest.mark.parametrize("name", [p.name for p in discover("cuda:sm_90")])
def test_every_pass_says_none_when_there_is_nothing_to_do(name: str) -> None:
    from tests.backend.passes.nets import Net

    b = Net()
    network = b.done(b.of("relu", b.x(4)))
    (found,) = [p for p in discover("cuda:sm_90") if p.name == name]
    assert found.run(network) is None

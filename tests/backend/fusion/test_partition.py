"""Partition: what fuses, what does not and why, and what is true of every partition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.backend.passes.nets import BOOL, F32, F64, I64, N, Net, feeds_for, networks
from tests.interpreter import evaluate_network
from trtn.backend.evaluate import bind_layers
from trtn.backend.fusion import discover, partition, partition_graph
from trtn.backend.group import Group
from trtn.backend.passes import run_passes
from trtn.dsl.network import Network, Tensor, TensorType, captures


def shown(groups: tuple[Group, ...]) -> list[str]:
    return [f"{g.kind}: {' '.join(layer.op.name for layer in g.layers)}" for g in groups]


def check(network: Network, groups: tuple[Group, ...]) -> None:
    """Each layer is in one group, and running group after group gives each what it reads."""
    layers = [layer for g in groups for layer in g.layers]
    assert len(layers) == len(network.layers)
    assert {id(layer) for layer in layers} == {id(layer) for layer in network.layers}
    position = {id(layer): n for n, layer in enumerate(network.layers)}
    ready = {id(t) for t in network.inputs}
    for g in groups:
        places = [position[id(layer)] for layer in g.layers]
        assert places == sorted(places)
        assert all(t.weight is not None or id(t) in ready for t in g.inputs), g
        read = {id(t) for layer in g.layers for t in (*layer.inputs, *captures(layer)) if t is not None}
        made = {id(t) for layer in g.layers for t in layer.outputs}
        assert {id(t) for t in g.inputs} == read - made
        ready |= {id(t) for t in g.outputs}
    assert all(id(t) in ready or t.weight is not None for t in network.outputs)


@given(networks())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_partition_covers_and_can_run_in_order(network: Network) -> None:
    check(network, partition(network))
    optimised = run_passes(network)
    check(optimised, partition(optimised))


@given(networks())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_groups_one_after_another_compute_the_network(network: Network) -> None:
    feeds = feeds_for(network)
    table: dict[int, Any] = {id(t): feeds[t.name] for t in network.inputs}
    for g in partition(network):
        inner = {id(t): t.weight.load() if t.weight is not None else table[id(t)] for t in g.inputs}
        bind_layers(g.layers, g.outputs, {"N": 2}, np)(inner, {"N": 2})
        table |= {id(t): inner[id(t)] for t in g.outputs}
    for name, array in evaluate_network(network, feeds).items():
        (t,) = [t for t in network.outputs if t.name == name]
        np.testing.assert_array_equal(table[id(t)], array)


def test_partitions_repeat() -> None:
    b = Net()
    x = b.x(4, 4)
    network = b.done(b.of("softmax", b.of("add", b.of("conv", x, b.c(4, 4, 1)), x)), b.of("neg", x))
    assert shown(partition(network)) == shown(partition(network))


def test_kinds_are_found() -> None:
    kinds = {f.kind for f in discover()}
    assert kinds == {
        "attention", "conv", "copy", "gemm", "normalisation", "pointwise", "pooling", "recurrent", "reduction",
        "region", "softmax", "view",
    }  # fmt: skip


def test_conv_takes_bias_scale_residual_and_activation() -> None:
    b = Net()
    x = b.x(4, 5)
    y = b.of("conv", x, b.c(4, 4, 1))
    y = b.of("mul", b.of("add", y, b.c(4, 1)), b.k(0.5))
    y = b.of("relu", b.of("add", x, y))
    y = b.of("clip", b.of("silu", y), max=6.0)
    (group,) = partition(b.done(y))
    assert group.kind == "conv"
    assert [layer.op.name for layer in group.layers] == ["conv", "add", "mul", "add", "relu", "silu", "clip"]
    assert [t.name for t in group.outputs] == ["y"]


def test_activations_of_several_paths_join_as_a_whole() -> None:
    b = Net()
    y = b.of("linear", b.x(4), b.c(4, 4), b.c(4))
    y = b.of("mul", y, b.of("sigmoid", y))
    erf = b.of("add", b.of("erf", b.of("div", y, b.k(2**0.5))), b.k(1.0))
    (group,) = partition(b.done(b.of("mul", b.of("mul", y, erf), b.k(0.5))))
    assert [layer.op.name for layer in group.layers] == ["linear", "sigmoid", "mul", "div", "erf", "add", "mul", "mul"]


REFUSED: list[tuple[Any, str]] = [
    (lambda b, x, y: b.of("softmax", y), "not done element by element"),
    (lambda b, x, y: b.of("cast", y, to=F64), "it gives f64[N, 4, 4], not f32[N, 4, 4]"),
    (lambda b, x, y: b.of("add", y, b.c(3, 1, 4, 4)), "it gives f32["),
    (lambda b, x, y: b.of("mul", y, x), "neither a constant per channel nor a residual"),
    (
        lambda b, x, y: b.of("add", y, b.of("neg", b.of("reduce_max", x, axes=(1, 2), keepdims=True))),
        "neither a constant",
    ),
    (lambda b, x, y: b.of("add", b.of("add", y, x), b.of("relu", x)), "adds a residual already"),
    (lambda b, x, y: b.of("add", b.of("softmax", y), y), "is read by 2 layers"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_what_does_not_fit_an_epilogue_says_why(make: Any, reason: str) -> None:
    b = Net()
    x = b.x(4, 4)
    network = b.done(make(b, x, b.of("conv", x, b.c(4, 4, 1), name="c")))
    reasons: dict[str, str] = {}
    groups = partition(network, reasons=reasons)
    check(network, groups)
    conv = next(g for g in groups if g.kind == "conv")
    assert all(layer.output is not network.outputs[0] for layer in conv.layers)
    assert any(reason in text for text in reasons.values()), reasons


def test_an_intermediate_that_is_an_output_ends_the_group() -> None:
    b = Net()
    y = b.of("conv", b.x(4, 4), b.c(4, 4, 1))
    assert shown(partition(b.done(y, b.of("relu", y)))) == ["conv: conv", "pointwise: relu"]


def test_a_residual_that_depends_on_the_group_is_refused() -> None:
    b = Net()
    y = b.of("relu", b.of("conv", b.x(4, 4), b.c(4, 4, 1)))
    z = b.of("add", b.of("softmax", y), y)
    assert shown(partition(b.done(z))) == ["conv: conv relu", "softmax: softmax", "pointwise: add"]


def test_two_products_share_a_residual_sum_once() -> None:
    b = Net()
    x = b.x(4, 4)
    y = b.of("relu", b.of("add", b.of("conv", x, b.c(4, 4, 1)), b.of("conv", x, b.c(4, 4, 1))))
    assert sorted(shown(partition(b.done(y)))) == ["conv: conv", "conv: conv add relu"]


def test_normalisation_takes_its_residual() -> None:
    b = Net()
    x, z = b.x(4), b.x(4, name="z")
    total = b.of("add", x, z)
    network = b.done(b.of("layer_norm", total, b.c(4), b.c(4)), b.of("exp", total))
    groups = partition(network)
    assert shown(groups) == ["normalisation: add layer_norm", "pointwise: exp"]
    assert len(groups[0].outputs) == 2


def test_pointwise_regions_are_as_large_as_can_be() -> None:
    b = Net()
    x, z = b.x(4), b.x(4, name="z")
    left, right = b.of("exp", x), b.of("neg", z)
    both = b.of("mul", left, right)
    (group,) = partition(b.done(b.of("relu", both), b.of("tanh", left)))
    assert len(group.layers) == 5
    assert len(group.outputs) == 2


def test_pointwise_regions_stay_convex() -> None:
    b = Net()
    x = b.of("exp", b.x(4))
    network = b.done(b.of("add", x, b.of("softmax", x)))
    assert shown(partition(network)) == ["pointwise: exp", "softmax: softmax", "pointwise: add"]


def test_groups_do_not_wait_for_each_other() -> None:
    """Two regions of two shapes, each reading from the other: one of them must be cut."""
    b = Net()
    x = b.x(4)
    a1 = b.of("exp", x)
    b1 = b.of("neg", b.of("reduce_sum", a1, axes=(1,), keepdims=True))
    b0 = b.of("exp", b.of("reduce_max", x, axes=(1,), keepdims=True))
    b2 = b.of("add", b1, b0)
    a2 = b.of("add", b.of("expand", b0, shape=(N, 4)), a1)
    network = b.done(b.of("mul", a2, b.of("expand", b2, shape=(N, 4))))
    check(network, partition(network))


def test_regions_of_pointwise_layers_are_bounded() -> None:
    b = Net()
    y = b.x(4)
    for _ in range(40):
        y = b.of("sin", y)
    assert [len(g.layers) for g in partition(b.done(y))] == [32, 8]


def test_views_and_copies() -> None:
    b = Net()
    x = b.x(4, 4)
    y = b.of("reshape", b.of("transpose", x), shape=(16, N))
    to = b.input("to", I64, (2,))
    moved = b.of("reshape", b.of("concat", y, y, axis=0), to)
    reasons: dict[str, str] = {}
    groups = partition(b.done(b.of("identity", moved)), reasons=reasons)
    assert shown(groups) == ["view: transpose", "view: reshape", "copy: concat", "copy: reshape", "view: identity"]
    assert "come as a tensor" in reasons[groups[3].layers[0].name]


def test_control_flow_is_a_group_and_its_bodies_have_their_own() -> None:
    b = Net()
    x = b.x(4)
    with b.region([("h", TensorType(F32, (N,))), ("x_t", TensorType(F32, (N,)))]) as region:
        h, step = region.inputs
        body = region.finish([b.of("add", b.of("exp", h), step)])
    start = b.of("reduce_sum", x, axes=(1,))
    network = b.done(b.layer("scan", start, x, regions=[body], name="s", carried=1, axes=(1,))[0])
    groups = partition(network)
    assert shown(groups) == ["reduction: reduce_sum", "region: scan"]
    assert shown(partition_graph(groups[1].layers[0].regions[0])) == ["pointwise: exp add"]


def test_what_a_body_reads_comes_before_it() -> None:
    b = Net()
    x = b.x(4)
    hidden = b.of("exp", x)
    cond = b.of("cast", b.of("reduce_max", x, axes=(0, 1)), to=BOOL)
    with b.region([]) as then:
        first = then.finish([b.of("neg", hidden)])
    with b.region([]) as otherwise:
        second = otherwise.finish([x])
    network = b.done(b.of("mul", b.layer("if", cond, regions=[first, second], name="r")[0], hidden))
    groups = partition(network)
    check(network, groups)
    assert [g.kind for g in groups].count("region") == 1


def test_a_size_that_the_data_decides_orders_groups() -> None:
    b = Net()
    x = b.x(4)
    found: Tensor = b.layer("nonzero", x, name="found", data_dims=["K"])[0]
    size = b.of("dims", values=(found.shape[1],))
    network = b.done(size)
    assert [g.layers[0].op.name for g in partition(network)] == ["nonzero", "dims"]

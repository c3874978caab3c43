"""Passes work inside the bodies of control flow and leave layers where they are."""

from __future__ import annotations

import numpy as np

from tests.backend.passes.nets import BOOL, F16, F32, I64, N, Net, assert_same, ops, rewritten
from trtn.backend.passes import run_passes
from trtn.dsl.network import Graph, Network, Precision, Tensor, TensorType, captures

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def _branches(b: Net, x: Tensor, go: Tensor) -> tuple[Tensor, ...]:
    """if go { relu(x * (2 * 0.5)) } else { sigmoid(x) + sigmoid(x) }, with a dead layer in the first."""
    cond = b.of("reduce_max", go, axes=(0,))
    with b.region([]) as then:
        factor = b.of("mul", b.k(2.0), b.k(0.5))
        b.of("exp", x)
        first = then.finish([b.of("relu", b.of("mul", x, factor))])
    with b.region([]) as otherwise:
        second = otherwise.finish([b.of("add", b.of("sigmoid", x), b.of("sigmoid", x))])
    return b.layer("if", b.of("cast", cond, to=BOOL), regions=[first, second], name="chosen")


def test_bodies_are_folded_merged_and_cleaned() -> None:
    b = Net()
    x = b.x(4)
    (y,) = _branches(b, x, b.x(name="go"))
    network = rewritten(b.done(b.of("neg", y)))
    assert ops(network) == ["reduce_max", "cast", "if", "relu", "sigmoid", "add", "neg"]
    layer = next(layer for layer in network.layers if layer.regions)
    assert [len(region.layers) for region in layer.regions] == [1, 2]
    assert [t.name for t in captures(layer)] == ["x"]


def test_a_body_reads_what_an_outer_tensor_has_become() -> None:
    b = Net()
    x = b.of("identity", b.of("relu", b.x(4)))
    (y,) = _branches(b, x, b.x(name="go"))
    network = rewritten(b.done(y))
    assert "identity" not in ops(network)


def test_layers_of_two_bodies_are_not_merged_but_outer_ones_serve() -> None:
    b = Net()
    x = b.x(4)
    outer = b.of("sigmoid", x)
    (y,) = _branches(b, x, b.x(name="go"))
    network = rewritten(b.done(b.of("add", y, outer)))
    layer = next(layer for layer in network.layers if layer.regions)
    assert [inner.op.name for inner in layer.regions[1].layers] == ["add"]
    assert ops(network).count("sigmoid") == 1


def _scanned(b: Net) -> Network:
    """h = h + sigmoid(x_t) @ w over the steps of x, yielding each h."""
    x = b.x(5, 4)
    start = b.of("reduce_sum", x, axes=(1,))
    w = b.c(4, 4)
    with b.region([("h", TensorType(F32, (N, 4))), ("x_t", TensorType(F32, (N, 4)))]) as region:
        h, step = region.inputs
        gate = b.of("mul", step, b.of("sigmoid", step))
        total = b.of("add", h, b.of("matmul", gate, w))
        body = region.finish([total, b.of("identity", total)])
    results = b.layer("scan", start, x, regions=[body], name="steps", carried=1, axes=(1,), out_axes=(1,))
    return b.done(*results)


def test_scan_bodies_are_optimised() -> None:
    network = rewritten(_scanned(Net()), **CLOSE)
    assert ops(network) == ["reduce_sum", "scan", "silu", "linear", "add"]
    body = network.layers[1].regions[0]
    assert body.outputs[0] is body.outputs[1]


def test_bodies_keep_their_interface_in_lower_precision() -> None:
    before = _scanned(Net())
    network = run_passes(before, precision=Precision(F16), verify=True)
    body = next(layer for layer in network.layers if layer.regions).regions[0]
    assert [t.dtype for t in (*body.inputs, *body.outputs)] == [F32] * 4
    assert any(layer.output.dtype is F16 for layer in body.layers)
    assert_same(before, network, rtol=0.05, atol=0.05)


def test_loops_with_constant_conditions() -> None:
    b = Net()
    x = b.x(4)
    with b.region([("i", TensorType(I64, ())), ("v", TensorType(F32, (N, 4)))]) as region:
        _, v = region.inputs
        on = b.of("not", b.k(False, bool))
        body: Graph = region.finish([on, b.of("mul", v, b.of("add", b.k(1.0), b.k(1.0)))])
    (y,) = b.layer("loop", b.k(3, np.int64), None, x, regions=[body], name="looped")
    network = rewritten(b.done(y))
    assert ops(network) == ["loop", "mul"]
    assert network.layers[0].regions[0].outputs[0].weight is not None

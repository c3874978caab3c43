"""Passes that only run for GPUs: what they make of a few layers, and that results stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.backend.passes.nets import BOOL, F16, F32, N, Net, assert_same, ops, rewritten
from trtn.backend.fusion import partition
from trtn.backend.passes import run_passes
from trtn.backend.passes.base import discover
from trtn.backend.plan.layout import plan_orders
from trtn.backend.plan.storage import Place, plan_storage
from trtn.dsl.network import Network

GPU = "cuda:sm_90"


def attention_net(*, mask: bool = True, layers: int = 2) -> Network:
    b = Net()
    x = b.x(6, 16)
    keep = b.of("unsqueeze", b.x(6, name="keep", dtype=BOOL), axes=(1, 2)) if mask else None
    for _ in range(layers):
        q, k, v = (b.of("linear", x, b.c(16, 16), b.c(16) if n != 1 else None) for n in range(3))
        heads = [b.of("transpose", b.of("reshape", t, shape=(N, 6, 2, 8)), perm=(0, 2, 1, 3)) for t in (q, k, v)]
        y = b.of("transpose", b.of("attention", *heads, keep), perm=(0, 2, 1, 3))
        x = b.of("linear", b.of("reshape", y, shape=(N, 6, 16)), b.c(16, 16), b.c(16))
    return b.done(x)


def test_only_gpus_have_these_passes() -> None:
    more = {p.name for p in discover(GPU)} - {p.name for p in discover()}
    assert "merge_linears" in more
    network = attention_net()
    assert ops(run_passes(network)).count("linear") == 8
    assert ops(run_passes(network, device=GPU)).count("linear") == 4


def test_queries_keys_and_values_are_one_product_whose_parts_are_views() -> None:
    network = rewritten(attention_net(mask=False), device=GPU, rtol=1e-5, atol=1e-5)
    assert ops(network).count("split") == 2
    merged = network.layers[0]
    assert merged.op.name == "linear" and merged.output.shape == (N, 6, 48)
    groups = partition(network, device=GPU)
    places = plan_storage(network, groups, plan_orders(groups)).places
    assert {places[id(t)] for g in groups if g.kind == "view" for t in g.outputs} == {Place.VIEW}


def test_gate_and_up_are_one_product() -> None:
    b = Net()
    x = b.x(6, 16)
    gate, up = b.of("linear", x, b.c(16, 32)), b.of("linear", x, b.c(16, 32))
    network = rewritten(b.done(b.of("mul", b.of("silu", gate), up)), device=GPU, rtol=1e-6, atol=1e-5)
    assert ops(network) == ["linear", "split", "silu", "mul"]


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: [b.of("relu", b.of("linear", x, b.c(16, 16))), b.of("tanh", b.of("linear", x, b.c(16, 16)))],
        lambda b, x: [b.of("linear", x, b.c(16, 16)), b.of("linear", x, b.c(16, 16))],
        lambda b, x: [b.of("linear", b.of("linear", x, b.c(16, 16)), b.c(16, 8)), b.of("linear", x, b.c(16, 16))],
        lambda b, x: [b.of("mul", b.of("linear", x, b.c(16, 12)), b.of("linear", x, b.c(16, 12)))],
        lambda b, x: [b.of("add", b.of("linear", x, b.c(16, 16)), x), b.of("exp", b.of("linear", x, b.c(16, 16)))],
    ],
    ids=["own epilogues", "outputs", "copied by a product", "parts off the grid", "a residual"],
)
def test_products_that_would_lose_by_it_stay(make: Any) -> None:
    b = Net()
    network = b.done(*make(b, b.x(6, 16)))
    after = run_passes(network, device=GPU, verify=True)
    assert "split" not in ops(after)
    assert_same(network, after, rtol=1e-6, atol=1e-6)


def inverted(b: Net, *, low: float = 0.0, shared: bool = False) -> Network:
    """Expansion, relu6, depthwise, relu6, projection."""
    e = b.of("clip", b.of("conv", b.x(8, 6, 6), b.c(16, 8, 1, 1), b.c(16)), min=low, max=6.0)
    d = b.of("clip", b.of("conv", e, b.c(16, 1, 3, 3), b.c(16), pads=1, groups=16), min=0.0, max=6.0)
    y = b.of("conv", d, b.c(8, 16, 1, 1))
    return b.done(y, b.of("exp", e)) if shared else b.done(y)


def test_the_reader_clamps_what_a_product_leaves_unbounded() -> None:
    network = rewritten(inverted(Net()), device=GPU)
    assert ops(network) == ["conv", "relu", "clip", "conv", "clip", "conv"]
    groups = partition(network, device=GPU)
    assert [[layer.op.name for layer in g.layers] for g in groups] == [
        ["conv", "relu"],
        ["clip", "conv", "clip"],
        ["conv"],
    ]


def test_a_global_pooling_clamps_as_well() -> None:
    b = Net()
    y = b.of("clip", b.of("conv", b.x(8, 6, 6), b.c(16, 8, 1, 1), b.c(16)), min=0.0, max=6.0)
    network = rewritten(b.done(b.of("global_avg_pool", y)), device=GPU)
    groups = partition(network, device=GPU)
    assert [[layer.op.name for layer in g.layers] for g in groups] == [["conv", "relu"], ["clip", "global_avg_pool"]]


@pytest.mark.parametrize("change", [{"low": -1.0}, {"shared": True}])
def test_other_clips_stay(change: dict[str, Any]) -> None:
    network = rewritten(inverted(Net(), **change), device=GPU)
    assert "relu" not in ops(network)


def tokens(b: Net, *, half: bool = False, after: str = "", kernel: int = 4, **attrs: Any) -> Network:
    """The first layers of a vision transformer: patches of 4 x 4, as tokens."""
    x = b.x(3, 8, 12)
    weights = b.random.standard_normal((16, 3, kernel, kernel)).astype(np.float16 if half else np.float32)
    y = b.of("conv", b.of("cast", x, to=F16) if half else x, b.constant(weights), strides=4, **attrs)
    y = b.of(after, y) if after else y
    y = b.of("transpose", b.of("reshape", y, shape=(N, 16, -1)), perm=(0, 2, 1))
    y = b.of("layer_norm", y, b.constant(np.ones(16, weights.dtype)))
    return b.done(b.of("cast", y, to=F32) if half else y)


@pytest.mark.parametrize("half", [False, True])
def test_patches_are_rows_of_a_product(half: bool) -> None:
    before = tokens(Net(), half=half)
    network = run_passes(before, device=GPU, verify=True)
    assert_same(before, network, rtol=5e-3 if half else 1e-4, atol=5e-3 if half else 1e-4)
    assert "conv" not in ops(network)
    groups = partition(network, device=GPU)
    places = plan_storage(network, groups, plan_orders(groups)).places
    steps = [g for g in groups if not all(places[id(t)] is Place.VIEW for t in g.outputs)]
    gathering = "pointwise" if half else "view"  # with the cast, or a copy
    assert [g.kind for g in steps][:3] == [gathering, "gemm", "normalisation"]


@pytest.mark.parametrize("change", [{"kernel": 3}, {"pads": 1}, {"after": "relu"}, {"kernel": 5, "pads": 1}])
def test_other_windows_stay_convolutions(change: dict[str, Any]) -> None:
    network = run_passes(tokens(Net(), **change), device=GPU, verify=True)
    assert "conv" in ops(network)


@pytest.mark.parametrize(
    ("equation", "left", "right", "expected"),
    [
        ("btgi,gih->btgh", (N, 5, 3, 8), (3, 8, 4), ["transpose", "reshape", "matmul", "reshape", "transpose"]),
        ("bhsd,bhld->bhsl", (N, 2, 3, 4), (N, 2, 5, 4), ["transpose", "matmul"]),
        ("bij,bjk->bik", (N, 3, 4), (N, 4, 5), ["matmul"]),
        ("b...ij,b...jk->bk...i", (N, 2, 3, 4), (N, 2, 4, 5), ["matmul", "transpose"]),
    ],
)
def test_einsum_of_two_is_a_product(
    equation: str, left: tuple[int, ...], right: tuple[int, ...], expected: list[str]
) -> None:
    b = Net()
    x = b.x(*left[1:])
    other = b.x(*right[1:], name="other") if right[0] is N else b.c(*right)
    network = rewritten(b.done(b.of("einsum", x, other, equation=equation)), device=GPU, rtol=1e-5, atol=1e-5)
    assert ops(network) == expected


@pytest.mark.parametrize("equation", ["bii,bij->bj", "bij,bjk->bk", "bij,bjk->bijk", "bij,bij->b", "bij->bi"])
def test_other_einsums_stay(equation: str) -> None:
    b = Net()
    inputs = [b.x(4, 4, name=name) for name in "xz"[: equation.count(",") + 1]]
    network = rewritten(b.done(b.of("einsum", *inputs, equation=equation)), device=GPU, rtol=1e-5, atol=1e-5)
    assert "einsum" in ops(network)

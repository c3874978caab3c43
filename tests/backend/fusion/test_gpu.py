"""Fusions that only run for GPUs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.backend.fusion.test_partition import check, shown
from tests.backend.passes.nets import F16, F32, I64, Net, networks
from trtn.backend.fusion import partition
from trtn.backend.group import Group
from trtn.backend.passes import run_passes
from trtn.backend.plan.layout import plan_orders
from trtn.dsl.network import Network, Profile, ProfileRange, Tensor

GPU = "cuda:sm_90"


def gpu_groups(network: Network) -> tuple[Group, ...]:
    groups = partition(network, device=GPU)
    check(network, groups)
    return groups


@given(networks())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_partition_covers_and_can_run_in_order(network: Network) -> None:
    gpu_groups(network)
    gpu_groups(run_passes(network, device=GPU))


def half(b: Net, x: Tensor) -> Tensor:
    return b.of("cast", x, to=F16)


def weights(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float16)


def test_the_stem_takes_the_cast_and_its_activation() -> None:
    b = Net()
    y = b.of("conv", half(b, b.x(3, 16, 16)), b.constant(weights(8, 3, 3, 3)), strides=2, pads=1)
    network = b.done(b.of("avg_pool", b.of("relu", y), kernel=3, strides=2))
    groups = gpu_groups(network)
    assert shown(groups) == ["stem: cast conv relu", "pooling: avg_pool"]
    assert plan_orders(groups)[id(groups[0].outputs[0])] == (0, 2, 3, 1)
    assert "conv: conv relu" in shown(partition(network))


def test_the_stem_takes_the_max_pooling_that_alone_reads_it() -> None:
    b = Net()
    y = b.of("relu", b.of("conv", half(b, b.x(3, 16, 16)), b.constant(weights(8, 3, 3, 3)), strides=2, pads=1))
    groups = gpu_groups(b.done(b.of("max_pool", y, kernel=3, strides=2)))
    assert shown(groups) == ["stem: cast conv relu max_pool"]
    assert plan_orders(groups)[id(groups[0].outputs[0])] == (0, 2, 3, 1)
    b = Net()
    y = b.of("conv", half(b, b.x(3, 16, 16)), b.constant(weights(8, 3, 3, 3)), strides=2)
    groups = gpu_groups(b.done(b.of("max_pool", y, kernel=2), b.of("exp", y)))
    assert {"stem: cast conv", "pooling: max_pool"} < set(shown(groups))


def test_a_residual_and_a_shared_cast_stay_out_of_the_stem() -> None:
    b = Net()
    x = half(b, b.x(4, 8, 8))
    y = b.of("relu", b.of("conv", x, b.constant(weights(8, 4, 3, 3)), pads=1))
    z = b.of("add", y, half(b, b.x(8, 8, 8, name="r")))
    groups = gpu_groups(b.done(b.of("tanh", z), b.of("neg", x)))
    assert "stem: conv relu" in shown(groups)


@pytest.mark.parametrize(
    ("shape", "weight", "attrs"),
    [
        ((8, 16, 16), (8, 8, 3, 3), {}),
        ((3, 16, 16), (6, 3, 3, 3), {}),
        ((3, 16, 16), (8, 3, 3, 3), {"dilations": 2}),
        ((3, 16), (8, 3, 3), {}),
        ((4, 1, 1), (8, 4, 1, 1), {}),
        ((1, 16, 16), (8, 1, 3, 3), {}),
    ],
)
def test_other_convolutions_are_no_stem(shape: Any, weight: Any, attrs: Any) -> None:
    b = Net()
    network = b.done(b.of("conv", half(b, b.x(*shape)), b.constant(weights(*weight)), **attrs))
    assert "conv: conv" in shown(gpu_groups(network))


def embeddings(b: Net, *, width: int = 8) -> Tensor:
    ids, types = b.x(5, name="ids", dtype=I64), b.x(5, name="types", dtype=I64)
    words = b.of("embedding", ids, b.c(11, width))
    segments = b.of("gather", b.c(3, width), types, axis=0)
    return b.of("add", b.of("add", words, b.c(5, width)), segments)


def test_embeddings_are_read_where_they_are_normalised() -> None:
    b = Net()
    x = embeddings(b)
    y = b.of("layer_norm", x, b.c(8), b.c(8))
    (first, *_) = groups = gpu_groups(b.done(b.of("linear", y, b.c(8, 8)), x))
    assert shown(groups)[0] == "normalisation: embedding gather add add layer_norm"
    assert [t.name for t in first.outputs] == ["y1", y.name]


def test_a_normalisation_computes_what_it_reads() -> None:
    b = Net()
    tokens = b.of("concat", b.x(5, 8), b.x(1, 8, name="first"), axis=1)
    x = b.of("add", tokens, b.c(6, 8))
    network = b.done(b.of("linear", b.of("layer_norm", b.of("mul", x, b.k(2.0)), b.c(8), b.c(8)), b.c(8, 8)))
    assert shown(gpu_groups(network)) == ["copy: concat", "normalisation: add mul layer_norm", "gemm: linear"]
    b = Net()
    x = b.of("exp", b.x(8))
    network = b.done(b.of("rms_norm", b.of("neg", x)), b.of("tanh", x))
    assert shown(gpu_groups(network))[-1] == "normalisation: neg rms_norm"


def test_normalisation_of_several_axes_reads_no_tables() -> None:
    b = Net()
    y = b.of("layer_norm", embeddings(b), b.c(5, 8), axis=1)
    assert {"copy: embedding", "copy: gather"} < set(shown(gpu_groups(b.done(y))))


def test_a_lookup_that_others_read_stays_a_copy() -> None:
    b = Net()
    words = b.of("embedding", b.x(5, name="ids", dtype=I64), b.c(11, 8))
    network = b.done(b.of("layer_norm", words, b.c(8)), b.of("exp", words))
    assert not any(s.startswith("copy") for s in shown(gpu_groups(network)))  # it leaves as the sum does
    b = Net()
    words = b.of("embedding", b.x(5, name="ids", dtype=I64), b.c(11, 8))
    network = b.done(b.of("layer_norm", b.of("add", words, b.c(8)), b.c(8)), b.of("exp", words))
    assert "copy: embedding" in shown(gpu_groups(network))


def test_depthwise_takes_the_bound_before_it_and_any_epilogue() -> None:
    b = Net()
    x = b.of("clip", b.of("relu", b.x(8, 6, 6)), max=6.0)
    y = b.of("hard_swish", b.of("conv", x, b.c(8, 1, 3, 3), pads=1, groups=8))
    assert shown(gpu_groups(b.done(y))) == ["pointwise: relu", "conv: clip conv hard_swish"]
    b = Net()
    x = b.of("clip", b.x(8, 6, 6), max=-1.0)  # padding would be bounded, too
    y = b.of("conv", x, b.c(8, 1, 3, 3), pads=1, groups=8)
    assert shown(gpu_groups(b.done(y))) == ["pointwise: clip", "conv: conv"]


def squeeze(b: Net, x: Tensor, *, residual: bool = False) -> Tensor:
    s = b.of("global_avg_pool", x)
    h = b.of("silu", b.of("conv", s, b.c(4, 16, 1, 1), b.c(4)))
    e = b.of("sigmoid", b.of("conv", h, b.c(16, 4, 1, 1), b.c(16)))
    return b.of("add", e, s) if residual else b.of("mul", x, e)


def test_an_excitation_is_one_step() -> None:
    b = Net()
    groups = gpu_groups(b.done(squeeze(b, b.x(16, 6, 6))))
    assert shown(groups) == ["pooling: global_avg_pool", "excitation: conv silu conv sigmoid", "pointwise: mul"]
    b = Net()
    groups = gpu_groups(b.done(squeeze(b, b.x(16, 6, 6), residual=True)))
    assert shown(groups)[1:] == ["excitation: conv silu conv sigmoid", "pointwise: add"]


def test_large_products_are_left_to_libraries() -> None:
    b = Net()
    squeezed = b.of("flatten", b.of("global_avg_pool", b.x(512, 2, 2)))
    y = b.of("linear", b.of("relu", b.of("linear", squeezed, b.c(512, 512))), b.c(512, 8))
    assert shown(gpu_groups(b.done(y)))[2:] == ["gemm: linear relu", "gemm: linear"]
    for shape in ((16,), (5, 16)):
        b = Net()
        y = b.of("linear", b.of("relu", b.of("linear", b.x(*shape), b.c(16, 16))), b.c(16, 8))
        assert shown(gpu_groups(b.done(y))) == ["gemm: linear relu", "gemm: linear"]


def test_reductions_compute_what_they_read() -> None:
    b = Net()
    y = b.of("global_avg_pool", b.of("hard_swish", b.of("conv", b.x(8, 6, 6), b.c(8, 8, 1, 1))))
    assert shown(gpu_groups(b.done(y))) == ["conv: conv", "reduction: hard_swish global_avg_pool"]
    b = Net()
    x = b.of("exp", b.x(8))
    assert shown(gpu_groups(b.done(b.of("reduce_sum", x, axes=(1,)), x))) == ["pointwise: exp", "reduction: reduce_sum"]
    b = Net()
    y = b.of("reduce_sum", b.of("mul", b.x(8), b.x(8, name="z")), axes=(1,))
    assert shown(gpu_groups(b.done(y))) == ["pointwise: mul", "reduction: reduce_sum"]


def test_products_take_what_libraries_have() -> None:
    b = Net()
    x = b.x(8, 6, 6)
    y = b.of("hard_swish", b.of("conv", x, b.c(8, 8, 1, 1)))
    z = b.of("relu", b.of("add", b.of("conv", y, b.c(8, 8, 1, 1)), x))
    assert shown(gpu_groups(b.done(z))) == ["conv: conv", "pointwise: hard_swish", "conv: conv add relu"]
    b = Net()
    y = b.of("linear", b.x(4), b.c(4, 4))
    swish = b.of("mul", y, b.of("sigmoid", y))
    assert shown(gpu_groups(b.done(swish))) == ["gemm: linear", "pointwise: sigmoid mul"]
    b = Net()
    product = b.of("matmul", b.x(4, 4), b.x(4, 4, name="z"))
    assert shown(gpu_groups(b.done(b.of("relu", b.of("mul", product, b.k(0.5)))))) == [
        "gemm: matmul",
        "pointwise: mul relu",
    ]


def gated(b: Net, x: Tensor, **attrs: Any) -> tuple[Tensor, Tensor]:
    """An image, and the same with its channels scaled."""
    h = b.of("silu", b.of("conv", x, b.constant(weights(16, 1, 3, 3)), pads=1, groups=16, **attrs))
    s = b.of("relu", b.of("conv", b.of("global_avg_pool", h), b.constant(weights(4, 16, 1, 1))))
    return h, b.of("mul", h, b.of("sigmoid", b.of("conv", s, b.constant(weights(16, 4, 1, 1)))))


def test_a_gated_image_stays_where_it_is_made() -> None:
    b = Net()
    _, y = gated(b, half(b, b.x(16, 6, 6)))
    groups = gpu_groups(b.done(b.of("max_pool", b.of("hard_swish", y), kernel=2)))
    middle = "conv silu global_avg_pool conv relu conv sigmoid mul hard_swish"
    assert shown(groups) == ["pointwise: cast", f"squeeze: {middle}", "pooling: max_pool"]
    assert plan_orders(groups)[id(groups[1].outputs[0])] == (0, 2, 3, 1)


def test_a_gated_image_that_others_read_is_no_group() -> None:
    b = Net()
    h, y = gated(b, half(b, b.x(16, 6, 6)))
    assert "conv: conv silu" in shown(gpu_groups(b.done(y, b.of("exp", h))))
    b = Net()
    h, y = gated(b, half(b, b.x(16, 6, 6)), dilations=2)
    assert "conv: conv silu" in shown(gpu_groups(b.done(y)))


def test_a_product_of_few_rows_writes_what_its_cast_gives() -> None:
    def product(rows: int, to: Any) -> list[str]:
        b = Net()
        x = half(b, b.x(rows, 16))
        y = b.of("relu", b.of("linear", x, b.constant(weights(16, 8))))
        return shown(gpu_groups(b.done(b.of("cast", y, to=to))))

    assert product(1, F32)[1:] == ["gemm: linear relu cast"]
    assert product(2, F32)[1:] == ["gemm: linear relu", "pointwise: cast"]
    assert product(1, I64)[1:] == ["gemm: linear relu", "pointwise: cast"]


def test_profiles_say_how_many_rows_there_are() -> None:
    b = Net()
    network = b.done(b.of("cast", b.of("linear", half(b, b.x(4, 16)), b.constant(weights(16, 8))), to=F32))
    few = replace(network, profiles=(Profile("few", {"N": ProfileRange(1, 1, 2)}),))
    assert shown(gpu_groups(network))[-1] == "pointwise: cast"
    assert shown(gpu_groups(few))[-1] == "gemm: linear cast"

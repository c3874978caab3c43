"""Each pattern alone: what it makes one layer, what it leaves, and that results stay within rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.backend.passes.nets import N, Net, feeds_for, ops
from tests.interpreter import evaluate_network
from trtn.dsl.dims import Range, symbol
from trtn.dsl.dtypes import BOOL
from trtn.dsl.network import Network, Tensor
from trtn.dsl.structure.patterns import discover
from trtn.dsl.structure.recognise import recognise

Make = Callable[[Net], Tensor]


def recognised(make: Make, *, n: int = 3) -> list[str]:
    """The ops that are left. The results must agree."""
    b = Net()
    network = b.done(make(b))
    found = recognise(network)
    assert [t.type for t in found.outputs] == [t.type for t in network.outputs]
    assert_close(network, found, n)
    return ops(found)


def assert_close(network: Network, found: Network, n: int) -> None:
    feeds = feeds_for(network, n)
    before, after = evaluate_network(network, feeds), evaluate_network(found, feeds)
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def bias(b: Net) -> Tensor:
    return b.of("add", b.of("matmul", b.x(5, 4), b.c(4, 6)), b.c(6))


def conv_bias(b: Net) -> Tensor:
    return b.of("add", b.of("conv", b.x(3, 8, 8), b.c(4, 3, 3, 3)), b.c(1, 4, 1, 1))


def gelu(b: Net) -> Tensor:
    x = b.x(7)
    erf = b.of("add", b.of("erf", b.of("div", x, b.k(2**0.5))), b.k(1.0))
    return b.of("mul", b.of("mul", x, b.k(0.5)), erf)


def gelu_tanh(b: Net) -> Tensor:
    x = b.x(7)
    cube = b.of("mul", b.of("pow", x, b.k(3.0)), b.k(0.044715))
    curve = b.of("tanh", b.of("mul", b.of("add", x, cube), b.k((2 / np.pi) ** 0.5)))
    return b.of("mul", b.of("mul", x, b.k(0.5)), b.of("add", curve, b.k(1.0)))


def silu(b: Net) -> Tensor:
    x = b.x(7)
    return b.of("mul", x, b.of("sigmoid", x))


def mish(b: Net) -> Tensor:
    x = b.x(7)
    return b.of("mul", x, b.of("tanh", b.of("softplus", x)))


def hard_swish(b: Net) -> Tensor:
    x = b.x(7)
    return b.of("div", b.of("mul", x, b.of("clip", b.of("add", x, b.k(3.0)), min=0.0, max=6.0)), b.k(6.0))


def layer_norm(b: Net) -> Tensor:
    x = b.x(5, 8)
    d = b.of("sub", x, b.of("reduce_mean", x, axes=[2], keepdims=True))
    variance = b.of("reduce_mean", b.of("pow", d, b.k(2.0)), axes=[2], keepdims=True)
    y = b.of("div", d, b.of("sqrt", b.of("add", variance, b.k(1e-5))))
    return b.of("add", b.of("mul", y, b.c(8)), b.c(8))


def rms_norm(b: Net) -> Tensor:
    x = b.x(5, 8)
    mean = b.of("reduce_mean", b.of("pow", x, b.k(2.0)), axes=[2], keepdims=True)
    return b.of("mul", b.c(8), b.of("mul", x, b.of("reciprocal", b.of("sqrt", b.of("add", mean, b.k(1e-6))))))


def softmax(b: Net) -> Tensor:
    x = b.x(5, 8)
    e = b.of("exp", b.of("sub", x, b.of("reduce_max", x, axes=[1], keepdims=True)))
    return b.of("div", e, b.of("reduce_sum", e, axes=[1], keepdims=True))


def log_softmax(b: Net) -> Tensor:
    x = b.x(5, 8)
    d = b.of("sub", x, b.of("reduce_max", x, axes=[2], keepdims=True))
    return b.of("sub", d, b.of("log", b.of("reduce_sum", b.of("exp", d), axes=[2], keepdims=True)))


def lp_norm(b: Net) -> Tensor:
    x = b.x(5, 8)
    return b.of("div", x, b.of("clip", b.of("reduce_l2", x, axes=[2], keepdims=True), min=1e-12))


def pool(b: Net) -> Tensor:
    return b.of("reshape", b.of("reduce_mean", b.x(3, 4, 5), axes=[2, 3], keepdims=True), shape=[N, 3])


def slices(b: Net) -> Tensor:
    x = b.x(5, 8)
    first, second = (b.of("slice", x, start=[s], end=[s + 4], axes=[2]) for s in (0, 4))
    return b.of("concat", b.of("neg", second), first, axis=2)


def gathers(b: Net) -> Tensor:
    x = b.of("reshape", b.x(5, 12), shape=[N, 5, 3, 4])
    x = b.of("transpose", x, perm=[2, 0, 1, 3])
    a, c, d = (b.of("gather", x, b.constant(np.asarray(n)), axis=0) for n in range(3))
    return b.of("add", b.of("mul", a, c), d)


def ones(b: Net) -> Tensor:
    return b.of("add", b.of("mul", b.x(4), b.k([2.5])), b.k([[0.5]]))


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (bias, ["linear"]),
        (conv_bias, ["conv"]),
        (gelu, ["gelu"]),
        (gelu_tanh, ["gelu"]),
        (silu, ["silu"]),
        (mish, ["mish"]),
        (hard_swish, ["hard_swish"]),
        (layer_norm, ["layer_norm"]),
        (rms_norm, ["rms_norm"]),
        (softmax, ["softmax"]),
        (log_softmax, ["log_softmax"]),
        (lp_norm, ["lp_norm"]),
        (pool, ["global_avg_pool", "flatten"]),
        (slices, ["split", "neg", "concat"]),
        (gathers, ["split", "mul", "add"]),
    ],
)
def test_a_pattern(make: Make, left: list[str]) -> None:
    assert recognised(make) == left


def test_every_module_has_patterns() -> None:
    import pkgutil

    import trtn.dsl.structure.patterns as package

    assert {type(p).__module__.rpartition(".")[2] for p in discover()} == {
        m.name for m in pkgutil.iter_modules(package.__path__)
    }


def test_a_number_with_axes_is_a_number() -> None:
    b = Net()
    network = b.done(ones(b))
    found = recognise(network)
    assert [layer.inputs[1].shape for layer in found.layers if layer.inputs[1] is not None] == [(), ()]
    assert_close(network, found, 2)


# --- attention ---------------------------------------------------------------------------------------------------


def heads(b: Net, x: Tensor, count: int = 2) -> Tensor:
    return b.of("transpose", b.of("reshape", x, shape=[N, 6, count, 4]), perm=[0, 2, 1, 3])


def attention(
    b: Net, *, on: str = "scores", mask: Callable[[Net], Tensor] | None = None, shared: bool = False, zero: bool = False
) -> Tensor:
    """softmax(q @ k^T / 2) @ v, with the scale on the scores, on q or on both."""
    q = heads(b, b.x(6, 8, name="q"))
    k, v = (heads(b, b.x(6, 4 if shared else 8, name=n), 1 if shared else 2) for n in "kv")
    if shared:
        k, v = (
            b.of("reshape", b.of("expand", b.of("unsqueeze", t, axes=[2]), shape=[N, 1, 2, 6, 4]), shape=[N, 2, 6, 4])
            for t in (k, v)
        )
    keys = b.of("transpose", k, perm=[0, 1, 3, 2])
    if on == "both":
        q, keys = (b.of("mul", t, b.k(0.5**0.5)) for t in (q, keys))
    scores = b.of("matmul", b.of("mul", q, b.k(0.5)) if on == "q" else q, keys)
    if on == "scores":
        scores = b.of("div", scores, b.k(2.0))
    if mask is not None:
        scores = b.of("add", scores, mask(b))
    weights = b.of("softmax", scores)
    if zero:
        weights = b.of("where", b.of("isnan", weights), b.k(0.0), weights)
    return b.of("matmul", weights, v)


VIEWS = ["reshape", "transpose"]


@pytest.mark.parametrize("on", ["scores", "q", "both"])
def test_attention(on: str) -> None:
    found = recognised(lambda b: attention(b, on=on))
    assert sorted(found) == sorted(["attention", *VIEWS * 3])


def test_attention_with_a_mask_of_numbers() -> None:
    found = recognised(lambda b: attention(b, mask=lambda b: b.input("mask", b.k(0.0).dtype, (N, 1, 1, 6)), zero=True))
    assert "attention" in found and "softmax" not in found


def test_heads_that_are_shared() -> None:
    found = recognised(lambda b: attention(b, shared=True))
    assert "attention" in found and "expand" not in found


def test_weights_of_attention_that_are_results_stay() -> None:
    b = Net()
    y = attention(b)
    weights = next(layer.output for layer in b._scopes[0] if layer.op.name == "softmax")
    assert "attention" not in ops(recognise(b.done(y, weights)))


def positions(b: Net, size: Any) -> tuple[Tensor, Tensor]:
    steps = b.of("range", end=size)
    return b.of("unsqueeze", steps, axes=[1]), b.of("unsqueeze", steps, axes=[0])


def causal_net(compare: str = "less_equal", window: int | None = None) -> Network:
    """Attention over S positions with a mask computed from ranges."""
    b = Net()
    b.dims["S"] = Range(1, 64)
    s = symbol("S")
    q, k, v = (b.input(n, b.k(0.0).dtype, (N, 2, s, 4)) for n in "qkv")
    rows, columns = positions(b, s)
    keep = b.of(compare, columns, rows)
    if window is not None:
        near = b.of("less", b.of("sub", rows, columns), b.constant(np.asarray(window)))
        keep = b.of("and", keep, near)
    mask = b.of("where", keep, b.k(0.0), b.k(-3.4e38))
    scores = b.of("mul", b.of("matmul", q, b.of("transpose", k, perm=[0, 1, 3, 2])), b.k(0.5))
    return b.done(b.of("matmul", b.of("softmax", b.of("add", scores, mask)), v))


def test_a_mask_from_ranges_is_causal() -> None:
    found = recognise(causal_net())
    assert ops(found) == ["attention"] and found.layers[0].attrs["causal"]


@pytest.mark.parametrize(
    "net", [causal_net("less"), causal_net("greater_equal"), causal_net(window=5), causal_net(window=40)]
)
def test_masks_that_look_causal_and_are_not(net: Network) -> None:
    assert not any(layer.attrs.get("causal") for layer in recognise(net).layers)


# --- conditions and indexes --------------------------------------------------------------------------------------


def test_a_condition_that_always_holds() -> None:
    b = Net()
    x = b.x(6, dtype=BOOL)
    steps = b.of("range", end=6)
    always = b.of("greater_equal", steps, b.constant(np.asarray(0)))
    assert ops(recognise(b.done(b.of("and", always, x)))) == ["identity"] or not ops(
        recognise(b.done(b.of("and", always, x)))
    )


def test_a_gather_of_everything_in_order() -> None:
    b = Net()
    x = b.x(6)
    batch = b.of("reshape", b.of("range", end=N), shape=[N, 1, 1, 1])
    place = b.of("reshape", b.of("range", end=6), shape=[1, 1, 6, 1])
    indices = b.of(
        "concat", b.of("expand", batch, shape=[N, 1, 6, 1]), b.of("expand", place, shape=[N, 1, 6, 1]), axis=3
    )
    network = b.done(b.of("gather_nd", x, indices))
    found = recognise(network)
    assert ops(found) == ["unsqueeze"]
    assert_close(network, found, 2)


def test_another_order_stays() -> None:
    b = Net()
    x = b.x(6)
    batch = b.of("expand", b.of("reshape", b.of("range", end=N), shape=[N, 1, 1]), shape=[N, 6, 1])
    backwards = b.of("sub", b.constant(np.asarray(5)), b.of("range", end=6))
    place = b.of("expand", b.of("reshape", backwards, shape=[1, 6, 1]), shape=[N, 6, 1])
    assert "gather_nd" in ops(recognise(b.done(b.of("gather_nd", x, b.of("concat", batch, place, axis=2)))))


def test_what_others_read_too_stays() -> None:
    b = Net()
    y = b.of("matmul", b.x(4), b.c(4, 6))
    assert ops(recognise(b.done(b.of("add", y, b.c(6)), y))) == ["linear", "add"]

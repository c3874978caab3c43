"""oneDNN's kernels against the ops' own evaluation, over shapes, attributes and memory orders.

Tolerance: sums of n products in f32 in another order differ by about sqrt(n) * 2^-24 of the terms' size; 1e-4 leaves
an order of magnitude for n up to 10^4. Functions that oneDNN approximates (exp, erf, tanh) are good to a few ulp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.backend.harness import floats
from tests.backend.providers.onednn_harness import PROVIDER, check, group_of, problem_for
from trtn.backend.devices import openmp
from trtn.backend.devices.cpu import CPU
from trtn.backend.providers.base import Tactic
from trtn.backend.providers.onednn import library
from trtn.backend.providers.onednn.provider import TACTICS
from trtn.dsl.dtypes import BY_NAME

AVX2 = 0x7
"""dnnl_cpu_isa_avx2, and nothing beyond it."""
pytestmark = pytest.mark.skipif(library.unavailable() is not None, reason=str(library.unavailable()))


def last(rank: int) -> tuple[int, ...]:
    return (0, *range(2, rank), 1)


CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 8, 9, 11), (16, 8, 3, 3), {"pads": (1,)}),
    ((1, 3, 17, 19), (5, 3, 3, 3), {"strides": (2,), "pads": (1,)}),
    ((1, 8, 9, 11), (8, 1, 3, 3), {"pads": (1, 0, 2, 1), "groups": 8}),
    ((1, 6, 9, 11), (9, 2, 3, 3), {"groups": 3}),
    ((1, 16, 14, 14), (32, 16, 1, 1), {"strides": (2,)}),
    ((1, 4, 13, 13), (4, 4, 3, 2), {"dilations": (2,), "pads": (2,)}),
    ((1, 4, 12, 9), (4, 4, 3, 3), {"strides": (2,), "auto_pad": "same_upper"}),
    ((1, 4, 12, 9), (4, 4, 4, 2), {"strides": (2, 1), "auto_pad": "same_lower"}),
    ((2, 6, 21), (4, 6, 5), {"pads": (4, 0)}),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 3), {"pads": (1,)}),
    ((1, 1, 16, 16), (4, 1, 5, 5), {}),
    ((2, 8, 12, 1), (6, 8, 5, 1), {}),
    ((2, 8, 1, 1), (6, 8, 1, 1), {}),
    ((1, 4, 1, 12), (6, 4, 1, 5), {"pads": (0, 2)}),
]


@pytest.mark.parametrize(("x", "w", "attrs"), CONVS, ids=str)
@pytest.mark.parametrize("order", ["first", "last"])
def test_conv(x: tuple[int, ...], w: tuple[int, ...], attrs: dict[str, Any], order: str) -> None:
    """With a bias and relu; the result lies as x does."""
    group = group_of(
        lambda n: n.relu(n.conv(n.x("f32", *x), n.random("f32", *w, scale=0.3), n.random("f32", w[0]), **attrs))
    )
    lie = last(len(x)) if order == "last" else None
    assert not check(group, orders={"x": lie}, out=lie)


DECONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 8, 5, 6), (8, 4, 3, 3), {"strides": (2,), "pads": (1,)}),
    ((1, 8, 5, 6), (8, 4, 3, 3), {"strides": (2,), "pads": (1,), "output_pads": (1,)}),
    ((1, 8, 5, 6), (8, 3, 2, 2), {"strides": (2,), "groups": 2}),
    ((1, 8, 5, 6), (8, 1, 4, 4), {"strides": (2,), "pads": (1,), "groups": 8}),
    ((1, 4, 7), (4, 6, 5), {"dilations": (2,), "auto_pad": "same_upper"}),
    ((1, 4, 5, 5), (4, 2, 3, 3), {"strides": (2,), "output_shape": (10, 9)}),
]


@pytest.mark.parametrize(("x", "w", "attrs"), DECONVS, ids=str)
def test_deconv(x: tuple[int, ...], w: tuple[int, ...], attrs: dict[str, Any]) -> None:
    group = group_of(lambda n: n.sigmoid(n.deconv(n.x("f32", *x), n.random("f32", *w), **attrs)))
    assert not check(group, orders={"x": last(len(x))}, out=last(len(x)))


@pytest.mark.parametrize("rows", [(7,), (3, 5), (2, 3, 4), (1, 1)], ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_linear(rows: tuple[int, ...], bias: bool) -> None:
    group = group_of(
        lambda n: n.gelu(
            n.linear(n.x("f32", *rows, 24), n.random("f32", 24, 17), n.random("f32", 17) if bias else None)
        )
    )
    assert not check(group)


@pytest.mark.parametrize("rows", [512, 8])
def test_the_guess_for_rows_by_a_constant(rows: int) -> None:
    weight = np.ones((48, 96), np.float32)
    group = group_of(lambda n: n.relu(n.linear(n.x("f32", rows, 48), n.w(weight))))
    given = [np.empty((rows, 48), np.float32), weight]
    problem = problem_for(group, given, [np.empty((rows, 96), np.float32)], {})
    guessed = PROVIDER.prepare(problem, Tactic("pixels"), CPU()).is_favourite
    assert guessed == (rows == 512 and library.library().dnnl_get_effective_cpu_isa() == AVX2)
    assert PROVIDER.tactics(problem, CPU())[0].name == ("pixels" if guessed else "inner_product")


PRODUCTS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((5, 6), (6, 7)),
    ((2, 3, 5, 6), (2, 3, 6, 7)),
    ((2, 3, 5, 6), (6, 7)),
    ((2, 1, 5, 6), (1, 3, 6, 7)),
    ((5, 6), (2, 6, 7)),
    ((6,), (6, 7)),
    ((5, 6), (6,)),
    ((6,), (6,)),
    ((2, 5, 6), (6,)),
    ((6,), (2, 6, 7)),
]


@pytest.mark.parametrize(("a", "b"), PRODUCTS, ids=str)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    failed = check(group_of(lambda n: n.matmul(n.x("f32", *a, name="a"), n.x("f32", *b, name="b"))))
    assert failed.keys() == {"inner_product", "pixels"}


def test_matmul_of_transposed_operands() -> None:
    group = group_of(lambda n: n.matmul(n.x("f32", 2, 5, 6, name="a"), n.x("f32", 2, 6, 7, name="b")))
    assert check(group, orders={"a": (0, 2, 1), "b": (0, 2, 1)}).keys() == {"inner_product", "pixels"}


def test_matmul_of_a_row_with_gaps() -> None:
    group = group_of(lambda n: n.linear(n.x("f32", 1, 3, 6), n.random("f32", 6, 7)))
    assert not check(group, orders={"x": (2, 0, 1)})
    row = group_of(lambda n: n.linear(n.x("f32", 1, 6), n.random("f32", 6, 7)))
    assert not check(row, values={"x": floats(6, 5)[None, :, 2]})


def _epilogues() -> dict[str, Any]:
    """What is done to a product [2, 8, 5, 6], with constants by channel of 8."""
    return {
        "relu6": lambda n, y: n.clip(y, min=0.0, max=6.0),
        "no upper bound": lambda n, y: n.clip(y, min=-0.5),
        "residual": lambda n, y: n.relu(n.add(y, n.x("f32", 2, 8, 5, 6, name="r"))),
        "residual first": lambda n, y: n.add(n.x("f32", 2, 8, 5, 6, name="r"), n.silu(y)),
        "scale and shift": lambda n, y: n.add(n.mul(y, n.random("f32", 8, 1, 1)), n.random("f32", 1, 8, 1, 1)),
        "scalars": lambda n, y: n.sub(n.w(1.5), n.div(n.mul(y, n.w([0.5])), n.w([[3.0]]))),
        "divided": lambda n, y: n.div(y, n.random("f32", 8, 1, 1)),
        "channel less value": lambda n, y: n.sub(n.random("f32", 8, 1, 1), y),
        "prelu": lambda n, y: n.prelu(y, n.random("f32", 8, 1, 1)),
        "hard": lambda n, y: n.hard_swish(n.hard_sigmoid(y, alpha=0.3, beta=0.4)),
        "smooth": lambda n, y: n.mish(n.softplus(n.tanh(n.elu(n.leaky_relu(y, alpha=0.2), alpha=0.7)))),
        "no post-op": lambda n, y: n.relu(n.sin(n.relu(y))),
        "gelu by tanh": lambda n, y: n.gelu(y, approximate="tanh"),
        "powers": lambda n, y: n.pow(n.sqrt(n.abs(y)), n.w(2.0)),
    }


@pytest.mark.parametrize("name", _epilogues())
def test_epilogue(name: str) -> None:
    group = group_of(
        lambda n: _epilogues()[name](n, n.conv(n.x("f32", 2, 4, 5, 6), n.random("f32", 8, 4, 1, 1, scale=0.4)))
    )
    assert not check(group, orders={"x": last(4), "r": last(4)}, out=last(4))
    assert not check(group)


@pytest.mark.parametrize("other", [(3, 5, 8), (8,), (1,), (1, 1, 8)], ids=str)
def test_epilogue_of_linear(other: tuple[int, ...]) -> None:
    def make(n: Any) -> Any:
        operand = n.x("f32", *other, name="r") if len(other) == 3 and other[0] == 3 else n.random("f32", *other)
        return n.relu(n.add(n.linear(n.x("f32", 3, 5, 6), n.random("f32", 6, 8)), operand))

    assert not check(group_of(make))


POOLS: list[tuple[str, tuple[int, ...], dict[str, Any]]] = [
    ("max_pool", (2, 5, 9, 11), {"kernel": (3, 3), "strides": (2,), "pads": (1,)}),
    ("max_pool", (2, 5, 9, 11), {"kernel": (3, 2), "pads": (2, 0, 1, 1)}),
    ("max_pool", (1, 4, 10), {"kernel": (3,), "strides": (2,), "ceil_mode": True}),
    ("avg_pool", (2, 5, 9, 11), {"kernel": (3, 3), "strides": (2,), "pads": (1,)}),
    ("avg_pool", (2, 5, 9, 11), {"kernel": (3, 3), "pads": (1,), "count_include_pad": True}),
    ("avg_pool", (1, 4, 10, 10), {"kernel": (3, 3), "strides": (2,), "ceil_mode": True}),
    ("avg_pool", (1, 4, 10, 9), {"kernel": (3, 3), "strides": (2,), "auto_pad": "same_upper"}),
    ("avg_pool", (1, 3, 5, 6, 7), {"kernel": (2, 2, 3)}),
    ("global_avg_pool", (2, 5, 7, 7), {}),
    ("global_max_pool", (2, 5, 7, 7), {}),
]


@pytest.mark.parametrize(("op", "x", "attrs"), POOLS, ids=str)
def test_pooling(op: str, x: tuple[int, ...], attrs: dict[str, Any]) -> None:
    group = group_of(lambda n: n.op(op, n.x("f32", *x), **attrs))
    assert not check(group, orders={"x": last(len(x))}, out=last(len(x)))
    assert not check(group)


def test_dilated_windows_have_no_kernel() -> None:
    group = group_of(lambda n: n.max_pool(n.x("f32", 1, 4, 10, 10), kernel=(3, 3), dilations=(2,)))
    assert "unimplemented" in str(check(group)["windows"])


def test_windows_over_the_padding_are_refused() -> None:
    attrs = {"kernel": (3, 3), "strides": (2,), "ceil_mode": True, "count_include_pad": True}
    group = group_of(lambda n: n.avg_pool(n.x("f32", 1, 4, 10, 10), **attrs))
    assert "hang over" in str(check(group)["windows"])


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_softmax(op: str, axis: int) -> None:
    assert not check(group_of(lambda n: n.op(op, n.x("f32", 3, 4, 5, 33), axis=axis)))


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("parameters", [0, 1, 2])
def test_layer_norm(axis: int, parameters: int) -> None:
    shape = (48,) if axis == -1 else (5, 48)
    group = group_of(
        lambda n: n.layer_norm(n.x("f32", 3, 5, 48), *(n.random("f32", *shape) for _ in range(parameters)), axis=axis)
    )
    assert not check(group)


@pytest.mark.parametrize("kept", [False, True])
def test_layer_norm_of_a_sum(kept: bool) -> None:
    def make(n: Any) -> Any:
        total = n.add(n.x("f32", 3, 48, name="a"), n.x("f32", 3, 48, name="b"))
        y = n.layer_norm(total, n.random("f32", 48), n.random("f32", 48), eps=1e-12)
        return (total, y) if kept else y

    assert not check(group_of(make))


def test_lrn() -> None:
    group = group_of(lambda n: n.lrn(n.x("f32", 2, 16, 5, 6), size=5, alpha=0.1, beta=0.75, bias=2.0))
    assert not check(group)
    assert not check(group, orders={"x": last(4)}, out=last(4))


@pytest.mark.parametrize("op", ["reduce_sum", "reduce_mean", "reduce_max", "reduce_min"])
@pytest.mark.parametrize("axes", [(1,), (2, 3), (-1,), None], ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reduction(op: str, axes: Any, keepdims: bool) -> None:
    group = group_of(lambda n: n.op(op, n.x("f32", 2, 8, 5, 16), axes=axes, keepdims=keepdims))
    assert len(check(group)) < 3 or op == "reduce_min"  # which only the primitive has, for innermost axes


@pytest.mark.parametrize("op", ["reduce_sum", "reduce_mean", "reduce_max", "reduce_min"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reduction_of_few(op: str, keepdims: bool) -> None:
    assert "few" not in check(group_of(lambda n: n.op(op, n.x("f32", 7, 5, 3), axes=(-1,), keepdims=keepdims)))


MASKS: dict[str, Any] = {
    "none": lambda n: None,
    "keys": lambda n: n.x("bool", 2, 1, 1, 7, name="mask"),
    "pairs": lambda n: n.x("bool", 5, 7, name="mask"),
    "heads": lambda n: n.x("bool", 1, 4, 5, 7, name="mask"),
    "numbers": lambda n: n.x("f32", 2, 1, 5, 7, name="mask"),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("shared", [4, 2, 1])
@pytest.mark.parametrize("causal", [False, True])
def test_attention(mask: str, shared: int, causal: bool) -> None:
    """Random masks leave some queries without a key, whose result is zeros."""
    group = group_of(
        lambda n: n.attention(
            n.x("f32", 2, 4, 5, 16, name="q"),
            n.x("f32", 2, shared, 7, 16, name="k"),
            n.x("f32", 2, shared, 7, 12, name="v"),
            MASKS[mask](n),
            causal=causal,
        )
    )
    merged = (0, 2, 1, 3)
    assert not check(group)
    assert not check(group, orders={"q": merged, "k": merged, "v": merged}, out=merged)


def test_attention_that_sees_nothing() -> None:
    """More queries than keys: the first see none."""
    qkv = [("q", 7), ("k", 5), ("v", 5)]
    group = group_of(lambda n: n.attention(*(n.x("f32", 1, 2, s, 8, name=t) for t, s in qkv), causal=True))
    assert not check(group)


def _regions() -> dict[str, Any]:
    """Regions over x and y [2, 6, 5, 4], with operands that broadcast."""
    return {
        "chain": lambda n, x, y: n.relu(n.add(n.mul(x, n.random("f32", 6, 1, 1)), y)),
        "one layer": lambda n, x, y: n.sigmoid(x),
        "squeeze and excite": lambda n, x, y: n.add(n.mul(x, n.x("f32", 2, 6, 1, 1, name="s")), y),
        "diamond": lambda n, x, y: (lambda t: n.mul(t, n.hard_sigmoid(t)))(n.add(x, y)),
        "square": lambda n, x, y: n.add(n.mul(x, x), y),
        "two results": lambda n, x, y: (lambda t: (t, n.tanh(t)))(n.sub(x, y)),
        "reversed": lambda n, x, y: n.sub(
            n.random("f32", 6, 1, 1), n.div(n.random("f32", 4), n.add(n.exp(x), n.w(1.0)))
        ),
        "several": lambda n, x, y: n.max(x, y, n.random("f32", 6, 1, 1), n.w(0.1)),
    }


@pytest.mark.parametrize("name", _regions())
def test_pointwise(name: str) -> None:
    group = group_of(lambda n: _regions()[name](n, n.x("f32", 2, 6, 5, 4), n.x("f32", 2, 6, 5, 4, name="y")))
    assert not check(group)
    assert not check(group, orders={"x": last(4), "y": last(4)}, out=last(4))
    assert not check(group, orders={"x": last(4)})


@pytest.mark.parametrize("op", ["lstm", "gru"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("started", [False, True])
def test_recurrent(op: str, direction: str, batch_first: bool, started: bool) -> None:
    steps, batch, features, hidden = 5, 3, 7, 8
    d, gates = 2 if direction == "bidirectional" else 1, 4 if op == "lstm" else 3
    state = (batch, d, hidden) if batch_first else (d, batch, hidden)

    def make(n: Any) -> Any:
        starts = [n.x("f32", *state, name=f"s{k}") for k in range(2 if op == "lstm" else 1)] if started else []
        return n.op(
            op,
            n.x("f32", *((batch, steps) if batch_first else (steps, batch)), features),
            n.random("f32", d, gates * hidden, features, scale=0.3),
            n.random("f32", d, gates * hidden, hidden, scale=0.3, seed=1),
            n.random("f32", d, 2 * gates * hidden, seed=2) if started else None,
            None,
            *starts,
            hidden=hidden,
            direction=direction,
            batch_first=batch_first,
        )

    assert not check(group_of(make))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("started", [True, False])
def test_lstm_with_peepholes(direction: str, started: bool) -> None:
    d = 2 if direction == "bidirectional" else 1

    def make(n: Any) -> Any:
        weights = [n.random("f32", d, 32, k, seed=k, scale=0.3) for k in (7, 8)]
        starts = [n.x("f32", d, 3, 8, name=f"s{k}") for k in range(2)] if started else [None, None]
        extra = [n.random("f32", d, 64), None, *starts, n.random("f32", d, 24)]
        return list(n.lstm(n.x("f32", 5, 3, 7), *weights, *extra, hidden=8, direction=direction))

    assert not check(group_of(make))


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_rnn(direction: str, activation: str) -> None:
    d = 2 if direction == "bidirectional" else 1

    def make(n: Any) -> Any:
        weights = [n.random("f32", d, 8, k, seed=k, scale=0.3) for k in (7, 8)]
        start = n.x("f32", 3, d, 8, name="start")
        attrs = {"hidden": 8, "direction": direction, "activations": [activation] * d, "batch_first": True}
        return list(n.rnn(n.x("f32", 3, 5, 7), *weights, n.random("f32", d, 16), None, start, **attrs))

    assert not check(group_of(make))


@pytest.mark.parametrize("bias", [False, True])
def test_gru_linear_before_reset(bias: bool) -> None:
    def make(n: Any) -> Any:
        weights = (n.random("f32", 1, 24, 7, scale=0.3), n.random("f32", 1, 24, 8, scale=0.3, seed=1))
        extra = n.random("f32", 1, 48, seed=2) if bias else None
        return n.gru(n.x("f32", 5, 3, 7), *weights, extra, hidden=8, linear_before_reset=True)

    assert not check(group_of(make))


def test_recurrent_layers_with_lengths_are_refused() -> None:
    def make(n: Any) -> Any:
        weights = (n.random("f32", 1, 24, 7), n.random("f32", 1, 24, 8))
        return n.gru(n.x("f32", 5, 3, 7), *weights, None, n.x("i32", 3, name="lengths"), hidden=8)

    assert "lengths" in str(check(group_of(make))["cells"])


@pytest.mark.parametrize("order", ["first", "last"])
def test_concat(order: str) -> None:
    lie = last(4) if order == "last" else None
    group = group_of(lambda n: n.concat(*(n.x("f32", 2, c, 5, 4, name=f"x{c}") for c in (3, 1, 8)), axis=1))
    assert not check(group, orders={"x3": lie, "x8": lie}, out=lie)


@pytest.mark.parametrize("attrs", [{"pads": (0, 1, 2, 3, 0, 0, 4, 1)}, {"pads": (2, 1), "axes": (-1,), "fill": -1.5}])
@pytest.mark.parametrize("order", ["first", "last"])
def test_pad(attrs: dict[str, Any], order: str) -> None:
    lie = last(4) if order == "last" else None
    assert not check(group_of(lambda n: n.pad(n.x("f32", 2, 3, 5, 4), **attrs)), orders={"x": lie}, out=lie)


@pytest.mark.parametrize("mode", ["reflect", "edge"])
@pytest.mark.parametrize("pads", [(0, 0, 2, 3, 0, 0, 4, 1), (1, 2, 0, 0, 0, 2, 0, 3)], ids=str)
def test_pad_from_what_is_there(mode: str, pads: tuple[int, ...]) -> None:
    group = group_of(lambda n: n.pad(n.x("f32", 2, 3, 5, 4), pads=pads, mode=mode))
    assert not check(group)
    assert not check(group, orders={"x": last(4)}, out=last(4))


def test_other_padding_is_refused() -> None:
    group = group_of(lambda n: n.pad(n.x("f32", 2, 5), pads=(0, 1, 0, 1), mode="wrap"))
    assert "the other end" in str(check(group)["parts"])


RESIZES: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((2, 3, 5, 4), {"scales": (1.0, 1.0, 2.0, 3.0), "coordinates": "asymmetric", "nearest": "floor"}),
    ((2, 3, 5, 4), {"sizes": (2, 3, 20, 4), "nearest": "round_prefer_ceil"}),
    ((2, 3, 5, 4), {"sizes": (2, 3, 7, 9), "mode": "linear"}),
    ((1, 3, 9), {"sizes": (1, 3, 4), "mode": "linear"}),
]


@pytest.mark.parametrize(("x", "attrs"), RESIZES, ids=str)
def test_resize(x: tuple[int, ...], attrs: dict[str, Any]) -> None:
    group = group_of(lambda n: n.resize(n.x("f32", *x), **attrs))
    assert not check(group)
    assert not check(group, orders={"x": last(len(x))}, out=last(len(x)))


@pytest.mark.parametrize("attrs", [{"coordinates": "align_corners", "mode": "linear"}, {"mode": "cubic"}, {}], ids=str)
def test_other_ways_to_resize_are_refused(attrs: dict[str, Any]) -> None:
    group = group_of(lambda n: n.resize(n.x("f32", 2, 3, 5, 4), sizes=(2, 3, 7, 9), **attrs))
    assert "at these sizes" in str(check(group)["primitive"])


EINSUMS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "btgi,gih->btgh": ((2, 7, 3, 5), (3, 5, 4)),
    "ij,kj->ik": ((3, 4), (5, 4)),
    "bshd,blhd->bhsl": ((2, 4, 3, 5), (2, 6, 3, 5)),
    "abij,jic->abc": ((2, 3, 4, 5), (5, 4, 6)),
    "...ij,jk->...ik": ((2, 3, 4, 5), (5, 6)),
    "i,ij->j": ((3,), (3, 4)),
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_einsum(equation: str) -> None:
    """Where summed axes don't lie as one, the reference stays."""
    x, y = EINSUMS[equation]
    group = group_of(lambda n: n.einsum(n.x("f32", *x), n.random("f32", *y), equation=equation))
    assert bool(check(group)) == (equation == "abij,jic->abc")


@pytest.mark.parametrize("equation", ["ii,ij->j", "ij,kl->il", "ij,kl->ijkl"])
def test_einsums_that_are_no_products(equation: str) -> None:
    group = group_of(lambda n: n.einsum(n.x("f32", 3, 3), n.random("f32", 3, 3), equation=equation))
    assert check(group)


def test_what_is_small_runs_on_one_thread() -> None:
    for rows, alone in ((2, True), (4096, False)):
        group = group_of(lambda n, rows=rows: n.matmul(n.x("f32", rows, 64), n.random("f32", 64, 64)))
        x = np.ones((rows, 64), np.float32)
        problem = problem_for(group, [x if t.weight is None else t.weight.load() for t in group.inputs], [x], {})
        assert PROVIDER.prepare(problem, PROVIDER.tactics(problem, CPU())[0], CPU()).alone == alone
        with CPU(2).running(compiled=True, arrays=False):
            assert not check(group)
            assert openmp.threads() == 2


def test_what_is_taken_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused are a CPU without instructions for it, and ops whose kernels are for f32."""

    def refusals() -> list[str]:
        relu = group_of(lambda n: n.relu(n.x("bf16", 4, 4)))
        joined = group_of(lambda n: n.concat(n.x("bf16", 4, 4), n.x("bf16", 4, 4, name="y"), axis=0))
        total = group_of(lambda n: n.reduce_sum(n.x("bf16", 4, 4), axes=[1]))
        return [PROVIDER.refusal(g) for g in (relu, joined, total)]

    monkeypatch.setattr(library, "has_bf16", lambda: False)
    assert all("no instructions" in reason for reason in refusals())
    monkeypatch.setattr(library, "has_bf16", lambda: True)
    assert refusals() == ["", "", "kernels of `reduce_sum` are for f32"]


BF16_CASES: dict[str, Callable[[Any], Any]] = {
    "conv": lambda n: n.relu(
        n.add(n.conv(n.x("bf16", 2, 8, 9, 7), n.random("bf16", 16, 8, 3, 3)), n.x("bf16", 2, 16, 7, 5, name="y"))
    ),
    "depthwise": lambda n: n.clip(n.conv(n.x("bf16", 2, 8, 9, 7), n.random("bf16", 8, 1, 3, 3), groups=8), max=6.0),
    "linear": lambda n: n.gelu(n.linear(n.x("bf16", 40, 24), n.random("bf16", 24, 64), n.random("bf16", 64))),
    "matmul": lambda n: n.matmul(n.x("bf16", 2, 3, 5, 6), n.x("bf16", 2, 3, 6, 7, name="y")),
    "attention": lambda n: n.attention(*(n.x("bf16", 2, 4, 6, 8, name=name) for name in "qkv"), causal=True),
    "layer_norm": lambda n: n.layer_norm(n.x("bf16", 4, 16), n.random("bf16", 16), n.random("bf16", 16)),
    "softmax": lambda n: n.softmax(n.x("bf16", 4, 16), axis=-1),
    "pooling": lambda n: n.max_pool(n.x("bf16", 2, 8, 8, 8), kernel=(2, 2), strides=2),
    "pointwise": lambda n: n.sigmoid(n.add(n.x("bf16", 4, 16), n.x("bf16", 4, 16, name="y"))),
    "cast": lambda n: n.cast(n.x("f32", 4, 16), to=BY_NAME["bf16"]),
}


@pytest.mark.skipif(not library.has_bf16(), reason="the CPU has no instructions for bf16")
@pytest.mark.parametrize("name", BF16_CASES)
def test_bf16(name: str) -> None:
    """Both sides round to 8 bits of mantissa, at different places."""
    group = group_of(BF16_CASES[name])
    failed = check(group, rtol=2e-2, atol=4e-2)
    assert len(failed) < len(TACTICS[group.kind]), failed

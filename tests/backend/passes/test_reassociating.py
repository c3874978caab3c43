"""batch_norm, recognise, norms: what they merge, what they leave, and that results stay within rounding."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.backend.passes.nets import N, Net, only, ops, rewritten
from trtn.backend.passes import run_passes
from trtn.backend.passes.batch_norm import PASS as BATCH_NORM
from trtn.backend.passes.dead import PASS as DEAD
from trtn.backend.passes.norms import PASS as NORMS
from trtn.backend.passes.recognise import PASS as RECOGNISE
from trtn.backend.passes.stacked import PASS as STACKED
from trtn.dsl.network import Network, Tensor

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def _norm(b: Net, x: Tensor, channels: int) -> Tensor:
    return b.of("batch_norm", x, b.c(channels), b.c(channels), b.c(channels), b.c(channels, positive=True))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("op", ["conv", "deconv", "linear"])
def test_batch_norm_goes_into_the_weights(op: str, bias: bool, groups: int) -> None:
    b = Net()
    constant = b.c(6) if bias else None
    if op == "linear":
        y = b.of("linear", b.x(4), b.c(4, 6), constant)
    elif op == "conv":
        y = b.of("conv", b.x(4, 5, 5), b.c(6, 4 // groups, 3, 3), constant, groups=groups)
    else:
        y = b.of("deconv", b.x(4, 5, 5), b.c(4, 6 // groups, 3, 3), constant, groups=groups)
    network = rewritten(b.done(b.of("relu", _norm(b, y, 6))), BATCH_NORM, **CLOSE)
    assert ops(network) == [op, "relu"]
    assert only(network, op).attrs.get("groups", groups) == groups


def test_batch_norm_alone_becomes_mul_and_add() -> None:
    b = Net()
    network = rewritten(b.done(_norm(b, b.x(4, 3), 4)), BATCH_NORM, **CLOSE)
    assert ops(network) == ["mul", "add"]


def test_a_result_that_others_read_is_not_folded_into() -> None:
    b = Net()
    y = b.of("conv", b.x(4, 5), b.c(4, 4, 3))
    network = rewritten(b.done(_norm(b, y, 4), y), BATCH_NORM, **CLOSE)
    assert ops(network) == ["conv", "mul", "add"]


def test_constants_per_channel_go_into_weights_and_bias() -> None:
    b = Net()
    y = b.of("conv", b.x(4, 5), b.c(6, 4, 3))
    for op, constant in (
        ("mul", b.c(6, 1)),
        ("add", b.c(1, 6, 1)),
        ("sub", b.k(0.5)),
        ("div", b.c(6, 1, positive=True)),
    ):
        y = b.of(op, y, constant)
    z = b.of("add", b.c(3), b.of("linear", b.x(4, name="z"), b.c(4, 3)))
    network = rewritten(b.done(y, z), BATCH_NORM, **CLOSE)
    assert ops(network) == ["conv", "linear"]


@pytest.mark.parametrize(
    "make",
    [
        lambda b, y: b.of("add", y, b.c(1, 1, 3)),  # varies along the positions
        lambda b, y: b.of("sub", b.c(6, 1), y),
        lambda b, y: b.of("div", y, b.k(0.0)),
        lambda b, y: b.of("mul", y, b.k(3e38)),  # leaves f32
        lambda b, y: b.of("add", y, b.c(1, 1, 6, 3)),  # makes the result larger
    ],
)
def test_other_constants_are_not_folded(make: Any) -> None:
    b = Net()
    y = b.of("conv", b.x(4, 5), b.c(6, 4, 3))
    assert BATCH_NORM.run(b.done(make(b, y))) is None


def _sigmoid_gate(b: Net, x: Tensor) -> Tensor:
    return b.of("mul", x, b.of("sigmoid", x))


def _mish(b: Net, x: Tensor) -> Tensor:
    return b.of("mul", b.of("tanh", b.of("softplus", x)), x)


def _hard_swish(b: Net, x: Tensor) -> Tensor:
    return b.of("div", b.of("mul", x, b.of("clip", b.of("add", x, b.k(3.0)), min=0, max=6)), b.k(6.0))


def _hard_gate(b: Net, x: Tensor) -> Tensor:
    return b.of("mul", x, b.of("hard_sigmoid", x, alpha=1 / 6))


def _erf_last(b: Net, x: Tensor) -> Tensor:
    curve = b.of("add", b.of("erf", b.of("div", x, b.k(math.sqrt(2)))), b.k(1.0))
    return b.of("mul", b.of("mul", x, curve), b.k(0.5))


def _erf_first(b: Net, x: Tensor) -> Tensor:
    curve = b.of("add", b.k(1.0), b.of("erf", b.of("mul", x, b.k(math.sqrt(0.5)))))
    return b.of("mul", b.of("mul", b.k(0.5), x), curve)


def _tanh_gelu(b: Net, x: Tensor) -> Tensor:
    cubic = b.of("add", x, b.of("mul", b.of("pow", x, b.k(3.0)), b.k(0.044715)))
    curve = b.of("add", b.of("tanh", b.of("mul", cubic, b.k(math.sqrt(2 / math.pi)))), b.k(1.0))
    return b.of("mul", b.of("mul", x, b.k(0.5)), curve)


ACTIVATIONS = [
    (_sigmoid_gate, "silu"), (_mish, "mish"), (_hard_swish, "hard_swish"), (_hard_gate, "hard_swish"),
    (_erf_last, "gelu"), (_erf_first, "gelu"), (_tanh_gelu, "gelu"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "op"), ACTIVATIONS)
def test_activations_are_recognised(make: Any, op: str) -> None:
    b = Net()
    network = rewritten(b.done(make(b, b.x(5))), RECOGNISE, DEAD, **CLOSE)
    assert ops(network) == [op]


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: b.of("mul", x, b.of("sigmoid", b.of("neg", x))),
        lambda b, x: b.of("mul", b.of("mul", x, b.of("sigmoid", x)), b.k(2.0)),
        lambda b, x: b.of("mul", x, b.of("clip", b.of("add", x, b.k(2.0)), min=0, max=6)),
        lambda b, x: b.of("mul", x, b.of("add", b.of("erf", x), b.k(1.0))),
    ],
)
def test_what_is_another_function_stays(make: Any) -> None:
    b = Net()
    network = run_passes(b.done(make(b, b.x(5))), [RECOGNISE], verify=True)
    assert not {"mish", "hard_swish", "gelu"} & set(ops(network))


def _spelled_norm(b: Net, x: Tensor, *, centred: bool, how: str) -> Network:
    axes = {"axes": (-1,), "keepdims": True}
    d = b.of("sub", x, b.of("reduce_mean", x, **axes)) if centred else x
    square = b.of("mul", d, d) if how == "mul" else b.of("pow", d, b.k(2.0))
    total = b.of("add", b.of("reduce_mean", square, **axes), b.k(1e-5))
    if how == "rsqrt":
        y = b.of("mul", d, b.of("rsqrt", total))
    elif how == "reciprocal":
        y = b.of("mul", b.of("reciprocal", b.of("sqrt", total)), d)
    else:
        y = b.of("div", d, b.of("sqrt", total))
    y = b.of("mul", y, b.c(6))
    return b.done(b.of("add", y, b.c(6)) if centred else y)


@pytest.mark.parametrize("how", ["mul", "pow", "rsqrt", "reciprocal"])
@pytest.mark.parametrize("centred", [True, False])
def test_normalisations_are_recognised(centred: bool, how: str) -> None:
    b = Net()
    network = rewritten(_spelled_norm(b, b.x(3, 6), centred=centred, how=how), NORMS, DEAD, **CLOSE)
    assert ops(network) == ["layer_norm" if centred else "rms_norm"]
    assert len(network.layers[0].inputs) == (3 if centred else 2)


def test_a_mean_over_other_axes_is_no_layer_norm() -> None:
    b = Net()
    x = b.x(3, 6)
    d = b.of("sub", x, b.of("reduce_mean", x, axes=(1,), keepdims=True))
    root = b.of("sqrt", b.of("add", b.of("reduce_mean", b.of("mul", d, d), axes=(1,), keepdims=True), b.k(1e-5)))
    network = b.done(b.of("div", d, root))
    assert network.outputs[0].shape == (N, 3, 6)
    assert NORMS.run(network) is None


def _stacked(
    b: Net, *, order: tuple[int, ...] = (0, 1, 2), weights: int = 1, sizes: tuple[int, ...] = (1, 1, 1)
) -> Network:
    """The slices of x along axis 1, each times a weight, side by side in an order."""
    parts = b.layer("split", b.x(sum(sizes), 5), name="parts", axis=1, sizes=sizes)
    w, bias = [b.c(5, 4) for _ in range(weights)], b.c(4)
    rows = []
    for n, part in enumerate(parts):
        flat = b.of("squeeze", part, axes=(1,)) if sizes[n] == 1 else part
        y = b.of("linear", flat, w[n % weights], bias)
        rows.append(b.of("unsqueeze", y, axes=(1,)) if sizes[n] == 1 else y)
    return b.done(b.of("concat", *(rows[n] for n in order), axis=1))


def test_slices_are_multiplied_together() -> None:
    network = rewritten(_stacked(Net()), STACKED, DEAD, **CLOSE)
    assert ops(network) == ["linear"]
    assert only(network, "linear").output.shape == (N, 3, 4)


@pytest.mark.parametrize(
    "how",
    [{"order": (0, 2, 1)}, {"order": (0, 1)}, {"weights": 3}, {"sizes": (1, 2, 1)}],
    ids=["another order", "one missing", "several weights", "a slice of two"],
)
def test_slices_that_are_not_the_whole(how: Any) -> None:
    assert STACKED.run(_stacked(Net(), **how)) is None

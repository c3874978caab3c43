"""Narrow floats on CPUs with and without instructions for them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.backend.passes.nets import F16, F32, Net, assert_same, only, ops
from trtn.backend.passes import run_passes
from trtn.backend.providers.onednn import library
from trtn.dsl.dtypes import BY_NAME
from trtn.dsl.network import Network, Origin, Precision

BF16 = BY_NAME["bf16"]


@pytest.fixture(autouse=True)
def no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "has_bf16", lambda: False)


def _mlp(b: Net, **origin: object) -> Network:
    h = b.of("softmax", b.of("linear", b.x(4), b.c(4, 6), b.c(6)), **origin)
    return b.done(b.of("linear", h, b.c(6, 3)))


def _on_cpu(network: Network, precision: Precision | None = None) -> Network:
    return run_passes(network, precision=precision, device="cpu", verify=True)


@pytest.mark.parametrize("dtype", [BF16, F16])
def test_a_policy_that_the_cpu_has_no_kernels_for(dtype: object) -> None:
    network = _mlp(Net())
    lowered = _on_cpu(network, Precision(dtype))  # type: ignore[arg-type]
    assert ops(lowered) == ["linear", "softmax", "linear"]
    assert_same(network, lowered)  # weights are not rounded either


def test_an_annotation_that_the_cpu_has_no_kernels_for() -> None:
    lowered = _on_cpu(_mlp(Net(), origin=Origin(precision=BF16)), Precision())
    assert ops(lowered) == ["linear", "softmax", "linear"]


def test_with_instructions_for_bf16_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "has_bf16", lambda: True)
    lowered = _on_cpu(_mlp(Net()), Precision(BF16))
    assert ops(lowered) == ["cast", "linear", "softmax", "linear", "cast"]
    assert {t.dtype for t in lowered.weights} == {BF16}


def test_ops_without_kernels_for_bf16_stay_in_f32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "has_bf16", lambda: True)
    b = Net()
    h = b.of("cumsum", b.of("linear", b.x(4), b.c(4, 6)), axis=1)
    lowered = _on_cpu(b.done(b.of("linear", h, b.c(6, 3))), Precision(BF16))
    assert ops(lowered) == ["cast", "linear", "cast", "cumsum", "cast", "linear", "cast"]
    assert only(lowered, "cumsum").output.dtype is F32


def test_layers_written_for_f16_compute_in_f32() -> None:
    b = Net()
    x = b.x(4, dtype=F16)
    h = b.of("transpose", b.of("relu", b.of("add", x, b.of("cast", b.c(4), to=F16))), perm=(1, 0))
    network = b.done(b.of("exp", h))
    lowered = _on_cpu(network)
    assert ops(lowered) == ["cast", "add", "relu", "transpose", "exp", "cast"]
    assert [t.dtype for t in (*lowered.inputs, *lowered.outputs)] == [F16, F16]
    assert only(lowered, "transpose").output.dtype is F32
    (weight,) = lowered.weights
    assert weight.weight is not None
    held = np.asarray(weight.weight.load())
    assert held.dtype == np.float32
    np.testing.assert_array_equal(held, held.astype(np.float16))  # the values of f16 still
    assert_same(network, lowered, rtol=2e-3, atol=2e-3)


def test_a_cast_that_is_written_rounds_still() -> None:
    b = Net()
    lowered = _on_cpu(b.done(b.of("exp", b.of("cast", b.of("cast", b.x(4), to=F16), to=F32))))
    assert ops(lowered) == ["cast", "cast", "exp"]

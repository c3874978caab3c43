"""ONNX -> spec on disk -> ONNX -> ONNX Runtime, for models of ONNX's suite: a fixed sample, or all with TRTN_FULL_TESTS."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest

from tests.conformance import round_trip
from tests.conformance.round_trip import AS_FIRST, AS_STORED, RoundTrips, distance
from tests.conformance.test_conformance import EXPECTED

STEP = 1 if os.environ.get("TRTN_FULL_TESTS") else 10
"""One test of this many is run by default; those of an op stand side by side in the list."""


@pytest.fixture(scope="module")
def trips() -> RoundTrips:
    return RoundTrips()


@pytest.mark.parametrize("name", EXPECTED[::STEP])
def test_comes_back(trips: RoundTrips, name: str) -> None:
    outcome = trips.run(name)
    if outcome.verdict == "refused":
        pytest.skip(f"ONNX Runtime runs it neither before nor after: {outcome.reason}")
    assert outcome.verdict == "pass", outcome.reason


@pytest.mark.parametrize(("name", "reason"), [("test_relu_cpu", AS_FIRST), ("test_cast_INT2_to_INT8_cpu", AS_STORED)])
def test_what_the_outputs_are_compared_with(trips: RoundTrips, name: str, reason: str) -> None:
    assert trips.run(name).reason == reason


def test_wrong_numbers_fail(trips: RoundTrips, monkeypatch: pytest.MonkeyPatch) -> None:
    right = round_trip.round_trip

    def bent(model: onnx.ModelProto) -> onnx.ModelProto:
        model = right(model)
        (alpha,) = model.graph.node[0].attribute
        alpha.f *= 1.001
        return model

    monkeypatch.setattr(round_trip, "round_trip", bent)
    outcome = trips.run("test_elu_example_cpu")
    assert outcome.verdict == "fail" and outcome.reason.startswith("output 0 is off by")


def test_distances() -> None:
    a = np.float32([3.0, 4.0, np.inf])
    assert distance(a, a) == 0.0
    assert distance(a + np.float32([0.0, 0.5, 0.0]), a) == pytest.approx(0.1)
    for other in (a.astype(np.float64), a[:2], -a, np.float32([3.0, np.nan, np.inf])):
        assert distance(other, a) == float("inf")
    assert distance(np.float32([0.5]), np.float32([0.0])) == 0.5

"""ONNX -> spec on disk -> ONNX, for the models of the suite: does ONNX Runtime still give the first model's outputs?"""

from __future__ import annotations

import contextlib
import re
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import trtn
from tests.conformance import runtime_values
from tests.conformance.backend import Prepared, TrtnBackend, session
from tests.conformance.suite import Outcome, Suite
from trtn.dsl.convert.export.exporter import DEFAULT_OPSET, newest_opset

__all__ = ["AS_FIRST", "AS_STORED", "TOLERANCES", "RoundTrips", "distance", "round_trip"]

AS_FIRST = "as the first model's"
AS_STORED = "as the stored ones"
"""What the outputs are: those of the first model, or the stored ones where ONNX Runtime fails the first model's test."""

TOLERANCES = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-3, "bfloat16": 4e-3}
"""By dtype, of ||a - b|| / ||b||: for f16 (2^-10) and bf16 (2^-8) the rounding of two numbers."""


def round_trip(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model that comes of the text that is written to a disk and read again.

    In the default opset, or the first one after it that has all that the model uses. Raises TrtnError.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.trtn"
        trtn.save(trtn.import_onnx(model), path)
        network = trtn.load(path)
        for opset in range(DEFAULT_OPSET, newest_opset()):
            with contextlib.suppress(trtn.BuildError):
                return trtn.export_onnx(network, opset=opset)
        return trtn.export_onnx(network, opset=newest_opset())


def distance(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    """||ours - theirs|| / ||theirs|| (the plain norm where that is zero); infinite for another shape or dtype."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return float("inf")
    if ours.dtype.kind in "OSU":
        return 0.0 if np.array_equal(ours, theirs) else float("inf")
    wide = np.complex128 if ours.dtype.kind == "c" else np.float64
    a, b = ours.astype(wide).ravel(), theirs.astype(wide).ravel()
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(a[finite]).all():
        return float("inf")
    norm = float(np.linalg.norm(b[finite]))
    return float(np.linalg.norm(a[finite] - b[finite])) / (norm or 1.0)


class _RoundTrip(Prepared):
    """Both models in ONNX Runtime. `agrees` is None where it can't run the first."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        self._first = model
        self._second = round_trip(model)
        onnx.checker.check_model(self._second)
        self.agrees: bool | None = None
        self.off = ""

    def compute(self, feeds: dict[str, Any]) -> list[Any]:
        expected: list[Any] | None = None
        with contextlib.suppress(Exception):  # ONNX Runtime's share no base class
            expected = runtime_values.run(session(self._first), feeds)
        if RoundTripBackend.answers == "first" and expected is not None:
            return expected
        try:
            found = runtime_values.run(session(self._second), feeds)
        except Exception as error:
            if expected is not None:
                raise AssertionError(f"runs before and not after: {_reason(error)}") from None
            raise unittest.SkipTest(_reason(error)) from None
        if expected is not None:
            self.off = "; ".join(_departures(found, expected))
            self.agrees = not self.off and self.agrees is not False
        return found


def _departures(found: Sequence[Any], expected: Sequence[Any]) -> list[str]:
    """What differs by more than the tolerance, in words."""
    if len(found) != len(expected):
        return [f"{len(found)} outputs, the first model has {len(expected)}"]
    words = []
    for n, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        off = distance(np.asarray(ours), np.asarray(theirs))
        if off > TOLERANCES.get(np.asarray(theirs).dtype.name, 0.0):
            words.append(f"output {n} is off by {off:.1e}")
    return words


def _reason(error: Exception) -> str:
    """ONNX Runtime's message without the codes in front of it, the names of nodes and the opset."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0].rpartition(" : ")[2]
    first = re.sub(
        r"^(Could not find an implementation|Failed to find kernel) for (\w+).*", r"no kernel for `\2`", first
    )
    return re.sub(r"^Non-zero status code .* Status Message: ", "", first)


class RoundTripBackend(TrtnBackend):
    """Gives the outputs of the model that came back, or those of the first; `last` is the test's one model."""

    last: _RoundTrip | None = None
    answers = "second"

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        RoundTripBackend.last = _RoundTrip(model)
        return RoundTripBackend.last


class RoundTrips(Suite):
    """The suite's models there and back.

    A pass has AS_FIRST or AS_STORED as its reason. Refused are the models that ONNX Runtime can run neither before nor
    after. The suite's own comparison, with the stored outputs, counts where ONNX Runtime can't run the first model, or
    is not as stored with it.
    """

    def __init__(self) -> None:
        super().__init__(RoundTripBackend)

    def run(self, name: str) -> Outcome:
        outcome, pair = self._run(name, "second")
        if outcome.verdict == "refused" or pair is None:
            return outcome
        if pair.agrees:
            return Outcome("pass", AS_FIRST, outcome.category)
        if outcome.verdict == "pass" and (pair.agrees is None or self._run(name, "first")[0].verdict != "pass"):
            return Outcome("pass", AS_STORED, outcome.category)
        return Outcome("fail", pair.off or outcome.reason, outcome.category)

    def _run(self, name: str, answers: str) -> tuple[Outcome, _RoundTrip | None]:
        RoundTripBackend.last, RoundTripBackend.answers = None, answers
        return super().run(name), RoundTripBackend.last

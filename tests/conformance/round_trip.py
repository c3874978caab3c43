"""ONNX -> spec on disk -> ONNX, for the models of the suite: does ONNX Runtime still give the first model's outputs?"""

from __future__ import annotations

import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import trtn
from tests.conformance.backend import Prepared, Runtime, TrtnBackend
from tests.conformance.suite import Outcome, Suite
from trtn.dsl.convert.export.exporter import DEFAULT_OPSET, newest_opset

__all__ = ["AS_FIRST", "AS_STORED", "RoundTrips", "distance", "round_trip"]

AS_FIRST = "as the first model's"
AS_STORED = "as the stored ones"
"""What the outputs are compared with: the stored ones where ONNX Runtime can't run the first model."""

_TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}
"""By dtype, of ||a - b|| / ||b||: for f16 and bf16 half the space between numbers at the worst, doubled."""


def round_trip(model: onnx.ModelProto, *, flat: bool = False) -> onnx.ModelProto:
    """The model that comes of the text that is written to a disk and read again.

    At the default opset, or where that lacks something that the model uses, at the newest. Raises TrtnError.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.trtn"
        trtn.save(trtn.import_onnx(model, recognise=not flat), path, flat=flat)
        network = trtn.load(path)
        try:
            return trtn.export_onnx(network, opset=DEFAULT_OPSET)
        except trtn.BuildError:
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
    return float(np.linalg.norm((a - b)[finite])) / (norm or 1.0)


class _RoundTrip(Prepared):
    """Both models in ONNX Runtime. `agrees` is None where it can't run the first."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__(model)
        again = round_trip(model)
        onnx.checker.check_model(again)
        try:
            self._first = Runtime(model)
        except Exception:  # its exceptions share no base class
            self._first = None
        try:
            self._second = Runtime(again)
        except Exception as error:
            raise unittest.SkipTest(_reason(error)) from None
        self.agrees: bool | None = None
        self.off = ""

    def compute(self, feeds: dict[str, Any]) -> list[Any]:
        try:
            found = self._second.compute(feeds)
        except Exception as error:
            raise unittest.SkipTest(_reason(error)) from None
        expected = self._expected(feeds)
        if expected is not None:
            self.off = "; ".join(_departures(found, expected))
            self.agrees = not self.off and self.agrees is not False
        return found

    def _expected(self, feeds: dict[str, Any]) -> list[Any] | None:
        if self._first is None:
            return None
        try:
            return self._first.compute(feeds)
        except Exception:
            return None


def _departures(found: Sequence[Any], expected: Sequence[Any]) -> list[str]:
    """What differs by more than the tolerance, in words."""
    if len(found) != len(expected):
        return [f"{len(found)} outputs, the first model has {len(expected)}"]
    words = []
    for n, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        off = distance(np.asarray(ours), np.asarray(theirs))
        if off > _TOLERANCE.get(np.asarray(theirs).dtype.name, 0.0):
            words.append(f"output {n} is off by {off:.1e}")
    return words


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"ONNX Runtime: {lines[0].rpartition(' : ')[2]}" if lines else type(error).__name__


class RoundTripBackend(TrtnBackend):
    """Gives the outputs of the model that came back. `last` is the test's one model."""

    last: _RoundTrip | None = None

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> Prepared:
        RoundTripBackend.last = _RoundTrip(model)
        return RoundTripBackend.last


class RoundTrips(Suite):
    """The suite's models there and back.

    A pass has AS_FIRST or AS_STORED as its reason. What ONNX Runtime can't run, of the model that comes back, is
    refused. The suite's own comparison, with the stored outputs, counts where there are no outputs of the first model,
    or where those are not as stored either.
    """

    def __init__(self) -> None:
        super().__init__(RoundTripBackend)

    def run(self, name: str) -> Outcome:
        RoundTripBackend.last = None
        outcome = super().run(name)
        pair = RoundTripBackend.last
        if outcome.verdict == "refused" or pair is None:
            return outcome
        if pair.agrees:
            return Outcome("pass", AS_FIRST, outcome.category)
        if pair.agrees is None and outcome.verdict == "pass":
            return Outcome("pass", AS_STORED, outcome.category)
        return Outcome("fail", pair.off or outcome.reason, outcome.category)

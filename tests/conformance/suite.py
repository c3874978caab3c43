"""The tests of ONNX's suite, one by one, and what came of each."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import unittest
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.conformance.backend import TrtnBackend
from tests.conformance.categories import category

__all__ = ["Outcome", "Suite"]


@dataclass(frozen=True)
class Outcome:
    """`verdict` is pass, refused (the model can't be imported), or fail; `reason` is one line where it isn't a pass."""

    verdict: str
    reason: str = ""
    category: str = ""


class _Result(unittest.TestResult):
    """The outcome of one test."""

    outcome = Outcome("fail", "the suite did not run it")

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.outcome = Outcome("pass")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.outcome = Outcome("refused", reason)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.addError(test, err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        words = [line.strip() for line in str(err[1]).split("ACTUAL: ")[0].splitlines() if line.strip()]
        self.outcome = Outcome("fail", f"{err[0].__name__}: {'; '.join(words)}"[:400])


class Suite:
    """ONNX's backend suite for one backend. Loading makes the node tests and takes seconds."""

    def __init__(self, backend: type[TrtnBackend]) -> None:
        from onnx.backend.test import BackendTest

        os.environ.setdefault("ONNX_HOME", os.path.join(tempfile.gettempdir(), "trtn-onnx-suite"))
        self._categories: dict[str, str] = {}
        self._current = ""
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            cases = BackendTest(self._watched(backend), __name__).test_cases
        self._tests: Mapping[str, unittest.TestCase] = {
            name: case(name)
            for case in cases.values()
            for name in unittest.defaultTestLoader.getTestCaseNames(case)
            if name.endswith("_cpu")
        }

    @property
    def names(self) -> list[str]:
        return sorted(self._tests)

    def run(self, name: str) -> Outcome:
        self._current = name
        result = _Result()
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            self._tests[name].run(result)
        return Outcome(result.outcome.verdict, result.outcome.reason, self._categories.get(name, ""))

    def _watched(self, backend: type[TrtnBackend]) -> type[TrtnBackend]:
        """The backend, with a look at each model that it is given: only there does the suite show them."""
        suite = self

        class Watched(backend):  # type: ignore[valid-type, misc]
            @classmethod
            def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Any:
                suite._categories[suite._current] = category(model)
                return super().prepare(model, device, **kwargs)

        return Watched

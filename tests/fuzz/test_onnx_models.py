"""The first cases of the fuzzer, each time the same."""

from __future__ import annotations

import os

from tests.fuzz.onnx_models import case_bytes, findings

CASES = 10_000 if os.environ.get("TRTN_FULL_TESTS") else 200


def test_damaged_models_are_imported_or_refused() -> None:
    found = list(findings(range(CASES)))
    assert not found, "\n".join(f"{f.case}: {f.what}\n{f.detail}" for f in found)


def test_a_case_follows_from_its_number() -> None:
    assert case_bytes(7) == case_bytes(7)
    assert len({case_bytes(n) for n in range(20)}) == 20

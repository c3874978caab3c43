"""Codes and their pages."""

from __future__ import annotations

import re

import pytest

from trtn.dsl.diagnostics import CODES, Diagnostic, Severity, Sink, explain
from trtn.dsl.diagnostics.pages_artifacts import PAGES as ARTIFACTS
from trtn.dsl.diagnostics.pages_dims import PAGES as DIMS
from trtn.dsl.diagnostics.pages_language import PAGES as LANGUAGE
from trtn.dsl.diagnostics.pages_lint import PAGES as LINT
from trtn.dsl.diagnostics.pages_types import PAGES as TYPES


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_page(code: str) -> None:
    page = CODES[code]
    assert re.fullmatch(r"[EW]0[1-9]\d\d|L0\d\d\d", code)
    assert page.title
    assert page.title[-1] != "."
    assert page.cause.endswith("."), "a page goes to pages_*.py"
    assert page.cure.endswith(".")
    assert page.example


@pytest.mark.parametrize("code", CODES)
def test_examples_are_files_or_commands(code: str) -> None:
    example = CODES[code].example
    assert example.startswith(("trtn ", "$ trtn ", "==> ", "$ python")) or code == "E0103"
    assert not any(line.startswith("        ") for line in example.splitlines())
    assert max(map(len, example.splitlines())) <= 100


def test_no_page_without_a_code() -> None:
    pages = [*LANGUAGE, *TYPES, *DIMS, *ARTIFACTS, *LINT]
    assert len(pages) == len(set(pages))
    assert set(pages) <= set(CODES)


def test_explain() -> None:
    text = explain("E0312")
    assert text is not None
    assert text.startswith("E0312: dims that must be equal differ\n\n")
    assert "\n    y = matmul(a, b)" not in text
    assert "\n      y = matmul(a, b)\n" in text
    assert "\n\nCure: " in text
    assert all(len(line) <= 110 for line in text.splitlines())


def test_explain_takes_either_case() -> None:
    assert explain(" e0312\n") == explain("E0312")


@pytest.mark.parametrize("code", ["", "E9999", "0312", "matmul"])
def test_explain_unknown(code: str) -> None:
    assert explain(code) is None


def test_sink_keeps_a_finding_once_and_in_order() -> None:
    sink = Sink()
    sink.warning("W0501", "no hash")
    only_warnings = not sink.has_errors
    sink.error("E0101", "one")
    sink.error("E0101", "one")
    sink.error("E0101", "two")
    assert only_warnings
    assert sink.has_errors
    assert [d.message for d in sink.diagnostics] == ["no hash", "one", "two"]
    assert sink.diagnostics[0].severity is Severity.WARNING


def test_sink_refuses_unknown_codes() -> None:
    with pytest.raises(AssertionError, match="E9999"):
        Sink().add(Diagnostic("E9999", "m"))

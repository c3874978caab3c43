"""Bad specs and manifests: each file of tests/data/errors says in its last lines what must be found, where, in which
words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trtn.dsl.diagnostics import CODES, Sink
from trtn.dsl.load import check_source
from trtn.dsl.syntax import read_source

FOLDER = Path(__file__).parent.parent / "data" / "errors"
FILES = sorted(p for p in FOLDER.glob("*.trtn") if p.name != "good.weights.trtn")
EXPECT = re.compile(r"# expect: (\w\d{4}) (\d+):(\d+) (.+)")

RUN_TIME = {"E0510", "E0502", "E0503", "E0505", "E0509"}
"""Codes of the weights' bytes, found by `trtn weights verify` and by builds: tests/dsl/weights."""


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name.removesuffix(".trtn"))
def test_finds_exactly_what_is_expected(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    sink = Sink()
    source = read_source(path.name, sink)
    assert source is not None
    check_source(source, sink)
    found = [(d.code, *d.span.source.position(d.span.start), d.message) for d in sink.diagnostics if d.span is not None]
    expected = [(m[1], int(m[2]), int(m[3]), m[4]) for m in EXPECT.finditer(source.text)]
    assert found == expected
    assert len(found) == len(sink.diagnostics), "a finding without a place"


def test_there_are_enough() -> None:
    assert len(FILES) >= 60


def test_every_code_of_text_names_types_and_dims_has_a_file() -> None:
    """Codes that a check can give each have a file; E05xx needs files' bytes, E06xx to E08xx other stages."""
    covered = {m[1] for p in FILES for m in EXPECT.finditer(p.read_text(encoding="utf-8"))}
    needed = {c for c in CODES if c[:3] in ("E01", "E02", "E03", "E04")}
    elsewhere = {"E0106", "E0108", "E0110", "E0111", "E0215"}  # not UTF-8; unreadable; `fmt --check`; `save`; by name
    assert needed - covered - elsewhere == set()

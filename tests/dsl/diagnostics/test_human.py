"""The human rendering, against goldens and for any text. TRTN_UPDATE_GOLDENS=1 rewrites the goldens."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dsl.diagnostics.cases import ALL, CASES, SPEC, at
from trtn.dsl.diagnostics import FORMATS, Diagnostic, Label, Source, render, summary

GOLDENS = Path(__file__).parents[2] / "data" / "diagnostics"


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text = render(CASES[name], "human", width=100) + "\n"
    golden = GOLDENS / f"{name}.txt"
    if os.environ.get("TRTN_UPDATE_GOLDENS"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


def test_every_golden_has_a_case() -> None:
    assert {golden.stem for golden in GOLDENS.glob("*.txt")} == set(CASES)


def test_long_lines_are_cut_to_the_width() -> None:
    for width in (40, 80, 200):
        source_rows = [row for row in render(CASES["long_line"], width=width).splitlines() if row.startswith("2 |")]
        assert len(source_rows) == 3
        assert all(len(row) <= width for row in source_rows)


def test_marks_stand_under_their_characters() -> None:
    rows = render([Diagnostic("E0203", "m", at("本"))]).splitlines()
    line, marks = rows[-4], rows[-3]

    def columns(text: str) -> int:
        return sum(2 if unicodedata.east_asian_width(char) == "W" else 1 for char in text)

    assert columns(line[: line.index("本")]) == marks.index("^")
    assert marks.count("^") == 2


def test_colour_only_adds_escapes() -> None:
    plain, coloured = render(ALL, color=False), render(ALL, color=True)
    assert "\x1b" not in plain
    assert coloured != plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_one_hint_at_the_end() -> None:
    one = render(CASES["design"] * 2)
    assert one.count("trtn explain") == 1
    assert one.endswith("run `trtn explain E0312`.")
    assert "E0103, E0101" not in render(CASES["design"])
    assert render(ALL).endswith("more, run `trtn explain CODE`.")


def test_nothing_found() -> None:
    assert render([]) == ""
    assert summary([]) == "no findings"


def test_summary() -> None:
    error, (_, warning, note) = CASES["design"][0], CASES["no_place"]
    assert summary([error, error, warning]) == "2 errors, 1 warning"
    assert summary([warning, error, note, note]) == "1 error, 1 warning, 2 notes"


def test_paths_are_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    inside = Source(str(tmp_path / "here" / "specs" / "a.trtn"), "x")
    outside = Source(str(tmp_path / "hereafter" / "a.trtn"), "x")
    stdin = Source("-", "x")
    found = [Diagnostic("E0101", "m", source.span(0, 1)) for source in (inside, outside, stdin)]
    places = [line.split(": ")[0] for line in render(found, "concise").splitlines()]
    assert places == ["specs/a.trtn:1:1", f"{outside.path}:1:1", "-:1:1"]
    assert "--> specs/a.trtn:1:1" in render(found)


def test_the_same_file_read_twice_is_one_snippet() -> None:
    again = Source(SPEC.path, SPEC.text)
    found = Diagnostic("E0202", "m", at("linear"), labels=(Label(at("network", again), "here"),))
    assert ":::" not in render([found])


def test_unknown_format() -> None:
    with pytest.raises(ValueError, match="no such format: 'xml'"):
        render([], "xml")


TEXTS = st.text(st.sampled_from("ab \t\n\r\x00\x1b\x7f\x9b\u0301\u200d\u202e\u2028日🙂\udc80{"), max_size=60)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(-2, 70), st.integers(-2, 70), st.integers(-2, 70), TEXTS, st.integers(1, 60))
def test_any_text_renders_in_every_format(
    text: str, start: int, end: int, other: int, message: str, width: int
) -> None:
    source = Source(f"{message}.trtn", text)
    label = Label(source.span(other, end), message)
    found = Diagnostic("E0101", message, source.span(start, end), label=message, labels=(label,), notes=(message,))
    for name in FORMATS:
        shown = render([found], name, width=width)
        assert not [c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
        shown.encode("utf-8")

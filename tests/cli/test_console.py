"""What goes to which stream, in which format and colour."""

from __future__ import annotations

import io
import json
import sys

import pytest
import typer

from trtn.cli.console import Console, wants_color
from trtn.cli.options import Color, Format
from trtn.dsl.diagnostics import Diagnostic, Severity
from trtn.dsl.errors import EngineError, ShapeError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "environment", "terminal", "wanted"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "0"}, False, False),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ("auto", {"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_color(
    choice: str, environment: dict[str, str], terminal: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wants_color(Color(choice), Terminal() if terminal else io.StringIO()) is wanted


def _findings(errors: int, warnings: int = 0) -> list[Diagnostic]:
    return [
        *(Diagnostic("E0201", f"error {n}") for n in range(errors)),
        *(Diagnostic("W0401", f"warning {n}", severity=Severity.WARNING) for n in range(warnings)),
    ]


def test_findings_are_capped_by_severity(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), Console(max_errors=2) as console:
        console.found(_findings(5, 3))
    errors = capsys.readouterr().err
    assert "error 1" in errors
    assert "error 2" not in errors
    assert "warning 1" in errors
    assert "warning 2" not in errors
    assert "\n4 more not shown; --max-errors 0 shows all\n" in errors
    assert errors.endswith("\n5 errors, 3 warnings\n")


def test_zero_shows_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), Console(max_errors=0) as console:
        console.found(_findings(50))
    assert "error 49" in capsys.readouterr().err


def test_documents_have_all_findings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as end, Console(Format.JSON, max_errors=1) as console:
        console.found(_findings(5))
    assert end.value.exit_code == 1
    assert json.loads(capsys.readouterr().out)["error_count"] == 5


def test_warnings_are_fine(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        console.found(_findings(0, 1))
    assert "warning[W0401]: warning 0" in capsys.readouterr().err


def test_an_error_is_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), Console(Format.CONCISE):
        raise ShapeError("wrong", [Diagnostic("E0706", "`B` is 9")])
    assert capsys.readouterr().out == "error[E0706]: `B` is 9\n"


def test_an_error_without_diagnostics_has_a_code_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), Console(Format.CONCISE):
        raise EngineError("it is damaged")
    assert capsys.readouterr().out == "error[E0703]: it is damaged\n"


def test_the_verbs_document_or_that_of_the_findings(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(Format.JSON) as console:
        console.result("for people")
        console.document({"speed": 1})
    assert json.loads(capsys.readouterr().out) == {"speed": 1}
    with pytest.raises(typer.Exit), Console(Format.JSON) as console:
        console.document({"speed": 1})
        console.found(_findings(1))
    assert json.loads(capsys.readouterr().out)["valid"] is False


def test_fields_can_be_attached(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(Format.JSON) as console:
        console.attach("more", [1])
    document = json.loads(capsys.readouterr().out)
    assert (document["more"], document["valid"]) == ([1], True)


def test_quiet_keeps_findings_and_results(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=True) as console:
        console.status("status")
        console.result("result")
        console.found(_findings(0, 1))
    printed = capsys.readouterr()
    assert printed.out == "result\n"
    assert "status" not in printed.err
    assert "warning 0" in printed.err


def test_failed_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as end, Console() as console:
        console.failed = True
    assert end.value.exit_code == 1
    assert capsys.readouterr() == ("", "")


def test_colors_reach_the_findings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), Console(color=Color.ALWAYS) as console:
        console.found(_findings(1))
    assert "\x1b[" in capsys.readouterr().err
    with pytest.raises(typer.Exit), Console() as console:
        console.found(_findings(1))
    assert "\x1b[" not in capsys.readouterr().err
    assert not sys.stderr.isatty()

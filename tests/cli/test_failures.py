"""Every way in which a verb can end, and its exit code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import SPEC, Trtn
from trtn.cli import bug_report
from trtn.cli.failures import EnvironmentProblem


def _fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Lets `trtn check` come upon an error where none is expected."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("trtn.dsl.load.check_source", fail)


@pytest.fixture
def _reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.usefixtures("_reports")
def test_a_bug_is_reported_and_not_shown(trtn: Trtn, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail(monkeypatch, ZeroDivisionError("three by nought"))
    monkeypatch.setattr(sys, "argv", ["/usr/bin/trtn", "check", "--stdin-filename=/home/me/secret/a.trtn", str(spec)])
    result = trtn("check", str(spec))
    assert result.exit_code == 70
    assert "this is a bug in trtn" in result.stderr
    assert "Traceback" not in result.stderr
    found = re.search(r"\S+trtn-bug-\w+\.txt", result.stderr)
    assert found is not None
    report = Path(found[0]).read_text()
    assert "command:  trtn check --stdin-filename=a.trtn tiny.trtn\n" in report
    assert "ZeroDivisionError: three by nought" in report
    assert "numpy: " in report
    assert str(Path.home()) not in report
    assert "secret" not in report


@pytest.mark.usefixtures("_reports")
def test_the_traceback_on_demand(trtn: Trtn, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail(monkeypatch, ZeroDivisionError())
    monkeypatch.setenv("TRTN_BACKTRACE", "1")
    assert "Traceback" in trtn("check", str(spec)).stderr


def test_a_report_has_causes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        path = bug_report.write_bug_report(error, ["trtn"])
    assert path is not None
    text = path.read_text()
    assert text.index("KeyError: 'inner'") < text.index("which led to:") < text.index("ValueError: outer")


def test_no_report_where_no_file_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    assert bug_report.write_bug_report(ValueError(), ["trtn"]) is None


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "error: out of memory"),
        (OSError(28, "No space left on device", "a.engine"), 2, "error: `a.engine`: No space left on device"),
        (EnvironmentProblem("install more"), 2, "error: install more"),
    ],
)
def test_other_ends(
    trtn: Trtn, spec: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    _fail(monkeypatch, error)
    result = trtn("check", str(spec))
    assert (result.exit_code, result.stderr) == (code, f"{message}\n")


def test_wrong_usage(trtn: Trtn, engine: Path) -> None:
    for arguments in (["check"], ["check", "--formt"], ["run", str(engine), "--input", "x"], ["run"]):
        result = trtn(*arguments)
        assert result.exit_code == 2, arguments
        assert "Usage: " in result.stderr


def test_ctrl_c_leaves_the_old_file(tmp_path: Path) -> None:
    """In a process of its own, interrupted while it builds."""
    (tmp_path / "a.trtn").write_text(SPEC)
    old = tmp_path / "a.engine"
    old.write_text("the old engine")
    script = (
        "import sys, time\n"
        "import trtn.backend.build as module\n"
        "def slow(*a, **k):\n"
        "    print('building', flush=True)\n"
        "    time.sleep(60)\n"
        "module.build = slow\n"
        "sys.argv = ['trtn', 'build', 'a.trtn', '-o', 'a.engine']\n"
        "from trtn.cli import main\n"
        "main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert old.read_text() == "the old engine"
    assert sorted(os.listdir(tmp_path)) == ["a.engine", "a.trtn"]


@pytest.mark.parametrize("words", [["explain"], ["--help"], ["weights", "hash", "--help"]])
def test_a_reader_that_goes_away_is_no_failure(words: list[str]) -> None:
    """`trtn explain | head -1`"""
    process = subprocess.Popen(
        [sys.executable, "-m", "trtn", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    assert (process.wait(), errors) == (0, "")

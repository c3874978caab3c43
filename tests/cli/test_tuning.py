"""What the command line has for tactics: effort, locks of other versions, the cost of the first use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Trtn


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("effort", ["0", "1", "3"])
def test_effort(trtn: Trtn, spec: Path, tmp_path: Path, effort: str) -> None:
    assert trtn("build", str(spec), "-o", str(tmp_path / "n.engine"), "--effort", effort).exit_code == 0
    assert (tmp_path / "n.engine").exists()


def test_efforts_end_at_5(trtn: Trtn, spec: Path, tmp_path: Path) -> None:
    assert trtn("build", str(spec), "-o", str(tmp_path / "n.engine"), "--effort", "6").exit_code == 2


def test_a_lock_of_another_version_is_warned_of(trtn: Trtn, spec: Path, tmp_path: Path) -> None:
    lock = tmp_path / "n.lock"
    arguments = ("build", str(spec), "-o", str(tmp_path / "n.engine"), "--lock", str(lock))
    assert trtn(*arguments).exit_code == 0
    good = lock.read_text()
    line = next(line for line in good.splitlines() if line.startswith("tactic "))
    provider, version = line.split(" ")[4:6]
    lock.write_text(good.replace(line, line.replace(f" {provider} {version} ", f" {provider} 0.0.1 ")))
    again = trtn(*arguments)
    assert again.exit_code == 0
    assert "W0701" in again.stderr
    assert f"{provider} 0.0.1" in again.stderr
    assert lock.read_text() == good


def test_the_first_use_is_shown(trtn: Trtn, engine: Path) -> None:
    arguments = ("bench", str(engine), "--iterations", "2", "--cold")
    shown = trtn(*arguments)
    assert shown.exit_code == 0
    assert "first use" in shown.stdout
    report = json.loads(trtn(*arguments, "--format", "json").stdout)
    assert report["cold_ms"]["load"] > 0
    assert report["cold_ms"]["first_run"] > 0
    assert "cold_ms" not in json.loads(trtn(*arguments[:-1], "--format", "json").stdout)

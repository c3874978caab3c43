"""`trtn fmt`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import SPEC, Trtn

UGLY = SPEC.replace("  h = relu(x)\n", "  h=relu( x )   # the first\n")


@pytest.fixture
def ugly(tmp_path: Path) -> Path:
    path = tmp_path / "ugly.trtn"
    path.write_text(UGLY)
    return path


def test_rewrites(trtn: Trtn, ugly: Path, spec: Path) -> None:
    os.chmod(ugly, 0o640)
    result = trtn("fmt", "ugly.trtn", "tiny.trtn")
    assert result.exit_code == 0
    assert result.stderr == "formatted ugly.trtn\n1 file formatted, 1 left as they were\n"
    assert "\n  h = relu(x)  # the first\n" in ugly.read_text()
    assert ugly.stat().st_mode & 0o777 == 0o640
    assert trtn("fmt", "--check", "ugly.trtn").exit_code == 0


def test_a_link_stays_one(trtn: Trtn, ugly: Path, tmp_path: Path) -> None:
    (tmp_path / "link.trtn").symlink_to(ugly)
    assert trtn("fmt", "link.trtn").exit_code == 0
    assert (tmp_path / "link.trtn").is_symlink()
    assert ugly.read_text() != UGLY


def test_check_changes_nothing(trtn: Trtn, ugly: Path, spec: Path) -> None:
    result = trtn("fmt", "--check", "ugly.trtn", "tiny.trtn")
    assert (result.exit_code, result.stdout) == (1, "would reformat ugly.trtn\n")
    assert ugly.read_text() == UGLY


def test_diff_changes_nothing(trtn: Trtn, ugly: Path) -> None:
    result = trtn("fmt", "--diff", "ugly.trtn")
    assert result.exit_code == 1
    assert "\n-  h=relu( x )   # the first\n+  h = relu(x)  # the first\n" in result.stdout
    assert ugly.read_text() == UGLY
    assert "\x1b[32m+  h" in trtn("fmt", "--diff", "--color", "always", "ugly.trtn").stdout


def test_diff_does_not_hide_what_cannot_be_parsed(trtn: Trtn, tmp_path: Path) -> None:
    (tmp_path / "bad.trtn").write_text("trtn 1\nnetwork {")
    for mode in ([], ["--check"], ["--diff"]):
        result = trtn("fmt", *mode, "bad.trtn")
        assert result.exit_code == 1
        assert "error[E01" in result.stderr


def test_for_programs(trtn: Trtn, ugly: Path) -> None:
    result = trtn("fmt", "--check", "--format", "github", "ugly.trtn")
    assert result.exit_code == 1
    assert result.stdout.startswith("::error file=ugly.trtn,line=12,")
    document = json.loads(trtn("fmt", "--check", "--format", "json", "ugly.trtn").stdout)
    assert (document["valid"], document["diagnostics"][0]["code"]) == (False, "E0110")


def test_standard_input(trtn: Trtn) -> None:
    result = trtn("fmt", "-", input=UGLY)
    assert result.exit_code == 0
    assert "\n  h = relu(x)  # the first\n" in result.stdout
    assert result.stderr == ""
    result = trtn("fmt", "--check", "-", "--stdin-filename", "a.trtn", input=UGLY)
    assert (result.exit_code, result.stdout) == (1, "would reformat a.trtn\n")


def test_a_file_that_ends_early(trtn: Trtn, tmp_path: Path) -> None:
    """Only the last line end is missing: there is no differing line to point at."""
    (tmp_path / "a.trtn").write_text(SPEC.rstrip("\n"))
    result = trtn("fmt", "--check", "--format", "concise", "a.trtn")
    assert result.exit_code == 1
    assert "E0110" in result.stdout

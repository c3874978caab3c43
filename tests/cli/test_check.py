"""`trtn check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import SPEC, Trtn
from trtn.dsl.diagnostics import Sink, Source

BROKEN = SPEC.replace("relu(x)", "rlu(x)")


def test_fine(trtn: Trtn, spec: Path) -> None:
    result = trtn("check", str(spec))
    assert result.exit_code == 0
    assert result.stdout == f"{spec}: ok: network tiny, 3 layers, 2 profiles\n"
    assert result.stderr == ""


def test_quiet(trtn: Trtn, spec: Path) -> None:
    result = trtn("check", "-q", str(spec))
    assert (result.exit_code, result.output) == (0, "")


def test_findings_go_to_stderr(trtn: Trtn, tmp_path: Path) -> None:
    (tmp_path / "bad.trtn").write_text(BROKEN)
    result = trtn("check", "bad.trtn")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error[E0203]: ")
    assert "--> bad.trtn:12:7\n" in result.stderr
    assert "relu" in result.stderr
    assert result.stderr.endswith("\n1 error\n")


def test_paths_are_relative_to_the_working_folder(trtn: Trtn, tmp_path: Path) -> None:
    path = tmp_path / "bad.trtn"
    path.write_text(BROKEN)
    assert "--> bad.trtn:12:7\n" in trtn("check", str(path)).stderr


@pytest.mark.parametrize(
    ("format_", "start"),
    [("concise", "bad.trtn:12:7: error[E0203]: "), ("github", "::error file=bad.trtn,line=12,col=7,")],
)
def test_formats_by_line_go_to_stdout(trtn: Trtn, tmp_path: Path, format_: str, start: str) -> None:
    (tmp_path / "bad.trtn").write_text(BROKEN)
    result = trtn("check", "--format", format_, "bad.trtn")
    assert result.exit_code == 1
    assert result.stdout.startswith(start)


def test_documents(trtn: Trtn, tmp_path: Path, spec: Path) -> None:
    (tmp_path / "bad.trtn").write_text(BROKEN)
    document = json.loads(trtn("check", "--format", "json", str(spec), "bad.trtn").stdout)
    assert (document["format_version"], document["valid"], document["error_count"]) == ("1.0", False, 1)
    assert document["diagnostics"][0]["span"]["file"] == "bad.trtn"
    assert json.loads(trtn("check", "--format", "json", str(spec)).stdout)["valid"] is True
    log = json.loads(trtn("check", "--format", "sarif", "bad.trtn").stdout)
    assert log["runs"][0]["results"][0]["ruleId"] == "E0203"


def test_one_bad_file_does_not_hide_the_others(trtn: Trtn, tmp_path: Path, spec: Path) -> None:
    (tmp_path / "bad.trtn").write_text(BROKEN)
    result = trtn("check", "nothing.trtn", "bad.trtn", "tiny.trtn")
    assert result.exit_code == 1
    assert "tiny.trtn: ok" in result.stdout
    assert "E0108" in result.stderr
    assert "E0203" in result.stderr


def test_a_folder_means_its_specs(trtn: Trtn, tmp_path: Path) -> None:
    for name in ("specs/b.trtn", "specs/deep/a.trtn", "specs/.hidden/c.trtn"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SPEC)
    (tmp_path / "specs/notes.txt").write_text("no spec")
    lines = trtn("check", "specs").stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["specs/b.trtn", "specs/deep/a.trtn"]


def test_standard_input(trtn: Trtn, tmp_path: Path) -> None:
    assert trtn("check", "-", input=SPEC).exit_code == 0
    result = trtn("check", "-", "--stdin-filename", "models/bad.trtn", input=BROKEN)
    assert "--> models/bad.trtn:12:7\n" in result.stderr


def test_imports_of_standard_input_are_found_from_its_name(trtn: Trtn, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/parts.trtn").write_text("trtn 1\n\nblock twice(x: T[N]) -> T[N] {\n  return x + x\n}\n")
    text = (
        'trtn 1\n\nimport "parts.trtn" as parts\n\nnetwork net {\n  dim N in 1..4\n  input x: f32[N]\n'
        "  output y: f32[N]\n  y = parts.twice(x)\n}\n"
    )
    assert trtn("check", "-", "--stdin-filename", "models/net.trtn", input=text).exit_code == 0
    assert "E0205" in trtn("check", "-", input=text).stderr


def test_fail_level(trtn: Trtn, spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def doubt(source: Source, sink: Sink, **_: object) -> list[object]:
        sink.warning("W0401", "not proven", source.span(0, 4))
        return []

    monkeypatch.setattr("trtn.dsl.load.check_source", doubt)
    result = trtn("check", "tiny.trtn")
    assert result.exit_code == 0
    assert result.stderr.startswith("warning[W0401]: not proven\n")
    assert trtn("check", "--fail-level", "warning", "tiny.trtn").exit_code == 1


def test_the_limit_of_expansion(trtn: Trtn, tmp_path: Path) -> None:
    repeated = SPEC.replace("  y = h + x\n", "  repeat i in 0..50 carry h {\n    h = relu(h)\n  }\n  y = h + x\n")
    (tmp_path / "a.trtn").write_text(repeated)
    assert trtn("check", "a.trtn").exit_code == 0
    result = trtn("check", "--max-expansion", "20", "a.trtn")
    assert result.exit_code == 1
    assert "E0211" in result.stderr


def test_control_characters_do_not_reach_the_terminal(trtn: Trtn, tmp_path: Path) -> None:
    (tmp_path / "a.trtn").write_text(SPEC.replace("relu(x)", "relu(x) \x1b[31m"))
    result = trtn("check", "a.trtn")
    assert result.exit_code == 1
    assert "\x1b" not in result.output

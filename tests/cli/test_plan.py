"""`trtn plan`: for people, as JSON, as a page, and its exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import SPEC, Trtn

SPECS = Path(__file__).parents[2] / "specs"
FULL = bool(os.environ.get("TRTN_FULL_TESTS"))
ALL = sorted(p.stem for p in SPECS.glob("*.trtn") if not p.stem.endswith(".weights"))
NAMES = ALL if FULL else ["lenet", "mobilenet_v2"]
"""All of them take half a minute: passes read hundreds of MB of weights."""


def test_for_people(trtn: Trtn, spec: Path) -> None:
    result = trtn("plan", str(spec), "--device", "cpu")
    assert result.exit_code == 0
    for text in ("plan of tiny for cpu", "memory at max", "groups (", "tiny.trtn:12:7", "small", "large"):
        assert text in result.stdout
    assert "groups (" not in trtn("plan", str(spec), "--device", "cpu", "--no-steps").stdout


def test_as_json_for_a_gpu_that_is_not_here(trtn: Trtn, spec: Path) -> None:
    result = trtn("plan", str(spec), "--device", "cuda:sm_90", "--format", "json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["device"] == "cuda:sm_90"
    assert {p["name"] for p in document["libraries"]} >= {"codegen", "reference"}
    assert [p["name"] for p in document["profiles"]] == ["small", "large"]


def test_one_step(trtn: Trtn, spec: Path) -> None:
    result = trtn("plan", str(spec), "--device", "cpu", "--step", "h")
    assert result.exit_code == 0
    assert "h = relu(x)" not in result.stdout and "relu()" in result.stdout
    assert "decided at" in result.stdout and "B = 2" in result.stdout
    wrong = trtn("plan", str(spec), "--device", "cpu", "--step", "hh")
    assert wrong.exit_code == 2
    assert "no layer is called `hh`" in wrong.stderr and "`h`" in wrong.stderr


def test_a_page(trtn: Trtn, spec: Path, tmp_path: Path) -> None:
    result = trtn("plan", str(spec), "--device", "cpu", "--html", "plan.html")
    assert result.exit_code == 0
    assert result.stdout == "" and "plan.html" in result.stderr
    assert (tmp_path / "plan.html").read_text().startswith("<!doctype html>")
    assert trtn("plan", str(spec), "--html", "nowhere/plan.html").exit_code == 2


def test_a_lock_that_lacks_something(trtn: Trtn, spec: Path, tmp_path: Path) -> None:
    trtn("build", str(spec), "--device", "cpu", "-o", "n.engine", "--lock", "n.lock")
    arguments = ("plan", str(spec), "--device", "cpu", "--lock", "n.lock")
    assert trtn(*arguments, "--locked").exit_code == 0
    assert " 0 stale, 0 missing" in trtn(*arguments).stdout
    lock = tmp_path / "n.lock"
    lines = lock.read_text().splitlines(keepends=True)
    lines.remove(next(line for line in lines if line.startswith("tactic ")))
    lock.write_text("".join(lines))
    assert " 1 missing" in trtn(*arguments).stdout
    failed = trtn(*arguments, "--locked")
    assert failed.exit_code == 1
    assert "E0708" in failed.stderr
    assert trtn("plan", str(spec), "--device", "cpu", "--locked").exit_code == 1


def test_against_an_engine(trtn: Trtn, spec: Path, engine: Path) -> None:
    same = trtn("plan", str(spec), "--device", "cpu", "--against", str(engine))
    assert "against engine tiny: nothing changes" in same.stdout
    spec.write_text(SPEC.replace("relu(x)", "tanh(x)"))
    other = trtn("plan", str(spec), "--device", "cpu", "--against", str(engine))
    assert other.exit_code == 0
    assert "it changes" in other.stdout and "tanh" in other.stdout
    engine.write_bytes(b"no engine")
    assert trtn("plan", str(spec), "--against", str(engine)).exit_code == 1


def test_times_of_an_engine(trtn: Trtn, spec: Path, engine: Path) -> None:
    measured = trtn("bench", str(engine), "--iterations", "2", "--profile-out", "times.json")
    assert measured.exit_code == 0
    assert "slowest of" in measured.stdout and "times.json" in measured.stderr
    arguments = ("plan", str(spec), "--device", "cpu", "--times", "times.json")
    shown = trtn(*arguments).stdout
    assert "of engine tiny on cpu at B=2" in shown and " us" in shown
    document = json.loads(trtn(*arguments, "--format", "json").stdout)
    assert len(document["times"]["steps"]) == len(document["groups"])
    assert document["times"]["notes"] == []
    spec.write_text(SPEC.replace("relu(x)", "tanh(x)"))
    assert "built from another network" in trtn(*arguments).stdout
    assert trtn(*arguments[:-1], str(spec)).exit_code == 1
    assert trtn("bench", str(engine), "--profile-out", "nowhere/times.json").exit_code == 2


def test_targets_are_followed(trtn: Trtn, spec: Path) -> None:
    target = "\ntarget gpu {\n  network  tiny\n  profiles [small]\n  device   cuda:sm_90\n  precision {\n    default f16\n  }\n}\n"
    spec.write_text(SPEC + target)
    document = json.loads(trtn("plan", str(spec), "--target", "gpu", "--format", "json").stdout)
    assert (document["device"], document["target"], document["precision"]) == ("cuda:sm_90", "gpu", "default f16")
    assert [p["name"] for p in document["profiles"]] == ["small"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", ["cpu", "cuda:sm_90"])
def test_specs(trtn: Trtn, name: str, device: str) -> None:
    result = trtn("plan", str(SPECS / f"{name}.trtn"), "--device", device, "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["network"] == name


@pytest.mark.parametrize(
    "arguments",
    [("plan", "missing.trtn"), ("plan", "{spec}", "--device", "abacus"), ("plan", "{spec}", "--target", "t")],
)
def test_wrong_input(trtn: Trtn, spec: Path, arguments: tuple[str, ...]) -> None:
    result = trtn(*(a.format(spec=spec) for a in arguments))
    assert result.exit_code in (1, 2)
    assert "Traceback" not in result.stderr

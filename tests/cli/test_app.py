"""What all verbs share: help, versions, what is imported when."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import trtn as package
from tests.cli.conftest import Trtn
from trtn.cli.app import VERBS

SPECS = Path(__file__).parents[2] / "specs"
COMMANDS = [
    *([v] for v in VERBS if v not in ("import", "export", "weights", "git")),
    ["import", "onnx"],
    ["export", "onnx"],
    *(["weights", w] for w in ("hash", "verify", "list")),
    *(["git", w] for w in ("install", "merge-lock")),
]


def test_version(trtn: Trtn) -> None:
    for option in ("--version", "-V"):
        result = trtn(option)
        assert (result.exit_code, result.stdout) == (0, f"trtn {package.__version__}\n")


def test_version_verb(trtn: Trtn) -> None:
    assert trtn("version").stdout.startswith(f"trtn {package.__version__} on ")
    document = json.loads(trtn("version", "--format", "json").stdout)
    assert document["trtn"] == package.__version__
    assert "numpy" in document["packages"]


def test_help_lists_every_verb(trtn: Trtn) -> None:
    lines = trtn("--help").stdout.splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ")} >= VERBS.keys()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_verb_has_an_example_and_exit_codes(trtn: Trtn, command: list[str]) -> None:
    result = trtn(*command, "--help")
    assert result.exit_code == 0
    assert f"\n    trtn {' '.join(command)}" in result.stdout
    assert "Exit codes:" in result.stdout
    assert "70   a bug in trtn" in result.stdout


def test_unknown_verb(trtn: Trtn) -> None:
    result = trtn("chekc")
    assert result.exit_code == 2
    assert "Did you mean 'check'?" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--version"], {"numpy", "rich", "trtn.dsl.diagnostics", "trtn.cli.check"}),
        (["--help"], {"numpy", "rich", "onnx"}),
        (["check", "--help"], {"numpy", "rich", "onnx", "trtn.cli.build"}),
        (["check", "nothing.trtn"], {"onnx", "rich", "trtn.backend"}),
        (
            ["check", str(SPECS / "lenet.trtn")],
            {"numpy", "onnx", "rich", "trtn.dsl.ops.recurrent", "trtn.dsl.structure"},
        ),
        (["explain", "E0312"], {"numpy", "rich", "trtn.dsl.ops"}),
    ],
    ids=lambda value: " ".join(Path(v).name for v in value) if isinstance(value, list) else "",
)
def test_nothing_heavy_is_imported_before_it_is_needed(arguments: list[str], unwanted: set[str]) -> None:
    script = (
        "import sys, atexit\n"
        f"sys.argv = ['trtn', *{arguments!r}]\n"
        "atexit.register(lambda: print('MODULES', *sys.modules))\n"
        "from trtn.cli import main\n"
        "main()"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout
    loaded = set(output.rpartition("MODULES ")[2].split())
    assert "trtn.cli" in loaded
    assert not unwanted & loaded


def test_explain(trtn: Trtn) -> None:
    assert trtn("explain", "e0312").stdout.startswith("E0312: ")
    assert "\nE0801  " in trtn("explain").stdout
    assert json.loads(trtn("explain", "E0312", "--format", "json").stdout)["code"] == "E0312"
    result = trtn("explain", "E3012")
    assert result.exit_code == 2
    assert "did you mean" in result.stderr


def test_python_m() -> None:
    result = subprocess.run([sys.executable, "-m", "trtn", "--version"], capture_output=True, text=True, check=False)
    assert result.stdout == f"trtn {package.__version__}\n"

"""Processes that are ended while they write: the old file stays, and nothing lies beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = """trtn 1

network net {
  dim N in 1..8
  input x: f32[N, 4]
  output y: f32[N, 4]

  y = relu(x)
}
"""
DRIVER = """
import os, sys, time
from trtn.dsl.weights.atomic import PendingFile

if {named}:
    del os.O_TMPFILE

def stop(self):
    self.flush()
    print("ready", flush=True)
    time.sleep(60)

PendingFile.commit = stop
{call}
"""
VERB = "from trtn.cli import main; sys.argv = ['trtn', *{args!r}]; main()"
CALL = "import trtn; trtn.build(trtn.load('net.trtn'), device='cpu').save('out')"

VERBS = {
    "build": ["build", "net.trtn", "-o", "out", "--device", "cpu"],
    "export": ["export", "onnx", "net.trtn", "-o", "out"],
    "fmt": ["fmt", "out"],
}


def ended(folder: Path, call: str, number: int, *, named: bool) -> int:
    """Run a call up to the moment before its file takes its place, and send a signal. Gives the exit code."""
    (folder / "net.trtn").write_text(SPEC)
    (folder / "out").write_text(SPEC.replace("4]", " 4 ]"))
    code = DRIVER.format(call=call, named=named)
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        if named:
            assert len(list(folder.glob(".*.tmp"))) == 1
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert "Traceback" not in errors or call is CALL
    return process.returncode


@pytest.mark.parametrize(
    ("verb", "number", "named"),
    [
        ("build", signal.SIGTERM, False),
        ("build", signal.SIGTERM, True),
        ("build", signal.SIGINT, True),
        ("fmt", signal.SIGHUP, True),
        ("export", signal.SIGTERM, True),
    ],
)
def test_a_verb_that_is_ended(tmp_path: Path, verb: str, number: int, named: bool) -> None:
    assert ended(tmp_path, VERB.format(args=VERBS[verb]), number, named=named) == 130
    assert sorted(os.listdir(tmp_path)) == ["net.trtn", "out"]
    assert (tmp_path / "out").read_text() == SPEC.replace("4]", " 4 ]")


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files always have names here")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_is_ended(tmp_path: Path, number: int) -> None:
    """No handler of ours runs: the file that was being written never had a name."""
    assert ended(tmp_path, CALL, number, named=False) == -number
    assert sorted(os.listdir(tmp_path)) == ["net.trtn", "out"]
    assert (tmp_path / "out").read_text() == SPEC.replace("4]", " 4 ]")

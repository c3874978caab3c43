"""The progress bar: on a terminal, after a while, and never in the way."""

from __future__ import annotations

import io
import sys
import time

import pytest

from trtn.cli import progress
from trtn.cli.console import Console
from trtn.cli.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _use(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *, delay: float, quiet: bool = False) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "DELAY", delay)
    monkeypatch.setenv("TERM", "xterm")
    with ProgressBar(Console(quiet=quiet), "starting") as bar:
        for n in range(20):
            bar("packing boxes", n, 20)
            time.sleep(0.02 if delay == 0 else 0)
    return stream.getvalue()


def test_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "packing boxes" in _use(Terminal(), monkeypatch, delay=0)


def test_not_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _use(Terminal(), monkeypatch, delay=60) == ""


def test_not_without_a_terminal_or_when_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _use(io.StringIO(), monkeypatch, delay=0) == ""
    assert _use(Terminal(), monkeypatch, delay=0, quiet=True) == ""
